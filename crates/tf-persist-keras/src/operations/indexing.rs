//! Operations that pick or replace elements.

use serde_json::Value;
use tf_persist_savedmodel::DType;

use super::call::Call;
use super::dtypes::{Kind, is_integer, result_type};
use super::operand::Operand;
use super::shapes::swap_axes;
use super::{Entry, op};
use crate::graph::{Dim, Graph, Shape, Slice, TensorRef, axis_index};
use crate::layers::Argument;
use crate::reason::{Result, refuse, shown_name};

pub(super) const TABLE: &[Entry] = &[
    op("GetItem", "x key", "", |c| {
        let x = c.tensor("x")?;
        let key = c.arguments.take(1, "key").unwrap_or(Argument::Plain(Value::Null));
        Ok(get_item(c.g, &x, &key)?.into())
    }),
    op("Take", "x indices", "axis", |c| {
        let (x, at, axis) = (c.tensor("x")?, c.tensor("indices")?, c.int_or_none("axis")?);
        Ok(take(c.g, &x, &at, axis)?.into())
    }),
    op("TakeAlongAxis", "x indices", "axis", |c| {
        let (x, at, axis) = (c.tensor("x")?, c.tensor("indices")?, c.int_or_none("axis")?);
        Ok(take_along_axis(c.g, &x, &at, axis)?.into())
    }),
    op("Slice", "inputs start_indices", "shape", slice),
    op("SliceUpdate", "inputs start_indices updates", "", slice_update),
    op("Scatter", "indices values", "shape", scatter),
    op("ScatterUpdate", "inputs indices updates", "reduction", scatter_update),
    op("OneHot", "x", "num_classes axis dtype sparse", |c| {
        let (x, classes, axis) = (c.tensor("x")?, c.size("num_classes")?, c.int_or("axis", -1)?);
        let dtype = c.dtype_or_none("dtype")?.unwrap_or(DType::Float32);
        dense_only(c)?;
        Ok(c.g.one_hot(&c.g.cast(&x, DType::Int64)?, classes, axis, dtype)?.into())
    }),
    op("MultiHot", "inputs", "num_classes num_tokens axis dtype sparse", |c| {
        let (x, axis) = (c.tensor("inputs")?, c.int_or("axis", -1)?);
        let classes = match c.value("num_classes")? {
            Some(classes) => crate::config::size("num_classes", &classes)?,
            None => c.size("num_tokens")?,
        };
        let dtype = c.dtype_or_none("dtype")?.unwrap_or(DType::Float32);
        dense_only(c)?;
        Ok(multi_hot(c.g, &x, classes, axis, dtype)?.into())
    }),
    op("SearchSorted", "sorted_sequence values", "side", search_sorted),
    op("Digitize", "x bins", "", digitize),
    op("Bincount", "x", "weights minlength sparse", bincount),
    op("Nonzero", "x", "", |c| {
        let x = c.tensor("x")?;
        nonzero(c.g, &x)
    }),
    op("UnravelIndex", "indices", "shape", unravel_index),
];

fn dense_only(c: &mut Call<'_>) -> Result<()> {
    if c.bool_or("sparse", false)? {
        refuse!("its result is sparse, which is not supported");
    }
    Ok(())
}

/// `x[key]`.
pub(super) fn get_item(g: &Graph, x: &TensorRef, key: &Argument) -> Result<TensorRef> {
    let one = [key.clone()];
    let items = if let Argument::List(items) = key { items.as_slice() } else { &one };
    let taken = items.iter().filter(|item| !matches!(item, Argument::Ellipsis) && !item.is_null()).count();
    let mut slices = Vec::new();
    let mut tensors = Vec::new();
    let mut ellipsis = false;
    let bound = |bound: Option<i64>| bound.map(|it| it.clamp(i64::from(i32::MIN), i64::from(i32::MAX)));
    for item in items {
        match item {
            Argument::Ellipsis if ellipsis => refuse!("a slice has two ellipses"),
            Argument::Ellipsis => {
                ellipsis = true;
                let Some(rest) = x.rank().checked_sub(taken) else {
                    refuse!("a slice of {taken} dimensions does not fit shape {}", x.shape)
                };
                slices.extend(std::iter::repeat_n(Slice::ALL, rest));
            }
            Argument::Slice([begin, end, stride]) => slices.push(Slice::Range {
                begin: bound(*begin),
                end: bound(*end),
                stride: bound(*stride).unwrap_or(1),
            }),
            Argument::Plain(Value::Null) => slices.push(Slice::NewAxis),
            Argument::Plain(value) if value.is_i64() => slices.push(Slice::Index(value.as_i64().unwrap_or(0))),
            Argument::Tensor(index) if index.rank() == 0 && is_integer(index.dtype) => {
                // The dimension is kept until the slice is done.
                let axis = slices.iter().filter(|it| !matches!(it, Slice::Index(_))).count();
                tensors.push((axis, index.tensor.clone()));
                slices.push(Slice::ALL);
            }
            _ => refuse!("a key is not an integer, a slice, an ellipsis or a new axis, and others are not supported"),
        }
    }
    let mut y = if slices.is_empty() { x.clone() } else { g.strided_slice(x, &slices)? };
    for (axis, index) in tensors.iter().rev() {
        y = g.gather(&y, &wrapped(g, &y, index, *axis)?, *axis as i64)?;
    }
    Ok(y)
}

/// Indices of which negative ones count from the end.
fn wrapped(g: &Graph, x: &TensorRef, indices: &TensorRef, axis: usize) -> Result<TensorRef> {
    let size = g.cast(&g.dim_of(x, axis as i64)?, indices.dtype)?;
    let negative = g.less(indices, &g.scalar(0.0, indices.dtype)?)?;
    g.select(&negative, &g.add_v2(indices, &size)?, indices)
}

fn take(g: &Graph, x: &TensorRef, indices: &TensorRef, axis: Option<i64>) -> Result<TensorRef> {
    let x = if axis.is_none() { g.reshape(x, &[None])? } else { x.clone() };
    let axis = axis_index(axis.unwrap_or(0), x.rank())?;
    let indices = match indices.dtype {
        DType::Int32 | DType::Int64 => indices.clone(),
        dtype if is_integer(dtype) => g.cast(indices, DType::Int64)?,
        dtype => refuse!("its indices are {dtype}, and should be integers"),
    };
    g.gather(&x, &wrapped(g, &x, &indices, axis)?, axis as i64)
}

pub(super) fn take_along_axis(g: &Graph, x: &TensorRef, indices: &TensorRef, axis: Option<i64>) -> Result<TensorRef> {
    let Some(axis) = axis else {
        return take_along_axis(g, &g.reshape(x, &[None])?, indices, Some(0));
    };
    if x.rank() != indices.rank() {
        refuse!("its indices have shape {}, and its input {}", indices.shape, x.shape);
    }
    let indices = g.cast(indices, DType::Int64)?;
    let axis = axis_index(axis, x.rank())?;
    let common = x.shape.with(axis, Some(1)).broadcast(&indices.shape.with(axis, Some(1)))?;
    let spread = |tensor: &TensorRef, other: &TensorRef| -> Result<TensorRef> {
        let shape = common.with(axis, tensor.dims()[axis]);
        if shape == tensor.shape && shape.sizes().is_some() {
            return Ok(tensor.clone());
        }
        let sizes = g.pack_dims(shape.dims(), |index| {
            let size = g.dim_of(tensor, index as i64)?;
            if index == axis { Ok(size) } else { g.maximum(&size, &g.dim_of(other, index as i64)?) }
        })?;
        g.broadcast_to(tensor, &sizes, shape)
    };
    let (spread_x, spread_indices) = (spread(x, &indices)?, spread(&indices, x)?);
    let spread_indices = wrapped(g, &spread_x, &spread_indices, axis)?;
    let x = swap_axes(g, &spread_x, axis as i64, -1)?;
    let indices = swap_axes(g, &spread_indices, axis as i64, -1)?;
    let rows = |tensor: &TensorRef| -> Result<TensorRef> {
        match tensor.dim(-1)? {
            Some(size) => g.reshape(tensor, &[None, Some(size)]),
            None => {
                let sizes = g.pack(&[&g.scalar_i32(-1)?, &g.dim_of(tensor, -1)?], 0)?;
                g.reshape_to(tensor, &sizes, Shape::new([None, None]))
            }
        }
    };
    let y = g.batch_gather(&rows(&x)?, &rows(&indices)?)?;
    let y = g.reshape_to(&y, &g.shape_of(&indices)?, indices.shape.clone())?;
    swap_axes(g, &y, axis as i64, -1)
}

fn slice(c: &mut Call<'_>) -> Result<Argument> {
    let (x, start, sizes) = (c.tensor("inputs")?, c.take("start_indices"), c.ints("shape")?);
    let g = c.g;
    let Some(start) = start else { refuse!("it is called without `start_indices`") };
    let start = Operand::of(g, &start)?.tensor(g)?;
    if sizes.len() != x.rank() || start.dims() != [Some(x.rank() as u64)] {
        refuse!("a slice of {} sizes does not fit shape {}", sizes.len(), x.shape);
    }
    let size = |(axis, size): (usize, &i64)| match (u64::try_from(*size), x.dims()[axis]) {
        (Ok(size), Some(all)) if size > all => refuse!("a slice of size {size} does not fit shape {}", x.shape),
        (Ok(size), _) => Ok(Some(size)),
        // All that is behind the start.
        (Err(_), _) if *size == -1 => Ok(None),
        (Err(_), _) => refuse!("a slice has the size {size}"),
    };
    let dims: Vec<Dim> = sizes.iter().enumerate().map(size).collect::<Result<_>>()?;
    let sizes = g.cast(&g.vector_i32(&sizes)?, start.dtype)?;
    let attrs = vec![("T", x.dtype.into()), ("Index", start.dtype.into())];
    Ok(g.add("Slice", &[&x, &start, &sizes], attrs, x.dtype, Shape::new(dims))?.into())
}

fn slice_update(c: &mut Call<'_>) -> Result<Argument> {
    let (x, start, updates) = (c.tensor("inputs")?, c.tensor("start_indices")?, c.tensor("updates")?);
    let g = c.g;
    if x.rank() != updates.rank() || start.dims() != [Some(x.rank() as u64)] || x.dtype != updates.dtype {
        refuse!("a slice of shape {} cannot replace a part of shape {}", updates.shape, x.shape);
    }
    // XLA's op, which keeps the slice within the tensor.
    let room = g.sub(&g.shape_of(&x)?, &g.shape_of(&updates)?)?;
    let start = g.cast(&start, DType::Int32)?;
    let start = g.maximum(&g.minimum(&start, &room)?, &g.scalar_i32(0)?)?;
    let end = g.add_v2(&start, &g.shape_of(&updates)?)?;
    let strides = g.vector_i32(&vec![1; x.rank()])?;
    let attrs = vec![("T", x.dtype.into()), ("Index", DType::Int32.into())];
    Ok(g.add("TensorStridedSliceUpdate", &[&x, &start, &end, &strides, &updates], attrs, x.dtype, x.shape.clone())?
        .into())
}

fn scatter(c: &mut Call<'_>) -> Result<Argument> {
    let (indices, values, sizes) = (c.tensor("indices")?, c.tensor("values")?, c.ints("shape")?);
    let g = c.g;
    let shape = Shape::new(super::shapes::open_dims(&sizes)?);
    let sizes = g.cast(&g.vector_i32(&sizes)?, indices.dtype)?;
    let attrs = vec![("T", values.dtype.into()), ("Tindices", indices.dtype.into())];
    Ok(g.add("ScatterNd", &[&indices, &values, &sizes], attrs, values.dtype, shape)?.into())
}

fn scatter_update(c: &mut Call<'_>) -> Result<Argument> {
    let (x, indices, updates) = (c.tensor("inputs")?, c.tensor("indices")?, c.tensor("updates")?);
    let op = match c.text_or("reduction", "")?.as_str() {
        "" => "TensorScatterUpdate",
        "add" => "TensorScatterAdd",
        "max" => "TensorScatterMax",
        "min" => "TensorScatterMin",
        other => refuse!("`reduction` is `{}`, which is not supported", shown_name(other)),
    };
    Ok(c.g.tensor_scatter(op, &x, &indices, &updates)?.into())
}

/// Which classes occur in each row.
pub(crate) fn multi_hot(g: &Graph, x: &TensorRef, classes: u64, axis: i64, dtype: DType) -> Result<TensorRef> {
    let reduced = i64::from(x.rank() > 1);
    let hot = g.one_hot(&g.cast(x, DType::Int64)?, classes, axis, dtype)?;
    if dtype == DType::Bool { g.any(&hot, &[reduced], false) } else { g.max(&hot, &[reduced], false) }
}

fn search_sorted(c: &mut Call<'_>) -> Result<Argument> {
    let (sequence, values) = (c.tensor("sorted_sequence")?, c.tensor("values")?);
    let op = match c.text_or("side", "left")?.as_str() {
        "left" => "LowerBound",
        "right" => "UpperBound",
        other => refuse!("`side` is `{}`, and should be `left` or `right`", shown_name(other)),
    };
    let g = c.g;
    if sequence.rank() != 1 || values.rank() == 0 {
        refuse!(
            "a search for values of shape {} in a sequence of shape {} is not supported",
            values.shape,
            sequence.shape
        );
    }
    let small = sequence.dims()[0].is_some_and(|size| i32::try_from(size).is_ok());
    let dtype = if small { DType::Int32 } else { DType::Int64 };
    let y = g.search_sorted(op, &g.expand_dims(&sequence, 0)?, &g.reshape(&values, &[Some(1), None])?, dtype)?;
    Ok(g.reshape_to(&y, &g.shape_of(&values)?, values.shape.clone())?.into())
}

fn digitize(c: &mut Call<'_>) -> Result<Argument> {
    let x = c.tensor("x")?;
    let bins = match c.value("bins")? {
        Some(Value::Array(items)) => items.iter().map(Value::as_f64).collect::<Option<Vec<_>>>(),
        _ => None,
    };
    let Some(bins) = bins else { refuse!("`bins` should be a list of numbers") };
    let x = match x.dtype {
        DType::Bool | DType::Int8 | DType::Int16 | DType::UInt8 | DType::UInt16 => c.g.cast(&x, DType::Int32)?,
        DType::UInt32 => c.g.cast(&x, DType::Int64)?,
        DType::Float16 | DType::BFloat16 => c.g.cast(&x, DType::Float32)?,
        _ => x,
    };
    Ok(c.g.bucketize(&x, &bins)?.into())
}

fn bincount(c: &mut Call<'_>) -> Result<Argument> {
    let (x, weights, least) = (c.tensor("x")?, c.operand_or_none("weights")?, c.int_or("minlength", 0)?);
    dense_only(c)?;
    let g = c.g;
    let Some(weights) = weights else {
        let x = if matches!(x.dtype, DType::Int32 | DType::Int64) { x } else { g.cast(&x, DType::Int32)? };
        return Ok(count_each(g, &x, None, least, DType::Int32)?.into());
    };
    let weights = weights.tensor(g)?;
    let dtype = result_type(&[Kind::Typed(x.dtype), Kind::Typed(weights.dtype)])?;
    let x = if matches!(x.dtype, DType::Int32 | DType::Int64) { x } else { g.cast(&x, DType::Int32)? };
    let weights = match weights.dtype {
        DType::Int32 | DType::Int64 | DType::Float32 | DType::Float64 => weights,
        inner if is_integer(inner) => g.cast(&weights, DType::Int32)?,
        _ => g.cast(&weights, DType::Float32)?,
    };
    let inner = weights.dtype;
    Ok(g.cast(&count_each(g, &x, Some(&weights), least, inner)?, dtype)?.into())
}

fn unravel_index(c: &mut Call<'_>) -> Result<Argument> {
    let (mut indices, sizes) = (c.tensor("indices")?, c.ints("shape")?);
    let g = c.g;
    let mut found = Vec::new();
    // Keras takes the sizes from the last on for vectors, and from the first on else.
    let order: Vec<i64> = if indices.rank() == 1 { sizes.iter().rev().copied().collect() } else { sizes.clone() };
    for size in order {
        let size = g.scalar(size as f64, indices.dtype)?;
        found.push(Argument::from(g.floor_mod(&indices, &size)?));
        indices = g.floor_div(&indices, &size)?;
    }
    found.reverse();
    Ok(Argument::List(found))
}

/// How often each integer occurs in each row, or the sum of its weights, as TensorFlow's `bincount`.
pub(super) fn count_each(
    g: &Graph,
    x: &TensorRef,
    weights: Option<&TensorRef>,
    least: i64,
    dtype: DType,
) -> Result<TensorRef> {
    let axes = super::call::all_axes(x.rank());
    let elements = g.add("Size", &[x], vec![("T", x.dtype.into())], DType::Int32, Shape::scalar())?;
    let any = g.cast(&g.greater(&elements, &g.scalar_i32(0)?)?, x.dtype)?;
    let next = g.add_v2(&g.max(x, &axes, false)?, &g.scalar(1.0, x.dtype)?)?;
    let size = g.maximum(&g.scalar(least as f64, x.dtype)?, &g.mul(&any, &next)?)?;
    let weights = match weights {
        Some(weights) => weights.clone(),
        None => g.constant(tf_persist_savedmodel::Tensor::zeros(dtype, &[0])?)?,
    };
    g.dense_bincount(x, &size, &weights, false, None)
}

/// The indices of elements that are not zero, a vector for each axis.
pub(super) fn nonzero(g: &Graph, x: &TensorRef) -> Result<Argument> {
    let found = g.indices_of_true(&g.cast(x, DType::Bool)?)?;
    let axes = g.unpack(&found, 1)?;
    Ok(Argument::List(axes.iter().map(|axis| Ok(g.cast(axis, DType::Int32)?.into())).collect::<Result<_>>()?))
}
