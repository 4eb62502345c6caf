//! Ops that order elements.

use tf_persist_savedmodel::DType;

use super::super::{Dim, Graph, TensorRef, axis_index};
use crate::reason::{Result, refuse};

impl Graph {
    /// The `k` largest elements of each row, in descending order, and their indices, int32. `size` is what is known of
    /// `k`.
    pub(crate) fn top_k(&self, x: &TensorRef, k: &TensorRef, size: Dim, sorted: bool) -> Result<[TensorRef; 2]> {
        let Some(last) = x.rank().checked_sub(1) else { refuse!("a scalar has no largest elements") };
        if let (Some(size), Some(all)) = (size, x.dims()[last])
            && size > all
        {
            refuse!("the {size} largest of {all} elements do not exist");
        }
        let shape = x.shape.with(last, size);
        let attrs = vec![("T", x.dtype.into()), ("sorted", sorted.into())];
        let outputs = vec![(x.dtype, shape.clone()), (DType::Int32, shape)];
        match <[TensorRef; 2]>::try_from(self.add_many("TopKV2", &[x, k], attrs, outputs)?) {
            Ok(outputs) => Ok(outputs),
            Err(_) => refuse!("TopKV2 does not have two outputs"),
        }
    }

    /// The elements along an axis, the largest first.
    pub(crate) fn sort_descending(&self, x: &TensorRef, axis: i64) -> Result<TensorRef> {
        let index = axis_index(axis, x.rank())?;
        let (size, last) = (x.dims()[index], x.rank() - 1);
        let count = self.dim_of(x, axis)?;
        if index == last {
            let [sorted, _] = self.top_k(x, &count, size, true)?;
            return Ok(sorted);
        }
        let mut order: Vec<usize> = (0..x.rank()).collect();
        order.swap(index, last);
        let [sorted, _] = self.top_k(&self.transpose(x, &order)?, &count, size, true)?;
        self.transpose(&sorted, &order)
    }
}
