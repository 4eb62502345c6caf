//! Compares responses with recorded ones.

use std::fmt;

use super::record::Tensors;
use crate::dtype::DType;
use crate::error::Result;
use crate::tensor::{Comparison, Tensor, Tolerance};

/// An output and its comparison with the recorded one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct OutputReport {
    /// Its name.
    pub name: String,
    /// The comparison.
    pub result: OutputResult,
}

/// The comparison of an output with the recorded one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum OutputResult {
    /// Element by element.
    Compared(Comparison),
    /// It was recorded and is missing now.
    Missing,
    /// It was not recorded.
    Unexpected,
    /// Its dtype differs.
    DType {
        /// As recorded.
        recorded: DType,
        /// As it is now.
        found: DType,
    },
    /// Its shape differs.
    Shape {
        /// As recorded.
        recorded: Vec<usize>,
        /// As it is now.
        found: Vec<usize>,
    },
}

impl OutputReport {
    /// Whether it equals the recorded one within the tolerance.
    #[must_use]
    pub fn is_same(&self) -> bool {
        matches!(&self.result, OutputResult::Compared(comparison) if comparison.is_within())
    }

    /// Whether it equals the recorded one bit for bit.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        matches!(&self.result, OutputResult::Compared(comparison) if comparison.is_equal())
    }
}

/// Compares two responses output by output.
pub fn compare(found: &Tensors, recorded: &Tensors, tolerance: Tolerance) -> Result<Vec<OutputReport>> {
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
    Ok(match Comparison::compare(found, recorded, tolerance)? {
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
