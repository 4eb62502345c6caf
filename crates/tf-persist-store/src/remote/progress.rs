//! How far a transfer is.

use std::fmt::Debug;

/// Hears how far a transfer is. Its methods are called from several threads.
pub trait Progress: Debug + Send + Sync {
    /// A version is transferred, whose files have this size in bytes.
    fn start(&self, _bytes: u64) {}

    /// So many bytes more are where they should be, be it that they came or that they were there.
    fn advance(&self, _bytes: u64) {}
}

/// Nobody listens.
impl Progress for () {}
