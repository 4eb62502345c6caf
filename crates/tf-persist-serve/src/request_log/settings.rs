//! Settings of the request log.

use std::path::PathBuf;
use std::time::Duration;

use crate::setters::setters;

/// The format of a request log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RequestLogFormat {
    /// TFRecords of TensorFlow Serving's `PredictionLog`. They have the requests that succeeded.
    #[default]
    TfRecord,
    /// One JSON object a request. They also have the requests that failed once their inputs were decoded.
    JsonLines,
}

/// Which requests are logged, and into which files. A `logging_config` in the configuration of a model replaces folder,
/// rate and format for that model.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RequestLogSettings {
    /// The folder of the logs of all models without a `logging_config`; `None` logs none of them.
    pub folder: Option<PathBuf>,
    /// The part of the requests that is logged, from 0 to 1.
    pub rate: f64,
    /// The format of the files.
    pub format: RequestLogFormat,
    /// The bytes of all logs in a folder together. The oldest files are deleted to stay below it.
    pub max_bytes: u64,
    /// The bytes after which a file ends.
    pub file_bytes: u64,
    /// The time after which a file ends.
    pub file_time: Duration,
    /// The names of inputs that are never written.
    pub redact: Vec<String>,
}

impl RequestLogSettings {
    setters! {
        folder: impl Into<Option<PathBuf>>,
        rate: f64,
        format: RequestLogFormat,
        max_bytes: u64,
        file_bytes: u64,
        file_time: Duration,
        redact: Vec<String>,
    }

    /// The bytes after which a file ends, so that two of them keep the limit of the folder.
    pub(super) fn bytes_of_a_file(&self) -> u64 {
        self.file_bytes.min(self.max_bytes / 2).max(1)
    }

    /// Whether the values of an input are never written. The name of a sparse or composite input stands for its parts,
    /// such as `x.values`.
    pub(super) fn redacts(&self, input: &str) -> bool {
        let covers = |rest: &str| rest.is_empty() || rest.starts_with('.');
        self.redact.iter().any(|name| input.strip_prefix(name.as_str()).is_some_and(covers))
    }
}

impl Default for RequestLogSettings {
    fn default() -> Self {
        Self {
            folder: None,
            rate: 1.0,
            format: RequestLogFormat::default(),
            max_bytes: 1 << 30,
            file_bytes: 64 << 20,
            file_time: Duration::from_secs(3600),
            redact: Vec::new(),
        }
    }
}

impl RequestLogFormat {
    /// The ending of the files.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::TfRecord => "tfrecord",
            Self::JsonLines => "jsonl",
        }
    }

    /// The format that a `LogCollectorConfig.type` names; an empty one leaves the choice to the flags.
    pub(super) fn from_type(name: &str) -> Option<Self> {
        match name {
            "tfrecord" => Some(Self::TfRecord),
            "jsonl" => Some(Self::JsonLines),
            _ => None,
        }
    }
}
