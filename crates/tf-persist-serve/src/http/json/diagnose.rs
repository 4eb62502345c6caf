//! Why a value cannot become a tensor: the first error that TensorFlow Serving would report (`GetDenseTensorShape` and
//! `FillTensorProto` of `util/json_tensor.cc`), in its words. The text is known to be valid JSON.

use tf_persist_core::{DType, MAX_RANK};

use super::builders::boolean;
use super::cursor::{Cursor, Parsed};
use super::json_snippet::json_snippet;
use super::number::Number;
use super::string::decode_base64;
use crate::status::Status;

/// Checks a value by itself. Returns its number of elements and its shape.
pub(super) fn check_value(name: &str, dtype: DType, value: Cursor<'_>) -> Result<(usize, Vec<usize>), Status> {
    let shape = shape(value)?.ok_or_else(|| Status::invalid_argument(format!("tensor parsing error: {name}")))?;
    let count = fill(dtype, value, &shape)?;
    Ok((count, shape))
}

/// The sizes of the first list, of its first element if that is a list, and so on; `None` if there are more levels than
/// TensorFlow allows.
fn shape(mut cursor: Cursor<'_>) -> Parsed<Option<Vec<usize>>> {
    let mut shape = Vec::new();
    let mut entered = 0;
    while cursor.peek() == b'[' {
        if shape.len() == MAX_RANK {
            return Ok(None);
        }
        shape.push(0);
        if !cursor.enter() {
            break;
        }
        entered += 1;
    }
    if entered == shape.len() {
        cursor.skip_value()?;
    }
    for size in shape[..entered].iter_mut().rev() {
        *size = 1;
        while cursor.next_element()? {
            cursor.skip_value()?;
            *size += 1;
        }
    }
    Ok(Some(shape))
}

/// The number of elements, if the value has this shape. The wrong size of a list is reported rather than an error of an
/// element in it.
fn fill(dtype: DType, mut cursor: Cursor<'_>, shape: &[usize]) -> Result<usize, Status> {
    let rank = shape.len();
    let mut open: Vec<usize> = Vec::new();
    let mut refused = None;
    let mut elements = 0;
    loop {
        let level = open.len();
        if refused.is_some() {
            cursor.skip_value()?;
        } else if cursor.peek() == b'[' {
            if level >= rank {
                let reason = format!("Encountered list at unexpected level: {level} expected < {rank}");
                refused = Some(Status::invalid_argument(reason));
                cursor.skip_value()?;
            } else if cursor.enter() {
                open.push(0);
                continue;
            } else if shape[level] != 0 {
                refused = Some(wrong_size(0, level, shape));
            }
        } else {
            match element(dtype, cursor, level, rank) {
                Ok(()) => elements += 1,
                Err(status) => refused = Some(status),
            }
            cursor.skip_value()?;
        }
        loop {
            let Some(count) = open.last_mut() else { return refused.map_or(Ok(elements), Err) };
            *count += 1;
            if cursor.next_element()? {
                break;
            }
            let size = open.pop().unwrap_or_default();
            if size != shape[open.len()] {
                refused = Some(wrong_size(size, open.len(), shape));
            }
        }
    }
}

fn wrong_size(size: usize, level: usize, shape: &[usize]) -> Status {
    Status::invalid_argument(format!(
        "Encountered list at unexpected size: {size} at level: {level} expected size: {}",
        shape[level]
    ))
}

/// Whether the value here, which is not a list, can be an element.
fn element(dtype: DType, mut cursor: Cursor<'_>, level: usize, rank: usize) -> Result<(), Status> {
    let value = cursor;
    if level != rank {
        return Err(Status::invalid_argument(format!(
            "JSON Value: {} found at incorrect level: {} in the JSON DOM. Expected at level: {rank}",
            json_snippet(value),
            level + 1
        )));
    }
    let first = cursor.peek();
    if first == b'{' {
        if dtype != DType::String {
            return Err(wrong_type(value, dtype));
        }
        return base64(value).map(drop);
    }
    let number = if first == b'-' || first.is_ascii_digit() || first == b'N' || first == b'I' {
        Some(cursor.number()?)
    } else {
        None
    };
    let signed = number.and_then(Number::as_i64);
    let unsigned = number.and_then(Number::as_u64);
    let fits = match dtype {
        DType::Float32 | DType::Float64 => number.is_some(),
        DType::Int8 | DType::Int16 | DType::Int32 | DType::UInt8 => {
            signed.is_some_and(|value| i32::try_from(value).is_ok())
        }
        DType::Int64 => signed.is_some(),
        DType::UInt32 => unsigned.is_some_and(|value| u32::try_from(value).is_ok()),
        DType::UInt64 => unsigned.is_some(),
        DType::Bool => boolean(&mut cursor)?.is_some(),
        DType::String => first == b'"',
        _ => {
            let message = format!("Conversion of JSON Value: {} to type: {}", json_snippet(value), dtype_name(dtype));
            return Err(Status::new(tf_persist_core::Code::Unimplemented, message));
        }
    };
    if fits { Ok(()) } else { Err(wrong_type(value, dtype)) }
}

/// The bytes of an object that must hold base64.
pub(super) fn base64(value: Cursor<'_>) -> Result<Vec<u8>, Status> {
    let Some(mut text) = value.base64_object()? else {
        let message = format!("JSON Value: {} not formatted correctly for base64 data", json_snippet(value));
        return Err(Status::invalid_argument(message));
    };
    decode_base64(&text.string()?).ok_or_else(|| Status::invalid_argument("Unable to base64 decode"))
}

fn wrong_type(value: Cursor<'_>, dtype: DType) -> Status {
    Status::invalid_argument(format!(
        "JSON Value: {} Type: {} is not of expected type: {}",
        json_snippet(value),
        json_type(value),
        dtype_name(dtype)
    ))
}

/// The type of a value (`JsonTypeString`).
pub(super) fn json_type(value: Cursor<'_>) -> &'static str {
    match value.peek() {
        b'n' => "Null",
        b'f' => "False",
        b't' => "True",
        b'{' => "Object",
        b'[' => "Array",
        b'"' => "String",
        _ => "Number",
    }
}

/// TensorFlow's C++ name of a dtype (`DataTypeString`). Three of them differ from Python's.
pub(super) fn dtype_name(dtype: DType) -> &'static str {
    match dtype {
        DType::Float32 => "float",
        DType::Float64 => "double",
        DType::Float16 => "half",
        other => other.name(),
    }
}
