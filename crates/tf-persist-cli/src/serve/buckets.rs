//! Base paths in buckets: the versions under them are found by lists, and fetched into the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tf_persist_serve::{Prepare, Refusal, RemotePaths, RemoteVersion};
use tf_persist_store::remote::{
    BasePath, Cache, CachedFolder, ListedVersion, RemoteAddress, RemoteErrorKind, RemoteOptions,
};
use tf_persist_store::{Result, StoreError};

use super::store::refusal;

/// Finds versions in buckets.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    base_paths: BTreeMap<String, Arc<BasePath>>,
    /// The versions that were found, by their paths in the cache.
    found: BTreeMap<PathBuf, Found>,
    /// Those that are loaded, or being loaded: they stay in the cache.
    held: BTreeMap<PathBuf, Held>,
}

#[derive(Debug, Clone)]
struct Found {
    base_path: Arc<BasePath>,
    folder: String,
    version: ListedVersion,
}

#[derive(Debug)]
struct Held {
    base_path: Arc<BasePath>,
    _folder: CachedFolder,
}

impl Buckets {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn base_path(&self, text: &str) -> Result<Arc<BasePath>> {
        if let Some(known) = self.state().base_paths.get(text) {
            return Ok(Arc::clone(known));
        }
        let opened = Arc::new(BasePath::open(&text.parse()?, &RemoteOptions::default())?);
        Ok(Arc::clone(self.state().base_paths.entry(text.to_owned()).or_insert(opened)))
    }

    fn list(&self, base_path: &str, in_use: &BTreeSet<PathBuf>) -> Result<Vec<String>> {
        let base_path = self.base_path(base_path)?;
        {
            let mut state = self.state();
            let is_other = |other: &Arc<BasePath>| !Arc::ptr_eq(other, &base_path);
            state.held.retain(|path, held| is_other(&held.base_path) || in_use.contains(path));
            state.found.retain(|path, found| is_other(&found.base_path) || in_use.contains(path));
        }
        base_path.folders()
    }

    fn look(&self, base_path: &str, folder: &str) -> Result<RemoteVersion> {
        let base_path = self.base_path(base_path)?;
        let version = match base_path.version(folder) {
            // Nobody can serve it, whatever comes next.
            Err(StoreError::Damaged { reason, .. }) => return Ok(RemoteVersion::Incomplete(reason)),
            version => version?,
        };
        let cache = Cache::of_user()?;
        if let Some(reason) = base_path.incomplete(&version, &cache.scratch()?)? {
            return Ok(RemoteVersion::Incomplete(reason));
        }
        let path = cache.folder_of_listed(&version);
        self.state().found.insert(path.clone(), Found { base_path, folder: folder.to_owned(), version });
        Ok(RemoteVersion::Complete(path))
    }

    /// Fetches the version at a path, if it is one of a bucket.
    fn fetch(&self, model: &str, version: i64, path: &Path) -> Result<()> {
        let Some(Found { base_path, folder, version: listed }) = self.state().found.get(path).cloned() else {
            return Ok(());
        };
        let started = Instant::now();
        let cached = Cache::of_user()?.get_listed(&base_path, &listed)?;
        let (place, bytes) = (base_path.place(&folder), listed.bytes());
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(%model, version, %place, bytes, took_ms, "version in the cache");
        self.state().held.insert(path.to_path_buf(), Held { base_path, _folder: cached });
        Ok(())
    }
}

impl RemotePaths for Buckets {
    fn check(&self, base_path: &str) -> std::result::Result<(), String> {
        let checked = base_path.parse::<RemoteAddress>().and_then(|address| BasePath::check_address(&address));
        checked.map_err(|error| match &error {
            StoreError::Remote(remote) if *remote.kind() == RemoteErrorKind::NoListing => {
                format!("{error}, since it is a web server: serve a store there with --store")
            }
            _ => error.to_string(),
        })
    }

    fn folders(&self, base_path: &str, in_use: &BTreeSet<PathBuf>) -> std::result::Result<Vec<String>, String> {
        self.list(base_path, in_use).map_err(|error| error.to_string())
    }

    fn version(&self, base_path: &str, folder: &str) -> std::result::Result<RemoteVersion, String> {
        self.look(base_path, folder).map_err(|error| error.to_string())
    }
}

/// Fetches versions of buckets, and then does what is done with every version.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) buckets: Arc<Buckets>,
    /// What is done then.
    pub(super) then: Option<Arc<dyn Prepare>>,
    /// The pause after an error.
    pub(super) retry_interval: Duration,
}

impl Prepare for Fetched {
    fn prepare(&self, model: &str, version: i64, path: &Path) -> std::result::Result<(), Refusal> {
        self.buckets
            .fetch(model, version, path)
            .map_err(|error| refusal(&error.into(), self.retry_interval).retry_after(self.retry_interval))?;
        self.then.as_ref().map_or(Ok(()), |then| then.prepare(model, version, path))
    }

    fn deciding_files(&self, path: &Path) -> Vec<PathBuf> {
        self.then.as_ref().map(|then| then.deciding_files(path)).unwrap_or_default()
    }
}
