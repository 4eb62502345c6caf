//! The configuration, `LOOP.toml`.

mod duration;
mod metric;

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use tf_persist_monitor::Task;
use tf_persist_store::{Label, ModelName};

pub use duration::Length;
pub use metric::Metric;

use crate::error::{LoopError, Result};

/// The most bytes of a configuration.
const MAX_FILE: u64 = 1 << 20;

/// What a loop does. Paths are relative to the folder of its file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The folder of the store.
    pub store: PathBuf,
    /// The model.
    #[serde(deserialize_with = "model_name")]
    pub model: ModelName,
    /// The label of the version that answers.
    #[serde(default = "production")]
    pub label: Label,
    /// What is watched.
    pub watch: Watch,
    /// When a new version is trained.
    #[serde(default)]
    pub act: Act,
    /// How it is trained.
    pub train: Train,
    /// What must hold before it is published.
    pub gates: Gates,
    /// How it comes into production. Without it, the label moves at once.
    pub promote: Option<Promote>,
    /// What makes it go back.
    #[serde(default)]
    pub guard: Guard,
}

/// What is watched.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Request logs, and folders of them.
    pub logs: Vec<PathBuf>,
    /// Files with labels by request id. Those that do not exist yet have no labels.
    #[serde(default)]
    pub labels: Vec<PathBuf>,
    /// What requests are compared with; by default the reference in the version.
    pub reference: Option<PathBuf>,
    /// The time between two looks.
    #[serde(default = "every")]
    pub every: Length,
    /// Only requests of this time back are looked at; by default all since the last attempt.
    pub window: Option<Length>,
    /// The output that labels are compared with; by default the only one.
    pub output: Option<String>,
    /// What that output answers; by default as its shape and the labels tell.
    pub task: Option<Task>,
    /// Whether its scores are logits.
    #[serde(default)]
    pub logits: bool,
    /// The requests that are needed before they are compared.
    #[serde(default = "hundred")]
    pub least_requests: u64,
}

/// When a new version is trained. What is not given is no reason.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Act {
    /// Whether drift is a reason.
    pub drift: bool,
    /// The chance of any false alarm in a look.
    pub false_alarm: f64,
    /// The least population stability index of a feature that has drifted.
    pub psi: f64,
    /// The metric of the gates, over the labelled requests, from which on it is a reason.
    pub quality: Option<f64>,
    /// The labelled requests that are needed before their quality is judged.
    pub least_labelled: u64,
    /// The age of the version in production.
    pub age: Option<Length>,
    /// Labelled requests since the last attempt.
    pub labelled: Option<u64>,
    /// The least time between the ends of two attempts; twice as much after each one in a row that failed.
    pub cool_down: Length,
}

impl Default for Act {
    fn default() -> Self {
        Self {
            drift: true,
            false_alarm: 0.01,
            psi: 0.1,
            quality: None,
            least_labelled: 50,
            age: None,
            labelled: None,
            cool_down: Length::from_secs(3600),
        }
    }
}

/// How a version is trained.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// Files with rows, and folders of them: .npz, .parquet, .arrow. All their rows are the data.
    #[serde(default)]
    pub data: Vec<PathBuf>,
    /// A command that writes the data to the .npz or .parquet file that `TF_PERSIST_DATA` names.
    pub data_command: Option<Vec<String>>,
    /// The rows that are not trained on: a file, or a share of the data.
    pub held_out: HeldOut,
    /// A command that trains, instead of the version's train signature: it writes a SavedModel to `TF_PERSIST_OUTPUT`.
    pub command: Option<Vec<String>>,
    /// Where it starts: the label of the configuration, a version of the model, or the folder of a model.
    pub start: Option<String>,
    /// The signature that does one step.
    #[serde(default = "train")]
    pub signature: String,
    /// Passes over the data.
    #[serde(default = "one")]
    pub epochs: u64,
    /// Rows of a batch.
    #[serde(default = "batch_size")]
    pub batch_size: usize,
    /// Replaces the model's learning rate, which must be a variable.
    pub learning_rate: Option<f64>,
    /// The seed of the order of the rows.
    #[serde(default)]
    pub seed: u64,
    /// The longest time of the training, and of each command.
    #[serde(default = "hour")]
    pub timeout: Length,
    /// The reference of the new version.
    #[serde(default)]
    pub reference: NewReference,
}

/// The rows that are not trained on.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum HeldOut {
    /// A share of the data, chosen by the contents of each row: a row that is held out once always is.
    Share(f64),
    /// A file.
    File(PathBuf),
}

/// The reference of a new version, with which its requests are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewReference {
    /// The held-out rows with the answers of the new version.
    #[default]
    HeldOut,
    /// As it is in the version that it was trained from.
    Keep,
}

/// What must hold before a version is published.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gates {
    /// What is measured over the held-out rows, of the new version and of the one in production.
    pub metric: Metric,
    /// How much better the new version must be than the one in production; below 0, how much worse it may be.
    #[serde(default)]
    pub margin: f64,
    /// The held-out rows that are needed.
    #[serde(default = "fifty")]
    pub least_rows: usize,
    /// The array of the held-out rows with labels; by default the only one that is not an input.
    pub label: Option<String>,
    /// The largest difference from the answers that are recorded in the version in production.
    pub golden: Option<f64>,
    /// Whether the new version may do something to the machine that the one in production may not.
    #[serde(default)]
    pub worse_scan: bool,
    /// The most bytes of its files.
    pub largest_bytes: Option<u64>,
    /// The most times as long as the one in production that it may take for a row.
    pub largest_latency_ratio: Option<f64>,
}

/// How a version comes into production.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promote {
    /// The file of `serve-local --traffic`, which the loop writes.
    pub traffic: PathBuf,
    /// The server, such as `http://127.0.0.1:8501`.
    pub server: String,
    /// The path of the server's metrics.
    #[serde(default = "metrics_path")]
    pub metrics: String,
    /// The label of the new version until it is in production.
    #[serde(default = "candidate")]
    pub label: Label,
    /// Both versions answer, and only the answers of the one in production are sent.
    pub shadow: Option<Shadow>,
    /// The steps in which the new version answers a share of the requests.
    #[serde(default)]
    pub canary: Vec<Canary>,
    /// How much larger the share of failed requests may be than that of the version in production.
    #[serde(default = "hundredth")]
    pub largest_failures: f64,
    /// The most times as long as the one in production that it may take for a request, on average.
    #[serde(default = "two")]
    pub largest_latency_ratio: f64,
    /// How long the server may take to load a version or to take a new traffic file.
    #[serde(default = "minute")]
    pub patience: Length,
}

/// The step in which the answers of the new version are dropped.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shadow {
    /// The requests that both must have answered.
    pub requests: u64,
    /// The most time that this may take.
    #[serde(default = "day")]
    pub within: Length,
    /// The largest absolute difference of a number in an answer.
    pub largest_difference: Option<f64>,
}

/// A step in which the new version answers a share of the requests.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// In percent, 1 to 100.
    pub share: u8,
    /// The requests that it must have answered.
    pub requests: u64,
    /// The most time that this may take.
    #[serde(default = "day")]
    pub within: Length,
}

/// What makes a version go back after it came into production.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Guard {
    /// How long it is watched.
    pub time: Length,
    /// It is watched no longer once it has this many labelled requests.
    pub labelled: Option<u64>,
    /// The labelled requests that are needed before their quality is judged.
    pub least_labelled: u64,
    /// How much worse than over the held-out rows the metric of the gates may be over the labelled requests.
    pub fall: Option<f64>,
    /// The worst metric over the labelled requests.
    pub quality: Option<f64>,
    /// The largest share of failed requests.
    pub largest_failures: f64,
    /// The requests that are needed before their failures are judged.
    pub least_requests: u64,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            time: Length::from_secs(3600),
            labelled: None,
            least_labelled: 50,
            fall: None,
            quality: None,
            largest_failures: 0.05,
            least_requests: 20,
        }
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, has keys that are not known, or values that mean nothing.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let size = fs::metadata(path).map_err(LoopError::io("read", path))?.len();
        let refuse = |reason: String| LoopError::Config { path: path.to_path_buf(), reason };
        if size > MAX_FILE {
            return Err(refuse(format!("it has more than {MAX_FILE} bytes")));
        }
        let text = fs::read_to_string(path).map_err(LoopError::io("read", path))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder).map_err(refuse)
    }

    /// Parses the text of a file in this folder. The error is a clause.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        let mut config: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text.get(..span.start).unwrap_or(text).matches('\n').count() + 1);
            let reason = error.message().replace('\n', " ");
            line.map_or_else(|| reason.clone(), |line| format!("line {line}: {reason}"))
        })?;
        config.check()?;
        config.place(folder);
        Ok(config)
    }

    /// Makes paths relative to a folder.
    fn place(&mut self, folder: &Path) {
        let label = self.label.to_string();
        let place = |path: &mut PathBuf| *path = folder.join(&*path);
        place(&mut self.store);
        self.watch.logs.iter_mut().chain(&mut self.watch.labels).for_each(place);
        self.watch.reference.iter_mut().for_each(place);
        self.train.data.iter_mut().for_each(place);
        let is_version = |start: &String| *start == label || start.parse::<u64>().is_ok();
        if let Some(start) = self.train.start.as_mut().filter(|start| !is_version(start)) {
            *start = folder.join(&*start).display().to_string();
        }
        if let HeldOut::File(path) = &mut self.train.held_out {
            place(path);
        }
        if let Some(promote) = &mut self.promote {
            place(&mut promote.traffic);
        }
    }

    fn check(&self) -> Result<(), String> {
        let share = |name: &str, value: f64| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(format!("`{name}` is {value}, and not between 0 and 1")),
        };
        let finite = |name: &str, value: Option<f64>| match value {
            Some(value) if !value.is_finite() => {
                Err(format!("`{name}` is {value}, which is not a number to compare with"))
            }
            _ => Ok(()),
        };
        let positive = |name: &str, value: Option<f64>| match value {
            Some(value) if !(value.is_finite() && value > 0.0) => Err(format!("`{name}` is {value}, and not above 0")),
            _ => Ok(()),
        };
        // Not NaN, not infinite, and not below 0.
        let distance = |name: &str, value: Option<f64>| match value {
            Some(value) if !(value.is_finite() && value >= 0.0) => {
                Err(format!("`{name}` is {value}, and not a number from 0 on"))
            }
            _ => Ok(()),
        };
        if self.watch.every.duration().is_zero() {
            return Err("`watch.every` is 0, and a look takes time".to_owned());
        }
        if self.watch.logs.is_empty() {
            return Err("`watch.logs` is empty".to_owned());
        }
        let train = &self.train;
        match (&train.data_command, train.data.is_empty()) {
            (None, true) => return Err("`train` has neither `data` nor `data_command`".to_owned()),
            (Some(_), false) => return Err("`train` has both `data` and `data_command`".to_owned()),
            _ => {}
        }
        let commands = [("train.data_command", &train.data_command), ("train.command", &train.command)];
        if let Some((name, _)) = commands.iter().find(|(_, command)| command.as_ref().is_some_and(Vec::is_empty)) {
            return Err(format!("`{name}` is empty"));
        }
        if let HeldOut::Share(value) = train.held_out
            && !(value > 0.0 && value < 1.0)
        {
            return Err(format!("`train.held_out` is {value}, and not a share between 0 and 1, or a file"));
        }
        if train.epochs == 0 || train.batch_size == 0 {
            return Err("`train.epochs` and `train.batch_size` are at least 1".to_owned());
        }
        positive("train.learning_rate", train.learning_rate)?;
        share("act.false_alarm", self.act.false_alarm)?;
        positive("act.psi", Some(self.act.psi))?;
        finite("act.quality", self.act.quality)?;
        finite("gates.margin", Some(self.gates.margin))?;
        distance("gates.golden", self.gates.golden)?;
        positive("gates.largest_latency_ratio", self.gates.largest_latency_ratio)?;
        distance("guard.fall", self.guard.fall)?;
        finite("guard.quality", self.guard.quality)?;
        share("guard.largest_failures", self.guard.largest_failures)?;
        let least = self.guard.least_labelled;
        if let Some(labelled) = self.guard.labelled.filter(|labelled| *labelled < least) {
            return Err(format!(
                "`guard.labelled` is {labelled}, with which the guard ends before it has the {least} of \
                 `guard.least_labelled` and can judge them"
            ));
        }
        self.promote.as_ref().map_or(Ok(()), |promote| {
            if !promote.metrics.starts_with('/') {
                return Err(format!("`promote.metrics` is `{}`, and does not begin with `/`", promote.metrics));
            }
            share("promote.largest_failures", promote.largest_failures)?;
            positive("promote.largest_latency_ratio", Some(promote.largest_latency_ratio))?;
            distance(
                "promote.shadow.largest_difference",
                promote.shadow.as_ref().and_then(|it| it.largest_difference),
            )?;
            if promote.label == self.label {
                return Err(format!("`promote.label` and `label` are both `{}`", self.label));
            }
            match promote.canary.iter().find(|step| !(1..=100).contains(&step.share)) {
                Some(step) => Err(format!("a canary's `share` is {}, and not 1 to 100 percent", step.share)),
                None => crate::serving::Server::parse(&promote.server).map(drop),
            }
        })
    }
}

fn model_name<'d, D: Deserializer<'d>>(deserializer: D) -> Result<ModelName, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

fn label(name: &'static str) -> Label {
    name.parse().unwrap_or_else(|_| unreachable!("`{name}` is a label"))
}

fn production() -> Label {
    label("production")
}

fn candidate() -> Label {
    label("candidate")
}

fn metrics_path() -> String {
    "/monitoring/prometheus/metrics".to_owned()
}

fn train() -> String {
    tf_persist_core::train::TRAIN_SIGNATURE.to_owned()
}

fn every() -> Length {
    Length::from_secs(30)
}

fn minute() -> Length {
    Length::from_secs(60)
}

fn hour() -> Length {
    Length::from_secs(3600)
}

fn day() -> Length {
    Length::from_secs(24 * 3600)
}

fn one() -> u64 {
    1
}

fn fifty() -> usize {
    50
}

fn hundred() -> u64 {
    100
}

fn batch_size() -> usize {
    32
}

fn hundredth() -> f64 {
    0.01
}

fn two() -> f64 {
    2.0
}

#[cfg(test)]
mod tests;
