//! The zip archive that a `.keras` file is.
//!
//! Keras stores its entries; archives that were compressed again are read, too. Names and sizes in an archive are not
//! trusted.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tf_persist_savedmodel::{Error, Result, printable};
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::byte_range::{ByteRange, RangeReader};
use super::file::reserve;

/// The most entries: a model with an asset for each of its layers has thousands.
const MAX_ENTRIES: usize = 1 << 16;

/// Deflate makes at most 1032 bytes of one, after a header of its block.
const MAX_DEFLATE_RATIO: u64 = 1032;

/// The largest entry that is decompressed; a stored entry is part of the file and needs no memory of its own.
const MAX_INFLATED: u64 = 16 << 30;

/// How many times larger an entry may be than its compressed bytes. Weights and configs that somebody compressed do not
/// reach it, and a bomb needs more.
const MAX_RATIO: u64 = 100;

/// The size that an entry may have in any case.
const ALWAYS: u64 = 1 << 20;

/// The largest entries whose name says what they are.
const MAX_CONFIG: u64 = 64 << 20;
const MAX_METADATA: u64 = 1 << 20;

/// An open `.keras` archive.
#[derive(Clone)]
pub(crate) struct KerasZip {
    path: PathBuf,
    bytes: ByteRange,
    archive: ZipArchive<RangeReader>,
    entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
}

/// An entry as the archive's directory describes it.
#[derive(Clone)]
struct Entry {
    name: String,
    /// Its number in the archive, which has folders, too.
    index: usize,
    method: CompressionMethod,
    compressed: u64,
    size: u64,
    crc32: u32,
}

impl fmt::Debug for KerasZip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KerasZip").field("path", &self.path).field("entries", &self.entries.len()).finish()
    }
}

impl KerasZip {
    /// Opens the archive in a file.
    #[cfg(test)]
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::from_bytes(ByteRange::open(path)?, path)
    }

    /// Opens an archive, and checks its directory. Errors name `path`.
    ///
    /// # Errors
    /// If it is no zip archive, or has entries with names that lead out of it, that occur twice, that share their
    /// bytes, that are encrypted, or that declare an impossible size.
    pub(crate) fn from_bytes(bytes: impl Into<ByteRange>, path: &Path) -> Result<Self> {
        let (bytes, path) = (bytes.into(), path.to_path_buf());
        let mut archive = ZipArchive::new(bytes.reader()).map_err(|error| no_archive(&path, &error))?;
        if archive.has_duplicate_names() {
            return Err(Error::flawed(&path, "an entry of the archive is in it twice"));
        }
        let metadata = archive.metadata();
        if metadata.len() > MAX_ENTRIES {
            let reason = format!("the archive has {} entries, more than {MAX_ENTRIES}", metadata.len());
            return Err(Error::flawed(&path, reason));
        }
        let (mut entries, mut by_name) = (Vec::with_capacity(metadata.len()), HashMap::new());
        for index in 0..metadata.len() {
            let entry = metadata.entry(index).map_err(|error| no_archive(&path, &error))?;
            let name = entry.name().map_err(|error| no_archive(&path, &error))?.into_owned();
            check_name(&name).map_err(|reason| Error::flawed(&path, reason))?;
            if entry.encrypted() {
                let reason = format!("the entry `{}` of the archive is encrypted", printable(&name));
                return Err(Error::Unsupported { path, reason, hint: None });
            }
            if entry.is_dir() {
                continue;
            }
            let (size, compressed) = (entry.size(), entry.compressed_size());
            let entry = Entry { name, index, method: entry.compression(), compressed, size, crc32: entry.crc32() };
            entry.check_size().map_err(|reason| Error::flawed(&path, reason))?;
            if by_name.insert(entry.name.clone(), entries.len()).is_some() {
                let reason = format!("the entry `{}` of the archive is in it twice", printable(&entry.name));
                return Err(Error::flawed(&path, reason));
            }
            entries.push(entry);
        }
        // Many entries over the same few bytes are how an archive of kilobytes becomes terabytes.
        if archive.has_overlapping_files().map_err(|error| no_archive(&path, &error))? {
            return Err(Error::flawed(&path, "two entries of the archive share their bytes"));
        }
        Ok(Self { path, bytes, archive, entries, by_name })
    }

    /// The names of the entries in the archive's order, without folders.
    pub(crate) fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// The size of the archive in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.bytes.len()
    }

    /// Whether there is an entry of this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Reads an entry. The bytes of a stored one are not copied if those of the archive are in memory.
    ///
    /// # Errors
    /// As [`KerasZip::range`].
    pub(crate) fn read(&self, name: &str) -> Result<Bytes> {
        self.range(name)?.bytes().map_err(Error::io("read", &self.path))
    }

    /// The bytes of an entry. A stored one is a part of the archive's bytes, and is not kept in memory.
    ///
    /// # Errors
    /// If there is no such entry, it is too large for its name, its checksum differs, or it is compressed by a method
    /// that `.keras` files do not have.
    pub(crate) fn range(&self, name: &str) -> Result<ByteRange> {
        let Some(entry) = self.by_name.get(name).and_then(|index| self.entries.get(*index)) else {
            return Err(Error::flawed(&self.path, format!("the archive has no entry `{}`", printable(name))));
        };
        let limit = match name {
            "config.json" => MAX_CONFIG,
            "metadata.json" => MAX_METADATA,
            _ if entry.method == CompressionMethod::Stored => u64::MAX,
            _ => MAX_INFLATED,
        };
        if entry.size > limit {
            let reason = format!("its entry `{}` has {} bytes, more than {limit}", printable(name), entry.size);
            return Err(Error::flawed(&self.path, reason));
        }
        if entry.size > entry.compressed.saturating_mul(MAX_RATIO).max(ALWAYS) {
            let (name, size, compressed) = (printable(name), entry.size, entry.compressed);
            let reason = format!("its entry `{name}` has {size} bytes in {compressed} compressed ones, as a bomb has");
            let hint = Some("if you trust it, pack the archive again without compression".into());
            return Err(Error::Unsupported { path: self.path.clone(), reason, hint });
        }
        match entry.method {
            CompressionMethod::Stored => self.stored(entry),
            CompressionMethod::Deflated => self.inflated(entry).map(ByteRange::from),
            other => {
                let reason = format!("its entry `{}` is compressed by the method {other}", printable(name));
                let hint = Some("pack the archive again with stored or deflated entries".into());
                Err(Error::Unsupported { path: self.path.clone(), reason, hint })
            }
        }
    }

    fn stored(&self, entry: &Entry) -> Result<ByteRange> {
        let mut archive = self.archive.clone();
        let raw = archive.by_index_raw(entry.index).map_err(|error| no_archive(&self.path, &error))?;
        let bytes = raw.data_start().and_then(|start| self.bytes.part(start, entry.size));
        let bytes = bytes.ok_or_else(|| self.damaged(entry, "is cut short"))?;
        let mut hasher = crc32fast::Hasher::new();
        bytes.for_each_piece(|piece| hasher.update(piece)).map_err(Error::io("read", &self.path))?;
        if hasher.finalize() != entry.crc32 {
            return Err(self.damaged(entry, "does not have its checksum"));
        }
        Ok(bytes)
    }

    fn inflated(&self, entry: &Entry) -> Result<Bytes> {
        let mut archive = self.archive.clone();
        let reader = archive.by_index(entry.index).map_err(|error| no_archive(&self.path, &error))?;
        let mut bytes = Vec::new();
        reserve(&mut bytes, entry.size)?;
        // One byte more than declared, so that an entry that is too long is noticed.
        let read = reader.take(entry.size.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| self.damaged(entry, &format!("cannot be decompressed: {}", cause(&error))))?;
        if bytes.len() as u64 != entry.size {
            return Err(self.damaged(entry, &format!("does not have the {} bytes that it declares", entry.size)));
        }
        Ok(bytes.into())
    }

    fn damaged(&self, entry: &Entry, reason: &str) -> Error {
        Error::damaged(&self.path, format!("its entry `{}` {reason}", printable(&entry.name)))
    }
}

impl Entry {
    /// Refuses a declared size that the entry's bytes cannot have.
    fn check_size(&self) -> Result<(), String> {
        let possible = match self.method {
            CompressionMethod::Stored => self.size == self.compressed,
            _ => self.size <= self.compressed.saturating_mul(MAX_DEFLATE_RATIO),
        };
        if possible {
            return Ok(());
        }
        let (name, size, compressed) = (printable(&self.name), self.size, self.compressed);
        Err(format!("its entry `{name}` declares {size} bytes, which {compressed} stored bytes cannot be"))
    }
}

/// Refuses names that lead out of a folder on any system.
fn check_name(name: &str) -> Result<(), String> {
    let leads_out = name.starts_with('/') || name.contains(['\\', '\0']) || name.split('/').any(|part| part == "..");
    if name.is_empty() || leads_out {
        return Err(format!("the name `{}` of an entry leads out of the archive", printable(name)));
    }
    Ok(())
}

fn no_archive(path: &Path, error: &ZipError) -> Error {
    Error::damaged(path, format!("it is not a zip archive, or cut short: {error}"))
}

/// The error itself where the decoder wrapped it.
fn cause(error: &io::Error) -> String {
    error.get_ref().map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
#[path = "zip_tests.rs"]
mod tests;
