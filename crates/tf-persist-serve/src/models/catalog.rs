//! Models whose versions and labels are decided outside of the server and change while it runs, such as those of a
//! store, and how far the server has followed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tf_persist_core::Code;

use crate::status::Status;

/// What is listed of each model, by name.
pub(super) type Listed = BTreeMap<String, Result<CatalogModel, String>>;

/// What is served: the models, their versions and labels. They may change at any time.
///
/// The server looks at the interval of its [polls](super::ModelSettings::poll). It loads and warms up versions that are
/// new, and moves a label once its version is available: until then, the version before answers. A version that fails
/// to load leaves its labels where they were.
pub trait Catalog: fmt::Debug + Send + Sync {
    /// Its name for the log and for errors, such as "the store `/models`".
    fn name(&self) -> String;

    /// The models that are served now, by name, or the reason why the state of one is unknown: then what is served of
    /// it stays. A model that is no longer listed is unloaded. The call may take long.
    ///
    /// # Errors
    /// Why nothing is known now. Then everything stays.
    fn look(&self) -> Result<BTreeMap<String, Result<CatalogModel, String>>, String>;
}

/// Whether both are the same object.
impl PartialEq for dyn Catalog {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::addr_eq(self, other)
    }
}

impl Eq for dyn Catalog {}

/// What is served of a model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CatalogModel {
    /// The versions with their paths. The path of a version does not change.
    pub versions: BTreeMap<i64, PathBuf>,
    /// Labels and their versions, which are among those above.
    pub labels: BTreeMap<String, i64>,
}

/// What is done before a version is loaded: it may be fetched, and it may be refused.
pub trait Prepare: fmt::Debug + Send + Sync {
    /// Fetches or checks a version. The call may take long: it is made in a thread that loads versions.
    ///
    /// # Errors
    /// Why the version must not be loaded.
    fn prepare(&self, model: &str, version: i64, path: &Path) -> Result<(), Refusal>;

    /// Files outside of the version that decide on whether it is refused. A version that was refused is tried again
    /// when they or the files of the version change.
    fn deciding_files(&self, _path: &Path) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// Why a version is not loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The error, which the status of the version has.
    pub status: Status,
    /// How to fix it.
    pub hint: Option<String>,
    /// After which pause the version is tried again, as often as it takes; `None` for only when files change.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal that stays until files change.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { status: Status::new(code, message), hint: None, retry_after: None }
    }

    /// Says how to fix it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Has the version tried again after this pause, as often as it takes.
    #[must_use]
    pub fn retry_after(mut self, pause: impl Into<Option<Duration>>) -> Self {
        self.retry_after = pause.into();
        self
    }
}

/// A model of a catalog: what is wanted, and where its labels point so far.
#[derive(Debug, Default)]
pub(super) struct Followed {
    wanted: CatalogModel,
    /// The labels in effect.
    labels: BTreeMap<String, i64>,
}

impl Followed {
    /// Sets what is wanted.
    pub(super) fn want(&mut self, wanted: &CatalogModel) {
        self.wanted.clone_from(wanted);
        self.labels.retain(|label, _| wanted.labels.contains_key(label));
    }

    /// Moves each label to its wanted version, if that is available. Returns the moved labels, with the versions where
    /// they were and where they are.
    pub(super) fn move_labels(&mut self, available: &BTreeSet<i64>) -> Vec<(String, Option<i64>, i64)> {
        let pending = self.pending_labels().filter(|(_, version)| available.contains(version));
        let moved: Vec<_> =
            pending.map(|(label, version)| (label.clone(), self.labels.get(label).copied(), version)).collect();
        self.labels.extend(moved.iter().map(|(label, _, version)| (label.clone(), *version)));
        moved
    }

    /// The versions to keep: those that are wanted, that have a label, or that answer requests for the newest version.
    pub(super) fn kept(&self, available: &BTreeSet<i64>) -> BTreeSet<i64> {
        let mut kept: BTreeSet<i64> = self.wanted.versions.keys().copied().collect();
        kept.extend(self.labels.values());
        if self.wanted.versions.keys().last().is_some_and(|newest| !available.contains(newest)) {
            kept.extend(available.last());
        }
        kept
    }

    /// The path of a wanted version.
    pub(super) fn path(&self, version: i64) -> Option<&PathBuf> {
        self.wanted.versions.get(&version)
    }

    /// The labels in effect.
    pub(super) fn labels(&self) -> &BTreeMap<String, i64> {
        &self.labels
    }

    /// The labels that wait for their versions.
    pub(super) fn pending_labels(&self) -> impl Iterator<Item = (&String, i64)> {
        let is_pending = |(label, version): &(&String, &i64)| self.labels.get(*label) != Some(*version);
        self.wanted.labels.iter().filter(is_pending).map(|(label, version)| (label, *version))
    }
}
