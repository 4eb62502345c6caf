//! An open shard, in a folder or in a pack.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::container::pack::Pack;

/// A file, or a file of a pack by its index. Any number of threads may read at any offset.
#[derive(Debug)]
pub(super) enum Shard {
    File(File),
    Packed(Arc<Pack>, usize),
}

impl FileExt for Shard {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read_at(buffer, offset),
            Self::Packed(pack, number) => pack.read_at(*number, buffer, offset),
        }
    }

    /// Shards are open for reading only.
    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
