//! Dtype policies.

use serde_json::Value;
use tf_persist_savedmodel::DType;

use super::shown;
use crate::reason::{Result, refuse, shown_name};

/// The dtypes of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    /// The dtype in which it computes, and to which its inputs are cast.
    pub(crate) compute: DType,
    /// The dtype of its variables.
    pub(crate) variable: DType,
    pub(crate) quantization: Option<Quantization>,
}

/// How the kernel of a layer is stored and applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Quantization {
    Int8,
    /// Two values in a byte; scales for blocks of this many inputs, or for all of them.
    Int4 {
        block: Option<u64>,
    },
    Float8,
}

impl Default for Policy {
    fn default() -> Self {
        Self { compute: DType::Float32, variable: DType::Float32, quantization: None }
    }
}

impl Policy {
    /// The policy in the key `dtype`: a name, or an object. None means float32.
    pub(crate) fn parse(value: Option<&Value>) -> Result<Self> {
        match value {
            None | Some(Value::Null) => Ok(Self::default()),
            Some(Value::String(name)) => Self::named(name),
            Some(Value::Object(object)) => {
                let config = object.get("config").unwrap_or(&Value::Null);
                let text = |key: &str| config.get(key).and_then(Value::as_str);
                match (text("name"), text("mode"), text("source_name")) {
                    (_, Some(mode), Some(source)) => Self::quantized(mode, source),
                    (Some(name), ..) => Self::named(name),
                    _ => refuse!("its dtype policy {} is not supported", shown(&Value::Object(object.clone()))),
                }
            }
            Some(value) => refuse!("its dtype {} is not supported", shown(value)),
        }
    }

    fn named(name: &str) -> Result<Self> {
        let (compute, variable) = match name {
            "mixed_float16" => (DType::Float16, DType::Float32),
            "mixed_bfloat16" => (DType::BFloat16, DType::Float32),
            _ => match name.split_once("_from_") {
                Some((mode, source)) => return Self::quantized(mode, source),
                None => {
                    let dtype = dtype(name)?;
                    (dtype, dtype)
                }
            },
        };
        Ok(Self { compute, variable, quantization: None })
    }

    fn quantized(mode: &str, source: &str) -> Result<Self> {
        let block = |text: &str| match text.parse::<i64>() {
            Ok(-1) => Ok(None),
            Ok(size) if size > 0 => Ok(u64::try_from(size).ok()),
            _ => refuse!("the quantization `{mode}` is not supported"),
        };
        let quantization = match mode.split_once('/') {
            Some(("int4", size)) => Quantization::Int4 { block: block(size)? },
            None if mode == "int4" => Quantization::Int4 { block: None },
            None if mode == "int8" => Quantization::Int8,
            None if mode == "float8" => Quantization::Float8,
            _ => refuse!("the quantization `{mode}` is not supported"),
        };
        Ok(Self { quantization: Some(quantization), ..Self::named(source)? })
    }
}

/// A dtype by Keras's name.
pub(crate) fn dtype(name: &str) -> Result<DType> {
    let all = [
        DType::Float32,
        DType::Float64,
        DType::Float16,
        DType::BFloat16,
        DType::Int8,
        DType::Int16,
        DType::Int32,
        DType::Int64,
        DType::UInt8,
        DType::UInt16,
        DType::UInt32,
        DType::UInt64,
        DType::Bool,
        DType::String,
        DType::Complex64,
        DType::Complex128,
    ];
    match all.into_iter().find(|dtype| dtype.name() == name) {
        Some(dtype) => Ok(dtype),
        None => refuse!("its dtype `{}` is not supported", shown_name(name)),
    }
}
