//! What requests, answers and labels say of a version.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tf_persist_core::SavedModel;
use tf_persist_monitor::{
    Labels, MonitorError, Reference, Report, Settings, Side, State, Thresholds, TrafficReport, count_requests, watch,
};

use crate::config::{Config, Metric};
use crate::error::Result;
use crate::serving::is_of_client;
use crate::train::rounded;

/// Looks at logs whose files were given other names meanwhile.
const TRIES: usize = 3;

/// What was seen of a version.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Requests, those that failed among them.
    pub(crate) requests: u64,
    /// Without the mistakes of clients.
    pub(crate) failures: u64,
    /// Requests that failed by a mistake of the client.
    pub(crate) refused: u64,
    /// Of the output with the most of them, the answers that are NaN where the reference has numbers, or have another
    /// shape; and the answers that it has.
    pub(crate) unusable: (u64, u64),
    /// The features that have drifted; `None` without a reference or with too few requests.
    pub(crate) drifted: Option<Vec<String>>,
    /// The largest population stability index.
    pub(crate) largest_psi: Option<f64>,
    /// Rows with labels, and the metric over them.
    pub(crate) labelled: u64,
    pub(crate) quality: Option<f64>,
    /// Further rows with labels, whose answers could not be compared with them.
    pub(crate) unjudged: u64,
    /// What could not be used, as sentences.
    pub(crate) notes: Vec<String>,
}

/// Looks at the requests to a version since a time.
pub(crate) fn look(config: &Config, model: &SavedModel, version: u64, since: Timestamp) -> Result<Seen> {
    let watched = &config.watch;
    let reference = match &watched.reference {
        Some(path) => Some(Reference::read(path)?),
        None => Reference::of_model(model)?,
    };
    let mut settings = settings_of(config, version, since);
    let signature = model.meta_graph(None)?.default_signature()?;
    settings.signature = Some(signature.name.clone());
    settings.take_rows_of(signature);
    settings.output.clone_from(&watched.output);
    settings.task = watched.task;
    settings.logits = watched.logits;
    // A folder that the server has not made yet, or in which it has not begun a log, has no requests.
    let logs = match logs_of(config) {
        Ok(logs) => logs,
        Err(note) => return Ok(Seen { notes: vec![note], ..Seen::default() }),
    };
    let files: Vec<PathBuf> = watched.labels.iter().filter(|path| path.exists()).cloned().collect();
    let labels = if files.is_empty() { None } else { Some(Labels::read(&files)?) };
    // Labels cannot be compared with answers before there is one.
    let state = match again(|| watch(&logs, reference.as_ref(), labels.as_ref(), &settings)) {
        Err(_) if (labels.is_some() || reference.is_none()) && is_unanswered(&logs, &settings) => {
            let notes = vec![format!("the logs have no answered request to `{}`", config.model)];
            // A log of other models has none at all.
            let counted = again(|| count_requests(&logs, &settings)).map(|traffic| Seen::of_traffic(&traffic));
            return Ok(Seen { notes, ..counted.unwrap_or_default() });
        }
        state => state?,
    };
    let mut thresholds = Thresholds::default();
    (thresholds.false_alarm, thresholds.psi) = (config.act.false_alarm, config.act.psi);
    let report = Report::new(&state, reference.as_ref(), thresholds)?;
    Ok(Seen::of(&state, &report, config.gates.metric, watched.least_requests))
}

/// Counts the requests to a version since a time and those of them that failed, whatever else cannot be looked at.
pub(crate) fn count(config: &Config, version: u64, since: Timestamp) -> Result<Seen> {
    let settings = settings_of(config, version, since);
    match logs_of(config) {
        Ok(logs) => Ok(Seen::of_traffic(&again(|| count_requests(&logs, &settings))?)),
        Err(note) => Ok(Seen { notes: vec![note], ..Seen::default() }),
    }
}

fn settings_of(config: &Config, version: u64, since: Timestamp) -> Settings {
    let mut settings = Settings::default();
    settings.model_name = Some(config.model.to_string());
    settings.version = Some(version);
    settings.since = Some(since);
    settings
}

/// The logs that are there, or a note that there are none.
fn logs_of(config: &Config) -> Result<Vec<PathBuf>, String> {
    let all = &config.watch.logs;
    let logs: Vec<PathBuf> = all.iter().filter(|path| has_log(path)).cloned().collect();
    if !logs.is_empty() {
        return Ok(logs);
    }
    let names: Vec<String> = all.iter().map(|path| format!("`{}`", path.display())).collect();
    Err(format!("there is no log yet at {}", names.join(", ")))
}

/// Looks again where the server gave a file its last name meanwhile, or deleted it.
fn again<T>(look: impl Fn() -> Result<T, MonitorError>) -> Result<T, MonitorError> {
    let mut tries = 0;
    loop {
        match look() {
            Err(MonitorError::Io { source, .. }) if source.kind() == ErrorKind::NotFound && tries < TRIES => tries += 1,
            found => return found,
        }
    }
}

/// Whether a file is there, or a folder with a file of a log.
fn has_log(path: &Path) -> bool {
    let Ok(entries) = fs::read_dir(path) else { return path.exists() };
    let is_log = |name: OsString| {
        let name = name.to_string_lossy();
        name.contains(".jsonl") || name.contains(".tfrecord")
    };
    entries.flatten().any(|entry| is_log(entry.file_name()))
}

/// Whether the logs have no answered request to the model and signature.
fn is_unanswered(logs: &[PathBuf], settings: &Settings) -> bool {
    let mut all = settings.clone();
    (all.output, all.task) = (None, None);
    watch(logs, None, None, &all).is_err()
}

impl Seen {
    fn of_traffic(traffic: &TrafficReport) -> Self {
        let (mut failures, mut refused) = (0, 0);
        for (code, count) in &traffic.failures {
            match is_of_client(code) {
                true => refused += count,
                false => failures += count,
            }
        }
        Self { requests: traffic.requests, failures, refused, ..Self::default() }
    }

    fn of(state: &State, report: &Report, metric: Metric, least_requests: u64) -> Self {
        let traffic = &report.traffic;
        let is_enough = traffic.requests >= least_requests;
        let psi = report.features.iter().filter_map(|feature| feature.psi).filter(|psi| psi.is_finite());
        let quality = report.quality.as_ref();
        Self {
            drifted: report.drift.as_ref().filter(|_| is_enough).map(|drift| drift.drifted.clone()),
            largest_psi: Some(psi.fold(f64::NEG_INFINITY, f64::max)).filter(|psi| is_enough && psi.is_finite()),
            labelled: quality.map_or(0, |quality| quality.rows),
            quality: quality.and_then(|quality| metric.of(quality)),
            unjudged: state.unjudged(),
            unusable: unusable(state, report),
            notes: report.notes.clone(),
            ..Self::of_traffic(traffic)
        }
    }

    /// Requests that no client is to blame for.
    pub(crate) fn judged(&self) -> u64 {
        self.requests.saturating_sub(self.refused)
    }

    /// The numbers of the log.
    pub(crate) fn numbers(&self) -> Map<String, Value> {
        let mut numbers = Map::new();
        numbers.insert("requests".into(), self.requests.into());
        numbers.insert("failed".into(), self.failures.into());
        numbers.insert("labelled".into(), self.labelled.into());
        for (name, count) in
            [("refused", self.refused), ("unusable", self.unusable.0), ("unusable_labelled", self.unjudged)]
        {
            if count > 0 {
                numbers.insert(name.into(), count.into());
            }
        }
        if let Some(drifted) = &self.drifted {
            numbers.insert("drifted".into(), drifted.len().into());
            if !drifted.is_empty() {
                numbers.insert("drifted_features".into(), json!(drifted.iter().take(5).collect::<Vec<_>>()));
            }
        }
        for (name, value) in [("largest_psi", self.largest_psi), ("quality", self.quality)] {
            if let Some(value) = value {
                numbers.insert(name.into(), rounded(value));
            }
        }
        numbers
    }
}

/// Answers that are NaN or of another shape, of the output with the largest share of them.
fn unusable(state: &State, report: &Report) -> (u64, u64) {
    let outputs = report.features.iter().filter(|feature| feature.side == Side::Output);
    let nans = outputs.map(|feature| {
        let more = feature.missing.unwrap_or(0.0) - feature.reference_missing.unwrap_or(0.0);
        ((more.max(0.0) * feature.rows as f64).round() as u64, feature.rows)
    });
    let answered = report.traffic.requests.saturating_sub(report.traffic.failures.values().sum());
    let share = |(count, all): &(u64, u64)| *count as f64 / (*all).max(1) as f64;
    nans.chain([(state.differing_outputs(), answered)]).max_by(|a, b| share(a).total_cmp(&share(b))).unwrap_or_default()
}

/// The reasons to train a new version, as clauses; empty if there are none.
pub(crate) fn reasons(config: &Config, seen: &Seen, published: Timestamp, now: Timestamp) -> Vec<String> {
    let act = &config.act;
    let mut reasons = Vec::new();
    if let Some(drifted) = seen.drifted.as_ref().filter(|drifted| act.drift && !drifted.is_empty()) {
        let some = drifted.iter().take(3).map(|name| format!("`{}`", name.escape_debug())).collect::<Vec<_>>();
        let more = if drifted.len() > some.len() { ", …" } else { "" };
        let (count, some) = (drifted.len(), some.join(", "));
        let are = if count == 1 { "feature has" } else { "features have" };
        reasons.push(format!("{count} {are} drifted in {} requests: {some}{more}", seen.requests));
    }
    if let (Some(worst), Some(quality)) = (act.quality, seen.quality)
        && seen.labelled >= act.least_labelled
        && config.gates.metric.gain(quality, worst) < 0.0
    {
        let name = config.gates.metric.name();
        reasons
            .push(format!("the {name} over {} labelled rows is {quality:.4}, and {worst} is the limit", seen.labelled));
    }
    if let Some(age) = act.age.filter(|age| crate::state::elapsed(published, now) >= age.signed()) {
        reasons.push(format!("the version in production is older than {age}"));
    }
    if let Some(labelled) = act.labelled.filter(|labelled| seen.labelled >= *labelled) {
        reasons.push(format!(
            "there are {} labelled rows since the last attempt, and {labelled} are enough",
            seen.labelled
        ));
    }
    reasons
}
