//! Softmax, cross entropies, batch normalization.

use tf_persist_savedmodel::DType;

use super::step::{Gradients, Step};
use crate::graph::{Attr, Shape};
use crate::reason::refuse;

pub(super) fn softmax(step: &Step<'_>) -> Gradients {
    let g = step.g;
    step.first(|| {
        let (y, dy) = (step.y(0)?, step.dy()?);
        let sum = g.sum(&g.mul(&dy, &y)?, &[-1], true)?;
        g.mul(&g.sub(&dy, &sum)?, &y)
    })
}

pub(super) fn log_softmax(step: &Step<'_>) -> Gradients {
    let g = step.g;
    step.first(|| {
        let (y, dy) = (step.y(0)?, step.dy()?);
        let softmax = g.exp(&y)?;
        g.sub(&dy, &g.mul(&g.sum(&dy, &[-1], true)?, &softmax)?)
    })
}

/// Both kinds of cross entropy compute the gradient of the logits as their second output.
pub(super) fn cross_entropy(step: &Step<'_>) -> Gradients {
    let g = step.g;
    let dy = g.expand_dims(&step.dy()?, -1)?;
    let logits = step.if_needed(0, || g.mul(&dy, &step.y(1)?))?;
    if !step.needs(1) || matches!(step.x(1)?.dtype, DType::Int32 | DType::Int64) {
        return Ok(vec![logits]);
    }
    let labels = step.if_needed(1, || g.mul(&dy, &g.neg(&g.log_softmax(step.x(0)?)?)?))?;
    Ok(vec![logits, labels])
}

pub(super) fn fused_batch_norm(step: &Step<'_>) -> Gradients {
    let g = step.g;
    if matches!(step.text("data_format", "NHWC"), "NCHW" | "NCDHW") {
        refuse!("channels before the other dimensions are not supported in training");
    }
    let is_training = !matches!(step.attr("is_training"), Some(Attr::Bool(false)));
    let (x, scale, dy) = (step.x(0)?, step.x(1)?, step.dy()?);
    let (first, second) = match is_training {
        true => (step.y(3)?, step.y(4)?),
        false => (step.x(3)?.clone(), step.x(4)?.clone()),
    };
    let mut attrs = step.copied(&["T", "U", "epsilon", "data_format"]);
    attrs.push(("is_training", is_training.into()));
    let channels = (scale.dtype, scale.shape.clone());
    let empty = (scale.dtype, Shape::new([Some(0)]));
    let outputs = vec![(x.dtype, x.shape.clone()), channels.clone(), channels, empty.clone(), empty];
    let inputs = [&dy, x, scale, &first, &second, &step.y(5)?];
    let parts = g.add_many("FusedBatchNormGradV3", &inputs, attrs, outputs)?;
    Ok(parts.into_iter().take(3).map(|part| Some(part.into())).collect())
}

pub(super) fn l2_loss(step: &Step<'_>) -> Gradients {
    step.first(|| step.g.mul(step.x(0)?, &step.dy()?))
}
