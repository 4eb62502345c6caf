//! What must hold before a trained model becomes a version.

mod golden;
mod latency;
mod numbers;
mod score;

use std::fs;
use std::path::Path;

use serde_json::Value;
use tf_persist_core::scan::{Finding, Level};
use tf_persist_core::tensor::Stats;
use tf_persist_core::train::Dataset;
use tf_persist_core::{LoadSavedModel, LoadedModel, SavedModel};
use tf_persist_monitor::{Arrays, REFERENCE_FILE, Settings, reference_of_arrays};
use tf_persist_store::durable;

use crate::config::{Config, NewReference};
use crate::error::{LoopError, Result};
use crate::tools::Tools;
use crate::train::{HELD_OUT, MODEL, Numbers, rounded, write};

/// What the gates found.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Why the model is not published; empty if it is.
    pub(crate) failures: Vec<String>,
    /// What was measured.
    pub(crate) numbers: Numbers,
    /// The metric of the new model.
    pub(crate) metric: Option<f64>,
}

/// A model in the two states in which it is looked at.
struct Candidate {
    files: SavedModel,
    loaded: LoadedModel,
}

impl Candidate {
    fn open(path: &Path, tools: &Tools) -> Result<Self> {
        let files = SavedModel::open(path)?;
        let loaded = files.load(tools.load.clone())?;
        Ok(Self { files, loaded })
    }
}

/// Measures the model in the folder of an attempt, and the version in production. An error is a failure of the attempt.
pub(crate) fn measure(config: &Config, production: &Path, folder: &Path, tools: &Tools) -> Result<Verdict> {
    let gates = &config.gates;
    let mut verdict = Verdict::default();
    let path = folder.join(MODEL);
    // Before TensorFlow runs anything of it.
    if let Some(name) = not_finite(&SavedModel::open(&path)?)? {
        verdict.failures.push(format!("its variable `{name}` has a NaN or an infinity"));
        return Ok(verdict);
    }
    size(gates.largest_bytes, &path, &mut verdict)?;
    if !gates.worse_scan {
        scan(&SavedModel::open(production)?, &SavedModel::open(&path)?, &mut verdict)?;
    }
    if !verdict.failures.is_empty() {
        return Ok(verdict);
    }
    let (new, old) = (Candidate::open(&path, tools)?, Candidate::open(production, tools)?);
    let held_out = Dataset::read(folder.join(HELD_OUT))?;
    let rows = score::Rows::new(&held_out, &new.files, config)?;
    verdict.numbers.insert("held_out".into(), rows.count().into());
    if rows.count() < gates.least_rows {
        let (count, least) = (rows.count(), gates.least_rows);
        verdict.failures.push(format!("only {count} rows are held out, and {least} are needed"));
        return Ok(verdict);
    }
    metric(config, &rows, &new, &old, &mut verdict)?;
    if let Some(largest) = gates.golden {
        golden::check(largest, &old.files, &new.loaded, &mut verdict)?;
    }
    if let Some(largest) = gates.largest_latency_ratio {
        latency::check(largest, &rows, &new.loaded, &old.loaded, &mut verdict)?;
    }
    Ok(verdict)
}

/// Gives a model that passed its own answers to the recorded requests, and its own reference.
pub(crate) fn prepare(config: &Config, production: &Path, folder: &Path, tools: &Tools) -> Result<()> {
    let path = folder.join(MODEL);
    golden::record(&SavedModel::open(production)?, &path, tools)?;
    if config.train.reference == NewReference::HeldOut {
        let new = Candidate::open(&path, tools)?;
        let held_out = Dataset::read(folder.join(HELD_OUT))?;
        let rows = score::Rows::new(&held_out, &new.files, config)?;
        reference(config, &rows, &new, folder)?;
    }
    Ok(())
}

/// The first variable with a NaN or an infinity.
fn not_finite(model: &SavedModel) -> Result<Option<String>> {
    for variable in &model.variables()?.all {
        if !variable.entry.dtype.is_float() {
            continue;
        }
        let stats = Stats::from_tensor(&model.read_variable(&variable.name)?);
        if stats.is_some_and(|stats| stats.nans + stats.infinities > 0) {
            return Ok(Some(variable.name.clone()));
        }
    }
    Ok(None)
}

fn size(largest: Option<u64>, path: &Path, verdict: &mut Verdict) -> Result<()> {
    let bytes = bytes_of(path).map_err(LoopError::io("read", path))?;
    verdict.numbers.insert("bytes".into(), bytes.into());
    if let Some(largest) = largest.filter(|largest| bytes > *largest) {
        verdict.failures.push(format!("it has {bytes} bytes, and at most {largest} are allowed"));
    }
    Ok(())
}

fn bytes_of(path: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let found = entry.metadata()?;
        bytes += if found.is_dir() { bytes_of(&entry.path())? } else { found.len() };
    }
    Ok(bytes)
}

/// The new model may do nothing that the old one may not.
fn scan(old: &SavedModel, new: &SavedModel, verdict: &mut Verdict) -> Result<()> {
    let (old, new) = (old.scan()?, new.scan()?);
    let is_same = |a: &Finding, b: &Finding| (a.kind, &a.op, &a.what) == (b.kind, &b.op, &b.what) && a.level <= b.level;
    let is_new =
        |found: &&Finding| found.level >= Level::Warning && !old.findings.iter().any(|known| is_same(found, known));
    if let Some(found) = new.findings.iter().find(is_new) {
        let op = found.op.as_ref().map_or_else(String::new, |op| format!("`{op}` "));
        verdict.failures.push(format!("it may do what the version in production may not: {op}{}", found.what));
    }
    Ok(())
}

fn metric(config: &Config, rows: &score::Rows, new: &Candidate, old: &Candidate, verdict: &mut Verdict) -> Result<()> {
    let metric = config.gates.metric;
    let new = rows.score(&new.loaded, metric)?;
    let old = rows.score(&old.loaded, metric)?;
    let number = |value: Option<f64>| value.map_or(Value::Null, rounded);
    verdict.numbers.insert("metric".into(), metric.name().into());
    verdict.numbers.insert("new".into(), number(new.value));
    verdict.numbers.insert("production".into(), number(old.value));
    verdict.metric = new.value;
    if let Some(reason) = new.reason {
        verdict.failures.push(reason);
        return Ok(());
    }
    let Some(value) = new.value else {
        verdict.failures.push(format!("its answers have no {}", metric.name()));
        return Ok(());
    };
    // A version in production whose answers have none is worse than any that have.
    let Some(before) = old.value else { return Ok(()) };
    let gain = metric.gain(value, before);
    if gain < config.gates.margin {
        let (name, margin) = (metric.name(), config.gates.margin);
        let needed = match margin {
            0.0 => "it must not be worse".to_owned(),
            margin if margin > 0.0 => format!("it must be better by {margin}"),
            margin => format!("it may be worse by {}", -margin),
        };
        verdict.failures.push(format!(
            "its {name} over {} held-out rows is {value:.4}, that of production {before:.4}, and {needed}",
            rows.count()
        ));
    }
    Ok(())
}

/// Writes the reference of a model: the held-out rows with its answers.
fn reference(config: &Config, rows: &score::Rows, new: &Candidate, folder: &Path) -> Result<()> {
    let answers = rows.answers(&new.loaded)?;
    let names = |arrays: &crate::data::Arrays| arrays.iter().map(|(name, _)| name.clone()).collect();
    let (inputs, outputs) = (names(rows.inputs()), names(&answers));
    let path = folder.join("reference.npz");
    let arrays = rows.inputs().iter().cloned().chain(answers).collect();
    write(&path, &arrays)?;
    let mut settings = Settings::default();
    settings.model_name = Some(config.model.to_string());
    settings.signature = Some(new.loaded.default_signature()?.definition().name.clone());
    settings.is_batched = Some(true);
    let (reference, _) = reference_of_arrays(&Arrays::new(&path, inputs, outputs), &settings)?;
    let target = folder.join(MODEL).join(REFERENCE_FILE);
    let parent = target.parent().unwrap_or(folder);
    fs::create_dir_all(parent).map_err(LoopError::io("create", parent))?;
    Ok(durable::write(&target, reference.to_json().as_bytes())?)
}

#[cfg(test)]
mod tests;
