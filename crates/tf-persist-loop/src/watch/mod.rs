//! What requests, answers and labels say of a version.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tf_persist_core::SavedModel;
use tf_persist_monitor::{Labels, MonitorError, Reference, Report, Settings, Thresholds, watch};

use crate::config::{Config, Metric};
use crate::error::Result;
use crate::train::rounded;

/// Looks at logs whose files were given other names meanwhile.
const TRIES: usize = 3;

/// What was seen of a version.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Requests, those that failed among them.
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    /// The features that have drifted; `None` without a reference or with too few requests.
    pub(crate) drifted: Option<Vec<String>>,
    /// The largest population stability index.
    pub(crate) largest_psi: Option<f64>,
    /// Rows with labels, and the metric over them.
    pub(crate) labelled: u64,
    pub(crate) quality: Option<f64>,
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
    let mut settings = Settings::default();
    settings.model_name = Some(config.model.to_string());
    let signature = model.meta_graph(None)?.default_signature()?;
    settings.signature = Some(signature.name.clone());
    settings.take_rows_of(signature);
    settings.version = Some(version);
    settings.since = Some(since);
    settings.output.clone_from(&watched.output);
    settings.task = watched.task;
    settings.logits = watched.logits;
    // A folder that the server has not made yet, or in which it has not begun a log, has no requests.
    let logs: Vec<PathBuf> = watched.logs.iter().filter(|path| has_log(path)).cloned().collect();
    if logs.is_empty() {
        let names: Vec<String> = watched.logs.iter().map(|path| format!("`{}`", path.display())).collect();
        let notes = vec![format!("there is no log yet at {}", names.join(", "))];
        return Ok(Seen { notes, ..Seen::default() });
    }
    let files: Vec<PathBuf> = watched.labels.iter().filter(|path| path.exists()).cloned().collect();
    let labels = if files.is_empty() { None } else { Some(Labels::read(&files)?) };
    // Labels cannot be compared with answers before there is one.
    let counted = || {
        let mut tries = 0;
        loop {
            match watch(&logs, reference.as_ref(), labels.as_ref(), &settings) {
                // The server gave a file its last name, or deleted it.
                Err(MonitorError::Io { source, .. }) if source.kind() == ErrorKind::NotFound && tries < TRIES => {
                    tries += 1
                }
                state => return state,
            }
        }
    };
    let state = match counted() {
        Err(_) if (labels.is_some() || reference.is_none()) && is_unanswered(&logs, &settings) => {
            let notes = vec![format!("the logs have no answered request to `{}`", config.model)];
            return Ok(Seen { notes, ..Seen::default() });
        }
        state => state?,
    };
    let mut thresholds = Thresholds::default();
    (thresholds.false_alarm, thresholds.psi) = (config.act.false_alarm, config.act.psi);
    let report = Report::new(&state, reference.as_ref(), thresholds)?;
    Ok(Seen::of(&report, config.gates.metric, watched.least_requests))
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
    fn of(report: &Report, metric: Metric, least_requests: u64) -> Self {
        let traffic = &report.traffic;
        let is_enough = traffic.requests >= least_requests;
        let psi = report.features.iter().filter_map(|feature| feature.psi).filter(|psi| psi.is_finite());
        let quality = report.quality.as_ref();
        Self {
            requests: traffic.requests,
            failures: traffic.failures.values().sum(),
            drifted: report.drift.as_ref().filter(|_| is_enough).map(|drift| drift.drifted.clone()),
            largest_psi: Some(psi.fold(f64::NEG_INFINITY, f64::max)).filter(|psi| is_enough && psi.is_finite()),
            labelled: quality.map_or(0, |quality| quality.rows),
            quality: quality.and_then(|quality| metric.of(quality)),
            notes: report.notes.clone(),
        }
    }

    /// The numbers of the log.
    pub(crate) fn numbers(&self) -> Map<String, Value> {
        let mut numbers = Map::new();
        numbers.insert("requests".into(), self.requests.into());
        numbers.insert("failed".into(), self.failures.into());
        numbers.insert("labelled".into(), self.labelled.into());
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
