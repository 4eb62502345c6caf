//! Opening packs and reading their files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::layout::{
    COMMENT_BYTES, COMMENT_HEAD, CRC_OFFSET, DIGEST_BYTES, END, END_BYTES, END64_BYTES, Entry, MAGIC, RECORD,
    RECORD_BYTES, contents, local_header, offsets, push_hex, table,
};
use super::name::{SUMS, check_all};
use super::{FORMAT_VERSION, MAX_FILES, MAX_TABLE_BYTES};
use crate::container::file::file_length;
use crate::error::{Error, Result};

/// Files are read in pieces of this size.
const PIECE: usize = 4 << 20;

/// The path of a pack in memory in errors.
const IN_MEMORY: &str = "<memory>";

/// A pack whose table was checked. Its contents are checked when they are read.
pub struct Pack {
    path: PathBuf,
    data: Data,
    entries: Vec<Entry>,
    /// The offset of the contents of each entry.
    starts: Vec<u64>,
    /// The digest of the table, which has the digests of all files.
    digest: [u8; DIGEST_BYTES],
}

enum Data {
    File(File),
    Memory(Bytes),
}

impl Data {
    /// As `pread`: reads less than requested only at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read_at(buffer, offset),
            Self::Memory(bytes) => {
                let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
                let read = rest.len().min(buffer.len());
                buffer[..read].copy_from_slice(&rest[..read]);
                Ok(read)
            }
        }
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(buffer, offset),
            Self::Memory(_) if self.read_at(buffer, offset)? < buffer.len() => Err(io::ErrorKind::UnexpectedEof.into()),
            Self::Memory(_) => Ok(()),
        }
    }
}

/// Whether a file ends like a pack, whatever its name.
pub(crate) fn is_pack(path: &Path) -> bool {
    let mut comment = [0; COMMENT_BYTES];
    let mut read = || {
        let length = file_length(path).ok()??;
        let file = File::open(path).ok()?;
        file.read_exact_at(&mut comment, length.checked_sub(COMMENT_BYTES as u64)?).ok()
    };
    read().is_some() && comment.starts_with(MAGIC.as_bytes())
}

impl Pack {
    /// Opens a file and keeps it open, so later reads are of the file that was checked, even if another takes its name.
    #[doc(hidden)]
    pub fn open(path: &Path) -> Result<Self> {
        let missing = || Error::io("read", path)(rustix::io::Errno::NOENT.into());
        // The type is checked before opening, the length after: another file may have taken the name.
        file_length(path)?.ok_or_else(missing)?;
        let file = File::open(path).map_err(Error::io("open", path))?;
        let length = file.metadata().map_err(Error::io("look at", path))?.len();
        Self::read(path.to_path_buf(), Data::File(file), length)
    }

    #[doc(hidden)]
    pub fn from_bytes(bytes: Bytes) -> Result<Self> {
        Self::in_memory(bytes, IN_MEMORY.into())
    }

    /// Opens the bytes of a pack, which errors name by this path.
    pub(crate) fn in_memory(bytes: Bytes, path: PathBuf) -> Result<Self> {
        let length = bytes.len() as u64;
        Self::read(path, Data::Memory(bytes), length)
    }

    fn read(path: PathBuf, data: Data, length: u64) -> Result<Self> {
        let reading = Reading { path: &path, data: &data, length };
        let (entries, starts, digest) = reading.table()?;
        Ok(Self { path, data, entries, starts, digest })
    }

    /// The path of the file, or `<memory>`.
    #[doc(hidden)]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files in it, sorted by name.
    #[doc(hidden)]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The index of the file with this name. Steps `./` are ignored.
    #[doc(hidden)]
    pub fn find(&self, name: &str) -> Option<usize> {
        let find = |name: &str| self.entries.binary_search_by(|entry| entry.name.as_str().cmp(name)).ok();
        find(name).or_else(|| find(&name.split('/').filter(|part| *part != ".").collect::<Vec<_>>().join("/")))
    }

    /// The index of the file with this path in messages: the pack's path and the name.
    pub(crate) fn find_shown(&self, path: &Path) -> Option<usize> {
        self.find(path.strip_prefix(&self.path).ok()?.to_str()?)
    }

    /// Whether it has a folder of this name.
    #[doc(hidden)]
    pub fn has_folder(&self, name: &str) -> bool {
        let inside = format!("{name}/");
        let first = self.entries.partition_point(|entry| entry.name < inside);
        self.entries.get(first).is_some_and(|entry| entry.name.starts_with(&inside))
    }

    /// Reads bytes of a file without comparing its checksum; less than requested only at its end.
    #[doc(hidden)]
    pub fn read_at(&self, number: usize, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.entries[number].length.saturating_sub(offset);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        self.data.read_at(&mut buffer[..wanted], self.starts[number].saturating_add(offset))
    }

    /// A whole file, after its checksum was compared. For a pack in memory it shares that memory.
    #[doc(hidden)]
    pub fn contents(&self, number: usize) -> Result<Bytes> {
        let length = self.entries[number].length;
        let length = usize::try_from(length).map_err(|_| Error::OutOfMemory { bytes: usize::MAX })?;
        if let Data::Memory(_) = self.data {
            let mut all = Bytes::new();
            self.for_each_piece(number, |piece| {
                all = piece.shared();
                Ok(())
            })?;
            return Ok(all);
        }
        let mut all = Vec::new();
        all.try_reserve_exact(length).map_err(|_| Error::OutOfMemory { bytes: length })?;
        self.for_each_piece(number, |piece| {
            all.extend_from_slice(piece.bytes());
            Ok(())
        })?;
        Ok(all.into())
    }

    /// Calls `take` with a file, piece by piece. The checksum is compared at the end: a caller who keeps the pieces
    /// must drop them if this fails. A pack in memory has one piece, which is checked before.
    #[doc(hidden)]
    pub fn for_each_piece(&self, number: usize, mut take: impl FnMut(Piece<'_>) -> Result<()>) -> Result<()> {
        let (entry, start) = (&self.entries[number], self.starts[number]);
        let check = |digest: Sha256| {
            let right = digest.finalize()[..] == entry.sha256;
            let wrong = || Error::damaged(self.shown(entry), "its checksum is wrong");
            if right { Ok(()) } else { Err(wrong()) }
        };
        if let Data::Memory(bytes) = &self.data {
            let end = start.saturating_add(entry.length);
            let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
            let ended = || Error::damaged(self.shown(entry), ENDED);
            let (start, end) = range.filter(|(_, end)| *end <= bytes.len()).ok_or_else(ended)?;
            let piece = bytes.slice(start..end);
            check(Sha256::new_with_prefix(&piece))?;
            return take(Piece::Shared(piece));
        }
        let mut digest = Sha256::new();
        let mut buffer = vec![0; usize::try_from(entry.length).unwrap_or(PIECE).min(PIECE)];
        let mut offset = 0;
        while offset < entry.length {
            let read = self.read_at(number, &mut buffer, offset).map_err(Error::io("read", self.shown(entry)))?;
            if read == 0 {
                return Err(Error::damaged(self.shown(entry), ENDED));
            }
            digest.update(&buffer[..read]);
            take(Piece::Borrowed(&buffer[..read]))?;
            offset += read as u64;
        }
        check(digest)
    }

    /// Writes a file below a folder. `shown` is its path in errors.
    #[doc(hidden)]
    pub fn take_out(&self, number: usize, folder: &Path, shown: &Path) -> Result<()> {
        let place = folder.join(&self.entries[number].name);
        let writing = || Error::io("write", shown);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).map_err(writing())?;
        }
        let mut file = File::create_new(place).map_err(writing())?;
        self.for_each_piece(number, |piece| file.write_all(piece.bytes()).map_err(writing()))
    }

    fn shown(&self, entry: &Entry) -> PathBuf {
        self.path.join(&entry.name)
    }
}

/// The pack was long enough when it was opened.
const ENDED: &str = "the pack ends inside it";

/// A part of a file's contents.
#[derive(Debug)]
pub enum Piece<'a> {
    Borrowed(&'a [u8]),
    Shared(Bytes),
}

impl Piece<'_> {
    #[doc(hidden)]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }

    fn shared(self) -> Bytes {
        match self {
            Self::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Self::Shared(bytes) => bytes,
        }
    }
}

/// Packs are equal if their contents and their paths are.
impl PartialEq for Pack {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && self.path == other.path
    }
}

impl Eq for Pack {}

impl std::fmt::Debug for Pack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pack({}, {})", self.path.display(), String::from_utf8_lossy(&self.digest))
    }
}

/// The files, the offsets of their contents, and the digest of the table.
type Table = (Vec<Entry>, Vec<u64>, [u8; DIGEST_BYTES]);

/// A pack whose table is being read.
struct Reading<'a> {
    path: &'a Path,
    data: &'a Data,
    length: u64,
}

/// A file in the central directory.
struct Listed<'a> {
    name: &'a str,
    length: u64,
    crc32: u32,
}

impl Reading<'_> {
    fn damaged(&self, reason: impl Into<String>) -> Error {
        Error::damaged(self.path, reason)
    }

    fn bytes(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        // The caller has compared the length with a limit.
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| Error::OutOfMemory { bytes: usize::MAX })?];
        self.data.read_exact_at(&mut bytes, offset).map_err(Error::io("read", self.path))?;
        Ok(bytes)
    }

    fn table(&self) -> Result<Table> {
        const TAIL: usize = END64_BYTES + END_BYTES + COMMENT_BYTES;
        let tail_offset = self.length.saturating_sub(TAIL as u64);
        let tail = self.bytes(tail_offset, self.length - tail_offset)?;
        let digest = self.check_comment(&tail)?;

        let (directory_offset, directory_end) = self.directory(&tail, tail_offset)?;
        let directory = self.bytes(directory_offset, directory_end - directory_offset)?;
        let (listed, sums_offset) = self.listed(&directory)?;

        // The bytes that the digest covers.
        let table_length = self.length.checked_sub(sums_offset).filter(|length| *length <= MAX_TABLE_BYTES);
        let table_length =
            table_length.ok_or_else(|| self.damaged("its table is too long, or begins after its end"))?;
        let found = self.bytes(sums_offset, table_length)?;
        let summed = found.len() - DIGEST_BYTES.min(found.len());
        let mut right = String::new();
        push_hex(&mut right, &Sha256::digest(&found[..summed]));
        if found[summed..] != *right.as_bytes() {
            return Err(self.damaged("the checksum of its table is wrong"));
        }

        let (sums, files) = listed.split_last().ok_or_else(|| self.damaged("its table is empty"))?;
        let sums_start = directory_offset.checked_sub(sums.length).and_then(|start| start.checked_sub(sums_offset));
        let sums_start = sums_start.and_then(|start| usize::try_from(start).ok());
        let sums = sums_start.zip(usize::try_from(sums.length).ok());
        let sums = sums.and_then(|(start, length)| found.get(start..start.checked_add(length)?));
        let sums = sums.ok_or_else(|| self.damaged(format!("`{SUMS}` does not stand where it should")))?;
        let entries = self.entries(files, sums)?;

        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        check_all(&names).map_err(|(name, reason)| {
            self.damaged(format!("the name `{}` cannot be: {reason}", name.escape_debug()))
        })?;
        // The rest: everything is where it would have been written, and nothing else exists.
        let lengths = self.damaged("the lengths in its table are not those of the file");
        let files = entries.iter().map(|entry| (entry.name.as_str(), entry.length));
        let Some((offsets, end)) = offsets(files).filter(|(_, end)| *end == sums_offset) else { return Err(lengths) };
        if found != table(&entries, &offsets, end) {
            return Err(self.damaged("its table is not what it would be in a pack of these files"));
        }
        let mut starts = Vec::with_capacity(entries.len());
        for (entry, offset) in entries.iter().zip(&offsets) {
            let header = local_header(*offset, &entry.name, entry.length, entry.crc32);
            if self.bytes(*offset, header.len() as u64)? != header {
                let name = entry.name.escape_debug();
                return Err(self.damaged(format!("the data before `{name}` is not what its table says of it")));
            }
            starts.push(contents(*offset, &entry.name, entry.length));
        }
        Ok((entries, starts, digest))
    }

    /// Checks that the last bytes are those of a pack of this version, and returns the digest in them.
    fn check_comment(&self, tail: &[u8]) -> Result<[u8; DIGEST_BYTES]> {
        let no_pack = || self.damaged("it does not end as a pack does: it is cut short, or is none");
        let (_, comment) = tail.split_last_chunk::<COMMENT_BYTES>().ok_or_else(no_pack)?;
        if !comment.starts_with(MAGIC.as_bytes()) {
            return Err(no_pack());
        }
        if !comment.starts_with(COMMENT_HEAD.as_bytes()) {
            let version = String::from_utf8_lossy(&comment[MAGIC.len()..]);
            let version = version.split(' ').next().unwrap_or_default().escape_debug().to_string();
            return Err(Error::Unsupported {
                path: self.path.to_path_buf(),
                reason: format!(
                    "it is a pack of version `{version}`, and version {FORMAT_VERSION} is what is read here"
                ),
                hint: Some("read it with a later tf-persist".into()),
            });
        }
        let (_, digest) = comment.split_last_chunk().ok_or_else(no_pack)?;
        Ok(*digest)
    }

    /// The begin and end of the central directory according to the end record, or ZIP64's before it.
    fn directory(&self, tail: &[u8], tail_offset: u64) -> Result<(u64, u64)> {
        let wrong = || self.damaged("its end record cannot be");
        let end_at = tail.len().checked_sub(END_BYTES + COMMENT_BYTES).ok_or_else(wrong)?;
        let end = &tail[end_at..];
        if u32_at(end, 0) != Some(END) {
            return Err(wrong());
        }
        let (size, offset) = u32_at(end, 12).zip(u32_at(end, 16)).ok_or_else(wrong)?;
        let count = u16_at(end, 10).ok_or_else(wrong)?;
        let (size, offset, stands_before) = if size == u32::MAX || offset == u32::MAX || count == u16::MAX {
            let end64_at = end_at.checked_sub(END64_BYTES).ok_or_else(wrong)?;
            let end64 = &tail[end64_at..];
            let (size, offset) = u64_at(end64, 40).zip(u64_at(end64, 48)).ok_or_else(wrong)?;
            (size, offset, end64_at)
        } else {
            (u64::from(size), u64::from(offset), end_at)
        };
        let directory_end = offset.checked_add(size);
        if size > MAX_TABLE_BYTES || directory_end != Some(tail_offset + stands_before as u64) {
            return Err(wrong());
        }
        Ok((offset, offset + size))
    }

    /// The files in the central directory, the one with the checksums last, and the offset of its header. The rest of
    /// the records is compared later.
    fn listed<'d>(&self, directory: &'d [u8]) -> Result<(Vec<Listed<'d>>, u64)> {
        let mut listed = Vec::new();
        let mut offset = 0;
        let mut rest = directory;
        while !rest.is_empty() {
            if listed.len() > MAX_FILES {
                return Err(self.damaged(format!("it has more than {MAX_FILES} files")));
            }
            let record = Record::take(&mut rest).ok_or_else(|| self.damaged("a record of its table cannot be"))?;
            let name = std::str::from_utf8(record.name).map_err(|_| self.damaged("the name of a file is not UTF-8"))?;
            listed.push(Listed { name, length: record.length, crc32: record.crc32 });
            offset = record.offset;
        }
        match listed.last() {
            Some(last) if last.name == SUMS && last.length <= MAX_TABLE_BYTES => Ok((listed, offset)),
            _ => Err(self.damaged(format!("its last file is not `{SUMS}`"))),
        }
    }

    /// The files with their checksums, one a line.
    fn entries(&self, listed: &[Listed<'_>], sums: &[u8]) -> Result<Vec<Entry>> {
        let wrong = || self.damaged(format!("`{SUMS}` does not name the files that it has"));
        let sums = std::str::from_utf8(sums).map_err(|_| wrong())?;
        let mut lines = sums.lines();
        let mut entries = Vec::with_capacity(listed.len());
        for Listed { name, length, crc32 } in listed {
            let (sha256, named) = lines.next().and_then(|line| line.split_once("  ")).ok_or_else(wrong)?;
            let sha256 = digest(sha256).filter(|_| named == *name).ok_or_else(wrong)?;
            entries.push(Entry { name: (*name).to_owned(), length: *length, crc32: *crc32, sha256 });
        }
        if lines.next().is_some() { Err(wrong()) } else { Ok(entries) }
    }
}

/// The parts of a record of the central directory that are not compared.
struct Record<'a> {
    name: &'a [u8],
    length: u64,
    crc32: u32,
    offset: u64,
}

impl<'a> Record<'a> {
    fn take(rest: &mut &'a [u8]) -> Option<Self> {
        let record = *rest;
        let (name_length, extra_length) = (usize::from(u16_at(record, 28)?), usize::from(u16_at(record, 30)?));
        let name = record.get(RECORD_BYTES..)?.get(..name_length)?;
        let extra = record.get(RECORD_BYTES + name_length..)?.get(..extra_length)?;
        *rest = record.get(RECORD_BYTES + name_length + extra_length..)?;
        if u32_at(record, 0)? != RECORD {
            return None;
        }
        let (mut length, mut offset) = (u64::from(u32_at(record, 20)?), u64::from(u32_at(record, 42)?));
        // The extra field has both lengths, if it has one, and then the offset.
        let mut next = 4;
        if length == u64::from(u32::MAX) {
            length = u64_at(extra, next)?;
            next += 16;
        }
        if offset == u64::from(u32::MAX) {
            offset = u64_at(extra, next)?;
        }
        Some(Self { name, length, crc32: u32_at(record, CRC_OFFSET as usize + 2)?, offset })
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// A SHA-256 from its hexadecimal digits. The comparison of the whole table refuses capitals.
fn digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != DIGEST_BYTES || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(digest)
}
