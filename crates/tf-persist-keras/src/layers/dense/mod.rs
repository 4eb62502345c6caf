//! Layers that multiply with a kernel: `Dense`, `EinsumDense`.

mod einsum;
mod quantized;
mod scales;

use tf_persist_savedmodel::DType;

use super::{Activation, Argument, Arguments, Context, Layer, MaskRule, finished};
use crate::config::{Config, Quantization, size};
use crate::graph::TensorRef;
use crate::operations;
use crate::reason::{Result, refuse};

pub(super) use einsum::EinsumDense;
use quantized::{Product, Rules, with_bias};

pub(super) fn build(class: &str, config: &Config<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "Dense" => finished(Dense::new(config), config),
        "EinsumDense" => finished(EinsumDense::new(config), config),
        _ => return None,
    })
}

/// A low-rank adaptation of a kernel.
#[derive(Debug, Clone, PartialEq)]
struct Lora {
    rank: u64,
    alpha: f64,
}

impl Lora {
    fn of(config: &Config<'_>) -> Result<Option<Self>> {
        let alpha = config.get("lora_alpha").map(|_| config.float_or("lora_alpha", 0.0)).transpose()?;
        let Some(value) = config.get("lora_rank") else { return Ok(None) };
        match size("lora_rank", value)? {
            0 => Ok(None),
            rank => Ok(Some(Self { rank, alpha: alpha.unwrap_or(rank as f64) })),
        }
    }
}

/// The variables of an adapted kernel: kernel, bias, adaptation.
fn weights(
    cx: &Context<'_>,
    lora: Option<&Lora>,
    shape: &[u64],
    bias: Option<&[u64]>,
) -> Result<(TensorRef, Option<TensorRef>)> {
    let g = cx.g;
    if cx.training && lora.is_some() && !cx.shared.has_adaptations() {
        // Keras would begin with an adaptation of zeros, which gradients never change.
        refuse!("training its low-rank adaptation (`lora_rank`) is not supported");
    }
    let Some(lora) = lora.filter(|_| cx.shared.has_adaptations()) else {
        return Ok((cx.weight("kernel", shape)?, bias.map(|shape| cx.weight("bias", shape)).transpose()?));
    };
    let kernel = cx.declare("kernel", shape, cx.policy.variable, false)?;
    let kernel = g.cast(&g.read(kernel)?, cx.policy.compute)?;
    let bias = bias.map(|shape| cx.weight("bias", shape)).transpose()?;
    let Some((last, first)) = shape.split_last() else { refuse!("its kernel has no dimensions") };
    let adaptation = |name: &str, shape: &[u64]| -> Result<TensorRef> {
        let variable = cx.declare(name, shape, DType::Float32, true)?;
        g.cast(&g.read(variable)?, cx.policy.compute)
    };
    let a = adaptation("lora_kernel_a", &[first, &[lora.rank]].concat())?;
    let b = adaptation("lora_kernel_b", &[lora.rank, *last])?;
    let product = operations::mat_mul(g, &a, &b)?;
    let scaled = g.mul(&g.scalar(lora.alpha / lora.rank as f64, product.dtype)?, &product)?;
    Ok((operations::add(g, &kernel, &scaled)?, bias))
}

/// A product with a matrix.
#[derive(Debug)]
struct Dense {
    units: u64,
    use_bias: bool,
    activation: Activation,
    lora: Option<Lora>,
    rules: Rules,
}

impl Dense {
    fn new(config: &Config<'_>) -> Result<Self> {
        config.weight_rules(&["kernel", "bias"]);
        Ok(Self {
            units: config.size("units")?,
            use_bias: config.bool_or("use_bias", true)?,
            activation: Activation::of(config, "activation")?,
            lora: Lora::of(config)?,
            rules: Rules::of(config)?,
        })
    }
}

impl Dense {
    fn quantized(&self, cx: &Context<'_>, quantization: &Quantization, x: &TensorRef) -> Result<Argument> {
        let inner = x.size(-1)?;
        let units = [self.units];
        let product = Product {
            kernel: &[inner, self.units],
            matrix: [inner, self.units],
            scale: &units,
            input_axes: &[-1],
            align: &|_, scale| Ok(scale.clone()),
            multiply: &operations::mat_mul,
            scales_kernel: false,
            bias: self.use_bias.then_some(&units),
        };
        let (y, bias) = product.apply(cx, quantization, &self.rules, x)?;
        Ok(self.activation.apply(cx, &with_bias(cx.g, y, bias)?)?.into())
    }
}

impl Layer for Dense {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let g = cx.g;
        if let Some(quantization) = &cx.policy.quantization {
            return self.quantized(cx, quantization, &x);
        }
        let units = [self.units];
        let (kernel, bias) =
            weights(cx, self.lora.as_ref(), &[x.size(-1)?, self.units], self.use_bias.then_some(&units))?;
        let x = if cx.is_keras2() { g.cast(&x, cx.policy.compute)? } else { x.tensor };
        let mut y = operations::mat_mul(g, &x, &kernel)?;
        if let Some(bias) = bias {
            y = if cx.is_keras2() { g.bias_add(&y, &bias)? } else { operations::add(g, &y, &bias)? };
        }
        Ok(self.activation.apply(cx, &y)?.into())
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Pass
    }
}
