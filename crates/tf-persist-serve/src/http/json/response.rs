//! Responses (`MakeJsonFromTensors` and others of `util/json_tensor.cc`).

use tf_persist_core::tensor::Strings;
use tf_persist_core::{DType, Tensor};

use super::Format;
use super::decimal::{write_f32, write_f64};
use super::diagnose::dtype_name;
use super::write::{Lists, Writer};
use crate::batching::InferenceResponse;
use crate::inference::Class;
use crate::status::Status;

/// String outputs whose names have this suffix are written as base64.
const BYTES_SUFFIX: &str = "_bytes";

/// An estimate of the bytes of an element with its comma, for the first allocation.
const BYTES_AN_ELEMENT: usize = 14;

/// The elements of a tensor.
enum Elements<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
    I8(&'a [i8]),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    U8(&'a [u8]),
    U32(&'a [u32]),
    U64(&'a [u64]),
    Bool(&'a [bool]),
    Strings(&'a Strings),
    Base64(&'a Strings),
    /// A dtype without JSON values, which is an error only if there is an element.
    Unsupported(DType),
}

impl<'a> Elements<'a> {
    fn new(name: &str, tensor: &'a Tensor) -> Result<Self, Status> {
        Ok(match tensor.dtype() {
            DType::Float32 => Self::F32(tensor.view()?),
            DType::Float64 => Self::F64(tensor.view()?),
            DType::Int8 => Self::I8(tensor.view()?),
            DType::Int16 => Self::I16(tensor.view()?),
            DType::Int32 => Self::I32(tensor.view()?),
            DType::Int64 => Self::I64(tensor.view()?),
            DType::UInt8 => Self::U8(tensor.view()?),
            DType::UInt32 => Self::U32(tensor.view()?),
            DType::UInt64 => Self::U64(tensor.view()?),
            DType::Bool => Self::Bool(tensor.view()?),
            DType::String if name.ends_with(BYTES_SUFFIX) => Self::Base64(tensor.strings()?),
            DType::String => Self::Strings(tensor.strings()?),
            other => Self::Unsupported(other),
        })
    }

    /// Writes the elements `from..to`.
    fn write(&self, from: usize, to: usize, writer: &mut Writer) -> Result<(), Status> {
        fn each<T: Copy>(values: &[T], mut write: impl FnMut(T)) {
            for value in values {
                write(*value);
            }
        }
        match self {
            Self::F32(all) => each(&all[from..to], |value| write_f32(value, writer.value())),
            Self::F64(all) => each(&all[from..to], |value| write_f64(value, writer.value())),
            Self::I8(all) => each(&all[from..to], |value| writer.signed(value.into())),
            Self::I16(all) => each(&all[from..to], |value| writer.signed(value.into())),
            Self::I32(all) => each(&all[from..to], |value| writer.signed(value.into())),
            Self::I64(all) => each(&all[from..to], |value| writer.signed(value)),
            Self::U8(all) => each(&all[from..to], |value| writer.unsigned(value.into())),
            Self::U32(all) => each(&all[from..to], |value| writer.unsigned(value.into())),
            Self::U64(all) => each(&all[from..to], |value| writer.unsigned(value)),
            Self::Bool(all) => each(&all[from..to], |value| writer.boolean(value)),
            Self::Strings(all) => (from..to).for_each(|index| writer.string(all.get(index).unwrap_or_default())),
            Self::Base64(all) => {
                for index in from..to {
                    writer.begin_object();
                    writer.string(b"b64");
                    writer.base64(all.get(index).unwrap_or_default());
                    writer.end_object();
                }
            }
            Self::Unsupported(_) if from == to => {}
            Self::Unsupported(dtype) => {
                let reason = format!("Failed to write JSON value for tensor type: {}", dtype_name(*dtype));
                return Err(Status::invalid_argument(reason));
            }
        }
        Ok(())
    }

    /// Writes nested lists of this shape, beginning with the element `from`. Returns the index after the last one.
    fn nested(&self, shape: &[usize], from: usize, writer: &mut Writer) -> Result<usize, Status> {
        let Some((size, inner)) = shape.split_first() else {
            self.write(from, from + 1, writer)?;
            return Ok(from + 1);
        };
        writer.begin_list();
        let mut at = from;
        if inner.is_empty() {
            at += size;
            self.write(from, at, writer)?;
        } else {
            for _ in 0..*size {
                at = self.nested(inner, at, writer)?;
            }
        }
        writer.end_list();
        Ok(at)
    }
}

/// The response to a predict request.
///
/// # Errors
/// `INVALID_ARGUMENT` if there are no outputs, a dtype has no JSON values, or, in row format, an output has no batch
/// dimension or a batch size that differs from the outputs before.
pub fn predict_response(format: Format, answer: &InferenceResponse) -> Result<Vec<u8>, Status> {
    if answer.is_empty() {
        return Err(Status::invalid_argument("Cannot convert empty tensor map to JSON"));
    }
    let elements: usize = answer.iter().map(|(_, tensor)| tensor.len()).sum();
    let mut writer = Writer::with_capacity(elements.saturating_mul(BYTES_AN_ELEMENT).saturating_add(64));
    writer.begin_object();
    match format {
        Format::Row => write_rows(answer, &mut writer)?,
        Format::Column => write_columns(answer, &mut writer)?,
    }
    writer.end_object();
    Ok(writer.into_bytes())
}

fn write_rows(answer: &InferenceResponse, writer: &mut Writer) -> Result<(), Status> {
    let mut batch = None;
    let mut columns = Vec::with_capacity(answer.len());
    for (name, tensor) in answer {
        let Some((size, shape)) = tensor.shape().split_first() else {
            return Err(Status::invalid_argument(format!("Tensor name: {name} has no shape information ")));
        };
        let expected = *batch.get_or_insert(*size);
        if expected != *size {
            let reason = format!("Tensor name: {name} has inconsistent batch size: {size} expecting: {expected}");
            return Err(Status::invalid_argument(reason));
        }
        columns.push((name, Elements::new(name, tensor)?, shape, 0));
    }
    writer.string(b"predictions");
    writer.begin_list();
    let named = columns.len() > 1;
    for _ in 0..batch.unwrap_or(0) {
        if named {
            writer.begin_object();
        }
        writer.lists = Lists::OneLine;
        for (name, elements, shape, at) in &mut columns {
            if named {
                writer.string(name.as_bytes());
            }
            *at = elements.nested(shape, *at, writer)?;
        }
        writer.lists = Lists::Lines;
        if named {
            writer.end_object();
        }
    }
    writer.end_list();
    Ok(())
}

fn write_columns(answer: &InferenceResponse, writer: &mut Writer) -> Result<(), Status> {
    writer.string(b"outputs");
    let named = answer.len() > 1;
    if named {
        writer.begin_object();
    }
    for (name, tensor) in answer {
        if named {
            writer.string(name.as_bytes());
        }
        Elements::new(name, tensor)?.nested(tensor.shape(), 0, writer)?;
    }
    if named {
        writer.end_object();
    }
    Ok(())
}

/// The response to a classify request: the classes of each example. Labels are written as their bytes, UTF-8 or not.
#[must_use]
pub fn classify_response(results: &[Vec<Class>]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(64 * results.len());
    writer.begin_object();
    writer.string(b"results");
    writer.begin_list();
    for classes in results {
        writer.lists = Lists::OneLine;
        writer.begin_list();
        for class in classes {
            writer.begin_list();
            writer.string(&class.label);
            write_f32(class.score, writer.value());
            writer.end_list();
        }
        writer.end_list();
        writer.lists = Lists::Lines;
    }
    writer.end_list();
    writer.end_object();
    writer.into_bytes()
}

/// The response to a regress request: one value per example.
#[must_use]
pub fn regress_response(results: &[f32]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(BYTES_AN_ELEMENT * results.len() + 64);
    writer.begin_object();
    writer.string(b"results");
    writer.lists = Lists::OneLine;
    writer.begin_list();
    for value in results {
        write_f32(*value, writer.value());
    }
    writer.end_list();
    writer.end_object();
    writer.into_bytes()
}

/// The body of an error response.
#[must_use]
pub fn error_body(message: &str) -> Vec<u8> {
    let mut writer = Writer::with_capacity(message.len() + 32);
    writer.begin_object();
    writer.string(b"error");
    writer.string(message.as_bytes());
    writer.end_object();
    writer.into_bytes()
}
