//! The models of a remote store: their labels are followed, and their versions are pulled into the cache.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use tf_persist_core::Code;
use tf_persist_serve::{Catalog, CatalogModel, Prepare, Refusal};
use tf_persist_store::remote::{Cache, Cached, Remote, Watch};
use tf_persist_store::signing::Trusted;
use tf_persist_store::{Heads, ModelName, Reference, Selector, StoreError, Version};

use super::store::{refusal, served};

/// Between two lists of the models of a store. Lists cost money at some providers.
const LIST_INTERVAL: Duration = Duration::from_secs(60);

/// The models of a remote store, or one of them: the versions with labels, and the newest one.
pub(super) struct RemoteCatalog {
    remote: Remote,
    cache: Cache,
    only: Option<ModelName>,
    seen: Mutex<Seen>,
}

/// What is known of the store.
#[derive(Debug, Default)]
struct Seen {
    listed: Option<Instant>,
    models: BTreeMap<ModelName, Model>,
}

/// What is known of a model.
#[derive(Debug)]
struct Model {
    watch: Watch,
    heads: Option<Heads>,
    /// The folders of its versions in the cache, which are there once they are pulled.
    folders: BTreeMap<u64, PathBuf>,
}

/// Without what was seen: the name of the crash journal is made of this.
impl fmt::Debug for RemoteCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.remote.address();
        f.debug_struct("RemoteCatalog").field("remote", address).field("only", &self.only).finish_non_exhaustive()
    }
}

impl RemoteCatalog {
    pub(super) fn new(remote: Remote, cache: Cache, only: Option<ModelName>) -> Self {
        Self { remote, cache, only, seen: Mutex::default() }
    }

    /// Lists the models, if that was long ago.
    fn list(&self, seen: &mut Seen) -> Result<(), StoreError> {
        if seen.listed.is_some_and(|listed| listed.elapsed() < LIST_INTERVAL) {
            return Ok(());
        }
        let names = match &self.only {
            Some(only) => vec![only.clone()],
            None => self.remote.models()?,
        };
        seen.models.retain(|name, _| names.contains(name));
        for name in names {
            let watch = self.remote.watch(&name);
            seen.models.entry(name).or_insert_with(|| Model { watch, heads: None, folders: BTreeMap::new() });
        }
        seen.listed = Some(Instant::now());
        Ok(())
    }

    /// What is served of a model; `None` before its first version.
    fn look_at(&self, name: &ModelName, model: &mut Model) -> Result<Option<CatalogModel>, String> {
        match model.watch.poll() {
            Ok(None) => {}
            Ok(Some(heads)) => model.heads = Some(heads).filter(|heads| heads.latest > 0),
            // A folder that is not a model, or the first push to it is not done.
            Err(StoreError::UnknownModel { .. }) if model.heads.is_none() => return Ok(None),
            Err(error) => return Err(error.to_string()),
        }
        let Some(heads) = &model.heads else { return Ok(None) };
        let wanted = |number: &u64| heads.latest == *number || heads.labels.values().any(|version| version == number);
        model.folders.retain(|number, _| wanted(number));
        for number in heads.labels.values().chain([&heads.latest]) {
            if !model.folders.contains_key(number) {
                let reference = Reference { model: name.clone(), selector: Selector::Number(*number) };
                let version = self.remote.find(&reference).map_err(|error| error.to_string())?;
                model.folders.insert(*number, self.cache.folder_of(version.digest()));
            }
        }
        served(name, heads, |number| model.folders.get(&number).cloned().unwrap_or_default()).map(Some)
    }
}

impl Catalog for RemoteCatalog {
    fn name(&self) -> String {
        format!("the store `{}`", self.remote.address())
    }

    fn look(&self) -> Result<BTreeMap<String, Result<CatalogModel, String>>, String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.list(&mut seen).map_err(|error| error.to_string())?;
        let looked = seen.models.iter_mut().map(|(name, model)| (name.to_string(), self.look_at(name, model)));
        Ok(looked.filter_map(|(name, served)| Some((name, served.transpose()?))).collect())
    }
}

/// Pulls versions of a remote store, and proves them.
#[derive(Debug)]
pub(super) struct Fetcher {
    remote: Remote,
    cache: Cache,
    /// Whether every byte of a version that was in the cache is compared with its manifest.
    verify: bool,
    /// Who must have signed it.
    trusted: Option<Trusted>,
    /// The pause after an error that may pass.
    retry_interval: Duration,
    /// The newest versions of each model that were loaded: they stay in the cache.
    held: Mutex<Vec<(String, Cached)>>,
}

/// The versions of a model that stay in the cache: those that are served, and a few that were.
const MOST_HELD: usize = 8;

impl Fetcher {
    pub(super) fn new(
        remote: Remote,
        cache: Cache,
        verify: bool,
        trusted: Option<Trusted>,
        retry_interval: Duration,
    ) -> Self {
        Self { remote, cache, verify, trusted, retry_interval, held: Mutex::default() }
    }

    fn fetch(&self, model: &str, number: u64, path: &Path) -> anyhow::Result<()> {
        let reference = Reference { model: model.parse()?, selector: Selector::Number(number) };
        let cached = self.cache.get(&self.remote, &reference)?;
        let version = cached.version();
        if version.path() != path {
            bail!("version {number} of `{model}` was replaced in `{}`", self.remote.address());
        }
        let cached = match self.prove(version) {
            // The copy in the cache may be damaged, while the one in the store is whole.
            Err(StoreError::Changed { .. } | StoreError::NotWhatWasSigned { .. }) => {
                let cached = self.cache.repair(&self.remote, &reference)?;
                self.prove(cached.version())?;
                cached
            }
            proven => proven.map(|()| cached)?,
        };
        self.hold(model, cached);
        Ok(())
    }

    fn prove(&self, version: &Version) -> Result<(), StoreError> {
        match &self.trusted {
            // This compares every byte with what was signed.
            Some(trusted) => version.verify_signature(trusted, false),
            None if self.verify => match version.faults()? {
                faults if faults.is_empty() => Ok(()),
                faults => {
                    let model = version.model().clone();
                    Err(StoreError::Changed { model, version: version.number(), faults })
                }
            },
            None => Ok(()),
        }
    }

    fn hold(&self, model: &str, cached: Cached) {
        let mut held = self.held();
        held.retain(|(_, other)| other.version().path() != cached.version().path());
        held.push((model.to_owned(), cached));
        let of_model = held.iter().filter(|(name, _)| name == model).count();
        if of_model > MOST_HELD
            && let Some(oldest) = held.iter().position(|(name, _)| name == model)
        {
            held.remove(oldest);
        }
    }

    fn held(&self) -> MutexGuard<'_, Vec<(String, Cached)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Prepare for Fetcher {
    fn prepare(&self, model: &str, version: i64, path: &Path) -> Result<(), Refusal> {
        let number = u64::try_from(version)
            .map_err(|_| Refusal::new(Code::InvalidArgument, format!("{version} is not the number of a version")))?;
        // A version may be signed later, which changes nothing here before it is fetched again.
        self.fetch(model, number, path)
            .map_err(|error| refusal(&error, self.retry_interval).retry_after(self.retry_interval))
    }
}
