//! Parts of matrices, their decompositions and solutions.

use tf_persist_savedmodel::DType;

use super::call::Call;
use super::reductions::widened;
use super::shapes::{indices, move_axes};
use super::{Entry, op};
use crate::graph::{Graph, Shape, TensorRef};
use crate::layers::Argument;
use crate::reason::{Result, refuse, shown_name};

pub(super) const TABLE: &[Entry] = &[
    op("Tril", "x", "k", |c| {
        let (x, k) = (c.tensor("x")?, c.int_or("k", 0)?);
        if k >= 0 {
            return Ok(c.g.band_part(&x, -1, k)?.into());
        }
        Ok(masked(c.g, &x, k, Graph::greater_equal)?.into())
    }),
    op("Triu", "x", "k", |c| {
        let (x, k) = (c.tensor("x")?, c.int_or("k", 0)?);
        if k <= 0 {
            return Ok(c.g.band_part(&x, k.saturating_neg(), -1)?.into());
        }
        Ok(masked(c.g, &x, k, Graph::less_equal)?.into())
    }),
    op("Trace", "x", "offset axis1 axis2", |c| {
        let x = widened(c.g, &c.tensor("x")?)?;
        let (offset, axes) = (c.int_or("offset", 0)?, [c.int_or("axis1", 0)?, c.int_or("axis2", 1)?]);
        let x = move_axes(c.g, &x, &axes, &[-2, -1])?;
        Ok(c.g.sum(&masked(c.g, &x, offset, Graph::equal)?, &[-2, -1], false)?.into())
    }),
    op("Diag", "x", "k", |c| {
        let (x, k) = (c.tensor("x")?, c.int_or("k", 0)?);
        match x.rank() {
            1 => Ok(c.g.diagonal_matrix(&x, offset_of(k)?)?.into()),
            2 => Ok(diagonal(c.g, &x, k, [0, 1])?.into()),
            rank => refuse!("its input has rank {rank}, and should have 1 or 2"),
        }
    }),
    op("Diagflat", "x", "k", |c| {
        let (x, k) = (c.tensor("x")?, c.int_or("k", 0)?);
        Ok(c.g.diagonal_matrix(&c.g.reshape(&x, &[None])?, offset_of(k)?)?.into())
    }),
    op("Diagonal", "x", "offset axis1 axis2", |c| {
        let x = c.tensor("x")?;
        let (offset, axes) = (c.int_or("offset", 0)?, [c.int_or("axis1", 0)?, c.int_or("axis2", 1)?]);
        Ok(diagonal(c.g, &x, offset, axes)?.into())
    }),
    op("Cholesky", "x", "upper", |c| {
        let (x, upper) = (c.tensor("x")?, c.bool_or("upper", false)?);
        let y = c.g.square_op("Cholesky", &x)?;
        let attrs = vec![("T", y.dtype.into()), ("message", "Cholesky".into())];
        let y = c.g.add("CheckNumerics", &[&y], attrs, y.dtype, y.shape.clone())?;
        Ok(if upper { transposed(c.g, &y)? } else { y }.into())
    }),
    op("CholeskyInverse", "x", "upper", |c| {
        let (x, upper) = (c.tensor("x")?, c.bool_or("upper", false)?);
        let size = x.size(-1)?;
        if x.rank() != 2 || size > 1 << 15 {
            refuse!("an inverse of shape {} is not supported", x.shape);
        }
        let ones = c.g.fill(&c.g.vector_i32(&[size as i64])?, &c.g.scalar(1.0, x.dtype)?, Shape::new([Some(size)]))?;
        let inverse = c.g.solve(&x, &c.g.diagonal_matrix(&ones, 0)?, Some(!upper))?;
        Ok(c.g.mat_mul_with(&inverse, &inverse, !upper, upper)?.into())
    }),
    op("Det", "x", "", |c| c.unary(Graph::determinant)),
    op("Inv", "x", "", |c| c.unary(|g, x| g.square_op("MatrixInverse", x))),
    op("Eig", "x", "", |c| c.several(Graph::eigen)),
    op("Eigh", "x", "", |c| c.several(Graph::symmetric_eigen)),
    op("Slogdet", "x", "", |c| c.several(Graph::log_determinant)),
    op("Logdet", "x", "", |c| {
        c.unary(|g, x| {
            let logs = g.log(&g.diagonal(&g.square_op("Cholesky", x)?)?)?;
            g.mul(&g.scalar(2.0, x.dtype)?, &g.sum(&logs, &[-1], false)?)
        })
    }),
    op("LuFactor", "x", "", |c| {
        let x = c.tensor("x")?;
        if x.rank() != 2 {
            refuse!("a decomposition of shape {} is not supported", x.shape);
        }
        let parts = c.g.lu(&x)?;
        let order = &parts[1];
        let attrs = vec![("T", order.dtype.into())];
        let order = c.g.add("InvertPermutation", &[order], attrs, order.dtype, order.shape.clone())?;
        Ok(Argument::List(vec![parts[0].clone().into(), order.into()]))
    }),
    op("Qr", "x", "mode", |c| {
        let (x, mode) = (c.tensor("x")?, c.text_or("mode", "reduced")?);
        match mode.as_str() {
            "reduced" => Ok(list(c.g.qr(&x, false)?)),
            "complete" => Ok(list(c.g.qr(&x, true)?)),
            other => refuse!("`mode` is `{}`, and should be `reduced` or `complete`", shown_name(other)),
        }
    }),
    op("Solve", "a b", "", |c| solve(c, None)),
    op("SolveTriangular", "a b", "lower", |c| {
        let lower = c.bool_or("lower", false)?;
        solve(c, Some(lower))
    }),
    op("SVD", "x", "full_matrices compute_uv", |c| {
        let (x, full, vectors) = (c.tensor("x")?, c.bool_or("full_matrices", true)?, c.bool_or("compute_uv", true)?);
        let parts = c.g.svd(&x, full, vectors)?;
        match parts.as_slice() {
            [values, left, right] if vectors => {
                let right = transposed(c.g, right)?;
                Ok(list(vec![left.clone(), values.clone(), right]))
            }
            [values, ..] => Ok(values.clone().into()),
            [] => refuse!("a decomposition has no values"),
        }
    }),
    op("MatrixRank", "x", "tol", matrix_rank),
    op("Pinv", "x", "rcond", pseudo_inverse),
    op("Lstsq", "a b", "rcond", least_squares),
];

fn list(tensors: Vec<TensorRef>) -> Argument {
    Argument::List(tensors.into_iter().map(Argument::from).collect())
}

impl Call<'_> {
    /// A function of `x` with several results.
    fn several(&mut self, emit: fn(&Graph, &TensorRef) -> Result<Vec<TensorRef>>) -> Result<Argument> {
        let x = self.tensor("x")?;
        Ok(list(emit(self.g, &x)?))
    }
}

fn transposed(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    super::shapes::swap_axes(g, x, -1, -2)
}

fn offset_of(offset: i64) -> Result<i32> {
    match i32::try_from(offset) {
        Ok(offset) if offset != i32::MIN => Ok(offset),
        _ => refuse!("a diagonal at {offset} is not supported"),
    }
}

/// Zeros where the row does not compare with the column less an offset.
fn masked(
    g: &Graph,
    x: &TensorRef,
    offset: i64,
    keep: fn(&Graph, &TensorRef, &TensorRef) -> Result<TensorRef>,
) -> Result<TensorRef> {
    let offset = g.scalar_i32(offset_of(offset)?)?;
    let (zero, one) = (g.scalar_i32(0)?, g.scalar_i32(1)?);
    let rows = g.expand_dims(&g.range(&zero, &g.dim_of(x, -2)?, &one, x.dim(-2)?)?, 1)?;
    let columns = g.expand_dims(&g.range(&zero, &g.dim_of(x, -1)?, &one, x.dim(-1)?)?, 0)?;
    g.select(&keep(g, &rows, &g.sub(&columns, &offset)?)?, x, &g.zeros_like(x)?)
}

fn diagonal(g: &Graph, x: &TensorRef, offset: i64, axes: [i64; 2]) -> Result<TensorRef> {
    indices(&axes, x.rank())?;
    g.diagonal_at(&move_axes(g, x, &axes, &[-2, -1])?, offset_of(offset)?)
}

fn solve(c: &mut Call<'_>, triangular: Option<bool>) -> Result<Argument> {
    let (a, b) = (c.tensor("a")?, c.tensor("b")?);
    let g = c.g;
    if b.rank() + 1 == a.rank() {
        return Ok(g.squeeze(&g.solve(&a, &g.expand_dims(&b, -1)?, triangular)?, &[-1])?.into());
    }
    Ok(g.solve(&a, &b, triangular)?.into())
}

/// The difference between 1 and the next number of a dtype.
fn precision(dtype: DType) -> Result<f64> {
    match dtype {
        DType::Float32 => Ok(f64::from(f32::EPSILON)),
        DType::Float64 => Ok(f64::EPSILON),
        dtype => refuse!("it does not support {dtype}"),
    }
}

/// The larger size of matrices.
fn larger_size(x: &TensorRef) -> Result<f64> {
    Ok(x.size(-1)?.max(x.size(-2)?) as f64)
}

fn matrix_rank(c: &mut Call<'_>) -> Result<Argument> {
    let (x, tolerance) = (c.tensor("x")?, c.float_or_none("tol")?);
    let g = c.g;
    let values = g.singular_values(&x)?;
    let tolerance = match tolerance {
        Some(tolerance) => g.scalar(tolerance, x.dtype)?,
        None => {
            let factor = g.scalar(precision(x.dtype)? * larger_size(&x)?, x.dtype)?;
            g.mul(&factor, &g.max(&values, &[-1], true)?)?
        }
    };
    let above = g.cast(&g.greater(&values, &tolerance)?, DType::Int32)?;
    Ok(g.sum(&above, &[-1], false)?.into())
}

fn pseudo_inverse(c: &mut Call<'_>) -> Result<Argument> {
    let (x, rcond) = (c.tensor("x")?, c.float_or_none("rcond")?);
    let g = c.g;
    let rcond = match rcond {
        Some(rcond) => rcond,
        None => 10.0 * larger_size(&x)? * precision(x.dtype)?,
    };
    let parts = g.svd(&x, false, true)?;
    let [values, left, right] = parts.as_slice() else { refuse!("a decomposition has no values") };
    let cutoff = g.mul(&g.scalar(rcond, x.dtype)?, &g.max(values, &[-1], false)?)?;
    let above = g.greater(values, &g.expand_dims(&cutoff, -1)?)?;
    let values = g.select(&above, values, &g.scalar(f64::INFINITY, x.dtype)?)?;
    let scaled = g.real_div(right, &g.expand_dims(&values, -2)?)?;
    Ok(match x.rank() {
        2 => g.mat_mul_with(&scaled, left, false, true)?,
        _ => g.batch_mat_mul(&scaled, left, false, true)?,
    }
    .into())
}

fn least_squares(c: &mut Call<'_>) -> Result<Argument> {
    let (a, b, rcond) = (c.tensor("a")?, c.tensor("b")?, c.float_or_none("rcond")?);
    let g = c.g;
    let is_vector = b.rank() == 1;
    let b = if is_vector { g.expand_dims(&b, 1)? } else { b };
    if a.rank() != 2 || b.rank() != 2 {
        refuse!("a system of shapes {} and {} is not supported", a.shape, b.shape);
    }
    let eps = precision(a.dtype)?;
    let rcond = match rcond {
        Some(rcond) if rcond < 0.0 => eps,
        Some(rcond) => rcond,
        None => eps * larger_size(&a)?,
    };
    let parts = g.svd(&a, false, true)?;
    let [values, left, right] = parts.as_slice() else { refuse!("a decomposition has no values") };
    let right = transposed(g, right)?;
    let least = g.mul(&g.scalar(rcond, a.dtype)?, &g.element(values, 0)?)?;
    let mask = g.greater_equal(values, &least)?;
    let one = g.scalar(1.0, a.dtype)?;
    let safe = g.select(&mask, values, &one)?;
    let inverse = g.select(&mask, &g.real_div(&one, &safe)?, &g.scalar(0.0, a.dtype)?)?;
    let projected = g.mat_mul(&transposed(g, left)?, &b)?;
    let y = g.mat_mul(&transposed(g, &right)?, &g.mul(&g.expand_dims(&inverse, 1)?, &projected)?)?;
    Ok(if is_vector { g.reshape(&y, &[None])? } else { y }.into())
}
