//! Losses of numbers.

use super::EPSILON;
use super::function::mean;
use crate::graph::{Graph, TensorRef};
use crate::reason::Result;

pub(super) fn squared(g: &Graph, target: &TensorRef, output: &TensorRef) -> Result<TensorRef> {
    mean(g, &g.square(&g.sub(target, output)?)?, &[-1])
}

pub(super) fn absolute(g: &Graph, target: &TensorRef, output: &TensorRef) -> Result<TensorRef> {
    mean(g, &g.abs(&g.sub(target, output)?)?, &[-1])
}

pub(super) fn percentage(g: &Graph, target: &TensorRef, output: &TensorRef) -> Result<TensorRef> {
    let epsilon = g.scalar(EPSILON, output.dtype)?;
    let scale = g.maximum(&g.abs(target)?, &epsilon)?;
    let difference = g.abs(&g.real_div(&g.sub(target, output)?, &scale)?)?;
    g.mul(&g.scalar(100.0, output.dtype)?, &mean(g, &difference, &[-1])?)
}

pub(super) fn logarithmic(g: &Graph, target: &TensorRef, output: &TensorRef) -> Result<TensorRef> {
    let (epsilon, one) = (g.scalar(EPSILON, output.dtype)?, g.scalar(1.0, output.dtype)?);
    let log = |x: &TensorRef| g.log(&g.add_v2(&g.maximum(x, &epsilon)?, &one)?);
    let (output, target) = (log(output)?, log(target)?);
    mean(g, &g.square(&g.sub(&output, &target)?)?, &[-1])
}

/// x / max(norm, epsilon).
pub(in crate::train) fn normalized(g: &Graph, x: &TensorRef, axes: &[i64]) -> Result<TensorRef> {
    let inverse = g.rsqrt(&g.sum(&g.square(x)?, axes, true)?)?;
    g.mul(x, &g.minimum(&inverse, &g.scalar(1.0 / EPSILON, x.dtype)?)?)
}

pub(super) fn cosine(
    g: &Graph,
    target: &TensorRef,
    output: &TensorRef,
    axis: i64,
    negative: bool,
) -> Result<TensorRef> {
    let output = normalized(g, output, &[axis])?;
    let target = normalized(g, target, &[axis])?;
    let sum = g.sum(&g.mul(&target, &output)?, &[axis], false)?;
    if negative { g.neg(&sum) } else { Ok(sum) }
}

pub(super) fn huber(g: &Graph, target: &TensorRef, output: &TensorRef, delta: f64) -> Result<TensorRef> {
    let (delta, half) = (g.scalar(delta, output.dtype)?, g.scalar(0.5, output.dtype)?);
    let error = g.sub(output, target)?;
    let absolute = g.abs(&error)?;
    let is_small = g.less_equal(&absolute, &delta)?;
    let small = g.mul(&half, &g.square(&error)?)?;
    let large = g.sub(&g.mul(&delta, &absolute)?, &g.mul(&half, &g.square(&delta)?)?)?;
    mean(g, &g.select(&is_small, &small, &large)?, &[-1])
}

pub(super) fn log_cosh(g: &Graph, target: &TensorRef, output: &TensorRef) -> Result<TensorRef> {
    let log_2 = g.scalar(f64::from(std::f32::consts::LN_2), output.dtype)?;
    let x = g.sub(output, target)?;
    let softplus = g.softplus(&g.with_scalar(&x, -2.0, Graph::mul)?)?;
    mean(g, &g.sub(&g.add_v2(&x, &softplus)?, &log_2)?, &[-1])
}

pub(super) fn poisson(g: &Graph, target: &TensorRef, output: &TensorRef) -> Result<TensorRef> {
    let log = g.log(&g.with_scalar(output, EPSILON, Graph::add_v2)?)?;
    mean(g, &g.sub(output, &g.mul(target, &log)?)?, &[-1])
}

pub(super) fn kl_divergence(g: &Graph, target: &TensorRef, output: &TensorRef) -> Result<TensorRef> {
    let (target, output) = (g.clip(target, EPSILON, 1.0)?, g.clip(output, EPSILON, 1.0)?);
    g.sum(&g.mul(&target, &g.log(&g.real_div(&target, &output)?)?)?, &[-1], false)
}
