//! JSON of the Open Inference Protocol: infer requests into tensors, and tensors into responses. It has the grammar of
//! the other requests, in which NaN and Infinity are numbers.

mod data;
mod fields;
mod request;
mod response;
#[cfg(test)]
mod tests;

pub use request::{InferBody, infer_request};
pub(crate) use response::is_binary;
pub use response::{InferAnswer, infer_response};
