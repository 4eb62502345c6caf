//! `Dense` and `Flatten`.

use super::{Activation, Argument, Arguments, Context, Layer, MaskRule, finished};
use crate::config::Config;
use crate::graph::TensorRef;
use crate::parse::Parser;
use crate::reason::{Result, refuse};

pub(super) fn build(class: &str, config: &Config<'_>, _parser: &mut Parser<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "Dense" => finished(Dense::new(config), config),
        "Flatten" => finished(Flatten::new(config), config),
        _ => return None,
    })
}

/// A product with a matrix.
#[derive(Debug)]
struct Dense {
    units: u64,
    use_bias: bool,
    activation: Activation,
}

impl Dense {
    fn new(config: &Config<'_>) -> Result<Self> {
        config.weight_rules(&["kernel", "bias"]);
        config.without_effect(&["lora_rank", "lora_alpha", "quantization_config"]);
        Ok(Self {
            units: config.size("units")?,
            use_bias: config.bool_or("use_bias", true)?,
            activation: Activation::of(config, "activation")?,
        })
    }
}

impl Layer for Dense {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        if cx.policy.quantization.is_some() {
            refuse!("its quantization is not supported");
        }
        let kernel = cx.weight("kernel", &[x.size(-1)?, self.units])?;
        let bias = self.use_bias.then(|| cx.weight("bias", &[self.units])).transpose()?;
        let mut y = product(cx, &x, &kernel, self.units)?;
        if let Some(bias) = &bias {
            y = cx.g.bias_add(&y, bias)?;
        }
        Ok(self.activation.apply(cx, &y)?.into())
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Pass
    }
}

/// The product of the last dimension with a matrix.
fn product(cx: &Context<'_>, x: &TensorRef, kernel: &TensorRef, units: u64) -> Result<TensorRef> {
    let g = cx.g;
    if x.rank() <= 2 {
        return g.mat_mul(x, kernel);
    }
    let rows = g.reshape(x, &[None, Some(x.size(-1)?)])?;
    let y = g.mat_mul(&rows, kernel)?;
    let mut dims = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = Some(units);
    }
    if dims.iter().filter(|dim| dim.is_none()).count() <= 1 {
        return g.reshape(&y, &dims);
    }
    let sizes = g.pack_dims(&dims, |axis| g.dim_of(x, axis as i64))?;
    g.reshape_to(&y, &sizes, crate::graph::Shape::new(dims))
}

#[derive(Debug)]
struct Flatten {
    channels_first: bool,
}

impl Flatten {
    fn new(config: &Config<'_>) -> Result<Self> {
        Ok(Self { channels_first: config.channels_first()? })
    }
}

impl Layer for Flatten {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let g = cx.g;
        let rank = x.rank();
        let mut y = x.tensor.clone();
        if self.channels_first && rank > 2 {
            let order: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
            y = g.transpose(&y, &order)?;
        }
        if rank <= 1 {
            return Ok(g.expand_dims(&y, -1)?.into());
        }
        let count = crate::graph::shape::element_count(&y.dims()[1..]);
        let batch = if count.is_some() { None } else { y.dims()[0] };
        Ok(g.reshape(&y, &[batch, count])?.into())
    }
}
