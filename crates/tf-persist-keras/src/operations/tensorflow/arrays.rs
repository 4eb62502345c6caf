//! Functions of TensorFlow that move elements.

use serde_json::Value;
use tf_persist_savedmodel::DType;

use super::super::call::{Call, ints};
use super::super::indexing::get_item;
use super::super::shapes::{indices, repeat, roll, tile};
use super::super::{Entry, op};
use super::arguments::{key, plain};
use crate::config::{int, shown, size};
use crate::graph::{Attr, Dim, Graph, Shape, TensorRef, axis_index};
use crate::layers::Argument;
use crate::reason::{Result, refuse};

pub(super) const TABLE: &[Entry] = &[
    op("__operators__.getitem", "tensor slice_spec var", "", |c| {
        let x = c.tensor("tensor")?;
        let spec = c.arguments.take(1, "slice_spec").unwrap_or(Argument::Plain(Value::Null));
        Ok(get_item(c.g, &x, &key(&spec)?)?.into())
    }),
    op("cast", "x dtype", "", |c| {
        let (x, dtype) = (c.tensor("x")?, c.dtype_or_none("dtype")?);
        match dtype {
            Some(dtype) => Ok(c.g.cast(&x, dtype)?.into()),
            None => refuse!("it is called without `dtype`"),
        }
    }),
    op("convert_to_tensor", "value dtype dtype_hint", "", |c| {
        let (x, dtype) = (c.tensor("value")?, c.dtype_or_none("dtype")?);
        c.value("dtype_hint")?;
        Ok(c.g.cast(&x, dtype.unwrap_or(x.dtype))?.into())
    }),
    op("reshape", "tensor shape", "", |c| {
        let x = c.tensor("tensor")?;
        let (sizes, shape) = c.sizes("shape")?;
        Ok(reshaped(c.g, &x, &sizes, &shape)?.into())
    }),
    op("transpose", "a perm conjugate", "", |c| {
        let (x, order) = (c.tensor("a")?, c.ints_or_none("perm")?);
        c.bool_or("conjugate", false)?;
        let order = match order {
            Some(order) => indices(&order, x.rank())?,
            None => (0..x.rank()).rev().collect(),
        };
        Ok(c.g.transpose(&x, &order)?.into())
    }),
    op("expand_dims", "input axis", "", |c| {
        let (x, axis) = (c.tensor("input")?, c.int_or("axis", 0)?);
        Ok(c.g.expand_dims(&x, axis)?.into())
    }),
    op("squeeze", "input axis", "", |c| {
        let (x, axes) = (c.tensor("input")?, c.ints_or_none("axis")?);
        Ok(squeezed(c.g, &x, axes)?.into())
    }),
    op("concat", "values axis", "", |c| {
        let (tensors, axis) = (c.tensors("values")?, c.int_or("axis", 0)?);
        Ok(c.g.concat(&tensors.iter().collect::<Vec<_>>(), axis)?.into())
    }),
    op("stack", "values axis", "", |c| {
        let (tensors, axis) = (c.tensors("values")?, c.int_or("axis", 0)?);
        Ok(c.g.pack(&tensors.iter().collect::<Vec<_>>(), axis)?.into())
    }),
    op("unstack", "value num axis", "", |c| {
        let (x, axis) = (c.tensor("value")?, c.int_or("axis", 0)?);
        c.value("num")?;
        Ok(list(c.g.unpack(&x, axis)?))
    }),
    op("split", "value num_or_size_splits axis num", "", split),
    op("tile", "input multiples", "", |c| {
        let (x, multiples) = (c.tensor("input")?, c.ints("multiples")?);
        Ok(tile(c.g, &x, &multiples)?.into())
    }),
    op("repeat", "input repeats axis", "", |c| {
        let (x, times, axis) = (c.tensor("input")?, c.ints("repeats")?, c.int_or_none("axis")?);
        Ok(repeat(c.g, &x, &times, axis)?.into())
    }),
    op("reverse", "tensor axis", "", |c| {
        let (x, axes) = (c.tensor("tensor")?, c.ints("axis")?);
        let axes: Vec<i64> = indices(&axes, x.rank())?.into_iter().map(|axis| axis as i64).collect();
        Ok(c.g.reverse(&x, &axes)?.into())
    }),
    op("roll", "input shift axis", "", |c| {
        let (x, shifts, axes) = (c.tensor("input")?, c.ints("shift")?, c.ints("axis")?);
        Ok(roll(c.g, &x, &shifts, Some(&axes))?.into())
    }),
    op("gather", "params indices validate_indices axis batch_dims", "", gather),
    op("gather_nd", "params indices batch_dims bad_indices_policy", "", |c| {
        let (x, at) = (c.tensor("params")?, c.tensor("indices")?);
        match c.text_or("bad_indices_policy", "")?.as_str() {
            "" | "DEFAULT" => {}
            other => refuse!("`bad_indices_policy` is `{}`, which is not supported", other.escape_debug()),
        }
        match c.int_or("batch_dims", 0)? {
            0 => Ok(c.g.gather_nd(&x, &at)?.into()),
            count => refuse!("`batch_dims` is {count}, which is not supported"),
        }
    }),
    op("slice", "input_ begin size", "", slice),
    op("pad", "tensor paddings mode constant_values", "", pad),
    op("where", "condition x y", "", |c| {
        let condition = c.tensor("condition")?;
        let [x, y] = c.two("x", "y")?;
        Ok(c.g.select(&condition, &x, &y)?.into())
    }),
    op("one_hot", "indices depth on_value off_value axis dtype", "", one_hot),
    op("zeros_like", "input dtype", "", |c| like(c, "input", 0.0)),
    op("ones_like", "input dtype", "", |c| like(c, "input", 1.0)),
    op("shape", "input out_type", "", |c| {
        let (x, dtype) = (c.tensor("input")?, c.dtype_or_none("out_type")?);
        Ok(c.g.cast(&c.g.shape_of(&x)?, dtype.unwrap_or(DType::Int32))?.into())
    }),
    op("rank", "input", "", |c| {
        let x = c.tensor("input")?;
        Ok(c.g.scalar(x.rank() as f64, DType::Int32)?.into())
    }),
    op("fill", "dims value", "", |c| {
        let (sizes, shape) = c.sizes("dims")?;
        let value = c.tensor("value")?;
        Ok(c.g.fill(&sizes, &value, shape)?.into())
    }),
    op("zeros", "shape dtype", "", |c| filled(c, 0.0)),
    op("ones", "shape dtype", "", |c| filled(c, 1.0)),
    op("broadcast_to", "input shape", "", |c| {
        let x = c.tensor("input")?;
        let (sizes, shape) = c.sizes("shape")?;
        Ok(c.g.broadcast_to(&x, &sizes, shape)?.into())
    }),
    op("identity", "input", "", |c| c.one("input", Graph::identity)),
    op("stop_gradient", "input", "", |c| c.one("input", Graph::stop_gradient)),
    op("ensure_shape", "x shape", "", |c| {
        let (x, wanted) = (c.tensor("x")?, c.take("shape"));
        let Some(wanted) = wanted.and_then(|argument| plain(&argument)) else { refuse!("its `shape` is not known") };
        let Value::Array(items) = wanted else { refuse!("its `shape` is {}, and should be a list", shown(&wanted)) };
        let dim = |item: &Value| if item.is_null() { Ok(None) } else { size("shape", item).map(Some) };
        let shape = Shape::new(items.iter().map(dim).collect::<Result<Vec<_>>>()?);
        let attrs = vec![("T", x.dtype.into()), ("shape", Attr::Shape(shape.clone()))];
        Ok(c.g.add("EnsureShape", &[&x], attrs, x.dtype, x.shape.merge(&shape)?)?.into())
    }),
    op("sort", "values axis direction", "", |c| {
        let (x, axis) = (c.tensor("values")?, c.int_or("axis", -1)?);
        match c.text_or("direction", "ASCENDING")?.as_str() {
            "DESCENDING" => Ok(c.g.sort_descending(&x, axis)?.into()),
            "ASCENDING" => Ok(super::super::sorting::ascending(c.g, &x, axis)?[0].clone().into()),
            other => refuse!("`direction` is `{}`, which is unknown", other.escape_debug()),
        }
    }),
    op("strings.lower", "input encoding", "", |c| {
        c.value("encoding")?;
        c.one("input", Graph::string_lower)
    }),
    op("strings.regex_replace", "input pattern rewrite replace_global", "", |c| {
        let (pattern, rewrite) = (c.text_or("pattern", "")?, c.text_or("rewrite", "")?);
        if !c.bool_or("replace_global", true)? {
            refuse!("`replace_global` is false, which is not supported");
        }
        c.one("input", |g, x| g.regex_replace(x, &pattern, &rewrite))
    }),
];

fn list(tensors: Vec<TensorRef>) -> Argument {
    Argument::List(tensors.into_iter().map(Argument::from).collect())
}

/// Reshapes to sizes of which some are computed when the graph runs.
pub(super) fn reshaped(g: &Graph, x: &TensorRef, sizes: &TensorRef, shape: &Shape) -> Result<TensorRef> {
    match shape.dims().iter().filter(|dim| dim.is_none()).count() {
        0 => g.reshape(x, shape.dims()),
        // A constant, in which one size is open.
        1 if g.is_constant(sizes) => g.reshape(x, shape.dims()),
        _ => g.reshape_to(x, sizes, shape.clone()),
    }
}

pub(super) fn squeezed(g: &Graph, x: &TensorRef, axes: Option<Vec<i64>>) -> Result<TensorRef> {
    let axes = match axes {
        Some(axes) if !axes.is_empty() => axes,
        _ => (0..x.rank() as i64).filter(|axis| x.dims()[*axis as usize] == Some(1)).collect(),
    };
    if axes.is_empty() { Ok(x.clone()) } else { g.squeeze(x, &axes) }
}

fn split(c: &mut Call<'_>) -> Result<Argument> {
    let (x, axis) = (c.tensor("value")?, c.int_or("axis", 0)?);
    c.value("num")?;
    match c.value("num_or_size_splits")? {
        Some(Value::Array(items)) => {
            let total = x.dim(axis)?;
            let mut sizes = Vec::new();
            for item in &items {
                sizes.push(int("num_or_size_splits", item)?);
            }
            let mut known = sizes.iter().filter_map(|size| u64::try_from(*size).ok());
            let rest = total.and_then(|total| total.checked_sub(known.try_fold(0_u64, u64::checked_add)?));
            let size = |size: &i64| match (u64::try_from(*size), rest) {
                (Ok(size), _) => Ok(size),
                (Err(_), Some(rest)) => Ok(rest),
                (Err(_), None) => refuse!("a part has an unknown size"),
            };
            let sizes = sizes.iter().map(size).collect::<Result<Vec<_>>>()?;
            Ok(list(c.g.split_sizes(&x, &sizes, axis)?))
        }
        Some(count) => {
            let count = usize::try_from(size("num_or_size_splits", &count)?).unwrap_or(usize::MAX);
            Ok(list(c.g.split(&x, count, axis)?))
        }
        None => refuse!("it is called without `num_or_size_splits`"),
    }
}

fn gather(c: &mut Call<'_>) -> Result<Argument> {
    let (x, at) = (c.tensor("params")?, c.tensor("indices")?);
    let (axis, batch) = (c.int_or_none("axis")?, c.int_or("batch_dims", 0)?);
    c.value("validate_indices")?;
    let g = c.g;
    let batch = usize::try_from(if batch < 0 { batch + at.rank() as i64 } else { batch }).unwrap_or(usize::MAX);
    let axis = axis_index(axis.unwrap_or(i64::try_from(batch).unwrap_or(0)), x.rank())?;
    if batch == 0 {
        return Ok(g.gather(&x, &at, axis as i64)?.into());
    }
    if batch > axis || batch > at.rank() {
        refuse!("`batch_dims` is {batch}, which does not fit shapes {} and {}", x.shape, at.shape);
    }
    let dims = [&x.dims()[..axis], &at.dims()[batch..], &x.dims()[axis + 1..]].concat();
    let attrs = vec![
        ("Tparams", x.dtype.into()),
        ("Tindices", at.dtype.into()),
        ("Taxis", DType::Int32.into()),
        ("batch_dims", Attr::Int(batch as i64)),
    ];
    let axis = g.scalar(axis as f64, DType::Int32)?;
    Ok(g.add("GatherV2", &[&x, &at, &axis], attrs, x.dtype, Shape::new(dims))?.into())
}

fn slice(c: &mut Call<'_>) -> Result<Argument> {
    let x = c.tensor("input_")?;
    let (begin, sizes) = (c.ints("begin")?, c.ints("size")?);
    if begin.len() != x.rank() || sizes.len() != x.rank() {
        refuse!("a slice of {} dimensions does not fit shape {}", begin.len(), x.shape);
    }
    let mut slices = Vec::new();
    for (begin, size) in begin.iter().zip(&sizes) {
        let end = if *size < 0 { None } else { begin.checked_add(*size) };
        slices.push(crate::graph::Slice::range(*begin, end));
    }
    Ok(c.g.strided_slice(&x, &slices)?.into())
}

fn pad(c: &mut Call<'_>) -> Result<Argument> {
    let (x, paddings) = (c.tensor("tensor")?, c.value("paddings")?);
    let mode = c.text_or("mode", "CONSTANT")?.to_ascii_uppercase();
    let value = c.take("constant_values");
    let Some(Value::Array(pairs)) = paddings else { refuse!("`paddings` should be a list of pairs") };
    let pair = |value: &Value| match ints("paddings", value)?[..] {
        [before, after] => match (u64::try_from(before), u64::try_from(after)) {
            (Ok(before), Ok(after)) => Ok((before, after)),
            _ => refuse!("`paddings` has a negative size"),
        },
        _ => refuse!("`paddings` should be a list of pairs"),
    };
    let pairs = pairs.iter().map(pair).collect::<Result<Vec<_>>>()?;
    let g = c.g;
    Ok(match mode.as_str() {
        "CONSTANT" => {
            let is_zero = value
                .as_ref()
                .is_none_or(|value| matches!(value, Argument::Plain(value) if value.as_f64() == Some(0.0)));
            let value = match value.filter(|_| !is_zero) {
                Some(value) => Some(super::arguments::typed(g, &value, Some(x.dtype))?),
                None => None,
            };
            g.pad(&x, &pairs, value.as_ref())?
        }
        "REFLECT" => g.mirror_pad(&x, &pairs, "REFLECT")?,
        "SYMMETRIC" => g.mirror_pad(&x, &pairs, "SYMMETRIC")?,
        other => refuse!("`mode` is `{}`, which is unknown", other.escape_debug()),
    }
    .into())
}

fn one_hot(c: &mut Call<'_>) -> Result<Argument> {
    let (at, depth, axis) = (c.tensor("indices")?, c.size("depth")?, c.int_or("axis", -1)?);
    let dtype = c.dtype_or_none("dtype")?.unwrap_or(DType::Float32);
    let (on, off) = (c.float_or("on_value", 1.0)?, c.float_or("off_value", 0.0)?);
    let y = c.g.one_hot(&at, depth, axis, dtype)?;
    if (on, off) == (1.0, 0.0) {
        return Ok(y.into());
    }
    let (on, off) = (c.g.scalar(on, dtype)?, c.g.scalar(off, dtype)?);
    let is_on = c.g.not_equal(&y, &c.g.scalar(0.0, dtype)?)?;
    Ok(c.g.select(&is_on, &on, &off)?.into())
}

pub(super) fn like(c: &mut Call<'_>, name: &str, value: f64) -> Result<Argument> {
    let (x, dtype) = (c.tensor(name)?, c.dtype_or_none("dtype")?);
    let value = c.g.scalar(value, dtype.unwrap_or(x.dtype))?;
    Ok(c.g.fill(&c.g.shape_of(&x)?, &value, x.shape.clone())?.into())
}

fn filled(c: &mut Call<'_>, value: f64) -> Result<Argument> {
    let (sizes, shape) = c.sizes("shape")?;
    let dtype = c.dtype_or_none("dtype")?.unwrap_or(DType::Float32);
    if shape.dims().iter().any(|dim: &Dim| dim.is_none()) && c.g.is_constant(&sizes) {
        refuse!("its shape has a negative size");
    }
    Ok(c.g.fill(&sizes, &c.g.scalar(value, dtype)?, shape)?.into())
}
