//! The bytes of a file, with limits on how often they are read and how many are held.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hdf5_reader::error::{Error, Result};
use hdf5_reader::{BlockCacheStorage, Storage, StorageBuffer};

use crate::archive::ByteRange;

/// How often all bytes of a file may be read. Reading a member of a large group reads a part of the group's index
/// again, so honest files need more than once.
const PASSES: u64 = 256;

/// What may be read of a small file in any case.
const ALWAYS: u64 = 1 << 30;

/// How much more than the file may be in memory at a time.
const HELD: u64 = 64 << 20;

/// The structures of a file are read in blocks of this size, and so many of them are kept.
const BLOCK: usize = 16 << 10;
const BLOCKS: usize = 16;

/// Structures in a file may overlap, so a small file can describe a lot of them; whoever follows them all reads the
/// same bytes again and again.
pub(super) struct LimitedStorage {
    file: Arc<Ranges>,
    /// The blocks of a file that is not in memory.
    blocks: BlockCacheStorage,
}

/// The file without its blocks.
struct Ranges {
    bytes: ByteRange,
    /// If they are all in memory.
    in_memory: Option<Arc<Bytes>>,
    left: AtomicU64,
    held: Arc<AtomicU64>,
}

/// Bytes that were read from a file and are counted as long as they are held.
struct Held {
    bytes: Vec<u8>,
    held: Arc<AtomicU64>,
}

impl LimitedStorage {
    pub(super) fn new(bytes: ByteRange) -> Self {
        let left = AtomicU64::new(bytes.len().saturating_mul(PASSES).saturating_add(ALWAYS));
        let in_memory = bytes.in_memory().map(Arc::new);
        let file = Arc::new(Ranges { bytes, in_memory, left, held: Arc::default() });
        Self { blocks: BlockCacheStorage::new(file.clone(), BLOCK, BLOCKS), file }
    }
}

impl Storage for LimitedStorage {
    fn len(&self) -> u64 {
        self.file.len()
    }

    fn read_range(&self, offset: u64, len: usize) -> Result<StorageBuffer> {
        if self.file.in_memory.is_some() || len >= BLOCK {
            return self.file.read_range(offset, len);
        }
        self.file.take(len)?;
        // Copied, because a part of a block would hold the whole of it.
        let bytes = self.blocks.read_range(offset, len)?.to_vec();
        self.file.hold(bytes)
    }
}

impl Ranges {
    /// Notes that so many bytes are read.
    fn take(&self, length: usize) -> Result<()> {
        let taken =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(length as u64));
        taken.map(|_| ()).map_err(|_| Error::ResourceLimit("its structures overlap".into()))
    }

    /// A buffer of bytes that were read.
    fn hold(&self, bytes: Vec<u8>) -> Result<StorageBuffer> {
        let length = bytes.len();
        self.held.fetch_add(length as u64, Ordering::Relaxed);
        StorageBuffer::from_shared_owner(Arc::new(Held { bytes, held: self.held.clone() }), 0, length)
    }
}

impl Storage for Ranges {
    fn len(&self) -> u64 {
        self.bytes.len()
    }

    fn read_range(&self, offset: u64, len: usize) -> Result<StorageBuffer> {
        self.take(len)?;
        let end =
            || Error::UnexpectedEof { offset, needed: len as u64, available: self.bytes.len().saturating_sub(offset) };
        if let Some(bytes) = &self.in_memory {
            let start = usize::try_from(offset).map_err(|_| end())?;
            return StorageBuffer::from_shared_owner(bytes.clone(), start, len);
        }
        // Checked before memory is allocated.
        let part = self.bytes.part(offset, len as u64).ok_or_else(end)?;
        if self.held.load(Ordering::Relaxed).saturating_add(part.len()) > self.bytes.len().saturating_add(HELD) {
            return Err(Error::ResourceLimit("its structures overlap".into()));
        }
        self.hold(part.bytes()?.into())
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes.len() as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn bytes_are_read_a_limited_number_of_times() {
        let storage = LimitedStorage::new(ByteRange::from(vec![0; 1 << 22]));
        let times = (0..).take_while(|_| storage.read_range(0, 1 << 22).is_ok()).count();
        assert_eq!(times, 256 + 256);
    }

    #[test]
    fn a_file_is_read_as_memory_is_and_held_within_a_limit() {
        let contents: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&contents).unwrap();
        let in_file = LimitedStorage::new(ByteRange::open(file.path()).unwrap());
        let in_memory = LimitedStorage::new(ByteRange::from(contents));
        for (offset, length) in [(0, 0), (0, 8), (16_380, 8), (5, 100_000), (399_992, 8), (400_000, 0)] {
            let (one, other) = (in_file.read_range(offset, length).unwrap(), in_memory.read_range(offset, length));
            assert_eq!(one[..], other.unwrap()[..], "{offset} {length}");
        }
        for (offset, length) in [(399_993, 8), (0, 400_001), (400_001, 0), (u64::MAX, 1), (1, usize::MAX)] {
            assert!(in_file.read_range(offset, length).is_err() && in_memory.read_range(offset, length).is_err());
        }
        assert_eq!(in_file.file.held.load(Ordering::Relaxed), 0);
        let mut held = Vec::new();
        while let Ok(buffer) = in_file.read_range(0, 400_000) {
            held.push(buffer);
        }
        assert!((100..200).contains(&held.len()), "{}", held.len());
        drop(held);
        assert!(in_file.read_range(0, 400_000).is_ok());
    }
}
