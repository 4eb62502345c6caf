//! The view of the models that requests read without a lock. Every change publishes a new one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::resident::{Absent, Presence, Usage};
use super::{ModelStatus, State, Version, VersionStatus};
use crate::status::Status;

/// A snapshot of the models.
pub(super) struct View<T> {
    /// Available versions, by the name of the model.
    pub(super) tables: HashMap<String, ModelTable<T>>,
    /// The status of all known versions, newest first, including models that are no longer configured.
    pub(super) seen: HashMap<String, Vec<VersionStatus>>,
    /// Whether the server is ready.
    pub(super) readiness: Readiness,
    /// Why the last configuration, or list of models, is not in effect.
    pub(super) problem: Option<String>,
}

/// The available versions and labels of a model.
pub(super) struct ModelTable<T> {
    /// The versions that are available, newest first.
    pub(super) available: Vec<(i64, Arc<T>)>,
    /// The versions that are unloaded to save memory.
    pub(super) absent: Absent,
    /// Who uses the model.
    pub(super) usage: Arc<Usage>,
    pub(super) labels: BTreeMap<String, i64>,
    /// Labels that wait for their versions.
    pub(super) pending_labels: Vec<(String, i64)>,
    /// A problem with its base path, or with its state in a catalog.
    pub(super) problem: Option<String>,
    /// Whether it is still configured, and not just being unloaded.
    pub(super) is_configured: bool,
    /// Whether its folder was polled.
    pub(super) was_polled: bool,
}

/// Whether every configured model has had an available version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Not yet.
    Waiting,
    /// Yes, and it stays so.
    Ready,
    /// All versions of a model failed to load.
    Failed(Status),
}

impl<T> ModelTable<T> {
    /// The version of a label. One that waits for its first version points to that.
    fn version(&self, label: &str) -> Option<i64> {
        let pending = || self.pending_labels.iter().find(|(name, _)| name == label).map(|(_, version)| *version);
        self.labels.get(label).copied().or_else(pending)
    }

    /// The number of the version that a request means.
    fn number(&self, version: &Version) -> Option<i64> {
        let newest = || {
            let available = self.available.first().map(|(version, _)| *version);
            available.max(self.absent.keys().next_back().copied())
        };
        match version {
            Version::Latest => newest(),
            Version::Number(number) => Some(*number),
            Version::Label(label) => self.version(label),
            Version::Chosen(number) => Some(*number).filter(|number| self.answers(*number)).or_else(newest),
        }
    }

    fn available(&self, number: i64) -> Option<&Arc<T>> {
        let at = self.available.binary_search_by_key(&Reverse(number), |(version, _)| Reverse(*version));
        at.ok().map(|at| &self.available[at].1)
    }

    /// Whether requests for a version are answered, perhaps after it was loaded again.
    fn answers(&self, number: i64) -> bool {
        self.available(number).is_some() || self.absent.contains_key(&number)
    }
}

impl<T> View<T> {
    /// A view without models.
    pub(super) fn empty() -> Self {
        Self { tables: HashMap::new(), seen: HashMap::new(), readiness: Readiness::Waiting, problem: None }
    }

    /// Whether any version of any model is available.
    pub(super) fn has_available(&self) -> bool {
        self.tables.values().any(|table| !table.available.is_empty() || !table.absent.is_empty())
    }

    /// Whether the version that a request names is in memory, as far as it would be answered.
    pub(super) fn presence(&self, name: &str, version: &Version) -> Presence {
        let Some(table) = self.tables.get(name) else { return Presence::Settled };
        let absent = table.number(version).and_then(|number| table.absent.get(&number));
        absent.copied().unwrap_or(Presence::Settled)
    }

    /// Whether a version of a configured model may become available: it waits or is being loaded, or the versions are
    /// not known yet.
    pub(super) fn is_pending(&self, name: &str, version: Option<i64>) -> bool {
        let is_unknown = self.tables.get(name).is_some_and(|table| table.is_configured && !table.was_polled);
        let seen = self.seen.get(name).map_or(&[][..], Vec::as_slice);
        let matches = |status: &&VersionStatus| version.is_none_or(|version| status.version == version);
        is_unknown || seen.iter().filter(matches).any(|found| matches!(found.state, State::Start | State::Loading))
    }

    pub(super) fn find(&self, name: &str, version: &Version) -> Result<&Arc<T>, Status> {
        let table = self.tables.get(name);
        let number = match version {
            Version::Latest => {
                let newest = table.and_then(|table| table.available.first()).map(|(_, servable)| servable);
                return newest
                    .ok_or_else(|| Status::not_found(format!("Servable not found for request: Latest({name})")));
            }
            Version::Chosen(number) => {
                let chosen = table.and_then(|table| table.available(*number));
                return chosen.map_or_else(|| self.find(name, &Version::Latest), Ok);
            }
            Version::Number(number) => *number,
            Version::Label(label) => table
                .and_then(|table| table.version(label))
                .ok_or_else(|| Status::invalid_argument(format!("Unrecognized servable version label: {label}")))?,
        };
        let found = table.and_then(|table| table.available(number));
        found.ok_or_else(|| Status::not_found(format!("Servable not found for request: Specific({name}, {number})")))
    }

    /// The number of a version, if requests for it are answered.
    pub(super) fn answering(&self, name: &str, version: &Version) -> Option<i64> {
        let table = self.tables.get(name)?;
        table.number(version).filter(|number| table.answers(*number))
    }

    pub(super) fn status(&self, name: &str, version: Option<i64>) -> Result<Vec<VersionStatus>, Status> {
        let seen = self.seen.get(name).map_or(&[][..], Vec::as_slice);
        let matches = |status: &&VersionStatus| version.is_none_or(|version| status.version == version);
        let found: Vec<VersionStatus> = seen.iter().filter(matches).cloned().collect();
        match version {
            _ if !found.is_empty() => Ok(found),
            Some(version) => Err(Status::not_found(format!("Could not find version {version} of model {name}"))),
            None => Err(Status::not_found(format!("Could not find any versions of model {name}"))),
        }
    }

    pub(super) fn list(&self) -> Vec<ModelStatus> {
        let mut list: Vec<ModelStatus> = (self.tables.iter())
            .filter(|(_, table)| table.is_configured)
            .map(|(name, table)| ModelStatus {
                name: name.clone(),
                versions: self.seen.get(name).cloned().unwrap_or_default(),
                labels: table.labels.iter().map(|(label, version)| (label.clone(), *version)).collect(),
                pending_labels: table.pending_labels.clone(),
                problem: table.problem.clone(),
            })
            .collect();
        list.sort_by(|a, b| a.name.cmp(&b.name));
        list
    }
}
