//! Ops that reduce dimensions, or run along one.

use tf_persist_savedmodel::DType;

use super::broadcast::reshape_like;
use super::step::{Gradients, Step, is_of_sizes};
use crate::graph::shape::element_count;
use crate::graph::{Dim, Graph, Shape, TensorRef};
use crate::reason::{Result, refuse};

/// The axes that a node reduces, each once.
fn axes(step: &Step<'_>) -> Result<Vec<usize>> {
    let rank = step.x(0)?.rank();
    let Some(axes) = step.constant(1) else { refuse!("the axes of a reduction are not constant") };
    let mut indices = axes.iter().map(|axis| crate::graph::axis_index(*axis, rank)).collect::<Result<Vec<_>>>()?;
    indices.sort_unstable();
    indices.dedup();
    Ok(indices)
}

/// The shape of the result with the reduced dimensions kept as 1: of `x`, at these axes.
fn kept(x: &TensorRef, axes: &[usize]) -> Shape {
    Shape::new(
        x.dims()
            .iter()
            .enumerate()
            .map(|(axis, dim)| if axes.contains(&axis) { Some(1) } else { *dim })
            .collect::<Vec<_>>(),
    )
}

/// Reshapes the result of a reduction so that its dimensions are those of `x`, with 1 at the reduced ones.
fn keep_dims(g: &Graph, result: &TensorRef, x: &TensorRef, axes: &[usize]) -> Result<TensorRef> {
    let shape = kept(x, axes);
    if result.rank() == shape.rank() {
        return Ok(result.clone());
    }
    if shape.dims().iter().filter(|dim| dim.is_none()).count() <= 1 && !shape.dims().contains(&Some(0)) {
        return g.reshape(result, shape.dims());
    }
    let sizes = g.pack_dims(shape.dims(), |axis| g.dim_of(x, axis as i64))?;
    g.reshape_to(result, &sizes, shape)
}

/// Repeats a gradient along the reduced dimensions.
fn spread(step: &Step<'_>) -> Result<TensorRef> {
    let (g, x, dy) = (step.g, step.x(0)?, step.dy()?);
    let axes = axes(step)?;
    let whole = axes.len() == x.rank();
    if whole {
        let ones = g.reshape(&dy, &vec![Some(1); x.rank()])?;
        let sizes = match x.shape.sizes() {
            Some(_) => g.pack_dims(x.dims(), |_| refuse!("a size is unknown"))?,
            None => g.shape_of(x)?,
        };
        return g.tile_by(&ones, &sizes, x.shape.clone());
    }
    let dy = keep_dims(g, &dy, x, &axes)?;
    match x.shape.sizes() {
        Some(sizes) => {
            let multiples: Vec<u64> =
                sizes.iter().enumerate().map(|(axis, size)| if axes.contains(&axis) { *size } else { 1 }).collect();
            g.tile(&dy, &multiples)
        }
        None => g.broadcast_to(&dy, &g.shape_of(x)?, x.shape.clone()),
    }
}

pub(super) fn sum(step: &Step<'_>) -> Gradients {
    step.first(|| spread(step))
}

pub(super) fn mean(step: &Step<'_>) -> Gradients {
    let g = step.g;
    step.first(|| {
        let (x, axes) = (step.x(0)?, axes(step)?);
        let sum = spread(step)?;
        let reduced: Vec<Dim> = axes.iter().map(|axis| x.dims()[*axis]).collect();
        let is_folded = is_of_sizes(g, &step.dy()?);
        if let Some(count) = element_count(&reduced).filter(|_| !is_folded) {
            return g.with_scalar(&sum, count as f64, Graph::real_div);
        }
        let axes = g.vector_i32(&axes.iter().map(|axis| *axis as i64).collect::<Vec<_>>())?;
        let sizes = g.gather(&g.shape_of(x)?, &axes, 0)?;
        let count = g.cast(&g.prod(&sizes, &[0], false)?, sum.dtype)?;
        // In Keras the count is constant. TensorFlow divides constants by it, and multiplies others with its
        // reciprocal.
        match is_folded {
            true => g.real_div(&sum, &count),
            false => g.mul(&sum, &g.reciprocal(&count)?),
        }
    })
}

/// `Max` and `Min`: shared among the elements that are as large.
pub(super) fn extreme(step: &Step<'_>) -> Gradients {
    let g = step.g;
    step.first(|| {
        let (x, axes) = (step.x(0)?, axes(step)?);
        let y = keep_dims(g, &step.y(0)?, x, &axes)?;
        let dy = keep_dims(g, &step.dy()?, x, &axes)?;
        let indicators = g.cast(&g.equal(&y, x)?, dy.dtype)?;
        let list: Vec<i64> = axes.iter().map(|axis| *axis as i64).collect();
        let count = keep_dims(g, &g.sum(&indicators, &list, false)?, x, &axes)?;
        g.mul(&g.real_div(&indicators, &count)?, &dy)
    })
}

/// The product of all others along the reduced dimensions, by exclusive products from either end.
pub(super) fn prod(step: &Step<'_>) -> Gradients {
    let g = step.g;
    step.first(|| {
        let (x, axes) = (step.x(0)?, axes(step)?);
        let dy = keep_dims(g, &step.dy()?, x, &axes)?;
        let dy = g.broadcast_to(&dy, &g.shape_of(x)?, x.shape.clone())?;
        let others: Vec<usize> = (0..x.rank()).filter(|axis| !axes.contains(axis)).collect();
        let permutation: Vec<usize> = axes.iter().chain(&others).copied().collect();
        let permuted = g.transpose(x, &permutation)?;
        let count = |axes: &[usize]| -> Result<TensorRef> {
            let axes = g.vector_i32(&axes.iter().map(|axis| *axis as i64).collect::<Vec<_>>())?;
            g.prod(&g.gather(&g.shape_of(x)?, &axes, 0)?, &[0], false)
        };
        let sizes = g.pack(&[&count(&axes)?, &count(&others)?], 0)?;
        let rows = g.reshape_to(&permuted, &sizes, Shape::new([None, None]))?;
        let (left, right) = (cumulate(g, "Cumprod", &rows, true, false)?, cumulate(g, "Cumprod", &rows, true, true)?);
        let product = g.reshape_to(&g.mul(&left, &right)?, &g.shape_of(&permuted)?, permuted.shape.clone())?;
        g.mul(&dy, &g.transpose(&product, &inverse(&permutation))?)
    })
}

fn cumulate(g: &Graph, op: &'static str, x: &TensorRef, exclusive: bool, reverse: bool) -> Result<TensorRef> {
    let axis = g.scalar_i32(0)?;
    let attrs = vec![("T", x.dtype.into()), ("exclusive", exclusive.into()), ("reverse", reverse.into())];
    g.add(op, &[x, &axis], attrs, x.dtype, x.shape.clone())
}

/// The permutation that undoes another.
pub(super) fn inverse(permutation: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; permutation.len()];
    for (index, axis) in permutation.iter().enumerate() {
        if let Some(place) = inverse.get_mut(*axis) {
            *place = index;
        }
    }
    inverse
}

/// `Cumsum` in the other direction.
fn reversed_sum(step: &Step<'_>, x: &TensorRef) -> Result<TensorRef> {
    let attrs = vec![
        ("T", x.dtype.into()),
        ("Tidx", step.x(1)?.dtype.into()),
        ("exclusive", step.flag("exclusive").into()),
        ("reverse", (!step.flag("reverse")).into()),
    ];
    step.g.add("Cumsum", &[x, step.x(1)?], attrs, x.dtype, x.shape.clone())
}

pub(super) fn cumsum(step: &Step<'_>) -> Gradients {
    step.first(|| reversed_sum(step, &step.dy()?))
}

pub(super) fn cumprod(step: &Step<'_>) -> Gradients {
    let g = step.g;
    step.first(|| {
        let products = step.y(0)?;
        g.div_no_nan(&reversed_sum(step, &g.mul(&products, &step.dy()?)?)?, step.x(0)?)
    })
}

/// `TopKV2`: the gradients go back to where the values came from.
pub(super) fn top_k(step: &Step<'_>) -> Gradients {
    let g = step.g;
    step.first(|| {
        let (x, dy, indices) = (step.x(0)?, step.dy()?, step.y(1)?);
        let rows = g.reshape(&indices, &[None, indices.dim(-1)?])?;
        let (row_count, length) = (g.dim_of(&rows, 0)?, g.dim_of(x, -1)?);
        let end = g.mul(&row_count, &length)?;
        let starts = g.range(&g.scalar_i32(0)?, &end, &length, rows.dims()[0])?;
        let flat = g.reshape(&g.add_v2(&rows, &g.expand_dims(&starts, -1)?)?, &[None])?;
        let size = g.prod(&g.shape_of(x)?, &[0], true)?;
        let attrs = vec![("T", dy.dtype.into()), ("Tindices", DType::Int32.into())];
        let inputs = [&g.expand_dims(&flat, -1)?, &g.reshape(&dy, &[None])?, &size];
        let scattered = g.add("ScatterNd", &inputs, attrs, dy.dtype, Shape::new([None]))?;
        reshape_like(g, &scattered, x)
    })
}
