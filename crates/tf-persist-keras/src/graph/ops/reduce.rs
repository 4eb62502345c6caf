//! Ops that reduce dimensions, or run along one.

use tf_persist_savedmodel::DType;

use super::super::{Attr, Graph, Shape, TensorRef, axis_index};
use crate::reason::Result;

impl Graph {
    /// `Sum`, `Mean`, `Prod`, `Max`, `Min`, `All`, `Any`, over these axes.
    pub(crate) fn reduce(&self, op: &'static str, x: &TensorRef, axes: &[i64], keep: bool) -> Result<TensorRef> {
        let mut dims: Vec<_> = x.dims().iter().copied().map(Some).collect();
        let mut indices = Vec::new();
        for axis in axes {
            let index = axis_index(*axis, x.rank())?;
            dims[index] = keep.then_some(Some(1));
            indices.push(index as i64);
        }
        let axes = self.vector_i32(&indices)?;
        let mut attrs = vec![("keep_dims", keep.into())];
        if !matches!(op, "All" | "Any") {
            attrs.push(("T", x.dtype.into()));
        }
        self.add(op, &[x, &axes], attrs, x.dtype, Shape::new(dims.into_iter().flatten().collect::<Vec<_>>()))
    }

    pub(crate) fn sum(&self, x: &TensorRef, axes: &[i64], keep: bool) -> Result<TensorRef> {
        self.reduce("Sum", x, axes, keep)
    }

    pub(crate) fn mean(&self, x: &TensorRef, axes: &[i64], keep: bool) -> Result<TensorRef> {
        self.reduce("Mean", x, axes, keep)
    }

    pub(crate) fn max(&self, x: &TensorRef, axes: &[i64], keep: bool) -> Result<TensorRef> {
        self.reduce("Max", x, axes, keep)
    }

    pub(crate) fn min(&self, x: &TensorRef, axes: &[i64], keep: bool) -> Result<TensorRef> {
        self.reduce("Min", x, axes, keep)
    }

    pub(crate) fn prod(&self, x: &TensorRef, axes: &[i64], keep: bool) -> Result<TensorRef> {
        self.reduce("Prod", x, axes, keep)
    }

    /// Of bools.
    pub(crate) fn any(&self, x: &TensorRef, axes: &[i64], keep: bool) -> Result<TensorRef> {
        self.reduce("Any", x, axes, keep)
    }

    /// Of bools.
    pub(crate) fn all(&self, x: &TensorRef, axes: &[i64], keep: bool) -> Result<TensorRef> {
        self.reduce("All", x, axes, keep)
    }

    /// `ArgMax` or `ArgMin`.
    pub(crate) fn arg_reduce(&self, op: &'static str, x: &TensorRef, axis: i64, dtype: DType) -> Result<TensorRef> {
        let index = axis_index(axis, x.rank())?;
        let mut dims = x.dims().to_vec();
        dims.remove(index);
        let axis = self.scalar_i32(i32::try_from(index).unwrap_or(i32::MAX))?;
        let attrs = vec![("T", x.dtype.into()), ("output_type", dtype.into())];
        self.add(op, &[x, &axis], attrs, dtype, Shape::new(dims))
    }

    /// `Cumsum` or `Cumprod`.
    pub(crate) fn cumulate(&self, op: &'static str, x: &TensorRef, axis: i64, reverse: bool) -> Result<TensorRef> {
        let index = axis_index(axis, x.rank())?;
        let axis = self.scalar_i32(i32::try_from(index).unwrap_or(i32::MAX))?;
        let attrs: Vec<(&'static str, Attr)> = vec![("T", x.dtype.into()), ("reverse", reverse.into())];
        self.add(op, &[x, &axis], attrs, x.dtype, x.shape.clone())
    }
}
