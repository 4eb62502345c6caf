//! Layers that apply an activation function.

use super::activation::{Function, softmax};
use super::{Activation, Argument, Arguments, Context, Layer, MaskRule, finished};
use crate::config::{Config, int, shown};
use crate::graph::{Graph, TensorRef, axis_index};
use crate::reason::{Result, refuse};

use serde_json::Value;
use tf_persist_savedmodel::DType;

pub(super) fn build(class: &str, config: &Config<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "Activation" => finished(Activation::of(config, "activation").map(ActivationLayer), config),
        "ReLU" => finished(relu(config), config),
        "LeakyReLU" => finished(leaky_relu(config), config),
        "ELU" => finished(elu(config), config),
        "ThresholdedReLU" => finished(ThresholdedReLU::new(config), config),
        "PReLU" => finished(PReLU::new(config), config),
        "Softmax" => finished(Softmax::new(config), config),
        _ => return None,
    })
}

#[derive(Debug)]
struct ActivationLayer(Activation);

impl Layer for ActivationLayer {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        Ok(self.0.apply(cx, &x)?.into())
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Pass
    }
}

/// A parameter of an activation. Old versions of Keras write some as arrays: `{"type": "ndarray", "value": 0.3}`.
fn number(config: &Config<'_>, key: &str, default: Option<f64>) -> Result<Option<f64>> {
    let Some(value) = config.get(key) else { return Ok(default) };
    let inner = value.get("config").unwrap_or(value);
    match inner.get("value").unwrap_or(inner).as_f64() {
        Some(number) => Ok(Some(number)),
        None => refuse!("`{key}` is {}, and should be a number", shown(value)),
    }
}

fn relu(config: &Config<'_>) -> Result<ActivationLayer> {
    Ok(ActivationLayer(Activation::from(Function::Relu {
        negative_slope: number(config, "negative_slope", None)?.unwrap_or(0.0),
        max_value: number(config, "max_value", None)?,
        threshold: number(config, "threshold", None)?.unwrap_or(0.0),
    })))
}

fn leaky_relu(config: &Config<'_>) -> Result<ActivationLayer> {
    let negative_slope = number(config, "negative_slope", number(config, "alpha", None)?)?.unwrap_or(0.3);
    Ok(ActivationLayer(Activation::from(match config.is_keras2() {
        true => Function::Relu { negative_slope, max_value: None, threshold: 0.0 },
        false => Function::LeakyRelu { negative_slope },
    })))
}

fn elu(config: &Config<'_>) -> Result<ActivationLayer> {
    let alpha = number(config, "alpha", None)?.unwrap_or(1.0);
    Ok(ActivationLayer(Activation::from(Function::Elu { alpha })))
}

/// Of Keras 2: `x` above a threshold, else 0.
#[derive(Debug)]
struct ThresholdedReLU {
    theta: f64,
}

impl ThresholdedReLU {
    fn new(config: &Config<'_>) -> Result<Self> {
        Ok(Self { theta: number(config, "theta", None)?.unwrap_or(1.0) })
    }
}

impl Layer for ThresholdedReLU {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let above = cx.g.with_scalar(&x, self.theta, Graph::greater)?;
        Ok(cx.g.mul(&x, &cx.g.cast(&above, x.dtype)?)?.into())
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Pass
    }
}

/// A leaky ReLU whose slopes are learnt.
#[derive(Debug)]
struct PReLU {
    /// The axes along which the slope is the same.
    shared_axes: Vec<i64>,
}

impl PReLU {
    fn new(config: &Config<'_>) -> Result<Self> {
        config.weight_rules(&["alpha"]);
        let shared_axes = if config.get("shared_axes").is_some() { config.ints("shared_axes")? } else { Vec::new() };
        Ok(Self { shared_axes })
    }
}

impl Layer for PReLU {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let g = cx.g;
        let mut dims = x.dims().get(1..).unwrap_or_default().to_vec();
        for axis in &self.shared_axes {
            // As in Python: axis 0 is the last one.
            let index = axis_index(axis.saturating_sub(1), dims.len())?;
            dims[index] = Some(1);
        }
        let mut shape = Vec::new();
        for (index, dim) in dims.iter().enumerate() {
            let Some(size) = dim else { refuse!("the size of axis {} of its input is unknown", index + 1) };
            shape.push(*size);
        }
        let alpha = cx.weight("alpha", &shape)?;
        let positive = g.relu(&x)?;
        let negative = g.mul(&g.neg(&alpha)?, &g.relu(&g.neg(&x)?)?)?;
        Ok(g.add_v2(&positive, &negative)?.into())
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Pass
    }
}

#[derive(Debug)]
pub(super) struct Softmax {
    /// Several are normalized together.
    axes: Option<Vec<i64>>,
    /// Of Keras 2: masked elements are replaced, as in Keras 3, and not lowered.
    robust_masking: bool,
}

impl Softmax {
    fn new(config: &Config<'_>) -> Result<Self> {
        let axes = match config.get("axis") {
            None if config.has("axis") => None,
            None => Some(vec![-1]),
            Some(Value::Array(items)) => Some(items.iter().map(|item| int("axis", item)).collect::<Result<Vec<_>>>()?),
            Some(value) => Some(vec![int("axis", value)?]),
        };
        if axes.as_ref().is_some_and(Vec::is_empty) {
            refuse!("`axis` is an empty list");
        }
        Ok(Self { axes, robust_masking: config.bool_or("robust_masking", false)? })
    }

    fn normalize(&self, g: &Graph, x: &TensorRef) -> Result<TensorRef> {
        match self.axes.as_deref() {
            Some([axis]) => softmax::along(g, x, Some(*axis), Graph::softmax),
            Some(axes) => g.exp(&g.sub(x, &softmax::log_sum_exp(g, x, axes)?)?),
            None => softmax::along(g, x, None, Graph::softmax),
        }
    }
}

impl Softmax {
    /// Over these axes together.
    pub(super) fn over(axes: Vec<i64>, robust_masking: bool) -> Self {
        Self { axes: Some(axes), robust_masking }
    }

    pub(super) fn apply(&self, cx: &Context<'_>, x: &TensorRef, mask: Option<&TensorRef>) -> Result<TensorRef> {
        let g = cx.g;
        let Some(mask) = mask else { return self.normalize(g, x) };
        if x.shape.broadcast(&mask.shape)?.rank() != x.rank() {
            refuse!("a mask of shape {} does not fit shape {}", mask.shape, x.shape);
        }
        let lowest = match x.dtype {
            DType::Float16 if cx.is_keras2() => -32752.0,
            DType::Float16 => -3e4,
            _ => -1e9,
        };
        if cx.is_keras2() && !self.robust_masking {
            let one = g.scalar(1.0, x.dtype)?;
            let adder = g.with_scalar(&g.sub(&one, &g.cast(mask, x.dtype)?)?, lowest, Graph::mul)?;
            return self.normalize(g, &g.add_v2(x, &adder)?);
        }
        let mask = match mask.dtype {
            DType::Bool => mask.clone(),
            _ => g.with_scalar(mask, 0.5, Graph::greater)?,
        };
        let y = self.normalize(g, &g.select(&mask, x, &g.scalar(lowest, x.dtype)?)?)?;
        if cx.is_keras2() {
            return Ok(y);
        }
        g.select(&mask, &y, &g.scalar(0.0, y.dtype)?)
    }
}

impl Layer for Softmax {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        Ok(self.apply(cx, &x, x.mask.as_ref())?.into())
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Pass
    }
}
