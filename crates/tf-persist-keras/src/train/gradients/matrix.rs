//! Products of matrices.

use super::broadcast::{broadcast_axes, reshape_like, sum_over};
use super::step::{Gradients, Step};
use crate::graph::{Attr, Graph, TensorRef};
use crate::reason::Result;

/// A product of two matrices, each perhaps transposed.
type Product = fn(&Graph, &TensorRef, &TensorRef, bool, bool) -> Result<TensorRef>;

/// The gradients of both inputs of a product, each perhaps transposed: those of `x` and `y`.
fn factors(step: &Step<'_>, ta: bool, tb: bool, product: Product) -> Result<[Option<TensorRef>; 2]> {
    let g = step.g;
    let (a, b, dy) = (step.x(0)?, step.x(1)?, step.dy()?);
    let da = match (step.needs(0), ta, tb) {
        (false, ..) => None,
        (_, false, false) => Some(product(g, &dy, b, false, true)?),
        (_, false, true) => Some(product(g, &dy, b, false, false)?),
        (_, true, false) => Some(product(g, b, &dy, false, true)?),
        (_, true, true) => Some(product(g, b, &dy, true, true)?),
    };
    let db = match (step.needs(1), ta, tb) {
        (false, ..) => None,
        (_, false, false) => Some(product(g, a, &dy, true, false)?),
        (_, false, true) => Some(product(g, &dy, a, true, false)?),
        (_, true, false) => Some(product(g, a, &dy, false, false)?),
        (_, true, true) => Some(product(g, &dy, a, true, true)?),
    };
    Ok([da, db])
}

pub(super) fn mat_mul(step: &Step<'_>) -> Gradients {
    let both = factors(step, step.flag("transpose_a"), step.flag("transpose_b"), Graph::mat_mul_with)?;
    Ok(both.map(|gradient| gradient.map(Into::into)).into())
}

pub(super) fn batch_mat_mul(step: &Step<'_>) -> Gradients {
    let g = step.g;
    let (x, y) = (step.x(0)?, step.x(1)?);
    let both = factors(step, step.flag("adj_x"), step.flag("adj_y"), Graph::batch_mat_mul)?;
    let batch = |tensor: &TensorRef| tensor.dims()[..tensor.rank().saturating_sub(2)].to_vec();
    let (batch_x, batch_y) = (batch(x), batch(y));
    let same = batch_x == batch_y && batch_x.iter().all(Option::is_some);
    if same {
        return Ok(both.map(|gradient| gradient.map(Into::into)).into());
    }
    let sizes = |tensor: &TensorRef| -> Result<TensorRef> {
        let axes: Vec<i64> = (0..tensor.rank() as i64 - 2).collect();
        g.gather(&g.shape_of(tensor)?, &g.vector_i32(&axes)?, 0)
    };
    let axes = broadcast_axes(g, &sizes(x)?, &sizes(y)?)?;
    let mut reduced = Vec::new();
    for ((gradient, axes), of) in both.into_iter().zip(axes).zip([x, y]) {
        reduced.push(match gradient {
            Some(gradient) => {
                // The axes count from the front of the longer shape, which is the gradient's.
                let sum = sum_over(g, &gradient, &axes, true)?;
                Some(reshape_like(g, &sum, of)?.into())
            }
            None => None,
        });
    }
    Ok(reduced)
}

pub(super) fn bias_add(step: &Step<'_>) -> Gradients {
    let dy = step.dy()?;
    let bias = step.if_needed(1, || {
        let mut attrs: Vec<(&'static str, Attr)> = vec![("T", dy.dtype.into())];
        attrs.extend(step.copied(&["data_format"]));
        step.g.add("BiasAddGrad", &[&dy], attrs, dy.dtype, step.x(1)?.shape.clone())
    })?;
    Ok(vec![Some(dy.into()), bias])
}
