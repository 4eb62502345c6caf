//! Answers to infer requests.

use half::{bf16, f16};
use tf_persist_core::{Code, DType, Tensor};

use super::super::decimal::{write_f32, write_f64};
use super::super::write::{push_digits, push_string};
use crate::status::Status;
use crate::v2::{Output, encode, encoded_len};

/// An estimate of the bytes of an element with its comma, for the first allocation.
const BYTES_AN_ELEMENT: usize = 12;

/// An estimate of the bytes of an output without its data.
const BYTES_AN_OUTPUT: usize = 96;

/// What is answered.
#[derive(Debug)]
pub struct InferAnswer<'a> {
    pub(crate) model: &'a str,
    pub(crate) version: i64,
    pub(crate) id: Option<&'a str>,
    pub(crate) outputs: &'a [(String, Tensor)],
    /// The outputs that were requested; none if all were.
    pub(crate) requested: &'a [Output],
    /// Whether outputs are sent in binary unless they say otherwise.
    pub(crate) binary: bool,
}

impl<'a> InferAnswer<'a> {
    /// An answer with all outputs of a model's version, in binary or not.
    #[must_use]
    pub fn new(model: &'a str, version: i64, outputs: &'a [(String, Tensor)], binary: bool) -> Self {
        Self { model, version, id: None, outputs, requested: &[], binary }
    }
}

/// Whether an output is sent in binary.
pub(crate) fn is_binary(requested: &[Output], name: &str, otherwise: bool) -> bool {
    requested.iter().find(|output| output.name == name).and_then(|output| output.binary).unwrap_or(otherwise)
}

/// The body of an answer. If it has binary data after its JSON, the length of the JSON comes with it.
///
/// # Errors
/// `UNIMPLEMENTED` for a dtype that the protocol does not have; `INVALID_ARGUMENT` for strings that are not UTF-8 and
/// were not asked for in binary.
pub fn infer_response(answer: &InferAnswer<'_>) -> Result<(Vec<u8>, Option<usize>), Status> {
    let mut outputs = Vec::with_capacity(answer.outputs.len());
    let (mut capacity, mut binary_bytes) = (BYTES_AN_OUTPUT + answer.model.len(), None);
    for (name, tensor) in answer.outputs {
        let (bytes, datatype) = encoded_len(name, tensor)?;
        let is_binary = is_binary(answer.requested, name, answer.binary);
        if is_binary {
            *binary_bytes.get_or_insert(0_usize) += bytes;
        }
        let text = if is_binary { bytes } else { bytes.max(tensor.len().saturating_mul(BYTES_AN_ELEMENT)) };
        capacity = capacity.saturating_add(text).saturating_add(BYTES_AN_OUTPUT + name.len());
        outputs.push((name, tensor, datatype, is_binary.then_some(bytes)));
    }
    let mut out = Vec::with_capacity(capacity);
    out.extend_from_slice(b"{\"model_name\":");
    push_string(&mut out, answer.model.as_bytes());
    out.extend_from_slice(b",\"model_version\":\"");
    push_signed(&mut out, answer.version);
    out.push(b'"');
    if let Some(id) = answer.id {
        out.extend_from_slice(b",\"id\":");
        push_string(&mut out, id.as_bytes());
    }
    out.extend_from_slice(b",\"outputs\":[");
    for (index, (name, tensor, datatype, bytes)) in outputs.iter().enumerate() {
        out.extend_from_slice(if index > 0 { b",{\"name\":" } else { b"{\"name\":" });
        push_string(&mut out, name.as_bytes());
        out.extend_from_slice(b",\"datatype\":\"");
        out.extend_from_slice(datatype.as_bytes());
        out.extend_from_slice(b"\",\"shape\":[");
        each(&mut out, tensor.shape(), |out, size| push_digits(out, *size as u64));
        match bytes {
            Some(bytes) => {
                out.extend_from_slice(b"],\"parameters\":{\"binary_data_size\":");
                push_digits(&mut out, *bytes as u64);
                out.extend_from_slice(b"}}");
            }
            None => {
                out.extend_from_slice(b"],\"data\":[");
                push_elements(&mut out, name, tensor)?;
                out.extend_from_slice(b"]}");
            }
        }
    }
    out.extend_from_slice(b"]}");
    let json = out.len();
    outputs.iter().filter(|(.., bytes)| bytes.is_some()).for_each(|(_, tensor, ..)| encode(tensor, &mut out));
    Ok((out, binary_bytes.map(|_| json)))
}

/// Appends values with commas between them.
fn each<T>(out: &mut Vec<u8>, values: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, value);
    }
}

/// Appends the elements as a flat list, without its brackets.
fn push_elements(out: &mut Vec<u8>, name: &str, tensor: &Tensor) -> Result<(), Status> {
    match tensor.dtype() {
        DType::Float32 => each(out, tensor.view::<f32>()?, |out, value| write_f32(*value, out)),
        DType::Float64 => each(out, tensor.view::<f64>()?, |out, value| write_f64(*value, out)),
        DType::Float16 => each(out, tensor.view::<f16>()?, |out, value| write_f32(value.to_f32(), out)),
        DType::BFloat16 => each(out, tensor.view::<bf16>()?, |out, value| write_f32(value.to_f32(), out)),
        DType::Int8 => each(out, tensor.view::<i8>()?, |out, value| push_signed(out, i64::from(*value))),
        DType::Int16 => each(out, tensor.view::<i16>()?, |out, value| push_signed(out, i64::from(*value))),
        DType::Int32 => each(out, tensor.view::<i32>()?, |out, value| push_signed(out, i64::from(*value))),
        DType::Int64 => each(out, tensor.view::<i64>()?, |out, value| push_signed(out, *value)),
        DType::UInt8 => each(out, tensor.view::<u8>()?, |out, value| push_digits(out, u64::from(*value))),
        DType::UInt16 => each(out, tensor.view::<u16>()?, |out, value| push_digits(out, u64::from(*value))),
        DType::UInt32 => each(out, tensor.view::<u32>()?, |out, value| push_digits(out, u64::from(*value))),
        DType::UInt64 => each(out, tensor.view::<u64>()?, |out, value| push_digits(out, *value)),
        DType::Bool => each(out, tensor.view::<bool>()?, |out, value| {
            out.extend_from_slice(if *value { b"true" } else { b"false" });
        }),
        _ => {
            let strings = tensor.strings()?;
            if let Some(index) = strings.iter().position(|string| std::str::from_utf8(string).is_err()) {
                let reason = format!("output `{name}`: string {index} is not UTF-8; request the output in binary");
                return Err(Status::new(Code::InvalidArgument, reason));
            }
            for (index, string) in strings.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push_string(out, string);
            }
        }
    }
    Ok(())
}

fn push_signed(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_digits(out, value.unsigned_abs());
}
