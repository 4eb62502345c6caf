//! `PredictionLog`s, read field by field.
//!
//! A small hostile record could take a thousand times its bytes when it is decoded. So only the necessary fields are
//! read, including tensors.

use std::collections::BTreeMap;

use tf_persist_proto::wire::{Value, WireError, try_fields};

use super::examples;
use super::record::{Kind, Origin, Record, Request, Tensors};
use crate::tensor::{Tensor, serialized};

/// The memory that all tensors of a record may take, in bytes. A tensor may be stored as one value for all elements.
const MAX_FILLED_BYTES: usize = 256 << 20;

/// A `PredictionLog`.
pub(super) fn record(number: usize, data: &[u8]) -> Result<Record, String> {
    let (mut tags, mut origin) = (Vec::new(), Origin::default());
    // The last member of a oneof counts.
    let mut log: (Kind, &[u8]) = (Kind::Unknown, &[]);
    for field in try_fields(data) {
        let (number, value) = field.map_err(text)?;
        let Value::Bytes(bytes) = value else { continue };
        let kind = match number {
            1 => {
                (tags, origin) = metadata(bytes)?;
                continue;
            }
            2 => Kind::Classify,
            3 => Kind::Regress,
            4 => Kind::MultiInference,
            5 => Kind::SessionRun,
            6 => Kind::Predict,
            7 => Kind::PredictStreamed,
            _ => continue,
        };
        log = (kind, bytes);
    }
    let (kind, bytes) = log;
    let [request, response] = request_and_response(bytes)?;
    let (request, answer) = match kind {
        Kind::Predict => predict(request, response)?,
        Kind::Classify | Kind::Regress => examples::log(kind, request, response)?,
        Kind::MultiInference => (examples::multi_inference(request)?, None),
        _ => {
            let (inputs, output_filter) = (Tensors::new(), Vec::new());
            (Request { kind, signature: String::new(), inputs, output_filter, tasks: Vec::new() }, None)
        }
    };
    // A server answers no request without examples.
    let has_examples = request.inputs.iter().any(|(_, examples)| !examples.is_empty());
    let is_redacted = matches!(kind, Kind::Classify | Kind::Regress) && answer.is_some() && !has_examples;
    let reason_to_skip = is_redacted.then(|| "its examples were redacted".to_owned());
    Ok(Record { number, in_order: false, tags, origin, request, answer, reason_to_skip })
}

/// `LogMetadata`: the tags, and the model and the time.
fn metadata(message: &[u8]) -> Result<(Vec<String>, Origin), String> {
    let (mut tags, mut origin) = (Vec::new(), Origin::default());
    for field in try_fields(message) {
        match field.map_err(text)? {
            (1, Value::Bytes(spec)) => {
                for field in try_fields(spec) {
                    match field.map_err(text)? {
                        (1, value @ Value::Bytes(_)) => value.text().clone_into(&mut origin.model),
                        (2, Value::Bytes(version)) => origin.version = Some(int64_value(version)?),
                        _ => {}
                    }
                }
            }
            (3, value @ Value::Bytes(_)) => tags.push(value.text().to_owned()),
            (4, Value::Varint(seconds)) => origin.seconds = Some(seconds),
            _ => {}
        }
    }
    Ok((tags, origin))
}

/// `google.protobuf.Int64Value`.
fn int64_value(message: &[u8]) -> Result<i64, String> {
    let mut number = 0;
    for field in try_fields(message) {
        if let (1, value) = field.map_err(text)? {
            number = value.int().unwrap_or(number);
        }
    }
    Ok(number)
}

/// The request and the response: fields 1 and 2 of all logs.
fn request_and_response(message: &[u8]) -> Result<[&[u8]; 2], String> {
    let mut parts: [&[u8]; 2] = [&[]; 2];
    for field in try_fields(message) {
        match field.map_err(text)? {
            (1, Value::Bytes(bytes)) => parts[0] = bytes,
            (2, Value::Bytes(bytes)) => parts[1] = bytes,
            _ => {}
        }
    }
    Ok(parts)
}

/// `PredictRequest` and `PredictResponse`. A response without outputs counts as missing.
fn predict(request: &[u8], response: &[u8]) -> Result<(Request, Option<Tensors>), String> {
    let mut budget = MAX_FILLED_BYTES;
    let (mut signature, mut output_filter) = (String::new(), Vec::new());
    let mut inputs = BTreeMap::new();
    for field in try_fields(request) {
        match field.map_err(text)? {
            (1, Value::Bytes(spec)) => signature = signature_name(spec)?,
            (2, Value::Bytes(entry)) => {
                let (name, tensor) = self::entry(entry, "input", &mut budget)?;
                inputs.insert(name, tensor);
            }
            (3, value @ Value::Bytes(_)) => output_filter.push(value.text().to_owned()),
            _ => {}
        }
    }
    output_filter.sort();
    output_filter.dedup();
    let mut outputs = BTreeMap::new();
    for field in try_fields(response) {
        if let (1, Value::Bytes(entry)) = field.map_err(text)? {
            let (name, tensor) = self::entry(entry, "output", &mut budget)?;
            outputs.insert(name, tensor);
        }
    }
    let inputs = inputs.into_iter().collect();
    let request = Request { kind: Kind::Predict, signature, inputs, output_filter, tasks: Vec::new() };
    let answer = (!outputs.is_empty()).then(|| outputs.into_iter().collect());
    Ok((request, answer))
}

/// `ModelSpec.signature_name`.
pub(super) fn signature_name(spec: &[u8]) -> Result<String, String> {
    let mut name = String::new();
    for field in try_fields(spec) {
        if let (3, value @ Value::Bytes(_)) = field.map_err(text)? {
            value.text().clone_into(&mut name);
        }
    }
    Ok(name)
}

/// An entry of a map from names to tensors.
fn entry(message: &[u8], what: &str, budget: &mut usize) -> Result<(String, Tensor), String> {
    let (mut name, mut content): (&str, &[u8]) = ("", &[]);
    for field in try_fields(message) {
        match field.map_err(text)? {
            (1, value @ Value::Bytes(_)) => name = value.text(),
            (2, Value::Bytes(bytes)) => content = bytes,
            _ => {}
        }
    }
    let refuse = |reason: String| format!("its {what} `{}`: {reason}", name.escape_debug());
    let tensor = serialized::decode(content, *budget).map_err(|error| refuse(error.to_string()))?;
    *budget = budget.saturating_sub(tensor.memory().saturating_sub(content.len()));
    Ok((name.to_owned(), tensor))
}

pub(super) fn text(error: WireError) -> String {
    error.to_string()
}
