//! Publishing the files of a checkpoint at once: the shards first, which are not read without the index, then the
//! index.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use super::index::{CheckpointIndex, index_path, shard_path};
use crate::error::{Error, Result};
use crate::scratch::Scratch;

/// A checkpoint that is being written. Dropped without [`Unpublished::finish`], it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Unpublished {
    /// An absolute path.
    prefix: PathBuf,
    /// The folder of the files until they are complete.
    scratch: Scratch,
    /// The files on disk, and their future names.
    shards: Vec<(PathBuf, PathBuf)>,
}

/// A file of the checkpoint.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    path: PathBuf,
}

impl Part {
    pub(super) fn as_file(&self) -> &File {
        &self.file
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Unpublished {
    /// Begins the checkpoint with this prefix, and creates its folder if it does not exist.
    pub(super) fn begin(prefix: &Path) -> Result<Self> {
        let prefix = std::path::absolute(prefix).map_err(Error::io("name", prefix))?;
        let index = index_path(&prefix);
        if index.file_name().is_none_or(|name| name == ".index") {
            let source = ErrorKind::InvalidInput.into();
            return Err(Error::Io { action: "write a checkpoint to", path: prefix, source });
        }
        if fs::symlink_metadata(&index).is_ok() {
            return Err(Error::Exists { path: index });
        }
        let folder = folder(&prefix);
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let scratch = Scratch::beside(&prefix).map_err(Error::io("create a folder for", &prefix))?;
        Ok(Self { prefix, scratch, shards: Vec::new() })
    }

    pub(super) fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The future path of a shard.
    pub(super) fn shard_path(&self, shard: u32, num_shards: u32) -> PathBuf {
        shard_path(&self.prefix, shard, num_shards)
    }

    /// A file that will become the target, with the permissions of any other new file.
    pub(super) fn file(&self, target: &Path) -> Result<Part> {
        let path = self.scratch.path().join(target.file_name().unwrap_or_default());
        let file = File::options().read(true).write(true).create_new(true).open(&path);
        Ok(Part { file: file.map_err(Error::io("create a file for", target))?, path })
    }

    /// Takes a finished shard and makes it durable.
    pub(super) fn add(&mut self, part: Part, shard: u32, num_shards: u32) -> Result<()> {
        let path = self.shard_path(shard, num_shards);
        part.file.sync_all().map_err(Error::io("write to disk", &path))?;
        // Closed, because there may be more shards than a process may have open files.
        self.shards.push((part.path, path));
        Ok(())
    }

    /// Writes the index and gives the files their names, the index last. Returns the index.
    pub(super) fn finish(self, bytes: &[u8]) -> Result<CheckpointIndex> {
        let path = index_path(&self.prefix);
        let mut index = self.file(&path)?;
        index.write_all(bytes).map_err(Error::io("write", &path))?;
        index.as_file().sync_all().map_err(Error::io("write to disk", &path))?;
        if fs::symlink_metadata(&path).is_ok() {
            return Err(Error::Exists { path });
        }
        // A shard without an index is a leftover: a writer was stopped between the two.
        for (file, path) in self.shards {
            fs::rename(file, &path).map_err(Error::io("create", &path))?;
        }
        let index = TempPath::try_from_path(index.path).map_err(Error::io("create", &path))?;
        index.persist_noclobber(&path).map_err(|error| match error.error.kind() {
            ErrorKind::AlreadyExists => Error::Exists { path: path.clone() },
            _ => Error::io("create", &path)(error.error),
        })?;
        let folder = folder(&self.prefix);
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io("write to disk", folder))?;
        CheckpointIndex::read(&self.prefix, bytes)
    }
}

/// The folder of the files of a checkpoint, whose prefix is an absolute path.
fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}
