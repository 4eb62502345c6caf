//! Ops on the matrices in the last two dimensions.

use tf_persist_savedmodel::DType;

use super::super::{Dim, Graph, Shape, TensorRef};
use crate::reason::{Result, refuse};

impl Graph {
    /// The product of int8 matrices in int32.
    pub(crate) fn batch_mat_mul_int8(&self, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
        let ((batch_a, [rows, inner_a]), (batch_b, [inner_b, columns])) = (matrices(a)?, matrices(b)?);
        if inner_a.zip(inner_b).is_some_and(|(a, b)| a != b) {
            refuse!("a product of shapes {} and {} is impossible", a.shape, b.shape);
        }
        let dims = [batch_a.broadcast(&batch_b)?.dims(), &[rows, columns]].concat();
        let attrs = vec![("Ta", a.dtype.into()), ("Tb", b.dtype.into()), ("Tout", DType::Int32.into())];
        self.add("BatchMatMulV3", &[a, b], attrs, DType::Int32, Shape::new(dims))
    }

    /// Keeps a band: this number of diagonals below and above the main one, all if negative.
    pub(crate) fn band_part(&self, x: &TensorRef, lower: i64, upper: i64) -> Result<TensorRef> {
        matrices(x)?;
        let (lower, upper) = (self.scalar(lower as f64, DType::Int64)?, self.scalar(upper as f64, DType::Int64)?);
        let attrs = vec![("T", x.dtype.into()), ("Tindex", DType::Int64.into())];
        self.add("MatrixBandPart", &[x, &lower, &upper], attrs, x.dtype, x.shape.clone())
    }

    /// The main diagonals.
    pub(crate) fn diagonal(&self, x: &TensorRef) -> Result<TensorRef> {
        self.diagonal_at(x, 0)
    }

    /// The diagonals this far above the main ones.
    pub(crate) fn diagonal_at(&self, x: &TensorRef, offset: i32) -> Result<TensorRef> {
        let (batch, [rows, columns]) = matrices(x)?;
        let below = u64::from(offset.min(0).unsigned_abs());
        let beside = u64::from(offset.max(0).unsigned_abs());
        let size = |dim: Dim, less: u64| dim.map(|size| size.saturating_sub(less));
        let length = size(rows, below).zip(size(columns, beside)).map(|(rows, columns)| rows.min(columns));
        if length == Some(0) {
            refuse!("matrices of shape {} have no diagonal {offset}", x.shape);
        }
        let (offset, padding) = (self.scalar_i32(offset)?, self.scalar(0.0, x.dtype)?);
        let dims = [batch.dims(), &[length]].concat();
        self.add("MatrixDiagPartV3", &[x, &offset, &padding], vec![("T", x.dtype.into())], x.dtype, Shape::new(dims))
    }

    /// Square matrices with these diagonals, this far above the main ones.
    pub(crate) fn diagonal_matrix(&self, x: &TensorRef, offset: i32) -> Result<TensorRef> {
        let Some((length, batch)) = x.dims().split_last() else { refuse!("a scalar is not a diagonal") };
        let size = length.and_then(|size| size.checked_add(u64::from(offset.unsigned_abs())));
        let (offset, any) = (self.scalar_i32(offset)?, self.scalar_i32(-1)?);
        let padding = self.scalar(0.0, x.dtype)?;
        let dims = [batch, &[size, size]].concat();
        let attrs = vec![("T", x.dtype.into())];
        self.add("MatrixDiagV3", &[x, &offset, &any, &any, &padding], attrs, x.dtype, Shape::new(dims))
    }
}

/// The outer dimensions, and the sizes of the matrices.
pub(crate) fn matrices(x: &TensorRef) -> Result<(Shape, [Dim; 2])> {
    match x.dims() {
        [batch @ .., rows, columns] => Ok((Shape::new(batch), [*rows, *columns])),
        _ => refuse!("a tensor of shape {} has no matrices", x.shape),
    }
}
