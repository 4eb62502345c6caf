//! Writing tensors as bytes.

use super::{Form, Kind, field, values_of};
use crate::dtype::DType;
use crate::tensor::Tensor;

/// The bytes that [`encode`] writes.
#[must_use]
pub fn encoded_len(tensor: &Tensor, form: Form) -> usize {
    let shape = shape_len(tensor);
    let head = 1 + varint_len(tensor.dtype().number() as u64) + 1 + varint_len(shape as u64) + shape;
    head + match (form, tensor.strings()) {
        (Form::Fields, Ok(strings)) => strings.iter().map(|string| delimited_len(string.len())).sum(),
        (Form::Fields, Err(_)) => packed_len(tensor),
        (Form::Content, _) => delimited_if_any(content_len(tensor)),
    }
}

/// Writes a tensor as a `TensorProto`. Its elements are copied once.
pub fn encode(tensor: &Tensor, form: Form, out: &mut Vec<u8>) {
    put_varint(u64::from(field::DTYPE << 3), out);
    // Sign-extended like all enums in protobuf; none is negative.
    put_varint(tensor.dtype().number() as u64, out);
    put_head(field::SHAPE, shape_len(tensor), out);
    for size in tensor.shape() {
        put_head(2, dimension_len(*size), out);
        if *size > 0 {
            put_varint(1 << 3, out);
            put_varint(*size as u64, out);
        }
    }
    match (form, tensor.bytes(), tensor.strings()) {
        (Form::Fields, _, Ok(strings)) => {
            for string in strings.iter() {
                put_head(field::STRING, string.len(), out);
                out.extend_from_slice(string);
            }
        }
        (Form::Fields, Ok(bytes), _) => put_packed(tensor.dtype(), bytes, out),
        (Form::Content, _, Ok(strings)) => {
            let length = content_len(tensor);
            if length > 0 {
                put_head(field::CONTENT, length, out);
                // `port::EncodeStringList`.
                strings.iter().for_each(|string| put_varint(string.len() as u64, out));
                out.extend_from_slice(strings.all_bytes());
            }
        }
        (Form::Content, Ok(bytes), _) if !bytes.is_empty() => {
            put_head(field::CONTENT, bytes.len(), out);
            out.extend_from_slice(bytes);
        }
        _ => {}
    }
}

fn content_len(tensor: &Tensor) -> usize {
    match (tensor.bytes(), tensor.strings()) {
        (Ok(bytes), _) => bytes.len(),
        (_, Ok(strings)) => {
            strings.iter().map(|string| varint_len(string.len() as u64)).sum::<usize>() + strings.total_bytes()
        }
        _ => 0,
    }
}

fn packed_len(tensor: &Tensor) -> usize {
    let Ok(bytes) = tensor.bytes() else { return 0 };
    match values_of(tensor.dtype()) {
        None => 0,
        Some((number, kind)) => {
            let length = match kind {
                Kind::Fixed => bytes.len(),
                Kind::Varint => varints_len(tensor.dtype(), bytes),
            };
            // The tags of fields from 16 on have two bytes.
            delimited_if_any(length) + usize::from(number > 15 && length > 0)
        }
    }
}

fn put_packed(dtype: DType, bytes: &[u8], out: &mut Vec<u8>) {
    let Some((number, kind)) = values_of(dtype) else { return };
    if bytes.is_empty() {
        return;
    }
    match kind {
        Kind::Fixed => {
            put_head(number, bytes.len(), out);
            out.extend_from_slice(bytes);
        }
        Kind::Varint => {
            put_head(number, varints_len(dtype, bytes), out);
            each_value(dtype, bytes, |value| put_varint(value, out));
        }
    }
}

fn varints_len(dtype: DType, bytes: &[u8]) -> usize {
    let mut length = 0;
    each_value(dtype, bytes, |value| length += varint_len(value));
    length
}

/// The elements of an integer type in protobuf's form: signed ones are extended to 64 bits.
fn each_value(dtype: DType, bytes: &[u8], mut take: impl FnMut(u64)) {
    fn each<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> u64, take: &mut impl FnMut(u64)) {
        bytes.as_chunks::<N>().0.iter().for_each(|element| take(value(*element)));
    }
    let take = &mut take;
    match dtype {
        DType::Bool => each(bytes, |[byte]| u64::from(byte != 0), take),
        DType::UInt8 | DType::QUInt8 => each(bytes, |[byte]| u64::from(byte), take),
        DType::Int8 | DType::QInt8 => each(bytes, |[byte]| i64::from(byte.cast_signed()).cast_unsigned(), take),
        DType::UInt16 | DType::QUInt16 | DType::Float16 | DType::BFloat16 => {
            each(bytes, |element| u64::from(u16::from_le_bytes(element)), take);
        }
        DType::Int16 | DType::QInt16 => {
            each(bytes, |element| i64::from(i16::from_le_bytes(element)).cast_unsigned(), take);
        }
        DType::Int32 | DType::QInt32 => {
            each(bytes, |element| i64::from(i32::from_le_bytes(element)).cast_unsigned(), take);
        }
        DType::UInt32 => each(bytes, |element| u64::from(u32::from_le_bytes(element)), take),
        DType::Int64 | DType::UInt64 => each(bytes, u64::from_le_bytes, take),
        _ => {}
    }
}

fn shape_len(tensor: &Tensor) -> usize {
    tensor.shape().iter().map(|size| delimited_len(dimension_len(*size))).sum()
}

fn dimension_len(size: usize) -> usize {
    if size == 0 { 0 } else { 1 + varint_len(size as u64) }
}

/// A field whose tag has one byte.
fn delimited_len(length: usize) -> usize {
    1 + varint_len(length as u64) + length
}

fn delimited_if_any(length: usize) -> usize {
    if length == 0 { 0 } else { delimited_len(length) }
}

/// Writes the tag and the length of a length-delimited field.
pub fn put_head(number: u32, length: usize, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 2, out);
    put_varint(length as u64, out);
}

/// Writes a number of 7 bits a byte.
pub fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The bytes of a number of 7 bits a byte.
#[must_use]
pub fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}
