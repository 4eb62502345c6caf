//! Gradients of inputs that were broadcast.

use tf_persist_savedmodel::DType;

use super::step::{Gradients, Step};
use crate::graph::{Dim, Graph, Shape, TensorRef};
use crate::reason::Result;

/// The axes of the result along which an input was broadcast, or what tells them when the graph runs.
enum Axes {
    Known(Vec<i64>),
    Computed(TensorRef),
}

/// The axes along which `x` and `y` were broadcast. None if unknown sizes decide.
fn axes(x: &[Dim], y: &[Dim]) -> Option<(Vec<i64>, Vec<i64>)> {
    let rank = x.len().max(y.len());
    let dim = |dims: &[Dim], axis: usize| match (axis + dims.len()).checked_sub(rank) {
        Some(index) => dims[index],
        None => Some(1),
    };
    let (mut x_axes, mut y_axes) = (Vec::new(), Vec::new());
    for axis in 0..rank {
        match (dim(x, axis), dim(y, axis)) {
            (Some(1), Some(1)) => {}
            (Some(1), _) => x_axes.push(axis as i64),
            (_, Some(1)) => y_axes.push(axis as i64),
            (None, _) | (_, None) => return None,
            _ => {}
        }
    }
    Some((x_axes, y_axes))
}

/// Sums the gradients of two inputs that were broadcast together, each as far as its input was broadcast.
pub(super) fn reduced(
    g: &Graph,
    x: &TensorRef,
    y: &TensorRef,
    gradients: [Option<TensorRef>; 2],
) -> Result<[Option<TensorRef>; 2]> {
    if gradients.iter().all(Option::is_none) || (x.dims() == y.dims() && x.shape.sizes().is_some()) {
        return Ok(gradients);
    }
    let [x_axes, y_axes] = match axes(x.dims(), y.dims()) {
        Some((x_axes, y_axes)) => [Axes::Known(x_axes), Axes::Known(y_axes)],
        None => broadcast_axes(g, &g.shape_of(x)?, &g.shape_of(y)?)?.map(Axes::Computed),
    };
    let [gx, gy] = gradients;
    let one = |gradient: Option<TensorRef>, axes: Axes, of: &TensorRef, other: &TensorRef| -> Result<_> {
        let Some(gradient) = gradient else { return Ok(None) };
        let sum = match axes {
            Axes::Known(axes) if axes.is_empty() && of.rank() >= other.rank() => return Ok(Some(gradient)),
            Axes::Known(axes) => g.sum(&gradient, &axes, true)?,
            Axes::Computed(axes) => sum_over(g, &gradient, &axes, true)?,
        };
        reshape_like(g, &sum, of).map(Some)
    };
    Ok([one(gx, x_axes, x, y)?, one(gy, y_axes, y, x)?])
}

/// The axes along which two shapes are broadcast, as vectors that the graph computes.
pub(super) fn broadcast_axes(g: &Graph, x: &TensorRef, y: &TensorRef) -> Result<[TensorRef; 2]> {
    let outputs = vec![(DType::Int32, Shape::new([None])); 2];
    let mut axes = g.add_many("BroadcastGradientArgs", &[x, y], vec![("T", DType::Int32.into())], outputs)?;
    let second = axes.remove(1);
    Ok([axes.remove(0), second])
}

/// Sums over axes that the graph computes, and keeps these dimensions.
pub(super) fn sum_over(g: &Graph, x: &TensorRef, axes: &TensorRef, keep: bool) -> Result<TensorRef> {
    let attrs = vec![("T", x.dtype.into()), ("Tidx", axes.dtype.into()), ("keep_dims", keep.into())];
    g.add("Sum", &[x, axes], attrs, x.dtype, Shape::new(vec![None; x.rank()]))
}

/// Reshapes to the shape of another tensor with as many elements.
pub(super) fn reshape_like(g: &Graph, x: &TensorRef, like: &TensorRef) -> Result<TensorRef> {
    let dims = like.dims();
    let unknown = dims.iter().filter(|dim| dim.is_none()).count();
    // A size that follows from the others cannot be computed where one of them is 0.
    if unknown == 0 || (unknown == 1 && !dims.contains(&Some(0))) {
        let sizes: Vec<i64> =
            dims.iter().map(|dim| dim.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX))).collect();
        return g.reshape_to(x, &g.vector_i32(&sizes)?, like.shape.clone());
    }
    g.reshape_to(x, &g.shape_of(like)?, like.shape.clone())
}

impl Step<'_> {
    /// The gradients of two inputs that were broadcast together.
    pub(super) fn broadcast(
        &self,
        x_gradient: impl FnOnce() -> Result<TensorRef>,
        y_gradient: impl FnOnce() -> Result<TensorRef>,
    ) -> Gradients {
        let gx = if self.needs(0) { Some(x_gradient()?) } else { None };
        let gy = if self.needs(1) { Some(y_gradient()?) } else { None };
        let both = reduced(self.g, self.x(0)?, self.x(1)?, [gx, gy])?;
        Ok(both.map(|gradient| gradient.map(Into::into)).into())
    }
}

#[cfg(test)]
mod tests {
    use super::axes;

    #[test]
    fn infers_axes_where_sizes_tell() {
        assert_eq!(axes(&[None, Some(3)], &[Some(3)]), Some((vec![], vec![0])));
        assert_eq!(axes(&[Some(2), Some(1)], &[Some(1), Some(5)]), Some((vec![1], vec![0])));
        assert_eq!(axes(&[None], &[None]), None);
        assert_eq!(axes(&[], &[None, Some(1)]), Some((vec![0], vec![])));
    }
}
