//! What the thread shows to everybody, and tells the log.

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

/// So many models that are configured no more are remembered.
const MAX_REMOVED_MODELS: usize = 1000;

/// The states that the log was told, by model and version, and since when.
#[derive(Default)]
pub(super) struct LoggedStates(BTreeMap<(String, i64), (VersionStatus, Instant)>);

impl LoggedStates {
    /// Tells what has changed.
    fn log_changes(&mut self, model: &str, statuses: &[VersionStatus], now: Instant) {
        for status in statuses {
            let key = (model.to_owned(), status.version);
            let before = self.0.get(&key);
            if before.is_some_and(|(before, _)| before == status) {
                continue;
            }
            let is_same_state = before.is_some_and(|(before, _)| before.state == status.state);
            let since = before.filter(|(before, _)| before.state != State::End).map(|(_, since)| *since);
            // What has only been found took no time.
            let took_ms = since.map(|since| milliseconds(now.duration_since(since)));
            let (version, state, hint) = (status.version, status.state, status.hint.as_deref());
            match (&status.error, state) {
                (Some(error), State::End) => {
                    tracing::error!(%model, version, %state, took_ms, %error, hint, "version could not be loaded");
                }
                (Some(error), State::Start | State::Loading) => {
                    tracing::warn!(%model, version, %state, took_ms, %error, hint, "version will be tried again");
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
    /// Shows the models as they are now.
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
        // What the view has forgotten, the log is told anew.
        let is_known = |name: &str, version: i64| {
            view.seen.get(name).is_some_and(|seen| seen.iter().any(|status| status.version == version))
        };
        self.published.logged.0.retain(|(name, version), _| is_known(name, *version));
        view.readiness = self.readiness();
        self.published.is_ready = view.readiness == Readiness::Ready;
        self.published.shared.view.store(Arc::new(view));
        self.published.shared.changed.send_replace(());
        self.forget_removed_models();
    }

    /// Whether every configured model had a version to answer with once.
    fn readiness(&self) -> Readiness {
        // What is configured later does not take the server out of service.
        if self.published.is_ready {
            return Readiness::Ready;
        }
        if self.stopping.is_some() {
            return Readiness::Failed(stopping_error());
        }
        let configured = || self.models.values().filter(|model| model.config.is_some());
        let failed = || configured().filter(|model| !model.was_available && model.failure().is_some());
        // What took processes down keeps no other model from being served; it is tried again after a while.
        let is_quarantined = |model: &Model<T>| model.failure().is_some_and(|(_, error)| error.code == QUARANTINED);
        let is_settled = |model: &Model<T>| model.was_available || is_quarantined(model);
        if failed().any(|model| !is_quarantined(model)) {
            let reasons: String = failed().map(failure_reason).collect();
            let message = format!("{} servable(s) did not become available: {{{reasons}}}", failed().count());
            return Readiness::Failed(Status::new(Code::Unknown, message));
        }
        let is_nothing_left = configured().next().is_some() && configured().all(is_quarantined);
        match self.awaited_labels() {
            Err(status) => Readiness::Failed(status),
            Ok(all_stand) if all_stand && !is_nothing_left && configured().all(is_settled) => Readiness::Ready,
            Ok(_) => Readiness::Waiting,
        }
    }

    /// Forgets models that are configured no more, if they are too many.
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

/// Why a model is not available, in the words of TensorFlow Serving: "{{name: m version: 1} due to error: …}, ".
pub(super) fn failure_reason<T>(model: &Model<T>) -> String {
    let name = &model.name;
    match (model.failure(), &model.problem) {
        (Some((version, error)), _) => format!("{{{{name: {name} version: {version}}} due to error: {error}}}, "),
        (None, Some(problem)) => format!("{{{{name: {name}}} due to error: {}: {problem}}}, ", Code::NotFound),
        (None, None) => format!("{{{{name: {name}}}}}, "),
    }
}
