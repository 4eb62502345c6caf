//! The limits of batching, from the settings or from TensorFlow Serving's `BatchingParameters`.

use std::path::Path;
use std::time::Duration;

use tf_persist_core::Code;
use tf_persist_proto::protobuf::MessageField;
use tf_persist_proto::protobuf::well_known_types::wrappers::{BoolValue, Int64Value};
use tf_persist_proto::serving::BatchingParameters;
use tf_persist_proto::text_format;

use super::RunSettings;
use crate::status::Status;

/// The batching parameters of one version, in its folder (`servables/tensorflow/bundle_factory_util.cc`).
const PER_MODEL_FILE: &str = "batching_params.pbtxt";

/// The largest file of parameters, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The defaults of `SharedBatchScheduler::QueueOptions::{input_batch_size_limit, max_enqueued_batches}`.
const DEFAULT_MAX_ROWS: usize = 1000;
const DEFAULT_MAX_BATCHES: usize = 10;

/// Whether requests share runs, and the limits of runs and queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BatchPolicy {
    /// Whether requests ever share a run.
    pub(super) batch: bool,
    /// Whether TensorFlow Serving's batching is enabled: requests share runs without a proof that this changes nothing.
    pub(super) explicit: bool,
    /// Whether requests may share a run though the last digits of their outputs then differ.
    pub(super) within_rounding: bool,
    /// The largest number of rows of a request; `None` for no limit.
    pub(super) max_request_rows: Option<usize>,
    /// The largest number of rows of a shared run, and of every run if large requests are split.
    pub(super) max_run_rows: usize,
    /// Whether a request with more rows than a run may have is split into several runs.
    pub(super) split: bool,
    /// How long a request waits for others.
    pub(super) timeout: Duration,
    /// The largest number of full batches that wait; `None` for no limit.
    pub(super) max_enqueued_batches: Option<usize>,
    /// The numbers of rows that a run may have, ascending; empty for any number.
    pub(super) allowed_sizes: Vec<usize>,
    /// Whether the inner sizes of inputs are padded to the largest.
    pub(super) pad_inner: bool,
    /// The largest number of runs of the model at once.
    pub(super) runs_at_once: usize,
    /// The largest number of waiting requests.
    pub(super) max_waiting: usize,
}

impl BatchPolicy {
    /// The policy of the version in this folder.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` and `NOT_FOUND` where TensorFlow Serving refuses to load a model or to start.
    pub(super) fn from_settings(settings: &RunSettings, folder: &Path) -> Result<Self, Status> {
        let batching = &settings.batching;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let base = Self {
            batch: batching.enabled,
            explicit: false,
            within_rounding: batching.within_rounding,
            max_request_rows: None,
            max_run_rows: batching.max_batch_size.max(1),
            split: false,
            timeout: Duration::ZERO,
            max_enqueued_batches: None,
            allowed_sizes: Vec::new(),
            pad_inner: false,
            runs_at_once: if settings.runs_at_once == 0 { cores } else { settings.runs_at_once },
            max_waiting: settings.max_waiting,
        };
        if !batching.enabled {
            return Ok(base);
        }
        // Without `enable_batching`, a model's own parameters have no effect in TensorFlow Serving.
        let has_parameters = batching.parameters_file.is_some() || batching.parameters_text.is_some();
        if !batching.explicit && !has_parameters {
            return Ok(base);
        }
        let own = folder.join(PER_MODEL_FILE);
        let parameters = match (&batching.parameters_text, &batching.parameters_file) {
            _ if batching.per_model && own.exists() => read(&own)?,
            // As in TensorFlow Serving, explicit batching then applies only to models that have parameters of their
            // own.
            _ if batching.per_model => return Ok(base),
            (Some(text), _) => text_format::parse(text).map_err(|error| {
                Status::invalid_argument(format!("the batching parameters cannot be read: {error}"))
            })?,
            (None, Some(file)) => read(file)?,
            (None, None) => BatchingParameters::default(),
        };
        base.with(&parameters)
    }

    /// This policy, changed by parameters.
    fn with(self, parameters: &BatchingParameters) -> Result<Self, Status> {
        let threads = positive("num_batch_threads", &parameters.num_batch_threads)?;
        let max_request_rows =
            positive("input_batch_size_limit", &parameters.max_batch_size)?.unwrap_or(DEFAULT_MAX_ROWS);
        let max_enqueued_batches = positive("max_enqueued_batches", &parameters.max_enqueued_batches)?;
        let timeout = value(&parameters.batch_timeout_micros).unwrap_or(0);
        let timeout = u64::try_from(timeout).map_err(|_| {
            Status::invalid_argument(format!("batch_timeout_micros must be non-negative; was {timeout}"))
        })?;
        let is_true = |flag: &MessageField<BoolValue>| flag.as_ref().is_some_and(|flag| flag.value);
        let split = is_true(&parameters.enable_large_batch_splitting);
        let mut max_run_rows = max_request_rows;
        if split {
            max_run_rows =
                positive("max_execution_batch_size", &parameters.max_execution_batch_size)?.unwrap_or(max_request_rows);
            if max_run_rows > max_request_rows {
                let text = "When enable_large_batch_splitting is true, input_batch_size_limit must be greater than or equal to \
                            max_execution_batch_size.";
                return Err(Status::invalid_argument(format!("{text}1{max_request_rows}{max_run_rows}")));
            }
        }
        let mut allowed_sizes = Vec::new();
        for size in &parameters.allowed_batch_sizes {
            let is_next = |size: &usize| allowed_sizes.last().is_none_or(|last| last < size);
            let next = usize::try_from(*size).ok().filter(|size| *size > 0).filter(is_next);
            let unsorted =
                || Status::invalid_argument("allowed_batch_sizes entries must be monotonically increasing".to_owned());
            allowed_sizes.push(next.ok_or_else(unsorted)?);
        }
        if let Some(last) = allowed_sizes.last().filter(|last| **last != max_request_rows) {
            return Err(Status::invalid_argument(format!(
                "Last entry in allowed_batch_sizes must match max_batch_size; last entry was {last}; expected {max_request_rows}"
            )));
        }
        Ok(Self {
            explicit: true,
            max_request_rows: Some(max_request_rows),
            max_run_rows,
            split,
            timeout: Duration::from_micros(timeout),
            max_enqueued_batches: Some(max_enqueued_batches.unwrap_or(DEFAULT_MAX_BATCHES)),
            allowed_sizes,
            pad_inner: parameters.pad_variable_length_inputs,
            runs_at_once: threads.unwrap_or(self.runs_at_once),
            // The number of batches limits the queue.
            max_waiting: usize::MAX,
            ..self
        })
    }

    /// The rows of a run after padding.
    pub(super) fn padded(&self, rows: usize) -> usize {
        self.allowed_sizes.iter().copied().find(|allowed_sizes| *allowed_sizes >= rows).unwrap_or(rows)
    }
}

impl RunSettings {
    /// Checks the file of batching parameters, as TensorFlow Serving does at its start. The file is read again for each
    /// version that is loaded.
    ///
    /// # Errors
    /// If TensorFlow Serving would not start with the file.
    pub fn check(&self) -> Result<(), Status> {
        let alone = super::BatchingSettings { per_model: false, ..self.batching.clone() };
        BatchPolicy::from_settings(&Self { batching: alone, ..self.clone() }, Path::new("")).map(drop)
    }
}

fn value(field: &MessageField<Int64Value>) -> Option<i64> {
    field.as_ref().map(|field| field.value)
}

/// A number that must be positive; `None` if the parameters do not have it.
fn positive(name: &str, field: &MessageField<Int64Value>) -> Result<Option<usize>, Status> {
    let Some(value) = value(field) else { return Ok(None) };
    let refused = || Status::invalid_argument(format!("{name} must be positive; was {value}"));
    usize::try_from(value).ok().filter(|value| *value > 0).map(Some).ok_or_else(refused)
}

fn read(path: &Path) -> Result<BatchingParameters, Status> {
    let unreadable = |error: std::io::Error| {
        let code = if error.kind() == std::io::ErrorKind::NotFound { Code::NotFound } else { Code::Unknown };
        Status::new(code, format!("{}; {error}", path.display()))
    };
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    let invalid =
        |reason: String| Status::invalid_argument(format!("Invalid protobuf file: '{}': {reason}", path.display()));
    if length > MAX_FILE {
        return Err(invalid(format!("it has more than {MAX_FILE} bytes")));
    }
    let text = std::fs::read(path).map_err(unreadable)?;
    text_format::parse(text).map_err(|error| invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Result<BatchPolicy, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("parameters");
        std::fs::write(&file, text).unwrap();
        let mut settings = RunSettings::default();
        settings.batching.parameters_file = Some(file);
        BatchPolicy::from_settings(&settings, Path::new("")).map_err(|status| status.message)
    }

    #[test]
    fn reads_tensorflow_servings_parameters() {
        let policy = policy(
            "max_batch_size { value: 8 } batch_timeout_micros { value: 500 } max_enqueued_batches { value: 3 }
             num_batch_threads { value: 5 } allowed_batch_sizes: [2, 8] pad_variable_length_inputs: true",
        )
        .unwrap();
        assert_eq!((policy.max_request_rows, policy.max_run_rows, policy.max_enqueued_batches), (Some(8), 8, Some(3)));
        assert_eq!((policy.timeout, policy.runs_at_once, policy.pad_inner), (Duration::from_micros(500), 5, true));
        assert_eq!([1, 2, 3, 8, 9].map(|rows| policy.padded(rows)), [2, 2, 8, 8, 9]);
    }

    #[test]
    fn empty_file_gives_tensorflow_servings_defaults() {
        let policy = policy("").unwrap();
        assert!(policy.explicit && !policy.split && policy.timeout.is_zero());
        assert_eq!(
            (policy.max_request_rows, policy.max_run_rows, policy.max_enqueued_batches),
            (Some(1000), 1000, Some(10))
        );
    }

    #[test]
    fn splits_large_requests_if_enabled() {
        let text = "max_batch_size { value: 64 } enable_large_batch_splitting { value: true }";
        assert_eq!(policy(text).unwrap().max_run_rows, 64);
        let policy = policy(&format!("{text} max_execution_batch_size {{ value: 16 }}")).unwrap();
        assert_eq!((policy.split, policy.max_request_rows, policy.max_run_rows), (true, Some(64), 16));
    }

    #[test]
    fn rejects_invalid_parameters() {
        for (text, reason) in [
            ("max_batch_size { value: 0 }", "input_batch_size_limit must be positive; was 0"),
            ("num_batch_threads { value: -1 }", "num_batch_threads must be positive; was -1"),
            ("max_enqueued_batches { value: 0 }", "max_enqueued_batches must be positive; was 0"),
            ("batch_timeout_micros { value: -5 }", "batch_timeout_micros must be non-negative; was -5"),
            (
                "max_batch_size { value: 8 } allowed_batch_sizes: [2, 4]",
                "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 8",
            ),
            (
                "max_batch_size { value: 8 } allowed_batch_sizes: [4, 2, 8]",
                "allowed_batch_sizes entries must be monotonically increasing",
            ),
            ("max_batch_size: 8", "Invalid protobuf file"),
            (
                "max_batch_size { value: 8 } max_execution_batch_size { value: 9 } enable_large_batch_splitting { value: true }",
                "must be greater than or equal to max_execution_batch_size",
            ),
        ] {
            let refused = policy(text).unwrap_err();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
        let mut settings = RunSettings::default();
        settings.batching.parameters_file = Some("nowhere/parameters".into());
        assert_eq!(settings.check().unwrap_err().code, Code::NotFound);
        settings.batching.enabled = false;
        assert_eq!(settings.check(), Ok(()));
    }

    #[test]
    fn text_takes_precedence_over_a_file() {
        let mut settings = RunSettings::default();
        settings.batching.parameters_file = Some("nowhere/parameters".into());
        settings.batching.parameters_text = Some("max_batch_size { value: 9 }".into());
        assert_eq!(BatchPolicy::from_settings(&settings, Path::new("")).unwrap().max_request_rows, Some(9));
        settings.batching.parameters_text = Some("max_batch_size { value: 0 }".into());
        assert_eq!(settings.check().unwrap_err().code, Code::InvalidArgument);
    }

    #[test]
    fn version_can_have_parameters_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = RunSettings::default();
        settings.batching.per_model = true;
        assert!(!BatchPolicy::from_settings(&settings, folder.path()).unwrap().explicit);
        std::fs::write(folder.path().join(PER_MODEL_FILE), "max_batch_size { value: 3 }").unwrap();
        assert!(!BatchPolicy::from_settings(&settings, folder.path()).unwrap().explicit, "batching is not enabled");
        settings.batching.explicit = true;
        assert_eq!(BatchPolicy::from_settings(&settings, folder.path()).unwrap().max_request_rows, Some(3));
    }
}
