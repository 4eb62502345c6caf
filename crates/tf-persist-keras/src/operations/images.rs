//! Operations on images.

use tf_persist_savedmodel::Tensor;

use super::call::Call;
use super::dtypes::float_type;
use super::products::tensor_dot;
use super::tensorflow::move_blocks;
use super::{Entry, op};
use crate::graph::{Graph, Slice, TensorRef};
use crate::layers::Argument;
use crate::reason::{Result, refuse};

pub(super) const TABLE: &[Entry] = &[
    op("RGBToGrayscale", "images", "data_format", grayscale),
    op("RGBToHSV", "images", "data_format", |c| by_pixel(c, |g, x| g.unary("RGBToHSV", x))),
    op("HSVToRGB", "images", "data_format", |c| by_pixel(c, |g, x| g.unary("HSVToRGB", x))),
    op("DepthToSpace", "x", "block_size data_format", |c| blocks(c, "DepthToSpace")),
    op("SpaceToDepth", "x", "block_size data_format", |c| blocks(c, "SpaceToDepth")),
    op(
        "PadImages",
        "images",
        "top_padding left_padding bottom_padding right_padding target_height target_width data_format",
        pad,
    ),
    op(
        "CropImages",
        "images",
        "top_cropping left_cropping bottom_cropping right_cropping target_height target_width data_format",
        crop,
    ),
    op("PSNR", "x1 x2", "max_val", signal_to_noise),
];

/// Images, and whether their channels come first.
fn images(c: &mut Call<'_>, name: &str) -> Result<(TensorRef, bool)> {
    let (x, channels_first) = (c.tensor(name)?, c.channels_first()?);
    if !matches!(x.rank(), 3 | 4) {
        refuse!("its input has shape {}, and rank 3 or 4 is needed", x.shape);
    }
    Ok((x, channels_first))
}

fn grayscale(c: &mut Call<'_>) -> Result<Argument> {
    let (x, channels_first) = images(c, "images")?;
    let (g, axis) = (c.g, if channels_first { -3 } else { -1 });
    match x.dim(axis)? {
        Some(1) => return Ok(g.identity(&x)?.into()),
        Some(3) => {}
        _ => refuse!("its input has shape {}, and should have 1 or 3 channels", x.shape),
    }
    let wide = g.cast(&x, float_type(x.dtype)?)?;
    let weights = g.cast(&g.constant(Tensor::from_slice(&[3], &[0.2989_f32, 0.587, 0.114])?)?, wide.dtype)?;
    let y = tensor_dot(g, &wide, &weights, &[axis], &[-1])?;
    Ok(g.cast(&g.expand_dims(&y, axis)?, x.dtype)?.into())
}

/// Applies what works on the last axis.
fn by_pixel(c: &mut Call<'_>, emit: fn(&Graph, &TensorRef) -> Result<TensorRef>) -> Result<Argument> {
    let (x, channels_first) = images(c, "images")?;
    if !x.dtype.is_floating() {
        refuse!("its input is {}, and should be floats", x.dtype);
    }
    let moved = |x: &TensorRef, from: i64, to: i64| super::shapes::move_axes(c.g, x, &[from], &[to]);
    if !channels_first {
        return Ok(emit(c.g, &x)?.into());
    }
    Ok(moved(&emit(c.g, &moved(&x, -3, -1)?)?, -1, -3)?.into())
}

fn blocks(c: &mut Call<'_>, op: &'static str) -> Result<Argument> {
    let (x, block, channels_first) = (c.tensor("x")?, c.size("block_size")?, c.channels_first()?);
    let g = c.g;
    if !channels_first {
        return Ok(move_blocks(g, op, &x, block)?.into());
    }
    let y = move_blocks(g, op, &g.transpose(&x, &[0, 2, 3, 1])?, block)?;
    Ok(g.transpose(&y, &[0, 3, 1, 2])?.into())
}

/// The axes of height and width.
fn plane(x: &TensorRef, channels_first: bool) -> [usize; 2] {
    let rank = x.rank();
    if channels_first { [rank - 2, rank - 1] } else { [rank - 3, rank - 2] }
}

/// Sizes before and behind an axis, of which one may follow from the target.
fn around(c: &mut Call<'_>, names: [&str; 3], size: Option<u64>, grows: bool) -> Result<[u64; 2]> {
    let (before, behind, target) = (c.int_or_none(names[0])?, c.int_or_none(names[1])?, c.int_or_none(names[2])?);
    let rest = |known: i64| match (size.and_then(|size| i64::try_from(size).ok()), target) {
        (Some(size), Some(target)) => Ok((if grows { target.checked_sub(size) } else { size.checked_sub(target) })
            .and_then(|it| it.checked_sub(known))),
        _ => refuse!("`{}`, `{}` and the size of its input do not suffice", names[0], names[1]),
    };
    let (before, behind) = match (before, behind) {
        (Some(before), Some(behind)) => (Some(before), Some(behind)),
        (Some(before), None) => (Some(before), rest(before)?),
        (None, Some(behind)) => (rest(behind)?, Some(behind)),
        (None, None) => refuse!("neither `{}` nor `{}` is given", names[0], names[1]),
    };
    let size = |value: Option<i64>| match value.and_then(|value| u64::try_from(value).ok()) {
        Some(value) => Ok(value),
        None => refuse!("`{}` or `{}` is negative", names[0], names[1]),
    };
    Ok([size(before)?, size(behind)?])
}

fn pad(c: &mut Call<'_>) -> Result<Argument> {
    let (x, channels_first) = images(c, "images")?;
    let [rows, columns] = plane(&x, channels_first);
    let mut paddings = vec![(0, 0); x.rank()];
    let [top, bottom] = around(c, ["top_padding", "bottom_padding", "target_height"], x.dims()[rows], true)?;
    let [left, right] = around(c, ["left_padding", "right_padding", "target_width"], x.dims()[columns], true)?;
    paddings[rows] = (top, bottom);
    paddings[columns] = (left, right);
    Ok(c.g.pad(&x, &paddings, None)?.into())
}

fn crop(c: &mut Call<'_>) -> Result<Argument> {
    let (x, channels_first) = images(c, "images")?;
    let [rows, columns] = plane(&x, channels_first);
    let mut slices = vec![Slice::ALL; x.rank()];
    let names = [
        (rows, ["top_cropping", "bottom_cropping", "target_height"]),
        (columns, ["left_cropping", "right_cropping", "target_width"]),
    ];
    for (axis, names) in names {
        let [before, behind] = around(c, names, x.dims()[axis], false)?;
        let end = x.dims()[axis].and_then(|size| size.checked_sub(behind));
        let int = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let end = match end {
            Some(end) => Some(int(end)),
            None if behind == 0 => None,
            None => Some(-int(behind)),
        };
        slices[axis] = Slice::range(int(before), end);
    }
    Ok(c.g.strided_slice(&x, &slices)?.into())
}

fn signal_to_noise(c: &mut Call<'_>) -> Result<Argument> {
    let (a, b, most) = (c.tensor("x1")?, c.tensor("x2")?, c.operand("max_val")?);
    let g = c.g;
    let most = most.to(g, b.dtype)?;
    let squares = g.square(&g.sub(&a, &b)?)?;
    let mean = g.mean(&squares, &super::call::all_axes(squares.rank()), false)?;
    let decibels = |x: &TensorRef, factor: f64| {
        let log = super::functions::log_of_base(g, x, 10.0)?;
        g.mul(&g.scalar(factor, log.dtype)?, &log)
    };
    Ok(g.sub(&decibels(&most, 20.0)?, &decibels(&mean, 10.0)?)?.into())
}
