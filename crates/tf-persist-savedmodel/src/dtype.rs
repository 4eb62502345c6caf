//! Element types, by TensorFlow's numbers and names.

use std::fmt;

/// The element type of a tensor.
///
/// Numbers and names are those of TensorFlow's `DataType` enum (`tensorflow/core/framework/types.proto`) and of
/// Python's `tf.DType`. Every type that a SavedModel may name is here. [`DType::is_supported`] is true for those that a
/// [`Tensor`](crate::Tensor) can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DType {
    /// `DT_INVALID`: not set. The op-valued entries of a signature map carry it.
    Invalid,
    /// 32-bit IEEE float.
    Float32,
    /// 64-bit IEEE float.
    Float64,
    /// 32-bit signed integer.
    Int32,
    /// 8-bit unsigned integer.
    UInt8,
    /// 16-bit signed integer.
    Int16,
    /// 8-bit signed integer.
    Int8,
    /// Byte string of any length; not necessarily text.
    String,
    /// Two 32-bit floats: real, imaginary.
    Complex64,
    /// 64-bit signed integer.
    Int64,
    /// One byte, 0 or 1.
    Bool,
    /// Quantised 8-bit signed integer, carried as its raw number.
    QInt8,
    /// Quantised 8-bit unsigned integer, carried as its raw number.
    QUInt8,
    /// Quantised 32-bit signed integer, carried as its raw number.
    QInt32,
    /// The upper 16 bits of a 32-bit float.
    BFloat16,
    /// Quantised 16-bit signed integer, carried as its raw number.
    QInt16,
    /// Quantised 16-bit unsigned integer, carried as its raw number.
    QUInt16,
    /// 16-bit unsigned integer.
    UInt16,
    /// Two 64-bit floats: real, imaginary.
    Complex128,
    /// 16-bit IEEE float.
    Float16,
    /// A handle of a variable, table or other resource of a session.
    Resource,
    /// An opaque C++ object.
    Variant,
    /// 32-bit unsigned integer.
    UInt32,
    /// 64-bit unsigned integer.
    UInt64,
    /// Any later number of the enum: float8, int4 and so on. The C enum of the tensorflow crate stops at 23, so these
    /// are never passed to it.
    Other(i32),
}

/// Number, TensorFlow enum name, Python name, bytes an element (0: not held as plain bytes).
const TABLE: [(DType, &str, &str, usize); 24] = [
    (DType::Invalid, "DT_INVALID", "invalid", 0),
    (DType::Float32, "DT_FLOAT", "float32", 4),
    (DType::Float64, "DT_DOUBLE", "float64", 8),
    (DType::Int32, "DT_INT32", "int32", 4),
    (DType::UInt8, "DT_UINT8", "uint8", 1),
    (DType::Int16, "DT_INT16", "int16", 2),
    (DType::Int8, "DT_INT8", "int8", 1),
    (DType::String, "DT_STRING", "string", 0),
    (DType::Complex64, "DT_COMPLEX64", "complex64", 8),
    (DType::Int64, "DT_INT64", "int64", 8),
    (DType::Bool, "DT_BOOL", "bool", 1),
    (DType::QInt8, "DT_QINT8", "qint8", 1),
    (DType::QUInt8, "DT_QUINT8", "quint8", 1),
    (DType::QInt32, "DT_QINT32", "qint32", 4),
    (DType::BFloat16, "DT_BFLOAT16", "bfloat16", 2),
    (DType::QInt16, "DT_QINT16", "qint16", 2),
    (DType::QUInt16, "DT_QUINT16", "quint16", 2),
    (DType::UInt16, "DT_UINT16", "uint16", 2),
    (DType::Complex128, "DT_COMPLEX128", "complex128", 16),
    (DType::Float16, "DT_HALF", "float16", 2),
    (DType::Resource, "DT_RESOURCE", "resource", 0),
    (DType::Variant, "DT_VARIANT", "variant", 0),
    (DType::UInt32, "DT_UINT32", "uint32", 4),
    (DType::UInt64, "DT_UINT64", "uint64", 8),
];

/// Names of the numbers above 23, as TensorFlow 2.21 has them: enum name, Python name, bytes an element in a
/// checkpoint.
const LATER: [(i32, &str, &str, usize); 10] = [
    (24, "DT_FLOAT8_E5M2", "float8_e5m2", 1),
    (25, "DT_FLOAT8_E4M3FN", "float8_e4m3fn", 1),
    (26, "DT_FLOAT8_E4M3FNUZ", "float8_e4m3fnuz", 1),
    (27, "DT_FLOAT8_E4M3B11FNUZ", "float8_e4m3b11fnuz", 1),
    (28, "DT_FLOAT8_E5M2FNUZ", "float8_e5m2fnuz", 1),
    (29, "DT_INT4", "int4", 1),
    (30, "DT_UINT4", "uint4", 1),
    (31, "DT_INT2", "int2", 1),
    (32, "DT_UINT2", "uint2", 1),
    (33, "DT_FLOAT4_E2M1FN", "float4_e2m1fn", 1),
];

/// `DataType` numbers of reference types are those of their value types plus this (`types.proto`).
const REF_OFFSET: i32 = 100;

impl DType {
    /// Whether it is a float of 16 bits or more.
    #[must_use]
    pub fn is_floating(self) -> bool {
        matches!(self, Self::Float16 | Self::BFloat16 | Self::Float32 | Self::Float64)
    }

    /// The type with a number of TensorFlow's `DataType` enum. For reference types (101 and up, of TensorFlow 1's
    /// variables) it is their value type.
    #[must_use]
    pub fn from_number(number: i32) -> Self {
        let value = if number > REF_OFFSET { number - REF_OFFSET } else { number };
        usize::try_from(value).ok().and_then(|index| TABLE.get(index)).map_or(Self::Other(value), |row| row.0)
    }

    /// The type with a name: Python's (`float32`) or the enum's (`DT_FLOAT`).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE
            .iter()
            .find(|row| row.1 == name || row.2 == name)
            .map(|row| row.0)
            .or_else(|| LATER.iter().find(|row| row.1 == name || row.2 == name).map(|row| Self::Other(row.0)))
    }

    /// The number in TensorFlow's `DataType` enum.
    #[must_use]
    pub fn number(self) -> i32 {
        match self {
            Self::Other(number) => number,
            known => TABLE.iter().position(|row| row.0 == known).map_or(0, |index| index as i32),
        }
    }

    /// Python's name, as in `tf.float32.name`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Other(number) => LATER.iter().find(|row| row.0 == number).map_or("unknown", |row| row.2),
            known => TABLE[known.number() as usize].2,
        }
    }

    /// The name in TensorFlow's `DataType` enum, as saved_model_cli and TensorFlow Serving print it.
    #[must_use]
    pub fn enum_name(self) -> &'static str {
        match self {
            Self::Other(number) => LATER.iter().find(|row| row.0 == number).map_or("DT_UNKNOWN", |row| row.1),
            known => TABLE[known.number() as usize].1,
        }
    }

    /// Bytes an element, for types of a fixed size; `None` for strings, resources and variants.
    #[must_use]
    pub fn size(self) -> Option<usize> {
        let size = match self {
            Self::Other(number) => LATER.iter().find(|row| row.0 == number).map_or(0, |row| row.3),
            known => TABLE[known.number() as usize].3,
        };
        (size > 0).then_some(size)
    }

    /// Whether a [`Tensor`](crate::Tensor) can hold it, so that it can be fed to and fetched from a model.
    #[must_use]
    pub fn is_supported(self) -> bool {
        !matches!(self, Self::Invalid | Self::Resource | Self::Variant | Self::Other(_))
    }

    /// Whether it is one of the 16-, 32- and 64-bit floats.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::Float16 | Self::BFloat16 | Self::Float32 | Self::Float64)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(number) if self.name() == "unknown" => write!(f, "unknown dtype {number}"),
            known => f.pad(known.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_go_round() {
        for number in 0..=33 {
            let dtype = DType::from_number(number);
            assert_eq!(dtype.number(), number);
            assert_eq!(DType::from_name(dtype.name()), Some(dtype));
            assert_eq!(DType::from_name(dtype.enum_name()), Some(dtype));
        }
    }

    #[test]
    fn reference_types_are_their_value_types() {
        assert_eq!(DType::from_number(101), DType::Float32);
        assert_eq!(DType::from_number(125), DType::Other(25));
    }

    #[test]
    fn numbers_of_the_future_have_a_name_to_be_refused_by() {
        assert_eq!(DType::from_number(99).to_string(), "unknown dtype 99");
        assert_eq!(DType::from_number(24).to_string(), "float8_e5m2");
        assert!(!DType::from_number(24).is_supported());
        assert_eq!(DType::from_number(-5).to_string(), "unknown dtype -5");
    }
}
