//! Ops that work along axes.

use super::{Call, Found, Outputs, Shaped};
use crate::independence::attributes;
use crate::independence::size::Size;
use crate::independence::value::Value;

/// A tensor without some of its axes, or with 1 in their place.
fn without(tensor: &Shaped, axes: &[usize], keep: bool) -> Shaped {
    let mut axis = tensor.axis;
    let mut dims = Vec::new();
    for (index, size) in tensor.dims.iter().enumerate() {
        match (axes.contains(&index), keep) {
            (false, _) => dims.push(size.clone()),
            (true, true) => dims.push(Size::known(1)),
            (true, false) if tensor.axis.is_some_and(|rows| rows > index) => axis = axis.map(|axis| axis - 1),
            (true, false) => {}
        }
    }
    Shaped { axis, dims }
}

pub(super) fn reduce(call: &mut Call<'_, '_>) -> Found {
    let tensor = call.tensor(0)?;
    let axes = call.numbers(1)?.into_iter().map(|axis| tensor.axis(axis)).collect::<Result<Vec<_>, _>>()?;
    axes.iter().try_for_each(|axis| tensor.need_apart(*axis))?;
    without(&tensor, &axes, attributes::boolean(call.node, "keep_dims", false)).out()
}

/// The product of sizes is a size.
pub(super) fn product(call: &mut Call<'_, '_>) -> Found {
    if let (Some(items), Ok(axes)) = (call.input(0)?.ints(), call.numbers(1))
        && axes.iter().all(|axis| matches!(axis, 0 | -1))
        && axes.len() == 1
        && !attributes::boolean(call.node, "keep_dims", false)
        && matches!(call.input(0)?, Value::Ints { shape, .. } if shape.len() == 1)
    {
        let product = Size::product(items).ok_or("a product of sizes is too large")?;
        return Ok(Outputs::Each(vec![Value::scalar(product)]));
    }
    reduce(call)
}

pub(super) fn arg(call: &mut Call<'_, '_>) -> Found {
    let tensor = call.tensor(0)?;
    let axis = tensor.axis(call.number(1)?)?;
    tensor.need_apart(axis)?;
    without(&tensor, &[axis], false).out()
}

/// Along one axis, with an output of the same shape.
pub(super) fn along(call: &mut Call<'_, '_>) -> Found {
    let tensor = call.tensor(0)?;
    tensor.need_apart(tensor.axis(call.number(1)?)?)?;
    tensor.out()
}

pub(super) fn reverse(call: &mut Call<'_, '_>) -> Found {
    let tensor = call.tensor(0)?;
    for axis in call.numbers(1)? {
        tensor.need_apart(tensor.axis(axis)?)?;
    }
    tensor.out()
}

/// The largest along the last axis, and their indices.
pub(super) fn top(call: &mut Call<'_, '_>) -> Found {
    let mut tensor = call.tensor(0)?;
    call.need_fixed(1)?;
    let last = tensor.axis(-1)?;
    tensor.need_apart(last)?;
    tensor.dims[last] = match call.number(1) {
        Ok(count) => Size::known(count),
        Err(_) => call.symbol(),
    };
    Ok(Outputs::Each(vec![tensor.clone().value(), tensor.value()]))
}
