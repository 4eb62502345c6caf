//! The state machine of a model: decides which version to load or unload next. It touches neither files nor TensorFlow,
//! and gets the time as an argument.
//!
//! The order is that of `core/availability_preserving_policy.cc`: a version that is no longer aspired is unloaded only
//! once an aspired one is available.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::catalog::{CatalogModel, Followed};
use super::config::ModelConfig;
use super::folder::{FileStamp, FoundVersions};
use super::later_trials::LaterTrial;
use super::resident::Usage;
use super::version_entry::{FileStamps, LoadJob, LoadOutcome, Phase, RetryPolicy, VersionEntry};
use super::view::ModelTable;
use super::{State, VersionStatus};
use crate::status::Status;

/// How many ended versions of a model are remembered.
pub(super) const MAX_ENDED: usize = 100;

/// What to do next.
pub(super) enum Action<T> {
    Load(LoadJob),
    Unload { id: u64, servable: Arc<T> },
}

/// A loaded version that is to be unloaded.
pub(super) struct Unwanted<T> {
    /// Which version has ended then.
    pub(super) id: u64,
    pub(super) servable: Arc<T>,
}

impl<T> Unwanted<T> {
    /// No version ends with it.
    pub(super) fn part(servable: Arc<T>) -> Self {
        const OF_NO_VERSION: u64 = 0;
        Self { id: OF_NO_VERSION, servable }
    }
}

/// A model: its configuration and its versions.
pub(super) struct Model<T> {
    pub(super) name: String,
    /// `None` if it is no longer configured.
    pub(super) config: Option<ModelConfig>,
    /// Whether a version has been available since it was configured.
    pub(super) was_available: bool,
    /// Whether its base path was polled since it was configured.
    pub(super) was_polled: bool,
    /// A problem with its base path, or with the state of it in a catalog.
    pub(super) problem: Option<String>,
    /// Who uses it.
    pub(super) usage: Arc<Usage>,
    /// What a catalog wants of it, if it is one of a catalog.
    followed: Option<Followed>,
    pub(super) entries: Vec<VersionEntry<T>>,
    /// Ended versions: a number that orders their ends, and the error if they failed to load.
    ended: BTreeMap<i64, (u64, Option<Status>)>,
    endings: u64,
}

impl<T> Model<T> {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            config: None,
            was_available: false,
            was_polled: false,
            problem: None,
            usage: Arc::default(),
            followed: None,
            entries: Vec::new(),
            ended: BTreeMap::new(),
            endings: 0,
        }
    }

    /// Changes the configuration; `None` removes the model.
    pub(super) fn set_config(&mut self, config: Option<ModelConfig>) {
        let base_path = |config: &Option<ModelConfig>| config.as_ref().and_then(|config| config.base_path.clone());
        if base_path(&self.config) != base_path(&config) {
            self.was_polled = false;
            self.problem = None;
        }
        if self.config.is_none() {
            self.was_available = false;
        }
        self.config = config;
        if self.config.is_none() {
            self.followed = None;
            self.entries.iter_mut().for_each(|entry| entry.is_reload = false);
            self.aspire(&BTreeMap::new(), &mut 0);
        }
    }

    /// Sets what a catalog wants.
    pub(super) fn follow(&mut self, wanted: &CatalogModel, ids: &mut u64) {
        self.followed.get_or_insert_default().want(wanted);
        self.settle(ids);
    }

    /// Moves labels of a catalog to versions that have become available, and lets go of versions without need.
    pub(super) fn settle(&mut self, ids: &mut u64) {
        let Some(followed) = &mut self.followed else { return };
        let ready = self.entries.iter().filter(|entry| entry.is_servable());
        let loaded: BTreeMap<i64, &PathBuf> = ready.map(|entry| (entry.version, &entry.path)).collect();
        let available = loaded.keys().copied().collect();
        for (label, from, to) in followed.move_labels(&available) {
            tracing::info!(model = %self.name, label, from, to, "label moved");
        }
        let kept = followed.kept(&available);
        let path = |version: &i64| followed.path(*version).or_else(|| loaded.get(version).copied());
        let kept = kept.iter().filter_map(|version| Some((*version, path(version)?.clone()))).collect();
        self.aspire(&kept, ids);
    }

    /// The labels that a catalog wants on versions that are not available.
    pub(super) fn pending_labels(&self) -> Vec<(String, i64)> {
        let pending = self.followed.iter().flat_map(Followed::pending_labels);
        pending.map(|(label, version)| (label.clone(), version)).collect()
    }

    /// Sets the aspired versions and their paths. Returns whether they have changed.
    pub(super) fn aspire(&mut self, chosen: &BTreeMap<i64, PathBuf>, ids: &mut u64) -> bool {
        let mut changed = false;
        for entry in &mut self.entries {
            let is_aspired = chosen.get(&entry.version) == Some(&entry.path) && entry.can_be_aspired();
            changed |= entry.is_aspired != is_aspired;
            entry.is_aspired = is_aspired;
            entry.cancelled.store(!is_aspired && !entry.is_reload, Ordering::Relaxed);
        }
        // A version that was never loaded can end at once.
        for at in (0..self.entries.len()).rev() {
            let entry = &self.entries[at];
            let is_loaded = entry.is_servable();
            let has_ended = matches!(entry.phase, Phase::New | Phase::Waiting { .. } | Phase::Failed { .. });
            if !entry.is_aspired && !is_loaded && has_ended {
                self.end(at);
            }
        }
        for (version, path) in chosen {
            let is_there =
                |entry: &VersionEntry<T>| entry.is_aspired && entry.version == *version && entry.path == *path;
            if !self.entries.iter().any(is_there) {
                *ids += 1;
                self.entries.push(VersionEntry::new(*ids, *version, path.clone()));
                changed = true;
            }
        }
        changed
    }

    /// Notes what was found under its base path.
    pub(super) fn find(&mut self, found: &Result<FoundVersions, String>, ids: &mut u64) {
        self.was_polled = true;
        let Some(ModelConfig { base_path: Some(base_path), policy, .. }) = &self.config else { return };
        let chosen = match found {
            Ok(FoundVersions { versions, warning }) => {
                let missing = policy.missing(versions);
                self.problem = match warning {
                    None if !missing.is_empty() => Some(format!(
                        "its policy names versions that are not under the base path `{base_path}`: {missing:?}"
                    )),
                    warning => warning.clone(),
                };
                policy.choose(versions)
            }
            // Loaded versions stay: the folder may come back.
            Err(error) => {
                self.problem = Some(error.clone());
                return;
            }
        };
        self.aspire(&chosen, ids);
    }

    /// The actions to take now. They count as begun.
    pub(super) fn decide(&mut self) -> Vec<Action<T>> {
        std::iter::from_fn(|| self.next_action()).collect()
    }

    fn next_action(&mut self) -> Option<Action<T>> {
        loop {
            let has_aspired = self.entries.iter().any(|entry| entry.is_aspired);
            let has_aspired_ready = self.entries.iter().any(|entry| entry.is_aspired && entry.is_servable());
            let is_superfluous =
                |entry: &VersionEntry<T>| !entry.is_aspired && matches!(entry.phase, Phase::Ready(_) | Phase::Evicted);
            let superfluous = || self.entries.iter().enumerate().filter(|(_, entry)| is_superfluous(entry));
            if has_aspired && !has_aspired_ready && superfluous().count() <= 1 {
                break;
            }
            let Some((lowest, _)) = superfluous().min_by_key(|(_, entry)| entry.version) else { break };
            let entry = &mut self.entries[lowest];
            match std::mem::replace(&mut entry.phase, Phase::Unloading) {
                Phase::Ready(servable) => return Some(Action::Unload { id: entry.id, servable }),
                // Nothing is in memory.
                _ => self.end(lowest),
            }
        }
        let has_servable = self.entries.iter().any(VersionEntry::is_servable);
        let new = self
            .entries
            .iter_mut()
            .filter(|entry| (entry.is_aspired || entry.is_reload) && matches!(entry.phase, Phase::New));
        let newest = new.max_by_key(|entry| entry.version)?;
        newest.phase = Phase::Queued;
        let job = newest.job(&self.name);
        // A new version of a model that answers takes its place.
        Some(Action::Load(LoadJob { evicts: job.evicts || has_servable, ..job }))
    }

    /// Notes that a load has begun.
    pub(super) fn started(&mut self, id: u64) {
        // A trial is a load of a version that is available.
        if let Some(entry) = self.entry(id).filter(|entry| matches!(entry.phase, Phase::Queued)) {
            entry.phase = Phase::Loading;
        }
    }

    /// Notes the outcome of a load. Returns a version that is not served, or not any more.
    pub(super) fn finished(
        &mut self,
        id: u64,
        outcome: LoadOutcome<T>,
        retries: RetryPolicy,
        now: Instant,
    ) -> Option<Unwanted<T>> {
        let Some(at) = self.entries.iter().position(|entry| entry.id == id) else {
            return match outcome {
                LoadOutcome::Loaded(servable) | LoadOutcome::Untried(servable) => {
                    Some(Unwanted::part(Arc::new(servable)))
                }
                _ => None,
            };
        };
        let entry = &mut self.entries[at];
        if entry.later_trial == LaterTrial::UnderWay {
            return self.tried(at, outcome);
        }
        let later_trial = if matches!(outcome, LoadOutcome::Untried(_)) { LaterTrial::Due } else { LaterTrial::No };
        let outcome = match outcome {
            LoadOutcome::NoRoom(..) if self.no_room(at) => return None,
            LoadOutcome::NoRoom(failure, stamp) => LoadOutcome::Failed(failure, stamp),
            other => other,
        };
        let entry = &mut self.entries[at];
        let is_reload = std::mem::take(&mut entry.is_reload);
        let is_wanted = entry.is_aspired || is_reload;
        match outcome {
            LoadOutcome::Loaded(servable) | LoadOutcome::Untried(servable) if is_wanted => {
                entry.phase = Phase::Ready(Arc::new(servable));
                (entry.error, entry.hint, entry.attempts, entry.later_trial) = (None, None, 0, later_trial);
                self.was_available = true;
            }
            LoadOutcome::Failed(failure, stamp) if entry.is_aspired => {
                let stamps = FileStamps { failed: stamp, seen: stamp };
                (entry.error, entry.hint) = (Some(failure.status), failure.hint);
                entry.phase = if failure.is_final || entry.attempts >= retries.max {
                    Phase::Failed { stamps, retry_at: failure.retry_after.map(|pause| now + pause) }
                } else {
                    Phase::Waiting { until: now + retries.interval, stamps }
                };
                entry.attempts = entry.attempts.saturating_add(1);
            }
            // Aspired again in the meantime.
            LoadOutcome::Cancelled if entry.is_aspired => entry.phase = Phase::New,
            LoadOutcome::Cancelled => self.end(at),
            LoadOutcome::Failed(failure, _) | LoadOutcome::NoRoom(failure, _) => {
                entry.error = Some(failure.status);
                self.end(at);
            }
            LoadOutcome::Loaded(servable) | LoadOutcome::Untried(servable) => {
                let cancelled = "Loading of servable cancelled";
                entry.error = Some(Status::new(tf_persist_core::Code::Cancelled, cancelled));
                entry.phase = Phase::Unloading;
                return Some(Unwanted { id, servable: Arc::new(servable) });
            }
        }
        None
    }

    /// Notes that a version is unloaded.
    pub(super) fn unloaded(&mut self, id: u64) {
        if let Some(at) = self.entries.iter().position(|entry| entry.id == id) {
            self.end(at);
        }
    }

    /// When the next failed load is due for a retry.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        let times = self.entries.iter().filter_map(|entry| match entry.phase {
            Phase::Waiting { until, .. } => Some(until),
            Phase::Failed { retry_at, .. } => retry_at,
            _ => None,
        });
        times.min()
    }

    /// Queues failed loads that are due for a retry. Returns whether there are any.
    pub(super) fn retry(&mut self, now: Instant) -> bool {
        let mut any = false;
        for entry in &mut self.entries {
            let is_due = match entry.phase {
                Phase::Waiting { until, .. } => until <= now,
                Phase::Failed { retry_at, .. } => retry_at.is_some_and(|retry_at| retry_at <= now),
                _ => false,
            };
            if is_due {
                if matches!(entry.phase, Phase::Failed { .. }) {
                    (entry.error, entry.hint, entry.attempts) = (None, None, 0);
                }
                entry.phase = Phase::New;
                any = true;
            }
        }
        any
    }

    /// Loads failed versions again at once, and forgets the errors of those that are being loaded again.
    pub(super) fn try_again(&mut self) {
        for entry in self.entries.iter_mut().filter(|entry| entry.error.is_some()) {
            (entry.error, entry.hint, entry.attempts) = (None, None, 0);
            if matches!(entry.phase, Phase::Waiting { .. } | Phase::Failed { .. }) {
                entry.phase = Phase::New;
            }
        }
    }

    /// The failed versions, whose files are polled for changes.
    pub(super) fn watched(&self) -> impl Iterator<Item = &Path> {
        let is_watched = |entry: &&VersionEntry<T>| matches!(entry.phase, Phase::Waiting { .. } | Phase::Failed { .. });
        self.entries.iter().filter(is_watched).map(|entry| entry.path.as_path())
    }

    /// The versions that are loaded and aspired, with their paths.
    pub(super) fn loaded(&self) -> BTreeMap<i64, PathBuf> {
        let loaded = self.entries.iter().filter(|it| it.is_aspired && it.is_servable());
        loaded.map(|entry| (entry.version, entry.path.clone())).collect()
    }

    /// The paths of all versions that are loaded or may become so.
    pub(super) fn in_use(&self) -> BTreeSet<PathBuf> {
        self.entries.iter().map(|entry| entry.path.clone()).collect()
    }

    /// Notes the stamp of the files at a path. A failed version is loaded again if its files have changed since it
    /// failed; if `settled`, only once they have stayed the same between two polls, since they may still be copied.
    /// Returns whether it is loaded again.
    pub(super) fn observe_stamp(&mut self, path: &Path, now: FileStamp, settled: bool) -> bool {
        let mut any = false;
        for entry in self.entries.iter_mut().filter(|entry| entry.path == path) {
            let (Phase::Waiting { stamps, .. } | Phase::Failed { stamps, .. }) = &mut entry.phase else { continue };
            let is_still = stamps.seen == now || !settled;
            stamps.seen = now;
            if stamps.failed != now && is_still {
                tracing::info!(model = %self.name, version = entry.version, "files have changed; loading again");
                (entry.error, entry.hint, entry.attempts) = (None, None, 0);
                entry.phase = Phase::New;
                any = true;
            }
        }
        any
    }

    /// Whether any version is available.
    pub(super) fn is_available(&self) -> bool {
        self.entries.iter().any(VersionEntry::is_servable)
    }

    /// Whether this version is available.
    pub(super) fn is_version_available(&self, version: i64) -> bool {
        self.entries.iter().any(|entry| entry.version == version && entry.is_servable())
    }

    /// Whether this version is aspired and may still become available: it waits, is being loaded, or will be retried.
    pub(super) fn is_version_pending(&self, version: i64) -> bool {
        let may_come = |entry: &VersionEntry<T>| match entry.phase {
            Phase::New | Phase::Queued | Phase::Loading | Phase::Waiting { .. } => true,
            Phase::Failed { retry_at, .. } => retry_at.is_some(),
            Phase::Ready(_) | Phase::Evicted | Phase::Unloading => false,
        };
        self.entries.iter().any(|entry| entry.version == version && entry.is_aspired && may_come(entry))
    }

    /// Why this version failed to load, if it did.
    pub(super) fn error(&self, version: i64) -> Option<&Status> {
        self.entries.iter().find(|entry| entry.version == version)?.error.as_ref()
    }

    /// The aspired versions.
    pub(super) fn aspired(&self) -> Vec<i64> {
        self.entries.iter().filter(|entry| entry.is_aspired).map(|entry| entry.version).collect()
    }

    /// The newest failed version and its error, if all versions have failed.
    pub(super) fn failure(&self) -> Option<(i64, &Status)> {
        let is_failed = |entry: &&VersionEntry<T>| matches!(entry.phase, Phase::Failed { .. });
        let failed = self.entries.iter().filter(is_failed).max_by_key(|entry| entry.version)?;
        let error = failed.error.as_ref()?;
        self.entries.iter().all(|entry| is_failed(&entry)).then_some((failed.version, error))
    }

    /// Whether any known version is aspired.
    pub(super) fn has_aspired(&self) -> bool {
        self.entries.iter().any(|entry| entry.is_aspired)
    }

    /// Whether no version is loaded, being loaded or waiting to be.
    pub(super) fn is_idle(&self) -> bool {
        self.entries.is_empty()
    }

    /// The status of its versions, newest first.
    pub(super) fn statuses(&self) -> Vec<VersionStatus> {
        let ended = self.ended.iter().map(|(version, (_, error))| {
            (*version, VersionStatus { version: *version, state: State::End, error: error.clone(), hint: None })
        });
        let mut all: BTreeMap<i64, VersionStatus> = ended.collect();
        // If a version is at two paths, because the base path was changed, the available one counts.
        let mut live: Vec<VersionStatus> = self.entries.iter().map(VersionEntry::status).collect();
        live.sort_by_key(|status| match status.state {
            State::End => 0,
            State::Unloading => 1,
            State::Start => 2,
            State::Loading => 3,
            State::Unloaded => 4,
            State::Available => 5,
        });
        all.extend(live.into_iter().map(|status| (status.version, status)));
        all.into_values().rev().collect()
    }

    /// Its available versions and labels, for the view.
    pub(super) fn table(&self) -> ModelTable<T> {
        let mut available = BTreeMap::new();
        let mut entries: Vec<&VersionEntry<T>> = self.entries.iter().collect();
        entries.sort_by_key(|entry| entry.is_aspired);
        for entry in entries {
            if let Phase::Ready(servable) = &entry.phase {
                available.insert(entry.version, servable.clone());
            }
        }
        let labels = match (&self.followed, &self.config) {
            (Some(followed), _) => followed.labels().clone(),
            (None, Some(config)) => config.labels.clone(),
            (None, None) => BTreeMap::new(),
        };
        ModelTable {
            available: available.into_iter().rev().collect(),
            absent: self.absent(),
            usage: self.usage.clone(),
            labels,
            problem: self.problem.clone(),
            pending_labels: self.pending_labels(),
            is_configured: self.config.is_some(),
            was_polled: self.was_polled,
        }
    }

    fn entry(&mut self, id: u64) -> Option<&mut VersionEntry<T>> {
        self.entries.iter_mut().find(|entry| entry.id == id)
    }

    /// Removes an entry, and remembers that the version has ended.
    fn end(&mut self, at: usize) {
        let entry = self.entries.remove(at);
        self.endings += 1;
        self.ended.insert(entry.version, (self.endings, entry.error));
        while self.ended.len() > MAX_ENDED {
            let oldest = self.ended.iter().min_by_key(|(_, (ending, _))| *ending).map(|(version, _)| *version);
            oldest.and_then(|version| self.ended.remove(&version));
        }
    }
}
