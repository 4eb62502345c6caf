//! `TensorProto`s as bytes, read into tensors and written out of them without the message between.
//!
//! What a server does with every request: numbers are copied once, from the message into aligned memory, and once out of it. Small
//! hostile messages cannot take much memory: nothing is kept of what is not known. For the rules see [`proto`](super::proto).

use super::proto::{check_room, string_list};
use super::{Strings, Tensor, byte_len};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::shape::{MAX_RANK, element_count};
use crate::wire::{Reader, Value, WireError, try_fields};

/// Numbers of `TensorProto`'s fields (`tensorflow/core/framework/tensor.proto`).
mod field {
    pub(super) const DTYPE: u32 = 1;
    pub(super) const SHAPE: u32 = 2;
    pub(super) const CONTENT: u32 = 4;
    pub(super) const FLOAT: u32 = 5;
    pub(super) const DOUBLE: u32 = 6;
    pub(super) const INT: u32 = 7;
    pub(super) const STRING: u32 = 8;
    pub(super) const COMPLEX64: u32 = 9;
    pub(super) const INT64: u32 = 10;
    pub(super) const BOOL: u32 = 11;
    pub(super) const COMPLEX128: u32 = 12;
    pub(super) const HALF: u32 = 13;
    pub(super) const UINT32: u32 = 16;
    pub(super) const UINT64: u32 = 17;
}

/// How elements stand in a `TensorProto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Each in the field of its type: `float_val`, `string_val`, … (`Tensor::AsProtoField`).
    Fields,
    /// As raw bytes in `tensor_content` (`Tensor::AsProtoTensorContent`).
    Content,
}

/// The tensor that a serialized `TensorProto` holds: what [`from_proto`](super::proto::from_proto) makes of the message.
///
/// # Errors
/// If the bytes are no message, or as `from_proto`.
pub fn decode(message: &[u8], max_filled_bytes: usize) -> Result<Tensor> {
    let mut dtype = DType::Invalid;
    let mut shape = Vec::new();
    let mut content: &[u8] = &[];
    for next in try_fields(message) {
        match next.map_err(malformed)? {
            // Protobuf cuts what does not fit an enum.
            (field::DTYPE, Value::Varint(number)) => dtype = DType::from_number(number as i32),
            (field::SHAPE, Value::Bytes(bytes)) => read_shape(bytes, &mut shape)?,
            (field::CONTENT, Value::Bytes(bytes)) => content = bytes,
            _ => {}
        }
    }
    let unsupported = Error::UnsupportedDType { name: None, dtype };
    if dtype == DType::String {
        return strings(message, &shape, content, max_filled_bytes);
    }
    let (Some((number, kind)), Some(size)) = (values_of(dtype), dtype.size()) else { return Err(unsupported) };
    if !content.is_empty() {
        return Tensor::from_bytes(dtype, &shape, content);
    }
    let from = Values { message, number };
    let into = Target { dtype, shape: &shape, size, max_filled_bytes };
    match kind {
        Kind::Fixed => into.fixed(from),
        Kind::Varint => match (dtype, size) {
            (DType::Bool, _) => into.varints::<1>(from, |value| [u8::from(value != 0)]),
            // Protobuf cuts what does not fit, and so does TensorFlow.
            (_, 1) => into.varints(from, |value| (value as u8).to_le_bytes()),
            (_, 2) => into.varints(from, |value| (value as u16).to_le_bytes()),
            (_, 4) => into.varints(from, |value| (value as u32).to_le_bytes()),
            _ => into.varints(from, u64::to_le_bytes),
        },
    }
}

/// Adds the sizes of a `TensorShapeProto`.
fn read_shape(message: &[u8], shape: &mut Vec<usize>) -> Result<()> {
    for next in try_fields(message) {
        match next.map_err(malformed)? {
            (2, Value::Bytes(dimension)) => {
                let mut size = 0;
                for next in try_fields(dimension) {
                    if let (1, Value::Varint(value)) = next.map_err(malformed)? {
                        size = value.cast_signed();
                    }
                }
                let size = usize::try_from(size).map_err(|_| invalid("its shape is not known".into()))?;
                if shape.len() == MAX_RANK {
                    return Err(invalid(format!("its rank is above TensorFlow's limit of {MAX_RANK}")));
                }
                shape.push(size);
            }
            (3, Value::Varint(unknown)) if unknown != 0 => return Err(invalid("its rank is not known".into())),
            _ => {}
        }
    }
    Ok(())
}

/// How the values of a field are written.
#[derive(Clone, Copy)]
enum Kind {
    /// As the bytes that they have in a tensor.
    Fixed,
    /// As numbers of 7 bits a byte.
    Varint,
}

/// The field that has the values of a numeric dtype.
fn values_of(dtype: DType) -> Option<(u32, Kind)> {
    Some(match dtype {
        DType::Float32 => (field::FLOAT, Kind::Fixed),
        DType::Float64 => (field::DOUBLE, Kind::Fixed),
        DType::Complex64 => (field::COMPLEX64, Kind::Fixed),
        DType::Complex128 => (field::COMPLEX128, Kind::Fixed),
        DType::Float16 | DType::BFloat16 => (field::HALF, Kind::Varint),
        DType::Int8 | DType::QInt8 | DType::Int16 | DType::QInt16 | DType::Int32 | DType::QInt32 => {
            (field::INT, Kind::Varint)
        }
        DType::UInt8 | DType::QUInt8 | DType::UInt16 | DType::QUInt16 => (field::INT, Kind::Varint),
        DType::Int64 => (field::INT64, Kind::Varint),
        DType::Bool => (field::BOOL, Kind::Varint),
        DType::UInt32 => (field::UINT32, Kind::Varint),
        DType::UInt64 => (field::UINT64, Kind::Varint),
        DType::String | DType::Invalid | DType::Resource | DType::Variant | DType::Other(_) => return None,
    })
}

/// The values of a field of a message that was walked over before: it has no errors but inside of packed values.
#[derive(Clone, Copy)]
struct Values<'a> {
    message: &'a [u8],
    number: u32,
}

impl<'a> Values<'a> {
    fn fields(self) -> impl Iterator<Item = Value<'a>> {
        let own = move |next: Result<(u32, Value<'a>), WireError>| match next {
            Ok((number, value)) if number == self.number => Some(value),
            _ => None,
        };
        try_fields(self.message).filter_map(own)
    }

    /// Every number of a field of varints, packed or not.
    fn each_varint(self, mut take: impl FnMut(u64)) -> Result<()> {
        for value in self.fields() {
            match value {
                Value::Varint(number) => take(number),
                Value::Bytes(packed) => {
                    let mut reader = Reader::new(packed);
                    while reader.position() < packed.len() {
                        take(reader.varint().map_err(malformed)?);
                    }
                }
                Value::Fixed32(_) | Value::Fixed64(_) => {}
            }
        }
        Ok(())
    }
}

/// The tensor to be made.
struct Target<'a> {
    dtype: DType,
    shape: &'a [usize],
    /// Bytes an element.
    size: usize,
    max_filled_bytes: usize,
}

impl Target<'_> {
    fn fixed(&self, values: Values<'_>) -> Result<Tensor> {
        let wanted = byte_len(self.dtype, self.shape)?;
        // Of a complex number, each half is one of them.
        let unit = if matches!(self.dtype, DType::Complex64 | DType::Complex128) { self.size / 2 } else { self.size };
        let (mut given, mut pieces, mut whole) = (0, 0_usize, None);
        for value in values.fields() {
            given += match value {
                Value::Bytes(packed) if packed.len().is_multiple_of(unit) => {
                    whole = Some(packed);
                    packed.len()
                }
                Value::Bytes(_) => return Err(invalid("its packed values end inside a number".into())),
                Value::Fixed32(_) if unit == 4 => 4,
                Value::Fixed64(_) if unit == 8 => 8,
                _ => continue,
            };
            pieces += 1;
        }
        if let (1, Some(packed)) = (pieces, whole)
            && packed.len() == wanted
        {
            return Tensor::from_bytes(self.dtype, self.shape, packed);
        }
        let mut tensor = self.room(given / self.size)?;
        let bytes = tensor.bytes_mut()?;
        let mut at = 0;
        let mut put = |piece: &[u8]| {
            let length = piece.len().min(wanted - at);
            bytes[at..at + length].copy_from_slice(&piece[..length]);
            at += length;
        };
        for value in values.fields() {
            match value {
                Value::Bytes(packed) => put(packed),
                Value::Fixed32(bits) if unit == 4 => put(&bits.to_le_bytes()),
                Value::Fixed64(bits) if unit == 8 => put(&bits.to_le_bytes()),
                _ => {}
            }
        }
        // Half of a complex number is none.
        self.repeat(bytes, at / self.size * self.size);
        Ok(tensor)
    }

    fn varints<const N: usize>(&self, values: Values<'_>, bytes_of: impl Fn(u64) -> [u8; N]) -> Result<Tensor> {
        let mut given = 0;
        values.each_varint(|_| given += 1)?;
        let mut tensor = self.room(given)?;
        let bytes = tensor.bytes_mut()?;
        let (elements, _) = bytes.as_chunks_mut::<N>();
        let mut elements = elements.iter_mut();
        values.each_varint(|value| {
            if let Some(element) = elements.next() {
                *element = bytes_of(value);
            }
        })?;
        let at = given.saturating_mul(N).min(bytes.len());
        self.repeat(bytes, at);
        Ok(tensor)
    }

    /// A tensor of zeros, if it may be one of so many values.
    fn room(&self, given: usize) -> Result<Tensor> {
        if given < element_count(self.shape)? {
            check_room(self.dtype, self.shape, self.size, self.max_filled_bytes)?;
        }
        Tensor::zeros(self.dtype, self.shape)
    }

    /// Fills all after `at` with the element before it; with zeros, if there is none.
    fn repeat(&self, bytes: &mut [u8], at: usize) {
        let (given, rest) = bytes.split_at_mut(at);
        match given.last_chunk_of(self.size) {
            Some(last) => rest.chunks_exact_mut(self.size).for_each(|element| element.copy_from_slice(last)),
            None => rest.fill(0),
        }
    }
}

/// The last so many bytes.
trait LastChunk {
    fn last_chunk_of(&self, size: usize) -> Option<&[u8]>;
}

impl LastChunk for [u8] {
    fn last_chunk_of(&self, size: usize) -> Option<&[u8]> {
        self.len().checked_sub(size).map(|start| &self[start..])
    }
}

fn strings(message: &[u8], shape: &[usize], content: &[u8], max_filled_bytes: usize) -> Result<Tensor> {
    let count = element_count(shape)?;
    if !content.is_empty() {
        return Tensor::from_string_array(shape, string_list(content, count)?);
    }
    let given = || Values { message, number: field::STRING }.fields().filter_map(Value::bytes);
    let (mut number, mut total, mut last): (usize, usize, &[u8]) = (0, 0, &[]);
    for string in given() {
        (number, total, last) = (number + 1, total + string.len(), string);
    }
    if number < count {
        check_room(DType::String, shape, size_of::<usize>() + last.len(), max_filled_bytes)?;
        total += (count - number) * last.len();
    }
    let mut strings = Strings::with_capacity(count, total);
    given().chain(std::iter::repeat(last)).take(count).for_each(|string| strings.push(string));
    Tensor::from_string_array(shape, strings)
}

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
    // Sign-extended, as protobuf has all negative enums; there is none.
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

/// The elements of an integer type as protobuf writes them: signed ones are extended to 64 bits.
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

fn invalid(reason: String) -> Error {
    Error::InvalidTensor { reason }
}

fn malformed(error: WireError) -> Error {
    invalid(error.to_string())
}

#[cfg(test)]
mod tests;
