//! Gradients that are kept small.

use super::super::gradients::Gradient;
use super::common::Clip;
use super::values::{map, square, whole};
use crate::graph::{Graph, TensorRef};
use crate::reason::Result;

pub(super) fn clipped(g: &Graph, gradients: Vec<Gradient>, clip: Option<Clip>) -> Result<Vec<Gradient>> {
    match clip {
        None => Ok(gradients),
        Some(Clip::Norm(limit)) => {
            gradients.iter().map(|gradient| map(gradient, |values| by_norm(g, values, limit))).collect()
        }
        Some(Clip::Value(limit)) => {
            gradients.iter().map(|gradient| map(gradient, |values| g.clip(values, -limit, limit))).collect()
        }
        Some(Clip::GlobalNorm(limit)) => by_global_norm(g, &gradients, limit),
    }
}

fn all_axes(x: &TensorRef) -> Vec<i64> {
    (0..x.rank() as i64).collect()
}

fn by_norm(g: &Graph, values: &TensorRef, limit: f64) -> Result<TensorRef> {
    let sum = g.sum(&g.mul(values, values)?, &all_axes(values), true)?;
    let is_positive = g.with_scalar(&sum, 0.0, Graph::greater)?;
    let safe = g.select(&is_positive, &sum, &g.ones_like(&sum)?)?;
    let norm = g.select(&is_positive, &g.sqrt(&safe)?, &sum)?;
    let scaled = g.with_scalar(values, limit, Graph::mul)?;
    g.real_div(&scaled, &g.with_scalar(&norm, limit, Graph::maximum)?)
}

fn by_global_norm(g: &Graph, gradients: &[Gradient], limit: f64) -> Result<Vec<Gradient>> {
    let mut squares = Vec::new();
    for gradient in gradients {
        let values = whole(g, &square(g, gradient)?)?;
        squares.push(g.sum(&values, &all_axes(&values), false)?);
    }
    let Some(dtype) = squares.first().map(|square| square.dtype) else { return Ok(Vec::new()) };
    let packed = g.pack(&squares.iter().collect::<Vec<_>>(), 0)?;
    let norm = g.sqrt(&g.sum(&packed, &[0], false)?)?;
    let one = g.scalar(1.0, dtype)?;
    let inverse = g.with_scalar(&g.real_div(&one, &norm)?, 1.0 / limit, Graph::minimum)?;
    let finite = g.mul(&g.scalar(limit, dtype)?, &inverse)?;
    // NaN where the norm is not finite.
    let scale = g.add_v2(&finite, &g.sub(&norm, &norm)?)?;
    gradients.iter().map(|gradient| Ok(g.mul(&whole(g, gradient)?, &scale)?.into())).collect()
}
