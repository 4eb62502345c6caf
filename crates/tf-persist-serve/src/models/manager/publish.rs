//! Publishes the view of the models, and logs changes of state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tf_persist_core::Code;

use super::Manager;
use crate::milliseconds;
use crate::models::crash_journal::QUARANTINED;
use crate::models::handle::stopping_error;
use crate::models::state_machine::Model;
use crate::models::view::{Readiness, View};
use crate::models::{State, VersionStatus};
use crate::status::Status;

/// How many removed models are remembered.
const MAX_REMOVED_MODELS: usize = 1000;

/// The last logged states, by model and version, and their times.
#[derive(Default)]
pub(super) struct LoggedStates(BTreeMap<(String, i64), (VersionStatus, Instant)>);

impl LoggedStates {
    /// Logs changes.
    fn log_changes(&mut self, model: &str, statuses: &[VersionStatus], now: Instant) {
        for status in statuses {
            let key = (model.to_owned(), status.version);
            let before = self.0.get(&key);
            if before.is_some_and(|(before, _)| before == status) {
                continue;
            }
            let is_same_state = before.is_some_and(|(before, _)| before.state == status.state);
            let since = before.filter(|(before, _)| before.state != State::End).map(|(_, since)| *since);
            // A version that was just found has no duration.
            let took_ms = since.map(|since| milliseconds(now.duration_since(since)));
            let (version, state, hint) = (status.version, status.state, status.hint.as_deref());
            match (&status.error, state) {
                (Some(error), State::End) => {
                    tracing::error!(%model, version, %state, took_ms, %error, hint, "version failed to load");
                }
                (Some(error), State::Start | State::Loading) => {
                    tracing::warn!(%model, version, %state, took_ms, %error, hint, "version failed to load; retrying");
                }
                (None, State::Start) => tracing::debug!(%model, version, %state, "version found"),
                (None, State::Loading) => tracing::info!(%model, version, %state, "version"),
                _ => tracing::info!(%model, version, %state, took_ms, "version"),
            }
            let since = since.filter(|_| is_same_state).unwrap_or(now);
            self.0.insert(key, (status.clone(), since));
        }
    }
}

impl<T: Send + Sync + 'static> Manager<T> {
    /// Publishes the current state of the models.
    pub(super) fn publish(&mut self) {
        let now = Instant::now();
        let mut view = View::empty();
        for (name, model) in &self.models {
            let statuses = model.statuses();
            self.published.logged.log_changes(name, &statuses, now);
            let table = model.table();
            if table.is_configured || !table.available.is_empty() {
                view.tables.insert(name.clone(), table);
            }
            if !statuses.is_empty() {
                view.seen.insert(name.clone(), statuses);
            }
        }
        // If a forgotten version comes back, its states are logged again.
        let is_known = |name: &str, version: i64| {
            view.seen.get(name).is_some_and(|seen| seen.iter().any(|status| status.version == version))
        };
        self.published.logged.0.retain(|(name, version), _| is_known(name, *version));
        self.published.had_available |= view.has_available();
        view.readiness = self.readiness();
        view.problem = self.config.file_error.as_ref().map(|error| error.message.clone());
        self.published.is_ready = view.readiness == Readiness::Ready;
        if self.published.is_ready {
            self.queue.end_start();
        }
        self.published.shared.view.store(Arc::new(view));
        self.published.shared.changed.send_replace(());
        self.forget_removed_models();
    }

    /// Whether every configured model has had an available version.
    fn readiness(&self) -> Readiness {
        // Models that are configured later do not change that.
        if self.published.is_ready {
            return Readiness::Ready;
        }
        if self.stopping.is_some() {
            return Readiness::Failed(stopping_error());
        }
        if self.settings.catalog().is_some() {
            return self.catalog_readiness();
        }
        let configured = || self.models.values().filter(|model| model.config.is_some());
        // A model that failed does not keep the others from being served. A quarantined one is retried later.
        let has_failed = |model: &Model<T>| !model.was_available && model.failure().is_some();
        let is_quarantined = |model: &Model<T>| model.failure().is_some_and(|(_, error)| error.code == QUARANTINED);
        let is_nothing_left = configured().next().is_some() && configured().all(has_failed);
        if is_nothing_left && !configured().all(is_quarantined) {
            let reasons: String = configured().map(failure_reason).collect();
            let message = format!("{} servable(s) did not become available: {{{reasons}}}", configured().count());
            return Readiness::Failed(Status::new(Code::Unknown, message));
        }
        let is_settled = |model: &Model<T>| model.was_available || has_failed(model);
        match self.awaited_labels() {
            Err(status) => Readiness::Failed(status),
            Ok(all_stand) if all_stand && !is_nothing_left && configured().all(is_settled) => Readiness::Ready,
            Ok(_) => Readiness::Waiting,
        }
    }

    /// Forgets removed models, if there are too many.
    fn forget_removed_models(&mut self) {
        let is_former = |model: &Model<T>| model.config.is_none() && model.is_idle();
        let former = self.models.values().filter(|model| is_former(model)).count();
        let mut superfluous = former.saturating_sub(MAX_REMOVED_MODELS);
        self.models.retain(|_, model| {
            let goes = superfluous > 0 && is_former(model);
            superfluous -= usize::from(goes);
            !goes
        });
    }
}

/// Why a model is not available, in TensorFlow Serving's words: "{{name: m version: 1} due to error: …}, ".
pub(super) fn failure_reason<T>(model: &Model<T>) -> String {
    let name = &model.name;
    match (model.failure(), &model.problem) {
        (Some((version, error)), _) => format!("{{{{name: {name} version: {version}}} due to error: {error}}}, "),
        (None, Some(problem)) => format!("{{{{name: {name}}} due to error: {}: {problem}}}, ", Code::NotFound),
        (None, None) => format!("{{{{name: {name}}}}}, "),
    }
}
