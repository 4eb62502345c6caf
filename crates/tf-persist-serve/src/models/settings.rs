//! Settings of the models: which are served, and how they are loaded.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tf_persist_core::LoadOptions;

use super::{Catalog, Prepare, RemotePaths};
use crate::request_log::RequestLog;
use crate::setters::setters;

/// How models are found and loaded. The names are those of TensorFlow Serving's flags.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ModelSettings {
    /// Which models are served. A server does not start without it.
    pub source: Option<ModelSource>,
    /// How often the folders are searched for versions (`file_system_poll_wait_seconds`); `None` for only at the start.
    pub poll: Option<Duration>,
    /// How versions under base paths with a scheme are found, such as `s3://…`; without it such base paths are refused.
    pub remote_paths: Option<Arc<dyn RemotePaths>>,
    /// How often those are searched, where each search is a request that may cost money; `None` for only at the start.
    pub remote_poll: Option<Duration>,
    /// Which versions a label may be assigned to.
    pub labels: LabelRule,
    /// How a version is loaded.
    pub load: LoadSettings,
    /// Hears of the `logging_config` of models.
    pub(crate) request_log: RequestLog,
}

/// Which models are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// One model, whose versions are subfolders (`model_name`, `model_base_path`).
    BasePath {
        /// The name of the model.
        name: String,
        /// The folder of its versions, or where they are elsewhere.
        path: PathBuf,
    },
    /// A `ModelServerConfig` in text format (`model_config_file`).
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// How often the file is read again (`model_config_file_poll_wait_seconds`); `None` for only on a reload.
        poll: Option<Duration>,
    },
    /// The models of a catalog, such as a store.
    Catalog(Arc<dyn Catalog>),
}

/// Which versions a label may be assigned to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LabelRule {
    /// Available versions; at the start also versions that are being loaded, for which the server waits before it is
    /// ready.
    #[default]
    AvailableOrStarting,
    /// Available versions only, so that no label can be assigned at the start: TensorFlow Serving's rule.
    Available,
    /// Any version, as long as the label is new (`allow_version_labels_for_unavailable_models`).
    Any,
}

/// How a version is loaded.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LoadSettings {
    /// Session options, op libraries, trust and the location of libtensorflow. Without tags, the only meta graph is
    /// loaded, or the one with the tag `serve` if there are several.
    pub options: LoadOptions,
    /// Whether the first version decides how many threads share one op, whatever the options say: one thread if its ops
    /// are small, one a core otherwise. A process has one pool of these threads, so that version decides for all later
    /// ones.
    pub intra_op_threads_by_model: bool,
    /// How often a failed load is retried (`max_num_load_retries`).
    pub retries: u32,
    /// The pause before each retry (`load_retry_interval_micros`).
    pub retry_interval: Duration,
    /// How many versions are loaded at once (`num_load_threads`, where 0 stands for 1).
    pub threads: usize,
    /// How many are loaded at once until the server is ready, if that is more.
    pub start_threads: usize,
    /// How many bytes loaded versions may take together, by an estimate from the sizes of their files; `None` for no
    /// limit.
    pub max_resident_bytes: Option<u64>,
    /// Whether the models that were not asked for the longest time are unloaded to make room for others, and loaded
    /// again when a request needs them. Otherwise, a version without room fails to load.
    pub unload_least_used: bool,
    /// Whether the requests in `assets.extra/tf_serving_warmup_requests` run before a version is available
    /// (`enable_model_warmup`).
    pub warm_up: bool,
    /// How often each of them runs (`num_request_iterations_for_warmup`).
    pub warm_up_iterations: u32,
    /// Whether a version is refused that answers a recorded request otherwise than the recorded answer, as far as there
    /// are any.
    pub check: bool,
    /// A file with the versions that are being loaded. The next start reads from it which version crashed the process,
    /// and quarantines a version that did so twice. `None` for no file.
    pub journal: Option<PathBuf>,
    /// What is done before a version is loaded, such as a check of its signature.
    pub prepare: Option<Arc<dyn Prepare>>,
}

impl ModelSettings {
    /// Serves one model: sets [`source`](#structfield.source) to a [`ModelSource::BasePath`].
    #[must_use]
    pub fn base_path(self, name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.source(ModelSource::BasePath { name: name.into(), path: path.into() })
    }

    setters! {
        source: impl Into<Option<ModelSource>>,
        poll: impl Into<Option<Duration>>,
        remote_paths: impl Into<Option<Arc<dyn RemotePaths>>>,
        remote_poll: impl Into<Option<Duration>>,
        labels: LabelRule,
        load: LoadSettings,
    }
}

impl LoadSettings {
    setters! {
        options: LoadOptions,
        intra_op_threads_by_model: bool,
        retries: u32,
        retry_interval: Duration,
        threads: usize,
        start_threads: usize,
        max_resident_bytes: impl Into<Option<u64>>,
        unload_least_used: bool,
        warm_up: bool,
        warm_up_iterations: u32,
        check: bool,
        journal: impl Into<Option<PathBuf>>,
        prepare: impl Into<Option<Arc<dyn Prepare>>>,
    }
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self {
            source: None,
            poll: Some(Duration::from_secs(1)),
            remote_paths: None,
            remote_poll: Some(Duration::from_secs(10)),
            labels: LabelRule::default(),
            load: LoadSettings::default(),
            request_log: RequestLog::default(),
        }
    }
}

impl Default for LoadSettings {
    fn default() -> Self {
        Self {
            options: LoadOptions::default(),
            intra_op_threads_by_model: false,
            retries: 5,
            retry_interval: Duration::from_secs(60),
            threads: 1,
            start_threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            max_resident_bytes: None,
            unload_least_used: true,
            warm_up: true,
            warm_up_iterations: 1,
            check: false,
            journal: None,
            prepare: None,
        }
    }
}
