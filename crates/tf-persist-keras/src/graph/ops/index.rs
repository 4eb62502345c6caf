//! Ops that find, count, pick or replace elements by their index.

use tf_persist_savedmodel::DType;

use super::super::{Attr, Dim, Graph, Shape, TensorRef};
use crate::reason::{Result, refuse};

impl Graph {
    /// The sizes of the shape to which two tensors broadcast, an int32 vector.
    pub(crate) fn broadcast_sizes(&self, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
        let shape = a.shape.broadcast(&b.shape)?;
        if let Some(sizes) = shape.sizes() {
            return self
                .vector_i32(&sizes.iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect::<Vec<_>>());
        }
        let (a, b) = (self.shape_of(a)?, self.shape_of(b)?);
        let dims = Shape::new([Some(shape.rank() as u64)]);
        self.add("BroadcastArgs", &[&a, &b], vec![("T", DType::Int32.into())], DType::Int32, dims)
    }

    /// Elements of each row of a matrix, by the same row of indices.
    pub(crate) fn batch_gather(&self, x: &TensorRef, indices: &TensorRef) -> Result<TensorRef> {
        let ([_, _], [rows, columns]) = (x.dims(), indices.dims()) else {
            refuse!("rows of shape {} cannot be picked by indices of shape {}", x.shape, indices.shape)
        };
        let axis = self.scalar_i32(1)?;
        let attrs = vec![
            ("Tparams", x.dtype.into()),
            ("Tindices", indices.dtype.into()),
            ("Taxis", DType::Int32.into()),
            ("batch_dims", Attr::Int(1)),
        ];
        self.add("GatherV2", &[x, indices, &axis], attrs, x.dtype, Shape::new([*rows, *columns]))
    }

    /// Slices of a tensor by the indices in the last dimension.
    pub(crate) fn gather_nd(&self, x: &TensorRef, indices: &TensorRef) -> Result<TensorRef> {
        let depth = usize::try_from(indices.size(-1)?).unwrap_or(usize::MAX);
        let Some(rest) = x.dims().get(depth..) else {
            refuse!("indices of shape {} do not fit shape {}", indices.shape, x.shape)
        };
        let dims = [&indices.dims()[..indices.rank() - 1], rest].concat();
        let attrs = vec![("Tparams", x.dtype.into()), ("Tindices", indices.dtype.into())];
        self.add("GatherNd", &[x, indices], attrs, x.dtype, Shape::new(dims))
    }

    /// `TensorScatterUpdate`, `TensorScatterAdd`, `TensorScatterMax` or `TensorScatterMin`.
    pub(crate) fn tensor_scatter(
        &self,
        op: &'static str,
        x: &TensorRef,
        indices: &TensorRef,
        updates: &TensorRef,
    ) -> Result<TensorRef> {
        if x.dtype != updates.dtype {
            refuse!("updates of {} do not fit a tensor of {}", updates.dtype, x.dtype);
        }
        let attrs = vec![("T", x.dtype.into()), ("Tindices", indices.dtype.into())];
        self.add(op, &[x, indices, updates], attrs, x.dtype, x.shape.clone())
    }

    /// `LowerBound` or `UpperBound`: where values would stand in sorted rows.
    pub(crate) fn search_sorted(
        &self,
        op: &'static str,
        rows: &TensorRef,
        values: &TensorRef,
        dtype: DType,
    ) -> Result<TensorRef> {
        if rows.dtype != values.dtype {
            refuse!("a search for {} in {} is impossible: the dtypes differ", values.dtype, rows.dtype);
        }
        let attrs = vec![("T", rows.dtype.into()), ("out_type", dtype.into())];
        self.add(op, &[rows, values], attrs, dtype, values.shape.clone())
    }

    /// The number of the interval between boundaries in which each number lies.
    pub(crate) fn bucketize(&self, x: &TensorRef, boundaries: &[f64]) -> Result<TensorRef> {
        let boundaries = boundaries.iter().map(|it| *it as f32).collect();
        let attrs = vec![("T", x.dtype.into()), ("boundaries", Attr::Floats(boundaries))];
        self.add("Bucketize", &[x], attrs, DType::Int32, x.shape.clone())
    }

    /// How often each integer below `size` occurs in each row, or the sum of its weights. `dim` is `size`, if it is
    /// known.
    pub(crate) fn dense_bincount(
        &self,
        x: &TensorRef,
        size: &TensorRef,
        weights: &TensorRef,
        only_whether: bool,
        dim: Dim,
    ) -> Result<TensorRef> {
        let dims = match *x.dims() {
            [_] => vec![dim],
            [rows, _] => vec![rows, dim],
            _ => refuse!("the elements of a tensor of shape {} cannot be counted", x.shape),
        };
        let attrs = vec![("T", weights.dtype.into()), ("Tidx", x.dtype.into()), ("binary_output", only_whether.into())];
        self.add("DenseBincount", &[x, size, weights], attrs, weights.dtype, Shape::new(dims))
    }
}
