//! Norms and normalizations.

use serde_json::Value;
use tf_persist_savedmodel::DType;

use super::call::Call;
use super::dtypes::{Kind, float_type, result_type};
use super::functions::square;
use super::reductions::{keras_moments, mean, plain_variance, widened};
use super::shapes::indices;
use super::{Entry, op};
use crate::config::{float, shown};
use crate::graph::{Dim, Graph, TensorRef};
use crate::layers::Argument;
use crate::reason::{Result, refuse};

/// Keras's default of `epsilon`.
const EPSILON: f64 = 1e-7;

pub(super) const TABLE: &[Entry] = &[
    op("Norm", "x", "ord axis keepdims", |c| {
        let (x, order, keep) = (c.tensor("x")?, Order::of(c.value("ord")?)?, c.bool_or("keepdims", false)?);
        let axes = c.axes("axis", x.rank())?;
        Ok(norm(c.g, &x, order, &axes, keep)?.into())
    }),
    op("Normalize", "x", "axis order epsilon", normalize),
    op("BatchNorm", "x mean variance offset scale", "axis epsilon", batch_norm),
    op("LayerNorm", "x gamma beta", "axis epsilon rms_scaling", layer_norm),
    op("RMSNorm", "x scale", "axis epsilon", rms_norm),
];

/// Which norm.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    /// Of a vector the root of the sum of squares, of a matrix the same of all elements.
    Default,
    Number(f64),
    Nuclear,
}

impl Order {
    fn of(value: Option<Value>) -> Result<Self> {
        match value {
            None => Ok(Self::Default),
            Some(Value::String(name)) if name == "fro" => Ok(Self::Default),
            Some(Value::String(name)) if name == "nuc" => Ok(Self::Nuclear),
            Some(value) => match float(&value) {
                Some(number) => Ok(Self::Number(number)),
                None => refuse!("`ord` is {}, which is not supported", shown(&value)),
            },
        }
    }
}

/// As Keras's `linalg.norm`.
fn norm(g: &Graph, x: &TensorRef, order: Order, axes: &[i64], keep: bool) -> Result<TensorRef> {
    let x = g.cast(x, float_type(x.dtype)?)?;
    match (axes, order) {
        ([_], Order::Default) | ([_, _], Order::Default) => root_of_squares(g, &x, axes, keep),
        ([_], Order::Number(2.0)) => root_of_squares(g, &x, axes, keep),
        ([_], Order::Number(order)) => vector_norm(g, &x, order, axes, keep),
        ([rows, columns], order) => matrix_norm(g, &x, order, [*rows, *columns], keep),
        _ => refuse!("a norm over {} axes is not supported", axes.len()),
    }
}

fn root_of_squares(g: &Graph, x: &TensorRef, axes: &[i64], keep: bool) -> Result<TensorRef> {
    g.sqrt(&g.sum(&g.mul(x, x)?, axes, keep)?)
}

fn vector_norm(g: &Graph, x: &TensorRef, order: f64, axes: &[i64], keep: bool) -> Result<TensorRef> {
    if order == f64::INFINITY {
        return g.max(&g.abs(x)?, axes, keep);
    }
    if order == f64::NEG_INFINITY {
        return g.min(&g.abs(x)?, axes, keep);
    }
    if order == 0.0 {
        let counted = g.not_equal(x, &g.scalar(0.0, x.dtype)?)?;
        return g.sum(&g.cast(&counted, x.dtype)?, axes, keep);
    }
    let order = g.scalar(order, x.dtype)?;
    let sum = g.sum(&g.pow(&g.abs(x)?, &order)?, axes, keep)?;
    g.pow(&sum, &g.real_div(&g.scalar(1.0, x.dtype)?, &order)?)
}

fn matrix_norm(g: &Graph, x: &TensorRef, order: Order, [rows, columns]: [i64; 2], keep: bool) -> Result<TensorRef> {
    let [row, column] = indices(&[rows, columns], x.rank())?[..] else { refuse!("a matrix has 2 axes") };
    // The place of an axis once the other is gone.
    let behind = |axis: usize, gone: usize| if !keep && axis > gone { axis - 1 } else { axis } as i64;
    let summed = |over: usize| g.sum(&g.abs(x)?, &[over as i64], keep);
    match order {
        Order::Number(1.0) => g.max(&summed(row)?, &[behind(column, row)], keep),
        Order::Number(-1.0) => g.min(&summed(row)?, &[behind(column, row)], keep),
        Order::Number(f64::INFINITY) => g.max(&summed(column)?, &[behind(row, column)], keep),
        Order::Number(f64::NEG_INFINITY) => g.min(&summed(column)?, &[behind(row, column)], keep),
        Order::Nuclear | Order::Number(2.0 | -2.0) => {
            let moved = super::shapes::move_axes(g, x, &[rows, columns], &[-2, -1])?;
            let values = g.singular_values(&moved)?;
            let y = match order {
                Order::Number(2.0) => g.max(&values, &[-1], false)?,
                Order::Number(-2.0) => g.min(&values, &[-1], false)?,
                _ => g.sum(&values, &[-1], false)?,
            };
            match keep {
                true => g.expand_dims(&g.expand_dims(&y, rows)?, columns),
                false => Ok(y),
            }
        }
        order => refuse!("the norm {order:?} of matrices is not supported"),
    }
}

fn normalize(c: &mut Call<'_>) -> Result<Argument> {
    let (x, axes) = (c.tensor("x")?, c.ints_or_none("axis")?.unwrap_or_else(|| vec![-1]));
    let (order, epsilon) = (c.int_or("order", 2)?, c.float_or("epsilon", EPSILON)?);
    let g = c.g;
    let x = if x.rank() == 0 { g.expand_dims(&x, 0)? } else { x };
    if order < 1 {
        refuse!("`order` is {order}, and should be 1 or more");
    }
    if order == 2 {
        let inverse = g.rsqrt(&g.sum(&widened(g, &square(g, &x)?)?, &axes, true)?)?;
        let inverse = g.minimum(&inverse, &g.scalar(1.0 / epsilon, inverse.dtype)?)?;
        return Ok(g.mul(&x, &inverse)?.into());
    }
    let norm = norm(g, &x, Order::Number(order as f64), &axes, true)?;
    let norm = g.maximum(&norm, &g.scalar(epsilon, norm.dtype)?)?;
    let dtype = result_type(&[Kind::Typed(x.dtype), Kind::Typed(norm.dtype), Kind::WeakFloat])?;
    Ok(g.real_div(&g.cast(&x, dtype)?, &g.cast(&norm, dtype)?)?.into())
}

/// `x·(scale·rsqrt(variance + epsilon)) + (offset − mean·…)`.
fn batch_norm(c: &mut Call<'_>) -> Result<Argument> {
    let (x, mean, variance) = (c.tensor("x")?, c.tensor("mean")?, c.tensor("variance")?);
    let (offset, scale) = (c.tensor_or_none("offset")?, c.tensor_or_none("scale")?);
    let (axis, epsilon) = (c.ints("axis")?, c.float_or("epsilon", 1e-3)?);
    let g = c.g;
    let [axis] = axis[..] else { refuse!("a batch normalization has 1 axis, and {} are given", axis.len()) };
    let shaped = |y: TensorRef| -> Result<TensorRef> {
        if axis == -1 {
            return Ok(y);
        }
        let mut dims: Vec<Dim> = vec![Some(1); x.rank()];
        dims[crate::graph::axis_index(axis, x.rank())?] = Some(y.size(0)?);
        g.reshape(&y, &dims)
    };
    let (mean, variance) = (shaped(mean)?, shaped(variance)?);
    let (offset, scale) = (offset.map(shaped).transpose()?, scale.map(shaped).transpose()?);
    let mut inverse = g.rsqrt(&g.add_v2(&variance, &g.scalar(epsilon, variance.dtype)?)?)?;
    if let Some(scale) = scale {
        inverse = g.mul(&inverse, &scale)?;
    }
    let rest = match offset {
        Some(offset) => g.sub(&offset, &g.mul(&mean, &inverse)?)?,
        None => g.mul(&g.neg(&mean)?, &inverse)?,
    };
    Ok(g.add_v2(&g.mul(&x, &g.cast(&inverse, x.dtype)?)?, &g.cast(&rest, x.dtype)?)?.into())
}

/// A tensor in float32 at least, in which norms are computed.
fn wide(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    g.cast(x, result_type(&[Kind::Typed(x.dtype), Kind::Typed(DType::Float32)])?)
}

fn layer_norm(c: &mut Call<'_>) -> Result<Argument> {
    let (x, gamma, beta) = (c.tensor("x")?, c.tensor_or_none("gamma")?, c.tensor_or_none("beta")?);
    let (mut axes, epsilon) = (c.ints_or_none("axis")?.unwrap_or_else(|| vec![-1]), c.float_or("epsilon", EPSILON)?);
    let by_variance = c.bool_or("rms_scaling", false)?;
    let (g, dtype) = (c.g, x.dtype);
    let x = wide(g, &x)?;
    axes.sort_unstable();
    let is_last = axes == [x.rank() as i64 - 1];
    let shaped = |y: TensorRef| -> Result<TensorRef> {
        let y = g.cast(&y, x.dtype)?;
        if y.rank() == x.rank() || is_last {
            return Ok(y);
        }
        let mut dims: Vec<Dim> = vec![Some(1); x.rank()];
        for axis in indices(&axes, x.rank())? {
            dims[axis] = x.dims()[axis];
        }
        g.reshape(&y, &dims)
    };
    let (gamma, beta) = (gamma.map(shaped).transpose()?, beta.map(shaped).transpose()?);
    let with_epsilon = |y: &TensorRef| g.add_v2(y, &g.scalar(epsilon, y.dtype)?);
    let y = if by_variance {
        let inverse = g.rsqrt(&with_epsilon(&plain_variance(g, &x, &axes, true)?)?)?;
        let y = g.mul(&x, &inverse)?;
        gamma.map_or(Ok(y.clone()), |gamma| g.mul(&y, &gamma))?
    } else {
        let (mean, variance) = keras_moments(g, &x, &axes, true)?;
        let mut inverse = g.rsqrt(&with_epsilon(&variance)?)?;
        if let Some(gamma) = gamma {
            inverse = g.mul(&inverse, &gamma)?;
        }
        let mut rest = g.mul(&g.neg(&mean)?, &inverse)?;
        if let Some(beta) = beta {
            rest = g.add_v2(&rest, &beta)?;
        }
        g.add_v2(&g.mul(&x, &inverse)?, &rest)?
    };
    Ok(g.cast(&y, dtype)?.into())
}

fn rms_norm(c: &mut Call<'_>) -> Result<Argument> {
    let (x, scale) = (c.tensor("x")?, c.tensor_or_none("scale")?);
    let (axes, epsilon) = (c.ints_or_none("axis")?.unwrap_or_else(|| vec![-1]), c.float_or("epsilon", EPSILON)?);
    let (g, dtype) = (c.g, x.dtype);
    let mut x = wide(g, &x)?;
    if x.rank() == 0 {
        x = g.expand_dims(&x, 0)?;
    }
    let squares = mean(g, &g.square(&x)?, &axes, true)?;
    let mut y = g.mul(&x, &g.rsqrt(&g.add_v2(&squares, &g.scalar(epsilon, x.dtype)?)?)?)?;
    if let Some(scale) = scale {
        y = g.mul(&y, &g.cast(&scale, x.dtype)?)?;
    }
    Ok(g.cast(&y, dtype)?.into())
}
