//! Products of matrices and contractions.

use serde_json::Value;
use tf_persist_savedmodel::DType;

use super::call::{Call, ints};
use super::dtypes::{Kind, is_integer, result_type};
use super::functions::clip_by_value;
use super::operand::promoted;
use super::{Entry, einsum, op};
use crate::graph::{Dim, Graph, Shape, TensorRef, axis_index};
use crate::layers::Argument;
use crate::reason::{Result, refuse};

pub(super) const TABLE: &[Entry] = &[
    op("Matmul", "x1 x2", "", |c| {
        let (a, b) = (c.tensor("x1")?, c.tensor("x2")?);
        Ok(mat_mul(c.g, &a, &b)?.into())
    }),
    op("Dot", "x1 x2", "", |c| c.product(dot)),
    op("Vdot", "x1 x2", "", |c| {
        c.product(|g, a, b| {
            let (a, b) = (g.reshape(a, &[None])?, g.reshape(b, &[None])?);
            tensor_dot(g, &a, &b, &[-1], &[-1])
        })
    }),
    op("Inner", "x1 x2", "", |c| {
        c.product(
            |g, a, b| if a.rank() == 0 || b.rank() == 0 { g.mul(a, b) } else { tensor_dot(g, a, b, &[-1], &[-1]) },
        )
    }),
    op("Tensordot", "x1 x2", "axes", tensordot),
    op("Outer", "x1 x2", "", |c| {
        c.both_tensors(promoted, |g, a, b| g.mul(&g.reshape(a, &[None, Some(1)])?, &g.reshape(b, &[None])?))
    }),
    op("Einsum", "", "subscripts", |c| {
        let subscripts = c.text_or("subscripts", "")?;
        let operands = c.rest()?.iter().map(|operand| operand.tensor(c.g)).collect::<Result<Vec<_>>>()?;
        Ok(einsum::einsum(c.g, &subscripts, &operands)?.into())
    }),
    op("Cross", "x1 x2", "axisa axisb axisc axis", cross),
    op("Kron", "x1 x2", "", |c| c.both_tensors(promoted, kron)),
    op("CDist", "x y", "", |c| {
        let (a, b) = (c.tensor("x")?, c.tensor("y")?);
        let difference = c.g.sub(&c.g.expand_dims(&a, -2)?, &c.g.expand_dims(&b, -3)?)?;
        Ok(c.g.sqrt(&c.g.sum(&c.g.square(&difference)?, &[-1], false)?)?.into())
    }),
    op("Corrcoef", "x", "", |c| c.unary(correlation)),
];

impl Call<'_> {
    /// A product of `x1` and `x2` in a floating dtype, cast to their common one.
    fn product(&mut self, emit: fn(&Graph, &TensorRef, &TensorRef) -> Result<TensorRef>) -> Result<Argument> {
        let [a, b] = self.pair(promoted)?;
        let (g, dtype) = (self.g, a.dtype);
        let inner = result_type(&[Kind::Typed(dtype), Kind::WeakFloat])?;
        let y = emit(g, &g.cast(&a, inner)?, &g.cast(&b, inner)?)?;
        Ok(g.cast(&y, dtype)?.into())
    }
}

/// The product of matrices, as Keras's `matmul`.
pub(crate) fn mat_mul(g: &Graph, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
    if a.rank() == 0 || b.rank() == 0 {
        refuse!("a product of shapes {} and {} is impossible", a.shape, b.shape);
    }
    if (a.dtype, b.dtype) == (DType::Int8, DType::Int8) && a.rank() > 1 && b.rank() > 1 {
        return g.batch_mat_mul_int8(a, b);
    }
    let kinds = [Kind::Typed(a.dtype), Kind::Typed(b.dtype), Kind::WeakFloat];
    let (inner, dtype) = (result_type(&kinds)?, result_type(&kinds[..2])?);
    let (a, b) = (g.cast(a, inner)?, g.cast(b, inner)?);
    let y = match (a.rank(), b.rank()) {
        (2, 2) => g.mat_mul(&a, &b)?,
        (_, 1) => tensor_dot(g, &a, &b, &[-1], &[0])?,
        (1, _) => tensor_dot(g, &a, &b, &[0], &[-2])?,
        (_, 2) => tensor_dot(g, &a, &b, &[-1], &[0])?,
        _ => g.batch_mat_mul(&a, &b, false, false)?,
    };
    g.cast(&y, dtype)
}

fn dot(g: &Graph, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
    match (a.rank(), b.rank()) {
        (0, _) | (_, 0) => g.mul(a, b),
        (_, 1) => tensor_dot(g, a, b, &[-1], &[-1]),
        _ => tensor_dot(g, a, b, &[-1], &[-2]),
    }
}

fn tensordot(c: &mut Call<'_>) -> Result<Argument> {
    let [a, b] = c.pair(promoted)?;
    let (g, dtype) = (c.g, a.dtype);
    let inner = match dtype {
        DType::Int32 | DType::Int64 | DType::Complex64 => dtype,
        dtype => result_type(&[Kind::Typed(dtype), Kind::WeakFloat])?,
    };
    let y = tensordot_of(c, &g.cast(&a, inner)?, &g.cast(&b, inner)?)?;
    Ok(g.cast(y.tensor()?, dtype)?.into())
}

/// A contraction over the axes in `axes`: their number, or a pair of lists.
pub(super) fn tensordot_of(c: &mut Call<'_>, a: &TensorRef, b: &TensorRef) -> Result<Argument> {
    let (axes_a, axes_b) = match c.value("axes")?.unwrap_or_else(|| Value::from(2)) {
        Value::Array(items) => match items.as_slice() {
            [first, second] => (ints("axes", first)?, ints("axes", second)?),
            _ => refuse!("`axes` has {} items, and should have 2", items.len()),
        },
        count => {
            let count = usize::try_from(crate::config::size("axes", &count)?).unwrap_or(usize::MAX);
            if count > a.rank() || count > b.rank() {
                refuse!("{count} axes are more than shapes {} and {} have", a.shape, b.shape);
            }
            (((a.rank() - count) as i64..a.rank() as i64).collect(), (0..count as i64).collect())
        }
    };
    Ok(tensor_dot(c.g, a, b, &axes_a, &axes_b)?.into())
}

/// A contraction over pairs of axes, by a product of matrices, as TensorFlow's `tensordot`.
pub(super) fn tensor_dot(g: &Graph, a: &TensorRef, b: &TensorRef, axes_a: &[i64], axes_b: &[i64]) -> Result<TensorRef> {
    if axes_a.len() != axes_b.len() {
        refuse!("{} axes cannot be contracted with {}", axes_a.len(), axes_b.len());
    }
    let (matrix_a, free_a) = as_matrix(g, a, axes_a, false)?;
    let (matrix_b, free_b) = as_matrix(g, b, axes_b, true)?;
    let y = g.mat_mul(&matrix_a, &matrix_b)?;
    let sources: Vec<(&TensorRef, usize)> =
        free_a.iter().map(|axis| (a, *axis)).chain(free_b.iter().map(|axis| (b, *axis))).collect();
    reshape_like(g, &y, &sources)
}

/// A tensor as a matrix with the contracted axes last, or first, and its other axes.
fn as_matrix(g: &Graph, x: &TensorRef, axes: &[i64], first: bool) -> Result<(TensorRef, Vec<usize>)> {
    let axes = axes.iter().map(|axis| axis_index(*axis, x.rank())).collect::<Result<Vec<_>>>()?;
    let free: Vec<usize> = (0..x.rank()).filter(|axis| !axes.contains(axis)).collect();
    let order = if first { [axes.clone(), free.clone()].concat() } else { [free.clone(), axes.clone()].concat() };
    let sorted: Vec<usize> = (0..x.rank()).collect();
    let moved = if order == sorted { x.clone() } else { g.transpose(x, &order)? };
    let count = |axes: &[usize]| {
        crate::graph::shape::element_count(&axes.iter().map(|axis| x.dims()[*axis]).collect::<Vec<Dim>>())
    };
    let (contracted, others) = (count(&axes), count(&free));
    let dims = if first { [contracted, others] } else { [others, contracted] };
    // A reshape that Grappler takes for needless would let it fuse the product with a transpose before it.
    if contracted.is_none() && others.is_none() || moved.dims() == dims && x.shape.sizes().is_none() {
        let product = |axes: &[usize]| -> Result<TensorRef> {
            let indices = g.vector_i32(&axes.iter().map(|axis| *axis as i64).collect::<Vec<_>>())?;
            g.prod(&g.gather(&g.shape_of(x)?, &indices, 0)?, &[0], false)
        };
        let (contracted, others) = (product(&axes)?, product(&free)?);
        let sizes = if first { [&contracted, &others] } else { [&others, &contracted] };
        let matrix = g.reshape_to(&moved, &g.pack(&sizes, 0)?, Shape::new(dims))?;
        return Ok((matrix, free));
    }
    let matrix = if moved.dims() == dims { moved } else { g.reshape(&moved, &dims)? };
    Ok((matrix, free))
}

/// Reshapes to sizes that are those of axes of other tensors.
pub(super) fn reshape_like(g: &Graph, x: &TensorRef, sources: &[(&TensorRef, usize)]) -> Result<TensorRef> {
    let dims: Vec<Dim> = sources.iter().map(|(tensor, axis)| tensor.dims()[*axis]).collect();
    if x.dims() == dims && dims.iter().all(Option::is_some) {
        return Ok(x.clone());
    }
    if dims.iter().filter(|dim| dim.is_none()).count() <= 1 {
        return if x.dims() == dims { Ok(x.clone()) } else { g.reshape(x, &dims) };
    }
    let sizes = g.pack_dims(&dims, |index| g.dim_of(sources[index].0, sources[index].1 as i64))?;
    g.reshape_to(x, &sizes, Shape::new(dims))
}

fn cross(c: &mut Call<'_>) -> Result<Argument> {
    let [a, b] = c.pair(promoted)?;
    let axis = c.int_or_none("axis")?;
    let [axis_a, axis_b, axis_c] = match axis {
        Some(axis) => [axis; 3],
        None => [c.int_or("axisa", -1)?, c.int_or("axisb", -1)?, c.int_or("axisc", -1)?],
    };
    let g = c.g;
    let (a, b) =
        (super::shapes::move_axes(g, &a, &[axis_a], &[-1])?, super::shapes::move_axes(g, &b, &[axis_b], &[-1])?);
    let (size_a, size_b) = (a.size(-1)?, b.size(-1)?);
    let padded = |x: &TensorRef, size: u64| {
        let mut paddings = vec![(0, 0); x.rank()];
        match (size, paddings.last_mut()) {
            (2, Some(last)) => {
                *last = (0, 1);
                g.pad(x, &paddings, None)
            }
            (3, _) => Ok(x.clone()),
            _ => refuse!("it needs vectors of size 2 or 3, and has size {size}"),
        }
    };
    let (mut a, mut b) = (padded(&a, size_a)?, padded(&b, size_b)?);
    let shape = a.shape.broadcast(&b.shape)?;
    if a.shape != shape || b.shape != shape {
        let sizes = g.broadcast_sizes(&a, &b)?;
        (a, b) = (g.broadcast_to(&a, &sizes, shape.clone())?, g.broadcast_to(&b, &sizes, shape.clone())?);
    }
    let y = g.add("Cross", &[&a, &b], vec![("T", a.dtype.into())], a.dtype, shape)?;
    if (size_a, size_b) == (2, 2) {
        let last = g.scalar_i32(2)?;
        return Ok(g.gather(&y, &last, -1)?.into());
    }
    Ok(super::shapes::move_axes(g, &y, &[-1], &[axis_c])?.into())
}

fn kron(g: &Graph, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
    let rank = a.rank().max(b.rank());
    let widened = |x: &TensorRef| -> Result<TensorRef> {
        let mut x = x.clone();
        while x.rank() < rank {
            x = g.expand_dims(&x, 0)?;
        }
        Ok(x)
    };
    let (a, b) = (widened(a)?, widened(b)?);
    let spread = |x: &TensorRef, behind: bool| -> Result<TensorRef> {
        let mut x = x.clone();
        for axis in 0..rank as i64 {
            x = g.expand_dims(&x, if behind { 2 * axis + 1 } else { 2 * axis })?;
        }
        Ok(x)
    };
    let y = g.mul(&spread(&a, true)?, &spread(&b, false)?)?;
    let dims: Vec<Dim> =
        a.dims().iter().zip(b.dims()).map(|(a, b)| a.zip(*b).and_then(|(a, b)| a.checked_mul(b))).collect();
    if dims.iter().filter(|dim| dim.is_none()).count() <= 1 {
        return g.reshape(&y, &dims);
    }
    let sizes = g.mul(&g.shape_of(&a)?, &g.shape_of(&b)?)?;
    g.reshape_to(&y, &sizes, Shape::new(dims))
}

fn correlation(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    if x.rank() != 2 {
        refuse!("its input has shape {}, and rank 2 is needed", x.shape);
    }
    let whole = is_integer(x.dtype) || x.dtype == DType::Bool;
    let x = if whole { g.cast(x, DType::Float32)? } else { x.clone() };
    let centered = g.sub(&x, &g.mean(&x, &[-1], true)?)?;
    let count = g.cast(&g.dim_of(&x, -1)?, x.dtype)?;
    let products = g.mat_mul_with(&centered, &centered, false, true)?;
    let covariance = g.real_div(&products, &g.sub(&count, &g.scalar(1.0, x.dtype)?)?)?;
    let deviation = g.sqrt(&g.diagonal(&covariance)?)?;
    let outer = g.mul(&g.expand_dims(&deviation, 1)?, &g.expand_dims(&deviation, 0)?)?;
    let (low, high) = (g.scalar(-1.0, x.dtype)?, g.scalar(1.0, x.dtype)?);
    clip_by_value(g, &g.real_div(&covariance, &outer)?, &low, &high)
}
