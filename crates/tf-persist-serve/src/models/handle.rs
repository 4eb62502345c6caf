//! A handle to the manager's thread, generic over the loaded models for tests.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use tf_persist_core::Code;
use tf_persist_proto::serving::ModelServerConfig;
use tokio::sync::{oneshot, watch};

use super::load::Loader;
use super::manager::{self, Event, Shared};
use super::resident::{InUse, Presence};
use super::view::{Readiness, View};
use super::{ModelSettings, Version};
use crate::milliseconds;
use crate::status::Status;

/// How long [`Handle::stop`] waits for requests and loads to end.
const STOP_WAIT: Duration = Duration::from_secs(30);

/// Models that are served until the handle is dropped.
pub(super) struct Handle<T> {
    shared: Arc<Shared<T>>,
    events: Sender<Event<T>>,
    has_limit: bool,
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        let _ = self.events.send(Event::Stop { reply: None });
    }
}

impl<T: Send + Sync + 'static> Handle<T> {
    pub(super) fn start<L: Loader<Loaded = T>>(settings: ModelSettings, loader: L) -> Result<Self, Status> {
        let has_limit = settings.load.max_resident_bytes.is_some();
        let (shared, events) = manager::start(settings, Arc::new(loader))?;
        Ok(Self { shared, events, has_limit })
    }

    /// The current state of the models.
    pub(super) fn view(&self) -> arc_swap::Guard<Arc<View<T>>> {
        self.shared.view.load()
    }

    /// Whether models are unloaded to save memory.
    pub(super) fn has_limit(&self) -> bool {
        self.has_limit
    }

    /// As [`Models::keep_loaded`](super::Models::keep_loaded).
    pub(super) async fn keep_loaded(
        &self,
        name: &str,
        version: &Version,
        deadline: Option<Instant>,
    ) -> Result<Option<InUse>, Status> {
        let wait = async {
            let mut changed = self.shared.changed.subscribe();
            let mut in_use = None;
            let mut was_absent = false;
            loop {
                let Some(usage) = self.view().tables.get(name).map(|table| table.usage.clone()) else {
                    return Ok(None);
                };
                in_use = in_use.or_else(|| usage.enter());
                // What is seen from here on stays, since the model is in use.
                let presence = self.view().presence(name, version);
                match presence {
                    _ if in_use.is_none() => {}
                    Presence::Settled if was_absent => return self.reloaded(name, version, in_use),
                    Presence::Settled => return Ok(in_use),
                    Presence::Unloaded => {
                        was_absent = true;
                        let _ = self.events.send(Event::Wake { model: name.to_owned() });
                    }
                    Presence::Loading => was_absent = true,
                }
                changed.changed().await.map_err(|_| stopping_error())?;
            }
        };
        let late = || Status::new(Code::DeadlineExceeded, format!("model {name} was not loaded again in time"));
        let end = deadline.unwrap_or_else(|| Instant::now() + MAX_RELOAD_WAIT);
        tokio::time::timeout_at(end.into(), wait).await.unwrap_or_else(|_| Err(late()))
    }

    /// The end of a wait for a version that is loaded again.
    fn reloaded(&self, name: &str, version: &Version, in_use: Option<InUse>) -> Result<Option<InUse>, Status> {
        let view = self.view();
        if view.find(name, version).is_ok() {
            return Ok(in_use);
        }
        let number = if let Version::Number(number) = version { Some(*number) } else { None };
        let statuses = view.status(name, number).unwrap_or_default();
        let error = statuses.into_iter().find_map(|status| status.error).map(|error| error.message).unwrap_or_default();
        let message = format!("model {name} was unloaded to save memory, and cannot be loaded again: {error}");
        Err(Status::new(Code::Unavailable, message))
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

    pub(super) async fn look(&self, model: &str) -> Result<Vec<i64>, Status> {
        let (reply, answer) = oneshot::channel();
        self.events.send(Event::Look { model: model.to_owned(), reply }).map_err(|_| stopping_error())?;
        answer.await.map_err(|_| stopping_error())
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

/// How long a request without a deadline waits for a model that is loaded again.
const MAX_RELOAD_WAIT: Duration = Duration::from_secs(60);

/// The error for requests during shutdown.
pub(super) fn stopping_error() -> Status {
    Status::new(Code::Unavailable, "the server is stopping")
}
