//! Layers for images.

mod augmentation;
mod contrast;
mod histogram;
mod resizing;
#[cfg(test)]
mod tests;

use tf_persist_savedmodel::{DType, Tensor};

use super::size::{Size, vector};
use super::{Context, Layer};
use crate::config::Config;
use crate::graph::{Dim, Graph, Slice, TensorRef};
use crate::operations;
use crate::operations::dtypes::is_integer;
use crate::reason::{Result, refuse};

pub(super) fn build(class: &str, config: &Config<'_>) -> Option<Result<Box<dyn Layer>>> {
    resizing::build(class, config)
        .or_else(|| augmentation::build(class, config))
        .or_else(|| contrast::build(class, config))
        .or_else(|| histogram::build(class, config))
}

/// How pixels are interpolated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Nearest,
    Bilinear,
    Bicubic,
    Area,
    Lanczos3,
    Lanczos5,
    Gaussian,
    MitchellCubic,
}

impl Method {
    pub(super) fn of(name: &str) -> Result<Self> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "nearest" => Self::Nearest,
            "bilinear" => Self::Bilinear,
            "bicubic" => Self::Bicubic,
            "area" => Self::Area,
            "lanczos3" => Self::Lanczos3,
            "lanczos5" => Self::Lanczos5,
            "gaussian" => Self::Gaussian,
            "mitchellcubic" => Self::MitchellCubic,
            _ => refuse!("`interpolation` is `{}`, which is not supported", name.escape_debug()),
        })
    }
}

/// Resizes images of `[batch, height, width, channels]` as `tf.image.resize` does. The result is float32 unless the
/// method is `nearest`.
pub(super) fn resize(
    g: &Graph,
    x: &TensorRef,
    sizes: &[Size; 2],
    method: Method,
    antialias: bool,
) -> Result<TensorRef> {
    let dims: [Dim; 2] = [sizes[0].dim(), sizes[1].dim()];
    let tensor = vector(g, sizes)?;
    let kernel = match (method, antialias) {
        (Method::Nearest, _) => return g.resize("ResizeNearestNeighbor", x, &tensor, dims),
        (Method::Bilinear, false) => return g.resize("ResizeBilinear", x, &tensor, dims),
        (Method::Bicubic, false) => return g.resize("ResizeBicubic", x, &tensor, dims),
        (Method::Area, _) => return g.resize("ResizeArea", x, &tensor, dims),
        (Method::Bilinear, true) => "triangle",
        (Method::Bicubic, true) => "keyscubic",
        (Method::Lanczos3, _) => "lanczos3",
        (Method::Lanczos5, _) => "lanczos5",
        (Method::Gaussian, _) => "gaussian",
        (Method::MitchellCubic, _) => "mitchellcubic",
    };
    let old = [x.dim(1)?, x.dim(2)?];
    let known = |index: usize| Some(dims[index]? as f32 / old[index]? as f32);
    let scale = match (known(0), known(1)) {
        (Some(height), Some(width)) => g.constant(Tensor::from_slice(&[2], &[height, width])?)?,
        _ => {
            let old = g.strided_slice(&g.shape_of(x)?, &[Slice::range(1, 3)])?;
            g.real_div(&g.cast(&tensor, DType::Float32)?, &g.cast(&old, DType::Float32)?)?
        }
    };
    g.scale_and_translate(x, &tensor, dims, &scale, (kernel, antialias))
}

/// A float32 tensor in another dtype, as Keras 3 converts what it resized: integers are rounded, and all numbers kept
/// within the range of the dtype.
pub(super) fn saturated(g: &Graph, x: &TensorRef, dtype: DType) -> Result<TensorRef> {
    if x.dtype == dtype {
        return Ok(x.clone());
    }
    let x = if is_integer(dtype) { g.round(x)? } else { x.clone() };
    operations::saturated(g, &x, dtype)
}

/// Images in a batch with the channels last, and how they were before.
struct Batch {
    images: TensorRef,
    is_single: bool,
    channels_first: bool,
}

impl Batch {
    /// Of one image or a batch of them.
    fn new(g: &Graph, x: &TensorRef, channels_first: bool) -> Result<Self> {
        let is_single = match x.rank() {
            3 => true,
            4 => false,
            _ => refuse!("its input has shape {}, and rank 3 or 4 is needed", x.shape),
        };
        let mut images = if is_single { g.expand_dims(x, 0)? } else { x.clone() };
        if channels_first {
            images = g.transpose(&images, &[0, 2, 3, 1])?;
        }
        Ok(Self { images, is_single, channels_first })
    }

    /// The same with other images, as the input was.
    fn undo(&self, g: &Graph, images: &TensorRef) -> Result<TensorRef> {
        let mut x = images.clone();
        if self.channels_first {
            x = g.transpose(&x, &[0, 3, 1, 2])?;
        }
        if self.is_single { g.squeeze(&x, &[0]) } else { Ok(x) }
    }
}

/// An input in the dtype in which the layer computes: Keras converts integers, too, when a graph runs.
fn converted(cx: &Context<'_>, x: &TensorRef) -> Result<TensorRef> {
    cx.g.cast(x, cx.policy.compute)
}

/// `images · (to − from) + from`, from one range of values to another; `tf.clip_by_value` and the like are not needed.
fn to_range(g: &Graph, x: &TensorRef, from: [f64; 2], to: [f64; 2]) -> Result<TensorRef> {
    if from == to {
        return Ok(x.clone());
    }
    let scalar = |value: f64| g.scalar(value, x.dtype);
    let (from, to) = ([scalar(from[0])?, scalar(from[1])?], [scalar(to[0])?, scalar(to[1])?]);
    let unit = g.real_div(&g.sub(x, &from[0])?, &g.sub(&from[1], &from[0])?)?;
    g.add_v2(&g.mul(&unit, &g.sub(&to[1], &to[0])?)?, &to[0])
}

/// Between two bounds.
fn clip(g: &Graph, x: &TensorRef, lowest: f64, highest: f64) -> Result<TensorRef> {
    let smaller = g.with_scalar(x, highest, Graph::minimum)?;
    g.with_scalar(&smaller, lowest, Graph::maximum)
}

/// The key `value_range`: two numbers.
fn value_range(config: &Config<'_>) -> Result<[f64; 2]> {
    if config.get("value_range").is_none() {
        return Ok([0.0, 255.0]);
    }
    match config.floats("value_range")?.as_slice() {
        [low, high] => Ok([*low, *high]),
        other => refuse!("`value_range` has {} numbers, and should have 2", other.len()),
    }
}
