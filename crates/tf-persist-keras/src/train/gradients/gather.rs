//! Lookups of rows.

use tf_persist_savedmodel::DType;

use super::broadcast::reshape_like;
use super::slices::segment_sum;
use super::step::{Gradients, Step};
use super::{Gradient, Slices};
use crate::graph::{Dim, Shape, TensorRef, axis_index};
use crate::reason::{Result, refuse};

/// `GatherV2`: along the first axis, the gradient is that of the rows, and stays so up to the optimizer.
pub(super) fn gather(step: &Step<'_>) -> Gradients {
    let g = step.g;
    let (x, indices, dy) = (step.x(0)?, step.x(1)?, step.dy()?);
    let Some([axis]) = step.constant(2).and_then(|axis| <[i64; 1]>::try_from(axis).ok()) else {
        refuse!("its axis is not constant")
    };
    let (axis, batch) = (axis_index(axis, x.rank())?, step.int("batch_dims", 0));
    if !step.needs(0) {
        return Ok(Vec::new());
    }
    let flat = g.reshape(indices, &[None])?;
    if axis == 0 {
        let dims: Vec<Dim> = [flat.dims()[0]].into_iter().chain(x.dims()[1..].iter().copied()).collect();
        let unknown = dims.iter().filter(|dim| dim.is_none()).count();
        let values = match unknown {
            0 | 1 => g.reshape(&dy, &dims)?,
            _ => {
                let sizes = g.pack_dims(&dims, |axis| match axis {
                    0 => g.dim_of(&flat, 0),
                    axis => g.dim_of(x, axis as i64),
                })?;
                g.reshape_to(&dy, &sizes, Shape::new(dims))?
            }
        };
        return Ok(vec![Some(Gradient::Sparse(Slices { ids: flat, values, of: x.clone() }))]);
    }
    match usize::try_from(batch) {
        Ok(0) => Ok(vec![Some(along_axis(step, axis, &flat, &dy)?.into())]),
        Ok(batch) if batch == axis => Ok(vec![Some(batched(step, axis, indices, &dy)?.into())]),
        _ => refuse!("a lookup along axis {axis} with {batch} batch dimensions is not supported in training"),
    }
}

/// Sums the gradient of each index: with the gathered axis first, then back in place.
fn along_axis(step: &Step<'_>, axis: usize, flat: &TensorRef, dy: &TensorRef) -> Result<TensorRef> {
    let g = step.g;
    let (x, indices) = (step.x(0)?, step.x(1)?);
    let (gathered, rank) = (indices.rank(), x.rank());
    // The indices' dimensions of the gradient become one.
    let mut dims: Vec<Dim> = x.dims().to_vec();
    dims[axis] = flat.dims()[0];
    let values = if gathered == 1 {
        dy.clone()
    } else {
        let sizes =
            g.pack_dims(&dims, |index| if index == axis { g.dim_of(flat, 0) } else { g.dim_of(x, index as i64) })?;
        g.reshape_to(dy, &sizes, Shape::new(dims))?
    };
    let order: Vec<usize> = [axis].into_iter().chain((0..rank).filter(|index| *index != axis)).collect();
    let first = g.transpose(&values, &order)?;
    let sum = segment_sum(g, &first, flat, &g.dim_of(x, axis as i64)?, x.dims()[axis])?;
    g.transpose(&sum, &super::reduce::inverse(&order))
}

/// Lookups within each element of the batch: as one lookup with the elements behind each other.
fn batched(step: &Step<'_>, batch: usize, indices: &TensorRef, dy: &TensorRef) -> Result<TensorRef> {
    let g = step.g;
    let x = step.x(0)?;
    let shape = g.shape_of(x)?;
    let axes: Vec<i64> = (0..batch as i64).collect();
    let outer = g.prod(&g.gather(&shape, &g.vector_i32(&axes)?, 0)?, &[0], false)?;
    let length = g.dim_of(x, batch as i64)?;
    let rows = g.pack(&[&outer, &g.scalar_i32(-1)?], 0)?;
    let flat = g.reshape_to(&g.cast(indices, DType::Int32)?, &rows, Shape::new([None, None]))?;
    let starts = g.range(&g.scalar_i32(0)?, &g.mul(&outer, &length)?, &length, None)?;
    let flat = g.reshape(&g.add_v2(&flat, &g.expand_dims(&starts, -1)?)?, &[None])?;
    let inner = &x.dims()[batch + 1..];
    let mut sizes = vec![g.scalar_i32(-1)?];
    for axis in batch + 1..x.rank() {
        sizes.push(g.dim_of(x, axis as i64)?);
    }
    let sizes = g.pack(&sizes.iter().collect::<Vec<_>>(), 0)?;
    let values = g.reshape_to(dy, &sizes, Shape::new([&[None], inner].concat()))?;
    let sum = segment_sum(g, &values, &flat, &g.mul(&outer, &length)?, None)?;
    reshape_like(g, &sum, x)
}

pub(super) fn gather_nd(step: &Step<'_>) -> Gradients {
    let g = step.g;
    step.first(|| {
        let (x, indices, dy) = (step.x(0)?, step.x(1)?, step.dy()?);
        let shape = g.cast(&g.shape_of(x)?, indices.dtype)?;
        let attrs = vec![("T", dy.dtype.into()), ("Tindices", indices.dtype.into())];
        g.add("ScatterNd", &[indices, &dy, &shape], attrs, dy.dtype, x.shape.clone())
    })
}

/// The gradients at the indices, of the values that an op scattered there.
fn scattered(step: &Step<'_>, indices: usize, values: usize) -> Result<TensorRef> {
    let (indices, values, dy) = (step.x(indices)?, step.x(values)?, step.dy()?);
    let attrs = vec![("Tparams", dy.dtype.into()), ("Tindices", indices.dtype.into())];
    step.g.add("GatherNd", &[&dy, indices], attrs, dy.dtype, values.shape.clone())
}

pub(super) fn scatter_nd(step: &Step<'_>) -> Gradients {
    Ok(vec![None, step.if_needed(1, || scattered(step, 0, 1))?])
}

pub(super) fn scatter_add(step: &Step<'_>) -> Gradients {
    let passed = if step.needs(0) { step.outputs.first().cloned().flatten() } else { None };
    Ok(vec![passed, None, step.if_needed(2, || scattered(step, 1, 2))?])
}

pub(super) fn scatter_update(step: &Step<'_>) -> Gradients {
    let g = step.g;
    let kept = step.if_needed(0, || {
        let (dy, indices) = (step.dy()?, step.x(1)?);
        let attrs = vec![("T", dy.dtype.into()), ("Tindices", indices.dtype.into())];
        let zeros = g.zeros_like(step.x(2)?)?;
        g.add("TensorScatterUpdate", &[&dy, indices, &zeros], attrs, dy.dtype, dy.shape.clone())
    })?;
    Ok(vec![kept, None, step.if_needed(2, || scattered(step, 1, 2))?])
}
