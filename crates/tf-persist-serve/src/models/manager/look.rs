//! Looks for the versions of a model by request, of which the requester hears what they found.

use tokio::sync::oneshot;

use super::Manager;
use crate::models::config::BasePath;
use crate::models::state_machine::Model;

/// A look for the versions of a model.
pub(super) struct Look {
    model: String,
    /// The polls that have ended once it is over: those that began after the request.
    polls: u64,
    remote_polls: u64,
    is_over: bool,
    reply: oneshot::Sender<Vec<i64>>,
}

impl<T: Send + Sync + 'static> Manager<T> {
    /// Reads the configuration file and looks for versions as soon as no poll is running.
    pub(super) fn look_now(&mut self) {
        (self.poll.versions_due, self.poll.config_due) = (true, true);
        self.remote_poll.is_due = true;
        self.config.apply_unchanged_file = true;
    }

    /// Looks for versions of a model; replies with the aspired ones once their loads are queued.
    pub(super) fn look(&mut self, model: String, reply: oneshot::Sender<Vec<i64>>) {
        self.look_now();
        let next = |ended: u64, is_running: bool| ended + u64::from(is_running) + 1;
        let polls = next(self.poll.ended, self.poll.is_running);
        let remote_polls = next(self.remote_poll.ended, self.remote_poll.is_running);
        self.looks.push(Look { model, polls, remote_polls, is_over: false, reply });
    }

    /// Notes which looks are over after a poll. Versions that failed before are tried again: whoever asks for a look
    /// has reason to believe that they load now.
    pub(super) fn end_looks(&mut self) {
        for look in self.looks.iter_mut().filter(|look| !look.is_over) {
            let Some(model) = self.models.get_mut(&look.model) else {
                look.is_over = true;
                continue;
            };
            let is_remote = |model: &Model<T>| {
                model.config.as_ref().is_some_and(|config| matches!(config.base_path, Some(BasePath::Remote(_))))
            };
            let is_polled = if is_remote(model) {
                self.remote_poll.ended >= look.remote_polls
            } else {
                self.poll.ended >= look.polls
            };
            // One whose base path was changed by the configuration file is polled once more.
            if is_polled && (model.was_polled || model.config.is_none()) {
                look.is_over = true;
                model.try_again();
            }
        }
    }

    /// Replies to those whose looks are over. To be called after their result is published.
    pub(super) fn answer_looks(&mut self) {
        if self.stopping.is_some() {
            // The requesters hear that the server is stopping.
            self.looks.clear();
        }
        for look in self.looks.extract_if(.., |look| look.is_over || look.reply.is_closed()) {
            let versions = self.models.get(&look.model).map(Model::aspired).unwrap_or_default();
            // The requester may be gone.
            let _ = look.reply.send(versions);
        }
    }
}
