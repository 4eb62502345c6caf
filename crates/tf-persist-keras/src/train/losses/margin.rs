//! Losses of margins, overlaps and similarities.

use tf_persist_savedmodel::DType;

use super::EPSILON;
use super::function::mean;
use crate::graph::{Graph, TensorRef};
use crate::layers::activation::softmax::log_sum_exp;
use crate::reason::{Result, refuse};

/// Targets of 0 and 1 as -1 and 1; others as they are.
fn signed(g: &Graph, target: &TensorRef) -> Result<TensorRef> {
    let zeros = g.equal(target, &g.scalar(0.0, target.dtype)?)?;
    let ones = g.equal(target, &g.scalar(1.0, target.dtype)?)?;
    let axes: Vec<i64> = (0..target.rank() as i64).collect();
    let is_binary = g.all(&g.logical_or(&zeros, &ones)?, &axes, false)?;
    let doubled = g.mul(&g.scalar(2.0, target.dtype)?, target)?;
    g.select(&is_binary, &g.with_scalar(&doubled, 1.0, Graph::sub)?, target)
}

pub(super) fn hinge(g: &Graph, target: &TensorRef, output: &TensorRef, is_squared: bool) -> Result<TensorRef> {
    let target = signed(g, target)?;
    let margin = g.sub(&g.scalar(1.0, output.dtype)?, &g.mul(&target, output)?)?;
    let positive = g.with_scalar(&margin, 0.0, Graph::maximum)?;
    mean(g, &if is_squared { g.square(&positive)? } else { positive }, &[-1])
}

pub(super) fn categorical_hinge(g: &Graph, target: &TensorRef, output: &TensorRef) -> Result<TensorRef> {
    let positive = g.sum(&g.mul(target, output)?, &[-1], false)?;
    let others = g.sub(&g.scalar(1.0, output.dtype)?, target)?;
    let negative = g.max(&g.mul(&others, output)?, &[-1], false)?;
    let margin = g.with_scalar(&g.sub(&negative, &positive)?, 1.0, Graph::add_v2)?;
    g.with_scalar(&margin, 0.0, Graph::maximum)
}

/// All axes, where none are given.
fn axes_of(x: &TensorRef, axes: Option<&[i64]>) -> Vec<i64> {
    axes.map_or_else(|| (0..x.rank() as i64).collect(), <[i64]>::to_vec)
}

pub(super) fn dice(g: &Graph, target: &TensorRef, output: &TensorRef, axes: Option<&[i64]>) -> Result<TensorRef> {
    let axes = axes_of(output, axes);
    let shared = g.sum(&g.mul(target, output)?, &axes, false)?;
    let both = g.add_v2(&g.sum(target, &axes, false)?, &g.sum(output, &axes, false)?)?;
    let both = g.with_scalar(&both, EPSILON, Graph::add_v2)?;
    let twice = g.mul(&g.scalar(2.0, output.dtype)?, &shared)?;
    g.sub(&g.scalar(1.0, output.dtype)?, &g.real_div(&twice, &both)?)
}

pub(super) fn tversky(
    g: &Graph,
    target: &TensorRef,
    output: &TensorRef,
    alpha: f64,
    beta: f64,
    axes: Option<&[i64]>,
) -> Result<TensorRef> {
    let axes = axes_of(output, axes);
    let one = g.scalar(1.0, output.dtype)?;
    let shared = g.sum(&g.mul(target, output)?, &axes, false)?;
    let missed = g.sum(&g.mul(&g.sub(&one, output)?, target)?, &axes, false)?;
    let wrong = g.sum(&g.mul(output, &g.sub(&one, target)?)?, &axes, false)?;
    let whole = g.add_v2(&shared, &g.with_scalar(&missed, alpha, Graph::mul)?)?;
    let whole = g.add_v2(&whole, &g.with_scalar(&wrong, beta, Graph::mul)?)?;
    let whole = g.with_scalar(&whole, EPSILON, Graph::add_v2)?;
    g.sub(&one, &g.real_div(&shared, &whole)?)
}

/// The circle loss, by the similarities of all pairs of a batch; its mask holds where it is positive.
pub(super) fn circle(
    g: &Graph,
    target: &TensorRef,
    output: &TensorRef,
    gamma: f64,
    margin: f64,
    remove_diagonal: bool,
) -> Result<(TensorRef, Option<TensorRef>)> {
    if output.rank() != 2 {
        refuse!("the loss `circle` needs outputs of rank 2, not of shape {}", output.shape);
    }
    let dtype = output.dtype;
    let scalar = |value: f64| g.scalar(value, dtype);
    let labels = g.reshape(&g.cast(target, DType::Int32)?, &[None, Some(1)])?;
    let similarity = g.mat_mul_with(output, output, false, true)?;
    let distance = g.maximum(&g.sub(&scalar(1.0)?, &similarity)?, &scalar(0.0)?)?;
    let same = g.equal(&labels, &g.transpose(&labels, &[1, 0])?)?;
    let other = g.logical_not(&same)?;
    let mut positive = same;
    if remove_diagonal {
        let (start, step) = (g.scalar_i32(0)?, g.scalar_i32(1)?);
        let numbers = g.range(&start, &g.dim_of(output, 0)?, &step, output.dims()[0])?;
        let diagonal = g.equal(&g.expand_dims(&numbers, -1)?, &numbers)?;
        positive = g.logical_and(&positive, &g.logical_not(&diagonal)?)?;
    }
    let part = |mask: &TensorRef, weights: &TensorRef, distances: &TensorRef, sign: f64| -> Result<TensorRef> {
        let weights = g.maximum(&g.mul(weights, &g.cast(mask, dtype)?)?, &scalar(0.0)?)?;
        let weighted = g.mul(&g.mul(&scalar(sign * gamma)?, &weights)?, distances)?;
        let kept = g.select(mask, &weighted, &scalar(f64::NEG_INFINITY)?)?;
        g.squeeze(&log_sum_exp(g, &kept, &[1])?, &[1])
    };
    let near = part(&positive, &g.add_v2(&scalar(margin)?, &distance)?, &g.sub(&scalar(margin)?, &distance)?, -1.0)?;
    let far =
        part(&other, &g.sub(&scalar(1.0 + margin)?, &distance)?, &g.sub(&scalar(1.0 - margin)?, &distance)?, 1.0)?;
    let loss = g.softplus(&g.add_v2(&near, &far)?)?;
    let mask = g.greater(&loss, &scalar(0.0)?)?;
    Ok((loss, Some(mask)))
}
