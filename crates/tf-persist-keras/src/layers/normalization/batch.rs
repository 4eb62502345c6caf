//! `BatchNormalization`.

use tf_persist_savedmodel::DType;

use super::{Normal, at_least_float32, moments};
use crate::config::{Config, int, shown};
use crate::graph::{Attr, Dim, Resource, Shape, TensorRef, axis_index};
use crate::layers::{Argument, Arguments, Context, Layer, MaskRule, Masked, finished};
use crate::parse::Parser;
use crate::reason::{Result, refuse};

pub(super) fn build(class: &str, config: &Config<'_>, _parser: &mut Parser<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "BatchNormalization" | "BatchNormalizationV1" | "BatchNormalizationV2" | "SyncBatchNormalization" => {
            finished(BatchNormalization::new(class, config), config)
        }
        _ => return None,
    })
}

#[derive(Debug)]
struct BatchNormalization {
    /// As the config has them. Only Keras 2 knows more than one.
    axes: Vec<i64>,
    momentum: f64,
    epsilon: f64,
    center: bool,
    scale: bool,
    renorm: bool,
    /// Whether Keras 2 may use `FusedBatchNormV3`.
    may_fuse: bool,
}

/// The values of the variables that Keras does not cast.
struct Statistics {
    mean: (Resource, TensorRef),
    variance: (Resource, TensorRef),
}

impl BatchNormalization {
    fn new(class: &str, config: &Config<'_>) -> Result<Self> {
        config.weight_rules(&["beta", "gamma"]);
        config.without_effect(&["moving_mean_initializer", "moving_variance_initializer"]);
        config.without_effect(&["renorm_clipping", "renorm_momentum"]);
        config.only("virtual_batch_size", &[])?;
        config.only("adjustment", &[])?;
        let axes = axes(config, &[-1])?;
        let synchronized = config.bool_or("synchronized", class == "SyncBatchNormalization")?;
        let renorm = config.bool_or("renorm", false)?;
        let fused = config.bool_or("fused", true)?;
        let at_channels = axes.len() == 1 && [-4, -3, -1, 1, 3, 4].contains(&axes[0]);
        Ok(Self {
            axes,
            momentum: config.float_or("momentum", 0.99)?,
            epsilon: config.float_or("epsilon", 1e-3)?,
            center: config.bool_or("center", true)?,
            scale: config.bool_or("scale", true)?,
            renorm,
            may_fuse: fused && !renorm && !synchronized && at_channels,
        })
    }
}

/// The key `axis`: one or several.
pub(super) fn axes(config: &Config<'_>, default: &[i64]) -> Result<Vec<i64>> {
    match config.get("axis") {
        None => Ok(default.to_vec()),
        Some(serde_json::Value::Array(axes)) => axes.iter().map(|axis| int("axis", axis)).collect(),
        // Keras 2 may write a list as an object.
        Some(value @ serde_json::Value::Object(_)) => refuse!("`axis` is {}, which is not supported", shown(value)),
        Some(value) => Ok(vec![int("axis", value)?]),
    }
}

/// The dtype of the variables, which in Keras 2 is float32 at least.
fn variable_dtype(cx: &Context<'_>) -> DType {
    if cx.is_keras2() { at_least_float32(cx.policy.variable) } else { cx.policy.variable }
}

/// The shape with these axes of a tensor, and 1 elsewhere.
fn sizes_at(x: &TensorRef, axes: &[usize]) -> Vec<Dim> {
    let dims = x.dims().iter().enumerate();
    dims.map(|(axis, dim)| if axes.contains(&axis) { *dim } else { Some(1) }).collect()
}

impl Layer for BatchNormalization {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let g = cx.g;
        let axes = self.axes.iter().map(|axis| axis_index(*axis, x.rank())).collect::<Result<Vec<_>>>()?;
        let shape = match axes.as_slice() {
            [axis] => vec![x.size(*axis as i64)?],
            [] => refuse!("`axis` is an empty list"),
            axes => match Shape::new(sizes_at(&x, axes)).sizes() {
                Some(sizes) => sizes,
                None => refuse!("the sizes of the axes {axes:?} of its input are unknown"),
            },
        };
        let wide = at_least_float32(x.dtype);
        let parameter = |name: &str| -> Result<TensorRef> {
            let resource = cx.declare(name, &shape, variable_dtype(cx), true)?;
            g.cast(&g.read(resource)?, wide)
        };
        let gamma = self.scale.then(|| parameter("gamma")).transpose()?;
        let beta = self.center.then(|| parameter("beta")).transpose()?;
        let statistics = self.statistics(cx, &shape)?;
        if self.is_fused(cx, &x, &axes) {
            return Ok(self.fused(cx, &x, &axes, (gamma, beta), &statistics)?.into());
        }

        let dtype = x.dtype;
        let wide_x = Masked { tensor: g.cast(&x, wide)?, mask: x.mask.clone() };
        let (mean, variance) = self.current(cx, &wide_x, &axes, &statistics)?;
        // Keras reshapes what does not belong to the last axis.
        let reshaped = |value: &TensorRef| -> Result<TensorRef> {
            let in_place = match axes.as_slice() {
                [axis] if cx.is_keras2() => *axis + 1 == x.rank(),
                [_] => self.axes == [-1],
                _ => true,
            };
            if in_place { Ok(value.clone()) } else { g.reshape(value, &sizes_at(&x, &axes)) }
        };
        let (mean, variance) = (reshaped(&mean)?, reshaped(&variance)?);
        let gamma = gamma.as_ref().map(reshaped).transpose()?;
        let beta = beta.as_ref().map(reshaped).transpose()?;
        let normal = Normal {
            mean: &mean,
            variance: &variance,
            gamma: gamma.as_ref(),
            beta: beta.as_ref(),
            epsilon: self.epsilon,
        };
        Ok(g.cast(&g.scoped("batchnorm", || normal.apply(g, &wide_x))?, dtype)?.into())
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Pass
    }

    fn ignores_training(&self) -> bool {
        false
    }
}

impl BatchNormalization {
    /// Declares the variables that training does not optimize.
    fn statistics(&self, cx: &Context<'_>, shape: &[u64]) -> Result<Statistics> {
        let dtype = variable_dtype(cx);
        let read = |name: &str| -> Result<(Resource, TensorRef)> {
            let resource = cx.declare(name, shape, dtype, false)?;
            Ok((resource, cx.g.read(resource)?))
        };
        let statistics = Statistics { mean: read("moving_mean")?, variance: read("moving_variance")? };
        if self.renorm {
            for name in ["moving_stddev", "renorm_mean", "renorm_stddev"] {
                cx.declare(name, shape, dtype, false)?;
            }
        }
        Ok(statistics)
    }

    fn trains(&self, cx: &Context<'_>) -> bool {
        cx.training && cx.trainable
    }

    /// Mean and variance: the moving ones, or in a training step those of the batch, by which the moving ones then
    /// move.
    fn current(
        &self,
        cx: &Context<'_>,
        x: &Masked,
        axes: &[usize],
        statistics: &Statistics,
    ) -> Result<(TensorRef, TensorRef)> {
        let g = cx.g;
        let moving = (g.cast(&statistics.mean.1, x.dtype)?, g.cast(&statistics.variance.1, x.dtype)?);
        if !self.trains(cx) {
            return Ok(moving);
        }
        if self.renorm {
            refuse!("`renorm` is not supported in training");
        }
        let reduced: Vec<i64> = (0..x.rank()).filter(|axis| !axes.contains(axis)).map(|axis| axis as i64).collect();
        let (mut mean, mut variance) = match &x.mask {
            Some(mask) => self.masked_moments(cx, x, mask, &reduced)?,
            // The names of the scopes are Keras's, because TensorFlow sums in the order of names.
            None => g.scoped("moments", || moments(g, x, &reduced))?,
        };
        if axes.len() == 1 {
            (mean, variance) = (g.squeeze(&mean, &reduced)?, g.squeeze(&variance, &reduced)?);
        }
        self.moved(cx, &statistics.mean, &moving.0, &mean)?;
        self.moved(cx, &statistics.variance, &moving.1, &variance)?;
        Ok((mean, variance))
    }

    /// Moves a statistic by that of a batch.
    fn moved(
        &self,
        cx: &Context<'_>,
        (resource, stored): &(Resource, TensorRef),
        moving: &TensorRef,
        batch: &TensorRef,
    ) -> Result<()> {
        let g = cx.g;
        let new = if cx.is_keras2() {
            let batch = g.cast(batch, stored.dtype)?;
            // Keras subtracts in float32.
            let decay = f64::from(1.0 - self.momentum as f32);
            let delta = g.with_scalar(&g.sub(stored, &batch)?, decay, |g, delta, decay| g.mul(delta, decay))?;
            g.sub(stored, &delta)?
        } else {
            let kept = g.with_scalar(moving, self.momentum, |g, moving, momentum| g.mul(moving, momentum))?;
            let added = g.with_scalar(batch, 1.0 - self.momentum, |g, batch, rate| g.mul(batch, rate))?;
            g.cast(&g.add_v2(&kept, &added)?, stored.dtype)?
        };
        cx.shared.updates.borrow_mut().push((*resource, new));
        Ok(())
    }

    /// Mean and variance of the elements that a mask keeps.
    fn masked_moments(
        &self,
        cx: &Context<'_>,
        x: &TensorRef,
        mask: &TensorRef,
        axes: &[i64],
    ) -> Result<(TensorRef, TensorRef)> {
        let g = cx.g;
        if mask.rank() + 1 != x.rank() {
            refuse!("a mask of shape {} does not fit an input of shape {}", mask.shape, x.shape);
        }
        let mask = g.expand_dims(mask, -1)?;
        let mask = g.broadcast_to(&mask, &g.shape_of(x)?, x.shape.clone())?;
        let zero = g.scalar(0.0, x.dtype)?;
        let weights = g.sum(&g.cast(&mask, x.dtype)?, axes, true)?;
        let mean_of = |values: &TensorRef| -> Result<TensorRef> {
            let sum = g.sum(values, axes, true)?;
            if cx.is_keras2() {
                return g.div_no_nan(&sum, &weights);
            }
            // Keras's own epsilon.
            g.real_div(&sum, &g.with_scalar(&weights, 1e-7, |g, weights, epsilon| g.add_v2(weights, epsilon))?)
        };
        let mean = mean_of(&g.select(&mask, x, &zero)?)?;
        let difference = g.select(&mask, &g.sub(x, &mean)?, &zero)?;
        let variance = mean_of(&g.square(&difference)?)?;
        Ok((mean, variance))
    }

    /// Whether Keras 2 uses `FusedBatchNormV3`.
    fn is_fused(&self, cx: &Context<'_>, x: &TensorRef, axes: &[usize]) -> bool {
        let is_channels = axes.len() == 1 && (axes[0] == 1 || axes[0] + 1 == x.rank());
        cx.is_keras2() && self.may_fuse && x.dtype != DType::Float64 && [4, 5].contains(&x.rank()) && is_channels
    }

    fn fused(
        &self,
        cx: &Context<'_>,
        x: &TensorRef,
        axes: &[usize],
        (gamma, beta): (Option<TensorRef>, Option<TensorRef>),
        statistics: &Statistics,
    ) -> Result<TensorRef> {
        let g = cx.g;
        let channels = x.size(axes[0] as i64)?;
        let filled = |value: f64| {
            let size = g.vector_i32(&[i64::try_from(channels).unwrap_or(i64::MAX)])?;
            g.fill(&size, &g.scalar(value, DType::Float32)?, Shape::new([Some(channels)]))
        };
        let gamma = gamma.map_or_else(|| filled(1.0), Ok)?;
        let beta = beta.map_or_else(|| filled(0.0), Ok)?;
        let mean = g.cast(&statistics.mean.1, DType::Float32)?;
        let variance = g.cast(&statistics.variance.1, DType::Float32)?;
        let format = match (x.rank(), axes[0]) {
            (4, 1) => "NCHW",
            (4, _) => "NHWC",
            (_, 1) => "NCDHW",
            _ => "NDHWC",
        };
        let trains = self.trains(cx);
        let mut attrs = vec![("data_format", format.into()), ("is_training", trains.into())];
        if trains {
            attrs.push(("exponential_avg_factor", Attr::Float((1.0 - self.momentum) as f32)));
        }
        let outputs = g.fused_batch_norm(x, [&gamma, &beta, &mean, &variance], self.epsilon, attrs)?;
        if trains {
            let mut updates = cx.shared.updates.borrow_mut();
            updates.push((statistics.mean.0, g.cast(&outputs[1], statistics.mean.1.dtype)?));
            updates.push((statistics.variance.0, g.cast(&outputs[2], statistics.variance.1.dtype)?));
        }
        Ok(outputs[0].clone())
    }
}
