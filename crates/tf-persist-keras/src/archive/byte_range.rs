//! Bytes that are read where they are: in memory, or in an open file.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use tf_persist_savedmodel::{Error, Result};

use super::file::reserve;

/// How much is read at once where a whole range is read piece by piece.
const PIECE: usize = 256 << 10;

/// How much a reader of small values reads at once.
const BUFFER: usize = 8 << 10;

/// A range of the bytes of a file, or of memory. Cloning shares them.
#[derive(Debug, Clone)]
pub(crate) struct ByteRange {
    backing: Backing,
    start: u64,
    length: u64,
}

#[derive(Debug, Clone)]
enum Backing {
    Memory(Bytes),
    File(Arc<OpenFile>),
}

/// A file as it was when it was opened.
#[derive(Debug)]
struct OpenFile {
    file: File,
    length: u64,
    modified: Option<SystemTime>,
}

impl<B: Into<Bytes>> From<B> for ByteRange {
    fn from(bytes: B) -> Self {
        let bytes = bytes.into();
        Self { start: 0, length: bytes.len() as u64, backing: Backing::Memory(bytes) }
    }
}

impl ByteRange {
    /// Opens a file. Nothing is read.
    ///
    /// # Errors
    /// If it is no regular file, or cannot be opened.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = OpenFile::open(path)?;
        Ok(Self { start: 0, length: file.length, backing: Backing::File(Arc::new(file)) })
    }

    /// The number of bytes.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// The bytes, if they are in memory.
    pub(crate) fn in_memory(&self) -> Option<Bytes> {
        let Backing::Memory(bytes) = &self.backing else { return None };
        let start = usize::try_from(self.start).ok()?;
        let end = start.checked_add(usize::try_from(self.length).ok()?)?;
        (end <= bytes.len()).then(|| bytes.slice(start..end))
    }

    /// A part of the range; `None` if it does not lie within it.
    pub(crate) fn part(&self, offset: u64, length: u64) -> Option<Self> {
        let is_within = offset.checked_add(length)? <= self.length;
        is_within.then(|| Self { backing: self.backing.clone(), start: self.start + offset, length })
    }

    /// Reads the bytes at an offset.
    ///
    /// # Errors
    /// If the range ends before, the file cannot be read, or it changed after it was opened.
    pub(crate) fn read_at(&self, offset: u64, target: &mut [u8]) -> io::Result<()> {
        let part = self.part(offset, target.len() as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
        match (&part.backing, part.in_memory()) {
            (Backing::File(file), _) => file.read_at(part.start, target),
            (Backing::Memory(_), Some(bytes)) => {
                target.copy_from_slice(&bytes);
                Ok(())
            }
            (Backing::Memory(_), None) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// All bytes. Those in memory are not copied.
    ///
    /// # Errors
    /// As [`ByteRange::read_at`]; [`io::ErrorKind::OutOfMemory`] if they do not fit the memory.
    pub(crate) fn bytes(&self) -> io::Result<Bytes> {
        if let Some(bytes) = self.in_memory() {
            return Ok(bytes);
        }
        let mut bytes = Vec::new();
        reserve(&mut bytes, self.length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        self.for_each_piece(|piece| bytes.extend_from_slice(piece))?;
        Ok(bytes.into())
    }

    /// The first bytes, at most so many.
    ///
    /// # Errors
    /// As [`ByteRange::read_at`].
    pub(crate) fn beginning(&self, most: usize) -> io::Result<Bytes> {
        self.part(0, self.length.min(most as u64)).ok_or(io::ErrorKind::UnexpectedEof)?.bytes()
    }

    /// Calls a function with all bytes, piece by piece.
    ///
    /// # Errors
    /// As [`ByteRange::read_at`].
    pub(crate) fn for_each_piece(&self, mut use_piece: impl FnMut(&[u8])) -> io::Result<()> {
        if let Some(bytes) = self.in_memory() {
            use_piece(&bytes);
            return Ok(());
        }
        let mut piece = vec![0; PIECE.min(usize::try_from(self.length).unwrap_or(PIECE))];
        let mut offset = 0;
        while offset < self.length {
            let length = (self.length - offset).min(piece.len() as u64);
            // Not more than the piece has.
            let piece = &mut piece[..length as usize];
            self.read_at(offset, piece)?;
            use_piece(piece);
            offset += length;
        }
        Ok(())
    }

    /// A reader with a position of its own.
    pub(crate) fn reader(&self) -> RangeReader {
        RangeReader { range: self.clone(), position: 0, buffer: Vec::new(), buffer_start: 0 }
    }
}

impl OpenFile {
    fn open(path: &Path) -> Result<Self> {
        // Asked before it is opened: to open a pipe waits for its writer.
        if !fs::metadata(path).map_err(Error::io("open", path))?.is_file() {
            let reason = "it is not a file".to_owned();
            return Err(Error::Unsupported { path: path.to_path_buf(), reason, hint: None });
        }
        let file = File::open(path).map_err(Error::io("open", path))?;
        let metadata = file.metadata().map_err(Error::io("read", path))?;
        Ok(Self { file, length: metadata.len(), modified: metadata.modified().ok() })
    }

    fn read_at(&self, offset: u64, target: &mut [u8]) -> io::Result<()> {
        let read = self.file.read_exact_at(target, offset);
        // Checked afterwards, so that a change before the end of the read is noticed.
        let metadata = self.file.metadata()?;
        if metadata.len() != self.length || metadata.modified().ok() != self.modified {
            return Err(io::Error::other("it was changed while it was read"));
        }
        read
    }
}

/// A reader of a range, for the parser of archives, which reads small values.
#[derive(Clone)]
pub(crate) struct RangeReader {
    range: ByteRange,
    position: u64,
    buffer: Vec<u8>,
    buffer_start: u64,
}

impl RangeReader {
    /// The part of the buffer at the position.
    fn buffered(&self) -> &[u8] {
        let offset = self.position.checked_sub(self.buffer_start).and_then(|offset| usize::try_from(offset).ok());
        offset.and_then(|offset| self.buffer.get(offset..)).unwrap_or_default()
    }
}

impl Read for RangeReader {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let left = self.range.length.saturating_sub(self.position);
        let length = target.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if length == 0 {
            return Ok(0);
        }
        if self.buffered().is_empty() && length < BUFFER {
            let filled = BUFFER.min(usize::try_from(left).unwrap_or(BUFFER));
            self.buffer.resize(filled, 0);
            self.range.read_at(self.position, &mut self.buffer).inspect_err(|_| self.buffer_start = u64::MAX)?;
            self.buffer_start = self.position;
        }
        let buffered = self.buffered();
        let read = match buffered.len() {
            0 => {
                self.range.read_at(self.position, &mut target[..length])?;
                length
            }
            available => {
                let read = available.min(length);
                target[..read].copy_from_slice(&buffered[..read]);
                read
            }
        };
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for RangeReader {
    fn seek(&mut self, target: SeekFrom) -> io::Result<u64> {
        let position = match target {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.range.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(contents: &[u8]) -> (tempfile::NamedTempFile, ByteRange) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(contents).unwrap();
        let range = ByteRange::open(file.path()).unwrap();
        (file, range)
    }

    #[test]
    fn a_file_and_memory_read_the_same() {
        let contents: Vec<u8> = (0..600_000_u32).map(|index| (index % 251) as u8).collect();
        let (_file, in_file) = file(&contents);
        for range in [in_file, ByteRange::from(contents.clone())] {
            assert_eq!(range.len(), 600_000);
            assert_eq!(range.bytes().unwrap(), contents);
            assert_eq!(range.beginning(3).unwrap(), contents[..3]);
            let part = range.part(1000, 500_000).unwrap();
            assert_eq!(part.bytes().unwrap(), contents[1000..501_000]);
            let mut pair = [0; 2];
            part.read_at(499_998, &mut pair).unwrap();
            assert_eq!(pair, contents[500_998..501_000]);
            assert_eq!(part.read_at(499_999, &mut pair).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
            assert!(part.part(499_999, 2).is_none() && part.part(u64::MAX, 2).is_none());
            let mut reader = part.reader();
            let mut read = Vec::new();
            reader.seek(SeekFrom::End(-20_000)).unwrap();
            for length in [1, 7, 8000, 9000, 5] {
                let mut target = vec![0; length];
                reader.read_exact(&mut target).unwrap();
                read.extend(target);
            }
            assert_eq!(read, contents[481_000..481_000 + read.len()]);
            assert!(reader.seek(SeekFrom::Current(-1 << 40)).is_err());
            reader.seek(SeekFrom::Start(1 << 40)).unwrap();
            assert_eq!(reader.read(&mut pair).unwrap(), 0);
        }
    }

    #[test]
    fn a_change_of_the_file_is_an_error() {
        let (mut file, range) = file(&[1; 100]);
        assert_eq!(range.bytes().unwrap(), [1; 100][..]);
        file.write_all(&[2]).unwrap();
        let error = range.bytes().unwrap_err().to_string();
        assert_eq!(error, "it was changed while it was read");
        file.as_file().set_len(10).unwrap();
        assert_eq!(range.beginning(64).unwrap_err().to_string(), error);
        // The same length again, but another time.
        file.as_file().set_len(100).unwrap();
        file.as_file().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(range.beginning(64).unwrap_err().to_string(), error);
    }

    #[test]
    fn opens_files_only() {
        let folder = tempfile::tempdir().unwrap();
        let error = ByteRange::open(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("cannot be used: it is not a file"), "{error}");
        assert!(matches!(ByteRange::open(&folder.path().join("none")), Err(Error::Io { .. })));
    }
}
