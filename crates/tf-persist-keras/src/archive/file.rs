//! A whole file in memory.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use tf_persist_savedmodel::{Error, Result};

/// Reads a file as it was when it was opened.
///
/// # Errors
/// If it is no regular file, cannot be read, or does not fit the memory.
pub(crate) fn read_file(path: &Path) -> Result<Bytes> {
    // Asked before it is opened: to open a pipe waits for its writer.
    if !fs::metadata(path).map_err(Error::io("open", path))?.is_file() {
        let reason = "it is not a file".to_owned();
        return Err(Error::Unsupported { path: path.to_path_buf(), reason, hint: None });
    }
    let file = File::open(path).map_err(Error::io("open", path))?;
    let length = file.metadata().map_err(Error::io("read", path))?.len();
    let mut bytes = Vec::new();
    reserve(&mut bytes, length)?;
    file.take(length).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    Ok(bytes.into())
}

/// Memory for this many bytes, or an error where the allocator would abort.
pub(super) fn reserve(bytes: &mut Vec<u8>, length: u64) -> Result<()> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    bytes.try_reserve_exact(length).map_err(|_| Error::OutOfMemory { bytes: length })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_files_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.h5");
        fs::write(&path, b"abc").unwrap();
        assert_eq!(read_file(&path).unwrap(), b"abc"[..]);
        assert!(read_file(folder.path()).unwrap_err().to_string().ends_with("cannot be used: it is not a file"));
        assert!(matches!(read_file(&folder.path().join("none")), Err(Error::Io { .. })));
    }
}
