//! Cross entropies.
//!
//! Where the output comes from a softmax or sigmoid, Keras computes them from the logits before it.

use tf_persist_savedmodel::DType;

use super::EPSILON;
use super::function::mean;
use crate::graph::{Graph, Op, Shape, TensorRef, axis_index};
use crate::layers::activation::softmax::along;
use crate::reason::{Result, refuse};

/// The logits that a softmax or sigmoid made the output of; the output itself if it is said to be logits.
fn logits_of(g: &Graph, output: &TensorRef, from_logits: bool) -> Option<TensorRef> {
    let found = g.with_nodes(|nodes| {
        let input = |tensor: &TensorRef, ops: &[&str]| {
            let node = nodes.get(tensor.node)?;
            matches!(node.op, Op::Named(op) if ops.contains(&op)).then(|| node.inputs.first().cloned()).flatten()
        };
        // A softmax along another axis is between two transpositions.
        input(output, &["Softmax", "Sigmoid"])
            .or_else(|| input(&input(&input(output, &["Transpose"])?, &["Softmax"])?, &["Transpose"]))
    });
    found.or_else(|| from_logits.then(|| output.clone()))
}

/// `targets · (1 - smoothing) + smoothing / classes`.
pub(super) fn smoothed(g: &Graph, target: &TensorRef, smoothing: f64) -> Result<TensorRef> {
    if smoothing == 0.0 {
        return Ok(target.clone());
    }
    let classes = g.cast(&g.dim_of(target, -1)?, target.dtype)?;
    let share = g.real_div(&g.scalar(smoothing, target.dtype)?, &classes)?;
    g.add_v2(&g.with_scalar(target, 1.0 - smoothing, Graph::mul)?, &share)
}

/// `targets · (1 - smoothing) + smoothing / 2`.
pub(super) fn smoothed_binary(g: &Graph, target: &TensorRef, smoothing: f64) -> Result<TensorRef> {
    if smoothing == 0.0 {
        return Ok(target.clone());
    }
    g.with_scalar(&g.with_scalar(target, 1.0 - smoothing, Graph::mul)?, 0.5 * smoothing, Graph::add_v2)
}

fn check_shapes(target: &TensorRef, output: &TensorRef) -> Result<()> {
    if target.rank() != output.rank() || target.shape.merge(&output.shape).is_err() {
        refuse!("targets of shape {} do not fit outputs of shape {}", target.shape, output.shape);
    }
    Ok(())
}

pub(super) fn categorical(
    g: &Graph,
    target: &TensorRef,
    output: &TensorRef,
    from_logits: bool,
    axis: i64,
) -> Result<TensorRef> {
    check_shapes(target, output)?;
    if let Some(logits) = logits_of(g, output, from_logits) {
        return softmax_cross_entropy(g, target, &logits, axis);
    }
    let output = g.real_div(output, &g.sum(output, &[axis], true)?)?;
    let output = g.clip(&output, EPSILON, 1.0 - EPSILON)?;
    g.neg(&g.sum(&g.mul(target, &g.log(&output)?)?, &[axis], false)?)
}

/// TensorFlow's function of one-hot targets and logits.
fn softmax_cross_entropy(g: &Graph, target: &TensorRef, logits: &TensorRef, axis: i64) -> Result<TensorRef> {
    let index = axis_index(axis, logits.rank())?;
    let last = logits.rank() - 1;
    let (mut target, mut logits) = (target.clone(), logits.clone());
    if index != last {
        let order: Vec<usize> = (0..last + 1).filter(|other| *other != index).chain([index]).collect();
        (target, logits) = (g.transpose(&target, &order)?, g.transpose(&logits, &order)?);
    }
    let rows = |x: &TensorRef| -> Result<TensorRef> {
        match logits.dims()[last] {
            Some(classes) => g.reshape(x, &[None, Some(classes)]),
            None => {
                let sizes = g.pack(&[&g.scalar_i32(-1)?, &g.dim_of(&logits, -1)?], 0)?;
                g.reshape_to(x, &sizes, Shape::new([None, None]))
            }
        }
    };
    let (flat_logits, flat_target) = (rows(&logits)?, rows(&target)?);
    let shape = Shape::new([flat_logits.dims()[0]]);
    let outputs = vec![(logits.dtype, shape), (logits.dtype, flat_logits.shape.clone())];
    let attrs = vec![("T", logits.dtype.into())];
    let cost = g.add_many("SoftmaxCrossEntropyWithLogits", &[&flat_logits, &flat_target], attrs, outputs)?.remove(0);
    outer_shape(g, &cost, &logits)
}

/// Reshapes a vector to the shape of the logits without their last dimension.
fn outer_shape(g: &Graph, cost: &TensorRef, logits: &TensorRef) -> Result<TensorRef> {
    let dims = &logits.dims()[..logits.rank() - 1];
    let sizes = g.pack_dims(dims, |axis| g.dim_of(logits, axis as i64))?;
    g.reshape_to(cost, &sizes, Shape::new(dims))
}

pub(super) fn categorical_focal(
    g: &Graph,
    target: &TensorRef,
    output: &TensorRef,
    from_logits: bool,
    axis: i64,
    alpha: f64,
    gamma: f64,
) -> Result<TensorRef> {
    let output = if from_logits { along(g, output, Some(axis), Graph::softmax)? } else { output.clone() };
    let output = g.real_div(&output, &g.sum(&output, &[axis], true)?)?;
    let output = g.clip(&output, EPSILON, 1.0 - EPSILON)?;
    let entropy = g.mul(&g.neg(target)?, &g.log(&output)?)?;
    let factor = g.with_scalar(&g.sub(&g.scalar(1.0, output.dtype)?, &output)?, gamma, Graph::pow)?;
    let factor = g.with_scalar(&factor, alpha, Graph::mul)?;
    g.sum(&g.mul(&factor, &entropy)?, &[axis], false)
}

pub(super) fn sparse(
    g: &Graph,
    target: &TensorRef,
    output: &TensorRef,
    from_logits: bool,
    ignore_class: Option<i64>,
    axis: i64,
) -> Result<(TensorRef, Option<TensorRef>)> {
    if axis_index(axis, output.rank())? + 1 != output.rank() {
        refuse!("a sparse cross entropy along axis {axis} is not supported, only along the last one");
    }
    let (mut target, mut output) = (target.clone(), output.clone());
    if target.rank() == output.rank() && target.dims().last() == Some(&Some(1)) {
        target = g.squeeze(&target, &[-1])?;
    }
    let mut valid = None;
    if let Some(class) = ignore_class {
        let mask = g.not_equal(&target, &g.scalar(class as f64, target.dtype)?)?;
        target = g.select(&mask, &target, &g.scalar(0.0, target.dtype)?)?;
        output = g.select(&g.expand_dims(&mask, -1)?, &output, &g.scalar(0.0, output.dtype)?)?;
        valid = Some(mask);
    }
    let logits = match logits_of(g, &output, from_logits) {
        Some(logits) => logits,
        None => g.log(&g.clip(&output, EPSILON, 1.0 - EPSILON)?)?,
    };
    let target = g.cast(&target, DType::Int64)?;
    if target.rank() + 1 != logits.rank() {
        refuse!("targets of shape {} do not fit outputs of shape {}", target.shape, logits.shape);
    }
    let mut cost = sparse_cost(g, &target, &logits)?;
    if let Some(valid) = &valid {
        cost = g.select(valid, &cost, &g.scalar(0.0, cost.dtype)?)?;
    }
    Ok((cost, valid))
}

/// TensorFlow's function of numbers of classes and logits.
fn sparse_cost(g: &Graph, target: &TensorRef, logits: &TensorRef) -> Result<TensorRef> {
    let is_matrix = logits.rank() == 2;
    let (rows, labels) = match is_matrix {
        true => (logits.clone(), target.clone()),
        false => (g.reshape(logits, &[None, Some(logits.size(-1)?)])?, g.reshape(target, &[None])?),
    };
    let outputs = vec![(rows.dtype, labels.shape.clone()), (rows.dtype, rows.shape.clone())];
    let attrs = vec![("T", rows.dtype.into()), ("Tlabels", labels.dtype.into())];
    let cost = g.add_many("SparseSoftmaxCrossEntropyWithLogits", &[&rows, &labels], attrs, outputs)?.remove(0);
    if is_matrix { Ok(cost) } else { outer_shape(g, &cost, logits) }
}

pub(super) fn binary(
    g: &Graph,
    target: &TensorRef,
    output: &TensorRef,
    from_logits: bool,
    smoothing: f64,
    axis: i64,
) -> Result<TensorRef> {
    let target = smoothed_binary(g, target, smoothing)?;
    mean(g, &binary_elements(g, &target, output, from_logits)?, &[axis])
}

fn binary_elements(g: &Graph, target: &TensorRef, output: &TensorRef, from_logits: bool) -> Result<TensorRef> {
    check_shapes(target, output)?;
    let one = g.scalar(1.0, output.dtype)?;
    if let Some(logits) = logits_of(g, output, from_logits) {
        let zeros = g.zeros_like(&logits)?;
        let is_positive = g.greater_equal(&logits, &zeros)?;
        let relu = g.select(&is_positive, &logits, &zeros)?;
        let negative = g.select(&is_positive, &g.neg(&logits)?, &logits)?;
        return g.add_v2(&g.sub(&relu, &g.mul(&logits, target)?)?, &g.log1p(&g.exp(&negative)?)?);
    }
    let output = g.clip(output, EPSILON, 1.0 - EPSILON)?;
    let hit = g.mul(target, &g.log(&output)?)?;
    let miss = g.mul(&g.sub(&one, target)?, &g.log(&g.sub(&one, &output)?)?)?;
    g.neg(&g.add_v2(&hit, &miss)?)
}

pub(super) fn binary_focal(
    g: &Graph,
    target: &TensorRef,
    output: &TensorRef,
    from_logits: bool,
    axis: i64,
    alpha: Option<f64>,
    gamma: f64,
) -> Result<TensorRef> {
    let output = if from_logits { g.sigmoid(output)? } else { output.clone() };
    let one = g.scalar(1.0, output.dtype)?;
    let entropy = binary_elements(g, target, &output, false)?;
    let other = g.sub(&one, target)?;
    let hit = g.add_v2(&g.mul(target, &output)?, &g.mul(&other, &g.sub(&one, &output)?)?)?;
    let factor = g.with_scalar(&g.sub(&one, &hit)?, gamma, Graph::pow)?;
    let mut focal = g.mul(&factor, &entropy)?;
    if let Some(alpha) = alpha {
        let weight =
            g.add_v2(&g.with_scalar(target, alpha, Graph::mul)?, &g.with_scalar(&other, 1.0 - alpha, Graph::mul)?)?;
        focal = g.mul(&weight, &focal)?;
    }
    mean(g, &focal, &[axis])
}

/// `(1 - p^q) / q`, with p the probability of the true class.
pub(super) fn generalized(g: &Graph, target: &TensorRef, output: &TensorRef, q: f64) -> Result<TensorRef> {
    let classes = output.size(-1)?;
    let one_hot = g.one_hot(&g.cast(target, DType::Int32)?, classes, -1, output.dtype)?;
    let probability = g.sum(&g.mul(output, &one_hot)?, &[-1], false)?;
    let power = g.with_scalar(&probability, q, Graph::pow)?;
    g.with_scalar(&g.sub(&g.scalar(1.0, output.dtype)?, &power)?, q, Graph::real_div)
}
