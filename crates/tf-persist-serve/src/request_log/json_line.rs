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
                line.put("results", &classes(results));
            }
        }
        Exchange::Regress { examples, outcome } => {
            line.put_examples(examples.as_ref());
            if let Ok(values) = outcome {
                line.put("results", &json!(values));
            }
        }
        Exchange::MultiInference { examples, tasks, outcome } => {
            line.put_examples(examples.as_ref());
            let tasks = tasks.iter().map(|task| json!({"signature_name": task.signature, "method_name": task.method}));
            line.put("tasks", &tasks.collect());
            if let Ok(outcomes) = outcome {
                let results = outcomes.iter().map(|outcome| match outcome {
                    Outcome::Classes(results) => classes(results),
                    Outcome::Values(values) => json!(values),
                });
                line.put("results", &results.collect());
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
            line.put("error", &error.message.as_str().into());
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

fn classes(results: &[Vec<Class>]) -> Value {
    let class = |class: &Class| json!([String::from_utf8_lossy(&class.label), class.score]);
    results.iter().map(|classes| classes.iter().map(class).collect::<Value>()).collect()
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
