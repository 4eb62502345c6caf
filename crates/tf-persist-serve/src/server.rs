//! The server: its listeners, from the first request to the last.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::metrics::Metrics;
use crate::models::Models;
use crate::settings::Settings;
use crate::status::Status;

/// What both interfaces speak to. Cloning shares it.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    settings: Settings,
    models: Models,
    metrics: Metrics,
}

impl Service {
    /// Starts to load models.
    ///
    /// # Errors
    /// As [`Models::start`].
    pub fn start(settings: Settings) -> Result<Self, Status> {
        let metrics = Metrics::new();
        let models = Models::start(settings.models.clone(), settings.run.clone(), metrics.clone())?;
        Ok(Self(Arc::new(Inner { settings, models, metrics })))
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
}

/// Why a server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The models could not be had.
    #[error("{0}")]
    Models(Status),
    /// A port could not be taken.
    #[error("cannot listen on {address} for {what}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// "REST" or "gRPC".
        what: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// A server that listens.
pub struct Server {}
