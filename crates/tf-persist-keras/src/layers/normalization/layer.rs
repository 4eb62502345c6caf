//! `LayerNormalization` and `RMSNormalization`.

use tf_persist_savedmodel::DType;

use super::batch::axes;
use super::{Normal, at_least_float32, moments, weight};
use crate::config::Config;
use crate::graph::{Dim, Graph, Shape, TensorRef, axis_index};
use crate::layers::{Argument, Arguments, Context, Layer, MaskRule, finished};
use crate::parse::Parser;
use crate::reason::{Result, refuse};

/// The least epsilon with which Keras 2 uses `FusedBatchNormV3`.
const MIN_FUSED_EPSILON: f64 = 1.001e-5;

pub(super) fn build(class: &str, config: &Config<'_>, _parser: &mut Parser<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "LayerNormalization" => finished(LayerNormalization::new(config), config),
        "RMSNormalization" => finished(RmsNormalization::new(config), config),
        _ => return None,
    })
}

#[derive(Debug)]
struct LayerNormalization {
    axes: Vec<i64>,
    epsilon: f64,
    center: bool,
    scale: bool,
    casts_inputs: bool,
    /// Whether the scale is that of the variance, a deprecated option.
    rms_scaling: bool,
}

impl LayerNormalization {
    fn new(config: &Config<'_>) -> Result<Self> {
        config.weight_rules(&["beta", "gamma"]);
        let rms_scaling = config.bool_or("rms_scaling", false)?;
        let mut axes = axes(config, &[-1])?;
        axes.sort_unstable();
        Ok(Self {
            axes,
            epsilon: config.float_or("epsilon", 1e-3)?,
            center: config.bool_or("center", true)? && !rms_scaling,
            scale: config.bool_or("scale", true)? || rms_scaling,
            casts_inputs: config.is_keras2(),
            rms_scaling,
        })
    }
}

/// The sizes of axes of the input, in the order of the axes.
fn sizes(x: &TensorRef, axes: &[i64]) -> Result<Vec<u64>> {
    if axes.is_empty() {
        refuse!("`axis` is an empty list");
    }
    axes.iter().map(|axis| x.size(*axis)).collect()
}

/// Reshapes a parameter so that its sizes are at the axes. Keras does not transpose where axes from both ends are out
/// of order.
fn at_axes(g: &Graph, value: &TensorRef, x: &TensorRef, axes: &[i64]) -> Result<TensorRef> {
    if axes.iter().map(|axis| axis_index(*axis, x.rank())).collect::<Result<Vec<_>>>()? == [x.rank() - 1] {
        return Ok(value.clone());
    }
    let mut dims: Vec<Dim> = vec![Some(1); x.rank()];
    for axis in axes {
        dims[axis_index(*axis, x.rank())?] = x.dim(*axis)?;
    }
    g.reshape(value, &dims)
}

impl Layer for LayerNormalization {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let g = cx.g;
        let shape = sizes(&x, &self.axes)?;
        let dtype = x.dtype;
        let wide = at_least_float32(dtype);
        let parameter = |name: &str| at_axes(g, &weight(cx, name, &shape, true, wide)?, &x, &self.axes);
        let gamma = self.scale.then(|| parameter("gamma")).transpose()?;
        let beta = self.center.then(|| parameter("beta")).transpose()?;
        if cx.is_keras2() && self.is_fused(cx, &x)? {
            return Ok(self.fused(cx, &x, gamma.as_ref(), beta.as_ref())?.into());
        }
        let wide_x = g.cast(&x, wide)?;
        if self.rms_scaling {
            let y = g.cast(&self.by_variance(g, &wide_x, gamma.as_ref())?, dtype)?;
            return Ok(g.cast(&y, cx.policy.compute)?.into());
        }
        let (mean, variance) = moments(g, &wide_x, &self.axes)?;
        let normal = Normal {
            mean: &mean,
            variance: &variance,
            gamma: gamma.as_ref(),
            beta: beta.as_ref(),
            epsilon: self.epsilon,
        };
        let y = if cx.is_keras2() { normal.apply(g, &wide_x)? } else { normal.apply_negated(g, &wide_x)? };
        Ok(g.cast(&g.cast(&y, dtype)?, cx.policy.compute)?.into())
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Pass
    }

    /// Keras 3 rounds only the results to the dtype of the policy.
    fn casts_inputs(&self) -> bool {
        self.casts_inputs
    }
}

impl LayerNormalization {
    /// Divides by the standard deviation without subtracting the mean.
    fn by_variance(&self, g: &Graph, x: &TensorRef, gamma: Option<&TensorRef>) -> Result<TensorRef> {
        let difference = g.sub(x, &g.mean(x, &self.axes, true)?)?;
        let variance = g.mean(&g.square(&difference)?, &self.axes, true)?;
        let y = g.mul(x, &g.rsqrt(&g.with_scalar(&variance, self.epsilon, Graph::add_v2)?)?)?;
        gamma.map_or(Ok(y.clone()), |gamma| g.mul(&y, gamma))
    }

    /// Whether Keras 2 uses `FusedBatchNormV3`: over the last axes.
    fn is_fused(&self, cx: &Context<'_>, x: &TensorRef) -> Result<bool> {
        let mut axes = self.axes.iter().map(|axis| axis_index(*axis, x.rank())).collect::<Result<Vec<_>>>()?;
        axes.sort_unstable();
        let are_last = axes.iter().rev().enumerate().all(|(index, axis)| axis + index + 1 == x.rank());
        Ok(are_last && self.epsilon >= MIN_FUSED_EPSILON && cx.policy.variable == DType::Float32)
    }

    /// Each row is a channel of a batch of one.
    fn fused(
        &self,
        cx: &Context<'_>,
        x: &TensorRef,
        gamma: Option<&TensorRef>,
        beta: Option<&TensorRef>,
    ) -> Result<TensorRef> {
        let g = cx.g;
        let Some(columns) = sizes(x, &self.axes)?.into_iter().try_fold(1_u64, u64::checked_mul) else {
            refuse!("the shape {} is too large", x.shape)
        };
        let outer = &x.dims()[..x.rank() - self.axes.len()];
        let rows = crate::graph::shape::element_count(outer);
        let flat = g.reshape(x, &[Some(1), rows, Some(columns), Some(1)])?;
        let count = g.pack_dims(&[rows], |_| g.dim_of(&flat, 1))?;
        let fill = |value: f64| g.fill(&count, &g.scalar(value, DType::Float32)?, Shape::new([rows]));
        let (one, zero) = (fill(1.0)?, fill(0.0)?);
        let none = g.constant(tf_persist_savedmodel::Tensor::from_slice::<f32>(&[0], &[])?)?;
        let attrs = vec![("data_format", "NCHW".into()), ("is_training", true.into())];
        let flat = g.fused_batch_norm(&flat, [&one, &zero, &none, &none], self.epsilon, attrs)?.remove(0);
        let mut y = if x.dims().iter().filter(|dim| dim.is_none()).count() <= 1 {
            g.reshape(&flat, x.dims())?
        } else {
            g.reshape_to(&flat, &g.shape_of(x)?, x.shape.clone())?
        };
        if let Some(gamma) = gamma {
            y = g.mul(&y, &g.cast(gamma, y.dtype)?)?;
        }
        if let Some(beta) = beta {
            y = g.add_v2(&y, &g.cast(beta, y.dtype)?)?;
        }
        Ok(y)
    }
}

/// Divides by the root of the mean square.
#[derive(Debug)]
struct RmsNormalization {
    axes: Vec<i64>,
    epsilon: f64,
}

impl RmsNormalization {
    fn new(config: &Config<'_>) -> Result<Self> {
        let mut axes = axes(config, &[-1])?;
        axes.sort_unstable();
        Ok(Self { axes, epsilon: config.float_or("epsilon", 1e-6)? })
    }
}

impl Layer for RmsNormalization {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let g = cx.g;
        let scale = cx.weight("scale", &sizes(&x, &self.axes)?)?;
        let wide = at_least_float32(x.dtype);
        let (dtype, x) = (x.dtype, g.cast(&x, wide)?);
        let scale = g.cast(&scale, wide)?;
        let mean = g.mean(&g.square(&x)?, &self.axes, true)?;
        let y = g.mul(&x, &g.rsqrt(&g.with_scalar(&mean, self.epsilon, Graph::add_v2)?)?)?;
        Ok(g.cast(&g.mul(&y, &scale)?, dtype)?.into())
    }
}
