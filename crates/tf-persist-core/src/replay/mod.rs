//! Replays recorded requests.

mod recorder;
mod sequence;

pub use recorder::{Added, Recorder};
pub use sequence::Sequence;

use std::path::Path;

use tf_persist_savedmodel::internals::{Request, Tensors, answer_of, compare, outputs_of};
use tf_persist_savedmodel::tensor::Tolerance;
use tf_persist_savedmodel::warmup::{Kind, OutputReport, Record};

use crate::error::{Error, Hint, ModelError, Result, WarmupError};
use crate::session::{LoadedModel, RunOptions};

/// Error for a request that is not recorded.
fn not_recorded(model: &Path, reason: String, hint: Option<Hint>) -> Error {
    Error::Model(ModelError::Warmup(WarmupError::NotRecorded { path: model.to_path_buf(), reason, hint }))
}

/// The result of replaying a record.
#[derive(Debug)]
#[non_exhaustive]
pub struct Replay {
    /// The record's number in the file, from 1.
    pub number: usize,
    /// Whether it is one of a [`Sequence`].
    pub in_order: bool,
    /// The kind of request.
    pub kind: Kind,
    /// The signature that was run.
    pub signature: String,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a replay ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The request ran, and each output was compared with the recorded one.
    Compared(Vec<OutputReport>),
    /// The request ran, and there is no answer to compare with.
    Unanswered,
    /// The request cannot be run here, with the reason.
    Skipped(String),
    /// The request was refused, or failed.
    Failed(Error),
}

impl Replay {
    /// Whether the model's answer differs from the recorded one, or the request failed.
    #[must_use]
    pub fn is_different(&self) -> bool {
        match &self.outcome {
            Outcome::Compared(outputs) => !outputs.iter().all(OutputReport::is_same),
            Outcome::Unanswered | Outcome::Skipped(_) => false,
            Outcome::Failed(_) => true,
        }
    }
}

impl LoadedModel {
    /// Runs a recorded request and compares the answer. A request that fails is an [`Outcome`], not an error. Replay
    /// the records of a [`Sequence`] in order, on a model on which nothing else ran.
    ///
    /// # Errors
    /// If the memory for comparing cannot be allocated.
    pub fn replay(&self, record: &Record, tolerance: Tolerance) -> Result<Replay> {
        let request = &record.request;
        let (kind, signature) = (request.kind, request.signature().to_owned());
        let outcome = match self.reason_to_skip(record) {
            Some(reason) => Outcome::Skipped(reason),
            None => match (self.ask(record), &record.answer) {
                (Err(error), _) => Outcome::Failed(error),
                (Ok(_), None) => Outcome::Unanswered,
                (Ok(found), Some(recorded)) => Outcome::Compared(compare(&found, recorded, tolerance)?),
            },
        };
        Ok(Replay { number: record.number, in_order: record.in_order, kind, signature, outcome })
    }

    fn reason_to_skip(&self, record: &Record) -> Option<String> {
        if record.reason_to_skip.is_some() {
            return record.reason_to_skip.clone();
        }
        let kind = record.request.kind;
        if !matches!(kind, Kind::Predict | Kind::Classify | Kind::Regress) {
            return Some(format!("requests of the kind `{kind}` are not run"));
        }
        let other = !record.tags.is_empty() && !self.meta_graph().has_tags(&record.tags);
        other.then(|| format!("it was recorded for the meta graph with the tags `{}`", record.tags.join(",")))
    }

    /// The answer to a recorded request, sorted by name.
    fn ask(&self, record: &Record) -> Result<Tensors> {
        let request = &record.request;
        let signature = self.signature(request.signature())?;
        let asked = match request.kind {
            Kind::Predict => request.output_filter.clone(),
            kind => outputs_of(kind, signature.definition()),
        };
        // A server accepts what the ops accept, so a log may have shapes that the signature does not declare.
        let options = RunOptions::default().skip_shape_check(true);
        let options = if asked.is_empty() { options } else { options.outputs(&asked) };
        let inputs = request.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor));
        let mut outputs: Tensors = signature.run_with(inputs, &options)?.into_vec();
        outputs.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(if request.kind == Kind::Predict { outputs } else { answer_of(request.kind, outputs)? })
    }
}

/// The answer of a model, sorted by name.
pub(super) fn ask(model: &LoadedModel, request: &Request) -> Result<Tensors> {
    let inputs = request.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor));
    let outputs = model.signature(request.signature())?.run(inputs)?;
    let mut outputs: Tensors = outputs.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
    outputs.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(outputs)
}
