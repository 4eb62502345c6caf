//! Ops that rearrange elements.

use super::{Call, Found, Outputs, Shaped, resolve_index};
use crate::independence::attributes;
use crate::independence::size::Size;
use crate::independence::value::Value;

/// The elements in another shape. If the rows are the first dimension, each row's elements are adjacent. They stay
/// adjacent in the new shape if its first dimension is a multiple of the number of rows and no other dimension depends
/// on it.
pub(super) fn reshape(call: &mut Call<'_, '_>) -> Found {
    let wanted = call.input(1)?.ints().ok_or("the shape that it is given is not known")?.to_vec();
    if let Value::Ints { items, .. } = call.input(0)?
        && let Some(found) = reshape_sizes(items, &wanted)
    {
        return Ok(Outputs::Each(vec![found]));
    }
    let tensor = call.tensor(0)?;
    if tensor.axis.is_some_and(|axis| axis != 0) {
        return Err("the rows are not its first dimension".to_owned());
    }
    let total = Size::product(&tensor.dims).ok_or("a product of sizes is too large")?;
    let open = wanted.iter().filter(|size| size.is(-1)).count();
    let is_size = |size: &Size| size.is_positive() || size.is(-1);
    if open > 1 || !wanted.iter().all(is_size) {
        return Err("the shape that it is given is invalid".to_owned());
    }
    let given: Vec<&Size> = wanted.iter().filter(|size| !size.is(-1)).collect();
    let given = Size::product(given).ok_or("a product of sizes is too large")?;
    let mut dims = wanted;
    if let Some(rest) = dims.iter_mut().find(|size| size.is(-1)) {
        *rest = match total.over(&given) {
            Some(rest) => rest,
            // Without rows it is some size, and also if each row gets the same part of the first dimension.
            None if tensor.axis.is_none() || given.is_batch() => call.symbol(),
            None => return Err("its first dimension is not known to be the rows'".to_owned()),
        };
    } else if tensor.axis.is_some() && !given.is_batch() {
        return Err("the shape that it is given does not depend on the number of rows".to_owned());
    }
    if tensor.axis.is_none() {
        return Shaped { axis: None, dims }.out();
    }
    if !dims.first().is_some_and(Size::is_batch) {
        return Err("its first dimension is not known to be the rows'".to_owned());
    }
    Shaped { axis: Some(0), dims }.out()
}

/// Sizes as a scalar or a vector.
fn reshape_sizes(items: &[Size], wanted: &[Size]) -> Option<Value> {
    let count = i64::try_from(items.len()).ok()?;
    match wanted {
        [] => (count == 1).then(|| Value::scalar(items[0].clone())),
        [size] if size.is(-1) || size.is(count) => Some(Value::vector(items.to_vec())),
        _ => None,
    }
}

pub(super) fn transpose(call: &mut Call<'_, '_>) -> Found {
    let tensor = call.tensor(0)?;
    let order = call.numbers(1)?.into_iter().map(|axis| tensor.axis(axis)).collect::<Result<Vec<_>, _>>()?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..tensor.rank()) {
        return Err("the order of axes that it is given is invalid".to_owned());
    }
    let axis = tensor.axis.and_then(|axis| order.iter().position(|from| *from == axis));
    Shaped { axis, dims: order.iter().map(|from| tensor.dims[*from].clone()).collect() }.out()
}

pub(super) fn expand_dims(call: &mut Call<'_, '_>) -> Found {
    let axis = call.number(1)?;
    if let Value::Ints { shape, items } = call.input(0)?
        && shape.is_empty()
    {
        return Ok(Outputs::Each(vec![Value::vector(items.clone())]));
    }
    let mut tensor = call.tensor(0)?;
    let axis = resolve_index(axis, tensor.rank() + 1)?;
    insert(&mut tensor, axis, Size::known(1));
    tensor.out()
}

fn insert(tensor: &mut Shaped, axis: usize, size: Size) {
    tensor.dims.insert(axis, size);
    tensor.axis = tensor.axis.map(|rows| if rows >= axis { rows + 1 } else { rows });
}

/// Removes dimensions of size 1, which must be named: otherwise a batch of one row would lose its first dimension.
pub(super) fn squeeze(call: &mut Call<'_, '_>) -> Found {
    let mut tensor = call.tensor(0)?;
    let axes = ["squeeze_dims", "axis"].iter().find_map(|name| attributes::ints(call.node, name)).unwrap_or_default();
    let mut axes = axes.into_iter().map(|axis| tensor.axis(axis)).collect::<Result<Vec<_>, _>>()?;
    if axes.is_empty() && tensor.axis.is_some() {
        return Err("it takes away any dimension of size 1, also that of the rows".to_owned());
    }
    if axes.is_empty() {
        return Ok(Outputs::Each(vec![Value::Fixed(None)]));
    }
    axes.sort_unstable();
    axes.dedup();
    for axis in axes.into_iter().rev() {
        tensor.need_apart(axis)?;
        tensor.dims.remove(axis);
        tensor.axis = tensor.axis.map(|rows| if rows > axis { rows - 1 } else { rows });
    }
    tensor.out()
}

pub(super) fn concat(call: &mut Call<'_, '_>) -> Found {
    let count = call.inputs.len().checked_sub(1).ok_or("it has too few inputs")?;
    let axis = call.number(count)?;
    let sizes: Option<Vec<&[Size]>> = call.inputs[..count].iter().map(Value::ints).collect();
    if let Some(sizes) = sizes.filter(|_| axis == 0 || axis == -1) {
        return Ok(Outputs::Each(vec![Value::vector(sizes.concat())]));
    }
    let tensors: Vec<Shaped> = (0..count).map(|index| call.tensor(index)).collect::<Result<_, _>>()?;
    let first = tensors.first().ok_or("it has too few inputs")?;
    let axis = first.axis(axis)?;
    first.need_apart(axis)?;
    let mut dims = first.dims.clone();
    let is_like = |tensor: &Shaped| {
        tensor.axis == first.axis
            && tensor.rank() == first.rank()
            && first.axis.is_none_or(|rows| tensor.dims[rows] == first.dims[rows])
    };
    if !tensors.iter().all(is_like) {
        return Err("it lays rows beside something else".to_owned());
    }
    let sum = tensors.iter().try_fold(0_i64, |sum, tensor| sum.checked_add(tensor.dims[axis].number()?));
    dims[axis] = sum.map_or_else(|| call.symbol(), Size::known);
    Shaped { axis: first.axis, dims }.out()
}

pub(super) fn pack(call: &mut Call<'_, '_>) -> Found {
    let axis = attributes::int(call.node, "axis").unwrap_or(0);
    let scalar = |value: &Value| match value {
        Value::Ints { shape, items } if shape.is_empty() => items.first().cloned(),
        _ => None,
    };
    if let Some(items) = call.inputs.iter().map(scalar).collect::<Option<Vec<Size>>>() {
        return Ok(Outputs::Each(vec![Value::vector(items)]));
    }
    let tensors = call.tensors()?;
    let first = tensors.first().ok_or("it has too few inputs")?;
    if tensors.iter().any(|tensor| tensor != first) {
        return Err("it lays rows beside something else".to_owned());
    }
    let mut all = first.clone();
    let axis = resolve_index(axis, all.rank() + 1)?;
    insert(&mut all, axis, Size::known(i64::try_from(tensors.len()).unwrap_or(i64::MAX)));
    all.out()
}

pub(super) fn unpack(call: &mut Call<'_, '_>) -> Found {
    let mut tensor = call.tensor(0)?;
    let axis = tensor.axis(attributes::int(call.node, "axis").unwrap_or(0))?;
    tensor.need_apart(axis)?;
    tensor.dims.remove(axis);
    tensor.axis = tensor.axis.map(|rows| if rows > axis { rows - 1 } else { rows });
    Ok(Outputs::All(tensor.value()))
}

pub(super) fn split(call: &mut Call<'_, '_>) -> Found {
    let mut tensor = call.tensor(1)?;
    let axis = tensor.axis(call.number(0)?)?;
    tensor.need_apart(axis)?;
    let parts = attributes::int(call.node, "num_split").unwrap_or(0);
    let part = tensor.dims[axis].over(&Size::known(parts));
    tensor.dims[axis] = part.unwrap_or_else(|| call.symbol());
    Ok(Outputs::All(tensor.value()))
}

pub(super) fn split_v(call: &mut Call<'_, '_>) -> Found {
    let tensor = call.tensor(0)?;
    let axis = tensor.axis(call.number(2)?)?;
    tensor.need_apart(axis)?;
    let mut parts = Vec::new();
    for size in call.numbers(1)? {
        let mut part = tensor.clone();
        part.dims[axis] = if size >= 0 { Size::known(size) } else { call.symbol() };
        parts.push(part.value());
    }
    Ok(Outputs::Each(parts))
}

pub(super) fn pad(call: &mut Call<'_, '_>) -> Found {
    let mut tensor = call.tensor(0)?;
    (2..call.inputs.len()).try_for_each(|index| call.need_fixed(index))?;
    let numbers = match call.input(1)? {
        Value::Ints { items, .. } => items.iter().map(Size::number).collect::<Option<Vec<i64>>>(),
        _ => None,
    };
    let numbers = numbers.filter(|numbers| numbers.len() == 2 * tensor.rank()).ok_or("the padding is not known")?;
    for (axis, around) in numbers.chunks_exact(2).enumerate() {
        let added = around[0].checked_add(around[1]).ok_or("the padding is not known")?;
        if around == [0, 0] {
            continue;
        }
        tensor.need_apart(axis)?;
        let size = tensor.dims[axis].number().and_then(|size| size.checked_add(added));
        tensor.dims[axis] = size.map_or_else(|| call.symbol(), Size::known);
    }
    tensor.out()
}

pub(super) fn one_hot(call: &mut Call<'_, '_>) -> Found {
    let mut tensor = call.tensor(0)?;
    (1..call.inputs.len()).try_for_each(|index| call.need_fixed(index))?;
    let axis = resolve_index(attributes::int(call.node, "axis").unwrap_or(-1), tensor.rank() + 1)?;
    let depth = call.number(1).map_or_else(|_| call.symbol(), Size::known);
    insert(&mut tensor, axis, depth);
    tensor.out()
}

pub(super) fn gather(call: &mut Call<'_, '_>) -> Found {
    let axis = call.number(2)?;
    if attributes::int(call.node, "batch_dims").unwrap_or(0) != 0 {
        return Err("it takes elements of a batch in a way that is not supported".to_owned());
    }
    if let (Value::Ints { shape, items }, Ok(indices), 0 | -1) = (call.input(0)?, call.numbers(1), axis)
        && shape.len() == 1
        && let Value::Ints { shape: of_places, .. } = call.input(1)?
    {
        let at = |at: i64| items.get(resolve_index(at, items.len()).ok()?).cloned();
        let found: Option<Vec<Size>> = indices.into_iter().map(at).collect();
        let (shape, items) = (of_places.clone(), found.ok_or("it takes an element that does not exist")?);
        return Ok(Outputs::Each(vec![Value::Ints { shape, items }]));
    }
    let (from, indices) = (call.tensor(0)?, call.tensor(1)?);
    let axis = from.axis(axis)?;
    taken(&from, &indices, axis)
}

/// Elements of one tensor at the indices in another.
fn taken(from: &Shaped, indices: &Shaped, axis: usize) -> Found {
    from.need_apart(axis)?;
    let mut dims = from.dims[..axis].to_vec();
    dims.extend(indices.dims.iter().cloned());
    dims.extend(from.dims[axis + 1..].iter().cloned());
    let moved = |rows: usize| if rows > axis { rows + indices.rank() - 1 } else { rows };
    let rows = match (from.axis, indices.axis) {
        (Some(_), Some(_)) => return Err("rows are looked up in rows".to_owned()),
        (Some(rows), None) => Some(moved(rows)),
        (None, rows) => rows.map(|rows| rows + axis),
    };
    Shaped { axis: rows, dims }.out()
}

pub(super) fn resource_gather(call: &mut Call<'_, '_>) -> Found {
    if attributes::int(call.node, "batch_dims").unwrap_or(0) != 0 {
        return Err("it takes elements of a batch in a way that is not supported".to_owned());
    }
    let Value::Variable(Some(dims)) = call.input(0)? else {
        return Err("the sizes of the variable are not known".to_owned());
    };
    let from = Shaped { axis: None, dims: dims.clone() };
    if from.rank() == 0 {
        return Err("the variable is one number".to_owned());
    }
    taken(&from, &call.tensor(1)?, 0)
}
