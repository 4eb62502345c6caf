//! Tensors inside protobufs.
//!
//! A `TensorProto` has its elements as raw bytes (`tensor_content`) or as numbers in a field of their type, whose last
//! number is repeated for the missing ones. Source: `tensorflow/core/framework/tensor.proto` and `Tensor::FromProto` in
//! `tensor.cc`.

use half::{bf16, f16};
use num_complex::Complex;
use tf_persist_proto::bytes::Bytes;
use tf_persist_proto::protobuf::{EnumOrUnknown, MessageField};
use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::wire::Reader;

use crate::dtype::DType;
use crate::error::{Error, Result, TensorError};
use crate::shape::{PartialShape, element_count};
use crate::tensor::{Element, Strings, Tensor};

/// A declared shape. As in TensorFlow, a missing shape is that of a scalar.
pub fn partial_shape(proto: &pb::TensorShapeProto) -> PartialShape {
    if proto.unknown_rank {
        return PartialShape::unknown();
    }
    PartialShape::new(proto.dim.iter().map(|dimension| u64::try_from(dimension.size).ok()).collect())
}

/// The shape of a tensor, whose sizes must be known.
///
/// # Errors
/// If a size or the rank is unknown.
pub fn whole_shape(proto: &pb::TensorShapeProto) -> Result<Vec<usize>> {
    let unknown = || {
        Error::Tensor(TensorError::InvalidTensor { reason: format!("its shape {} is not known", partial_shape(proto)) })
    };
    if proto.unknown_rank {
        return Err(unknown());
    }
    proto.dim.iter().map(|dimension| usize::try_from(dimension.size).map_err(|_| unknown())).collect()
}

/// The tensor of a `TensorProto`. Its elements are copied once.
///
/// A few bytes can expand to a tensor of any size. If elements are missing and the last one is repeated, the tensor may
/// take at most `max_filled_bytes`.
///
/// # Errors
/// If the dtype is unsupported, the shape is unknown or too large, or the number of bytes does not match dtype and
/// shape.
pub fn from_proto(proto: &pb::TensorProto, max_filled_bytes: usize) -> Result<Tensor> {
    let dtype = DType::from_number(proto.dtype.value());
    let shape = whole_shape(&proto.tensor_shape)?;
    if !dtype.is_supported() {
        return Err(Error::Tensor(TensorError::UnsupportedDType { name: None, dtype }));
    }
    if dtype == DType::String {
        return strings(proto, &shape, max_filled_bytes);
    }
    if !proto.tensor_content.is_empty() {
        return Tensor::from_bytes(dtype, &shape, &proto.tensor_content);
    }
    let into = Target { dtype, shape: &shape, max_filled_bytes };
    match dtype {
        DType::Float32 => into.fill(proto.float_val.iter().copied()),
        DType::Float64 => into.fill(proto.double_val.iter().copied()),
        DType::Float16 => into.fill(proto.half_val.iter().map(|bits| f16::from_bits(*bits as u16))),
        DType::BFloat16 => into.fill(proto.half_val.iter().map(|bits| bf16::from_bits(*bits as u16))),
        DType::Int8 | DType::QInt8 => into.fill(proto.int_val.iter().map(|value| *value as i8)),
        DType::Int16 | DType::QInt16 => into.fill(proto.int_val.iter().map(|value| *value as i16)),
        DType::Int32 | DType::QInt32 => into.fill(proto.int_val.iter().copied()),
        DType::Int64 => into.fill(proto.int64_val.iter().copied()),
        DType::UInt8 | DType::QUInt8 => into.fill(proto.int_val.iter().map(|value| *value as u8)),
        DType::UInt16 | DType::QUInt16 => into.fill(proto.int_val.iter().map(|value| *value as u16)),
        DType::UInt32 => into.fill(proto.uint32_val.iter().copied()),
        DType::UInt64 => into.fill(proto.uint64_val.iter().copied()),
        DType::Bool => into.fill(proto.bool_val.iter().copied()),
        DType::Complex64 => {
            into.fill(proto.scomplex_val.chunks_exact(2).map(|pair| Complex { re: pair[0], im: pair[1] }))
        }
        DType::Complex128 => {
            into.fill(proto.dcomplex_val.chunks_exact(2).map(|pair| Complex { re: pair[0], im: pair[1] }))
        }
        DType::String | DType::Invalid | DType::Resource | DType::Variant | DType::Other(_) => {
            Err(Error::Tensor(TensorError::UnsupportedDType { name: None, dtype }))
        }
    }
}

/// A `TensorProto` of a tensor: numbers as raw bytes, strings in `string_val`. The elements are copied once.
pub fn to_proto(tensor: &Tensor) -> pb::TensorProto {
    let dim = tensor.shape().iter().map(|size| pb::tensor_shape::tensor_shape_proto::Dim {
        size: i64::try_from(*size).unwrap_or(i64::MAX),
        ..Default::default()
    });
    let shape = pb::TensorShapeProto { dim: dim.collect(), ..Default::default() };
    let mut proto = pb::TensorProto {
        dtype: EnumOrUnknown::from_i32(tensor.dtype().number()),
        tensor_shape: MessageField::some(shape),
        ..Default::default()
    };
    match (tensor.bytes(), tensor.strings()) {
        (Ok(bytes), _) => proto.tensor_content = Bytes::copy_from_slice(bytes),
        (_, Ok(strings)) => proto.string_val = strings.iter().map(Bytes::copy_from_slice).collect(),
        _ => {}
    }
    proto
}

/// The tensor that is being built.
struct Target<'a> {
    dtype: DType,
    shape: &'a [usize],
    max_filled_bytes: usize,
}

impl Target<'_> {
    /// Fills it with these values. As in TensorFlow, the last one is repeated and surplus ones are ignored; without
    /// values all elements are zero.
    fn fill<T: Element + Default>(&self, values: impl ExactSizeIterator<Item = T>) -> Result<Tensor> {
        let count = element_count(self.shape)?;
        if values.len() < count {
            check_room(self.dtype, self.shape, size_of::<T>(), self.max_filled_bytes)?;
        }
        let mut tensor = Tensor::zeros(self.dtype, self.shape)?;
        let elements = tensor.view_mut::<T>()?;
        let given = values.len().min(count);
        let mut last = T::default();
        for (element, value) in elements.iter_mut().zip(values) {
            last = value;
            *element = value;
        }
        // An empty tensor has no elements to be filled, whatever was given.
        elements[given..].fill(last);
        Ok(tensor)
    }
}

/// Whether a tensor that is stored with fewer values may be filled.
pub(super) fn check_room(dtype: DType, shape: &[usize], size: usize, max_filled_bytes: usize) -> Result<()> {
    if element_count(shape)?.checked_mul(size).is_some_and(|bytes| bytes <= max_filled_bytes) {
        return Ok(());
    }
    let reason = format!(
        "{dtype} of shape {shape:?} is stored as fewer values than it has, and its limit is then {max_filled_bytes} bytes"
    );
    Err(Error::Tensor(TensorError::InvalidTensor { reason }))
}

fn strings(proto: &pb::TensorProto, shape: &[usize], max_filled_bytes: usize) -> Result<Tensor> {
    let count = element_count(shape)?;
    if !proto.tensor_content.is_empty() {
        return Tensor::from_string_array(shape, string_list(&proto.tensor_content, count)?);
    }
    let given = &proto.string_val;
    let last: &[u8] = given.last().map_or(&[], |last| last);
    if given.len() < count {
        check_room(DType::String, shape, size_of::<usize>() + last.len(), max_filled_bytes)?;
    }
    let all = given.iter().map(|string| string.as_ref()).chain(std::iter::repeat(last)).take(count);
    Tensor::from_string_array(shape, all.collect())
}

/// `port::EncodeStringList`: the lengths of all strings, and the strings.
pub(super) fn string_list(content: &[u8], count: usize) -> Result<Strings> {
    let invalid = || {
        Error::Tensor(TensorError::InvalidTensor { reason: "its content is not a list of that many strings".into() })
    };
    // Each string has a length, of one byte at the least.
    if count > content.len() {
        return Err(invalid());
    }
    let mut reader = Reader::new(content);
    let mut lengths = Vec::with_capacity(count);
    for _ in 0..count {
        let length = reader.varint().ok().and_then(|length| usize::try_from(length).ok());
        lengths.push(length.ok_or_else(invalid)?);
    }
    let mut rest = &content[reader.position()..];
    let mut strings = Strings::with_capacity(count, rest.len());
    for length in lengths {
        let (string, after) = rest.split_at_checked(length).ok_or_else(invalid)?;
        strings.push(string);
        rest = after;
    }
    if rest.is_empty() { Ok(strings) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;

    fn proto(dtype: DType, shape: &[i64]) -> pb::TensorProto {
        let dim = |size: &i64| pb::tensor_shape::tensor_shape_proto::Dim { size: *size, ..Default::default() };
        let shape = pb::TensorShapeProto { dim: shape.iter().map(dim).collect(), ..Default::default() };
        pb::TensorProto {
            dtype: EnumOrUnknown::from_i32(dtype.number()),
            tensor_shape: MessageField::some(shape),
            ..Default::default()
        }
    }

    #[test]
    fn every_dtype_goes_there_and_back() {
        for number in 0..=33 {
            let dtype = DType::from_number(number);
            if !dtype.is_supported() {
                assert!(from_proto(&proto(dtype, &[2]), LIMIT).is_err());
                continue;
            }
            let tensor = match dtype.size() {
                Some(size) => Tensor::from_bytes(dtype, &[3], &vec![1; 3 * size]).unwrap(),
                None => Tensor::from_strings(&[3], ["a", "", "ä\0"]).unwrap(),
            };
            assert_eq!(from_proto(&to_proto(&tensor), LIMIT).unwrap(), tensor);
            // No values at all are zeros.
            assert_eq!(from_proto(&proto(dtype, &[4]), LIMIT).unwrap(), Tensor::zeros(dtype, &[4]).unwrap());
        }
    }

    #[test]
    fn the_last_value_is_repeated() {
        let floats = pb::TensorProto { float_val: vec![1.0, 2.0], ..proto(DType::Float32, &[4]) };
        assert_eq!(from_proto(&floats, LIMIT).unwrap().view::<f32>().unwrap(), [1.0, 2.0, 2.0, 2.0]);
        let none = pb::TensorProto { float_val: vec![1.0], ..proto(DType::Float32, &[0, 7]) };
        assert!(from_proto(&none, LIMIT).unwrap().is_empty());
        let strings = pb::TensorProto { string_val: vec![Bytes::from_static(b"a")], ..proto(DType::String, &[2]) };
        assert_eq!(from_proto(&strings, LIMIT).unwrap(), Tensor::from_strings(&[2], ["a", "a"]).unwrap());
    }

    #[test]
    fn numbers_stand_in_fields_of_other_types() {
        let halves = pb::TensorProto { half_val: vec![0x3c00], ..proto(DType::Float16, &[]) };
        assert_eq!(from_proto(&halves, LIMIT).unwrap().view::<f16>().unwrap(), [f16::ONE]);
        let halves = pb::TensorProto { half_val: vec![0x3f80], ..proto(DType::BFloat16, &[]) };
        assert_eq!(from_proto(&halves, LIMIT).unwrap().view::<bf16>().unwrap(), [bf16::ONE]);
        let complex = pb::TensorProto { scomplex_val: vec![1.0, 2.0], ..proto(DType::Complex64, &[1]) };
        let expected = Complex { re: 1.0, im: 2.0 };
        assert_eq!(from_proto(&complex, LIMIT).unwrap().view::<Complex<f32>>().unwrap(), [expected]);
        let small = pb::TensorProto { int_val: vec![-1, 300], ..proto(DType::Int8, &[2]) };
        assert_eq!(from_proto(&small, LIMIT).unwrap().view::<i8>().unwrap(), [-1, 44]);
        let list =
            pb::TensorProto { tensor_content: Bytes::from_static(b"\x02\x00\x01abc"), ..proto(DType::String, &[3]) };
        assert_eq!(from_proto(&list, LIMIT).unwrap(), Tensor::from_strings(&[3], ["ab", "", "c"]).unwrap());
    }

    #[test]
    fn refuses_what_cannot_be() {
        let one = |proto: pb::TensorProto| from_proto(&proto, LIMIT).unwrap_err().to_string();
        assert!(
            one(pb::TensorProto { float_val: vec![1.0], ..proto(DType::Float32, &[1 << 40]) }).contains("its limit")
        );
        let many = pb::TensorProto { string_val: vec![Bytes::from_static(b"abc")], ..proto(DType::String, &[1 << 40]) };
        assert!(one(many).contains("its limit"));
        assert!(one(proto(DType::Float32, &[1 << 40, 1 << 40])).contains("63 bits"));
        assert!(one(proto(DType::Float32, &[-1])).contains("not known"));
        let content =
            |bytes: &'static [u8], proto| pb::TensorProto { tensor_content: Bytes::from_static(bytes), ..proto };
        assert!(one(content(b"abc", proto(DType::Float32, &[1]))).contains("4 bytes, 3 were given"));
        for bytes in [b"\x05ab".as_slice(), b"\x01abc", b"\x01\x01ab", b"\x80"] {
            assert!(one(content(bytes, proto(DType::String, &[1]))).contains("list of that many strings"));
        }
        assert!(one(content(b"\x01a", proto(DType::String, &[1 << 50]))).contains("list of that many strings"));
    }
}
