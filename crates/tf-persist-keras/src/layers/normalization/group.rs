//! `GroupNormalization`.

use super::{Normal, at_least_float32, moments, weight};
use crate::config::Config;
use crate::graph::{Dim, Graph, Shape, TensorRef, axis_index};
use crate::layers::{Argument, Arguments, Context, Layer, MaskRule, Masked, finished};
use crate::parse::Parser;
use crate::reason::{Result, refuse};

pub(super) fn build(class: &str, config: &Config<'_>, _parser: &mut Parser<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "GroupNormalization" => finished(GroupNormalization::new(config), config),
        _ => return None,
    })
}

/// Normalizes groups of channels.
#[derive(Debug)]
struct GroupNormalization {
    /// `None` for a group for each channel.
    groups: Option<u64>,
    axis: i64,
    epsilon: f64,
    center: bool,
    scale: bool,
    casts_inputs: bool,
}

impl GroupNormalization {
    fn new(config: &Config<'_>) -> Result<Self> {
        config.weight_rules(&["beta", "gamma"]);
        let groups = match config.int_or("groups", 32)? {
            -1 => None,
            groups => match u64::try_from(groups) {
                Ok(groups) if groups > 0 => Some(groups),
                _ => refuse!("`groups` is {groups}, and should be positive or -1"),
            },
        };
        Ok(Self {
            groups,
            axis: config.int_or("axis", -1)?,
            epsilon: config.float_or("epsilon", 1e-3)?,
            center: config.bool_or("center", true)?,
            scale: config.bool_or("scale", true)?,
            casts_inputs: config.is_keras2(),
        })
    }
}

/// A tensor split into groups: the axis of the channels is two, of groups and of channels in a group.
struct Grouped {
    axis: usize,
    groups: u64,
    channels: u64,
}

impl Grouped {
    fn split(&self, g: &Graph, x: &TensorRef) -> Result<TensorRef> {
        let mut dims = x.dims().to_vec();
        dims[self.axis] = Some(self.channels / self.groups);
        dims.insert(self.axis, Some(self.groups));
        if dims.iter().filter(|dim| dim.is_none()).count() <= 1 {
            return g.reshape(x, &dims);
        }
        let source = |axis: usize| if axis > self.axis { axis - 1 } else { axis };
        let sizes = g.pack_dims(&dims, |axis| match axis {
            0 => g.scalar_i32(-1),
            axis => g.dim_of(x, source(axis) as i64),
        })?;
        g.reshape_to(x, &sizes, Shape::new(dims))
    }

    /// A parameter, a vector, as it fits a split tensor.
    fn parameter(&self, g: &Graph, value: &TensorRef, rank: usize) -> Result<TensorRef> {
        let mut dims: Vec<Dim> = vec![Some(1); rank];
        dims[self.axis] = Some(self.channels / self.groups);
        dims.insert(self.axis, Some(self.groups));
        g.reshape(value, &dims)
    }
}

impl Layer for GroupNormalization {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let g = cx.g;
        let axis = axis_index(self.axis, x.rank())?;
        let channels = x.size(self.axis)?;
        let groups = self.groups.unwrap_or(channels);
        if axis == 0 || groups == 0 || channels % groups != 0 {
            refuse!("axis {} of size {channels} cannot be in {groups} groups", self.axis);
        }
        let wide = if cx.is_keras2() { x.dtype } else { at_least_float32(x.dtype) };
        let grouped = Grouped { axis, groups, channels };
        let parameter = |name: &str| grouped.parameter(g, &weight(cx, name, &[channels], true, wide)?, x.rank());
        let gamma = self.scale.then(|| parameter("gamma")).transpose()?;
        let beta = self.center.then(|| parameter("beta")).transpose()?;

        let parts = g.cast(&grouped.split(g, &x)?, wide)?;
        let axes: Vec<i64> = (1..parts.rank()).filter(|other| *other != axis).map(|axis| axis as i64).collect();
        let (mean, variance) =
            if cx.is_keras2() { weighted_moments(g, &x, &grouped, &parts, &axes)? } else { moments(g, &parts, &axes)? };
        let normal = Normal {
            mean: &mean,
            variance: &variance,
            gamma: gamma.as_ref(),
            beta: beta.as_ref(),
            epsilon: self.epsilon,
        };
        let y = if cx.is_keras2() { normal.apply(g, &parts)? } else { normal.apply_negated(g, &parts)? };
        let y = g.cast(&y, x.dtype)?;
        let y = if x.dims().iter().filter(|dim| dim.is_none()).count() <= 1 {
            g.reshape(&y, x.dims())?
        } else {
            g.reshape_to(&y, &g.shape_of(&x)?, x.shape.clone())?
        };
        Ok(g.cast(&y, cx.policy.compute)?.into())
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Pass
    }

    /// Keras 3 rounds only the results to the dtype of the policy.
    fn casts_inputs(&self) -> bool {
        self.casts_inputs
    }
}

/// Mean and variance of the elements that the mask keeps, as Keras 2 computes them.
fn weighted_moments(
    g: &Graph,
    x: &Masked,
    grouped: &Grouped,
    parts: &TensorRef,
    axes: &[i64],
) -> Result<(TensorRef, TensorRef)> {
    let weights = match &x.mask {
        None => g.ones_like(x)?,
        Some(mask) => {
            if x.shape.broadcast(&mask.shape)? != x.shape {
                refuse!("a mask of shape {} does not fit an input of shape {}", mask.shape, x.shape);
            }
            g.broadcast_to(mask, &g.shape_of(x)?, x.shape.clone())?
        }
    };
    let weights = g.cast(&grouped.split(g, &weights)?, parts.dtype)?;
    let wide = at_least_float32(parts.dtype);
    let (values, weights) = (g.cast(parts, wide)?, g.cast(&weights, wide)?);
    let count = g.sum(&g.add_v2(&weights, &g.zeros_like(&values)?)?, axes, true)?;
    let mean = g.div_no_nan(&g.sum(&g.mul(&weights, &values)?, axes, true)?, &count)?;
    let distance = g.mul(&weights, &g.squared_difference(&values, &mean)?)?;
    let variance = g.div_no_nan(&g.sum(&distance, axes, true)?, &count)?;
    Ok((g.cast(&mean, parts.dtype)?, g.cast(&variance, parts.dtype)?))
}
