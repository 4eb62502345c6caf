//! The bytes of one part of a tensor, checked while they are read.

use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use super::shard::Shard;

/// A range of a shard, which sums up what is read of it. It keeps a position of its own, so that any number of threads may
/// read from one file.
pub(super) struct Source<'a> {
    file: &'a Shard,
    offset: u64,
    left: u64,
    checksum: u32,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a Shard, offset: u64, bytes: u64) -> Self {
        Self { file, offset, left: bytes, checksum: 0 }
    }

    /// The CRC-32C, unmasked, of what was read.
    pub(super) fn checksum(&self) -> u32 {
        self.checksum
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        self.checksum = crc32c::crc32c_append(self.checksum, &buffer[..read]);
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}
