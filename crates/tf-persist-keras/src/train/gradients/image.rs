//! Images of another size.

use super::step::{Gradients, Step};
use crate::graph::TensorRef;
use crate::reason::Result;

pub(super) fn nearest(step: &Step<'_>) -> Gradients {
    let g = step.g;
    step.first(|| {
        let (x, dy) = (step.x(0)?, step.dy()?);
        let dims = [x.dim(1)?, x.dim(2)?];
        let sizes = g.pack_dims(&dims, |axis| g.dim_of(x, axis as i64 + 1))?;
        let attrs = step.copied(&["T", "align_corners", "half_pixel_centers"]);
        g.add("ResizeNearestNeighborGrad", &[&dy, &sizes], attrs, dy.dtype, x.shape.clone())
    })
}

/// `ResizeBilinear` and `ResizeBicubic`.
pub(super) fn resized(step: &Step<'_>, op: &'static str) -> Gradients {
    step.first(|| resize_gradient(step, op, step.x(0)?))
}

fn resize_gradient(step: &Step<'_>, op: &'static str, x: &TensorRef) -> Result<TensorRef> {
    let attrs = step.copied(&["T", "align_corners", "half_pixel_centers"]);
    step.g.add(op, &[&step.dy()?, x], attrs, x.dtype, x.shape.clone())
}

pub(super) fn scale_and_translate(step: &Step<'_>) -> Gradients {
    step.first(|| {
        let x = step.x(0)?;
        let attrs = step.copied(&["T", "kernel_type", "antialias"]);
        let inputs = [&step.dy()?, x, step.x(2)?, step.x(3)?];
        step.g.add("ScaleAndTranslateGrad", &inputs, attrs, x.dtype, x.shape.clone())
    })
}
