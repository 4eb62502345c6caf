//! Reductions over axes, and running sums.

use tf_persist_savedmodel::DType;

use super::call::{Call, all_axes};
use super::dtypes::{Kind, float_type, is_integer, result_type};
use super::functions::signbit;
use super::functions::{integers_to_float, nan_to_num};
use super::{Entry, op};
use crate::graph::{Graph, Shape, TensorRef};
use crate::layers::Argument;
use crate::reason::{Result, refuse};

pub(super) const TABLE: &[Entry] = &[
    op("Sum", "x", "axis keepdims", |c| c.reduce(|g, x, axes, keep| g.sum(&widened(g, x)?, axes, keep))),
    op("Prod", "x", "axis keepdims dtype", product),
    op("Mean", "x", "axis keepdims", |c| c.reduce(mean)),
    op("Max", "x", "axis keepdims initial", |c| extreme(c, Extreme::Max)),
    op("Amax", "x", "axis keepdims", |c| extreme(c, Extreme::Max)),
    op("Min", "x", "axis keepdims initial", |c| extreme(c, Extreme::Min)),
    op("Amin", "x", "axis keepdims", |c| extreme(c, Extreme::Min)),
    op("Ptp", "x", "axis keepdims", |c| {
        c.reduce(|g, x, axes, keep| g.sub(&g.max(x, axes, keep)?, &g.min(x, axes, keep)?))
    }),
    op("All", "x", "axis keepdims", |c| c.reduce(|g, x, axes, keep| g.all(&g.cast(x, DType::Bool)?, axes, keep))),
    op("Any", "x", "axis keepdims", |c| c.reduce(|g, x, axes, keep| g.any(&g.cast(x, DType::Bool)?, axes, keep))),
    op("Var", "x", "axis keepdims", |c| c.reduce(variance)),
    op("Std", "x", "axis keepdims", |c| {
        c.reduce(|g, x, axes, keep| g.sqrt(&plain_variance(g, &integers_to_float(g, x)?, axes, keep)?))
    }),
    op("Average", "x weights", "axis", average),
    op("CountNonzero", "x", "axis", count_nonzero),
    op("Logsumexp", "x", "axis keepdims", |c| c.reduce(log_sum_exp)),
    op("Argmax", "x", "axis keepdims", |c| index_of(c, "ArgMax")),
    op("Argmin", "x", "axis keepdims", |c| index_of(c, "ArgMin")),
    op("Cumsum", "x", "axis dtype", |c| cumulate(c, "Cumsum", None)),
    op("Cumprod", "x", "axis dtype", |c| cumulate(c, "Cumprod", None)),
    op("Nancumsum", "x", "axis dtype", |c| cumulate(c, "Cumsum", Some(0.0))),
    op("Nancumprod", "x", "axis dtype", |c| cumulate(c, "Cumprod", Some(1.0))),
    op("Size", "x", "", size),
    op("Moments", "x", "axes keepdims synchronized", |c| {
        let (x, keep) = (c.tensor("x")?, c.bool_or("keepdims", false)?);
        let axes = c.axes("axes", x.rank())?;
        c.bool_or("synchronized", false)?;
        let (mean, variance) = keras_moments(c.g, &x, &axes, keep)?;
        Ok(Argument::List(vec![mean.into(), variance.into()]))
    }),
];

type Reduce = fn(&Graph, &TensorRef, &[i64], bool) -> Result<TensorRef>;

impl Call<'_> {
    /// A reduction of `x` over `axis`.
    pub(super) fn reduce(&mut self, emit: Reduce) -> Result<Argument> {
        let (x, keep) = (self.tensor("x")?, self.bool_or("keepdims", false)?);
        let axes = self.axes("axis", x.rank())?;
        Ok(emit(self.g, &x, &axes, keep)?.into())
    }
}

/// Bools and narrow integers as wider ones, in which they are added.
pub(super) fn widened(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    let dtype = match x.dtype {
        DType::Bool | DType::Int8 | DType::Int16 => DType::Int32,
        DType::UInt8 | DType::UInt16 => DType::UInt32,
        dtype => dtype,
    };
    g.cast(x, dtype)
}

fn product(c: &mut Call<'_>) -> Result<Argument> {
    let (mut x, keep) = (c.tensor("x")?, c.bool_or("keepdims", false)?);
    let axes = c.axes("axis", x.rank())?;
    if c.dtype_or_none("dtype")?.is_none() {
        x = c.g.cast(&x, result_type(&[Kind::Typed(x.dtype)])?)?;
        x = widened(c.g, &x)?;
    }
    Ok(c.g.prod(&x, &axes, keep)?.into())
}

/// The mean, computed in float32 at least.
pub(super) fn mean(g: &Graph, x: &TensorRef, axes: &[i64], keep: bool) -> Result<TensorRef> {
    let inner = result_type(&[Kind::Typed(x.dtype), Kind::Typed(DType::Float32)])?;
    let y = g.mean(&g.cast(x, inner)?, axes, keep)?;
    let whole = is_integer(x.dtype) || x.dtype == DType::Bool;
    g.cast(&y, if whole { inner } else { x.dtype })
}

#[derive(Clone, Copy)]
enum Extreme {
    Max,
    Min,
}

fn extreme(c: &mut Call<'_>, which: Extreme) -> Result<Argument> {
    let (x, keep) = (c.tensor("x")?, c.bool_or("keepdims", false)?);
    let (axes, initial) = (c.axes("axis", x.rank())?, c.operand_or_none("initial")?);
    let g = c.g;
    let is_bool = x.dtype == DType::Bool;
    let mut y = match (which, is_bool) {
        (Extreme::Max, false) => g.max(&x, &axes, keep)?,
        (Extreme::Min, false) => g.min(&x, &axes, keep)?,
        (Extreme::Max, true) => g.any(&x, &axes, keep)?,
        (Extreme::Min, true) => g.all(&x, &axes, keep)?,
    };
    if let Some(initial) = initial {
        let dtype = if is_bool { DType::Int32 } else { y.dtype };
        let initial = if is_bool { g.cast(&initial.tensor(g)?, dtype)? } else { initial.to(g, dtype)? };
        y = g.cast(&y, dtype)?;
        y = match which {
            Extreme::Max => g.maximum(&y, &initial)?,
            Extreme::Min => g.minimum(&y, &initial)?,
        };
        y = g.cast(&y, x.dtype)?;
    }
    Ok(y.into())
}

/// The variance in the dtype of the tensor.
pub(super) fn plain_variance(g: &Graph, x: &TensorRef, axes: &[i64], keep: bool) -> Result<TensorRef> {
    let mean = g.mean(x, axes, true)?;
    g.mean(&g.square(&g.sub(x, &mean)?)?, axes, keep)
}

/// The variance, computed in float32 at least.
pub(super) fn variance(g: &Graph, x: &TensorRef, axes: &[i64], keep: bool) -> Result<TensorRef> {
    let inner = result_type(&[Kind::Typed(x.dtype), Kind::Typed(DType::Float32)])?;
    g.cast(&plain_variance(g, &g.cast(x, inner)?, axes, keep)?, float_type(x.dtype)?)
}

/// As TensorFlow's function of this name.
pub(super) fn moments(g: &Graph, x: &TensorRef, axes: &[i64], keep: bool) -> Result<(TensorRef, TensorRef)> {
    let y = if x.dtype == DType::Float16 { g.cast(x, DType::Float32)? } else { x.clone() };
    let mut mean = g.mean(&y, axes, true)?;
    let mut variance = g.mean(&g.squared_difference(&y, &g.stop_gradient(&mean)?)?, axes, true)?;
    if !keep {
        (mean, variance) = (g.squeeze(&mean, axes)?, g.squeeze(&variance, axes)?);
    }
    Ok((g.cast(&mean, x.dtype)?, g.cast(&variance, x.dtype)?))
}

/// Mean and variance, computed in float32 at least and kept within float16.
pub(super) fn keras_moments(g: &Graph, x: &TensorRef, axes: &[i64], keep: bool) -> Result<(TensorRef, TensorRef)> {
    if !matches!(x.dtype, DType::Float16 | DType::BFloat16) {
        return moments(g, x, axes, keep);
    }
    let (mean, variance) = moments(g, &g.cast(x, DType::Float32)?, axes, keep)?;
    let most = half::f16::MAX.to_f64();
    let (low, high) = (g.scalar(-most, DType::Float32)?, g.scalar(most, DType::Float32)?);
    let within = |y: &TensorRef| g.cast(&super::functions::clip_by_value(g, y, &low, &high)?, x.dtype);
    Ok((within(&mean)?, within(&variance)?))
}

fn average(c: &mut Call<'_>) -> Result<Argument> {
    let (x, weights) = (c.tensor("x")?, c.tensor_or_none("weights")?);
    let axis = c.int_or_none("axis")?;
    let axes = axis.map_or_else(|| all_axes(x.rank()), |axis| vec![axis]);
    let g = c.g;
    let Some(weights) = weights else {
        return Ok(g.mean(&g.cast(&x, float_type(x.dtype)?)?, &axes, false)?.into());
    };
    let dtype = result_type(&[Kind::Typed(x.dtype), Kind::Typed(weights.dtype), Kind::WeakFloat])?;
    let (x, weights) = (g.cast(&x, dtype)?, g.cast(&weights, dtype)?);
    if let Some(axis) = axis.filter(|_| x.rank() != weights.rank()) {
        let total = g.sum(&weights, &all_axes(weights.rank()), false)?;
        let y = super::products::tensor_dot(g, &x, &weights, &[axis], &[0])?;
        return Ok(g.real_div(&y, &total)?.into());
    }
    let weight_axes = if axis.is_some() { axes.clone() } else { all_axes(weights.rank()) };
    let total = g.sum(&weights, &weight_axes, false)?;
    let product = g.mul(&x, &weights)?;
    let axes = if axis.is_some() { axes } else { all_axes(product.rank()) };
    Ok(g.real_div(&g.sum(&product, &axes, false)?, &total)?.into())
}

fn count_nonzero(c: &mut Call<'_>) -> Result<Argument> {
    let x = c.tensor("x")?;
    let axes = c.axes("axis", x.rank())?;
    let g = c.g;
    let counted = match x.dtype {
        DType::Bool => x.clone(),
        _ => g.not_equal(&x, &g.scalar(0.0, x.dtype)?)?,
    };
    let count = g.sum(&g.cast(&counted, DType::Int64)?, &axes, false)?;
    Ok(g.cast(&count, DType::Int32)?.into())
}

/// As TensorFlow's `reduce_logsumexp`.
pub(super) fn log_sum_exp(g: &Graph, x: &TensorRef, axes: &[i64], keep: bool) -> Result<TensorRef> {
    let highest = g.max(x, axes, true)?;
    let finite = g.select(&g.classify("IsFinite", &highest)?, &highest, &g.scalar(0.0, x.dtype)?)?;
    let finite = g.stop_gradient(&finite)?;
    let sum = g.log(&g.sum(&g.exp(&g.sub(x, &finite)?)?, axes, keep)?)?;
    let finite = if keep { finite } else { g.reshape_to(&finite, &g.shape_of(&sum)?, sum.shape.clone())? };
    g.add_v2(&sum, &finite)
}

/// The index of the largest or smallest element. Keras takes -0.0 for less than 0.0.
pub(super) fn arg_extreme(
    g: &Graph,
    op: &'static str,
    x: &TensorRef,
    axis: Option<i64>,
    keep: bool,
) -> Result<TensorRef> {
    let mut flat = x.clone();
    if x.dtype.is_floating() && x.rank() > 0 {
        let dtype = result_type(&[Kind::Typed(x.dtype), Kind::Typed(DType::Float32)])?;
        flat = g.cast(x, dtype)?;
        let negative_zero = g.logical_and(&g.equal(&flat, &g.scalar(0.0, dtype)?)?, &signbit(g, &flat)?)?;
        let least = if dtype == DType::Float64 { f64::MIN_POSITIVE } else { f64::from(f32::MIN_POSITIVE) };
        flat = g.select(&negative_zero, &g.scalar(-least, dtype)?, &flat)?;
    }
    let shape = flat.shape.clone();
    let axis_here = axis.unwrap_or(0);
    if axis.is_none() {
        flat = g.reshape(&flat, &[None])?;
    }
    let y = g.arg_reduce(op, &flat, axis_here, DType::Int32)?;
    match (keep, axis) {
        (false, _) => Ok(y),
        (true, Some(axis)) => g.expand_dims(&y, crate::graph::axis_index(axis, shape.rank())? as i64),
        (true, None) => g.reshape(&y, &vec![Some(1); shape.rank()]),
    }
}

fn index_of(c: &mut Call<'_>, op: &'static str) -> Result<Argument> {
    let (x, axis, keep) = (c.tensor("x")?, c.int_or_none("axis")?, c.bool_or("keepdims", false)?);
    Ok(arg_extreme(c.g, op, &x, axis, keep)?.into())
}

fn cumulate(c: &mut Call<'_>, op: &'static str, instead_of_nan: Option<f64>) -> Result<Argument> {
    let (mut x, axis, dtype) = (c.tensor("x")?, c.int_or_none("axis")?, c.dtype_or_none("dtype")?);
    let g = c.g;
    if let Some(value) = instead_of_nan {
        x = nan_to_num(g, &x, value, None, None)?;
    }
    x = g.cast(&x, dtype.unwrap_or(x.dtype))?;
    if x.dtype == DType::Bool {
        x = g.cast(&x, DType::Int32)?;
    }
    if axis.is_none() {
        x = g.reshape(&x, &[None])?;
    }
    Ok(g.cumulate(op, &x, axis.unwrap_or(0), false)?.into())
}

/// The number of elements, an int32.
fn size(c: &mut Call<'_>) -> Result<Argument> {
    let x = c.tensor("x")?;
    let g = c.g;
    match x.shape.element_count().map(i32::try_from) {
        Some(Ok(count)) => Ok(g.scalar_i32(count)?.into()),
        Some(Err(_)) => refuse!("a tensor of shape {} has too many elements to count in int32", x.shape),
        None => Ok(g.add("Size", &[&x], vec![("T", x.dtype.into())], DType::Int32, Shape::scalar())?.into()),
    }
}
