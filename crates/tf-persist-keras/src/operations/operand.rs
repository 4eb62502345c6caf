//! What an operation computes with: tensors, and numbers that follow their dtype.

use serde_json::Value;
use tf_persist_savedmodel::DType;

use super::dtypes::{Kind, is_integer, result_type};
use crate::config::{float, shown};
use crate::graph::{Graph, TensorRef};
use crate::layers::Argument;
use crate::parse::constant;
use crate::reason::{Result, refuse};

/// The largest integer of Python that is kept exactly.
const MAX_INTEGER: u64 = 1 << 53;

/// A tensor, or a number of Python.
#[derive(Debug, Clone)]
pub(super) enum Operand {
    Tensor(TensorRef),
    Int(i64),
    Float(f64),
}

impl Operand {
    pub(super) fn of(g: &Graph, argument: &Argument) -> Result<Self> {
        match argument {
            Argument::Tensor(tensor) => Ok(Self::Tensor(tensor.tensor.clone())),
            Argument::Constant(tensor) => Ok(Self::Tensor(g.constant(tensor.clone())?)),
            Argument::Plain(value) => Self::number(g, value),
            Argument::List(items) => Ok(Self::Tensor(list(g, items)?)),
            Argument::Dict(_) | Argument::Slice(_) | Argument::Ellipsis => {
                refuse!("an argument is not a tensor, a number or a list of them")
            }
        }
    }

    pub(super) fn number(g: &Graph, value: &Value) -> Result<Self> {
        match value {
            Value::Bool(value) => Ok(Self::Tensor(g.scalar(f64::from(u8::from(*value)), DType::Bool)?)),
            Value::Array(_) => Ok(Self::Tensor(g.constant(constant(value, list_dtype(value))?)?)),
            value => match (value.as_i64(), float(value)) {
                (Some(int), _) if int.unsigned_abs() <= MAX_INTEGER => Ok(Self::Int(int)),
                (None, Some(float)) if !value.is_u64() => Ok(Self::Float(float)),
                _ => refuse!("the argument {} is not a number that can be kept exactly", shown(value)),
            },
        }
    }

    /// Its part in the promotion of dtypes.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Tensor(tensor) => Kind::Typed(tensor.dtype),
            Self::Int(_) => Kind::WeakInt,
            Self::Float(_) => Kind::WeakFloat,
        }
    }

    /// The tensor that TensorFlow makes of it: numbers are int32 or float32.
    pub(super) fn tensor(&self, g: &Graph) -> Result<TensorRef> {
        match self {
            Self::Tensor(tensor) => Ok(tensor.clone()),
            Self::Int(value) => g.scalar(*value as f64, int_dtype(*value)),
            Self::Float(value) => g.scalar(*value, DType::Float32),
        }
    }

    /// A tensor of a dtype: numbers take it, tensors are cast.
    pub(super) fn to(&self, g: &Graph, dtype: DType) -> Result<TensorRef> {
        match self {
            Self::Tensor(tensor) => g.cast(tensor, dtype),
            Self::Int(value) => g.scalar(*value as f64, dtype),
            Self::Float(value) if is_integer(dtype) || dtype == DType::Bool => {
                refuse!("the number {value} is not a value of {dtype}")
            }
            Self::Float(value) => g.scalar(*value, dtype),
        }
    }
}

impl From<TensorRef> for Operand {
    fn from(tensor: TensorRef) -> Self {
        Self::Tensor(tensor)
    }
}

/// The dtype of an integer as a tensor.
fn int_dtype(value: i64) -> DType {
    if i32::try_from(value).is_ok() { DType::Int32 } else { DType::Int64 }
}

/// The dtype that TensorFlow gives lists of numbers.
fn list_dtype(value: &Value) -> DType {
    fn collect(value: &Value, depth: usize, found: &mut DType) {
        match value {
            // Deeper lists are refused when their numbers are read.
            Value::Array(items) if depth < 100 => items.iter().for_each(|item| collect(item, depth + 1, found)),
            Value::Number(number) if number.is_f64() => *found = DType::Float32,
            Value::Number(number) if *found != DType::Float32 => {
                let wide = number.as_i64().is_none_or(|it| int_dtype(it) == DType::Int64);
                *found = if wide || *found == DType::Int64 { DType::Int64 } else { DType::Int32 };
            }
            _ => {}
        }
    }
    let mut found = DType::Bool;
    collect(value, 0, &mut found);
    match value {
        // An empty list is of floats.
        Value::Array(items) if items.is_empty() => DType::Float32,
        _ => found,
    }
}

/// A list of numbers as a constant, or one with tensors, stacked.
fn list(g: &Graph, items: &[Argument]) -> Result<TensorRef> {
    if let Some(value) = plain(items) {
        return g.constant(constant(&value, list_dtype(&value))?);
    }
    let operands = items.iter().map(|item| Operand::of(g, item)).collect::<Result<Vec<_>>>()?;
    let first = operands.iter().find_map(|it| if let Operand::Tensor(tensor) = it { Some(tensor.dtype) } else { None });
    let dtype = first.unwrap_or(DType::Float32);
    let tensors = operands.iter().map(|operand| operand.to(g, dtype)).collect::<Result<Vec<_>>>()?;
    g.pack(&tensors.iter().collect::<Vec<_>>(), 0)
}

/// The list as a value, if it has no tensors.
fn plain(items: &[Argument]) -> Option<Value> {
    let item = |item: &Argument| match item {
        Argument::Plain(value) => Some(value.clone()),
        Argument::List(items) => plain(items),
        _ => None,
    };
    items.iter().map(item).collect::<Option<Vec<_>>>().map(Value::Array)
}

/// Both in their common dtype.
pub(super) fn promoted(g: &Graph, a: &Operand, b: &Operand) -> Result<[TensorRef; 2]> {
    let dtype = result_type(&[a.kind(), b.kind()])?;
    Ok([a.to(g, dtype)?, b.to(g, dtype)?])
}

/// Both in their common dtype, which is floating.
pub(super) fn promoted_float(g: &Graph, a: &Operand, b: &Operand) -> Result<[TensorRef; 2]> {
    let dtype = result_type(&[a.kind(), b.kind(), Kind::WeakFloat])?;
    Ok([a.to(g, dtype)?, b.to(g, dtype)?])
}
