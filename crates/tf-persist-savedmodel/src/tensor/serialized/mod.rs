//! Reading and writing the bytes of `TensorProto`s without the message in between.
//!
//! A server does this for every request: numbers are copied once, from the message into aligned memory, and once out of
//! it. Small hostile messages cannot take much memory: unknown fields are not kept. [`proto`](super::proto) has the
//! rules.

mod decode;
mod encode;

pub use decode::decode;
pub use encode::{encode, encoded_len, put_head, put_varint, varint_len};

use crate::dtype::DType;

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

/// The form of the elements in a `TensorProto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Each in the field of its type: `float_val`, `string_val`, … (`Tensor::AsProtoField`).
    Fields,
    /// As raw bytes in `tensor_content` (`Tensor::AsProtoTensorContent`).
    Content,
}

/// The encoding of the values of a field.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// The bytes of the tensor.
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

#[cfg(test)]
mod tests;
