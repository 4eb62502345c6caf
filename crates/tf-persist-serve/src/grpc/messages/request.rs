//! Requests, parsed field by field.
//!
//! Fully decoded, a small hostile message could take a thousand times its size in memory. So only the needed fields are
//! read, and repeated fields have limits. Tensors stay bytes until the model is known.

use std::collections::BTreeMap;

use bytes::Bytes;
use tf_persist_core::Code;
use tf_persist_core::tensor::Strings;
use tf_persist_proto::wire::{Value, WireError, try_fields};

use crate::inference::{Task, with_context};
use crate::models::Version;
use crate::status::Status;

/// The model, version and signature that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::grpc) struct ModelSpec {
    pub(in crate::grpc) name: String,
    pub(in crate::grpc) version: Version,
    /// As in the request: empty for the default signature.
    pub(in crate::grpc) signature: String,
}

/// `PredictRequest`.
#[derive(Debug)]
pub(in crate::grpc) struct PredictRequest {
    pub(in crate::grpc) spec: Option<ModelSpec>,
    /// Serialized `TensorProto`s by name.
    pub(in crate::grpc) inputs: BTreeMap<String, Bytes>,
    pub(in crate::grpc) output_filter: Vec<String>,
}

/// `ClassificationRequest`, and `RegressionRequest`, which has the same fields.
#[derive(Debug)]
pub(in crate::grpc) struct ExamplesRequest {
    pub(in crate::grpc) spec: Option<ModelSpec>,
    pub(in crate::grpc) input: Input,
}

/// `MultiInferenceRequest`.
#[derive(Debug)]
pub(in crate::grpc) struct MultiInferenceRequest {
    pub(in crate::grpc) tasks: Vec<Task>,
    /// That of the first task, whose version applies to all.
    pub(in crate::grpc) spec: Option<ModelSpec>,
    pub(in crate::grpc) input: Input,
}

/// `GetModelMetadataRequest`.
#[derive(Debug)]
pub(in crate::grpc) struct MetadataRequest {
    pub(in crate::grpc) spec: Option<ModelSpec>,
    pub(in crate::grpc) fields: Vec<String>,
}

/// `Input`: serialized `tf.Example`s, with or without a context.
#[derive(Debug, Default)]
pub(in crate::grpc) struct Input {
    kind: Option<InputKind>,
    examples: Strings,
    context: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InputKind {
    Plain,
    WithContext,
}

impl PredictRequest {
    /// Parses a request with at most `limit` tensors.
    pub(in crate::grpc) fn parse(message: &Bytes, limit: usize) -> Result<Self, Status> {
        let mut request = Self { spec: None, inputs: BTreeMap::new(), output_filter: Vec::new() };
        let mut entries = 0;
        for field in try_fields(message) {
            match field.map_err(malformed)? {
                (1, Value::Bytes(spec)) => ModelSpec::merge(&mut request.spec, spec)?,
                (2, Value::Bytes(entry)) => {
                    entries += 1;
                    check_count("tensors", entries, limit)?;
                    let (mut name, mut tensor): (&[u8], &[u8]) = (&[], &[]);
                    for field in try_fields(entry) {
                        match field.map_err(malformed)? {
                            (1, Value::Bytes(bytes)) => name = bytes,
                            (2, Value::Bytes(bytes)) => tensor = bytes,
                            _ => {}
                        }
                    }
                    // An empty slice need not be part of the message.
                    let tensor = if tensor.is_empty() { Bytes::new() } else { message.slice_ref(tensor) };
                    request.inputs.insert(utf8(name)?, tensor);
                }
                (3, Value::Bytes(name)) => {
                    check_count("names in `output_filter`", request.output_filter.len() + 1, limit)?;
                    request.output_filter.push(utf8(name)?);
                }
                _ => {}
            }
        }
        Ok(request)
    }
}

impl ExamplesRequest {
    pub(in crate::grpc) fn parse(message: &[u8]) -> Result<Self, Status> {
        let mut request = Self { spec: None, input: Input::default() };
        for field in try_fields(message) {
            match field.map_err(malformed)? {
                (1, Value::Bytes(spec)) => ModelSpec::merge(&mut request.spec, spec)?,
                (2, Value::Bytes(input)) => request.input.merge(input)?,
                _ => {}
            }
        }
        Ok(request)
    }
}

impl MultiInferenceRequest {
    /// Parses a request with at most `limit` tasks.
    pub(in crate::grpc) fn parse(message: &[u8], limit: usize) -> Result<Self, Status> {
        let mut request = Self { tasks: Vec::new(), spec: None, input: Input::default() };
        for field in try_fields(message) {
            match field.map_err(malformed)? {
                (1, Value::Bytes(task)) => {
                    check_count("tasks", request.tasks.len() + 1, limit)?;
                    let (mut spec, mut method) = (None, String::new());
                    for field in try_fields(task) {
                        match field.map_err(malformed)? {
                            (1, Value::Bytes(bytes)) => ModelSpec::merge(&mut spec, bytes)?,
                            (2, Value::Bytes(name)) => method = utf8(name)?,
                            _ => {}
                        }
                    }
                    let (model, signature) =
                        spec.as_ref().map(|spec| (spec.name.clone(), spec.signature.clone())).unwrap_or_default();
                    if request.tasks.is_empty() {
                        request.spec = spec;
                    }
                    request.tasks.push(Task { model, signature, method });
                }
                (2, Value::Bytes(input)) => request.input.merge(input)?,
                _ => {}
            }
        }
        Ok(request)
    }
}

impl MetadataRequest {
    /// Parses a request. `GetModelStatusRequest` has the first of its fields.
    pub(in crate::grpc) fn parse(message: &[u8]) -> Result<Self, Status> {
        let mut request = Self { spec: None, fields: Vec::new() };
        for field in try_fields(message) {
            match field.map_err(malformed)? {
                (1, Value::Bytes(spec)) => ModelSpec::merge(&mut request.spec, spec)?,
                (2, Value::Bytes(name)) => request.fields.push(utf8(name)?),
                _ => {}
            }
        }
        Ok(request)
    }
}

impl ModelSpec {
    /// Merges a message into earlier ones: protobuf merges a message field that occurs twice.
    fn merge(into: &mut Option<Self>, message: &[u8]) -> Result<(), Status> {
        let spec = into.get_or_insert_with(|| Self {
            name: String::new(),
            version: Version::Latest,
            signature: String::new(),
        });
        for field in try_fields(message) {
            match field.map_err(malformed)? {
                (1, Value::Bytes(name)) => spec.name = utf8(name)?,
                // An `Int64Value`. Of version and label, the last one counts.
                (2, Value::Bytes(value)) => {
                    let mut version = 0;
                    for field in try_fields(value) {
                        if let (1, Value::Varint(number)) = field.map_err(malformed)? {
                            version = number.cast_signed();
                        }
                    }
                    spec.version = Version::Number(version);
                }
                (3, Value::Bytes(name)) => spec.signature = utf8(name)?,
                (4, Value::Bytes(label)) => spec.version = Version::Label(utf8(label)?),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Input {
    fn merge(&mut self, message: &[u8]) -> Result<(), Status> {
        for field in try_fields(message) {
            let (kind, list) = match field.map_err(malformed)? {
                (1, Value::Bytes(list)) => (InputKind::Plain, list),
                (2, Value::Bytes(list)) => (InputKind::WithContext, list),
                _ => continue,
            };
            if self.kind != Some(kind) {
                *self = Self { kind: Some(kind), ..Self::default() };
            }
            for field in try_fields(list) {
                match field.map_err(malformed)? {
                    (1, Value::Bytes(example)) => self.examples.push(example),
                    (2, Value::Bytes(context)) if kind == InputKind::WithContext => {
                        self.context.extend_from_slice(context);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// How many bytes the examples take with the context in each.
    pub(in crate::grpc) fn bytes(&self) -> usize {
        self.context.len().saturating_mul(self.examples.len()).saturating_add(self.examples.total_bytes())
    }

    /// The examples, each with the context.
    pub(in crate::grpc) fn examples(self) -> Result<Strings, Status> {
        if self.context.is_empty() { Ok(self.examples) } else { with_context(&self.context, &self.examples) }
    }
}

pub(in crate::grpc) fn check_count(what: &str, count: usize, limit: usize) -> Result<(), Status> {
    if count <= limit {
        return Ok(());
    }
    Err(Status::invalid_argument(format!("the request has more than {limit} {what}")))
}

/// A string, which protobuf requires to be UTF-8.
pub(in crate::grpc) fn utf8(bytes: &[u8]) -> Result<String, Status> {
    let text = std::str::from_utf8(bytes);
    text.map(str::to_owned)
        .map_err(|error| Status::new(Code::Internal, format!("the request has a name that is not UTF-8: {error}")))
}

/// The error of gRPC servers for a message that they cannot parse.
pub(in crate::grpc) fn malformed(error: WireError) -> Status {
    Status::new(Code::Internal, format!("the request cannot be parsed: {error}"))
}

#[cfg(test)]
mod tests;
