//! The mean of values.

use tf_persist_savedmodel::DType;

use super::super::losses::{masked_weights, same_rank};
use crate::graph::{Graph, TensorRef};
use crate::reason::{Result, refuse};

/// The weighted mean over the elements of the batch of the means of each.
pub(in crate::train) fn mean_of(
    g: &Graph,
    values: &TensorRef,
    mask: Option<&TensorRef>,
    weights: Option<&TensorRef>,
) -> Result<TensorRef> {
    let (values, weights) = samplewise(g, values, mask, weights)?;
    let sum = |x: &TensorRef| {
        let axes: Vec<i64> = (0..x.rank() as i64).collect();
        g.sum(x, &axes, false)
    };
    let count = match &weights {
        Some(weights) => sum(weights)?,
        None if values.rank() > 0 => g.cast(&g.dim_of(&values, 0)?, DType::Float32)?,
        None => g.scalar(1.0, DType::Float32)?,
    };
    g.div_no_nan(&sum(&values)?, &count)
}

/// The values reduced to those of the elements of the batch, and their weights.
fn samplewise(
    g: &Graph,
    values: &TensorRef,
    mask: Option<&TensorRef>,
    weights: Option<&TensorRef>,
) -> Result<(TensorRef, Option<TensorRef>)> {
    let mut values = g.cast(values, DType::Float32)?;
    let inner = |from: usize, to: usize| (from as i64..to as i64).collect::<Vec<_>>();
    let mut reduced = None;
    if let Some(weights) = weights {
        let weights = g.cast(weights, DType::Float32)?;
        let weights = masked_weights(g, Some(&weights), mask, DType::Float32, false)?.unwrap_or(weights);
        let (same_values, weights) = same_rank(g, &values, &weights)?;
        values = same_values;
        if weights.rank() > values.rank() {
            refuse!("weights of shape {} do not fit values of shape {}", weights.shape, values.shape);
        }
        if values.rank() > weights.rank() {
            values = g.mean(&values, &inner(weights.rank(), values.rank()), false)?;
        }
        let rank = weights.rank();
        let mut weights = g.broadcast_to(&weights, &g.shape_of(&values)?, values.shape.clone())?;
        values = g.mul(&values, &weights)?;
        if rank > 1 {
            weights = g.mean(&weights, &inner(1, rank), false)?;
        }
        reduced = Some(weights);
    }
    if values.rank() > 1 {
        values = g.mean(&values, &inner(1, values.rank()), false)?;
    }
    Ok((values, reduced))
}
