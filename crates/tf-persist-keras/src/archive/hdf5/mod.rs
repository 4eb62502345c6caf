//! HDF5 files: groups, datasets and attributes, by their paths.
//!
//! The format is parsed by the crate `hdf5-reader`. This module adds limits on what a file can make its reader do, and
//! gives values the types that Keras means. A file is a tree here: an object with two paths is refused, because Keras
//! writes none, and with them a few bytes describe a tree without an end.

mod dataset;
mod element;
mod group;
mod storage;
mod value;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hdf5_reader::error::Error as ReaderError;
use hdf5_reader::{Hdf5File, OpenOptions};
use tf_persist_savedmodel::{Error, Result, printable};

use self::storage::LimitedStorage;
use super::ByteRange;

pub(crate) use self::dataset::{Dataset, PlainDataset};
pub(crate) use self::group::Group;

/// How many times larger than the file all its compressed datasets may be together: the most that compression is worth
/// for weights, of which some may be all zeros.
const MAX_RATIO: u64 = 100;

/// The size that they may have in any case.
const ALWAYS: u64 = 1 << 20;

/// The largest chunk of a dataset that is decompressed at once.
const MAX_CHUNK: u64 = 256 << 20;

/// An open HDF5 file. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Hdf5 {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    file: Hdf5File,
    length: u64,
    /// The size of what it was read from, which is smaller if that was compressed.
    compressed: u64,
    /// By the addresses of their headers, the objects that were opened.
    objects: Mutex<Objects>,
    /// The bytes of texts of a variable length that may still be read: many references may name the same text.
    texts_left: AtomicU64,
}

#[derive(Default)]
struct Objects {
    by_address: HashMap<u64, Object>,
    /// The bytes of datasets that were read and are kept as they are, and those of chunked ones.
    plain: u64,
    chunked: u64,
}

struct Object {
    path: String,
    /// Whether its data was read.
    is_counted: bool,
}

impl fmt::Debug for Hdf5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hdf5").field("path", &self.shared.path).field("length", &self.shared.length).finish()
    }
}

impl Hdf5 {
    /// Opens a file.
    ///
    /// # Errors
    /// If it cannot be read, or is no HDF5 file.
    #[cfg(test)]
    pub(crate) fn open_file(path: &Path) -> Result<Self> {
        Self::open(ByteRange::open(path)?, path)
    }

    /// Opens a file of these bytes. Errors name `path_for_errors`.
    ///
    /// # Errors
    /// If it is no HDF5 file.
    pub(crate) fn open(bytes: impl Into<ByteRange>, path_for_errors: &Path) -> Result<Self> {
        let bytes = bytes.into();
        let length = bytes.len();
        Self::open_in(bytes, path_for_errors, length)
    }

    /// Opens a file that was in an archive of this size, which limits what may be decompressed again.
    ///
    /// # Errors
    /// As [`Hdf5::open`].
    pub(crate) fn open_in(bytes: ByteRange, path_for_errors: &Path, archive: u64) -> Result<Self> {
        let length = bytes.len();
        let compressed = length.min(archive);
        let decoded = usize::try_from(decoded_limit(compressed)).unwrap_or(usize::MAX);
        let options = OpenOptions::default()
            .with_chunk_cache_bytes(0)
            .with_max_chunk_bytes(decoded.min(MAX_CHUNK as usize))
            .with_max_read_bytes(decoded);
        let path = path_for_errors.to_path_buf();
        let file = Hdf5File::from_storage_with_options(Arc::new(LimitedStorage::new(bytes)), options);
        let file = file.map_err(|error| Error::damaged(&path, format!("it cannot be read as HDF5: {error}")))?;
        let texts_left = AtomicU64::new(compressed.saturating_mul(16).saturating_add(ALWAYS));
        Ok(Self { shared: Arc::new(Shared { path, file, length, compressed, objects: Mutex::default(), texts_left }) })
    }

    /// The file that errors name.
    pub(crate) fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The group that everything else is in.
    ///
    /// # Errors
    /// If its header cannot be read.
    pub(crate) fn root(&self) -> Result<Group> {
        let root = self.shared.file.root_group().map_err(|error| self.failed("group", "", error))?;
        Group::new(self.clone(), root, String::new(), 0)
    }

    /// The group at a path; `None` if there is none.
    ///
    /// # Errors
    /// As [`Group::group`].
    #[cfg(test)]
    pub(crate) fn group(&self, path: &str) -> Result<Option<Group>> {
        self.root()?.group(path)
    }

    /// The dataset at a path; `None` if there is none.
    ///
    /// # Errors
    /// As [`Group::dataset`].
    #[cfg(test)]
    pub(crate) fn dataset(&self, path: &str) -> Result<Option<Dataset>> {
        self.root()?.dataset(path)
    }

    /// All datasets of the file, those of a group before those of its groups.
    ///
    /// # Errors
    /// If an object cannot be read, or is there twice.
    pub(crate) fn datasets(&self) -> Result<Vec<Dataset>> {
        let (mut groups, mut all) = (vec![self.root()?], Vec::new());
        while let Some(group) = groups.pop() {
            let members = group.members()?;
            for name in &members.datasets {
                all.extend(group.dataset(name)?);
            }
            for name in members.groups.iter().rev() {
                groups.extend(group.group(name)?);
            }
        }
        Ok(all)
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.shared.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the path of an object.
    fn enter(&self, address: u64, path: &str) -> Result<()> {
        let mut objects = self.objects();
        let object = || Object { path: path.to_owned(), is_counted: false };
        let known = objects.by_address.entry(address).or_insert_with(object);
        if known.path == path {
            return Ok(());
        }
        let reason = format!("its objects `{}` and `{}` are the same one", printable(&known.path), printable(path));
        Err(Error::flawed(self.path(), reason))
    }

    /// Notes that a dataset of this size is read. Datasets that are not chunked do not overlap in honest files.
    fn count(&self, address: u64, size: u64, is_chunked: bool) -> Result<(), String> {
        let mut objects = self.objects();
        let Objects { by_address, plain, chunked } = &mut *objects;
        let (sum, limit) =
            if is_chunked { (chunked, decoded_limit(self.shared.compressed)) } else { (plain, self.shared.length) };
        let is_counted = by_address.get_mut(&address).is_some_and(|object| object.is_counted);
        let total = if is_counted { *sum } else { sum.saturating_add(size) };
        if total > limit || size > limit {
            return Err(format!("its {size} bytes are more than the {} bytes of the file can be", self.shared.length));
        }
        *sum = total;
        if let Some(object) = by_address.get_mut(&address) {
            object.is_counted = true;
        }
        Ok(())
    }

    /// Notes that a text of this length is read.
    fn take_text(&self, length: u64) -> Result<(), String> {
        let left = &self.shared.texts_left;
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(length));
        taken.map(|_| ()).map_err(|_| format!("its texts are longer than the {} bytes of the file", self.shared.length))
    }

    /// An error of the parser about an object.
    fn failed(&self, kind: &str, path: &str, error: ReaderError) -> Error {
        let mut error = error;
        while let ReaderError::Context { source, .. } = error {
            error = *source;
        }
        let reason = format!("its {kind} `/{}` cannot be read: {error}", printable(path));
        if is_unsupported(&error) {
            return Error::Unsupported { path: self.path().to_path_buf(), reason, hint: None };
        }
        Error::damaged(self.path(), reason)
    }

    fn damaged(&self, kind: &str, path: &str, reason: impl fmt::Display) -> Error {
        Error::damaged(self.path(), format!("its {kind} `/{}` cannot be read: {reason}", printable(path)))
    }

    fn unsupported(&self, kind: &str, path: &str, what: impl fmt::Display) -> Error {
        let reason = format!("its {kind} `/{}` has {what}", printable(path));
        Error::Unsupported { path: self.path().to_path_buf(), reason, hint: None }
    }
}

/// The bytes that all compressed datasets of a file of this length may have together.
fn decoded_limit(length: u64) -> u64 {
    length.saturating_mul(MAX_RATIO).saturating_add(ALWAYS)
}

/// Whether the file may be whole, and is of a kind that the parser does not have.
fn is_unsupported(error: &ReaderError) -> bool {
    matches!(
        error,
        ReaderError::UnsupportedSuperblockVersion(_)
            | ReaderError::UnsupportedFilter(_)
            | ReaderError::UnsupportedEncoding(_)
            | ReaderError::UnsupportedLayoutVersion(_)
    )
}

#[cfg(test)]
mod tests;
