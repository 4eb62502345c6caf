//! Normalization of activations.

mod batch;
mod group;
mod layer;
mod spectral;
#[cfg(test)]
mod tests;
mod unit;

use tf_persist_savedmodel::DType;

use super::{Context, Layer};
use crate::config::Config;
use crate::graph::{Graph, TensorRef};
use crate::parse::Parser;
use crate::reason::Result;

pub(super) fn build(class: &str, config: &Config<'_>, parser: &mut Parser<'_>) -> Option<Result<Box<dyn Layer>>> {
    batch::build(class, config, parser)
        .or_else(|| layer::build(class, config, parser))
        .or_else(|| group::build(class, config, parser))
        .or_else(|| unit::build(class, config, parser))
        .or_else(|| spectral::build(class, config, parser))
}

/// The dtype in which Keras 3 computes statistics: float32, or float64 for float64.
pub(super) fn at_least_float32(dtype: DType) -> DType {
    if dtype == DType::Float64 { dtype } else { DType::Float32 }
}

/// The next variable of a layer that Keras does not cast to the dtype of its policy, cast to `dtype`.
fn weight(cx: &Context<'_>, name: &str, shape: &[u64], trainable: bool, dtype: DType) -> Result<TensorRef> {
    let resource = cx.declare(name, shape, cx.policy.variable, trainable)?;
    cx.g.cast(&cx.g.read(resource)?, dtype)
}

/// Mean and population variance over some axes, which stay with size 1.
fn moments(g: &Graph, x: &TensorRef, axes: &[i64]) -> Result<(TensorRef, TensorRef)> {
    let mean = g.mean(x, axes, true)?;
    let variance = g.mean(&g.squared_difference(x, &g.stop_gradient(&mean)?)?, axes, true)?;
    Ok((mean, variance))
}

/// What normalizes an input. All tensors have the dtype of the input.
struct Normal<'a> {
    mean: &'a TensorRef,
    variance: &'a TensorRef,
    /// The scale.
    gamma: Option<&'a TensorRef>,
    /// The offset.
    beta: Option<&'a TensorRef>,
    epsilon: f64,
}

impl Normal<'_> {
    /// `x · inv + (beta − mean · inv)` with `inv = gamma / √(variance + epsilon)`, as `tf.nn.batch_normalization` does.
    fn apply(&self, g: &Graph, x: &TensorRef) -> Result<TensorRef> {
        let inv = self.inverse(g)?;
        let shift = match self.beta {
            Some(beta) => g.sub(beta, &g.mul(self.mean, &inv)?)?,
            None => g.mul(&g.neg(self.mean)?, &inv)?,
        };
        g.add_v2(&g.mul(x, &inv)?, &shift)
    }

    /// The same as `x · inv + (−mean · inv + beta)`, which rounds otherwise.
    fn apply_negated(&self, g: &Graph, x: &TensorRef) -> Result<TensorRef> {
        let inv = self.inverse(g)?;
        let mut shift = g.mul(&g.neg(self.mean)?, &inv)?;
        if let Some(beta) = self.beta {
            shift = g.add_v2(&shift, beta)?;
        }
        g.add_v2(&g.mul(x, &inv)?, &shift)
    }

    fn inverse(&self, g: &Graph) -> Result<TensorRef> {
        let inv = g.rsqrt(&g.with_scalar(self.variance, self.epsilon, Graph::add_v2)?)?;
        match self.gamma {
            Some(gamma) => g.mul(&inv, gamma),
            None => Ok(inv),
        }
    }
}
