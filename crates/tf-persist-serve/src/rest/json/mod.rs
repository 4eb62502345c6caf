//! JSON of the REST interface: requests into tensors, answers out of them (`util/json_tensor.cc`).
//!
//! What TensorFlow Serving does with a tree of values is done here without one. A request is read once, to its end, because
//! whatever is wrong with its JSON comes before anything else that may be wrong; what the values become is found out in the
//! same pass if they are plain nested lists of numbers, and in a second one otherwise. Only a request that is refused is looked
//! at once more, for the reason.
//!
//! - `cursor`, `number`, `floats`, `string`: the grammar, which is RapidJSON's.
//! - `outline`, `predict`, `tensors`, `nest`, `examples`: requests.
//! - `explain`, `show`: why a request is refused.
//! - `write`, `decimal`, `answer`, `proto`: answers.

mod answer;
mod cursor;
mod decimal;
mod examples;
mod explain;
mod floats;
mod nest;
mod number;
mod outline;
mod predict;
mod proto;
mod show;
mod string;
mod tensors;
mod write;

pub use answer::{classify_answer, error_body, predict_answer, regress_answer};
pub use examples::ExamplesBody;
pub use predict::PredictBody;
pub use proto::{metadata_answer, status_answer};

/// How tensors stand in a request, and so in its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `instances` and `predictions`.
    Row,
    /// `inputs` and `outputs`.
    Column,
}

#[cfg(test)]
mod tests;
