//! Asking recorded requests again.

use std::fmt;

use super::examples;
use super::record::{Kind, Record, Tensors};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::session::{LoadedModel, RunOptions};
use crate::tensor::{Comparison, Tensor, Tolerance};

/// What became of a record.
#[derive(Debug)]
#[non_exhaustive]
pub struct Replay {
    /// The record's number in the file, from 1.
    pub number: usize,
    /// Whether it is one of a [`Sequence`](super::Sequence).
    pub in_order: bool,
    /// What kind of request it is.
    pub kind: Kind,
    /// The signature that was asked.
    pub signature: String,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a replay ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The request ran, and each output was compared with what was recorded.
    Compared(Vec<OutputReport>),
    /// The request ran, and there is no answer to compare with.
    Unanswered,
    /// The request cannot be run here: why.
    Skipped(String),
    /// The request was refused, or failed.
    Failed(Error),
}

/// An output and what was recorded of it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct OutputReport {
    /// Its name.
    pub name: String,
    /// How the two compare.
    pub result: OutputResult,
}

/// How an output compares with what was recorded of it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum OutputResult {
    /// Element by element.
    Compared(Comparison),
    /// It was recorded, and is not there any more.
    Missing,
    /// It is there, and was not recorded.
    Unexpected,
    /// It is of another dtype.
    DType {
        /// What was recorded.
        recorded: DType,
        /// What it is.
        found: DType,
    },
    /// It is of another shape.
    Shape {
        /// What was recorded.
        recorded: Vec<usize>,
        /// What it is.
        found: Vec<usize>,
    },
}

impl OutputReport {
    /// Whether it is as recorded, within the tolerance.
    #[must_use]
    pub fn is_same(&self) -> bool {
        matches!(&self.result, OutputResult::Compared(comparison) if comparison.is_within())
    }

    /// Whether it is as recorded, bit for bit.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        matches!(&self.result, OutputResult::Compared(comparison) if comparison.is_equal())
    }
}

impl Replay {
    /// Whether the model answers otherwise than was recorded, or not at all.
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
    /// Asks the model what was recorded, and compares the answer. What the model makes of the request, failing included, is the
    /// outcome. The records of a [`Sequence`](super::Sequence) are asked in order, of a model on which nothing else ran.
    ///
    /// # Errors
    /// If the memory for comparing cannot be had.
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
        let kind = record.request.kind;
        if !matches!(kind, Kind::Predict | Kind::Classify | Kind::Regress) {
            return Some(format!("requests of the kind `{kind}` are not run"));
        }
        let other = !record.tags.is_empty() && !self.meta_graph().has_tags(&record.tags);
        other.then(|| format!("it was recorded of the meta graph with the tags `{}`", record.tags.join(",")))
    }

    /// The answer to a recorded request, sorted by name.
    fn ask(&self, record: &Record) -> Result<Tensors> {
        let request = &record.request;
        let signature = self.signature(request.signature())?;
        let asked = match request.kind {
            Kind::Predict => request.output_filter.clone(),
            kind => examples::outputs_of(kind, signature.definition()),
        };
        let options = RunOptions::default();
        let options = if asked.is_empty() { options } else { options.outputs(&asked) };
        let inputs = request.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor));
        let mut outputs: Tensors = signature.run_with(inputs, &options)?.into_vec();
        outputs.sort_by(|(a, _), (b, _)| a.cmp(b));
        if request.kind == Kind::Predict { Ok(outputs) } else { examples::answer(request.kind, outputs) }
    }
}

/// Compares two answers, output by output.
pub(super) fn compare(found: &Tensors, recorded: &Tensors, tolerance: Tolerance) -> Result<Vec<OutputReport>> {
    let get = |tensors: &Tensors, name: &str| {
        tensors.iter().find(|(other, _)| other == name).map(|(_, tensor)| tensor.clone())
    };
    let report = |name: &str, result| OutputReport { name: name.to_owned(), result };
    let mut reports = Vec::new();
    for (name, recorded) in recorded {
        reports.push(report(
            name,
            match get(found, name) {
                Some(found) => compare_output(&found, recorded, tolerance)?,
                None => OutputResult::Missing,
            },
        ));
    }
    let unexpected = found.iter().filter(|(name, _)| get(recorded, name).is_none());
    reports.extend(unexpected.map(|(name, _)| report(name, OutputResult::Unexpected)));
    Ok(reports)
}

fn compare_output(found: &Tensor, recorded: &Tensor, tolerance: Tolerance) -> Result<OutputResult> {
    Ok(match Comparison::of(found, recorded, tolerance)? {
        Some(comparison) => OutputResult::Compared(comparison),
        None if found.dtype() != recorded.dtype() => {
            OutputResult::DType { recorded: recorded.dtype(), found: found.dtype() }
        }
        None => OutputResult::Shape { recorded: recorded.shape().to_vec(), found: found.shape().to_vec() },
    })
}

impl fmt::Display for OutputReport {
    /// A sentence without its end: "`y` differs in 3 of 10 elements; …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ", crate::saved_model::printable(&self.name))?;
        match &self.result {
            OutputResult::Compared(comparison) => comparison.fmt(f),
            OutputResult::Missing => f.write_str("was recorded, and is not there any more"),
            OutputResult::Unexpected => f.write_str("is there, and was not recorded"),
            OutputResult::DType { recorded, found } => write!(f, "is {found} instead of {recorded}"),
            OutputResult::Shape { recorded, found } => write!(f, "has the shape {found:?} instead of {recorded:?}"),
        }
    }
}
