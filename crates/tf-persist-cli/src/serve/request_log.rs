//! The flags of the request log.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use tf_persist_serve::{RequestLogFormat, RequestLogSettings};

use super::args::{given, path, some_seconds};

/// The format of the request log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFileFormat {
    /// TensorFlow Serving's `PredictionLog`, without requests that failed.
    Tfrecord,
    /// One JSON object per request.
    Jsonl,
}

#[derive(Debug, ClapArgs)]
#[command(rename_all = "snake_case")]
pub(crate) struct RequestLogArgs {
    /// Log requests with their answers to files in this folder, one series of files for each model. The
    /// `logging_config` of a model in --model_config_file replaces it
    #[arg(long, value_name = "FOLDER", value_parser = path(), help_heading = "Request log")]
    pub(crate) request_log: Option<PathBuf>,
    /// Log this part of the requests, from 0 to 1
    #[arg(long, value_name = "RATE", default_value = "1", value_parser = rate, help_heading = "Request log")]
    pub(crate) request_log_rate: f64,
    /// The format of the files
    #[arg(long, value_enum, default_value = "tfrecord", help_heading = "Request log")]
    pub(crate) request_log_format: LogFileFormat,
    /// Delete the oldest files of a folder so that all of them have at most N bytes
    #[arg(long, value_name = "N", default_value = "1073741824", value_parser = bytes, help_heading = "Request log")]
    pub(crate) request_log_max_bytes: u64,
    /// Begin another file after N bytes, at most half of --request_log_max_bytes
    #[arg(long, value_name = "N", default_value = "67108864", value_parser = bytes, help_heading = "Request log")]
    pub(crate) request_log_file_bytes: u64,
    /// Begin another file after N seconds
    #[arg(long, value_name = "N", default_value = "3600", value_parser = some_seconds, help_heading = "Request log")]
    pub(crate) request_log_file_seconds: u64,
    /// Never write the values of these inputs (comma list; repeatable); `inputs` stands for tf.Examples
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', help_heading = "Request log")]
    pub(crate) request_log_redact: Vec<String>,
}

impl RequestLogArgs {
    pub(super) fn settings(&self) -> RequestLogSettings {
        let format = match self.request_log_format {
            LogFileFormat::Tfrecord => RequestLogFormat::TfRecord,
            LogFileFormat::Jsonl => RequestLogFormat::JsonLines,
        };
        RequestLogSettings::default()
            .folder(given(&self.request_log).cloned())
            .rate(self.request_log_rate)
            .format(format)
            .max_bytes(self.request_log_max_bytes)
            .file_bytes(self.request_log_file_bytes)
            .file_time(Duration::from_secs(self.request_log_file_seconds))
            .redact(self.request_log_redact.iter().filter(|name| !name.is_empty()).cloned().collect())
    }
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|rate| (0.0..=1.0).contains(rate)).ok_or_else(|| "not a number from 0 to 1".into())
}

/// Parses a number of bytes. Less than a few records would be of no use.
fn bytes(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|bytes| *bytes >= 1024).ok_or_else(|| "not a number of at least 1024".into())
}
