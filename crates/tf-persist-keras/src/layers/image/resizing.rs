//! `Resizing`, `CenterCrop`, and `RandomCrop` of Keras 2, which at inference resizes.

use tf_persist_savedmodel::DType;

use super::{Batch, Method, converted, resize, saturated};
use crate::config::Config;
use crate::graph::{Dim, Graph, Slice, TensorRef};
use crate::layers::size::{Size, margins};
use crate::layers::{Argument, Arguments, Context, Layer, finished};
use crate::reason::{Result, refuse};

pub(super) fn build(class: &str, config: &Config<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "Resizing" => finished(Resizing::new(config), config),
        "CenterCrop" => finished(CenterCrop::new(config, false), config),
        "RandomCrop" if config.is_keras2() => finished(CenterCrop::new(config, true), config),
        _ => return None,
    })
}

/// The keys `height` and `width`.
fn target(config: &Config<'_>) -> Result<[u64; 2]> {
    let size = |key: &str| match config.size(key)? {
        size if size > 0 && i32::try_from(size).is_ok() => Ok(size),
        size => refuse!("`{key}` is {size}, and should be a positive size"),
    };
    Ok([size("height")?, size("width")?])
}

/// How images of another aspect ratio are fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Stretch,
    Crop,
    Pad,
}

#[derive(Debug)]
struct Resizing {
    target: [u64; 2],
    method: Method,
    fit: Fit,
    fill_value: f64,
    antialias: bool,
    channels_first: bool,
}

impl Resizing {
    fn new(config: &Config<'_>) -> Result<Self> {
        config.without_effect(&["bounding_box_format", "factor"]);
        let crops = config.bool_or("crop_to_aspect_ratio", false)?;
        let pads = config.bool_or("pad_to_aspect_ratio", false)?;
        let fit = match (crops, pads) {
            (false, false) => Fit::Stretch,
            (true, false) => Fit::Crop,
            (false, true) => Fit::Pad,
            (true, true) => refuse!("`crop_to_aspect_ratio` and `pad_to_aspect_ratio` exclude each other"),
        };
        let fill_mode = config.str_or("fill_mode", "constant")?;
        if fill_mode != "constant" {
            refuse!("`fill_mode` is `{}`, and only `constant` is supported", fill_mode.escape_debug());
        }
        Ok(Self {
            target: target(config)?,
            method: Method::of(config.str_or("interpolation", "bilinear")?)?,
            fit,
            fill_value: config.float_or("fill_value", 0.0)?,
            antialias: config.bool_or("antialias", false)?,
            channels_first: config.channels_first()?,
        })
    }
}

impl Layer for Resizing {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let (g, dtype) = (cx.g, cx.policy.compute);
        // Keras 2 interpolates in float32.
        let in_float32 = cx.is_keras2() && self.method != Method::Nearest;
        let x = if in_float32 { g.cast(&x, DType::Float32)? } else { converted(cx, &x)? };
        let batch = Batch::new(g, &x, self.channels_first)?;
        let images = match self.fit {
            Fit::Stretch => batch.images.clone(),
            Fit::Crop => cropped(cx, &batch.images, self.target, false)?,
            Fit::Pad => self.padded(g, &batch.images)?,
        };
        let y = resize(g, &images, &self.target.map(Size::from), self.method, self.antialias)?;
        let y = if cx.is_keras2() { g.cast(&y, dtype)? } else { saturated(g, &y, dtype)? };
        Ok(batch.undo(g, &y)?.into())
    }

    fn casts_inputs(&self) -> bool {
        false
    }
}

impl Resizing {
    /// Adds a border above and below, or at the left and right, to the target's aspect ratio.
    fn padded(&self, g: &Graph, images: &TensorRef) -> Result<TensorRef> {
        let [height, width] = [Size::of(g, images, 1)?, Size::of(g, images, 2)?];
        let side = |old: &Size, other: &Size, of: u64, per: u64| -> Result<(Size, Size)> {
            let wanted = larger(g, &scaled(g, other, of, per, false)?, old)?;
            let half = wanted.minus(g, old)?.over(g, &2.into())?;
            Ok((half.clone(), half))
        };
        let rows = side(&height, &width, self.target[0], self.target[1])?;
        let columns = side(&width, &height, self.target[1], self.target[0])?;
        let none = (Size::from(0), Size::from(0));
        let paddings = margins(g, &[none.clone(), rows, columns, none])?;
        g.pad_with(images, &paddings, &g.scalar(self.fill_value, images.dtype)?)
    }
}

/// `size · of / per`, rounded down, computed with floats as Keras does: in float32, or in float64 for a known size.
fn scaled(g: &Graph, size: &Size, of: u64, per: u64, wide: bool) -> Result<Size> {
    match size {
        Size::Known(size) => {
            let Some(product) = size.checked_mul(of) else { refuse!("a size of {size} is too large") };
            let quotient = if wide { product as f64 / per as f64 } else { f64::from(product as f32 / per as f32) };
            Ok(Size::from(quotient as u64))
        }
        Size::Computed(size) => {
            let product = g.mul(size, &Size::from(of).scalar(g)?)?;
            let quotient = g.with_scalar(&g.cast(&product, DType::Float32)?, per as f64, Graph::real_div)?;
            Ok(Size::Computed(g.cast(&quotient, DType::Int32)?))
        }
    }
}

fn smaller(g: &Graph, a: &Size, b: &Size) -> Result<Size> {
    match (a, b) {
        (Size::Known(a), Size::Known(b)) => Ok(Size::from(*a.min(b))),
        _ => Ok(Size::Computed(g.minimum(&a.scalar(g)?, &b.scalar(g)?)?)),
    }
}

fn larger(g: &Graph, a: &Size, b: &Size) -> Result<Size> {
    match (a, b) {
        (Size::Known(a), Size::Known(b)) => Ok(Size::from(*a.max(b))),
        _ => Ok(Size::Computed(g.maximum(&a.scalar(g)?, &b.scalar(g)?)?)),
    }
}

/// The largest part in the middle with the target's aspect ratio. Keras computes known sizes in float64 where
/// `wide`.
fn cropped(cx: &Context<'_>, images: &TensorRef, target: [u64; 2], wide: bool) -> Result<TensorRef> {
    let g = cx.g;
    let [height, width] = [Size::of(g, images, 1)?, Size::of(g, images, 2)?];
    let wide = wide && height.dim().is_some() && width.dim().is_some();
    let side = |old: &Size, other: &Size, of: u64, per: u64| -> Result<(Size, Size)> {
        let mut size = smaller(g, old, &scaled(g, other, of, per, wide)?)?;
        if !cx.is_keras2() {
            size = larger(g, &size, &1.into())?;
        }
        let begin = old.minus(g, &size)?.over(g, &2.into())?;
        Ok((begin.clone(), begin.plus(g, &size)?))
    };
    let rows = side(&height, &width, target[0], target[1])?;
    let columns = side(&width, &height, target[1], target[0])?;
    let dim = |(begin, end): &(Size, Size)| end.dim()?.checked_sub(begin.dim()?);
    sliced(g, images, &rows, &columns, [dim(&rows), dim(&columns)])
}

/// The rows and columns between bounds, as many as `dims` says.
fn sliced(
    g: &Graph,
    images: &TensorRef,
    rows: &(Size, Size),
    columns: &(Size, Size),
    dims: [Dim; 2],
) -> Result<TensorRef> {
    let known = |(begin, end): &(Size, Size)| {
        let bound = |size: &Size| size.dim().and_then(|size| i64::try_from(size).ok());
        Some(Slice::range(bound(begin)?, bound(end)?))
    };
    if let (Some(rows), Some(columns)) = (known(rows), known(columns)) {
        return g.strided_slice(images, &[Slice::ALL, rows, columns]);
    }
    let shape = images.shape.with(1, dims[0]).with(2, dims[1]);
    let bounds = |(begin, end): &(Size, Size)| -> Result<_> { Ok(Some((begin.scalar(g)?, end.scalar(g)?))) };
    g.strided_slice_by(images, &[None, bounds(rows)?, bounds(columns)?], shape)
}

/// The part in the middle of larger images. Smaller ones are resized, keeping the aspect ratio.
#[derive(Debug)]
struct CenterCrop {
    target: [u64; 2],
    channels_first: bool,
    /// Whether larger images are resized, too.
    always_resizes: bool,
}

impl CenterCrop {
    fn new(config: &Config<'_>, always_resizes: bool) -> Result<Self> {
        config.without_effect(&["bounding_box_format", "factor"]);
        if always_resizes {
            config.without_effect(&["seed", "rng_type"]);
        }
        Ok(Self { target: target(config)?, channels_first: config.channels_first()?, always_resizes })
    }
}

impl Layer for CenterCrop {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let g = cx.g;
        if self.always_resizes && cx.training {
            refuse!("its random changes are not supported in training");
        }
        let batch = Batch::new(g, &converted(cx, &x)?, self.channels_first)?;
        let y = self.of_batch(cx, &batch.images)?;
        Ok(batch.undo(g, &y)?.into())
    }

    fn casts_inputs(&self) -> bool {
        false
    }

    fn ignores_training(&self) -> bool {
        !self.always_resizes
    }
}

impl CenterCrop {
    fn of_batch(&self, cx: &Context<'_>, images: &TensorRef) -> Result<TensorRef> {
        let fits = |axis: usize| images.dims()[axis + 1].map(|size| size >= self.target[axis]);
        if self.always_resizes || fits(0) == Some(false) || fits(1) == Some(false) {
            return self.resized(cx, images);
        }
        let is_known = fits(0).is_some() && fits(1).is_some();
        if is_known || !cx.is_keras2() {
            // Keras 3 takes images of unknown sizes to be large enough.
            return self.middle(cx.g, images);
        }
        self.middle_or_resized(cx, images)
    }

    fn resized(&self, cx: &Context<'_>, images: &TensorRef) -> Result<TensorRef> {
        let part = cropped(cx, images, self.target, !cx.is_keras2())?;
        let y = resize(cx.g, &part, &self.target.map(Size::from), Method::Bilinear, false)?;
        // Keras 3 leaves the result float32.
        if cx.is_keras2() { cx.g.cast(&y, cx.policy.compute) } else { Ok(y) }
    }

    fn middle(&self, g: &Graph, images: &TensorRef) -> Result<TensorRef> {
        let bounds = |axis: usize| -> Result<(Size, Size)> {
            let target = Size::from(self.target[axis]);
            let begin = Size::of(g, images, axis + 1)?.minus(g, &target)?.over(g, &2.into())?;
            let end = begin.plus(g, &target)?;
            Ok((begin, end))
        };
        sliced(g, images, &bounds(0)?, &bounds(1)?, self.target.map(Some))
    }

    /// Both, and the right one of them is chosen when the model runs.
    fn middle_or_resized(&self, cx: &Context<'_>, images: &TensorRef) -> Result<TensorRef> {
        let g = cx.g;
        let mut part = images.clone();
        let mut fits = Vec::new();
        for (axis, target) in self.target.iter().enumerate() {
            let size = Size::of(g, images, axis + 1)?.scalar(g)?;
            let wanted = Size::from(*target).scalar(g)?;
            fits.push(g.greater_equal(&size, &wanted)?);
            // Rows or columns that do not exist are repeated: their images are not chosen.
            let (zero, one) = (g.scalar_i32(0)?, g.scalar_i32(1)?);
            let begin = g.floor_div(&g.maximum(&g.sub(&size, &wanted)?, &zero)?, &g.scalar_i32(2)?)?;
            let indices = g.add_v2(&g.range(&zero, &wanted, &one, Some(*target))?, &begin)?;
            let indices = g.minimum(&indices, &g.maximum(&g.sub(&size, &one)?, &zero)?)?;
            part = g.gather(&part, &indices, axis as i64 + 1)?;
        }
        g.select(&g.logical_and(&fits[0], &fits[1])?, &part, &self.resized(cx, images)?)
    }
}
