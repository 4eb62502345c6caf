//! When requests are run together, as settings or TensorFlow Serving's `BatchingParameters` say.

use std::path::Path;
use std::time::Duration;

use tf_persist_core::Code;
use tf_persist_proto::protobuf::MessageField;
use tf_persist_proto::protobuf::well_known_types::wrappers::{BoolValue, Int64Value};
use tf_persist_proto::serving::BatchingParameters;
use tf_persist_proto::text_format;

use super::Settings;
use crate::status::Status;

/// Where a version says how its requests are batched (`servables/tensorflow/bundle_factory_util.cc`).
const PER_MODEL_FILE: &str = "batching_params.pbtxt";

/// The longest file of parameters that is read.
const MAX_FILE: u64 = 1 << 20;

/// `SharedBatchScheduler::QueueOptions::{input_batch_size_limit, max_enqueued_batches}` where the parameters do not say.
const DEFAULT_MAX_ROWS: usize = 1000;
const DEFAULT_MAX_BATCHES: usize = 10;

/// When requests are run together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BatchPolicy {
    /// Whether they ever are.
    pub(super) batch: bool,
    /// Whether that was asked for, as it is asked of TensorFlow Serving: requests are run together without proof that they may be.
    pub(super) explicit: bool,
    /// Whether requests may be run together whose answers then differ in their last digits.
    pub(super) within_rounding: bool,
    /// The most rows of a request, if there is a limit.
    pub(super) max_request_rows: Option<usize>,
    /// The most rows of a run that requests share, and of any run if larger requests are split.
    pub(super) max_run_rows: usize,
    /// Whether a request with more rows than a run may have is split.
    pub(super) split: bool,
    /// How long a request waits for others.
    pub(super) timeout: Duration,
    /// How many full batches may wait.
    pub(super) max_enqueued_batches: Option<usize>,
    /// The numbers of rows that runs may have, ascending; any if there are none.
    pub(super) allowed_sizes: Vec<usize>,
    /// Whether inputs of different sizes are filled up to the largest.
    pub(super) pad_inner: bool,
    /// How many runs of the model may be under way at once.
    pub(super) runs_at_once: usize,
    /// How many requests may wait.
    pub(super) max_waiting: usize,
}

impl BatchPolicy {
    /// The rules for the version in this folder.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` and `NOT_FOUND` where TensorFlow Serving refuses to load a model or to start.
    pub(super) fn from_settings(settings: &Settings, folder: &Path) -> Result<Self, Status> {
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
        // Without `enable_batching`, models' own parameters have no effect there.
        if !batching.explicit && batching.parameters_file.is_none() {
            return Ok(base);
        }
        let own = folder.join(PER_MODEL_FILE);
        let parameters = match &batching.parameters_file {
            _ if batching.per_model && own.exists() => read(&own)?,
            // As there: with parameters of their own, models without such are not batched as asked, but in the way that needs
            // no asking.
            _ if batching.per_model => return Ok(base),
            Some(file) => read(file)?,
            None => BatchingParameters::default(),
        };
        base.with(&parameters)
    }

    /// These rules as parameters change them.
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
            // What waits is limited by the batches that it makes.
            max_waiting: usize::MAX,
            ..self
        })
    }

    /// How many rows a run of so many has after it was filled up.
    pub(super) fn padded(&self, rows: usize) -> usize {
        self.allowed_sizes.iter().copied().find(|allowed_sizes| *allowed_sizes >= rows).unwrap_or(rows)
    }
}

impl Settings {
    /// Checks what stands in the file of batching parameters, as TensorFlow Serving does when it starts. It is read again for each
    /// version that is loaded.
    ///
    /// # Errors
    /// As TensorFlow Serving refuses to start.
    pub fn check(&self) -> Result<(), Status> {
        let alone = super::BatchingSettings { per_model: false, ..self.batching.clone() };
        BatchPolicy::from_settings(&Self { batching: alone, ..self.clone() }, Path::new("")).map(drop)
    }
}

fn value(field: &MessageField<Int64Value>) -> Option<i64> {
    field.as_ref().map(|field| field.value)
}

/// A number that is to be above zero; `None` if it is not said.
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
        let mut settings = Settings::default();
        settings.batching.parameters_file = Some(file);
        BatchPolicy::from_settings(&settings, Path::new("")).map_err(|status| status.message)
    }

    #[test]
    fn parameters_are_those_of_tensorflow_serving() {
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
    fn what_says_nothing_is_as_there() {
        let policy = policy("").unwrap();
        assert!(policy.explicit && !policy.split && policy.timeout.is_zero());
        assert_eq!(
            (policy.max_request_rows, policy.max_run_rows, policy.max_enqueued_batches),
            (Some(1000), 1000, Some(10))
        );
    }

    #[test]
    fn larger_requests_are_split_if_that_is_said() {
        let text = "max_batch_size { value: 64 } enable_large_batch_splitting { value: true }";
        assert_eq!(policy(text).unwrap().max_run_rows, 64);
        let policy = policy(&format!("{text} max_execution_batch_size {{ value: 16 }}")).unwrap();
        assert_eq!((policy.split, policy.max_request_rows, policy.max_run_rows), (true, Some(64), 16));
    }

    #[test]
    fn what_cannot_be_is_refused() {
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
        let mut settings = Settings::default();
        settings.batching.parameters_file = Some("nowhere/parameters".into());
        assert_eq!(settings.check().unwrap_err().code, Code::NotFound);
        settings.batching.enabled = false;
        assert_eq!(settings.check(), Ok(()));
    }

    #[test]
    fn a_version_has_rules_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.batching.per_model = true;
        assert!(!BatchPolicy::from_settings(&settings, folder.path()).unwrap().explicit);
        std::fs::write(folder.path().join(PER_MODEL_FILE), "max_batch_size { value: 3 }").unwrap();
        assert!(!BatchPolicy::from_settings(&settings, folder.path()).unwrap().explicit, "nobody asked for batching");
        settings.batching.explicit = true;
        assert_eq!(BatchPolicy::from_settings(&settings, folder.path()).unwrap().max_request_rows, Some(3));
    }
}
