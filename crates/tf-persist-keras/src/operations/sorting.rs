//! Operations that order elements.

use tf_persist_savedmodel::DType;

use super::call::Call;
use super::dtypes::{is_integer, is_unsigned};
use super::shapes::swap_axes;
use super::{Entry, op};
use crate::graph::{Graph, Shape, TensorRef, axis_index};
use crate::layers::Argument;
use crate::reason::{Result, refuse};

pub(super) const TABLE: &[Entry] = &[
    op("Sort", "x", "axis", |c| {
        let (x, axis) = flat_unless_axis(c)?;
        let inner = if x.dtype == DType::Bool { c.g.cast(&x, DType::Int8)? } else { x.clone() };
        let [sorted, _] = ascending(c.g, &inner, axis)?;
        Ok(c.g.cast(&sorted, x.dtype)?.into())
    }),
    op("Argsort", "x", "axis", |c| {
        let (x, axis) = flat_unless_axis(c)?;
        let x = if x.dtype == DType::Bool { c.g.cast(&x, DType::UInt8)? } else { x };
        let [_, order] = ascending(c.g, &x, axis)?;
        Ok(order.into())
    }),
    op("TopK", "x", "k sorted", |c| {
        let (x, k, sorted) = (c.tensor("x")?, c.size("k")?, c.bool_or("sorted", true)?);
        let Ok(count) = i32::try_from(k) else { refuse!("`k` is {k}, which is too large") };
        let found = c.g.top_k(&x, &c.g.scalar_i32(count)?, Some(k), sorted)?;
        Ok(Argument::List(found.into_iter().map(Argument::from).collect()))
    }),
    op("InTopK", "targets predictions", "k", in_top_k),
    op("Argpartition", "x", "kth axis", partition),
];

/// `x` and `axis`; all elements in a row if the axis is null.
fn flat_unless_axis(c: &mut Call<'_>) -> Result<(TensorRef, i64)> {
    let (x, axis) = (c.tensor("x")?, c.axis_or_all()?);
    match axis {
        Some(axis) if x.rank() > 0 => Ok((x, axis)),
        _ => Ok((c.g.reshape(&x, &[None])?, 0)),
    }
}

/// The elements along an axis, the smallest first, and their indices, as TensorFlow's `sort`.
pub(super) fn ascending(g: &Graph, x: &TensorRef, axis: i64) -> Result<[TensorRef; 2]> {
    let index = axis_index(axis, x.rank())?;
    let x = swap_axes(g, x, axis, -1)?;
    // TensorFlow sorts in descending order only.
    let turned = |x: &TensorRef| match x.dtype {
        DType::UInt8 => g.sub(&g.scalar(f64::from(u8::MAX), x.dtype)?, x),
        DType::UInt16 => g.sub(&g.scalar(f64::from(u16::MAX), x.dtype)?, x),
        DType::UInt32 => g.sub(&g.scalar(f64::from(u32::MAX), x.dtype)?, x),
        dtype if is_unsigned(dtype) => refuse!("elements of {dtype} cannot be sorted"),
        dtype if is_integer(dtype) => g.sub(&g.neg(x)?, &g.scalar(1.0, x.dtype)?),
        _ => g.neg(x),
    };
    let [values, order] = g.top_k(&turned(&x)?, &g.dim_of(&x, -1)?, x.dim(-1)?, true)?;
    let values = turned(&values)?;
    Ok([swap_axes(g, &values, index as i64, -1)?, swap_axes(g, &order, index as i64, -1)?])
}

fn in_top_k(c: &mut Call<'_>) -> Result<Argument> {
    let (targets, predictions, k) = (c.tensor("targets")?, c.tensor("predictions")?, c.size("k")?);
    let g = c.g;
    let targets = if targets.dtype == DType::Int64 { targets } else { g.cast(&targets, DType::Int32)? };
    let shape = targets.shape.clone();
    if shape.rank() != 1 || predictions.rank() != 2 {
        refuse!("targets of shape {shape} do not fit predictions of shape {}", predictions.shape);
    }
    let k = g.scalar(k as f64, targets.dtype)?;
    let attrs = vec![("T", targets.dtype.into())];
    Ok(g.add("InTopKV2", &[&predictions, &targets, &k], attrs, DType::Bool, shape)?.into())
}

/// The indices that put the `kth` element where it would be if sorted, smaller ones before and others behind it.
fn partition(c: &mut Call<'_>) -> Result<Argument> {
    let (x, kth) = (c.tensor("x")?, c.int_or("kth", 0)?);
    let g = c.g;
    let (x, axis) = match c.axis_or_all()? {
        Some(axis) => (x, axis),
        None => (g.reshape(&x, &[None])?, 0),
    };
    if x.rank() != 1 {
        refuse!("a partition of a tensor of shape {} is not supported: Keras gives a wrong answer", x.shape);
    }
    let x = swap_axes(g, &g.cast(&x, DType::Int32)?, axis, -1)?;
    let size = g.dim_of(&x, -1)?;
    let Ok(kth) = i32::try_from(kth) else { refuse!("`kth` is {kth}, which is too large") };
    let last = g.sub(&size, &g.scalar_i32(1)?)?;
    let kth = g.maximum(&g.minimum(&g.scalar_i32(kth)?, &last)?, &g.scalar_i32(0)?)?;
    let [_, bottom] = g.top_k(&g.neg(&x)?, &g.add_v2(&kth, &g.scalar_i32(1)?)?, None, true)?;
    let zeros = g.fill(&g.shape_of(&bottom)?, &g.scalar_i32(0)?, Shape::new([None]))?;
    let marked = g.tensor_scatter("TensorScatterUpdate", &x, &g.expand_dims(&bottom, -1)?, &zeros)?;
    let rest = g.sub(&g.sub(&size, &kth)?, &g.scalar_i32(1)?)?;
    let [_, top] = g.top_k(&marked, &rest, None, true)?;
    let joined = g.concat(&[&bottom, &top], 0)?;
    Ok(g.reshape_to(&joined, &g.shape_of(&x)?, x.shape.clone())?.into())
}
