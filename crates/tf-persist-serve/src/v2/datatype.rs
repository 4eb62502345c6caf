//! The names of datatypes.

use tf_persist_core::DType;

/// A dtype, its name in the protocol, and its number and name in Triton's `model_config.proto`. BF16 is Triton's.
const TABLE: [(DType, &str, u8, &str); 14] = [
    (DType::Float32, "FP32", 11, "TYPE_FP32"),
    (DType::Int64, "INT64", 9, "TYPE_INT64"),
    (DType::Int32, "INT32", 8, "TYPE_INT32"),
    (DType::UInt8, "UINT8", 2, "TYPE_UINT8"),
    (DType::String, "BYTES", 13, "TYPE_STRING"),
    (DType::Bool, "BOOL", 1, "TYPE_BOOL"),
    (DType::Float64, "FP64", 12, "TYPE_FP64"),
    (DType::Float16, "FP16", 10, "TYPE_FP16"),
    (DType::BFloat16, "BF16", 14, "TYPE_BF16"),
    (DType::Int8, "INT8", 6, "TYPE_INT8"),
    (DType::Int16, "INT16", 7, "TYPE_INT16"),
    (DType::UInt16, "UINT16", 3, "TYPE_UINT16"),
    (DType::UInt32, "UINT32", 4, "TYPE_UINT32"),
    (DType::UInt64, "UINT64", 5, "TYPE_UINT64"),
];

/// The dtype of a datatype.
pub(crate) fn dtype(name: &str) -> Option<DType> {
    TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
}

/// The name of a dtype in the protocol; TensorFlow's own name in capitals for one that the protocol does not have.
pub(crate) fn datatype_name(dtype: DType) -> String {
    known(dtype).map_or_else(|| dtype.name().to_ascii_uppercase(), str::to_owned)
}

/// The name of a dtype in the protocol.
pub(super) fn known(dtype: DType) -> Option<&'static str> {
    TABLE.iter().find(|row| row.0 == dtype).map(|row| row.1)
}

/// The number and the name of a dtype in a model's configuration.
pub(crate) fn config_number(dtype: DType) -> (u8, &'static str) {
    TABLE.iter().find(|row| row.0 == dtype).map_or((0, "TYPE_INVALID"), |row| (row.2, row.3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_datatype_has_one_dtype() {
        for (found, name, number, config) in TABLE {
            assert_eq!((dtype(name), datatype_name(found).as_str()), (Some(found), name));
            assert_eq!(config_number(found), (number, config));
        }
        assert_eq!((dtype("fp32"), dtype("STRING"), dtype("")), (None, None, None));
        assert_eq!((datatype_name(DType::Complex64).as_str(), config_number(DType::Complex64).0), ("COMPLEX64", 0));
    }
}
