//! Versions of remote stores on this machine, by the SHA-256 of their manifests.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::FlockOperation;

use super::base_path::{BasePath, ListedVersion};
use super::client::RemoteOptions;
use super::error::RemoteErrorKind;
use super::fetch::{Fetch, Known, discard};
use super::pull::Found;
use super::store::Remote;
use crate::durable;
use crate::error::{Result, StoreError};
use crate::lock::lock_file;
use crate::manifest::{self, Manifest};
use crate::name::{ModelName, Reference};
use crate::signing::SIGNATURE_FILE;
use crate::store::Version;
use crate::verify::{Fault, compare_names};

/// The file that is there when all others are. Its time is when the version was last used.
const WHOLE: &str = "manifest.json";

/// The same of a version that has no manifest: what the bucket listed.
const LISTED: &str = "listed.json";

/// The folder with the files of a version.
const MODEL: &str = "model";

/// The lock of a version. Whoever uses the version shares it, for as long as a server serves it.
const LOCK: &str = "lock";

/// The lock of changes to a version that is in use: each replaces one file by a better one.
const CHANGE: &str = "change.lock";

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

/// The folder of a version without a manifest, which stays in the cache as long as this exists.
#[derive(Debug)]
pub struct CachedFolder {
    path: PathBuf,
    _lock: File,
}

impl CachedFolder {
    /// The folder, of this machine.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
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
        Self { folder: folder.into(), limit: LIMIT }
    }

    /// The most bytes of all versions together; by default 20 GB. One version may have more.
    #[must_use]
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
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

    /// Where it is remembered which digests the compressed layers of images have.
    #[must_use]
    pub fn layers(&self) -> PathBuf {
        self.folder.join("layers")
    }

    /// A version of a remote store, which is pulled unless it is here.
    ///
    /// # Errors
    /// If there is no such version, or it cannot be pulled.
    pub fn get(&self, remote: &Remote, reference: &Reference) -> Result<Cached> {
        self.get_found(&remote.found(reference)?, &remote.options)
    }

    /// As [`Cache::get`], if the files of the version in the cache are damaged: each is compared with the manifest by
    /// its SHA-256, and those that differ are fetched again. Others may use the version meanwhile.
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub fn repair(&self, remote: &Remote, reference: &Reference) -> Result<Cached> {
        let found = remote.found(reference)?;
        let cached = self.get_found(&found, &remote.options)?;
        self.mend(&found, &self.versions().join(&found.digest), &remote.options)?;
        Ok(cached)
    }

    /// Where the files of a version without a manifest are, once it is here: at another place for other contents.
    #[must_use]
    pub fn folder_of_listed(&self, version: &ListedVersion) -> PathBuf {
        self.folder_of(&version.digest())
    }

    /// A folder for files that are needed for a moment.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn scratch(&self) -> Result<PathBuf> {
        fs::create_dir_all(&self.folder).map_err(StoreError::io("create", &self.folder))?;
        Ok(self.folder.clone())
    }

    /// A version without a manifest, which is fetched unless it is here. The bucket is listed once more then: if files
    /// were replaced meanwhile, those that came may not belong together.
    ///
    /// # Errors
    /// If the version cannot be fetched, or is another one now.
    pub fn get_listed(&self, base_path: &BasePath, version: &ListedVersion) -> Result<CachedFolder> {
        let digest = version.digest();
        let folder = self.versions().join(&digest);
        loop {
            fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
            if let Some(lock) = lock_file(&folder.join(LOCK), FlockOperation::LockShared)?
                && folder.join(LISTED).exists()
            {
                touch(&folder.join(LISTED));
                return Ok(CachedFolder { path: folder.join(MODEL), _lock: lock });
            }
            let Some(lock) = lock_file(&folder.join(LOCK), FlockOperation::LockExclusive)? else { continue };
            if !folder.join(LISTED).exists() {
                self.fetch_listed(base_path, version, &folder)?;
            }
            drop(lock);
            self.shrink(&digest);
        }
    }

    fn fetch_listed(&self, base_path: &BasePath, version: &ListedVersion, folder: &Path) -> Result<()> {
        let fetch = Fetch {
            objects: base_path.objects(),
            base: version.folder.clone(),
            files: &version.entries(),
            folder: folder.join(MODEL),
            partial: folder.join("partial"),
            known: &Known::default(),
            parallel: base_path.options.parallel,
            progress: base_path.options.progress.as_ref(),
            recheck: false,
        };
        fetch.run()?;
        if base_path.version(&version.folder)? != *version {
            discard(&folder.join(MODEL));
            return Err(base_path.objects().refuse(&version.folder, RemoteErrorKind::Replaced));
        }
        discard(&folder.join("partial"));
        let text = serde_json::to_vec(version).map_err(|error| StoreError::damaged(folder, error.to_string()))?;
        durable::write(&folder.join(LISTED), &text)
    }

    /// A version that was found, which is pulled unless it is here.
    pub(crate) fn get_found(&self, found: &Found<'_>, options: &RemoteOptions) -> Result<Cached> {
        let folder = self.versions().join(&found.digest);
        loop {
            fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
            if let Some(lock) = lock_file(&folder.join(LOCK), FlockOperation::LockShared)?
                && folder.join(WHOLE).exists()
            {
                if !is_whole(found, &folder) {
                    self.mend(found, &folder, options)?;
                }
                refresh_signature(found, &folder)?;
                touch(&folder.join(WHOLE));
                let (model, manifest) = (found.model.clone(), found.manifest.clone());
                let version = Version::new(model, folder.join(MODEL), manifest, found.digest.clone());
                return Ok(Cached { version, _lock: lock });
            }
            let Some(lock) = lock_file(&folder.join(LOCK), FlockOperation::LockExclusive)? else { continue };
            if !folder.join(WHOLE).exists() {
                self.fetch(found, &folder, options, false)?;
            }
            drop(lock);
            self.shrink(&found.digest);
        }
    }

    /// Makes a version that others may use what the manifest of the remote store says. The caller holds its lock.
    fn mend(&self, found: &Found<'_>, folder: &Path, options: &RemoteOptions) -> Result<()> {
        let Some(_lock) = lock_file(&folder.join(CHANGE), FlockOperation::LockExclusive)? else { return Ok(()) };
        for fault in compare_names(&folder.join(MODEL), &found.manifest).unwrap_or_default() {
            if let Fault::Extra(name) = fault {
                let path = folder.join(MODEL).join(name);
                fs::remove_file(&path).map_err(StoreError::io("delete", path))?;
            }
        }
        self.fetch(found, folder, options, true)
    }

    /// Brings the files of a version; with `recheck`, those whose bytes are not those of the manifest too.
    fn fetch(&self, found: &Found<'_>, folder: &Path, options: &RemoteOptions, recheck: bool) -> Result<()> {
        let known = Known::of(&self.known_versions());
        let fetch = Fetch {
            objects: found.objects,
            base: found.base(),
            files: &found.manifest.files,
            folder: folder.join(MODEL),
            partial: folder.join("partial"),
            known: &known,
            parallel: options.parallel,
            progress: options.progress.as_ref(),
            recheck,
        };
        fetch.run()?;
        discard(&folder.join("partial"));
        durable::write(&folder.join(WHOLE), &found.text)
    }

    /// The versions that are here with the time of their last use, the newest use first.
    fn all(&self) -> Vec<(SystemTime, PathBuf)> {
        let Ok(entries) = fs::read_dir(self.versions()) else { return Vec::new() };
        let used = |folder: PathBuf| {
            let marker = [WHOLE, LISTED].into_iter().find_map(|name| fs::metadata(folder.join(name)).ok());
            Some((marker?.modified().ok()?, folder))
        };
        let mut all: Vec<_> = entries.flatten().filter_map(|entry| used(entry.path())).collect();
        all.sort_by(|a, b| b.cmp(a));
        all
    }

    fn known_versions(&self) -> Vec<(PathBuf, Manifest)> {
        let known = self.all().into_iter().take(MOST_KNOWN);
        known
            .filter_map(|(_, folder)| version_in(&folder))
            .map(|it| (it.path().into(), it.manifest().clone()))
            .collect()
    }

    /// Deletes the versions that were not used for the longest time and are not in use, as far as possible.
    fn shrink(&self, kept: &str) {
        let mut sum = 0_u64;
        for (_, folder) in self.all() {
            sum = sum.saturating_add(bytes_of(&folder));
            let is_kept = folder.file_name().is_some_and(|name| name == kept);
            if sum > self.limit
                && !is_kept
                && matches!(lock_file(&folder.join(LOCK), FlockOperation::NonBlockingLockExclusive), Ok(Some(_)))
            {
                // Without this file the version is not whole.
                for name in [WHOLE, LISTED] {
                    let _ = fs::remove_file(folder.join(name));
                }
                discard(&folder);
            }
        }
    }

    /// The version whose folder this is, if it is one of a cache.
    #[must_use]
    pub fn version_at(path: &Path) -> Option<Version> {
        let path = path.canonicalize().ok()?;
        path.parent().filter(|_| path.ends_with(MODEL)).and_then(version_in)
    }
}

/// The version in a folder, if its manifest is the one that the folder is named after.
fn version_in(folder: &Path) -> Option<Version> {
    let path = folder.join(WHOLE);
    let bytes = durable::read(&path, manifest::MAX_FILE).ok()??;
    let named: Manifest = serde_json::from_slice(&bytes).ok()?;
    let model: ModelName = named.model.parse().ok()?;
    let (manifest, digest) = Manifest::decode(&bytes, &path, &model, named.version).ok()?;
    folder.ends_with(&digest).then(|| Version::new(model, folder.join(MODEL), manifest, digest))
}

/// The bytes of the version in a folder.
fn bytes_of(folder: &Path) -> u64 {
    if let Some(version) = version_in(folder) {
        return version.manifest().bytes();
    }
    let listed = durable::read(&folder.join(LISTED), manifest::MAX_FILE).ok().flatten();
    let listed = listed.and_then(|bytes| serde_json::from_slice::<ListedVersion>(&bytes).ok());
    listed.map_or(0, |version| version.bytes())
}

/// Whether the manifest in a folder is that of the remote store. Others may write to a cache that is shared.
fn is_whole(found: &Found<'_>, folder: &Path) -> bool {
    let bytes = durable::read(&folder.join(WHOLE), found.text.len() as u64).ok().flatten();
    bytes.is_some_and(|bytes| bytes == found.text)
}

/// A version may be signed, or signed again, after it was published. Another store may have the same version without a
/// signature, which says nothing against this one. The caller holds the lock of the version.
fn refresh_signature(found: &Found<'_>, folder: &Path) -> Result<()> {
    let Some(signature) = found.signature()? else { return Ok(()) };
    let path = folder.join(MODEL).join(SIGNATURE_FILE);
    let is_known =
        || durable::read(&path, signature.len() as u64).is_ok_and(|known| known.as_ref() == Some(&signature));
    if is_known() {
        return Ok(());
    }
    let Some(_lock) = lock_file(&folder.join(CHANGE), FlockOperation::LockExclusive)? else { return Ok(()) };
    match is_known() {
        true => Ok(()),
        false => durable::write_through(&folder.join("signature.new"), &path, &signature),
    }
}

fn touch(path: &Path) {
    let now = fs::FileTimes::new().set_modified(SystemTime::now());
    // Nothing is lost but the order of use.
    let _ = File::options().append(true).open(path).and_then(|file| file.set_times(now));
}
