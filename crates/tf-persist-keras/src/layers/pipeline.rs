//! `Pipeline`: layers that follow each other.

use super::{Argument, Arguments, Context, Layer, MaskRule, NamedLayer, finished};
use crate::config::Config;
use crate::model::snake_case;
use crate::parse::Parser;
use crate::reason::{Reason, Result};

pub(super) fn build(class: &str, config: &Config<'_>, parser: &mut Parser<'_>) -> Option<Result<Box<dyn Layer>>> {
    (class == "Pipeline").then(|| finished(Pipeline::new(config, parser), config))
}

#[derive(Debug)]
struct Pipeline {
    layers: Vec<NamedLayer>,
}

impl Pipeline {
    fn new(config: &Config<'_>, parser: &mut Parser<'_>) -> Result<Self> {
        let layers: Vec<_> = config.array("layers")?.iter().map(|entry| parser.layer(entry)).collect();
        if layers.iter().any(Result::is_err) {
            // Each is among the findings.
            return Err(Reason::reported());
        }
        Ok(Self { layers: layers.into_iter().flatten().collect() })
    }
}

impl Layer for Pipeline {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let mut value = Argument::Tensor(arguments.input()?);
        let mut counts = std::collections::HashMap::new();
        for layer in &self.layers {
            let class = snake_case(&layer.class);
            let count = counts.entry(class.clone()).or_insert(0_usize);
            let folder = if *count == 0 { class } else { format!("{class}_{count}") };
            *count += 1;
            let cx = cx.nested(&[&["_pipeline_layers"], &[&folder]], &layer.name);
            value = layer.call(&cx, Arguments::new(vec![value], Vec::new()))?;
        }
        Ok(value)
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Own
    }

    fn casts_inputs(&self) -> bool {
        false
    }

    fn ignores_training(&self) -> bool {
        self.layers.iter().all(|layer| layer.layer.ignores_training())
    }
}
