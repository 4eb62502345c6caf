//! Tensors whose ranks differ by one.

use crate::graph::{Graph, TensorRef};
use crate::reason::Result;

/// Removes or adds a last dimension of size 1 where the ranks differ by one.
pub(in crate::train) fn same_rank(g: &Graph, a: &TensorRef, b: &TensorRef) -> Result<(TensorRef, TensorRef)> {
    let ends_with_one = |x: &TensorRef| x.dims().last() == Some(&Some(1));
    let (mut a, mut b) = (a.clone(), b.clone());
    if a.rank() == b.rank() + 1 && ends_with_one(&a) {
        if b.rank() == 1 {
            b = g.expand_dims(&b, -1)?;
        } else {
            a = g.squeeze(&a, &[-1])?;
        }
    } else if b.rank() == a.rank() + 1 && ends_with_one(&b) {
        if a.rank() == 1 {
            a = g.expand_dims(&a, -1)?;
        } else {
            b = g.squeeze(&b, &[-1])?;
        }
    }
    Ok((a, b))
}
