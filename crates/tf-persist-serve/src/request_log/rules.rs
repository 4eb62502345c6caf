//! Which requests of a model are logged, and where: the flags, or the model's `logging_config`.

use std::fmt::Write;
use std::path::{self, Component, Path, PathBuf};
use std::sync::Arc;

use tf_persist_proto::serving::{LoggingConfig, SamplingConfig};

use super::settings::{RequestLogFormat, RequestLogSettings};
use crate::metrics::ModelMetrics;
use crate::random::random;
use crate::status::Status;

/// A model's `logging_config`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LogRule {
    /// The part of the requests that is logged.
    rate: f64,
    /// The format; `None` for that of the flags.
    format: Option<RequestLogFormat>,
    /// What the paths of the files begin with; `None` for the folder of the flags and the model's name.
    prefix: Option<PathBuf>,
}

/// Where records are written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Destination {
    /// The folder of the files.
    pub(super) folder: PathBuf,
    /// What their names begin with.
    pub(super) prefix: String,
    pub(super) format: RequestLogFormat,
}

/// The log of one model.
pub(crate) struct ModelLog {
    pub(super) rate: f64,
    pub(super) destination: Destination,
    pub(super) metrics: Arc<ModelMetrics>,
}

impl LogRule {
    /// Reads the `logging_config` of a model.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if it has something that is not supported, by its name.
    pub(crate) fn parse(model: &str, config: &LoggingConfig) -> Result<Self, Status> {
        let refuse = |what: &str| Err(Status::invalid_argument(format!("the logging_config of model {model} {what}")));
        if config.custom_logging_config.is_some() {
            return refuse("has a custom_logging_config, which is not supported");
        }
        let sampling: &SamplingConfig = &config.sampling_config;
        // The server is in no data centre and has no number, so only a configuration for all tasks applies.
        let applies = |dc: &str, index: Option<i32>| dc.is_empty() && index.is_none();
        let of_task = sampling.per_task_sampling_configs.iter().find(|task| applies(&task.dc, task.task_index));
        let rate = of_task.map_or(sampling.sampling_rate, |task| task.sampling_rate);
        if !(0.0..=1.0).contains(&rate) {
            return refuse(&format!("has the sampling_rate {rate}, which is not from 0 to 1"));
        }
        let collector = &config.log_collector_config;
        let format = match collector.type_.as_str() {
            "" => None,
            name => match RequestLogFormat::from_type(name) {
                None => {
                    return refuse(&format!("has the log collector type `{name}`; known are `tfrecord` and `jsonl`"));
                }
                format => format,
            },
        };
        let prefix = collector.filename_prefix.as_str();
        if prefix.contains('\0') {
            return refuse("has a filename_prefix with a zero byte in it");
        }
        if rate > 0.0 && Path::new(prefix).file_name().is_none() && !prefix.is_empty() {
            return refuse("has a filename_prefix that does not end in the beginning of a file's name");
        }
        let prefix = (!prefix.is_empty()).then(|| PathBuf::from(prefix));
        Ok(Self { rate, format, prefix })
    }

    /// Whether its files would be below this folder. Either path may be relative to the working folder. No symbolic
    /// link is followed.
    pub(crate) fn is_below(&self, folder: Option<&Path>) -> bool {
        let Some(prefix) = &self.prefix else { return true };
        let climbs = prefix.components().any(|part| part == Component::ParentDir);
        // The last part is the beginning of a file's name, also if it is named as the folder.
        let of_files = prefix.parent().unwrap_or(prefix);
        let of_files = if of_files.as_os_str().is_empty() { Path::new(".") } else { of_files };
        let is_in = |folder: &Path| match (path::absolute(of_files), path::absolute(folder)) {
            (Ok(of_files), Ok(folder)) => of_files.starts_with(folder),
            // The working folder is gone.
            _ => of_files.starts_with(folder),
        };
        !climbs && folder.is_some_and(is_in)
    }

    /// The log of a model with this rule; `None` if none of its requests are logged.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if neither the rule nor the flags say where it is.
    pub(super) fn destination(
        &self,
        model: &str,
        settings: &RequestLogSettings,
    ) -> Result<Option<Destination>, Status> {
        if self.rate <= 0.0 {
            return Ok(None);
        }
        let format = self.format.unwrap_or(settings.format);
        match (&self.prefix, &settings.folder) {
            (Some(prefix), _) => {
                let name = prefix.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let folder = prefix.parent().filter(|folder| !folder.as_os_str().is_empty());
                let folder = folder.unwrap_or(Path::new("."));
                Ok(Some(Destination::new(folder, name, format)))
            }
            (None, Some(folder)) => Ok(Some(Destination::of_model(model, folder, format))),
            (None, None) => Err(Status::invalid_argument(format!(
                "the logging_config of model {model} has no filename_prefix, and there is no folder for the logs of all models"
            ))),
        }
    }

    pub(super) fn rate(&self) -> f64 {
        self.rate
    }
}

impl Destination {
    /// One folder has one path, however it was named: its limit is kept by one writer, which also ends the files that
    /// an earlier server left in it.
    fn new(folder: &Path, prefix: String, format: RequestLogFormat) -> Self {
        Self { folder: path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf()), prefix, format }
    }

    /// The files of a model in the folder of all models.
    pub(super) fn of_model(model: &str, folder: &Path, format: RequestLogFormat) -> Self {
        Self::new(folder, file_name(model), format)
    }
}

/// A model's name as the beginning of a file's name: other characters than letters, digits, `-`, `_` and `.` as `%2F`.
fn file_name(model: &str) -> String {
    let mut name = String::with_capacity(model.len());
    for byte in model.bytes() {
        match byte {
            b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => name.push(char::from(byte)),
            // A name must not begin with a dot: such files are hidden.
            b'.' if !name.is_empty() => name.push('.'),
            _ => {
                let _ = write!(name, "%{byte:02X}");
            }
        }
    }
    // The longest name of a file has 255 bytes, and a time follows.
    name.truncate(180);
    name
}

impl ModelLog {
    /// Whether the next request is logged.
    pub(super) fn samples(&self) -> bool {
        self.rate >= 1.0 || random() < self.rate
    }
}

#[cfg(test)]
mod tests {
    use tf_persist_proto::text_format;

    use super::*;

    fn rule(text: &str) -> Result<LogRule, String> {
        LogRule::parse("m", &text_format::parse(text).unwrap()).map_err(|status| status.message)
    }

    fn destination(text: &str, folder: Option<&str>) -> Result<Option<Destination>, String> {
        let settings = RequestLogSettings::default().folder(folder.map(PathBuf::from));
        rule(text)?.destination("a/b", &settings).map_err(|status| status.message)
    }

    #[test]
    fn logging_config_names_files_and_rate() {
        let text =
            "log_collector_config { type: 'jsonl' filename_prefix: '/logs/m' } sampling_config { sampling_rate: 0.5 }";
        let found = destination(text, Some("/other")).unwrap().unwrap();
        assert_eq!(
            found,
            Destination { folder: "/logs".into(), prefix: "m".into(), format: RequestLogFormat::JsonLines }
        );
        assert_eq!(rule(text).unwrap().rate(), 0.5);
        let found = destination("sampling_config { sampling_rate: 1 }", Some("/other")).unwrap().unwrap();
        assert_eq!((found.folder, found.prefix.as_str()), ("/other".into(), "a%2Fb"));
        assert_eq!(found.format, RequestLogFormat::TfRecord);
        assert_eq!(destination("", None), Ok(None), "a rate of 0 logs nothing");
        let tasks = "sampling_config { sampling_rate: 0 per_task_sampling_configs { dc: 'x' sampling_rate: 0.1 }
                     per_task_sampling_configs { sampling_rate: 0.2 } }";
        assert_eq!(rule(tasks).unwrap().rate(), 0.2);
    }

    #[test]
    fn unsupported_configs_are_refused_by_name() {
        for (text, reason) in [
            ("custom_logging_config {}", "custom_logging_config"),
            ("sampling_config { sampling_rate: 1.5 }", "sampling_rate 1.5"),
            ("sampling_config { sampling_rate: nan }", "sampling_rate NaN"),
            ("log_collector_config { type: 'kafka' }", "`kafka`"),
            ("log_collector_config { filename_prefix: '/' } sampling_config { sampling_rate: 1 }", "filename_prefix"),
            ("sampling_config { sampling_rate: 1 }", "has no filename_prefix"),
        ] {
            let refused = destination(text, None).unwrap_err();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }

    #[test]
    fn clients_may_log_only_below_the_folder() {
        let below = |prefix: &str, folder: Option<&str>| {
            rule(&format!("log_collector_config {{ filename_prefix: '{prefix}' }}"))
                .unwrap()
                .is_below(folder.map(Path::new))
        };
        assert!(below("", None));
        assert!(below("/logs/a", Some("/logs")));
        assert!(!below("/logs/a", None));
        assert!(!below("/logs/../etc/a", Some("/logs")));
        assert!(!below("/logsandmore/a", Some("/logs")));
        // Relative to the working folder.
        let here = std::env::current_dir().unwrap();
        let absolute = |path: &str| here.join(path).to_str().unwrap().to_owned();
        for (prefix, folder, permitted) in [
            (absolute("lg/a"), "lg".to_owned(), true),
            (absolute("./lg/x/a"), "lg/".to_owned(), true),
            ("lg/a".to_owned(), absolute("lg"), true),
            ("lg/a".to_owned(), "./lg".to_owned(), true),
            (absolute("a"), "lg".to_owned(), false),
            ("a".to_owned(), ".".to_owned(), true),
            ("a".to_owned(), "lg".to_owned(), false),
            // Its files would be beside the folder.
            (absolute("lg"), "lg".to_owned(), false),
            ("/logs/".to_owned(), "/logs".to_owned(), false),
            (absolute("lgandmore/a"), "lg".to_owned(), false),
            (absolute("lg/../a"), "lg".to_owned(), false),
            (absolute("other/../lg/a"), "lg".to_owned(), false),
            ("lg/../../a".to_owned(), "lg".to_owned(), false),
        ] {
            assert_eq!(below(&prefix, Some(&folder)), permitted, "{prefix} {folder}");
        }
    }

    #[test]
    fn one_folder_has_one_path() {
        let text = |prefix: &str| {
            format!("log_collector_config {{ filename_prefix: '{prefix}' }} sampling_config {{ sampling_rate: 1 }}")
        };
        let here = std::env::current_dir().unwrap();
        let found = destination(&text("lg/m"), None).unwrap().unwrap();
        assert_eq!((&found.folder, found.prefix.as_str()), (&here.join("lg"), "m"));
        assert_eq!(destination(&text(here.join("lg/m").to_str().unwrap()), None), Ok(Some(found)));
        assert_eq!(destination(&text("m"), None).unwrap().unwrap().folder, here);
        let of_all = destination("sampling_config { sampling_rate: 1 }", Some("./lg")).unwrap().unwrap();
        assert_eq!(of_all.folder, here.join("lg"));
    }

    #[test]
    fn names_of_models_become_names_of_files() {
        assert_eq!(file_name("a-b_C.9"), "a-b_C.9");
        assert_eq!(file_name("../x y"), "%2E.%2Fx%20y");
        assert_eq!(file_name(&"é".repeat(200)).len(), 180);
    }
}
