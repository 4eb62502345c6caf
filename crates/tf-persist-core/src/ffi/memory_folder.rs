//! Files that TensorFlow reads from memory: its file system `ram://`.
//!
//! Source: `tensorflow/c/env.h`. Each process has its own file system, which ends with the process.

use std::ffi::CString;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use super::library::{FileSymbols, Library, symbols};
use super::status::Status;
use crate::error::{Error, ModelError, Result};

/// A folder of `ram://` with a unique name. It is deleted with its contents when dropped.
pub(crate) struct MemoryFolder {
    path: PathBuf,
    files: &'static FileSymbols,
}

/// An open file of such a folder.
pub(crate) struct MemoryFile<'a> {
    folder: &'a MemoryFolder,
    name: &'a str,
    handle: Option<NonNull<super::library::WritableFile>>,
}

impl MemoryFolder {
    /// Creates a folder.
    ///
    /// # Errors
    /// If this libtensorflow lacks the functions for files, or the file system.
    pub(crate) fn new(_open: &Library) -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let files = symbols().files.as_ref().ok_or_else(|| {
            Error::Model(ModelError::Unsupported {
                path: "libtensorflow".into(),
                reason: "it has no functions that write files".into(),
                hint: None,
            })
        })?;
        // The random part separates two copies of this library in one process.
        let path = format!("ram://tf-persist-{number}-{:016x}", RandomState::new().hash_one(number));
        let folder = Self { path: path.into(), files };
        folder.create_folder(&folder.path)?;
        Ok(folder)
    }

    /// The path in TensorFlow.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn create_folder(&self, path: &Path) -> Result<()> {
        let name = c_path(path)?;
        let mut status = Status::new();
        // SAFETY: the name is NUL-terminated, the status live.
        unsafe { (self.files.create_folder)(name.as_ptr(), status.raw()) };
        status.check(|| format!("create `{}`", path.display()))
    }

    /// Creates a file, and its folders.
    pub(crate) fn create<'a>(&'a self, name: &'a str) -> Result<MemoryFile<'a>> {
        for (end, _) in name.match_indices('/') {
            // This file system accepts existing folders.
            self.create_folder(&self.path.join(&name[..end]))?;
        }
        let path = c_path(&self.path.join(name))?;
        let mut status = Status::new();
        let mut handle = ptr::null_mut();
        // SAFETY: the path is NUL-terminated, handle and status are live; the handle is set only if it is a file's.
        unsafe { (self.files.create_file)(path.as_ptr(), &raw mut handle, status.raw()) };
        status.check(|| format!("create `{}`", self.path.join(name).display()))?;
        Ok(MemoryFile { folder: self, name, handle: NonNull::new(handle) })
    }

    /// Creates a file with these bytes, which are copied.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut file = self.create(name)?;
        file.append(bytes)?;
        file.close()
    }

    /// Deletes a file. On failure, it is deleted with the folder.
    pub(crate) fn delete_file(&self, name: &str) {
        let Ok(path) = c_path(&self.path.join(name)) else { return };
        let mut status = Status::new();
        // SAFETY: the path is NUL-terminated, the status live.
        unsafe { (self.files.delete_file)(path.as_ptr(), status.raw()) };
    }
}

impl Drop for MemoryFolder {
    fn drop(&mut self) {
        let Ok(path) = c_path(&self.path) else { return };
        let (mut files, mut folders) = (0, 0);
        let mut status = Status::new();
        // SAFETY: the path is NUL-terminated, the numbers and the status are live. That something cannot be deleted has
        // no reader.
        unsafe { (self.files.delete_all)(path.as_ptr(), &raw mut files, &raw mut folders, status.raw()) };
    }
}

impl MemoryFile<'_> {
    /// Appends these bytes, which are copied.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(handle) = self.handle else { return Ok(()) };
        let mut status = Status::new();
        // SAFETY: the handle is live, the bytes are readable for their length.
        unsafe { (self.folder.files.append)(handle.as_ptr(), bytes.as_ptr().cast(), bytes.len(), status.raw()) };
        status.check(|| format!("write `{}`", self.folder.path.join(self.name).display()))
    }

    /// Finishes the file.
    pub(crate) fn close(mut self) -> Result<()> {
        let status = self.close_once();
        status
            .map_or(Ok(()), |status| status.check(|| format!("write `{}`", self.folder.path.join(self.name).display())))
    }

    fn close_once(&mut self) -> Option<Status> {
        let handle = self.handle.take()?;
        let mut status = Status::new();
        // SAFETY: the handle is live, and closed once: it was taken out.
        unsafe { (self.folder.files.close)(handle.as_ptr(), status.raw()) };
        Some(status)
    }
}

impl Drop for MemoryFile<'_> {
    fn drop(&mut self) {
        self.close_once();
    }
}

fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_encoded_bytes())
        .map_err(|_| Error::data(path.display().to_string(), "a path cannot hold a NUL"))
}
