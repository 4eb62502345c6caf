//! Slices.

use tf_persist_savedmodel::DType;

use super::step::{Gradients, Step};
use crate::graph::{Graph, Shape, TensorRef};
use crate::reason::Result;

/// `x[begin : begin + sizes]`.
pub(super) fn slice(g: &Graph, x: &TensorRef, begin: &TensorRef, sizes: &TensorRef, shape: Shape) -> Result<TensorRef> {
    g.add("Slice", &[x, begin, sizes], vec![("T", x.dtype.into()), ("Index", begin.dtype.into())], x.dtype, shape)
}

pub(super) fn strided_slice(step: &Step<'_>) -> Gradients {
    let g = step.g;
    step.first(|| {
        let (x, dy) = (step.x(0)?, step.dy()?);
        let begin = step.x(1)?;
        let sizes = match x.shape.sizes() {
            Some(sizes) => g.vector_i32(&sizes.iter().map(|size| *size as i64).collect::<Vec<_>>())?,
            None => g.shape_of(x)?,
        };
        let sizes = g.cast(&sizes, begin.dtype)?;
        let attrs = step.copied(&[
            "T",
            "Index",
            "begin_mask",
            "end_mask",
            "ellipsis_mask",
            "new_axis_mask",
            "shrink_axis_mask",
        ]);
        let inputs = [&sizes, begin, step.x(2)?, step.x(3)?, &dy];
        g.add("StridedSliceGrad", &inputs, attrs, dy.dtype, x.shape.clone())
    })
}

/// Zeros around what the slice took.
pub(super) fn sliced(step: &Step<'_>) -> Gradients {
    let g = step.g;
    step.first(|| {
        let (x, dy, y) = (step.x(0)?, step.dy()?, step.y(0)?);
        let begin = g.cast(step.x(1)?, DType::Int32)?;
        let after = g.sub(&g.sub(&g.shape_of(x)?, &g.shape_of(&y)?)?, &begin)?;
        let paddings = g.pack(&[&begin, &after], 1)?;
        let attrs = vec![("T", dy.dtype.into()), ("Tpaddings", DType::Int32.into())];
        g.add("Pad", &[&dy, &paddings], attrs, dy.dtype, x.shape.clone())
    })
}
