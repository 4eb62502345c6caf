//! Reading untrusted files, with a limit.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::error::{Error, Result};

/// The length of a regular file; `None` if there is nothing at the path.
///
/// # Errors
/// If the path is a folder, a pipe or a device, or its metadata cannot be read.
pub(crate) fn file_length(path: &Path) -> Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
        // Opening a pipe would wait for its other end, and a device may have no end.
        Ok(_) => Err(Error::damaged(path, "it is not a regular file")),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// A whole file of at most `limit` bytes, in memory of exactly its length; `None` if there is nothing at the path.
///
/// # Errors
/// If it is not a regular file, is larger than the limit, cannot be read, or there is no memory.
pub(crate) fn read_file(path: &Path, limit: u64, limit_name: &str) -> Result<Option<Vec<u8>>> {
    let Some(length) = file_length(path)? else { return Ok(None) };
    if length > limit {
        let reason = format!("it has {length} bytes, and {limit_name} is {limit} bytes");
        return Err(Error::Unsupported { path: path.to_path_buf(), reason, hint: None });
    }
    let capacity = usize::try_from(length).map_err(|_| Error::OutOfMemory { bytes: usize::MAX })?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(capacity).map_err(|_| Error::OutOfMemory { bytes: capacity })?;
    let file = File::open(path).map_err(Error::io("open", path))?;
    // A file that grows meanwhile is read up to its old length.
    file.take(length).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    Ok(Some(bytes))
}
