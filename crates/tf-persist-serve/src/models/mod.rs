//! Which models there are: found in folders, loaded, swapped, labelled, unloaded.

mod servable;
mod settings;

use std::sync::Arc;

pub use servable::{Servable, Served};
pub use settings::{LoadSettings, ModelSource, Settings};

use tf_persist_proto::serving::ModelServerConfig;

use crate::metrics::Metrics;
use crate::run;
use crate::status::Status;

/// Which version of a model a request asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Version {
    /// The newest that is available.
    Latest,
    /// This one.
    Number(i64),
    /// The one that this label stands on.
    Label(String),
}

/// Where a version of a model stands (`core/servable_state.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It was found and is not being loaded yet.
    Start,
    /// It is being loaded or warmed up.
    Loading,
    /// It answers.
    Available,
    /// It answers no new requests.
    Unloading,
    /// It is gone, or could not be loaded.
    End,
}

/// A version of a model and how it fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionStatus {
    /// Its number.
    pub version: i64,
    /// Where it stands.
    pub state: State,
    /// Why it could not be loaded.
    pub error: Option<Status>,
}

/// A model and how its versions fare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelStatus {
    /// Its name.
    pub name: String,
    /// All versions ever seen, newest first.
    pub versions: Vec<VersionStatus>,
    /// Labels and the versions that they stand on, sorted by label.
    pub labels: Vec<(String, i64)>,
}

/// The models of a server. Cloning shares them.
#[derive(Clone)]
pub struct Models(Arc<Inner>);

struct Inner {
    settings: Settings,
    metrics: Metrics,
}

impl Models {
    /// Starts to look for models and to load them, in threads of its own.
    ///
    /// # Errors
    /// What a configuration that cannot be would do to TensorFlow Serving at its start: it does not run.
    pub fn start(settings: Settings, run: run::Settings, metrics: Metrics) -> Result<Self, Status> {
        let _ = run;
        Ok(Self(Arc::new(Inner { settings, metrics })))
    }

    /// A version that is available. It stays loaded as long as somebody holds it.
    ///
    /// # Errors
    /// `NOT_FOUND` if there is no such model or version, `INVALID_ARGUMENT` if there is no such label.
    pub fn find(&self, name: &str, version: &Version) -> Result<Arc<Servable>, Status> {
        let _ = (name, version, &self.0.settings, &self.0.metrics);
        todo!()
    }

    /// How the versions of a model fare, newest first; only this one, if one is named. Labels are not looked at, as in
    /// TensorFlow Serving (`model_servers/get_model_status_impl.cc`).
    ///
    /// # Errors
    /// `NOT_FOUND` if nothing was ever seen of it.
    pub fn status(&self, name: &str, version: Option<i64>) -> Result<Vec<VersionStatus>, Status> {
        let _ = (name, version);
        todo!()
    }

    /// All models that are configured, sorted by name.
    #[must_use]
    pub fn list(&self) -> Vec<ModelStatus> {
        todo!()
    }

    /// Whether every configured model had a version to answer with once. TensorFlow Serving opens its ports only then.
    #[must_use]
    pub fn are_ready(&self) -> bool {
        todo!()
    }

    /// Returns once [`Models::are_ready`].
    ///
    /// # Errors
    /// If that cannot be any more: a model's only version could not be loaded. The server is to exit then.
    pub async fn ready(&self) -> Result<(), Status> {
        todo!()
    }

    /// Serves another configuration in place of this one; returns once the new models answer.
    ///
    /// # Errors
    /// As TensorFlow Serving's `HandleReloadConfigRequest`; the old configuration stays then, or, if a new model could not be
    /// loaded, the new one without it.
    pub async fn reload(&self, config: ModelServerConfig) -> Result<(), Status> {
        let _ = config;
        todo!()
    }

    /// Reads the configuration file again at once, and looks for versions at once: what SIGHUP does.
    pub fn refresh(&self) {
        todo!()
    }

    /// Loads nothing any more and unloads everything; returns when nothing is loaded.
    pub fn stop(&self) {
        todo!()
    }
}
