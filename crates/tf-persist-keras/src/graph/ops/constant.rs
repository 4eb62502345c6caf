//! Constants.

use half::{bf16, f16};
use tf_persist_savedmodel::{DType, Tensor};

use super::super::{Attr, Graph, Op, Shape, TensorRef};
use crate::reason::{Result, refuse};

impl Graph {
    pub(crate) fn constant(&self, value: Tensor) -> Result<TensorRef> {
        let (dtype, shape) = (value.dtype(), Shape::of_sizes(value.shape()));
        self.add("Const", &[], vec![("dtype", dtype.into()), ("value", Attr::Tensor(value))], dtype, shape)
    }

    /// Whether a tensor is a constant of this graph.
    pub(crate) fn is_constant(&self, x: &TensorRef) -> bool {
        x.graph == self.number && self.with_nodes(|nodes| nodes[x.node].op == Op::Named("Const"))
    }

    /// A constant scalar of any numeric dtype.
    pub(crate) fn scalar(&self, value: f64, dtype: DType) -> Result<TensorRef> {
        self.constant(scalar_tensor(value, dtype)?)
    }

    pub(crate) fn scalar_i32(&self, value: i32) -> Result<TensorRef> {
        self.constant(Tensor::scalar(value)?)
    }

    /// A constant vector of int32, such as a shape or axes.
    pub(crate) fn vector_i32(&self, values: &[i64]) -> Result<TensorRef> {
        let mut narrow = Vec::with_capacity(values.len());
        for value in values {
            let Ok(value) = i32::try_from(*value) else { refuse!("the number {value} does not fit an int32") };
            narrow.push(value);
        }
        self.constant(Tensor::from_slice(&[narrow.len()], &narrow)?)
    }
}

/// A scalar, rounded to the dtype.
pub(crate) fn scalar_tensor(value: f64, dtype: DType) -> Result<Tensor> {
    Ok(match dtype {
        DType::Float32 => Tensor::scalar(value as f32)?,
        DType::Float64 => Tensor::scalar(value)?,
        DType::Float16 => Tensor::scalar(f16::from_f64(value))?,
        DType::BFloat16 => Tensor::scalar(bf16::from_f64(value))?,
        DType::Int8 => Tensor::scalar(value as i8)?,
        DType::Int16 => Tensor::scalar(value as i16)?,
        DType::Int32 => Tensor::scalar(value as i32)?,
        DType::Int64 => Tensor::scalar(value as i64)?,
        DType::UInt8 => Tensor::scalar(value as u8)?,
        DType::UInt16 => Tensor::scalar(value as u16)?,
        DType::UInt32 => Tensor::scalar(value as u32)?,
        DType::UInt64 => Tensor::scalar(value as u64)?,
        DType::Bool => Tensor::scalar(value != 0.0)?,
        _ => refuse!("there is no number of dtype {dtype}"),
    })
}
