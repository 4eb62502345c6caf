//! How often outputs are right.

use tf_persist_savedmodel::DType;

use super::super::losses::same_rank;
use crate::graph::{Graph, TensorRef};
use crate::reason::{Result, refuse};

fn matches(g: &Graph, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
    g.cast(&g.equal(a, b)?, DType::Float32)
}

pub(super) fn equal(g: &Graph, target: &TensorRef, output: &TensorRef) -> Result<TensorRef> {
    let (target, output) = same_rank(g, &g.cast(target, output.dtype)?, output)?;
    matches(g, &target, &output)
}

pub(super) fn binary(g: &Graph, target: &TensorRef, output: &TensorRef, threshold: f64) -> Result<TensorRef> {
    let (target, output) = same_rank(g, target, output)?;
    let positive = g.cast(&g.with_scalar(&output, threshold, Graph::greater)?, target.dtype)?;
    matches(g, &target, &positive)
}

pub(super) fn categorical(g: &Graph, target: &TensorRef, output: &TensorRef) -> Result<TensorRef> {
    let target = g.cast(&g.arg_reduce("ArgMax", target, -1, DType::Int32)?, output.dtype)?;
    of_classes(g, &target, output)
}

pub(super) fn sparse(g: &Graph, target: &TensorRef, output: &TensorRef) -> Result<TensorRef> {
    of_classes(g, &g.cast(target, output.dtype)?, output)
}

/// Whether the largest output is that of the class.
fn of_classes(g: &Graph, target: &TensorRef, output: &TensorRef) -> Result<TensorRef> {
    let mut target = target.clone();
    if target.rank() == output.rank() && target.dims().last() == Some(&Some(1)) {
        target = g.squeeze(&target, &[-1])?;
    }
    let largest = g.cast(&g.arg_reduce("ArgMax", output, -1, DType::Int32)?, target.dtype)?;
    matches(g, &target, &largest)
}

pub(super) fn top_k(g: &Graph, target: &TensorRef, output: &TensorRef, k: i64, sparse: bool) -> Result<TensorRef> {
    let classes = match sparse {
        true => g.cast(target, DType::Int32)?,
        false => g.arg_reduce("ArgMax", &g.cast(target, output.dtype)?, -1, DType::Int32)?,
    };
    if output.rank() < 2 {
        refuse!("the best classes of outputs of shape {} are not known", output.shape);
    }
    let rows = if output.rank() > 2 { g.reshape(output, &[None, Some(output.size(-1)?)])? } else { output.clone() };
    let flat = if classes.rank() > 1 { g.reshape(&classes, &[None])? } else { classes.clone() };
    let k = g.scalar_i32(i32::try_from(k).unwrap_or(i32::MAX))?;
    let rows = g.cast(&rows, DType::Float32)?;
    let attrs = vec![("T", DType::Int32.into())];
    let found = g.add("InTopKV2", &[&rows, &flat, &k], attrs, DType::Bool, flat.shape.clone())?;
    let found = g.cast(&found, DType::Float32)?;
    if classes.rank() > 1 { g.reshape_to(&found, &g.shape_of(&classes)?, classes.shape.clone()) } else { Ok(found) }
}
