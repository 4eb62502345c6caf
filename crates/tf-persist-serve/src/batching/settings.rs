//! How requests are run and batched.

use std::path::PathBuf;

/// How requests are run. Threads of TensorFlow's own are options of the session: see
/// [`LoadOptions`](tf_persist_core::LoadOptions).
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many runs of one model may be under way at once; 0: one a core.
    pub runs_at_once: usize,
    /// How many requests may wait for one model; what comes then is refused.
    pub max_waiting: usize,
    /// Whether only signatures whose method is `tensorflow/serving/classify` classify, and those whose method is
    /// `tensorflow/serving/regress` regress (`enable_signature_method_name_check`).
    pub check_method_names: bool,
    /// Whether requests that wait are run together.
    pub batching: BatchingSettings,
}

/// Whether and how requests are run together.
#[derive(Debug, Clone)]
pub struct BatchingSettings {
    /// Whether requests are ever run together, up to `max_batch_size` rows. Unless that was asked for, they are where
    /// no answer changes by a bit: where the graph proves that rows are independent, and a measurement finds the same
    /// bits in a batch.
    pub enabled: bool,
    /// Whether TensorFlow Serving's batching was asked for (`enable_batching`): its limits hold then, also without a
    /// file, and requests are run together without proof that the answers are those they would get alone.
    pub explicit: bool,
    /// Whether requests whose rows are proven to be independent are run together though the last digits of their
    /// answers may differ from those that they get alone (`batch_within_rounding`).
    pub within_rounding: bool,
    /// The most rows of one run, where the parameters do not say.
    pub max_batch_size: usize,
    /// TensorFlow Serving's `BatchingParameters` in text format (`batching_parameters_file`). It is what asks for
    /// batching, as `explicit` does.
    pub parameters_file: Option<PathBuf>,
    /// Whether each version's own `batching_params.pbtxt` stands before that file
    /// (`enable_per_model_batching_parameters`).
    pub per_model: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { runs_at_once: 0, max_waiting: 1024, check_method_names: false, batching: BatchingSettings::default() }
    }
}

impl Default for BatchingSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            explicit: false,
            within_rounding: false,
            max_batch_size: 128,
            parameters_file: None,
            per_model: false,
        }
    }
}
