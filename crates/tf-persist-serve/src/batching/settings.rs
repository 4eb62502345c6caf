//! RunSettings of how requests run and share runs.

use std::path::PathBuf;

use crate::setters::setters;

/// How requests run. TensorFlow's own threads are options of the session: see
/// [`LoadOptions`](tf_persist_core::LoadOptions).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunSettings {
    /// The largest number of runs of one model at once; 0 for one a core.
    pub runs_at_once: usize,
    /// The largest number of requests that wait for one model. Further requests are refused.
    pub max_waiting: usize,
    /// Whether only signatures with the method `tensorflow/serving/classify` classify, and only those with
    /// `tensorflow/serving/regress` regress (`enable_signature_method_name_check`).
    pub check_method_names: bool,
    /// Whether waiting requests share runs.
    pub batching: BatchingSettings,
}

/// Whether and how requests share runs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BatchingSettings {
    /// Whether requests ever share a run, of up to `max_batch_size` rows. Unless `explicit` is set, they do only where
    /// no bit of an output changes: where the graph proves that rows are independent, and a measurement finds the same
    /// bits in a batch.
    pub enabled: bool,
    /// Whether TensorFlow Serving's batching is enabled (`enable_batching`). Its limits then hold, even without a file
    /// of parameters, and requests share runs without a proof that this changes nothing.
    pub explicit: bool,
    /// Whether a proof that rows are independent suffices, though the last digits of outputs may then differ from those
    /// of a request that runs alone.
    pub within_rounding: bool,
    /// The largest number of rows of one run, unless the parameters have their own.
    pub max_batch_size: usize,
    /// TensorFlow Serving's `BatchingParameters` in text format (`batching_parameters_file`). A file enables batching
    /// as `explicit` does.
    pub parameters_file: Option<PathBuf>,
    /// The same as a text, which takes precedence over a file.
    pub parameters_text: Option<String>,
    /// Whether the `batching_params.pbtxt` of a version takes precedence over that file
    /// (`enable_per_model_batching_parameters`).
    pub per_model: bool,
}

impl RunSettings {
    setters! {
        runs_at_once: usize,
        max_waiting: usize,
        check_method_names: bool,
        batching: BatchingSettings,
    }
}

impl BatchingSettings {
    setters! {
        enabled: bool,
        explicit: bool,
        within_rounding: bool,
        max_batch_size: usize,
        parameters_file: impl Into<Option<PathBuf>>,
        parameters_text: impl Into<Option<String>>,
        per_model: bool,
    }
}

impl Default for RunSettings {
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
            parameters_text: None,
            per_model: false,
        }
    }
}
