//! The JSON forms: reading, errors and their messages, and writing.

mod examples;
mod read;
mod refused;
mod write;

use super::*;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Decodes a request for a signature `s` of these inputs.
fn request(text: &str, inputs: &[(&str, DType)]) -> Result<Vec<(String, Tensor)>> {
    Request::parse("request", text.as_bytes())?.tensors("s", inputs, ExtraInputs::Refuse)
}

/// The only tensor of a request for a signature of one input, `x`.
fn only(text: &str, dtype: DType) -> Tensor {
    let mut tensors = request(text, &[("x", dtype)]).unwrap();
    assert_eq!((tensors.len(), tensors[0].0.as_str()), (1, "x"));
    tensors.remove(0).1
}

fn value(text: &str, dtype: DType) -> Tensor {
    read_value("x", text.as_bytes(), dtype).unwrap()
}

fn written(outputs: &[(&str, &Tensor)], form: Form, bare_single: bool) -> Result<String> {
    let mut bytes = Vec::new();
    write_outputs("answer", &mut bytes, outputs.iter().copied(), Layout { form, bare_single })?;
    Ok(String::from_utf8(bytes).unwrap())
}
