//! What both interfaces speak to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::ServerError;
use super::drain::{Drain, Drainage};
use crate::guard::{Certificates, Gate, Keys, Tls};
use crate::in_flight::{InFlight, InFlightGuard};
use crate::metrics::Metrics;
use crate::models::Models;
use crate::settings::Settings;
use crate::status::Status;

/// A request or an answer of more bytes leaves memory behind that is worth giving back.
const MUCH: usize = 1 << 20;

/// What both interfaces speak to. Cloning shares it.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    settings: Settings,
    models: Models,
    metrics: Metrics,
    gate: Gate,
    keys: Keys,
    certificates: Option<Certificates>,
    drainage: Drainage,
    connections: InFlight,
    took_much: AtomicBool,
}

impl Service {
    /// Starts to load models.
    ///
    /// # Errors
    /// As [`Models::start`]; `INVALID_ARGUMENT` if keys or certificates cannot be used.
    pub fn start(settings: Settings) -> Result<Self, Status> {
        Self::guarded(settings).map_err(|error| match error {
            ServerError::Models(status) => status,
            other => Status::invalid_argument(other.to_string()),
        })
    }

    pub(super) fn guarded(settings: Settings) -> Result<Self, ServerError> {
        let keys = Keys::open(settings.guard.api_key_file.as_deref())?;
        let certificates = settings.guard.tls.as_ref().map(Certificates::new).transpose()?;
        let gate = Gate::new(settings.guard.limits.requests_at_once);
        let metrics = Metrics::new();
        let models = Models::start(settings.models.clone(), settings.run.clone(), metrics.clone());
        let models = models.map_err(ServerError::Models)?;
        let (drainage, connections, took_much) = (Drainage::new(), InFlight::default(), AtomicBool::new(false));
        Ok(Self(Arc::new(Inner {
            settings,
            models,
            metrics,
            gate,
            keys,
            certificates,
            drainage,
            connections,
            took_much,
        })))
    }

    /// How the server is set up.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The models.
    #[must_use]
    pub fn models(&self) -> &Models {
        &self.0.models
    }

    /// The measures.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Where requests under way are counted.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.0.gate
    }

    /// The API keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// Whether the server is stopping: it answers what is under way, and nothing else.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.drainage.begun().is_some()
    }

    /// For how long it has been, if it is.
    pub(crate) fn draining_for(&self) -> Option<Duration> {
        self.0.drainage.begun().map(|begun| begun.elapsed())
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.connections.get()
    }

    /// Reads keys and the models' configuration again, looks for versions, and takes these certificates for new connections. What cannot
    /// be used leaves what there was. The log says so, and which keys and certificates hold from now on.
    pub fn reload(&self, tls: Option<&Tls>) {
        if let Err(error) = self.0.keys.reload() {
            tracing::error!(%error, "the API keys stay as they were");
        }
        if let (Some(certificates), Some(tls)) = (&self.0.certificates, tls)
            && let Err(error) = certificates.replace(tls)
        {
            tracing::error!(%error, "the certificates stay as they were");
        }
        self.say_who_is_let_in();
        self.0.models.refresh();
    }

    /// Tells the log which keys and certificates hold now.
    pub(super) fn say_who_is_let_in(&self) {
        self.0.keys.say();
        if let Some(certificates) = &self.0.certificates {
            certificates.say();
        }
    }

    /// A request or an answer has so many bytes.
    pub(crate) fn takes(&self, bytes: usize) {
        if bytes > MUCH {
            self.0.took_much.store(true, Ordering::Relaxed);
        }
    }

    /// Whether much memory was taken since this was asked last, and nothing is under way that may need it again.
    pub(super) fn has_memory_left_over(&self) -> bool {
        self.gate().inside() == 0 && self.0.took_much.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn drain(&self) -> Drain {
        self.0.drainage.drain()
    }

    pub(super) fn begin_to_drain(&self) {
        self.0.drainage.begin();
        self.0.models.begin_to_stop();
    }

    pub(super) fn certificates(&self) -> Option<&Certificates> {
        self.0.certificates.as_ref()
    }

    /// Counts a connection until what this gives is dropped.
    pub(super) fn connected(&self) -> InFlightGuard {
        self.0.connections.acquire()
    }
}
