//! Convolutions and pooling.

use super::step::{Gradients, Step};
use crate::graph::{Attrs, TensorRef};
use crate::reason::Result;

/// The attributes that an op shares with its gradients.
const OF_CONVOLUTION: &[&str] = &["T", "strides", "padding", "dilations", "data_format", "explicit_paddings"];
const OF_POOLING: &[&str] = &["ksize", "strides", "padding", "data_format", "explicit_paddings"];

/// The sizes of a tensor: a constant if all are known.
fn sizes(step: &Step<'_>, x: &TensorRef) -> Result<TensorRef> {
    match x.shape.sizes() {
        Some(sizes) => step.g.vector_i32(&sizes.iter().map(|size| *size as i64).collect::<Vec<_>>()),
        None => step.g.shape_of(x),
    }
}

/// A convolution: `input_op` of the input's sizes, `filter_op` of the filter's.
pub(super) fn convolution(step: &Step<'_>, input_op: &'static str, filter_op: &'static str) -> Gradients {
    let g = step.g;
    let (x, filter, dy) = (step.x(0)?, step.x(1)?, step.dy()?);
    let attrs = step.copied(OF_CONVOLUTION);
    let with_shape = |attrs: Attrs, x: &TensorRef| with_shape_type(input_op, attrs, x);
    Ok(vec![
        step.if_needed(0, || {
            let sizes = sizes(step, x)?;
            let attrs = with_shape(attrs.clone(), &sizes);
            g.add(input_op, &[&sizes, filter, &dy], attrs, x.dtype, x.shape.clone())
        })?,
        step.if_needed(1, || {
            let sizes = sizes(step, filter)?;
            g.add(filter_op, &[x, &sizes, &dy], attrs.clone(), filter.dtype, filter.shape.clone())
        })?,
    ])
}

/// `Conv3DBackpropInputV2` has the type of its sizes as an attribute.
fn with_shape_type(op: &str, mut attrs: Attrs, sizes: &TensorRef) -> Attrs {
    if op == "Conv3DBackpropInputV2" {
        attrs.push(("Tshape", sizes.dtype.into()));
    }
    attrs
}

/// A transposed convolution, an op such as `Conv2DBackpropInput` of sizes, filter and input.
pub(super) fn transposed(step: &Step<'_>, forward_op: &'static str, filter_op: &'static str) -> Gradients {
    let g = step.g;
    let (filter, x, dy) = (step.x(1)?, step.x(2)?, step.dy()?);
    let attrs = step.copied(OF_CONVOLUTION);
    Ok(vec![
        None,
        step.if_needed(1, || {
            let sizes = sizes(step, filter)?;
            g.add(filter_op, &[&dy, &sizes, x], attrs.clone(), filter.dtype, filter.shape.clone())
        })?,
        step.if_needed(2, || g.add(forward_op, &[&dy, filter], attrs.clone(), x.dtype, x.shape.clone()))?,
    ])
}

pub(super) fn max_pool(step: &Step<'_>, op: &'static str) -> Gradients {
    let g = step.g;
    step.first(|| {
        let x = step.x(0)?;
        let mut attrs = step.copied(OF_POOLING);
        attrs.push(("T", x.dtype.into()));
        if op == "MaxPool3DGrad" {
            attrs.push(("TInput", x.dtype.into()));
        }
        g.add(op, &[x, &step.y(0)?, &step.dy()?], attrs, x.dtype, x.shape.clone())
    })
}

pub(super) fn average_pool(step: &Step<'_>, op: &'static str) -> Gradients {
    let g = step.g;
    step.first(|| {
        let x = step.x(0)?;
        let mut attrs = step.copied(&["ksize", "strides", "padding", "data_format"]);
        attrs.push(("T", x.dtype.into()));
        g.add(op, &[&sizes(step, x)?, &step.dy()?], attrs, x.dtype, x.shape.clone())
    })
}
