//! Layers that multiply and add constants or weights: `Rescaling`, and two of `keras.applications`.

use serde_json::Value;

use super::{Argument, Arguments, Context, Layer, MaskRule, finished};
use crate::config::{Config, shown};
use crate::graph::{Graph, TensorRef};
use crate::parse::constant;
use crate::reason::{Result, refuse};

pub(super) fn build(class: &str, config: &Config<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "Rescaling" => finished(Rescaling::new(config), config),
        "LayerScale" => finished(LayerScale::new(config), config),
        "CustomScaleLayer" => finished(CustomScale::new(config), config),
        _ => return None,
    })
}

/// `x · scale + offset`.
#[derive(Debug)]
struct Rescaling {
    scale: Value,
    offset: Value,
    passes_masks: bool,
}

impl Rescaling {
    fn new(config: &Config<'_>) -> Result<Self> {
        Ok(Self {
            scale: numbers(config.required("scale")?)?,
            offset: config.get("offset").map_or_else(|| Ok(0.0.into()), numbers)?,
            passes_masks: !config.is_keras2(),
        })
    }
}

/// Nested lists of numbers, as they are or in an object with a `value`.
fn numbers(value: &Value) -> Result<Value> {
    let inner = match value {
        Value::Object(object) => object.get("config").and_then(|config| config.get("value")),
        value => Some(value),
    };
    match inner {
        Some(numbers @ (Value::Number(_) | Value::Array(_))) => Ok(numbers.clone()),
        _ => refuse!("{} is not a number", shown(value)),
    }
}

impl Layer for Rescaling {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let (g, dtype) = (cx.g, cx.policy.compute);
        let scale = g.constant(constant(&self.scale, dtype)?)?;
        let offset = g.constant(constant(&self.offset, dtype)?)?;
        Ok(g.add_v2(&g.mul(&g.cast(&x, dtype)?, &scale)?, &offset)?.into())
    }

    fn mask_rule(&self) -> MaskRule {
        if self.passes_masks { MaskRule::Pass } else { MaskRule::Drop }
    }
}

/// A factor for each channel, in ConvNeXt.
#[derive(Debug)]
struct LayerScale {
    size: u64,
}

impl LayerScale {
    fn new(config: &Config<'_>) -> Result<Self> {
        config.without_effect(&["init_values"]);
        Ok(Self { size: config.size("projection_dim")? })
    }
}

impl Layer for LayerScale {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        // Keras 3 does not name it, so that `.h5` files have it as `variable`.
        let gamma = cx.weight(if cx.is_keras2() { "gamma" } else { "variable" }, &[self.size])?;
        Ok(cx.g.mul(&x, &gamma)?.into())
    }
}

/// `a + scale · b`, in InceptionResNetV2.
#[derive(Debug)]
struct CustomScale {
    scale: f64,
}

impl CustomScale {
    fn new(config: &Config<'_>) -> Result<Self> {
        config.required("scale")?;
        Ok(Self { scale: config.float_or("scale", 1.0)? })
    }
}

impl Layer for CustomScale {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let inputs = arguments.inputs()?;
        let [a, b] = inputs.as_slice() else { refuse!("it is called with {} inputs, and takes 2", inputs.len()) };
        let scaled: TensorRef = cx.g.with_scalar(b, self.scale, Graph::mul)?;
        Ok(cx.g.add_v2(a, &scaled)?.into())
    }
}
