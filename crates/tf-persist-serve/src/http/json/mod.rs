//! JSON of the REST interface: requests into tensors, answers out of them (`util/json_tensor.cc`).
//!
//! What TensorFlow Serving does with a tree of values is done here without one. A request is read once, to its end, because
//! whatever is wrong with its JSON comes before anything else that may be wrong; what the values become is found out in the
//! same pass if they are plain nested lists of numbers, and in a second one otherwise. Only a request that is refused is looked
//! at once more, for the reason.
//!
//! - `cursor`, `number`, `fast_floats`, `string`: the grammar, which is RapidJSON's.
//! - `body_index`, `predict`, `tensors`, `builders`, `examples`: requests.
//! - `diagnose`, `json_snippet`: why a request is refused.
//! - `write`, `decimal`, `response`, `proto_json`: answers.

mod body_index;
mod builders;
mod cursor;
mod decimal;
mod diagnose;
mod examples;
mod fast_floats;
mod json_snippet;
mod number;
mod predict;
mod proto_json;
mod response;
mod string;
mod tensors;
mod write;

pub use examples::ExamplesBody;
pub use predict::PredictBody;
pub use proto_json::{metadata_response, status_response};
pub use response::{classify_response, error_body, predict_response, regress_response};

/// How tensors stand in a request, and so in its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `instances` and `predictions`.
    Row,
    /// `inputs` and `outputs`.
    Column,
}

#[cfg(test)]
mod tests;
