//! The bytes of a file, with a limit on how often they are read.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hdf5_reader::error::{Error, Result};
use hdf5_reader::{BytesStorage, Storage, StorageBuffer};

/// How often all bytes of a file may be read. Reading a member of a large group reads a part of the group's index
/// again, so honest files need more than once.
const PASSES: u64 = 256;

/// What may be read of a small file in any case.
const ALWAYS: u64 = 1 << 30;

/// Structures in a file may overlap, so a small file can describe a lot of them; whoever follows them all reads the
/// same bytes again and again.
pub(super) struct LimitedStorage {
    bytes: BytesStorage,
    left: AtomicU64,
}

impl LimitedStorage {
    pub(super) fn new(bytes: Bytes) -> Self {
        let left = AtomicU64::new((bytes.len() as u64).saturating_mul(PASSES).saturating_add(ALWAYS));
        Self { bytes: BytesStorage::from_owner(bytes), left }
    }
}

impl Storage for LimitedStorage {
    fn len(&self) -> u64 {
        self.bytes.len()
    }

    fn read_range(&self, offset: u64, len: usize) -> Result<StorageBuffer> {
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(len as u64));
        if taken.is_err() {
            return Err(Error::ResourceLimit("its structures overlap".into()));
        }
        self.bytes.read_range(offset, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_a_limited_number_of_times() {
        let storage = LimitedStorage::new(Bytes::from(vec![0; 1 << 22]));
        let times = (0..).take_while(|_| storage.read_range(0, 1 << 22).is_ok()).count();
        assert_eq!(times, 256 + 256);
    }
}
