//! `UpSampling1D`, `UpSampling2D`, `UpSampling3D`.

use super::conv::{channels_to_first, channels_to_last, spatial, spatial_axes};
use super::image::{Method, resize, saturated};
use super::size::Size;
use super::{Argument, Arguments, Context, Layer, finished};
use crate::config::Config;
use crate::graph::{Dim, Graph, Shape, TensorRef};
use crate::reason::{Result, refuse};

pub(super) fn build(class: &str, config: &Config<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "UpSampling1D" => finished(UpSampling::new(config, 1), config),
        "UpSampling2D" => finished(UpSampling::new(config, 2), config),
        "UpSampling3D" => finished(UpSampling::new(config, 3), config),
        _ => return None,
    })
}

#[derive(Debug)]
struct UpSampling {
    factors: Vec<u64>,
    method: Method,
    channels_first: bool,
}

impl UpSampling {
    fn new(config: &Config<'_>, rank: usize) -> Result<Self> {
        let method = match rank {
            2 => Method::of(config.str_or("interpolation", "nearest")?)?,
            _ => Method::Nearest,
        };
        Ok(Self { factors: spatial(config, "size", rank, &[2])?, method, channels_first: config.channels_first()? })
    }
}

impl Layer for UpSampling {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let (g, rank) = (cx.g, self.factors.len());
        if self.method == Method::Nearest {
            let axes = spatial_axes(&x, rank, self.channels_first)?;
            let mut y = x.tensor.clone();
            for (axis, factor) in axes.zip(&self.factors) {
                y = repeat(g, &y, axis, *factor)?;
            }
            return Ok(y.into());
        }
        let x = channels_to_last(g, &x, rank, self.channels_first)?;
        if x.rank() != 4 {
            refuse!("its input has shape {}, and rank 4 is needed", x.shape);
        }
        let scaled = |axis: usize| Size::of(g, &x, axis + 1)?.times(g, &self.factors[axis].into());
        let y = resize(g, &x, &[scaled(0)?, scaled(1)?], self.method, false)?;
        let y = if cx.is_keras2() { y } else { saturated(g, &y, x.dtype)? };
        Ok(channels_to_first(g, &y, rank, self.channels_first)?.into())
    }
}

/// Repeats each element along an axis.
fn repeat(g: &Graph, x: &TensorRef, axis: usize, count: u64) -> Result<TensorRef> {
    let mut multiples = vec![1; x.rank() + 1];
    multiples[axis + 1] = count;
    let tiled = g.tile(&g.expand_dims(x, axis as i64 + 1)?, &multiples)?;
    let mut dims: Vec<Dim> = x.dims().to_vec();
    dims[axis] = match dims[axis] {
        None => None,
        Some(size) => match size.checked_mul(count) {
            Some(size) => Some(size),
            None => refuse!("{count} times a size of {size} is too large"),
        },
    };
    if dims.iter().filter(|dim| dim.is_none()).count() <= 1 {
        return g.reshape(&tiled, &dims);
    }
    let sizes = g.pack_dims(&dims, |other| {
        let size = g.dim_of(x, other as i64)?;
        if other == axis { g.mul(&size, &Size::from(count).scalar(g)?) } else { Ok(size) }
    })?;
    g.reshape_to(&tiled, &sizes, Shape::new(dims))
}
