//! Ops that give sizes or take them.

use super::{Call, Found, Outputs, Shaped};
use crate::independence::size::Size;
use crate::independence::value::Value;

pub(super) fn shape(call: &mut Call<'_, '_>) -> Found {
    let dims = call.input(0)?.dims().ok_or("the sizes of what goes into it are not known")?;
    Ok(Outputs::Each(vec![Value::vector(dims)]))
}

pub(super) fn size(call: &mut Call<'_, '_>) -> Found {
    let dims = call.input(0)?.dims().ok_or("the sizes of what goes into it are not known")?;
    let size = Size::product(&dims).ok_or("a product of sizes is too large")?;
    Ok(Outputs::Each(vec![Value::scalar(size)]))
}

pub(super) fn rank(call: &mut Call<'_, '_>) -> Found {
    let dims = call.input(0)?.dims().ok_or("the sizes of what goes into it are not known")?;
    Ok(Outputs::Each(vec![Value::scalar(Size::known(i64::try_from(dims.len()).unwrap_or(i64::MAX)))]))
}

/// Numbers up to a limit, which must not be the number of rows.
pub(super) fn range(call: &mut Call<'_, '_>) -> Found {
    if !call.inputs.iter().all(Value::is_fixed) {
        return Err("the inputs decide how far it counts".to_owned());
    }
    let numbers: Option<Vec<i64>> = call.inputs.iter().map(Value::number).collect();
    let size = match numbers.as_deref() {
        Some([0, limit, 1]) if *limit >= 0 => Size::known(*limit),
        _ => call.symbol(),
    };
    Ok(Outputs::Each(vec![Value::Fixed(Some(vec![size]))]))
}

/// A tensor of these sizes, of which at most one is the number of rows.
fn of_sizes(sizes: &[Size]) -> Result<Shaped, String> {
    let mut axes = sizes.iter().enumerate().filter(|(_, size)| size.is_batch());
    let axis = axes.next().map(|(axis, _)| axis);
    if axes.next().is_some() {
        return Err("its sizes depend on the number of rows in more than one place".to_owned());
    }
    Ok(Shaped { axis, dims: sizes.to_vec() })
}

fn sizes(call: &Call<'_, '_>, index: usize) -> Result<Vec<Size>, String> {
    Ok(call.input(index)?.ints().ok_or("the sizes that it is given are not known")?.to_vec())
}

/// A tensor filled with one value.
pub(super) fn fill(call: &mut Call<'_, '_>) -> Found {
    call.need_fixed(1)?;
    of_sizes(&sizes(call, 0)?)?.out()
}

pub(super) fn broadcast_to(call: &mut Call<'_, '_>) -> Found {
    let (tensor, target) = (call.tensor(0)?, of_sizes(&sizes(call, 1)?)?);
    if tensor.rank() > target.rank() {
        return Err("it has more dimensions than it should get".to_owned());
    }
    let begin = target.rank() - tensor.rank();
    match (tensor.axis, target.axis) {
        (None, None) => target.out(),
        // A tensor without rows is repeated for each row.
        (None, Some(axis)) if axis < begin || tensor.dims[axis - begin].is(1) => target.out(),
        (Some(own), Some(axis)) if own + begin == axis && tensor.dims[own] == target.dims[axis] => target.out(),
        _ => Err("rows are spread over another axis".to_owned()),
    }
}

pub(super) fn tile(call: &mut Call<'_, '_>) -> Found {
    let (tensor, times) = (call.tensor(0)?, sizes(call, 1)?);
    if times.len() != tensor.rank() {
        return Err("it repeats another number of axes than there are".to_owned());
    }
    if let Some(axis) = tensor.axis
        && !times[axis].is(1)
    {
        return Err("it repeats the rows".to_owned());
    }
    for (size, times) in tensor.dims.iter().zip(&times) {
        // Repeated entries of a longer dimension would not be adjacent.
        if times.is_batch() && !size.is(1) {
            return Err("it repeats something for each row that is not one".to_owned());
        }
    }
    let dims = tensor.dims.iter().zip(&times).map(|(size, times)| size.times(times));
    let dims: Vec<Size> = dims.collect::<Option<_>>().ok_or("a product of sizes is too large")?;
    of_sizes(&dims)?.out()
}
