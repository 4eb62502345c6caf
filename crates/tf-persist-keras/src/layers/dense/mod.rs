//! Layers that multiply with a kernel: `Dense`, `EinsumDense`.

mod einsum;
mod quantized;
mod scales;

use super::{Activation, Argument, Arguments, Context, Layer, MaskRule, finished};
use crate::config::{Config, Quantization};
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

/// Keys of both classes. Files hold the kernel with its low-rank adaptation merged into it.
fn common_keys(config: &Config<'_>) {
    config.weight_rules(&["kernel", "bias"]);
    config.without_effect(&["lora_alpha"]);
}

/// A product with a matrix.
#[derive(Debug)]
struct Dense {
    units: u64,
    use_bias: bool,
    activation: Activation,
    has_lora: bool,
    rules: Rules,
}

impl Dense {
    fn new(config: &Config<'_>) -> Result<Self> {
        common_keys(config);
        Ok(Self {
            units: config.size("units")?,
            use_bias: config.bool_or("use_bias", true)?,
            activation: Activation::of(config, "activation")?,
            has_lora: config.get("lora_rank").is_some(),
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
        check_training(cx, self.has_lora)?;
        let kernel = cx.weight("kernel", &[x.size(-1)?, self.units])?;
        let x = if cx.is_keras2() { g.cast(&x, cx.policy.compute)? } else { x.tensor };
        let mut y = operations::mat_mul(g, &x, &kernel)?;
        if self.use_bias {
            let bias = cx.weight("bias", &[self.units])?;
            y = if cx.is_keras2() { g.bias_add(&y, &bias)? } else { operations::add(g, &y, &bias)? };
        }
        Ok(self.activation.apply(cx, &y)?.into())
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Pass
    }
}

/// Refuses to train a layer of which Keras would train the low-rank adaptation alone.
fn check_training(cx: &Context<'_>, has_lora: bool) -> Result<()> {
    if cx.training && has_lora {
        refuse!("training its low-rank adaptation (`lora_rank`) is not supported");
    }
    Ok(())
}
