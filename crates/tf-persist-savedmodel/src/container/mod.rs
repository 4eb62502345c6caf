//! The files of a model, in a folder or in a pack.

pub(crate) mod file;
pub mod pack;

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use self::file::{file_length, read_file};
use self::pack::{Pack, is_pack, is_pack_path};
use crate::error::{Error, Result};

/// An open file of a model.
#[derive(Debug)]
pub(crate) enum FileReader {
    File(BufReader<File>),
    Packed(BufReader<Packed>),
}

/// A file of a pack, with the position of the next read.
#[derive(Debug)]
pub(crate) struct Packed {
    pack: Arc<Pack>,
    number: usize,
    offset: u64,
}

impl Read for Packed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.pack.read_at(self.number, buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Packed(packed) => packed.read(buffer),
        }
    }
}

/// The files of a model. Names are relative, with `/`.
#[derive(Debug, Clone)]
pub enum Files {
    /// A folder.
    Folder(PathBuf),
    /// A pack.
    Pack(Arc<Pack>),
}

impl Files {
    /// The pack at a path, if the file there is a pack or is named like one; else the folder, whether it exists or not.
    #[doc(hidden)]
    pub fn open(path: &Path) -> Result<Self> {
        let is_file = fs::metadata(path).is_ok_and(|found| found.is_file());
        if is_file && (is_pack_path(path) || is_pack(path)) {
            return Ok(Self::Pack(Arc::new(Pack::open(path)?)));
        }
        Ok(Self::Folder(path.to_path_buf()))
    }

    pub(crate) fn from_bytes(bytes: Bytes) -> Result<Self> {
        Ok(Self::Pack(Arc::new(Pack::from_bytes(bytes)?)))
    }

    /// A pack in memory, which errors name by this path.
    pub(crate) fn in_memory(bytes: Bytes, path: PathBuf) -> Result<Self> {
        Ok(Self::Pack(Arc::new(Pack::in_memory(bytes, path)?)))
    }

    /// Opens a file and returns its length; `None` if it does not exist. The checksum of a file in a pack is not
    /// compared.
    ///
    /// # Errors
    /// If it is not a regular file, or cannot be opened.
    pub(crate) fn reader(&self, name: &str) -> Result<Option<(FileReader, u64)>> {
        let Some(length) = self.length(name)? else { return Ok(None) };
        let reader = match self {
            Self::Folder(folder) => {
                let path = folder.join(name);
                FileReader::File(BufReader::new(File::open(&path).map_err(Error::io("open", &path))?))
            }
            Self::Pack(pack) => {
                let Some(number) = pack.find(name) else { return Ok(None) };
                FileReader::Packed(BufReader::new(Packed { pack: pack.clone(), number, offset: 0 }))
            }
        };
        Ok(Some((reader, length)))
    }

    /// The path of the folder or of the pack.
    #[doc(hidden)]
    pub fn path(&self) -> &Path {
        match self {
            Self::Folder(path) => path,
            Self::Pack(pack) => pack.path(),
        }
    }

    /// The length of a file; `None` if it does not exist.
    ///
    /// # Errors
    /// If it is not a regular file, or its metadata cannot be read.
    #[doc(hidden)]
    pub fn length(&self, name: &str) -> Result<Option<u64>> {
        match self {
            Self::Folder(path) => file_length(&path.join(name)),
            Self::Pack(pack) => Ok(pack.find(name).map(|number| pack.entries()[number].length)),
        }
    }

    /// A whole file of at most `limit` bytes; `None` if it does not exist.
    ///
    /// # Errors
    /// If it is not a regular file, is larger than the limit, cannot be read, has a wrong checksum in its pack, or
    /// there is no memory.
    #[doc(hidden)]
    pub fn read(&self, name: &str, limit: u64, limit_name: &str) -> Result<Option<Bytes>> {
        let pack = match self {
            Self::Folder(path) => return Ok(read_file(&path.join(name), limit, limit_name)?.map(Bytes::from)),
            Self::Pack(pack) => pack,
        };
        let Some(number) = pack.find(name) else { return Ok(None) };
        let length = pack.entries()[number].length;
        if length > limit {
            let reason = format!("it has {length} bytes, and {limit_name} is {limit} bytes");
            return Err(Error::Unsupported { path: pack.path().join(name), reason, hint: None });
        }
        pack.contents(number).map(Some)
    }
}
