//! The requests, and the expected responses.

use serde::Deserialize;

use crate::Result;

/// How far an answer may be from what Python gave, relative and absolute.
const TOLERANCE: f32 = 1e-3;

/// Requests for a signature with one float32 input and one float32 output.
#[derive(Deserialize)]
pub(crate) struct Requests {
    /// The name of the input.
    pub(crate) input: String,
    /// The name of the output.
    pub(crate) output: String,
    /// The shape of the input, whose first dimension is that of the rows.
    pub(crate) shape: Vec<usize>,
    /// The requests.
    pub(crate) cases: Vec<Case>,
}

/// A request and its answer, in row-major order.
#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) values: Vec<f32>,
    pub(crate) expected: Vec<f32>,
}

impl Requests {
    pub(crate) fn read(path: &str) -> Result<Self> {
        let requests: Self = serde_json::from_slice(&std::fs::read(path)?)?;
        if requests.cases.is_empty() || requests.shape.is_empty() {
            return Err(format!("`{path}` has no requests, or their input is a scalar").into());
        }
        Ok(requests)
    }

    pub(crate) fn case(&self, number: usize) -> &Case {
        &self.cases[number % self.cases.len()]
    }
}

impl Case {
    pub(crate) fn is_answered_by(&self, values: &[f32]) -> bool {
        let is_close = |(a, b): (&f32, &f32)| (a - b).abs() <= TOLERANCE + TOLERANCE * b.abs();
        values.len() == self.expected.len() && values.iter().zip(&self.expected).all(is_close)
    }
}
