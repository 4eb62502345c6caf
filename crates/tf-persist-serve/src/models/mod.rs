//! The life of models: versions are found in folders, loaded, swapped, labelled and unloaded.
//!
//! A model has a base path. Each version in it is a folder or a [pack](tf_persist_core::pack) whose name is a number.
//! The version policy of the model decides which versions are served, by default the newest. As in TensorFlow Serving:
//!
//! - A new version is loaded and warmed up before the old one is unloaded. If it fails to load, the old one stays.
//! - A version whose folder is gone is unloaded once another aspired version is available, or if none is aspired. If
//!   the base path is gone, nothing changes.
//! - A failed load is retried [several times](LoadSettings::retries).
//!
//! A base path may also be elsewhere, as far as [`RemotePaths`] knows how to find and [`Prepare`] how to fetch the
//! versions under it.
//!
//! The models may also be those of a [`Catalog`], which decides on versions and labels while the server runs.
//!
//! Unlike TensorFlow Serving:
//!
//! - A model whose folder is missing or empty does not delay the others.
//! - A version that failed is loaded again when its files have changed and then stay the same between two polls: a
//!   version that was half copied is served once it is complete. Errors that another attempt cannot fix, such as an
//!   untrusted model, are retried only then.
//! - A [reload](Models::reload) has a time limit, and does not delay the next one.
//! - A version that crashed the process twice is [quarantined](LoadSettings::journal) for a while.
//! - Memory of an unloaded version is returned to the operating system.
//! - On Linux, loading threads have a lower priority than those that answer requests.
//! - Where more than a few versions are loaded at once, the trials of the fast path come after they are available.
//! - Of several models, one that fails to load does not end the server, as long as another can be served.

mod below;
mod catalog;
mod config;
mod crash_journal;
mod eviction;
mod folder;
mod handle;
mod intra_op_threads;
mod later_trials;
mod load;
mod manager;
mod poll;
mod remote_paths;
mod resident;
mod sagemaker;
mod servable;
mod settings;
mod state_machine;
mod tensorflow_loader;
mod unload;
mod version_entry;
mod view;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

pub use below::ModelsBelow;
pub use catalog::{Catalog, CatalogModel, Prepare, Refusal};
pub use remote_paths::{RemotePaths, RemoteVersion};
pub(crate) use resident::InUse;
pub(crate) use sagemaker::NotLoaded;
pub use sagemaker::SageMakerModels;
pub use servable::{Servable, ServedSignature};
pub use settings::{LabelRule, LoadSettings, ModelSettings, ModelSource};

use tf_persist_proto::serving::ModelServerConfig;
use tokio::sync::watch;

use crate::batching;
use crate::metrics::Metrics;
use crate::status::Status;
use handle::Handle;
use intra_op_threads::IntraOpThreads;
use resident::Presence;
use tensorflow_loader::TensorFlowLoader;
use view::Readiness;

/// The version of a model that a request names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Version {
    /// The newest available version.
    Latest,
    /// This one.
    Number(i64),
    /// The version of this label.
    Label(String),
    /// The version that the rules of the traffic chose; the newest one if it has gone since.
    Chosen(i64),
}

/// The state of a version (`core/servable_state.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Found, but not being loaded yet.
    Start,
    /// Being loaded or warmed up.
    Loading,
    /// Serving requests.
    Available,
    /// Unloaded to save memory, until a request needs it: TensorFlow Serving has no such state.
    Unloaded,
    /// Serving no new requests.
    Unloading,
    /// Unloaded, or failed to load.
    End,
}

/// The status of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionStatus {
    /// The number of the version.
    pub version: i64,
    /// Its state.
    pub state: State,
    /// Why it failed to load.
    pub error: Option<Status>,
    /// How to fix that.
    pub hint: Option<String>,
}

/// The status of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelStatus {
    /// Its name.
    pub name: String,
    /// All known versions, newest first.
    pub versions: Vec<VersionStatus>,
    /// Labels and their versions, sorted by label.
    pub labels: Vec<(String, i64)>,
    /// Labels of a [`Catalog`] that are to point to other versions, which are not available; sorted by label.
    pub pending_labels: Vec<(String, i64)>,
    /// A problem with its folder, or with its state in a [`Catalog`].
    pub problem: Option<String>,
}

/// Runs the warm-up requests of a version, each this many times. Returns how many there are.
pub(crate) type WarmUp = fn(&Servable, u32) -> Result<usize, Status>;

/// The models of a server. Cloning shares them.
///
/// One thread owns the state of all models. Other threads load, unload and poll files, and report to it. It publishes a
/// view that requests read without a lock, so that none of this work delays a request.
#[derive(Clone)]
pub struct Models(Arc<Handle<Servable>>);

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Models").finish_non_exhaustive()
    }
}

impl Models {
    /// Starts to find and load models, in threads of its own.
    ///
    /// # Errors
    /// If the configuration is unreadable or invalid, as TensorFlow Serving would refuse to start.
    pub fn start(
        settings: ModelSettings,
        run: batching::RunSettings,
        metrics: Metrics,
        warm_up: WarmUp,
    ) -> Result<Self, Status> {
        run.check()?;
        let loader = TensorFlowLoader {
            load: settings.load.clone(),
            intra_op_threads: IntraOpThreads::default(),
            run,
            metrics,
            warm_up,
        };
        Ok(Self(Arc::new(Handle::start(settings, loader)?)))
    }

    /// An available version. It stays loaded while the caller holds it.
    ///
    /// # Errors
    /// `NOT_FOUND` if the model or version is unknown, `INVALID_ARGUMENT` if the label is.
    pub fn find(&self, name: &str, version: &Version) -> Result<Arc<Servable>, Status> {
        self.0.view().find(name, version).cloned()
    }

    /// As [`Self::find`], but a version that was unloaded to save memory is loaded first.
    ///
    /// # Errors
    /// Also those of [`Self::keep_loaded`].
    pub(crate) async fn find_loaded(
        &self,
        name: &str,
        version: &Version,
        deadline: Option<Instant>,
    ) -> Result<Arc<Servable>, Status> {
        if !self.0.has_limit() {
            return self.find(name, version);
        }
        // On the heap: other requests need not carry its size along.
        let _in_use = Box::pin(self.0.keep_loaded(name, version, deadline)).await?;
        self.find(name, version)
    }

    /// Whether models are unloaded to save memory, and requests must keep theirs loaded.
    pub(crate) fn are_unloaded_to_save_memory(&self) -> bool {
        self.0.has_limit()
    }

    /// Keeps a model loaded while the guard is held, and waits until the version that a request names is loaded, if it
    /// was unloaded to save memory.
    ///
    /// # Errors
    /// `DEADLINE_EXCEEDED` if it is not loaded in time, `UNAVAILABLE` if it cannot be loaded.
    pub(crate) async fn keep_loaded(
        &self,
        name: &str,
        version: &Version,
        deadline: Option<Instant>,
    ) -> Result<Option<InUse>, Status> {
        self.0.keep_loaded(name, version, deadline).await
    }

    /// The status of the versions of a model, newest first, or of one version. Labels are ignored, as in TensorFlow
    /// Serving (`model_servers/get_model_status_impl.cc`).
    ///
    /// # Errors
    /// `NOT_FOUND` if the model or version was never seen.
    pub fn status(&self, name: &str, version: Option<i64>) -> Result<Vec<VersionStatus>, Status> {
        self.0.view().status(name, version)
    }

    /// All configured models, sorted by name.
    #[must_use]
    pub fn list(&self) -> Vec<ModelStatus> {
        self.0.view().list()
    }

    /// Why the last configuration file, or the last state of a [`Catalog`], is not in effect.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.0.view().problem.clone()
    }

    /// Whether every model of the first configuration has had an available version, and some version is available now.
    /// TensorFlow Serving opens its ports only then. A quarantined model is not waited for, unless there is no other.
    #[must_use]
    pub fn are_ready(&self) -> bool {
        let view = self.0.view();
        view.readiness == Readiness::Ready && view.has_available()
    }

    /// Whether a version that is not available may become so: it waits to be loaded, or the versions of the model are
    /// not known yet.
    #[must_use]
    pub fn is_pending(&self, name: &str, version: Option<i64>) -> bool {
        self.0.view().is_pending(name, version)
    }

    /// Whether requests for a version are answered, perhaps after it was loaded again.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub(crate) fn answers(&self, name: &str, version: &Version) -> Result<(), Status> {
        let view = self.0.view();
        match view.presence(name, version) {
            Presence::Settled => view.find(name, version).map(drop),
            Presence::Unloaded | Presence::Loading => Ok(()),
        }
    }

    /// The number of a version, if requests for it are answered, perhaps after it was loaded again.
    pub(crate) fn answering(&self, name: &str, version: &Version) -> Option<i64> {
        self.0.view().answering(name, version)
    }

    /// Whether a model is one of the current configuration.
    pub(crate) fn is_configured(&self, name: &str) -> bool {
        self.0.view().tables.get(name).is_some_and(|table| table.is_configured)
    }

    /// Notifies of changes of any model's status.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changes()
    }

    /// Returns once every configured model has had an available version.
    ///
    /// # Errors
    /// If all versions of a model failed to load. The server should exit then.
    pub async fn ready(&self) -> Result<(), Status> {
        self.0.ready().await
    }

    /// Replaces the configuration; returns once the new models are available. The log names who requested it.
    ///
    /// The configuration is accepted or refused at once. Then this waits until each new model has an available version:
    /// up to a quarter of an hour for one that is being loaded, some seconds for one whose folder has no versions. The
    /// error names those that are not available by then; they may become available later. Requests are not delayed
    /// meanwhile.
    ///
    /// # Errors
    /// As TensorFlow Serving's `HandleReloadConfigRequest`: if this configuration is invalid, the old one stays;
    /// `UNKNOWN` if a new model failed to load, and the others are served without it.
    pub async fn reload(&self, config: ModelServerConfig, requested_by: &str) -> Result<(), Status> {
        self.0.reload(config, requested_by).await
    }

    /// Reads the configuration file again at once, and looks for versions at once: what SIGHUP does.
    pub fn refresh(&self) {
        self.0.refresh();
    }

    /// As [`Self::refresh`], but returns once that was done for this model: with the versions that are to be available,
    /// of which the new ones and those that failed before are being loaded.
    ///
    /// # Errors
    /// `UNAVAILABLE` if the server is stopping.
    pub(crate) async fn look(&self, name: &str) -> Result<Vec<i64>, Status> {
        self.0.look(name).await
    }

    /// What is being loaded from now on is not to blame for the end of the process.
    pub(crate) fn begin_to_stop(&self) {
        self.0.begin_to_stop();
    }

    /// Loads nothing any more and unloads everything; returns when nothing is loaded, or half a minute has passed. It
    /// blocks.
    pub fn stop(&self) {
        self.0.stop();
    }
}

impl fmt::Display for State {
    /// As TensorFlow Serving calls it: `START`, `LOADING`, ….
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl State {
    /// The state as TensorFlow Serving's clients know it: a version is available to them if their requests are
    /// answered.
    #[must_use]
    pub fn for_clients(self) -> Self {
        if self == Self::Unloaded { Self::Available } else { self }
    }

    /// As TensorFlow Serving calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "START",
            Self::Loading => "LOADING",
            Self::Available => "AVAILABLE",
            Self::Unloaded => "UNLOADED",
            Self::Unloading => "UNLOADING",
            Self::End => "END",
        }
    }
}

#[cfg(test)]
mod tests;
