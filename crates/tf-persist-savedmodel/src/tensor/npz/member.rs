//! A member of an archive that is read independently of the others.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crc32fast::Hasher;
use flate2::bufread::DeflateDecoder;
use zip::CompressionMethod;
use zip::read::ZipFile;

/// Compressed bytes are read in pieces of this size.
const COMPRESSED_PIECE: usize = 64 << 10;

/// The bytes of a member, decompressed. At the end, their checksum is compared with that of the archive.
pub struct MemberReader {
    bytes: Bytes,
    hasher: Hasher,
    checksum: u32,
}

enum Bytes {
    Stored(Section),
    Deflated(Box<DeflateDecoder<BufReader<Section>>>),
}

/// A part of a file, which other readers may share.
struct Section {
    file: Arc<File>,
    next: u64,
    left: u64,
}

impl fmt::Debug for MemberReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deflated = matches!(self.bytes, Bytes::Deflated(_));
        f.debug_struct("MemberReader").field("deflated", &deflated).finish_non_exhaustive()
    }
}

impl MemberReader {
    /// The reader of an entry of this file; `None` if it is compressed in another way.
    pub(super) fn new(file: Arc<File>, entry: &ZipFile<'_, impl Read + ?Sized>) -> Option<Self> {
        let next = entry.data_start()?;
        let section = Section { file, next, left: entry.compressed_size() };
        let bytes = match entry.compression() {
            CompressionMethod::Stored => Bytes::Stored(section),
            CompressionMethod::Deflated => {
                let compressed = BufReader::with_capacity(COMPRESSED_PIECE, section);
                Bytes::Deflated(Box::new(DeflateDecoder::new(compressed)))
            }
            _ => return None,
        };
        Some(Self { bytes, hasher: Hasher::new(), checksum: entry.crc32() })
    }
}

impl Read for MemberReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.bytes {
            Bytes::Stored(section) => section.read(buffer)?,
            Bytes::Deflated(decoder) => decoder.read(buffer)?,
        };
        self.hasher.update(&buffer[..read]);
        if read == 0 && !buffer.is_empty() && self.hasher.clone().finalize() != self.checksum {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum is wrong"));
        }
        Ok(read)
    }
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = self.left.try_into().map_or(buffer.len(), |left: usize| left.min(buffer.len()));
        let read = self.file.read_at(&mut buffer[..wanted], self.next)?;
        if read == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (self.next, self.left) = (self.next + read as u64, self.left - read as u64);
        Ok(read)
    }
}
