//! JSON of the REST interface: requests into tensors, and tensors into responses (`util/json_tensor.cc`).
//!
//! TensorFlow Serving parses a request into a tree of values; here there is none. A request is read once to its end,
//! because a syntax error is reported before any other error. Plain nested lists of numbers become a tensor in the same
//! pass, other values in a second one. Only a request that is refused is read again, to find the reason.
//!
//! - `cursor`, `number`, `fast_floats`, `string`: the grammar, which is RapidJSON's.
//! - `body_index`, `predict`, `tensors`, `builders`, `examples`: requests.
//! - `diagnose`, `json_snippet`: why a request is refused.
//! - `v2`: requests and answers of the Open Inference Protocol.
//! - `envelope`: what surrounds the tensors in requests of other contracts.
//! - `write`, `decimal`, `fast_decimal`, `response`, `proto_json`: answers.

mod body_index;
mod builders;
mod cursor;
mod decimal;
mod diagnose;
mod envelope;
mod examples;
mod fast_decimal;
mod fast_floats;
mod json_snippet;
mod number;
mod predict;
mod proto_json;
mod response;
mod string;
mod tensors;
pub mod v2;
mod write;

pub(in crate::http) use envelope::{has_member, is_list_of_lists, join_values, signature_parameter};
pub use examples::ExamplesBody;
pub use predict::PredictBody;
pub use proto_json::{metadata_response, status_response};
pub use response::{classify_response, error_body, predict_response, regress_response};

/// The format of the tensors in a request, and so in its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `instances` and `predictions`.
    Row,
    /// `inputs` and `outputs`.
    Column,
}

#[cfg(test)]
mod tests;
