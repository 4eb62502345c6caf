//! Softmax and its relatives along any axis.

use crate::graph::{Graph, TensorRef, axis_index};
use crate::reason::{Result, refuse};

/// Applies an op of the last dimension along an axis, or over all elements if there is none.
pub(crate) fn along(
    g: &Graph,
    x: &TensorRef,
    axis: Option<i64>,
    op: impl FnOnce(&Graph, &TensorRef) -> Result<TensorRef>,
) -> Result<TensorRef> {
    let Some(axis) = axis else {
        let y = op(g, &g.reshape(x, &[None])?)?;
        return g.reshape_to(&y, &g.shape_of(x)?, x.shape.clone());
    };
    let index = axis_index(axis, x.rank())?;
    if index + 1 == x.rank() {
        return op(g, x);
    }
    let order = swapped(index, x.rank());
    g.transpose(&op(g, &g.transpose(x, &order)?)?, &order)
}

/// The axes with one of them exchanged for the last.
fn swapped(axis: usize, rank: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rank).collect();
    order.swap(axis, rank - 1);
    order
}

/// The logarithm of the sum of exponentials, with the axes kept.
pub(crate) fn log_sum_exp(g: &Graph, x: &TensorRef, axes: &[i64]) -> Result<TensorRef> {
    let max = g.max(x, axes, true)?;
    let finite = g.classify("IsFinite", &max)?;
    let max = g.stop_gradient(&g.select(&finite, &max, &g.scalar(0.0, x.dtype)?)?)?;
    let sum = g.sum(&g.exp(&g.sub(x, &max)?)?, axes, true)?;
    g.add_v2(&g.log(&sum)?, &max)
}

/// The projection of each vector along an axis onto the simplex of probabilities.
pub(crate) fn sparsemax(g: &Graph, x: &TensorRef, axis: i64) -> Result<TensorRef> {
    let index = axis_index(axis, x.rank())?;
    if x.rank() > 127 {
        refuse!("sparsemax of rank {} is impossible", x.rank());
    }
    let sorted = g.sort_descending(x, axis)?;
    let cumulated = g.cumulate("Cumsum", &sorted, axis, false)?;
    let count = g.add_v2(&g.dim_of(x, axis)?, &g.scalar_i32(1)?)?;
    let (one, zero) = (g.scalar(1.0, x.dtype)?, g.scalar(0.0, x.dtype)?);
    let numbers = g.range(&one, &g.cast(&count, x.dtype)?, &one, x.dims()[index])?;
    let mut dims = vec![Some(1); x.rank()];
    dims[index] = None;
    let numbers = g.reshape(&numbers, &dims)?;
    let share = g.real_div(&g.sub(&cumulated, &one)?, &numbers)?;
    let support = g.greater(&g.sub(&sorted, &share)?, &zero)?;
    let counted = g.select(&support, &cumulated, &zero)?;
    let k = g.sum(&g.cast(&support, x.dtype)?, &[axis], true)?;
    let sum = g.sum(&counted, &[axis], true)?;
    let tau = g.real_div(&g.sub(&sum, &one)?, &k)?;
    g.maximum(&g.sub(x, &tau)?, &zero)
}

#[cfg(test)]
mod tests {
    use tf_persist_savedmodel::DType;

    use super::*;
    use crate::graph::{Program, Shape};

    #[test]
    fn inner_axes_change_places_with_the_last() {
        let g = Graph::new(&Program::new());
        let x = g.argument("x", DType::Float32, Shape::new([None, Some(3), Some(4)])).unwrap();
        for axis in [1, -2] {
            let y = along(&g, &x, Some(axis), Graph::softmax).unwrap();
            assert_eq!(y.shape, x.shape);
        }
        let ops = g.with_nodes(|nodes| nodes.iter().filter(|node| node.name.starts_with("Transpose")).count());
        assert_eq!(ops, 4);
        assert_eq!(along(&g, &x, None, Graph::softmax).unwrap().shape, x.shape);
        assert!(along(&g, &x, Some(3), Graph::softmax).is_err());
    }

    #[test]
    fn sparsemax_keeps_the_shape() {
        let g = Graph::new(&Program::new());
        let x = g.argument("x", DType::Float32, Shape::new([None, None, Some(4)])).unwrap();
        for axis in [-1, 1] {
            assert_eq!(sparsemax(&g, &x, axis).unwrap().shape.dims().len(), 3);
        }
    }
}
