//! Products, convolutions, pooling, biases and normalization.

use super::elementwise::{broadcast, text_or};
use super::{Call, Found, Outputs, Shaped};
use crate::independence::attributes;
use crate::independence::size::Size;
use crate::independence::value::Value;

/// Rows times a weight.
pub(super) fn mat_mul(call: &mut Call<'_, '_>) -> Found {
    let flag = |name| attributes::boolean(call.node, name, false);
    let (turn_a, turn_b) = (flag("transpose_a"), flag("transpose_b"));
    let a = call.tensor(0)?;
    call.need_fixed(1)?;
    if a.rank() != 2 || turn_a || a.axis == Some(1) {
        return Err("the rows are not its left side's first dimension".to_owned());
    }
    let width = call.input(1)?.fixed_dims().and_then(|dims| dims.get(usize::from(!turn_b)).cloned());
    let width = width.unwrap_or_else(|| call.symbol());
    Shaped { axis: a.axis, dims: vec![a.dims[0].clone(), width] }.out()
}

pub(super) fn batch_mat_mul(call: &mut Call<'_, '_>) -> Found {
    let flag = |name| attributes::boolean(call.node, name, false);
    let (turn_a, turn_b) = (flag("adj_x"), flag("adj_y"));
    let (a, b) = (call.tensor(0)?, call.tensor(1)?);
    if a.rank() < 2 || b.rank() < 2 {
        return Err("its operands are not matrices".to_owned());
    }
    let height = a.rank() - 1 - usize::from(!turn_a);
    let width = b.rank() - 1 - usize::from(turn_b);
    if a.axis == Some(height) && b.axis.is_none() {
        // One matrix per row on the left: the right side must be one matrix for all.
        if b.dims[..b.rank() - 2].iter().any(|size| !size.is(1)) || turn_a {
            return Err("the rows are not its left side's first dimension".to_owned());
        }
        let extra = b.rank().saturating_sub(a.rank());
        let mut dims = vec![Size::known(1); extra];
        dims.extend(a.dims[..a.rank() - 1].iter().cloned());
        dims.push(b.dims[width].clone());
        return Shaped { axis: a.axis.map(|axis| axis + extra), dims }.out();
    }
    let outer = |tensor: &Shaped| Shaped { axis: tensor.axis, dims: tensor.dims[..tensor.rank() - 2].to_vec() };
    let is_inside = |tensor: &Shaped| tensor.axis.is_some_and(|axis| axis + 2 >= tensor.rank());
    if is_inside(&a) || is_inside(&b) {
        return Err("it adds over the rows, or multiplies them with each other".to_owned());
    }
    let mut all = broadcast(&outer(&a), &outer(&b))?;
    all.dims.push(a.dims[height].clone());
    all.dims.push(b.dims[width].clone());
    all.out()
}

pub(super) fn einsum(call: &mut Call<'_, '_>) -> Found {
    let equation = text_or(call, "equation", "");
    let (inputs, output) = equation.split_once("->").ok_or("its equation has no output")?;
    let inputs: Vec<&[u8]> = inputs.split(',').map(str::as_bytes).collect();
    let tensors = call.tensors()?;
    let output = output.as_bytes();
    let are_letters = inputs.iter().chain([&output]).all(|labels| labels.iter().all(u8::is_ascii_alphabetic));
    if inputs.len() != tensors.len() || !are_letters {
        return Err("its equation is not supported".to_owned());
    }
    let mut rows: Option<(u8, &Size)> = None;
    for (labels, tensor) in inputs.iter().zip(&tensors) {
        let is_twice = |label: &u8| labels.iter().filter(|other| *other == label).count() > 1;
        if labels.len() != tensor.rank() || labels.iter().any(is_twice) {
            return Err("its equation is not supported".to_owned());
        }
        let Some(axis) = tensor.axis else { continue };
        let own = (labels[axis], &tensor.dims[axis]);
        if *rows.get_or_insert(own) != own {
            return Err("rows meet along different axes".to_owned());
        }
    }
    for (labels, tensor) in inputs.iter().zip(&tensors) {
        let index = rows.and_then(|(label, _)| labels.iter().position(|other| *other == label));
        if index.is_some() && tensor.axis != index {
            return Err("something that is not one row meets the rows".to_owned());
        }
    }
    let axis = rows.map(|(label, _)| output.iter().position(|other| *other == label).ok_or("it adds over the rows"));
    let axis = axis.transpose()?;
    let size = |label: &u8| {
        let sizes = inputs
            .iter()
            .zip(&tensors)
            .filter_map(|(labels, tensor)| Some(tensor.dims[labels.iter().position(|other| other == label)?].clone()));
        let mut sizes: Vec<Size> = sizes.collect();
        sizes.sort_by_key(|size| size.number().is_none());
        sizes.into_iter().next()
    };
    let dims: Option<Vec<Size>> = output.iter().map(size).collect();
    Shaped { axis, dims: dims.ok_or("its equation is not supported")? }.out()
}

pub(super) fn bias_add(call: &mut Call<'_, '_>) -> Found {
    let tensor = call.tensor(0)?;
    call.need_fixed(1)?;
    let channels = if text_or(call, "data_format", "NHWC") == "NCHW" { 1 } else { tensor.rank().max(1) - 1 };
    if tensor.rank() < 2 || tensor.axis == Some(channels) {
        return Err("the rows are where a bias is added to each channel".to_owned());
    }
    tensor.out()
}

/// The size after a window: `(size, window, stride, dilation)`.
fn windows(call: &mut Call<'_, '_>, size: &Size, window: Option<i64>, stride: i64, dilation: i64) -> Size {
    let padding = text_or(call, "padding", "");
    let found = size.number().zip(window).and_then(|(size, window)| {
        let reach = (window - 1).checked_mul(dilation)?.checked_add(1)?;
        let room = match padding {
            "SAME" => size,
            "VALID" => size.checked_sub(reach)?.checked_add(1)?,
            _ => return None,
        };
        (stride > 0 && room >= 0).then(|| room.div_euclid(stride) + i64::from(room % stride != 0))
    });
    found.map_or_else(|| call.symbol(), Size::known)
}

/// The indices of height and width among four dimensions, with the rows first and whole.
fn plane(call: &Call<'_, '_>, tensor: &Shaped, whole: &[&str]) -> Result<[usize; 2], String> {
    if tensor.rank() != 4 || tensor.axis.is_some_and(|axis| axis != 0) {
        return Err("the rows are not its first dimension".to_owned());
    }
    for name in whole {
        let steps = attributes::ints(call.node, name).unwrap_or_default();
        if steps.first().is_some_and(|step| *step != 1) {
            return Err(format!("its `{name}` are not 1 along the rows"));
        }
    }
    match text_or(call, "data_format", "NHWC") {
        "NHWC" => Ok([1, 2]),
        "NCHW" => Ok([2, 3]),
        _ => Err("its `data_format` is not supported".to_owned()),
    }
}

fn step(call: &Call<'_, '_>, name: &str, axis: usize) -> i64 {
    attributes::ints(call.node, name).and_then(|steps| steps.get(axis).copied()).unwrap_or(1)
}

pub(super) fn convolution(call: &mut Call<'_, '_>) -> Found {
    let mut tensor = call.tensor(0)?;
    call.need_fixed(1)?;
    let plane = plane(call, &tensor, &["strides", "dilations"])?;
    let filter = call.input(1)?.fixed_dims().filter(|dims| dims.len() == 4);
    for (number, axis) in plane.into_iter().enumerate() {
        let window = filter.as_ref().and_then(|filter| filter[number].number());
        let (stride, dilation) = (step(call, "strides", axis), step(call, "dilations", axis));
        tensor.dims[axis] = windows(call, &tensor.dims[axis].clone(), window, stride, dilation);
    }
    let channels = if plane[0] == 1 { 3 } else { 1 };
    let found = filter.and_then(|filter| match call.node.op {
        "Conv2D" => filter[3].number(),
        _ => filter[2].number()?.checked_mul(filter[3].number()?),
    });
    tensor.dims[channels] = found.map_or_else(|| call.symbol(), Size::known);
    tensor.out()
}

pub(super) fn pool(call: &mut Call<'_, '_>) -> Found {
    let mut tensor = call.tensor(0)?;
    for axis in plane(call, &tensor, &["strides", "ksize"])? {
        let (window, stride) = (step(call, "ksize", axis), step(call, "strides", axis));
        tensor.dims[axis] = windows(call, &tensor.dims[axis].clone(), Some(window), stride, 1);
    }
    let channels = if text_or(call, "data_format", "NHWC") == "NHWC" { 3 } else { 1 };
    if step(call, "ksize", channels) != 1 {
        return Err("it pools channels".to_owned());
    }
    tensor.out()
}

/// With the averages of training: averages over the batch would mix rows.
pub(super) fn batch_norm(call: &mut Call<'_, '_>) -> Found {
    let tensor = call.tensor(0)?;
    if attributes::boolean(call.node, "is_training", true) {
        return Err("it takes averages over the batch".to_owned());
    }
    (1..call.inputs.len()).try_for_each(|index| call.need_fixed(index))?;
    if tensor.rank() < 4 || tensor.axis.is_some_and(|axis| axis != 0) {
        return Err("the rows are not its first dimension".to_owned());
    }
    let mut outputs = vec![Value::Fixed(None); 6];
    outputs[0] = tensor.value();
    Ok(Outputs::Each(outputs))
}

pub(super) fn softmax(call: &mut Call<'_, '_>) -> Found {
    let tensor = call.tensor(0)?;
    if tensor.rank() == 0 || tensor.axis == Some(tensor.rank() - 1) {
        return Err("it divides by a sum over the rows".to_owned());
    }
    tensor.out()
}
