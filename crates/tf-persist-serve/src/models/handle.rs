//! A handle to the manager's thread, generic over the loaded models for tests.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use tf_persist_core::Code;
use tf_persist_proto::serving::ModelServerConfig;
use tokio::sync::{oneshot, watch};

use super::ModelSettings;
use super::load::Loader;
use super::manager::{self, Event, Shared};
use super::view::{Readiness, View};
use crate::milliseconds;
use crate::status::Status;

/// How long [`Handle::stop`] waits for requests and loads to end.
const STOP_WAIT: Duration = Duration::from_secs(30);

/// Models that are served until the handle is dropped.
pub(super) struct Handle<T> {
    shared: Arc<Shared<T>>,
    events: Sender<Event<T>>,
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        let _ = self.events.send(Event::Stop { reply: None });
    }
}

impl<T: Send + Sync + 'static> Handle<T> {
    pub(super) fn start<L: Loader<Loaded = T>>(settings: ModelSettings, loader: L) -> Result<Self, Status> {
        let (shared, events) = manager::start(settings, Arc::new(loader))?;
        Ok(Self { shared, events })
    }

    /// The current state of the models.
    pub(super) fn view(&self) -> arc_swap::Guard<Arc<View<T>>> {
        self.shared.view.load()
    }

    pub(super) async fn ready(&self) -> Result<(), Status> {
        let mut changed = self.shared.changed.subscribe();
        loop {
            let readiness = self.view().readiness.clone();
            match readiness {
                Readiness::Ready => return Ok(()),
                Readiness::Failed(status) => return Err(status),
                Readiness::Waiting => {}
            }
            // The sender lives as long as `self`.
            changed.changed().await.map_err(|_| stopping_error())?;
        }
    }

    #[cfg(test)]
    pub(super) fn polls(&self) -> &manager::PollCounts {
        &self.shared.polls
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.shared.changed.subscribe()
    }

    pub(super) fn begin_to_stop(&self) {
        self.shared.journal.stop();
    }

    pub(super) async fn reload(&self, config: ModelServerConfig, requested_by: &str) -> Result<(), Status> {
        let (reply, answer) = oneshot::channel();
        let requested_by = requested_by.to_owned();
        let sent = self.events.send(Event::Reload { config: Box::new(config), requested_by, reply });
        sent.map_err(|_| stopping_error())?;
        answer.await.map_err(|_| stopping_error())?
    }

    pub(super) fn refresh(&self) {
        let _ = self.events.send(Event::Refresh);
    }

    pub(super) fn stop(&self) {
        let (reply, done) = mpsc::channel();
        if self.events.send(Event::Stop { reply: Some(reply) }).is_ok()
            && done.recv_timeout(STOP_WAIT) == Err(RecvTimeoutError::Timeout)
        {
            tracing::warn!(waited_ms = milliseconds(STOP_WAIT), "gave up waiting for models to be unloaded");
        }
    }
}

/// The error for requests during shutdown.
pub(super) fn stopping_error() -> Status {
    Status::new(Code::Unavailable, "the server is stopping")
}
