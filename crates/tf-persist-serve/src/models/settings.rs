//! Which models are served, and how they are loaded.

use std::path::PathBuf;
use std::time::Duration;

use tf_persist_core::LoadOptions;

/// How models are found and loaded. The names are those of TensorFlow Serving's flags.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it is said which models there are; `None` is refused at the start.
    pub source: Option<ModelSource>,
    /// How often the folders are looked into for versions (`file_system_poll_wait_seconds`); `None`: only at the start.
    pub poll: Option<Duration>,
    /// Which versions labels may be put on.
    pub labels: LabelRule,
    /// How a version is loaded.
    pub load: LoadSettings,
}

/// Where it is said which models there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// One model, whose versions are folders of this one (`model_name`, `model_base_path`).
    BasePath {
        /// The name it is served by.
        name: String,
        /// The folder of its versions.
        path: PathBuf,
    },
    /// A `ModelServerConfig` in text format (`model_config_file`).
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// How often it is read again (`model_config_file_poll_wait_seconds`); `None`: only when it is asked for.
        poll: Option<Duration>,
    },
}

/// Which versions labels may be put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LabelRule {
    /// Those that answer; at the start also those that are still being loaded, which the server waits for before it is ready.
    #[default]
    AvailableOrStarting,
    /// Those that answer alone, so that none can be put anywhere at the start: TensorFlow Serving's rule.
    Available,
    /// Any, as long as the label is new (`allow_version_labels_for_unavailable_models`).
    Any,
}

/// How a version is loaded.
#[derive(Debug, Clone)]
pub struct LoadSettings {
    /// Session options, op libraries, trust and where libtensorflow is. Without tags the only meta graph is taken, else `serve`.
    pub options: LoadOptions,
    /// Whether the first version that is loaded decides how many threads share the work of one op, whatever the options say: one if its
    /// ops are small, else one a core. The process has one pool of these threads, so it decides for all versions that follow.
    pub intra_op_threads_by_model: bool,
    /// How often a load that failed is tried again (`max_num_load_retries`).
    pub retries: u32,
    /// How long is waited before each (`load_retry_interval_micros`).
    pub retry_interval: Duration,
    /// How many versions are loaded at once (`num_load_threads`, of which 0 is 1 here).
    pub threads: usize,
    /// Whether the requests in `assets.extra/tf_serving_warmup_requests` are run before a version answers (`enable_model_warmup`).
    pub warm_up: bool,
    /// How often each of them is run (`num_request_iterations_for_warmup`).
    pub warm_up_iterations: u32,
    /// Where the name of the version that is being loaded is written down while it is, so that the next start can say which one
    /// took the process with it, and leave one alone for a while that did so twice. `None`: nowhere.
    pub journal: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            source: None,
            poll: Some(Duration::from_secs(1)),
            labels: LabelRule::default(),
            load: LoadSettings::default(),
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
            warm_up: true,
            warm_up_iterations: 1,
            journal: None,
        }
    }
}
