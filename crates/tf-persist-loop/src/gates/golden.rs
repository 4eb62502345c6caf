//! The requests that are recorded in a version: how far the answers of a new one are from them.

use std::path::Path;

use tf_persist_core::tensor::Tolerance;
use tf_persist_core::warmup::{Kind, Outcome, OutputResult, Record, Recorder, Records};
use tf_persist_core::{LoadSavedModel, LoadedModel, SavedModel};

use super::Verdict;
use crate::error::Result;
use crate::tools::Tools;
use crate::train::rounded;

fn records(model: &SavedModel) -> Result<Vec<Record>> {
    match Records::open(model)? {
        Some(records) => Ok(records.collect::<Result<_, _>>()?),
        None => Ok(Vec::new()),
    }
}

/// Answers the requests that are recorded in the version in production.
pub(super) fn check(largest: f64, production: &SavedModel, new: &LoadedModel, verdict: &mut Verdict) -> Result<()> {
    let (mut compared, mut distance) = (0_u64, 0.0_f64);
    for record in records(production)? {
        let number = record.number;
        let replay = new.replay(&record, Tolerance::Both { relative: 0.0, absolute: largest })?;
        let outputs = match replay.outcome {
            Outcome::Compared(outputs) => outputs,
            Outcome::Failed(error) => {
                verdict.failures.push(format!("it does not answer the recorded request {number}: {error}"));
                return Ok(());
            }
            _ => continue,
        };
        compared += 1;
        for output in outputs {
            match &output.result {
                OutputResult::Compared(comparison) if comparison.not_finite == 0 => {
                    distance = distance.max(comparison.largest_absolute.unwrap_or(0.0));
                }
                _ => {
                    verdict.failures.push(format!("it answers the recorded request {number} otherwise: {output}"));
                    return Ok(());
                }
            }
        }
    }
    verdict.numbers.insert("golden".into(), compared.into());
    verdict.numbers.insert("golden_distance".into(), rounded(distance));
    if compared == 0 {
        verdict.failures.push("the version in production has no recorded answers, and `gates.golden` is given".into());
    } else if distance > largest {
        verdict.failures.push(format!(
            "its answers to {compared} recorded requests differ by {distance:.4}, and at most {largest} is allowed"
        ));
    }
    Ok(())
}

/// Records the requests of the version in production in a new model, with its own answers.
pub(super) fn record(production: &SavedModel, path: &Path, tools: &Tools) -> Result<()> {
    let records = records(production)?;
    let is_answered = |record: &Record| record.request.kind == Kind::Predict && record.has_answer();
    // The others stay as they are: only answers of Predict can be recorded.
    if records.is_empty() || !records.iter().all(is_answered) {
        return Ok(());
    }
    let model = SavedModel::open(path)?;
    let meta_graph = model.meta_graph(None)?;
    let loaded = model.load(tools.load.clone())?;
    let mut recorder = Recorder::begin(&model, meta_graph, true)?;
    for record in records {
        let signature = match record.request.signature.is_empty() {
            true => meta_graph.default_signature()?.name.clone(),
            false => record.request.signature.clone(),
        };
        recorder.add(&loaded, &signature, record.request.inputs)?;
    }
    recorder.write()?;
    Ok(())
}
