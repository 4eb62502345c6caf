//! Operations that move elements: shapes, axes, parts and copies.

use serde_json::Value;
use tf_persist_savedmodel::DType;

use super::call::Call;
use super::dtypes::result_type;
use super::operand::{Operand, promoted};
use super::{Entry, op};
use crate::config::shown;
use crate::graph::{Dim, Graph, Shape, TensorRef, axis_index};
use crate::layers::Argument;
use crate::reason::{Result, refuse, shown_name};

pub(super) const TABLE: &[Entry] = &[
    op("Reshape", "x", "newshape", |c| {
        let (x, dims) = (c.tensor("x")?, c.ints("newshape")?);
        Ok(c.g.reshape(&x, &open_dims(&dims)?)?.into())
    }),
    op("Ravel", "x", "", |c| c.unary(|g, x| g.reshape(x, &[None]))),
    op("Transpose", "x", "axes", |c| {
        let (x, axes) = (c.tensor("x")?, c.ints_or_none("axes")?);
        let order = match axes {
            Some(axes) if !axes.is_empty() => indices(&axes, x.rank())?,
            _ => (0..x.rank()).rev().collect(),
        };
        Ok(c.g.transpose(&x, &order)?.into())
    }),
    op("Swapaxes", "x", "axis1 axis2", |c| {
        let (x, a, b) = (c.tensor("x")?, c.int_or("axis1", 0)?, c.int_or("axis2", 0)?);
        Ok(swap_axes(c.g, &x, a, b)?.into())
    }),
    op("Moveaxis", "x", "source destination", |c| {
        let (x, from, to) = (c.tensor("x")?, c.ints("source")?, c.ints("destination")?);
        Ok(move_axes(c.g, &x, &from, &to)?.into())
    }),
    op("ExpandDims", "x", "axis", |c| {
        let (x, axes) = (c.tensor("x")?, c.ints("axis")?);
        let mut axes = indices(&axes, x.rank() + axes.len())?;
        axes.sort_unstable();
        axes.iter().try_fold(x, |x, axis| c.g.expand_dims(&x, *axis as i64)).map(Argument::from)
    }),
    op("Squeeze", "x", "axis", |c| {
        let (x, axes) = (c.tensor("x")?, c.ints_or_none("axis")?);
        let ones = || (0..x.rank() as i64).filter(|axis| x.dims()[*axis as usize] == Some(1)).collect();
        let axes: Vec<i64> = axes.unwrap_or_else(ones);
        Ok(if axes.is_empty() { x } else { c.g.squeeze(&x, &axes)? }.into())
    }),
    op("BroadcastTo", "x", "shape", |c| {
        let (x, sizes) = (c.tensor("x")?, c.ints("shape")?);
        let shape = Shape::new(open_dims(&sizes)?);
        x.shape.broadcast(&shape)?;
        Ok(c.g.broadcast_to(&x, &c.g.vector_i32(&sizes)?, shape)?.into())
    }),
    op("Concatenate", "xs", "axis", |c| {
        let (tensors, axis) = (c.operands("xs")?, c.int_or("axis", 0)?);
        let tensors = tensors.iter().map(|it| Ok(it.tensor(c.g)?.into())).collect::<Result<Vec<_>>>()?;
        join(c.g, &of_one_dtype(c.g, &tensors)?, axis)
    }),
    op("Append", "x1 x2", "axis", |c| {
        let [a, b] = c.pair(promoted)?;
        match c.int_or_none("axis")? {
            Some(axis) => join(c.g, &[a, b], axis),
            None => join(c.g, &[c.g.reshape(&a, &[None])?, c.g.reshape(&b, &[None])?], 0),
        }
    }),
    op("Hstack", "xs", "", |c| {
        let tensors = of_one_dtype(c.g, &c.operands("xs")?)?;
        let axis = i64::from(tensors.first().is_some_and(|first| first.rank() != 1));
        join(c.g, &tensors, axis)
    }),
    op("Vstack", "xs", "", |c| join(c.g, &of_one_dtype(c.g, &c.operands("xs")?)?, 0)),
    op("Dstack", "xs", "", depth_stack),
    op("Stack", "x", "axis", |c| {
        let (tensors, axis) = (of_one_dtype(c.g, &c.operands("x")?)?, c.int_or("axis", 0)?);
        Ok(c.g.pack(&tensors.iter().collect::<Vec<_>>(), axis)?.into())
    }),
    op("Unstack", "x", "num axis", |c| {
        let (x, axis) = (c.tensor("x")?, c.int_or("axis", 0)?);
        c.int_or_none("num")?;
        Ok(list(c.g.unpack(&x, axis)?))
    }),
    op("Split", "x", "indices_or_sections axis", |c| split(c, None)),
    op("Vsplit", "x", "indices_or_sections", |c| split(c, Some(0))),
    op("Hsplit", "x", "indices_or_sections", |c| split(c, Some(1))),
    op("Dsplit", "x", "indices_or_sections", |c| split(c, Some(2))),
    op("ArraySplit", "x", "indices_or_sections axis", array_split),
    op("Tile", "x", "repeats", |c| {
        let (x, repeats) = (c.tensor("x")?, c.ints("repeats")?);
        Ok(tile(c.g, &x, &repeats)?.into())
    }),
    op("Repeat", "x", "repeats axis", |c| {
        let (x, repeats, axis) = (c.tensor("x")?, c.ints("repeats")?, c.int_or_none("axis")?);
        Ok(repeat(c.g, &x, &repeats, axis)?.into())
    }),
    op("Flip", "x", "axis", |c| {
        let x = c.tensor("x")?;
        let axes = c.axes("axis", x.rank())?;
        flip(c.g, &x, &axes)
    }),
    op("Fliplr", "x", "", |c| flip(c.g, &c.tensor("x")?, &[1])),
    op("Flipud", "x", "", |c| flip(c.g, &c.tensor("x")?, &[0])),
    op("Roll", "x", "shift axis", |c| {
        let (x, shifts, axes) = (c.tensor("x")?, c.ints("shift")?, c.ints_or_none("axis")?);
        Ok(roll(c.g, &x, &shifts, axes.as_deref())?.into())
    }),
    op("Rot90", "array", "k axes", rotate),
    op("Pad", "x constant_values", "pad_width mode", pad),
    op("Meshgrid", "", "indexing", meshgrid),
    op("Copy", "x", "", |c| c.unary(Graph::identity)),
];

fn list(tensors: Vec<TensorRef>) -> Argument {
    Argument::List(tensors.into_iter().map(Argument::from).collect())
}

/// Sizes of which -1 is unknown.
pub(super) fn open_dims(sizes: &[i64]) -> Result<Vec<Dim>> {
    let dim = |size: &i64| match u64::try_from(*size) {
        Ok(size) => Ok(Some(size)),
        Err(_) if *size == -1 => Ok(None),
        Err(_) => refuse!("a shape has the size {size}"),
    };
    sizes.iter().map(dim).collect()
}

/// Axes that may count from the end, as indices.
pub(super) fn indices(axes: &[i64], rank: usize) -> Result<Vec<usize>> {
    axes.iter().map(|axis| axis_index(*axis, rank)).collect()
}

pub(super) fn swap_axes(g: &Graph, x: &TensorRef, a: i64, b: i64) -> Result<TensorRef> {
    let (a, b) = (axis_index(a, x.rank())?, axis_index(b, x.rank())?);
    if a == b {
        return Ok(x.clone());
    }
    let mut order: Vec<usize> = (0..x.rank()).collect();
    order.swap(a, b);
    g.transpose(x, &order)
}

pub(super) fn move_axes(g: &Graph, x: &TensorRef, from: &[i64], to: &[i64]) -> Result<TensorRef> {
    let (from, to) = (indices(from, x.rank())?, indices(to, x.rank())?);
    if from.len() != to.len() {
        refuse!("{} axes cannot be moved to {} places", from.len(), to.len());
    }
    if from == to {
        return Ok(x.clone());
    }
    let mut order: Vec<usize> = (0..x.rank()).filter(|axis| !from.contains(axis)).collect();
    let mut moves: Vec<(usize, usize)> = to.into_iter().zip(from).collect();
    moves.sort_unstable();
    for (place, axis) in moves {
        order.insert(place.min(order.len()), axis);
    }
    g.transpose(x, &order)
}

/// Operands in their common dtype, if they have several.
pub(super) fn of_one_dtype(g: &Graph, operands: &[Operand]) -> Result<Vec<TensorRef>> {
    let kinds: Vec<_> = operands.iter().map(Operand::kind).collect();
    if kinds.windows(2).all(|pair| pair[0] == pair[1]) {
        return operands.iter().map(|operand| operand.tensor(g)).collect();
    }
    let dtype = result_type(&kinds)?;
    operands.iter().map(|operand| operand.to(g, dtype)).collect()
}

fn join(g: &Graph, tensors: &[TensorRef], axis: i64) -> Result<Argument> {
    Ok(g.concat(&tensors.iter().collect::<Vec<_>>(), axis)?.into())
}

fn depth_stack(c: &mut Call<'_>) -> Result<Argument> {
    let g = c.g;
    let deep = |x: TensorRef| match x.rank() {
        0 => g.reshape(&x, &[Some(1); 3]),
        1 => g.expand_dims(&g.expand_dims(&x, 0)?, 2),
        2 => g.expand_dims(&x, 2),
        _ => Ok(x),
    };
    let tensors = c.operands("xs")?.iter().map(|it| Ok(it.tensor(g)?.into())).collect::<Result<Vec<_>>>()?;
    let tensors = of_one_dtype(g, &tensors)?.into_iter().map(deep).collect::<Result<Vec<_>>>()?;
    join(g, &tensors, 2)
}

/// Equal parts, or parts between indices.
fn split(c: &mut Call<'_>, axis: Option<i64>) -> Result<Argument> {
    let x = c.tensor("x")?;
    let axis = match axis {
        // A vector has no second axis.
        Some(1) if x.rank() == 1 => 0,
        Some(axis) => axis,
        None => c.int_or("axis", 0)?,
    };
    match c.value("indices_or_sections")? {
        Some(Value::Array(items)) => {
            let mut bounds = vec![0];
            for item in &items {
                bounds.push(crate::config::int("indices_or_sections", item)?);
            }
            bounds.push(i64::try_from(x.size(axis)?).unwrap_or(i64::MAX));
            let mut sizes = Vec::new();
            for pair in bounds.windows(2) {
                match pair[1].checked_sub(pair[0]).map(u64::try_from) {
                    Some(Ok(size)) => sizes.push(size),
                    _ => refuse!(
                        "the indices {} do not split a dimension of size {}",
                        shown(&Value::Array(items)),
                        x.size(axis)?
                    ),
                }
            }
            Ok(list(c.g.split_sizes(&x, &sizes, axis)?))
        }
        Some(count) => {
            let count = usize::try_from(crate::config::size("indices_or_sections", &count)?).unwrap_or(usize::MAX);
            Ok(list(c.g.split(&x, count, axis)?))
        }
        None => refuse!("it has no `indices_or_sections`"),
    }
}

fn array_split(c: &mut Call<'_>) -> Result<Argument> {
    let (x, axis, parts) = (c.tensor("x")?, c.int_or("axis", 0)?, c.size("indices_or_sections")?);
    let size = x.size(axis)?;
    if parts == 0 || parts > 1 << 20 {
        refuse!("{parts} parts are impossible");
    }
    let sizes: Vec<u64> = (0..parts).map(|part| size / parts + u64::from(part < size % parts)).collect();
    Ok(list(c.g.split_sizes(&x, &sizes, axis)?))
}

pub(super) fn tile(g: &Graph, x: &TensorRef, repeats: &[i64]) -> Result<TensorRef> {
    let mut multiples = Vec::new();
    for times in repeats {
        let Ok(times) = u64::try_from(*times) else { refuse!("it repeats {times} times") };
        multiples.push(times);
    }
    let mut x = x.clone();
    while x.rank() < multiples.len() {
        x = g.expand_dims(&x, 0)?;
    }
    while multiples.len() < x.rank() {
        multiples.insert(0, 1);
    }
    g.tile(&x, &multiples)
}

/// Repeats elements along an axis: all as often, or each as often as is given for it.
pub(super) fn repeat(g: &Graph, x: &TensorRef, repeats: &[i64], axis: Option<i64>) -> Result<TensorRef> {
    let x = if axis.is_none() || x.rank() == 0 { g.reshape(x, &[None])? } else { x.clone() };
    let axis = axis_index(axis.unwrap_or(0), x.rank())?;
    let times = |times: &i64| match u64::try_from(*times) {
        Ok(times) if times < 1 << 24 => Ok(times),
        _ => refuse!("it repeats {times} times"),
    };
    if let [once] = repeats {
        let once = times(once)?;
        let mut multiples = vec![1; x.rank() + 1];
        multiples[axis + 1] = once;
        let tiled = g.tile(&g.expand_dims(&x, axis as i64 + 1)?, &multiples)?;
        let size = x.dims()[axis].and_then(|size| size.checked_mul(once));
        let dims = x.shape.with(axis, size);
        if dims.dims().iter().filter(|dim| dim.is_none()).count() <= 1 {
            return g.reshape(&tiled, dims.dims());
        }
        let sizes = g.pack_dims(dims.dims(), |index| {
            let size = g.dim_of(&x, index as i64)?;
            if index == axis { g.mul(&size, &g.scalar(once as f64, DType::Int32)?) } else { Ok(size) }
        })?;
        return g.reshape_to(&tiled, &sizes, dims);
    }
    if x.dims()[axis].is_some_and(|size| size != repeats.len() as u64) {
        refuse!("it repeats {} elements along a dimension of shape {}", repeats.len(), x.shape);
    }
    let total = repeats.iter().try_fold(0_u64, |total, count| total.checked_add(u64::try_from(*count).ok()?));
    g.program.afford(total.unwrap_or(u64::MAX).saturating_mul(8))?;
    let mut rows = Vec::new();
    for (row, count) in repeats.iter().enumerate() {
        let count = usize::try_from(times(count)?).unwrap_or(usize::MAX);
        if rows.len() + count > 1 << 24 {
            refuse!("it repeats too many elements");
        }
        rows.extend(std::iter::repeat_n(row as i64, count));
    }
    g.gather(&x, &g.vector_i32(&rows)?, axis as i64)
}

fn flip(g: &Graph, x: &TensorRef, axes: &[i64]) -> Result<Argument> {
    let axes: Vec<i64> = indices(axes, x.rank())?.into_iter().map(|axis| axis as i64).collect();
    Ok(g.reverse(x, &axes)?.into())
}

pub(super) fn roll(g: &Graph, x: &TensorRef, shifts: &[i64], axes: Option<&[i64]>) -> Result<TensorRef> {
    let Some(axes) = axes else {
        let flat = roll(g, &g.reshape(x, &[None])?, shifts, Some(&[0]))?;
        return g.reshape_to(&flat, &g.shape_of(x)?, x.shape.clone());
    };
    if shifts.len() != axes.len() {
        refuse!("{} shifts do not fit {} axes", shifts.len(), axes.len());
    }
    indices(axes, x.rank())?;
    let vector = |values: &[i64]| match values {
        [one] => i32::try_from(*one).map_or_else(|_| refuse!("a shift of {one} is too large"), |one| g.scalar_i32(one)),
        values => g.vector_i32(values),
    };
    let attrs = vec![("T", x.dtype.into()), ("Tshift", DType::Int32.into()), ("Taxis", DType::Int32.into())];
    g.add("Roll", &[x, &vector(shifts)?, &vector(axes)?], attrs, x.dtype, x.shape.clone())
}

/// Quarter turns in the plane of two axes.
fn rotate(c: &mut Call<'_>) -> Result<Argument> {
    let (x, turns, axes) = (c.tensor("array")?, c.int_or("k", 1)?, c.ints_or_none("axes")?);
    let axes = indices(&axes.unwrap_or_else(|| vec![0, 1]), x.rank())?;
    let [a, b] = axes[..] else { refuse!("a plane has 2 axes, and {} are given", axes.len()) };
    if a == b {
        refuse!("the axes of a plane are the same");
    }
    let (g, turns) = (c.g, turns.rem_euclid(4));
    if turns == 0 {
        return Ok(x.into());
    }
    let order: Vec<usize> = (0..x.rank()).filter(|axis| ![a, b].contains(axis)).chain([a, b]).collect();
    let moved = g.transpose(&x, &order)?;
    let planes = |x: &TensorRef, sizes: [&TensorRef; 2], dims: [Dim; 2]| {
        let sizes = g.pack(&[&g.scalar_i32(-1)?, sizes[0], sizes[1]], 0)?;
        g.reshape_to(x, &sizes, Shape::new([None, dims[0], dims[1]]))
    };
    let (height, width) = (g.dim_of(&moved, -2)?, g.dim_of(&moved, -1)?);
    let dims = [moved.dim(-2)?, moved.dim(-1)?];
    let (sizes, dims_after) = match turns % 2 {
        1 => ([&width, &height], [dims[1], dims[0]]),
        _ => ([&height, &width], dims),
    };
    let turn = |x: &TensorRef| g.transpose(&g.reverse(x, &[2])?, &[0, 2, 1]);
    let mut y = turn(&planes(&moved, [&height, &width], dims)?)?;
    if turns > 1 {
        // Keras shapes a plane that is turned once as if it were turned twice.
        y = planes(&y, sizes, dims_after)?;
        for _ in 1..turns {
            y = turn(&y)?;
        }
    }
    let last = x.rank() - 2;
    let shape = Shape::new([&moved.dims()[..last], &dims_after].concat());
    let outer = g.strided_slice(&g.shape_of(&moved)?, &[crate::graph::Slice::range(None, last as i64)])?;
    let y = g.reshape_to(&y, &g.concat(&[&outer, &g.pack(&sizes, 0)?], 0)?, shape)?;
    let mut back = vec![0; x.rank()];
    order.iter().enumerate().for_each(|(place, axis)| back[*axis] = place);
    Ok(g.transpose(&y, &back)?.into())
}

fn pad(c: &mut Call<'_>) -> Result<Argument> {
    let (x, value) = (c.tensor("x")?, c.operand_or_none("constant_values")?);
    let (widths, mode) = (c.value("pad_width")?.unwrap_or(Value::Null), c.text_or("mode", "constant")?);
    let size = |value: &Value| crate::config::size("pad_width", value);
    let pair = |value: &Value| match value {
        Value::Array(items) => match items.as_slice() {
            [one] => Ok((size(one)?, size(one)?)),
            [before, after] => Ok((size(before)?, size(after)?)),
            _ => refuse!("`pad_width` has {} sizes for an axis", items.len()),
        },
        one => Ok((size(one)?, size(one)?)),
    };
    let mut pairs = match &widths {
        Value::Array(items) if items.first().is_some_and(Value::is_array) => {
            items.iter().map(pair).collect::<Result<Vec<_>>>()?
        }
        all => vec![pair(all)?],
    };
    if let [one] = pairs[..] {
        pairs = vec![one; x.rank()];
    }
    let g = c.g;
    match mode.as_str() {
        "constant" => {
            let is_zero = matches!(&value, None | Some(Operand::Int(0)))
                || matches!(&value, Some(Operand::Float(value)) if *value == 0.0);
            let value = value.filter(|_| !is_zero).map(|value| value.to(g, x.dtype)).transpose()?;
            Ok(g.pad(&x, &pairs, value.as_ref())?.into())
        }
        "reflect" => Ok(g.mirror_pad(&x, &pairs, "REFLECT")?.into()),
        "symmetric" => Ok(g.mirror_pad(&x, &pairs, "SYMMETRIC")?.into()),
        other => refuse!("`mode` is `{}`, and should be `constant`, `reflect` or `symmetric`", shown_name(other)),
    }
}

fn meshgrid(c: &mut Call<'_>) -> Result<Argument> {
    let first_two = match c.text_or("indexing", "xy")?.as_str() {
        "xy" => [1, 0],
        "ij" => [0, 1],
        other => refuse!("`indexing` is `{}`, and should be `xy` or `ij`", shown_name(other)),
    };
    let g = c.g;
    let vectors =
        c.rest()?.iter().map(|operand| g.reshape(&operand.tensor(g)?, &[None])).collect::<Result<Vec<_>>>()?;
    let rank = vectors.len();
    let place = |index: usize| if rank > 1 { first_two.get(index).copied().unwrap_or(index) } else { index };
    let Some(first) = vectors.first() else { return Ok(Argument::List(Vec::new())) };
    let mut dims = vec![None; rank];
    for (index, vector) in vectors.iter().enumerate() {
        dims[place(index)] = vector.dims()[0];
    }
    let sizes = g.pack_dims(&dims, |axis| g.dim_of(&vectors[place(axis)], 0))?;
    let ones = g.fill(&sizes, &g.scalar(1.0, first.dtype)?, Shape::new(dims))?;
    let mut grids = Vec::new();
    for (index, vector) in vectors.iter().enumerate() {
        let mut dims = vec![Some(1); rank];
        dims[place(index)] = None;
        grids.push(g.mul(&g.reshape(vector, &dims)?, &ones)?);
    }
    Ok(list(grids))
}
