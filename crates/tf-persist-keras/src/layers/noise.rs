//! Dropout and noise, which change nothing at inference.

use serde_json::Value;

use super::random::{dropout, normal, uniform};
use super::{Argument, Arguments, Context, Layer, MaskRule, finished};
use crate::config::{Config, shown, size};
use crate::graph::{Dim, Graph, Shape, TensorRef};
use crate::reason::{Result, refuse};

pub(super) fn build(class: &str, config: &Config<'_>) -> Option<Result<Box<dyn Layer>>> {
    let kind = match class {
        "Dropout" => noise_shape(config).map(|shape| Kind::Dropout { shape }),
        "SpatialDropout1D" => Ok(Kind::Spatial { channels_first: false, rank: 3 }),
        "SpatialDropout2D" => config.channels_first().map(|channels_first| Kind::Spatial { channels_first, rank: 4 }),
        "SpatialDropout3D" => config.channels_first().map(|channels_first| Kind::Spatial { channels_first, rank: 5 }),
        "AlphaDropout" => noise_shape(config).map(|shape| Kind::Alpha { shape }),
        "GaussianDropout" => Ok(Kind::GaussianDropout),
        "GaussianNoise" => Ok(Kind::GaussianNoise),
        _ => return None,
    };
    Some(finished(kind.and_then(|kind| Noise::new(config, kind)), config))
}

/// What a layer does in training.
#[derive(Debug)]
enum Kind {
    /// `shape` has None where elements are dropped one by one.
    Dropout {
        shape: Option<Vec<Dim>>,
    },
    /// Drops whole channels.
    Spatial {
        channels_first: bool,
        rank: usize,
    },
    /// Keeps mean and variance of `selu`.
    Alpha {
        shape: Option<Vec<Dim>>,
    },
    GaussianDropout,
    GaussianNoise,
}

/// The key `noise_shape`: null, or sizes with null for those of the input.
fn noise_shape(config: &Config<'_>) -> Result<Option<Vec<Dim>>> {
    let Some(shape) = config.get("noise_shape") else { return Ok(None) };
    let Value::Array(dims) = shape else { refuse!("`noise_shape` is {}, and should be a list", shown(shape)) };
    let dim = |dim: &Value| match dim {
        Value::Null => Ok(None),
        dim => size("noise_shape", dim).map(Some),
    };
    dims.iter().map(dim).collect::<Result<Vec<_>>>().map(Some)
}

/// A layer that does something only in training.
#[derive(Debug)]
struct Noise {
    kind: Kind,
    /// The share of elements that are dropped, or the standard deviation.
    strength: f64,
    seed: Option<i64>,
}

impl Noise {
    fn new(config: &Config<'_>, kind: Kind) -> Result<Self> {
        let key = if matches!(kind, Kind::GaussianNoise) { "stddev" } else { "rate" };
        config.without_effect(&["noise_shape"]);
        let seed = config.get("seed").map(|_| config.int("seed")).transpose()?;
        Ok(Self { kind, strength: config.float_or(key, 0.0)?, seed })
    }
}

impl Layer for Noise {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        if !cx.training || self.strength <= 0.0 {
            return Ok(x.into());
        }
        let g = cx.g;
        let y = match &self.kind {
            Kind::Dropout { shape } => dropout(cx, &x, self.strength, shape.as_deref(), self.seed)?,
            Kind::Spatial { channels_first, rank } => {
                if x.rank() != *rank {
                    refuse!("its input has shape {}, and rank {rank} is needed", x.shape);
                }
                let mut shape = vec![Some(1); *rank];
                shape[0] = None;
                shape[if *channels_first { 1 } else { rank - 1 }] = None;
                dropout(cx, &x, self.strength, Some(&shape), self.seed)?
            }
            Kind::Alpha { shape } => alpha_dropout(cx, &x, self.strength, shape.as_deref(), self.seed)?,
            Kind::GaussianDropout => {
                let deviation = (self.strength / (1.0 - self.strength)).sqrt();
                let seed = cx.draw_seed(self.seed)?;
                g.mul(&x, &normal(g, &g.shape_of(&x)?, &seed, 1.0, deviation, &x)?)?
            }
            Kind::GaussianNoise => {
                let seed = cx.draw_seed(self.seed)?;
                g.add_v2(&x, &normal(g, &g.shape_of(&x)?, &seed, 0.0, self.strength, &x)?)?
            }
        };
        Ok(y.into())
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Pass
    }

    fn ignores_training(&self) -> bool {
        self.strength <= 0.0
    }
}

/// Sets a share of the elements to what `selu` tends to, and scales all.
fn alpha_dropout(
    cx: &Context<'_>,
    x: &TensorRef,
    rate: f64,
    shape: Option<&[Dim]>,
    seed: Option<i64>,
) -> Result<TensorRef> {
    const ALPHA_P: f64 = -1.673_263_242_354_377_2 * 1.050_700_987_355_480_5;
    let g = cx.g;
    if !(0.0..1.0).contains(&rate) {
        refuse!("`rate` is {rate}, and should be from 0 to 1");
    }
    let dims: Vec<Dim> = match shape {
        None => x.dims().to_vec(),
        Some(shape) if shape.len() == x.rank() => {
            shape.iter().zip(x.dims()).map(|(noise, dim)| noise.or(*dim)).collect()
        }
        Some(shape) => refuse!("`noise_shape` has {} dimensions, and its input {}", shape.len(), x.rank()),
    };
    let sizes = g.pack_dims(&dims, |axis| g.dim_of(x, axis as i64))?;
    let seed = cx.draw_seed(seed)?;
    let random = uniform(g, &sizes, &seed, (0.0, 1.0), tf_persist_savedmodel::DType::Float32, Shape::new(dims))?;
    let kept = g.cast(&g.with_scalar(&random, rate, Graph::greater_equal)?, x.dtype)?;
    let a = ((1.0 - rate) * (1.0 + rate * ALPHA_P * ALPHA_P)).powf(-0.5);
    let b = -a * ALPHA_P * rate;
    let lost = g.mul(&g.scalar(ALPHA_P, x.dtype)?, &g.sub(&g.scalar(1.0, x.dtype)?, &kept)?)?;
    let y = g.add_v2(&g.mul(x, &kept)?, &lost)?;
    g.with_scalar(&g.mul(&g.scalar(a, x.dtype)?, &y)?, b, Graph::add_v2)
}
