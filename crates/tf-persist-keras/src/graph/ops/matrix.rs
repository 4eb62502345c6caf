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

/// Decompositions and solutions.
impl Graph {
    /// An op of square matrices that keeps the shape: `Cholesky`, `MatrixInverse`.
    pub(crate) fn square_op(&self, op: &'static str, x: &TensorRef) -> Result<TensorRef> {
        square_size(x)?;
        self.unary(op, x)
    }

    pub(crate) fn determinant(&self, x: &TensorRef) -> Result<TensorRef> {
        square_size(x)?;
        let (batch, _) = matrices(x)?;
        self.add("MatrixDeterminant", &[x], vec![("T", x.dtype.into())], x.dtype, batch)
    }

    /// The signs of the determinants, and the logarithms of their sizes.
    pub(crate) fn log_determinant(&self, x: &TensorRef) -> Result<Vec<TensorRef>> {
        square_size(x)?;
        let (batch, _) = matrices(x)?;
        self.add_many("LogMatrixDeterminant", &[x], vec![("T", x.dtype.into())], vec![(x.dtype, batch); 2])
    }

    /// The singular values, in descending order.
    pub(crate) fn singular_values(&self, x: &TensorRef) -> Result<TensorRef> {
        Ok(self.svd(x, false, false)?.remove(0))
    }

    /// Singular values, and the matrices of left and right singular vectors if `vectors`, else empty ones.
    pub(crate) fn svd(&self, x: &TensorRef, full: bool, vectors: bool) -> Result<Vec<TensorRef>> {
        let (batch, [rows, columns]) = matrices(x)?;
        let least = rows.zip(columns).map(|(rows, columns)| rows.min(columns));
        let of = |dims: &[Dim]| (x.dtype, Shape::new([batch.dims(), dims].concat()));
        let empty = [Some(0), Some(0)];
        let (left, right) = match (vectors, full) {
            (false, _) => (empty, empty),
            (true, true) => ([rows, rows], [columns, columns]),
            (true, false) => ([rows, least], [columns, least]),
        };
        let attrs = vec![("T", x.dtype.into()), ("compute_uv", vectors.into()), ("full_matrices", full.into())];
        self.add_many("Svd", &[x], attrs, vec![of(&[least]), of(&left), of(&right)])
    }

    /// An orthogonal matrix and an upper triangular one.
    pub(crate) fn qr(&self, x: &TensorRef, full: bool) -> Result<Vec<TensorRef>> {
        let (batch, [rows, columns]) = matrices(x)?;
        let inner = if full { rows } else { rows.zip(columns).map(|(rows, columns)| rows.min(columns)) };
        let of = |dims: &[Dim]| (x.dtype, Shape::new([batch.dims(), dims].concat()));
        let attrs = vec![("T", x.dtype.into()), ("full_matrices", full.into())];
        self.add_many("Qr", &[x], attrs, vec![of(&[rows, inner]), of(&[inner, columns])])
    }

    /// Both triangular matrices in one, and the permutation of the rows, int32.
    pub(crate) fn lu(&self, x: &TensorRef) -> Result<Vec<TensorRef>> {
        let size = square_size(x)?;
        let (batch, _) = matrices(x)?;
        let attrs = vec![("T", x.dtype.into()), ("output_idx_type", DType::Int32.into())];
        let permutation = Shape::new([batch.dims(), &[size]].concat());
        self.add_many("Lu", &[x], attrs, vec![(x.dtype, x.shape.clone()), (DType::Int32, permutation)])
    }

    /// Eigenvalues and eigenvectors of symmetric matrices.
    pub(crate) fn symmetric_eigen(&self, x: &TensorRef) -> Result<Vec<TensorRef>> {
        let size = square_size(x)?;
        let (batch, _) = matrices(x)?;
        let values = Shape::new([batch.dims(), &[size]].concat());
        let attrs = vec![("T", x.dtype.into()), ("compute_v", true.into())];
        self.add_many("SelfAdjointEigV2", &[x], attrs, vec![(x.dtype, values), (x.dtype, x.shape.clone())])
    }

    /// Eigenvalues and eigenvectors, which are complex.
    pub(crate) fn eigen(&self, x: &TensorRef) -> Result<Vec<TensorRef>> {
        let size = square_size(x)?;
        let (batch, _) = matrices(x)?;
        let dtype = match x.dtype {
            DType::Float32 | DType::Complex64 => DType::Complex64,
            DType::Float64 | DType::Complex128 => DType::Complex128,
            dtype => refuse!("matrices of {dtype} have no eigenvalues in TensorFlow"),
        };
        let values = Shape::new([batch.dims(), &[size]].concat());
        let attrs = vec![("T", x.dtype.into()), ("Tout", dtype.into()), ("compute_v", true.into())];
        self.add_many("Eig", &[x], attrs, vec![(dtype, values), (dtype, x.shape.clone())])
    }

    /// Solves linear systems, by triangular matrices if `triangular` tells whether they are lower ones.
    pub(crate) fn solve(&self, a: &TensorRef, b: &TensorRef, triangular: Option<bool>) -> Result<TensorRef> {
        let size = square_size(a)?;
        let ((batch_a, _), (batch_b, [rows, columns])) = (matrices(a)?, matrices(b)?);
        if a.dtype != b.dtype || size.zip(rows).is_some_and(|(size, rows)| size != rows) {
            refuse!("systems of {}{} and {}{} do not fit", a.dtype, a.shape, b.dtype, b.shape);
        }
        let dims = [batch_a.broadcast(&batch_b)?.dims(), &[rows, columns]].concat();
        let attrs = vec![("T", a.dtype.into())];
        match triangular {
            None => self.add("MatrixSolve", &[a, b], attrs, a.dtype, Shape::new(dims)),
            Some(lower) => {
                let attrs = [attrs, vec![("lower", lower.into())]].concat();
                self.add("MatrixTriangularSolve", &[a, b], attrs, a.dtype, Shape::new(dims))
            }
        }
    }
}

/// The size of square matrices.
fn square_size(x: &TensorRef) -> Result<Dim> {
    match matrices(x)? {
        (_, [Some(rows), Some(columns)]) if rows != columns => {
            refuse!("matrices of shape {} are not square", x.shape)
        }
        (_, [rows, columns]) => Ok(rows.or(columns)),
    }
}
