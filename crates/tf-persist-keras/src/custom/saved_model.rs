//! A custom layer that is a signature of a SavedModel, which the user names.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use tf_persist_savedmodel::saved_model::DEFAULT_SIGNATURE;

use super::import::{Imported, Port};
use super::recipe::{passes_mask, text};
use crate::graph::{Attr, Shape, TensorRef};
use crate::layers::{Argument, Arguments, Context, Layer, MaskRule};
use crate::reason::{Result, refuse};

/// The keys of such a layer in a TOML file.
const KEYS: [&str; 4] = ["model", "signature", "inputs", "mask"];

/// A signature of a SavedModel that stands for a custom layer.
#[derive(Debug, Clone)]
pub(crate) struct SavedModelLayer {
    function: Arc<Imported>,
    /// The names of the arguments of the layer's call, if it is called with several.
    inputs: Vec<String>,
    passes_mask: bool,
}

impl SavedModelLayer {
    /// From a table of a TOML file with the key `model`, whose path is that of a folder.
    pub(super) fn read(table: &Map<String, Value>, path: &Path) -> Result<Self> {
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            refuse!("`{key}` does not go with a SavedModel as `model`, but `{}` do", KEYS[1..].join("`, `"));
        }
        let signature = text(table, "signature")?.unwrap_or_else(|| DEFAULT_SIGNATURE.to_owned());
        let function = Imported::read(path, &signature)?;
        let inputs = super::recipe::inputs(table)?;
        if inputs.len() > 1
            && let Some(name) = inputs.iter().find(|name| function.inputs.iter().all(|port| port.name != **name))
        {
            refuse!("`inputs` has `{name}`, which is no input of the signature `{signature}`");
        }
        let passes_mask = passes_mask(table)?;
        Ok(Self { function: Arc::new(function), inputs, passes_mask })
    }

    /// The argument for an input of the signature.
    fn given(&self, given: &[(String, Argument)], port: &Port) -> Result<TensorRef> {
        let argument = match given {
            [(_, Argument::Dict(items))] => items.iter().find(|(name, _)| *name == port.name).map(|(_, it)| it),
            [(_, one)] if self.function.inputs.len() == 1 => Some(one),
            given => given.iter().find(|(name, _)| *name == port.name).map(|(_, it)| it),
        };
        let Some(argument) = argument else {
            refuse!("its signature has the input `{}`: give the names of the call's arguments as `inputs`", port.name)
        };
        Ok(argument.tensor()?.tensor.clone())
    }
}

impl Layer for SavedModelLayer {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let mut given = Vec::new();
        for (position, name) in self.inputs.iter().enumerate() {
            let first = if position == 0 { arguments.take_first() } else { None };
            if let Some(argument) = first.or_else(|| arguments.take(position, name)) {
                given.push((name.clone(), argument));
            }
        }
        let g = cx.g;
        let mut inputs = Vec::new();
        for port in &self.function.inputs {
            let x = g.cast(&self.given(&given, port)?, port.dtype)?;
            if let Some(shape) = &port.shape {
                shape.merge(&x.shape)?;
            }
            inputs.push(x);
        }
        // A size that the signature leaves open is that of the input, where both have a batch.
        let batch = inputs.first().and_then(|input| input.dims().first().copied()).flatten();
        let mut outputs = Vec::new();
        for port in &self.function.outputs {
            let Some(shape) = &port.shape else { refuse!("the rank of its output `{}` is unknown", port.name) };
            let is_open = shape.dims().first() == Some(&None) && self.function.inputs[..].iter().all(has_open_batch);
            let shape: Shape = if is_open { shape.with(0, batch) } else { shape.clone() };
            outputs.push((port.dtype, shape));
        }
        let name = g.program.import(&self.function);
        let attrs = vec![
            ("Tin", Attr::Types(inputs.iter().map(|input| input.dtype).collect())),
            ("Tout", Attr::Types(outputs.iter().map(|(dtype, _)| *dtype).collect())),
            ("f", Attr::Function(name)),
        ];
        let mut results = g.add_many("StatefulPartitionedCall", &inputs.iter().collect::<Vec<_>>(), attrs, outputs)?;
        Ok(match results.len() {
            0 => refuse!("its signature has no outputs"),
            1 => results.remove(0).into(),
            _ => {
                let names = self.function.outputs.iter().map(|port| port.name.clone());
                Argument::Dict(names.zip(results.into_iter().map(Argument::from)).collect())
            }
        })
    }

    fn mask_rule(&self) -> MaskRule {
        if self.passes_mask { MaskRule::Pass } else { MaskRule::Drop }
    }

    fn casts_inputs(&self) -> bool {
        false
    }
}

fn has_open_batch(port: &Port) -> bool {
    port.shape.as_ref().is_some_and(|shape| shape.dims().first() == Some(&None))
}
