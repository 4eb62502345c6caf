//! The models of a store: which versions are served, and what is proved of a version before it is loaded.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tf_persist_core::Code;
use tf_persist_serve::{Catalog, CatalogModel, Prepare, Refusal};
use tf_persist_store::signing::Trusted;
use tf_persist_store::{Follower, Heads, ModelName, Reference, Selector, Store, StoreError};

use crate::{hint, version_path};

/// The models of a store, or one of them. The versions with labels are served, and the newest one.
pub(super) struct StoreCatalog {
    store: Store,
    only: Option<ModelName>,
    follower: Mutex<Follower>,
}

/// Without the follower: the name of the crash journal is made of this.
impl fmt::Debug for StoreCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreCatalog").field("store", &self.store).field("only", &self.only).finish_non_exhaustive()
    }
}

impl StoreCatalog {
    pub(super) fn new(store: Store, only: Option<ModelName>) -> Self {
        let follower = Mutex::new(Follower::new(store.clone()));
        Self { store, only, follower }
    }
}

/// The versions of a model that are served: those with labels, and the newest one.
pub(super) fn served(model: &ModelName, heads: &Heads, path: impl Fn(u64) -> PathBuf) -> Result<CatalogModel, String> {
    let number = |number: u64| i64::try_from(number).map_err(|_| format!("`{model}` has a version {number}"));
    let mut served = CatalogModel::default();
    for version in heads.labels.values().chain([&heads.latest]) {
        served.versions.insert(number(*version)?, path(*version));
    }
    for (label, version) in &heads.labels {
        served.labels.insert(label.to_string(), number(*version)?);
    }
    Ok(served)
}

impl Catalog for StoreCatalog {
    fn name(&self) -> String {
        format!("the store `{}`", self.store.path().display())
    }

    fn look(&self) -> Result<BTreeMap<String, Result<CatalogModel, String>>, String> {
        let mut follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        let found = follower.look().map_err(|error| error.to_string())?.into_iter();
        let wanted = found.filter(|(name, _)| self.only.as_ref().is_none_or(|only| only == name));
        let served = wanted.map(|(name, heads)| {
            let served = heads.map_err(|error| error.to_string());
            let path = |number| self.store.version_path(&name, number);
            let served = served.and_then(|heads| self::served(&name, &heads, path));
            (name.to_string(), served)
        });
        Ok(served.collect())
    }
}

/// What is proved of a version before it is loaded.
#[derive(Debug)]
pub(super) struct Proof {
    /// The store of the models, if they are from one.
    pub(super) store: Option<Store>,
    /// Whether every byte of a version in a store is compared with its manifest.
    pub(super) verify: bool,
    /// Who must have signed it.
    pub(super) trusted: Option<Trusted>,
    /// The pause after an error that may pass.
    pub(super) retry_interval: Duration,
}

impl Proof {
    fn check(&self, model: &str, version: i64, path: &Path) -> anyhow::Result<()> {
        match (&self.store, &self.trusted) {
            (Some(store), trusted) => {
                let number = u64::try_from(version).unwrap_or_default();
                let reference = Reference { model: model.parse()?, selector: Selector::Number(number) };
                // Names and sizes.
                let version = store.resolve(&reference)?;
                match trusted {
                    // This compares every byte with what was signed.
                    Some(trusted) => version.verify_signature(trusted, false)?,
                    None if self.verify => {
                        let faults = store.verify(&version)?;
                        if !faults.is_empty() {
                            let (model, version) = (version.model().clone(), version.number());
                            return Err(StoreError::Changed { model, version, faults }.into());
                        }
                    }
                    None => {}
                }
            }
            (None, Some(trusted)) => version_path::check_signed_by(path, trusted)?,
            (None, None) => {}
        }
        Ok(())
    }
}

impl Prepare for Proof {
    fn prepare(&self, model: &str, version: i64, path: &Path) -> Result<(), Refusal> {
        self.check(model, version, path).map_err(|error| refusal(&error, self.retry_interval))
    }

    fn deciding_files(&self, path: &Path) -> Vec<PathBuf> {
        version_path::manifest_of(path).into_iter().collect()
    }
}

/// An error as the reason why a version is not loaded.
pub(super) fn refusal(error: &anyhow::Error, retry_interval: Duration) -> Refusal {
    let of_store = error.downcast_ref::<StoreError>();
    let (code, may_pass) = of_store.map_or((Code::FailedPrecondition, false), code);
    let refusal = Refusal::new(code, error.to_string()).hint(of_store.and_then(hint::of_store));
    refusal.retry_after(may_pass.then_some(retry_interval))
}

/// The code of an error, and whether it may pass although the version and its manifest stay the same.
fn code(error: &StoreError) -> (Code, bool) {
    match error {
        StoreError::Changed { .. } | StoreError::NotWhatWasSigned { .. } => (Code::DataLoss, false),
        StoreError::NotSigned { .. } | StoreError::InvalidSignature { .. } | StoreError::OtherVersion { .. } => {
            (Code::PermissionDenied, false)
        }
        StoreError::UnknownVersion { .. } | StoreError::Foreign { .. } => (Code::NotFound, false),
        StoreError::Damaged { .. } => (Code::DataLoss, true),
        _ => (Code::Unknown, true),
    }
}
