//! Trials of the fast path after a version has become available.
//!
//! A trial takes up to two seconds. Where many versions are loaded at once, as at the start of a server of many models,
//! each becomes available as it is, or in the form that an earlier trial chose. The trials follow one after the other
//! once nothing else is loaded: the version is loaded a second time, with a trial, and takes the place of the first.

use std::sync::Arc;

use super::state_machine::{Model, Unwanted};
use super::version_entry::{LoadJob, LoadOutcome, Phase, VersionEntry};

/// As many versions may be loaded at once with a trial each before they are available.
pub(super) const MAX_TRIED_AT_ONCE: usize = 8;

/// Whether a version that is available is to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaterTrial {
    /// It was tried, or cannot be.
    No,
    /// It waits for its turn.
    Due,
    UnderWay,
}

impl<T> Model<T> {
    /// Begins the trial of an available version, if one is due.
    pub(super) fn begin_trial(&mut self) -> Option<LoadJob> {
        let is_due = |entry: &&mut VersionEntry<T>| {
            entry.is_aspired && entry.later_trial == LaterTrial::Due && matches!(entry.phase, Phase::Ready(_))
        };
        let entry = self.entries.iter_mut().find(is_due)?;
        entry.later_trial = LaterTrial::UnderWay;
        Some(entry.job(&self.name))
    }

    /// Whether a version is being loaded, or waits for that.
    pub(super) fn is_loading(&self) -> bool {
        self.entries.iter().any(|entry| {
            let is_loading = matches!(entry.phase, Phase::Queued | Phase::Loading);
            is_loading || entry.later_trial == LaterTrial::UnderWay
        })
    }

    /// Notes the outcome of a trial. Returns the version that is not served any more.
    pub(super) fn tried(&mut self, at: usize, outcome: LoadOutcome<T>) -> Option<Unwanted<T>> {
        let entry = self.entries.get_mut(at)?;
        entry.later_trial = LaterTrial::No;
        let tried = match outcome {
            LoadOutcome::Loaded(servable) | LoadOutcome::Untried(servable) => Arc::new(servable),
            LoadOutcome::Cancelled => return None,
            LoadOutcome::Failed(failure, _) | LoadOutcome::NoRoom(failure, _) => {
                let (model, version, error) = (&self.name, entry.version, &failure.status);
                tracing::warn!(%model, version, %error, "the trial of its fast path failed; it is served as it is");
                return None;
            }
        };
        match &mut entry.phase {
            Phase::Ready(current) if entry.is_aspired => Some(Unwanted::part(std::mem::replace(current, tried))),
            _ => Some(Unwanted::part(tried)),
        }
    }
}
