//! Elementwise ops, with broadcasting.

use super::{Call, Found, Outputs, Shaped};
use crate::dtype::DType;
use crate::independence::attributes::text;
use crate::independence::size::Size;
use crate::independence::value::{Value, broadcast_fixed};

pub(super) fn unary(call: &mut Call<'_, '_>) -> Found {
    // `RegexFullMatch` has its pattern as a second input.
    if (1..call.inputs.len()).any(|index| !call.is_fixed(index)) {
        return Err("a pattern depends on the inputs".to_owned());
    }
    call.tensor(0)?.out()
}

pub(super) fn binary(call: &mut Call<'_, '_>) -> Found {
    if call.inputs.len() != 2 {
        return Err("it does not have two inputs".to_owned());
    }
    all(call)
}

/// Inputs that are broadcast against each other.
pub(super) fn all(call: &mut Call<'_, '_>) -> Found {
    let mut tensors = call.tensors()?.into_iter();
    let first = tensors.next().ok_or("it has no inputs")?;
    tensors.try_fold(first, |all, tensor| broadcast(&all, &tensor))?.out()
}

/// Inputs of the same sizes: the old `Select` broadcasts differently.
pub(super) fn same(call: &mut Call<'_, '_>) -> Found {
    let tensors = call.tensors()?;
    if tensors.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err("its inputs do not have the same sizes".to_owned());
    }
    all(call)
}

/// Scalars go with every element; all others have the same sizes.
pub(super) fn string_join(call: &mut Call<'_, '_>) -> Found {
    let tensors = call.tensors()?;
    let mut large = tensors.iter().filter(|tensor| tensor.rank() > 0);
    let Some(first) = large.next() else { return all(call) };
    if large.any(|tensor| tensor != first) {
        return Err("its inputs do not have the same sizes".to_owned());
    }
    first.clone().out()
}

/// Broadcasts two tensors: only rows with the same index may meet.
pub(super) fn broadcast(a: &Shaped, b: &Shaped) -> Result<Shaped, String> {
    let rank = a.rank().max(b.rank());
    let at = |tensor: &Shaped| tensor.axis.map(|axis| axis + rank - tensor.rank());
    let axis = match (at(a), at(b)) {
        (Some(one), Some(other)) if one != other => return Err("rows meet along different axes".to_owned()),
        (one, other) => one.or(other),
    };
    let Some(axis) = axis else {
        let dims = broadcast_fixed(&a.dims, &b.dims).ok_or("its sizes are not known")?;
        return Ok(Shaped { axis: None, dims });
    };
    let size = |tensor: &Shaped| (axis + tensor.rank()).checked_sub(rank).map(|index| tensor.dims[index].clone());
    let rows = match (size(a), size(b)) {
        (Some(one), Some(other)) if one == other => one,
        (Some(one), Some(other)) if other.is(1) => one,
        (Some(one), Some(other)) if one.is(1) => other,
        (Some(_), Some(_)) => return Err("something that is not one row meets the rows".to_owned()),
        (one, other) => one.or(other).ok_or("its sizes are not known")?,
    };
    // The other dimensions are broadcast as if there were no batch.
    let without = |tensor: &Shaped| {
        let mut dims = tensor.dims.clone();
        if let Some(index) = (axis + tensor.rank()).checked_sub(rank) {
            dims[index] = Size::known(1);
        }
        dims
    };
    let mut dims = broadcast_fixed(&without(a), &without(b)).ok_or("its sizes are not known")?;
    dims[axis] = rows;
    Ok(Shaped { axis: Some(axis), dims })
}

/// Sizes stay sizes in another integer type.
pub(super) fn cast(call: &mut Call<'_, '_>) -> Found {
    let to = call.node.type_attr("DstT");
    let is_int = [DType::Int32, DType::Int64].iter().any(|int| to == Some(int.number()));
    match call.input(0)? {
        ints @ Value::Ints { .. } if is_int => Ok(Outputs::Each(vec![ints.clone()])),
        _ => call.tensor(0)?.out(),
    }
}

/// The product of sizes is a size.
pub(super) fn multiply(call: &mut Call<'_, '_>) -> Found {
    sizes(call, |a, b| a.times(b)).unwrap_or_else(|| binary(call))
}

/// Arithmetic with known numbers gives known numbers.
pub(super) fn arithmetic(call: &mut Call<'_, '_>) -> Found {
    let op = call.node.op;
    let of_numbers = |a: i64, b: i64| match op {
        "AddV2" | "Add" => a.checked_add(b),
        "Sub" => a.checked_sub(b),
        "Maximum" => Some(a.max(b)),
        "Minimum" => Some(a.min(b)),
        _ => (b > 0).then(|| a.div_euclid(b)),
    };
    let found = sizes(call, |a, b| match (a.number(), b.number()) {
        (Some(a), Some(b)) => of_numbers(a, b).map(Size::known),
        _ if op == "FloorDiv" => a.over(b),
        _ => None,
    });
    found.unwrap_or_else(|| binary(call))
}

/// Applies a function to two tensors of known integers, element by element.
fn sizes(call: &Call<'_, '_>, of: impl Fn(&Size, &Size) -> Option<Size>) -> Option<Found> {
    let [Value::Ints { shape, items }, Value::Ints { shape: other_shape, items: others }] = call.inputs else {
        return None;
    };
    let (shape, count) =
        if shape.len() >= other_shape.len() { (shape, items.len()) } else { (other_shape, others.len()) };
    let is_like = |items: &[Size]| items.len() == count || items.len() == 1;
    if !is_like(items) || !is_like(others) {
        return None;
    }
    let at = |items: &[Size], index: usize| items[if items.len() == 1 { 0 } else { index }].clone();
    let items: Option<Vec<Size>> = (0..count).map(|index| of(&at(items, index), &at(others, index))).collect();
    items.map(|items| Ok(Outputs::Each(vec![Value::Ints { shape: shape.clone(), items }])))
}

/// An attribute's text, or its default.
pub(super) fn text_or<'a>(call: &Call<'_, 'a>, name: &str, default: &'a str) -> &'a str {
    text(call.node, name).unwrap_or(default)
}
