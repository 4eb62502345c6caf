//! The models of a multi-model endpoint of SageMaker, which requests load and unload.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::below;
use super::catalog::{Catalog, CatalogModel};

/// The models that SageMaker wants loaded.
#[derive(Default)]
pub struct SageMakerModels(Mutex<BTreeMap<String, Requested>>);

/// A model that a request named.
struct Requested {
    /// The folder where SageMaker unpacked it, as in the request.
    url: String,
    versions: BTreeMap<i64, PathBuf>,
}

/// Why a model is not loaded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotLoaded {
    /// One of this name is.
    Exists,
    /// There is no model there, for this reason.
    Absent(String),
}

/// Without the models: the name of the crash journal is made of this.
impl fmt::Debug for SageMakerModels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SageMakerModels").finish_non_exhaustive()
    }
}

impl SageMakerModels {
    fn requested(&self) -> MutexGuard<'_, BTreeMap<String, Requested>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a model. Returns its versions, which the next look at the catalog finds. The call reads folders.
    pub(crate) fn add(&self, name: &str, url: &str) -> Result<Vec<i64>, NotLoaded> {
        if self.requested().contains_key(name) {
            return Err(NotLoaded::Exists);
        }
        let folder = Path::new(url);
        if !folder.is_absolute() {
            return Err(NotLoaded::Absent(format!("the url {url:?} is not the absolute path of a folder")));
        }
        let found = below::find(folder).map_err(NotLoaded::Absent)?;
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        if names.len() > 1 {
            let names = names.join("`, `");
            return Err(NotLoaded::Absent(format!("`{url}` has several models, and one has to be chosen: `{names}`")));
        }
        let versions: BTreeMap<i64, PathBuf> = found.into_values().flatten().collect();
        let numbers = versions.keys().copied().collect();
        let mut requested = self.requested();
        // Another request may have been faster.
        if requested.contains_key(name) {
            return Err(NotLoaded::Exists);
        }
        requested.insert(name.to_owned(), Requested { url: url.to_owned(), versions });
        Ok(numbers)
    }

    /// Takes a model out. Returns whether it was there.
    pub(crate) fn remove(&self, name: &str) -> bool {
        self.requested().remove(name).is_some()
    }

    /// Where a model is, if it is there.
    pub(crate) fn url(&self, name: &str) -> Option<String> {
        self.requested().get(name).map(|model| model.url.clone())
    }

    /// All models by name, with their places.
    pub(crate) fn urls(&self) -> BTreeMap<String, String> {
        self.requested().iter().map(|(name, model)| (name.clone(), model.url.clone())).collect()
    }
}

impl Catalog for SageMakerModels {
    fn name(&self) -> String {
        "a multi-model endpoint of SageMaker".into()
    }

    fn look(&self) -> Result<BTreeMap<String, Result<CatalogModel, String>>, String> {
        let requested = self.requested();
        let listed = requested.iter().map(|(name, model)| {
            let versions = model.versions.clone();
            (name.clone(), Ok(CatalogModel { versions, labels: BTreeMap::new() }))
        });
        Ok(listed.collect())
    }
}
