//! Infer requests, parsed field by field.
//!
//! Tensors stay bytes until the model is known. Then each is copied once, from the message into the memory that
//! TensorFlow adopts.

use bytes::Bytes;
use tf_persist_core::tensor::{Strings, TensorBuilder};
use tf_persist_core::{DType, Element, MAX_RANK, Tensor, element_count};
use tf_persist_proto::wire::{Reader, Value, WireError, try_fields};

use super::super::messages::request::{ModelSpec, check_count, malformed, utf8};
use crate::status::Status;
use crate::v2::{self, InferRequest, Output, Parameter, Parameters, datatype_name, shape_error};

/// The fields of `InferTensorContents`.
mod contents {
    pub(super) const BOOL: u32 = 1;
    pub(super) const INT: u32 = 2;
    pub(super) const INT64: u32 = 3;
    pub(super) const UINT: u32 = 4;
    pub(super) const UINT64: u32 = 5;
    pub(super) const FP32: u32 = 6;
    pub(super) const FP64: u32 = 7;
    pub(super) const BYTES: u32 = 8;
}

/// `ModelInferRequest`.
#[derive(Debug, Default)]
pub(in crate::grpc) struct ModelInferRequest {
    model: String,
    /// A number or a label; empty for the newest version.
    version: String,
    pub(super) id: String,
    pub(super) parameters: Parameters,
    outputs: Vec<Output>,
    inputs: Vec<Input>,
    /// The tensors of `inputs`, if they are not in these.
    raw: Vec<Bytes>,
}

/// `InferInputTensor`.
#[derive(Debug, Default)]
struct Input {
    name: String,
    datatype: String,
    shape: Vec<usize>,
    /// `InferTensorContents`.
    contents: Option<Bytes>,
}

impl ModelInferRequest {
    /// Parses a request with at most `limit` inputs and outputs.
    pub(in crate::grpc) fn parse(message: &Bytes, limit: usize) -> Result<Self, Status> {
        let mut request = Self::default();
        for field in try_fields(message) {
            match field.map_err(malformed)? {
                (1, Value::Bytes(name)) => request.model = utf8(name)?,
                (2, Value::Bytes(version)) => request.version = utf8(version)?,
                (3, Value::Bytes(id)) => request.id = utf8(id)?,
                (4, Value::Bytes(entry)) => {
                    let parameters = &mut request.parameters;
                    parameter(entry, |name, value| parameters.set(name, value))?;
                }
                (5, Value::Bytes(input)) => {
                    check_count("inputs", request.inputs.len() + 1, limit)?;
                    request.inputs.push(Input::parse(message, input)?);
                }
                (6, Value::Bytes(output)) => {
                    check_count("outputs", request.outputs.len() + 1, limit)?;
                    request.outputs.push(parse_output(output)?);
                }
                (7, Value::Bytes(raw)) => {
                    check_count("raw inputs", request.raw.len() + 1, limit)?;
                    request.raw.push(slice(message, raw));
                }
                _ => {}
            }
        }
        Ok(request)
    }

    /// The model and version that the request names, which are moved out of it.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if it names no model, or the version is too large.
    pub(in crate::grpc) fn take_spec(&mut self) -> Result<ModelSpec, Status> {
        let name = std::mem::take(&mut self.model);
        if name.is_empty() {
            return Err(Status::invalid_argument("the request names no model"));
        }
        Ok(ModelSpec { name, version: v2::version(&self.version)?, signature: String::new() })
    }

    /// Decodes the tensors. What remains of the request are its outputs.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if the data of an input is missing, or does not match its datatype and shape.
    pub(super) fn decode(self) -> Result<InferRequest, Status> {
        let Self { inputs, raw, outputs, .. } = self;
        if !raw.is_empty() && raw.len() != inputs.len() {
            let reason =
                format!("`raw_input_contents` has {} tensors, and there are {} inputs", raw.len(), inputs.len());
            return Err(Status::invalid_argument(reason));
        }
        let is_raw = !raw.is_empty();
        let mut raw = raw.into_iter();
        let mut tensors = Vec::with_capacity(inputs.len());
        for input in inputs {
            let Input { name, datatype, shape, contents } = input;
            let unknown = || Status::invalid_argument(format!("input `{name}`: the datatype {datatype} is unknown"));
            let dtype = v2::dtype(&datatype).ok_or_else(unknown)?;
            let tensor = match (raw.next(), contents) {
                (Some(_), Some(_)) => {
                    let reason = format!("input `{name}` has `contents` as well as `raw_input_contents`");
                    return Err(Status::invalid_argument(reason));
                }
                (Some(bytes), None) => v2::decode(&name, dtype, &shape, &bytes)?,
                (None, contents) if !is_raw => {
                    let contents = contents.unwrap_or_default();
                    Contents { name: &name, dtype, shape: &shape, message: &contents }.decode()?
                }
                (None, _) => return Err(Status::invalid_argument(format!("input `{name}` has no data"))),
            };
            tensors.push((name, tensor));
        }
        Ok(InferRequest { inputs: tensors, outputs })
    }
}

impl Input {
    fn parse(message: &Bytes, input: &[u8]) -> Result<Self, Status> {
        let mut found = Self::default();
        for field in try_fields(input) {
            match field.map_err(malformed)? {
                (1, Value::Bytes(name)) => found.name = utf8(name)?,
                (2, Value::Bytes(datatype)) => found.datatype = utf8(datatype)?,
                (3, Value::Varint(size)) => found.push_size(size)?,
                (3, Value::Bytes(packed)) => {
                    let mut reader = Reader::new(packed);
                    while reader.position() < packed.len() {
                        found.push_size(reader.varint().map_err(malformed)?)?;
                    }
                }
                (4, Value::Bytes(entry)) => parameter(entry, |name, _| v2::refuse_shared_memory(name))?,
                (5, Value::Bytes(contents)) => found.contents = Some(slice(message, contents)),
                _ => {}
            }
        }
        Ok(found)
    }

    fn push_size(&mut self, size: u64) -> Result<(), Status> {
        let refuse = |reason: String| Err(Status::invalid_argument(format!("input `{}`: {reason}", self.name)));
        let size = size.cast_signed();
        let Ok(size) = usize::try_from(size) else { return refuse(format!("{size} is not a size of a dimension")) };
        if self.shape.len() == MAX_RANK {
            return refuse(format!("the shape has more than {MAX_RANK} sizes"));
        }
        self.shape.push(size);
        Ok(())
    }
}

fn parse_output(message: &[u8]) -> Result<Output, Status> {
    let mut output = Output { name: String::new(), binary: None, classes: None };
    for field in try_fields(message) {
        match field.map_err(malformed)? {
            (1, Value::Bytes(name)) => output.name = utf8(name)?,
            (2, Value::Bytes(entry)) => parameter(entry, |name, value| {
                v2::refuse_shared_memory(name)?;
                if name == "classification" {
                    output.classes = v2::classes(value)?;
                }
                Ok(())
            })?,
            _ => {}
        }
    }
    Ok(output)
}

/// Reads an entry of a map of parameters, and passes it on.
fn parameter(entry: &[u8], note: impl FnOnce(&str, Parameter<'_>) -> Result<(), Status>) -> Result<(), Status> {
    let (mut name, mut value) = (String::new(), Parameter::Other);
    for field in try_fields(entry) {
        match field.map_err(malformed)? {
            (1, Value::Bytes(bytes)) => name = utf8(bytes)?,
            (2, Value::Bytes(choice)) => {
                for field in try_fields(choice) {
                    value = match field.map_err(malformed)? {
                        (1, Value::Varint(value)) => Parameter::Bool(value != 0),
                        (2, Value::Varint(value)) => Parameter::Integer(value.cast_signed().into()),
                        (3, Value::Bytes(text)) => {
                            let invalid = |_| Status::invalid_argument(format!("the parameter `{name}` is not UTF-8"));
                            Parameter::Text(std::str::from_utf8(text).map_err(invalid)?)
                        }
                        (5, Value::Varint(value)) => Parameter::Integer(value.into()),
                        _ => Parameter::Other,
                    };
                }
            }
            _ => {}
        }
    }
    note(&name, value)
}

/// A part of a message, which it keeps alive.
fn slice(message: &Bytes, part: &[u8]) -> Bytes {
    // An empty slice need not be part of the message.
    if part.is_empty() { Bytes::new() } else { message.slice_ref(part) }
}

/// The elements of an input in typed fields.
struct Contents<'c> {
    name: &'c str,
    dtype: DType,
    shape: &'c [usize],
    message: &'c [u8],
}

impl Contents<'_> {
    fn decode(&self) -> Result<Tensor, Status> {
        match self.dtype {
            DType::Float32 => self.numbers(contents::FP32, |value| Some(f32::from_bits(u32::try_from(value).ok()?))),
            DType::Float64 => self.numbers(contents::FP64, |value| Some(f64::from_bits(value))),
            DType::Int8 => self.numbers(contents::INT, |value| i8::try_from(value as i32).ok()),
            DType::Int16 => self.numbers(contents::INT, |value| i16::try_from(value as i32).ok()),
            DType::Int32 => self.numbers(contents::INT, |value| Some(value as i32)),
            DType::Int64 => self.numbers(contents::INT64, |value| Some(value.cast_signed())),
            DType::UInt8 => self.numbers(contents::UINT, |value| u8::try_from(value as u32).ok()),
            DType::UInt16 => self.numbers(contents::UINT, |value| u16::try_from(value as u32).ok()),
            DType::UInt32 => self.numbers(contents::UINT, |value| Some(value as u32)),
            DType::UInt64 => self.numbers(contents::UINT64, Some),
            DType::Bool => self.numbers(contents::BOOL, |value| Some(value != 0)),
            DType::String => self.strings(),
            other => Err(self.refuse(&format!("{} is sent in `raw_input_contents`", datatype_name(other)))),
        }
    }

    /// Reads numbers of a field, packed or not. `convert` makes an element of a number's bits; it returns `None` if the
    /// number does not fit.
    fn numbers<T: Element>(&self, number: u32, convert: impl Fn(u64) -> Option<T>) -> Result<Tensor, Status> {
        let count = element_count(self.shape).map_err(|error| shape_error(self.name, &error))?;
        // Each element takes a byte or more. The shape may lie.
        let mut elements = TensorBuilder::with_capacity(count.min(self.message.len()))?;
        let mut push = |bits: u64| -> Result<(), Status> {
            let refuse = || self.refuse(&format!("a number does not fit {}", datatype_name(self.dtype)));
            Ok(elements.push(convert(bits).ok_or_else(refuse)?)?)
        };
        for field in try_fields(self.message) {
            let (found, value) = field.map_err(malformed)?;
            if found != number {
                return Err(self.refuse(&format!("`contents` are not those of {}", datatype_name(self.dtype))));
            }
            match (number, value) {
                (contents::FP32, Value::Fixed32(bits)) => push(bits.into())?,
                (contents::FP64, Value::Fixed64(bits)) => push(bits)?,
                (contents::FP32, Value::Bytes(packed)) => {
                    let (numbers, rest) = packed.as_chunks::<4>();
                    check_whole(rest)?;
                    numbers.iter().try_for_each(|bits| push(u32::from_le_bytes(*bits).into()))?;
                }
                (contents::FP64, Value::Bytes(packed)) => {
                    let (numbers, rest) = packed.as_chunks::<8>();
                    check_whole(rest)?;
                    numbers.iter().try_for_each(|bits| push(u64::from_le_bytes(*bits)))?;
                }
                (contents::FP32 | contents::FP64, _) => return Err(malformed_contents()),
                (_, Value::Varint(bits)) => push(bits)?,
                (_, Value::Bytes(packed)) => {
                    let mut reader = Reader::new(packed);
                    while reader.position() < packed.len() {
                        push(reader.varint().map_err(malformed)?)?;
                    }
                }
                _ => return Err(malformed_contents()),
            }
        }
        self.check_count(elements.len(), count)?;
        Ok(elements.finish(self.dtype, self.shape)?)
    }

    fn strings(&self) -> Result<Tensor, Status> {
        let count = element_count(self.shape).map_err(|error| shape_error(self.name, &error))?;
        let mut strings = Strings::default();
        for field in try_fields(self.message) {
            match field.map_err(malformed)? {
                (contents::BYTES, Value::Bytes(string)) => strings.push(string),
                _ => return Err(self.refuse("`contents` are not those of BYTES")),
            }
        }
        self.check_count(strings.len(), count)?;
        Ok(Tensor::from_string_array(self.shape, strings)?)
    }

    fn check_count(&self, found: usize, wanted: usize) -> Result<(), Status> {
        if found == wanted {
            return Ok(());
        }
        let shape = self.shape;
        Err(self.refuse(&format!("`contents` has {found} elements, and the shape {shape:?} has {wanted}")))
    }

    fn refuse(&self, reason: &str) -> Status {
        Status::invalid_argument(format!("input `{}`: {reason}", self.name))
    }
}

fn check_whole(rest: &[u8]) -> Result<(), Status> {
    if rest.is_empty() { Ok(()) } else { Err(malformed_contents()) }
}

fn malformed_contents() -> Status {
    malformed(WireError { offset: 0, reason: "numbers of another size" })
}

#[cfg(test)]
mod tests;
