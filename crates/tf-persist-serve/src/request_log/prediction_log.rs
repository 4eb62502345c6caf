//! Records as TensorFlow Serving's `PredictionLog`, in the wire format of protobuf.
//!
//! Messages are written with their lengths in front of them, so every length is computed before its message. Tensors
//! are copied once.

use std::time::UNIX_EPOCH;

use tf_persist_core::tensor::Strings;
use tf_persist_core::tensor::serialized::{Form, encode, encoded_len, put_head, put_varint, varint_len};
use tf_persist_core::{DType, Tensor};

use super::record::{Exchange, Record, Tensors};
use crate::api::{Class, Outcome, Task};

/// Appends the record as a `PredictionLog`. A failed request has none: `false`.
pub(super) fn write(record: &Record, out: &mut Vec<u8>) -> bool {
    let model = record.signature_id.model.as_str();
    let spec = |signature: &str| model_spec(model, None, signature);
    let answered = |signature: &str| model_spec(model, Some(record.signature_id.version), signature);
    let metadata = metadata(record, &answered(&record.signature));
    match &record.exchange {
        Exchange::Predict { inputs, output_filter, outcome: Ok(outputs) } => {
            let (request_spec, response_spec) = (spec(&record.signature), answered(&record.signature));
            let (inputs, outputs) = (Entries::new(inputs), Entries::new(outputs));
            let filter: usize = output_filter.iter().map(|name| field_len(name.len())).sum();
            let request = field_len(request_spec.len()) + inputs.len() + filter;
            let response = outputs.len() + field_len(response_spec.len());
            put_logs(out, 6, &metadata, request, response);
            put_head(1, request, out);
            put_bytes(1, &request_spec, out);
            inputs.write(2, out);
            output_filter.iter().for_each(|name| put_bytes(3, name.as_bytes(), out));
            put_head(2, response, out);
            outputs.write(1, out);
            put_bytes(2, &response_spec, out);
        }
        Exchange::Classify { examples, outcome: Ok(results) } => {
            let request = examples_request(&spec(&record.signature), examples.as_ref());
            let response = examples_response(&classifications(results), &answered(&record.signature));
            put_small_log(out, 2, &metadata, &request, &response);
        }
        Exchange::Regress { examples, outcome: Ok(values) } => {
            let request = examples_request(&spec(&record.signature), examples.as_ref());
            let response = examples_response(&regressions(values), &answered(&record.signature));
            put_small_log(out, 3, &metadata, &request, &response);
        }
        Exchange::MultiInference { examples, tasks, outcome: Ok(outcomes) } => {
            let request = multi_request(tasks, examples.as_ref(), spec);
            let mut response = Vec::new();
            for (task, outcome) in tasks.iter().zip(outcomes) {
                let mut result = Vec::new();
                put_bytes(1, &answered(signature_of(task)), &mut result);
                match outcome {
                    Outcome::Classes(results) => put_bytes(2, &classifications(results), &mut result),
                    Outcome::Values(values) => put_bytes(3, &regressions(values), &mut result),
                }
                put_bytes(1, &result, &mut response);
            }
            put_small_log(out, 4, &metadata, &request, &response);
        }
        _ => return false,
    }
    true
}

/// Writes `log_metadata`, and the heads of a log in this field whose request and response have these lengths.
fn put_logs(out: &mut Vec<u8>, field: u32, metadata: &[u8], request: usize, response: usize) {
    let log = field_len(request) + field_len(response);
    out.reserve(field_len(metadata.len()) + field_len(log));
    put_bytes(1, metadata, out);
    put_head(field, log, out);
}

fn put_small_log(out: &mut Vec<u8>, field: u32, metadata: &[u8], request: &[u8], response: &[u8]) {
    put_logs(out, field, metadata, request.len(), response.len());
    put_bytes(1, request, out);
    put_bytes(2, response, out);
}

/// `LogMetadata`: the model, the sampling rate, the tags and the time.
fn metadata(record: &Record, spec: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(1, spec, &mut out);
    let mut sampling = Vec::new();
    put_varint(1 << 3 | 1, &mut sampling);
    sampling.extend_from_slice(&record.log.rate.to_le_bytes());
    put_bytes(2, &sampling, &mut out);
    record.signature_id.tags.iter().for_each(|tag| put_bytes(3, tag.as_bytes(), &mut out));
    let seconds = record.call.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    put_varint(4 << 3, &mut out);
    put_varint(seconds, &mut out);
    out
}

/// `ModelSpec`.
fn model_spec(name: &str, version: Option<i64>, signature: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(1, name.as_bytes(), &mut out);
    if let Some(version) = version {
        // An `Int64Value`.
        let mut value = Vec::new();
        put_varint(1 << 3, &mut value);
        put_varint(version.cast_unsigned(), &mut value);
        put_bytes(2, &value, &mut out);
    }
    put_bytes(3, signature.as_bytes(), &mut out);
    out
}

/// `ClassificationRequest`, and `RegressionRequest`, which has the same fields.
fn examples_request(spec: &[u8], examples: Option<&Tensor>) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(1, spec, &mut out);
    put_bytes(2, &input(examples), &mut out);
    out
}

/// `ClassificationResponse`, and `RegressionResponse`, which has the same fields.
fn examples_response(result: &[u8], spec: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(1, result, &mut out);
    put_bytes(2, spec, &mut out);
    out
}

/// `MultiInferenceRequest`.
fn multi_request(tasks: &[Task], examples: Option<&Tensor>, spec: impl Fn(&str) -> Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    for task in tasks {
        let mut message = Vec::new();
        put_bytes(1, &spec(signature_of(task)), &mut message);
        put_bytes(2, task.method.as_bytes(), &mut message);
        put_bytes(1, &message, &mut out);
    }
    put_bytes(2, &input(examples), &mut out);
    out
}

fn signature_of(task: &Task) -> &str {
    if task.signature.is_empty() { "serving_default" } else { &task.signature }
}

/// `Input` with an `ExampleList`.
fn input(examples: Option<&Tensor>) -> Vec<u8> {
    let examples: Option<&Strings> = examples.and_then(|examples| examples.strings().ok());
    let mut list = Vec::new();
    examples.into_iter().flat_map(Strings::iter).for_each(|example| put_bytes(1, example, &mut list));
    let mut out = Vec::new();
    put_bytes(1, &list, &mut out);
    out
}

/// `ClassificationResult`.
fn classifications(results: &[Vec<Class>]) -> Vec<u8> {
    let mut out = Vec::new();
    for classes in results {
        let mut message = Vec::new();
        for class in classes {
            let mut fields = Vec::new();
            // A `string` must be UTF-8.
            put_bytes(1, String::from_utf8_lossy(&class.label).as_bytes(), &mut fields);
            put_varint(2 << 3 | 5, &mut fields);
            fields.extend_from_slice(&class.score.to_le_bytes());
            put_bytes(1, &fields, &mut message);
        }
        put_bytes(1, &message, &mut out);
    }
    out
}

/// `RegressionResult`.
fn regressions(values: &[f32]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        let mut message = Vec::new();
        put_varint(1 << 3 | 5, &mut message);
        message.extend_from_slice(&value.to_le_bytes());
        put_bytes(1, &message, &mut out);
    }
    out
}

/// A map from names to `TensorProto`s: each tensor with its length and that of its entry.
struct Entries<'t>(Vec<(&'t str, &'t Tensor, usize, usize)>);

impl<'t> Entries<'t> {
    fn new(tensors: &'t Tensors) -> Self {
        let entry = |(name, tensor): &'t (String, Tensor)| {
            let length = encoded_len(tensor, form(tensor));
            (name.as_str(), tensor, length, field_len(name.len()) + field_len(length))
        };
        Self(tensors.iter().map(entry).collect())
    }

    fn len(&self) -> usize {
        self.0.iter().map(|(.., entry)| field_len(*entry)).sum()
    }

    fn write(&self, field: u32, out: &mut Vec<u8>) {
        for &(name, tensor, length, entry) in &self.0 {
            put_head(field, entry, out);
            put_bytes(1, name.as_bytes(), out);
            put_head(2, length, out);
            encode(tensor, form(tensor), out);
        }
    }
}

/// Numbers as raw bytes; Python reads strings only as fields.
fn form(tensor: &Tensor) -> Form {
    if tensor.dtype() == DType::String { Form::Fields } else { Form::Content }
}

fn put_bytes(field: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_head(field, bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// The length of a length-delimited field whose tag has one byte.
fn field_len(length: usize) -> usize {
    1 + varint_len(length as u64) + length
}
