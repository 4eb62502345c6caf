//! Records as JSON, one object a line.
//!
//! A predict request has the keys of a REST request, so that `run --requests` and `verify --record` of tf-persist take
//! the file as it is; they ignore the other keys.

use jiff::Timestamp;
use serde_json::{Value, json};
use tf_persist_core::Tensor;
use tf_persist_core::tensor::json::write_value;

use super::record::{Exchange, Record, Tensors};
use crate::api::{Class, Outcome, Protocol};

/// The message of a failed request with redacted inputs.
const LEFT_OUT: &str = "the message is left out because inputs are redacted";

/// Appends the record and a line break.
pub(super) fn write(record: &Record, out: &mut Vec<u8>) {
    let Record { signature_id, signature, exchange, redacted, call, .. } = record;
    out.push(b'{');
    let mut line = Line { out, is_first: true };
    line.put("time", &time(call.time).into());
    if let Some(id) = &call.id {
        line.put("id", &id.as_str().into());
    }
    line.put("model", &signature_id.model.as_str().into());
    line.put("version", &signature_id.version.into());
    let protocol = match call.protocol {
        Protocol::Rest => "REST",
        Protocol::Grpc => "gRPC",
    };
    line.put("protocol", &protocol.into());
    line.put("api", &api(exchange).into());
    line.put("signature_name", &signature.as_str().into());
    match exchange {
        Exchange::Predict { inputs, output_filter, outcome } => {
            line.put_tensors("inputs", inputs);
            if !output_filter.is_empty() {
                line.put("output_filter", &json!(output_filter));
            }
            if let Ok(outputs) = outcome {
                line.put_tensors("outputs", outputs);
            }
        }
        Exchange::Classify { examples, outcome } => {
            line.put_examples(examples.as_ref());
            if let Ok(results) = outcome {
                line.key("results");
                put_classes(results, line.out);
            }
        }
        Exchange::Regress { examples, outcome } => {
            line.put_examples(examples.as_ref());
            if let Ok(values) = outcome {
                line.key("results");
                put_values(values, line.out);
            }
        }
        Exchange::MultiInference { examples, tasks, outcome } => {
            line.put_examples(examples.as_ref());
            let tasks = tasks.iter().map(|task| json!({"signature_name": task.signature, "method_name": task.method}));
            line.put("tasks", &tasks.collect());
            if let Ok(outcomes) = outcome {
                line.key("results");
                put_list(outcomes, line.out, |outcome, out| match outcome {
                    Outcome::Classes(results) => put_classes(results, out),
                    Outcome::Values(values) => put_values(values, out),
                });
            }
        }
    }
    if !redacted.is_empty() {
        line.put("redacted", &json!(redacted));
    }
    line.put("latency_ms", &crate::milliseconds(call.latency).into());
    match exchange.error() {
        None => line.put("status", &"OK".into()),
        Some(error) => {
            line.put("status", &error.code.name().into());
            // TensorFlow quotes values in its messages: "Could not parse example input, value: …".
            let message = if redacted.is_empty() { error.message.as_str() } else { LEFT_OUT };
            line.put("error", &message.into());
        }
    }
    out.extend_from_slice(b"}\n");
}

/// An object whose members are being written.
struct Line<'o> {
    out: &'o mut Vec<u8>,
    is_first: bool,
}

impl Line<'_> {
    fn key(&mut self, key: &str) {
        if !self.is_first {
            self.out.push(b',');
        }
        self.is_first = false;
        put(&key.into(), self.out);
        self.out.push(b':');
    }

    fn put(&mut self, key: &str, value: &Value) {
        self.key(key);
        put(value, self.out);
    }

    fn put_tensors(&mut self, key: &str, tensors: &Tensors) {
        self.key(key);
        self.out.push(b'{');
        for (index, (name, tensor)) in tensors.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            put(&name.as_str().into(), self.out);
            self.out.push(b':');
            put_tensor(tensor, self.out);
        }
        self.out.push(b'}');
    }

    /// Serialized examples, as the tensor that the signature gets.
    fn put_examples(&mut self, examples: Option<&Tensor>) {
        self.key("inputs");
        let Some(examples) = examples else { return self.out.extend_from_slice(b"{}") };
        self.out.extend_from_slice(b"{\"inputs\":");
        put_tensor(examples, self.out);
        self.out.push(b'}');
    }
}

fn put(value: &Value, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, value);
}

/// A tensor without JSON values, such as a quantised one of a future TensorFlow, is `null`.
fn put_tensor(tensor: &Tensor, out: &mut Vec<u8>) {
    let length = out.len();
    if write_value("request log", out, tensor).is_err() {
        out.truncate(length);
        out.extend_from_slice(b"null");
    }
}

/// Classes as pairs of label and score, a list for each example.
fn put_classes(results: &[Vec<Class>], out: &mut Vec<u8>) {
    put_list(results, out, |classes, out| {
        put_list(classes, out, |class, out| {
            out.push(b'[');
            put(&String::from_utf8_lossy(&class.label).into(), out);
            out.push(b',');
            put_float(class.score, out);
            out.push(b']');
        });
    });
}

fn put_values(values: &[f32], out: &mut Vec<u8>) {
    put_list(values, out, |value, out| put_float(*value, out));
}

fn put_list<T>(elements: &[T], out: &mut Vec<u8>, mut put_element: impl FnMut(&T, &mut Vec<u8>)) {
    out.push(b'[');
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_element(element, out);
    }
    out.push(b']');
}

/// A float as in tensors, because `serde_json` writes `null` for those that are not finite.
fn put_float(value: f32, out: &mut Vec<u8>) {
    match value {
        _ if value.is_nan() => out.extend_from_slice(b"NaN"),
        f32::INFINITY => out.extend_from_slice(b"Infinity"),
        f32::NEG_INFINITY => out.extend_from_slice(b"-Infinity"),
        // Writing to memory does not fail.
        _ => drop(serde_json::to_writer(out, &value)),
    }
}

fn api(exchange: &Exchange) -> &'static str {
    match exchange {
        Exchange::Predict { .. } => "predict",
        Exchange::Classify { .. } => "classify",
        Exchange::Regress { .. } => "regress",
        Exchange::MultiInference { .. } => "multi_inference",
    }
}

/// A time as RFC 3339 has it, to the microsecond.
fn time(time: std::time::SystemTime) -> String {
    Timestamp::try_from(time).map(|time| format!("{time:.6}")).unwrap_or_default()
}
