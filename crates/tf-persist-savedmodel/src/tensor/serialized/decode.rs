//! Reading tensors from bytes.

use tf_persist_proto::wire::{Reader, Value, WireError, try_fields};

use super::{Kind, field, values_of};
use crate::dtype::DType;
use crate::error::{Error, Result, TensorError};
use crate::shape::{MAX_RANK, element_count};
use crate::tensor::proto::{check_room, string_list};
use crate::tensor::{Strings, Tensor, byte_len};

/// The tensor of a serialized `TensorProto`, as [`from_proto`](crate::tensor::proto::from_proto) of the message.
///
/// # Errors
/// If the bytes are not a message; those of `from_proto`.
pub fn decode(message: &[u8], max_filled_bytes: usize) -> Result<Tensor> {
    let mut dtype = DType::Invalid;
    let mut shape = Vec::new();
    let mut content: &[u8] = &[];
    for next in try_fields(message) {
        match next.map_err(malformed)? {
            // Protobuf truncates numbers that do not fit an enum.
            (field::DTYPE, Value::Varint(number)) => dtype = DType::from_number(number as i32),
            (field::SHAPE, Value::Bytes(bytes)) => read_shape(bytes, &mut shape)?,
            (field::CONTENT, Value::Bytes(bytes)) => content = bytes,
            _ => {}
        }
    }
    let unsupported = Error::Tensor(TensorError::UnsupportedDType { name: None, dtype });
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
            // Protobuf and TensorFlow truncate numbers that do not fit.
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

/// The values of a field of a message that was checked before: only packed values can have errors.
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

/// The tensor that is being built.
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
        // Each half of a complex number counts.
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
        let mut tensor = self.zeros(given / self.size)?;
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
        // Half of a complex number is not an element.
        self.repeat(bytes, at / self.size * self.size);
        Ok(tensor)
    }

    fn varints<const N: usize>(&self, values: Values<'_>, bytes_of: impl Fn(u64) -> [u8; N]) -> Result<Tensor> {
        let mut given = 0;
        values.each_varint(|_| given += 1)?;
        let mut tensor = self.zeros(given)?;
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

    /// A tensor of zeros, if it may have this many values.
    fn zeros(&self, given: usize) -> Result<Tensor> {
        if given < element_count(self.shape)? {
            check_room(self.dtype, self.shape, self.size, self.max_filled_bytes)?;
        }
        Tensor::zeros(self.dtype, self.shape)
    }

    /// Fills everything after `at` with the element before it, or with zeros.
    fn repeat(&self, bytes: &mut [u8], at: usize) {
        let (given, rest) = bytes.split_at_mut(at);
        match given.last_chunk_of(self.size) {
            Some(last) => rest.chunks_exact_mut(self.size).for_each(|element| element.copy_from_slice(last)),
            None => rest.fill(0),
        }
    }
}

/// The last bytes.
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

fn invalid(reason: String) -> Error {
    Error::Tensor(TensorError::InvalidTensor { reason })
}

fn malformed(error: WireError) -> Error {
    invalid(error.to_string())
}
