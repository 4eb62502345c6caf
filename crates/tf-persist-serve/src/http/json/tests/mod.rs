mod defaults;
mod examples;
mod properties;
mod refusals;
mod requests;
mod responses;
mod syntax;

use tf_persist_core::{Code, DType, Tensor};

use super::*;
use crate::status::Status;

type Inputs<'a> = &'a [(&'a str, DType)];

fn decode(body: impl AsRef<[u8]>, inputs: Inputs<'_>) -> Result<(Format, Vec<(String, Tensor)>), Status> {
    PredictBody::parse(body.as_ref())?.tensors(inputs, &|_| false)
}

/// The format of a request and its only tensor.
fn one(body: impl AsRef<[u8]>, dtype: DType) -> (Format, Tensor) {
    let (format, mut tensors) = decode(body, &[("x", dtype)]).unwrap();
    assert_eq!(tensors.len(), 1);
    assert_eq!(tensors[0].0, "x");
    (format, tensors.remove(0).1)
}

fn row(values: &str, dtype: DType) -> Tensor {
    let (format, tensor) = one(format!("{{\"instances\": {values}}}"), dtype);
    assert_eq!(format, Format::Row);
    tensor
}

fn column(values: &str, dtype: DType) -> Tensor {
    let (format, tensor) = one(format!("{{\"inputs\": {values}}}"), dtype);
    assert_eq!(format, Format::Column);
    tensor
}

/// The code and the message of an error.
fn refusal(body: impl AsRef<[u8]>, inputs: Inputs<'_>) -> (Code, String) {
    let status = decode(body, inputs).unwrap_err();
    (status.code, status.message)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}
