//! Which steps attend to which.

use tf_persist_savedmodel::DType;

use super::Inputs;
use crate::graph::{Graph, TensorRef};
use crate::reason::Result;

/// The mask `[batch, steps of the query, steps of the value]` that follows from all that is given; `window` is the
/// number of steps to either side that a step sees.
pub(super) fn combined(g: &Graph, inputs: &Inputs, window: Option<u64>) -> Result<Option<TensorRef>> {
    let mut mask: Option<TensorRef> = None;
    let mut and = |other: TensorRef| -> Result<()> {
        mask = Some(match &mask {
            Some(mask) => g.logical_and(mask, &other)?,
            None => other,
        });
        Ok(())
    };
    if let Some(query) = &inputs.query_mask {
        and(g.expand_dims(&g.cast(query, DType::Bool)?, -1)?)?;
    }
    for key in [&inputs.value_mask, &inputs.key_mask].into_iter().flatten() {
        and(g.expand_dims(&g.cast(key, DType::Bool)?, -2)?)?;
    }
    if inputs.causal || window.is_some() {
        let (rows, columns) = (positions(g, &inputs.query, -1)?, positions(g, &inputs.value, 0)?);
        if inputs.causal {
            and(g.expand_dims(&g.greater_equal(&rows, &columns)?, 0)?)?;
        }
        if let Some(window) = window {
            let distance = g.abs(&g.sub(&rows, &columns)?)?;
            let near = g.less(&distance, &g.scalar_i32(i32::try_from(window).unwrap_or(i32::MAX))?)?;
            and(g.expand_dims(&near, 0)?)?;
        }
    }
    match (&inputs.attention_mask, mask) {
        (Some(given), Some(mask)) => g.logical_and(&g.cast(given, DType::Bool)?, &mask).map(Some),
        (Some(given), None) => g.cast(given, DType::Bool).map(Some),
        (None, mask) => Ok(mask),
    }
}

/// The mask `[steps of the query, steps of the value]` that hides later steps.
pub(super) fn causal(g: &Graph, scores: &TensorRef) -> Result<TensorRef> {
    let range = |axis: i64, expand: i64| -> Result<TensorRef> {
        let (zero, one) = (g.scalar_i32(0)?, g.scalar_i32(1)?);
        g.expand_dims(&g.range(&zero, &g.dim_of(scores, axis)?, &one, scores.dim(axis)?)?, expand)
    };
    g.greater_equal(&range(-2, -1)?, &range(-1, 0)?)
}

/// The numbers of the steps of a tensor, as a row or a column.
fn positions(g: &Graph, x: &TensorRef, axis: i64) -> Result<TensorRef> {
    let (zero, one) = (g.scalar_i32(0)?, g.scalar_i32(1)?);
    let range = g.range(&zero, &g.dim_of(x, 1)?, &one, x.dim(1)?)?;
    g.expand_dims(&range, axis)
}

/// Inserts the dimensions before those of the steps, which a mask lacks: of heads, and of others.
pub(super) fn widened(g: &Graph, mask: &TensorRef, rank: usize, axis: i64) -> Result<TensorRef> {
    let mut mask = mask.clone();
    while mask.rank() < rank {
        mask = g.expand_dims(&mask, axis)?;
    }
    Ok(mask)
}
