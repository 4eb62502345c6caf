//! Which models there are: found in folders, loaded, swapped, labelled, unloaded.
//!
//! A model has a base path, in which each version is a folder, or a [pack](tf_persist_core::pack), whose name is a number. Which of
//! them are served is a matter of its policy: the newest unless it is said. What happens to them is what TensorFlow Serving does:
//!
//! - A new version is loaded and warmed up before the old one is unloaded. If it cannot be, the old one stays.
//! - A version whose folder is gone is unloaded, once another one answers that is wanted, or if none is; a base path that is gone
//!   changes nothing.
//! - A load that failed is tried again, [so often](LoadSettings::retries).
//!
//! And what it does not:
//!
//! - A model whose folder is missing or empty holds up no other.
//! - A version that failed is tried again when its files have changed and then stand still for the time between two looks: one that
//!   was half copied is served when it is whole. What can only be refused again, such as a model that is not trusted, waits for that.
//! - A [reload](Models::reload) neither waits for ever nor holds up the next.
//! - A version that took the process down twice [is left alone](LoadSettings::journal) for a while.
//! - Memory of a version that is unloaded is given back to the operating system.
//! - The threads that load stand back behind those that answer, on Linux.

mod config;
mod crash_journal;
mod folder;
mod handle;
mod intra_op_threads;
mod load;
mod manager;
mod poll;
mod servable;
mod settings;
mod state_machine;
mod tensorflow_loader;
mod unload;
mod view;

use std::fmt;
use std::sync::Arc;

pub use servable::{Servable, ServedSignature};
pub use settings::{LabelRule, LoadSettings, ModelSettings, ModelSource};

use tf_persist_proto::serving::ModelServerConfig;
use tokio::sync::watch;

use crate::batching;
use crate::metrics::Metrics;
use crate::status::Status;
use handle::Handle;
use intra_op_threads::IntraOpThreads;
use tensorflow_loader::TensorFlowLoader;
use view::Readiness;

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
    /// What can be done about that.
    pub hint: Option<String>,
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

/// Runs the requests that a version brings along, each as often as the number says, before it answers others. Returns how many there are.
pub(crate) type WarmUp = fn(&Servable, u32) -> Result<usize, Status>;

/// The models of a server. Cloning shares them.
///
/// How models stand is known to one thread alone, which others tell what they have done: those that load, one that unloads and
/// one that looks at files. It shows what it knows in a view that requests read without a lock, so that nothing of that, however
/// long it takes, holds up a request.
#[derive(Clone)]
pub struct Models(Arc<Handle<Servable>>);

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Models").finish_non_exhaustive()
    }
}

impl Models {
    /// Starts to look for models and to load them, in threads of its own.
    ///
    /// # Errors
    /// What a configuration that cannot be would do to TensorFlow Serving at its start: it does not run.
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

    /// A version that is available. It stays loaded as long as somebody holds it.
    ///
    /// # Errors
    /// `NOT_FOUND` if there is no such model or version, `INVALID_ARGUMENT` if there is no such label.
    pub fn find(&self, name: &str, version: &Version) -> Result<Arc<Servable>, Status> {
        self.0.view().find(name, version).cloned()
    }

    /// How the versions of a model fare, newest first; only this one, if one is named. Labels are not looked at, as in
    /// TensorFlow Serving (`model_servers/get_model_status_impl.cc`).
    ///
    /// # Errors
    /// `NOT_FOUND` if nothing was ever seen of it.
    pub fn status(&self, name: &str, version: Option<i64>) -> Result<Vec<VersionStatus>, Status> {
        self.0.view().status(name, version)
    }

    /// All models that are configured, sorted by name.
    #[must_use]
    pub fn list(&self) -> Vec<ModelStatus> {
        self.0.view().list()
    }

    /// Whether every configured model had a version to answer with once, and there is one now that answers. What is configured later
    /// changes nothing about the first. TensorFlow Serving opens its ports only then. A model that took processes down is not waited
    /// for, unless there is no other.
    #[must_use]
    pub fn are_ready(&self) -> bool {
        let view = self.0.view();
        view.readiness == Readiness::Ready && view.has_available()
    }

    /// Whether the version of a model may come to answer that does not yet: it waits to be loaded, or it is not known yet which there are.
    #[must_use]
    pub fn is_pending(&self, name: &str, version: Option<i64>) -> bool {
        self.0.view().is_pending(name, version)
    }

    /// Where it is told that how models stand has changed.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changes()
    }

    /// Returns once every configured model had a version to answer with.
    ///
    /// # Errors
    /// If that cannot be any more: of a model, no version could be loaded that is there. The server is to exit then.
    pub async fn ready(&self) -> Result<(), Status> {
        self.0.ready().await
    }

    /// Serves another configuration in place of this one; returns once the new models answer. The log says who asked for it.
    ///
    /// The configuration is taken at once or refused at once. What is awaited then is that each new model has a version that
    /// answers: a quarter of an hour for one that is being loaded, some seconds for one whose folder has no versions. What is not
    /// there by then is named, and comes later all the same. Requests that come in the meantime are not held up by it.
    ///
    /// # Errors
    /// As TensorFlow Serving's `HandleReloadConfigRequest`: the old configuration stays if this one cannot be; `UNKNOWN` if a new
    /// model could not be loaded, which the others are served without.
    pub async fn reload(&self, config: ModelServerConfig, requested_by: &str) -> Result<(), Status> {
        self.0.reload(config, requested_by).await
    }

    /// Reads the configuration file again at once, and looks for versions at once: what SIGHUP does.
    pub fn refresh(&self) {
        self.0.refresh();
    }

    /// What is being loaded from now on is not to blame for the end of the process.
    pub(crate) fn begin_to_stop(&self) {
        self.0.begin_to_stop();
    }

    /// Loads nothing any more and unloads everything; returns when nothing is loaded, or half a minute has passed. It blocks.
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
    /// As TensorFlow Serving calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "START",
            Self::Loading => "LOADING",
            Self::Available => "AVAILABLE",
            Self::Unloading => "UNLOADING",
            Self::End => "END",
        }
    }
}

#[cfg(test)]
mod tests;
