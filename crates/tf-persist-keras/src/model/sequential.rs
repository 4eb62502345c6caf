//! `Sequential`.

use serde_json::Value;

use super::input::{InputSpec, shape_of};
use super::{Model, as_input, call, contexts, is_input};
use crate::config::{Config, policy, shown};
use crate::layers::{Argument, Arguments, Context, Layer, MaskRule, NamedLayer};
use crate::parse::Parser;
use crate::reason::{Reason, Result, refuse};

/// A model whose layers follow each other.
#[derive(Debug)]
pub(super) struct Sequential {
    layers: Vec<NamedLayer>,
    /// The name and the spec of the input.
    input: (String, InputSpec),
}

impl Sequential {
    pub(super) fn new(config: &Config<'_>, parser: &mut Parser<'_>) -> Result<Self> {
        let entries = config.array("layers")?;
        config.without_effect(&["build_config"]);
        let build_shape = config.get("build_input_shape");
        let mut layers = Vec::new();
        let mut failed = false;
        for entry in entries {
            match parser.layer(entry) {
                Ok(layer) => layers.push(layer),
                Err(reason) if reason.is_reported() => failed = true,
                Err(reason) => return Err(reason),
            }
        }
        if failed {
            return Err(Reason::reported());
        }
        let input = match (
            layers.first().and_then(|first| Some((first.name.clone(), first.layer.input()?.clone()))),
            entries.first(),
        ) {
            (Some(input), _) => input,
            (None, Some(first)) => (format!("{}_input", layers[0].name), implied_input(first, build_shape)?),
            (None, None) => refuse!("it has no layers"),
        };
        if entries.iter().skip(1).any(is_input) {
            refuse!("it has an input behind its first layer");
        }
        Ok(Self { layers, input })
    }
}

/// The input of a model without `InputLayer`: as the first layer or the model itself says.
fn implied_input(first: &Value, build_shape: Option<&Value>) -> Result<InputSpec> {
    let config = first.get("config").unwrap_or(&Value::Null);
    let shape = ["batch_shape", "batch_input_shape"].into_iter().find_map(|key| config.get(key)).or(build_shape);
    let Some(shape) = shape.filter(|shape| !shape.is_null()) else {
        refuse!("the shape of its input is unknown: it was saved before it was built")
    };
    if !shape.is_array() {
        refuse!("the shape {} is not a list", shown(shape));
    }
    let is_embedding = first.get("class_name").and_then(Value::as_str) == Some("Embedding");
    let dtype = match config.get("dtype") {
        // Keras 2 gives an embedding's input the dtype of its weights, and casts.
        _ if is_embedding => tf_persist_savedmodel::DType::Float32,
        dtype => policy::Policy::parse(dtype)?.compute,
    };
    Ok(InputSpec { shape: shape_of(shape)?, dtype })
}

impl Layer for Sequential {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = as_input(cx, &arguments.input()?, &self.input.1)?;
        let mut value = Argument::Tensor(x);
        for (layer, cx) in self.layers.iter().zip(contexts(cx, &self.layers)?) {
            if layer.layer.input().is_none() {
                value = call(&cx, layer, Arguments::new(vec![value], Vec::new()))?;
            }
        }
        Ok(value)
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Own
    }

    fn casts_inputs(&self) -> bool {
        false
    }

    fn as_model(&self) -> Option<&dyn Model> {
        Some(self)
    }
}

impl Model for Sequential {
    fn inputs(&self) -> Vec<(&str, &InputSpec)> {
        vec![(&self.input.0, &self.input.1)]
    }

    fn output_keys(&self) -> Option<Vec<&str>> {
        None
    }

    fn output_names(&self) -> Vec<String> {
        self.layers.last().map(|layer| layer.name.clone()).into_iter().collect()
    }

    fn layers(&self) -> Vec<&NamedLayer> {
        self.layers.iter().collect()
    }

    fn counts_own_call(&self) -> bool {
        false
    }
}
