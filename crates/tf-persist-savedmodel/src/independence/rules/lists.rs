//! Lists of tensors, in which Keras's loops keep the outputs of each step.

use super::{Call, Found, Outputs, Shaped};
use crate::independence::attributes;
use crate::independence::size::Size;
use crate::independence::value::Value;

fn list<'c>(call: &'c Call<'_, '_>) -> Result<(&'c Option<Box<Value>>, &'c Size), String> {
    match call.input(0)? {
        Value::List { element, count } => Ok((element, count)),
        _ => Err("it takes something that is not a list of the graph".to_owned()),
    }
}

/// A list of a given length.
pub(super) fn reserve(call: &mut Call<'_, '_>) -> Found {
    call.need_fixed(1)?;
    if !call.is_fixed(0) {
        return Err("the sizes of a list's tensors depend on the number of rows".to_owned());
    }
    let count = call.number(1).map_or_else(|_| call.symbol(), Size::known);
    Ok(Outputs::Each(vec![Value::List { element: None, count }]))
}

/// The parts of a tensor along its first dimension.
pub(super) fn from_tensor(call: &mut Call<'_, '_>) -> Found {
    let mut tensor = call.tensor(0)?;
    let first = tensor.axis(0)?;
    tensor.need_apart(first)?;
    let count = tensor.dims.remove(0);
    let element = Shaped { axis: tensor.axis.map(|axis| axis - 1), dims: tensor.dims };
    Ok(Outputs::Each(vec![Value::List { element: Some(Box::new(element.value())), count }]))
}

pub(super) fn get(call: &mut Call<'_, '_>) -> Found {
    call.need_fixed(1)?;
    match list(call)?.0 {
        Some(element) => Ok(Outputs::Each(vec![(**element).clone()])),
        None => Err("the list is empty".to_owned()),
    }
}

pub(super) fn set(call: &mut Call<'_, '_>) -> Found {
    call.need_fixed(1)?;
    let (element, count) = list(call)?;
    let put = call.tensor(2)?.value();
    if element.as_ref().is_some_and(|element| **element != put) {
        return Err("the list's tensors differ in their sizes".to_owned());
    }
    let grows = attributes::boolean(call.node, "resize_if_index_out_of_bounds", false);
    let count = if grows { None } else { Some(count.clone()) };
    let count = count.unwrap_or_else(|| call.symbol());
    Ok(Outputs::Each(vec![Value::List { element: Some(Box::new(put)), count }]))
}

/// All tensors of a list, stacked along a new first dimension.
pub(super) fn stack(call: &mut Call<'_, '_>) -> Found {
    let (element, count) = list(call)?;
    let Some(element) = element else { return Err("the list is empty".to_owned()) };
    let (axis, dims) = match &**element {
        Value::Rows { axis, dims } => (Some(*axis + 1), dims.clone()),
        Value::Fixed(Some(dims)) => (None, dims.clone()),
        _ => return Err("the sizes of the list's tensors are not known".to_owned()),
    };
    let dims = std::iter::once(count.clone()).chain(dims).collect();
    Shaped { axis, dims }.out()
}
