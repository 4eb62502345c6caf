//! Files that survive a crash.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::{Result, StoreError};

/// Writes a file whole or not at all, through a file with the extension `new`. Only one process at a time may write a
/// file of this name.
///
/// # Errors
/// If it cannot be written, for example because the disk is full. The file is then as it was.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_through(&path.with_extension("new"), path, bytes)
}

/// As [`write()`], through a file of this name until it is whole. A file that has the name is deleted and never written
/// to: it may be a link to another one.
pub(crate) fn write_through(new: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    let writing = StoreError::io("write", path);
    let write = || -> io::Result<()> {
        match fs::remove_file(new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::create_new(new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(new, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        sync_folder(folder.unwrap_or(Path::new(".")))
    };
    write().map_err(|error| {
        // The disk is full, for example.
        let _ = fs::remove_file(new);
        writing(error)
    })
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A file of at most `limit` bytes; `None` if it does not exist.
///
/// # Errors
/// If it cannot be read, has more bytes, or is not a file.
pub fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    // Opening a pipe would wait for its writer.
    let opened = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(StoreError::io("open", path))?,
    };
    if !file.metadata().map_err(StoreError::io("read", path))?.is_file() {
        return Err(StoreError::damaged(path, "it is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(StoreError::io("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(StoreError::damaged(path, format!("it has more than {limit} bytes")));
    }
    Ok(Some(bytes))
}

/// Creates a folder unless it exists.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        created => created.map_err(StoreError::io("create", path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_at_the_temporary_name_are_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("precious"), "whole").unwrap();
        fs::hard_link(path("precious"), path("file.new")).unwrap();
        write(&path("file.json"), b"1").unwrap();
        std::os::unix::fs::symlink(path("precious"), path("file.new")).unwrap();
        write(&path("file.json"), b"2").unwrap();
        assert_eq!(fs::read(path("precious")).unwrap(), b"whole");
        assert_eq!(fs::read(path("file.json")).unwrap(), b"2");
        assert!(!path("file.new").exists());
    }
}
