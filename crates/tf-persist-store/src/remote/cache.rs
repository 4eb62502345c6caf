//! Versions of remote stores on this machine, by the SHA-256 of their manifests.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};

use super::fetch::{Fetch, Known, add, discard};
use super::progress::Progress;
use super::pull::Found;
use super::store::Remote;
use crate::durable;
use crate::error::{Result, StoreError};
use crate::manifest::{self, Manifest};
use crate::name::{ModelName, Reference};
use crate::signing::SIGNATURE_FILE;
use crate::store::Version;

/// The file that is there when all others are. Its time is when the version was last used.
const WHOLE: &str = "manifest.json";

/// The folder with the files of a version.
const MODEL: &str = "model";

/// Versions whose files and tensors are looked at.
const MOST_KNOWN: usize = 8;

/// The bytes of all versions together, unless another limit is set.
const LIMIT: u64 = 20_000_000_000;

/// A folder with versions of remote stores. Those that were not used for the longest time are deleted when all of them
/// together are too large.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    limit: u64,
    progress: Arc<dyn Progress>,
}

/// A version in the cache, which stays there as long as this exists.
#[derive(Debug)]
pub struct Cached {
    version: Version,
    _lock: File,
}

impl Cached {
    /// The version. Its path is a folder of this machine.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.version
    }
}

/// The folder that the environment names: `TF_PERSIST_CACHE`, or `tf-persist` in the user's folder for caches.
pub(crate) fn folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = || {
        let home = absolute("HOME");
        let in_home = home.map(|home| home.join(if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" }));
        absolute("XDG_CACHE_HOME").or(in_home).map(|base| base.join("tf-persist"))
    };
    absolute("TF_PERSIST_CACHE").or_else(base)
}

impl Cache {
    /// The cache of this user: `TF_PERSIST_CACHE`, or `tf-persist` in the user's folder for caches.
    ///
    /// # Errors
    /// If the environment names no folder.
    pub fn of_user() -> Result<Self> {
        let missing =
            || io::Error::new(io::ErrorKind::NotFound, "neither TF_PERSIST_CACHE nor HOME is an absolute path");
        let folder = folder().ok_or_else(|| StoreError::io("find", "the folder of the cache")(missing()))?;
        Ok(Self::at(folder))
    }

    /// A cache in this folder.
    #[must_use]
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), limit: LIMIT, progress: Arc::new(()) }
    }

    /// The most bytes of all versions together; by default 20 GB. One version may have more.
    #[must_use]
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Who hears how far a transfer is.
    #[must_use]
    pub fn progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = progress;
        self
    }

    fn versions(&self) -> PathBuf {
        self.folder.join("versions")
    }

    /// Where the files of a version are, once it is here. `digest` is the SHA-256 of its manifest.
    #[must_use]
    pub fn folder_of(&self, digest: &str) -> PathBuf {
        self.versions().join(digest).join(MODEL)
    }

    /// A version of a remote store, which is pulled unless it is here.
    ///
    /// # Errors
    /// If there is no such version, or it cannot be pulled.
    pub fn get(&self, remote: &Remote, reference: &Reference) -> Result<Cached> {
        self.get_found(&remote.found(reference)?, remote.options.parallel)
    }

    /// A version that was found, which is pulled unless it is here.
    pub(crate) fn get_found(&self, found: &Found<'_>, parallel: usize) -> Result<Cached> {
        let folder = self.versions().join(&found.digest);
        loop {
            fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
            if let Some(lock) = take(&folder, FlockOperation::LockShared)?
                && let Some(version) = whole(&folder, found.model, found.manifest.version)?
            {
                refresh_signature(found, &folder)?;
                touch(&folder.join(WHOLE));
                return Ok(Cached { version, _lock: lock });
            }
            let Some(lock) = take(&folder, FlockOperation::LockExclusive)? else { continue };
            if !folder.join(WHOLE).exists() {
                self.fetch(found, &folder, parallel)?;
            }
            drop(lock);
            self.shrink(&found.digest);
        }
    }

    fn fetch(&self, found: &Found<'_>, folder: &Path, parallel: usize) -> Result<()> {
        let known = Known::of(&self.known_versions());
        let fetch = Fetch {
            objects: found.objects,
            base: found.base(),
            manifest: &found.manifest,
            folder: folder.join(MODEL),
            partial: folder.join("partial"),
            known: &known,
            parallel,
            progress: self.progress.as_ref(),
        };
        fetch.run()?;
        discard(&folder.join("partial"));
        durable::write(&folder.join(WHOLE), &found.text)
    }

    /// The versions that are here with the time of their last use, the newest use first.
    fn all(&self) -> Vec<(SystemTime, PathBuf)> {
        let Ok(entries) = fs::read_dir(self.versions()) else { return Vec::new() };
        let used = |folder: PathBuf| Some((fs::metadata(folder.join(WHOLE)).ok()?.modified().ok()?, folder));
        let mut all: Vec<_> = entries.flatten().filter_map(|entry| used(entry.path())).collect();
        all.sort_by(|a, b| b.cmp(a));
        all
    }

    fn known_versions(&self) -> Vec<(PathBuf, Manifest)> {
        let known = self.all().into_iter().take(MOST_KNOWN);
        known.filter_map(|(_, folder)| Some((folder.join(MODEL), read_manifest(&folder)?))).collect()
    }

    /// Deletes the versions that were not used for the longest time and are not in use, as far as possible.
    fn shrink(&self, kept: &str) {
        let mut sum = 0_u64;
        for (_, folder) in self.all() {
            sum = sum.saturating_add(read_manifest(&folder).map_or(0, |manifest| manifest.bytes()));
            let is_kept = folder.file_name().is_some_and(|name| name == kept);
            if sum > self.limit
                && !is_kept
                && matches!(take(&folder, FlockOperation::NonBlockingLockExclusive), Ok(Some(_)))
            {
                // Without this file the version is not whole.
                let _ = fs::remove_file(folder.join(WHOLE));
                discard(&folder);
            }
        }
    }

    /// The version whose folder this is, if it is one of a cache.
    #[must_use]
    pub fn version_at(path: &Path) -> Option<Version> {
        let path = path.canonicalize().ok()?;
        let folder = path.parent().filter(|_| path.ends_with(MODEL))?;
        let manifest = read_manifest(folder)?;
        let (model, number) = (manifest.model.parse().ok()?, manifest.version);
        let version = whole(folder, &model, number).ok()??;
        folder.ends_with(version.digest()).then_some(version)
    }
}

fn read_manifest(folder: &Path) -> Option<Manifest> {
    serde_json::from_slice(&durable::read(&folder.join(WHOLE), manifest::MAX_FILE).ok()??).ok()
}

/// The version in a folder, if all of its files are there.
fn whole(folder: &Path, model: &ModelName, number: u64) -> Result<Option<Version>> {
    let path = folder.join(WHOLE);
    let Some(bytes) = durable::read(&path, manifest::MAX_FILE)? else { return Ok(None) };
    let (manifest, digest) = Manifest::decode(&bytes, &path, model, number)?;
    Ok(Some(Version::new(model.clone(), folder.join(MODEL), manifest, digest)))
}

/// A version may be signed, or signed again, after it was published.
fn refresh_signature(found: &Found<'_>, folder: &Path) -> Result<()> {
    let (folder, signature) = (folder.join(MODEL), found.signature()?);
    let path = folder.join(SIGNATURE_FILE);
    match signature {
        Some(signature) if durable::read(&path, signature.len() as u64).ok().flatten().as_ref() != Some(&signature) => {
            add(&folder, SIGNATURE_FILE, &signature)
        }
        None if path.exists() => fs::remove_file(&path).map_err(StoreError::io("delete", path)),
        _ => Ok(()),
    }
}

fn touch(path: &Path) {
    let now = fs::FileTimes::new().set_modified(SystemTime::now());
    // Nothing is lost but the order of use.
    let _ = File::options().append(true).open(path).and_then(|file| file.set_times(now));
}

/// Takes the lock of a version. `None` if it was deleted meanwhile, or another process has the lock.
fn take(folder: &Path, how: FlockOperation) -> Result<Option<File>> {
    let path = folder.join("lock");
    let mut options = OpenOptions::new();
    let file = match options.read(true).write(true).create(true).truncate(false).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(StoreError::io("open", &path))?,
    };
    loop {
        match flock(&file, how) {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            locked => break locked.map_err(|error| StoreError::io("lock", &path)(error.into()))?,
        }
    }
    let same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    let is_there = match (file.metadata(), fs::metadata(&path)) {
        (Ok(held), Ok(named)) => same(&held, &named),
        _ => false,
    };
    Ok(is_there.then_some(file))
}
