//! Quantiles, and reductions that leave out what is not a number.

use tf_persist_savedmodel::DType;

use super::call::{Call, all_axes};
use super::dtypes::float_type;
use super::reductions::{arg_extreme, mean, widened};
use super::shapes::indices;
use super::sorting::ascending;
use super::{Entry, op};
use crate::graph::{Dim, Graph, Shape, TensorRef};
use crate::layers::Argument;
use crate::reason::{Result, refuse, shown_name};

pub(super) const TABLE: &[Entry] = &[
    op("Median", "x", "axis keepdims", |c| {
        let q = c.g.scalar(0.5, DType::Float32)?;
        quantile(c, &q, "linear")
    }),
    // Keras reads `method` and computes the linear one.
    op("Quantile", "x q", "axis method keepdims", |c| {
        let q = c.tensor("q")?;
        c.text_or("method", "linear")?;
        quantile(c, &q, "linear")
    }),
    op("Percentile", "x q", "axis method keepdims", |c| {
        let q = c.operand("q")?.to(c.g, DType::Float32)?;
        let q = c.g.real_div(&q, &c.g.scalar(100.0, DType::Float32)?)?;
        let method = c.text_or("method", "linear")?;
        quantile(c, &q, &method)
    }),
    op("Nansum", "x", "axis keepdims", |c| c.reduce(nan_sum)),
    op("Nanprod", "x", "axis keepdims", |c| {
        c.reduce(|g, x, axes, keep| match x.dtype.is_floating() {
            true => g.prod(&without_nan(g, x, 1.0)?, axes, keep),
            false => g.prod(&widened(g, x)?, axes, keep),
        })
    }),
    op("Nanmean", "x", "axis keepdims", |c| c.reduce(nan_mean)),
    op("Nanvar", "x", "axis keepdims", |c| c.reduce(nan_variance)),
    op("Nanstd", "x", "axis keepdims", |c| c.reduce(|g, x, axes, keep| g.sqrt(&nan_variance(g, x, axes, keep)?))),
    op("Nanmax", "x", "axis keepdims", |c| c.reduce(|g, x, axes, keep| nan_extreme(g, x, axes, keep, true))),
    op("Nanmin", "x", "axis keepdims", |c| c.reduce(|g, x, axes, keep| nan_extreme(g, x, axes, keep, false))),
    op("Nanargmax", "x", "axis keepdims", |c| nan_index(c, "ArgMax", f64::NEG_INFINITY)),
    op("Nanargmin", "x", "axis keepdims", |c| nan_index(c, "ArgMin", f64::INFINITY)),
    op("Trapezoid", "y", "x dx axis", trapezoid),
    op("Vander", "x", "N increasing", vander),
    op("Diff", "a", "n axis", differences),
];

/// The position of quantiles among sorted elements.
struct Position<'a> {
    g: &'a Graph,
    /// The index of the last element, a float64.
    last: TensorRef,
    last_index: TensorRef,
    q: TensorRef,
}

impl Position<'_> {
    fn index(&self, round: fn(&Graph, &TensorRef) -> Result<TensorRef>) -> Result<TensorRef> {
        let g = self.g;
        let index = g.cast(&round(g, &g.mul(&self.last, &self.q)?)?, DType::Int32)?;
        g.maximum(&g.minimum(&index, &self.last_index)?, &g.scalar_i32(0)?)
    }
}

/// As Keras's `quantile`.
fn quantile(c: &mut Call<'_>, q: &TensorRef, method: &str) -> Result<Argument> {
    let (x, axes, keep) = (c.tensor("x")?, c.ints_or_none("axis")?, c.bool_or("keepdims", false)?);
    let g = c.g;
    let x = g.cast(&x, float_type(x.dtype)?)?;
    let q = g.cast(q, DType::Float64)?;
    if q.rank() > 1 {
        refuse!("quantiles of shape {} are not supported", q.shape);
    }
    let chosen = indices(&axes.clone().unwrap_or_else(|| all_axes(x.rank())), x.rank())?;
    let flat = in_last_axis(g, &x, axes.is_some().then_some(&chosen[..]))?;
    let [sorted, _] = ascending(g, &flat, -1)?;
    let size = g.dim_of(&flat, -1)?;
    let last_index = g.sub(&size, &g.scalar_i32(1)?)?;
    let one = g.scalar(1.0, DType::Float64)?;
    let last = g.sub(&g.cast(&size, DType::Float64)?, &one)?;
    let position = Position { g, last, last_index, q: q.clone() };
    let at = |index: &TensorRef| g.gather(&sorted, index, -1);
    let mut y = match method {
        "lower" => at(&position.index(Graph::floor)?)?,
        "higher" => at(&position.index(Graph::ceil)?)?,
        "nearest" => at(&position.index(Graph::round)?)?,
        "midpoint" => {
            let sum = g.add_v2(&at(&position.index(Graph::floor)?)?, &at(&position.index(Graph::ceil)?)?)?;
            g.mul(&g.scalar(0.5, sum.dtype)?, &sum)?
        }
        "linear" => {
            let high = position.index(Graph::ceil)?;
            let exact = g.mul(&position.last, &q)?;
            let low = g.maximum(&g.sub(&high, &g.scalar_i32(1)?)?, &g.scalar_i32(0)?)?;
            let high = g.minimum(&g.add_v2(&low, &g.scalar_i32(1)?)?, &position.last_index)?;
            let fraction = g.cast(&g.sub(&g.cast(&high, DType::Float64)?, &exact)?, x.dtype)?;
            let rest = g.sub(&g.scalar(1.0, x.dtype)?, &fraction)?;
            g.add_v2(&g.mul(&at(&high)?, &rest)?, &g.mul(&at(&low)?, &fraction)?)?
        }
        other => refuse!("`method` is `{}`, which is not supported", shown_name(other)),
    };
    let axes_of_nan: Vec<i64> = chosen.iter().map(|axis| *axis as i64).collect();
    let mut has_nan = g.any(&g.classify("IsNan", &x)?, &axes_of_nan, false)?;
    if q.rank() == 1 {
        has_nan = g.expand_dims(&has_nan, -1)?;
    }
    y = g.select(&has_nan, &g.scalar(f64::NAN, x.dtype)?, &y)?;
    if keep {
        let mut sorted_axes = chosen;
        sorted_axes.sort_unstable();
        for axis in sorted_axes {
            y = g.expand_dims(&y, axis as i64)?;
        }
    }
    if q.rank() == 1 && y.rank() > 1 {
        let order: Vec<usize> = [y.rank() - 1].into_iter().chain(0..y.rank() - 1).collect();
        y = g.transpose(&y, &order)?;
    }
    Ok(y.into())
}

/// The axes in one, the last; all of them if none are given.
fn in_last_axis(g: &Graph, x: &TensorRef, axes: Option<&[usize]>) -> Result<TensorRef> {
    let Some(axes) = axes else { return g.reshape(x, &[None]) };
    let others: Vec<usize> = (0..x.rank()).filter(|axis| !axes.contains(axis)).collect();
    let moved = g.transpose(x, &[others.clone(), axes.to_vec()].concat())?;
    let size = crate::graph::shape::element_count(&axes.iter().map(|axis| x.dims()[*axis]).collect::<Vec<Dim>>());
    let dims: Vec<Dim> = others.iter().map(|axis| x.dims()[*axis]).chain([size]).collect();
    if dims.iter().filter(|dim| dim.is_none()).count() <= 1 {
        return g.reshape(&moved, &dims);
    }
    let sizes = g.pack_dims(&dims, |index| match others.get(index) {
        Some(axis) => g.dim_of(x, *axis as i64),
        None => g.scalar_i32(-1),
    })?;
    g.reshape_to(&moved, &sizes, Shape::new(dims))
}

fn without_nan(g: &Graph, x: &TensorRef, value: f64) -> Result<TensorRef> {
    g.select(&g.classify("IsNan", x)?, &g.scalar(value, x.dtype)?, x)
}

fn nan_sum(g: &Graph, x: &TensorRef, axes: &[i64], keep: bool) -> Result<TensorRef> {
    let x = if x.dtype.is_floating() { without_nan(g, x, 0.0)? } else { x.clone() };
    g.sum(&widened(g, &x)?, axes, keep)
}

fn is_number(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    g.logical_not(&g.classify("IsNan", x)?)
}

fn nan_mean(g: &Graph, x: &TensorRef, axes: &[i64], keep: bool) -> Result<TensorRef> {
    if axes.is_empty() {
        return Ok(x.clone());
    }
    if !x.dtype.is_floating() {
        return mean(g, &g.cast(x, DType::Float32)?, axes, keep);
    }
    let count = g.sum(&g.cast(&is_number(g, x)?, x.dtype)?, axes, keep)?;
    g.real_div(&nan_sum(g, x, axes, keep)?, &count)
}

fn nan_variance(g: &Graph, x: &TensorRef, axes: &[i64], keep: bool) -> Result<TensorRef> {
    let x = g.cast(x, float_type(x.dtype)?)?;
    let mean = nan_mean(g, &x, axes, true)?;
    let valid = is_number(g, &x)?;
    let centered = g.square(&g.select(&valid, &g.sub(&x, &mean)?, &g.zeros_like(&x)?)?)?;
    let count = g.sum(&g.cast(&valid, x.dtype)?, axes, keep)?;
    g.real_div(&g.sum(&centered, axes, keep)?, &count)
}

fn nan_extreme(g: &Graph, x: &TensorRef, axes: &[i64], keep: bool, largest: bool) -> Result<TensorRef> {
    if !x.dtype.is_floating() {
        return match (x.dtype, largest) {
            (DType::Bool, true) => g.any(x, axes, keep),
            (DType::Bool, false) => g.all(x, axes, keep),
            (_, true) => g.max(x, axes, keep),
            (_, false) => g.min(x, axes, keep),
        };
    }
    let clean = without_nan(g, x, if largest { f64::NEG_INFINITY } else { f64::INFINITY })?;
    let y = if largest { g.max(&clean, axes, keep)? } else { g.min(&clean, axes, keep)? };
    let none = g.all(&g.classify("IsNan", x)?, axes, keep)?;
    g.select(&none, &g.scalar(f64::NAN, x.dtype)?, &y)
}

fn nan_index(c: &mut Call<'_>, op: &'static str, instead: f64) -> Result<Argument> {
    let (x, axis, keep) = (c.tensor("x")?, c.int_or_none("axis")?, c.bool_or("keepdims", false)?);
    let g = c.g;
    if !x.dtype.is_floating() {
        return Ok(arg_extreme(g, op, &x, axis, keep)?.into());
    }
    let axes = axis.map_or_else(|| all_axes(x.rank()), |axis| vec![axis]);
    let none = g.all(&g.classify("IsNan", &x)?, &axes, keep)?;
    let index = arg_extreme(g, op, &without_nan(g, &x, instead)?, axis, keep)?;
    Ok(g.select(&none, &g.scalar_i32(-1)?, &index)?.into())
}

fn trapezoid(c: &mut Call<'_>) -> Result<Argument> {
    let (y, x, axis) = (c.tensor("y")?, c.operand_or_none("x")?, c.int_or("axis", -1)?);
    let g = c.g;
    let y = g.cast(&y, float_type(y.dtype)?)?;
    let width = match x {
        None => {
            let dx = c.operand("dx").or(Ok::<_, crate::reason::Reason>(super::operand::Operand::Float(1.0)))?;
            g.cast(&dx.tensor(g)?, y.dtype)?
        }
        Some(x) => {
            let x = x.to(g, y.dtype)?;
            super::shapes::move_axes(g, &difference(g, &x, axis)?, &[axis], &[-1])?
        }
    };
    let y = super::shapes::move_axes(g, &y, &[axis], &[-1])?;
    let (tail, head) = neighbours(g, &y, -1)?;
    let heights = g.mul(&g.scalar(0.5, y.dtype)?, &g.add_v2(&tail, &head)?)?;
    Ok(g.sum(&g.mul(&heights, &width)?, &[-1], false)?.into())
}

/// All elements along an axis but the first, and all but the last.
fn neighbours(g: &Graph, x: &TensorRef, axis: i64) -> Result<(TensorRef, TensorRef)> {
    let axis = crate::graph::axis_index(axis, x.rank())?;
    let along = |slice: crate::graph::Slice| {
        let mut slices = vec![crate::graph::Slice::ALL; axis];
        slices.push(slice);
        g.strided_slice(x, &slices)
    };
    Ok((along(crate::graph::Slice::range(1, None))?, along(crate::graph::Slice::range(None, -1))?))
}

fn difference(g: &Graph, x: &TensorRef, axis: i64) -> Result<TensorRef> {
    let (tail, head) = neighbours(g, x, axis)?;
    if x.dtype == DType::Bool { g.not_equal(&tail, &head) } else { g.sub(&tail, &head) }
}

fn differences(c: &mut Call<'_>) -> Result<Argument> {
    let (mut x, times, axis) = (c.tensor("a")?, c.int_or("n", 1)?, c.int_or("axis", -1)?);
    if !(0..=1000).contains(&times) {
        refuse!("`n` is {times}, which is not supported");
    }
    for _ in 0..times {
        x = difference(c.g, &x, axis)?;
    }
    Ok(x.into())
}

/// The powers of each element.
fn vander(c: &mut Call<'_>) -> Result<Argument> {
    let (x, count, increasing) = (c.tensor("x")?, c.int_or_none("N")?, c.bool_or("increasing", false)?);
    let g = c.g;
    if x.rank() != 1 {
        refuse!("its input has shape {}, and rank 1 is needed", x.shape);
    }
    let size = match count {
        Some(count) => u64::try_from(count).ok(),
        None => x.dims()[0],
    };
    let Some(size) = size.filter(|size| *size < 1 << 20) else { refuse!("the number of its columns is unknown") };
    let powers: Vec<i64> = (0..size as i64).collect();
    let powers = if increasing { powers } else { powers.into_iter().rev().collect() };
    let inner =
        super::dtypes::result_type(&[super::dtypes::Kind::Typed(x.dtype), super::dtypes::Kind::Typed(DType::Float32)])?;
    let powers = g.cast(&g.vector_i32(&powers)?, inner)?;
    let y = g.pow(&g.cast(&g.expand_dims(&x, -1)?, inner)?, &powers)?;
    Ok(g.cast(&y, x.dtype)?.into())
}
