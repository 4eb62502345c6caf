//! `Functional`: a graph of calls of layers.

use std::collections::HashMap;

use serde_json::Value;

use super::{InputSpec, Model, as_input, call, contexts};
use crate::config::{Config, Dialect};
use crate::layers::{Argument, Arguments, Context, Layer, MaskRule, Masked, NamedLayer};
use crate::parse::{Histories, Origin, Parser, histories, inbound};
use crate::reason::{Reason, Result, refuse, shown_name};

/// A model with calls of layers, whose arguments are results of other calls.
#[derive(Debug)]
pub(super) struct Functional {
    layers: Vec<NamedLayer>,
    /// Each after the calls whose results it takes.
    calls: Vec<Call>,
    inputs: Argument<usize>,
    outputs: Argument<Source>,
}

/// A call of a layer.
#[derive(Debug)]
struct Call {
    layer: usize,
    arguments: Arguments<Source>,
}

/// Where a tensor comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    /// The layer of an input.
    Input(usize),
    /// A result of a call, and its index in it.
    Result(usize, u64),
}

impl Functional {
    pub(super) fn new(config: &Config<'_>, parser: &mut Parser<'_>) -> Result<Self> {
        config.without_effect(&["build_config", "build_input_shape"]);
        let entries = config.array("layers")?;
        let inputs = histories(config.required("input_layers")?)?;
        let outputs = histories(config.required("output_layers")?)?;
        let (mut layers, mut nodes, mut failed) = (Vec::new(), Vec::new(), false);
        for entry in entries {
            match parser.layer(entry) {
                Ok(mut layer) => {
                    if let Some(name) = entry.get("name").and_then(Value::as_str) {
                        name.clone_into(&mut layer.name);
                    }
                    layers.push(layer);
                    nodes.push(inbound(entry.get("inbound_nodes"))?);
                }
                Err(reason) if reason.is_reported() => failed = true,
                Err(reason) => return Err(reason),
            }
        }
        if failed {
            return Err(Reason::reported());
        }
        Wiring::new(layers, nodes, parser.dialect)?.functional(&inputs, &outputs)
    }
}

/// The calls of a model before they are in order.
struct Wiring {
    layers: Vec<NamedLayer>,
    by_name: HashMap<String, usize>,
    /// Of each layer, the indices of its calls among `calls`.
    calls_of: Vec<Vec<usize>>,
    calls: Vec<(usize, Arguments<Origin>)>,
    dialect: Dialect,
}

impl Wiring {
    fn new(layers: Vec<NamedLayer>, nodes: Vec<Vec<Arguments<Origin>>>, dialect: Dialect) -> Result<Self> {
        let mut by_name = HashMap::new();
        for (index, layer) in layers.iter().enumerate() {
            if by_name.insert(layer.name.clone(), index).is_some() {
                refuse!("it has two layers `{}`", shown_name(&layer.name));
            }
        }
        let (mut calls_of, mut calls) = (Vec::new(), Vec::new());
        for (layer, nodes) in nodes.into_iter().enumerate() {
            calls_of.push((calls.len()..calls.len() + nodes.len()).collect());
            calls.extend(nodes.into_iter().map(|arguments| (layer, arguments)));
        }
        Ok(Self { layers, by_name, calls_of, calls, dialect })
    }

    /// The source that an origin names. Keras counts the calls of a nested model from 1 in places: in files of Keras 2
    /// everywhere, in those of Keras 3 in `output_layers` if the model is functional.
    fn source(&self, origin: &Origin, in_outputs: bool) -> Result<Source> {
        let name = || shown_name(&origin.layer);
        let Some(&layer) = self.by_name.get(&origin.layer) else { refuse!("there is no layer `{}`", name()) };
        if self.layers[layer].layer.input().is_some() {
            return Ok(Source::Input(layer));
        }
        let model = self.layers[layer].layer.as_model();
        let from_one = match self.dialect {
            Dialect::Keras2 => model.is_some(),
            Dialect::Keras3 => in_outputs && model.is_some_and(Model::counts_own_call),
        };
        let calls = &self.calls_of[layer];
        let number = usize::try_from(origin.call).ok().and_then(|call| call.checked_sub(usize::from(from_one)));
        match number.and_then(|number| calls.get(number)) {
            Some(call) => Ok(Source::Result(*call, origin.output)),
            None => refuse!("layer `{}` has {} calls, and number {} is used", name(), calls.len(), origin.call),
        }
    }

    fn functional(self, inputs: &Histories, outputs: &Histories) -> Result<Functional> {
        let inputs = inputs.map(&mut |origin: &Origin| match self.source(origin, false)? {
            Source::Input(layer) => Ok(layer),
            Source::Result(..) => refuse!("`{}` is no input layer", shown_name(&origin.layer)),
        })?;
        let outputs = outputs.map(&mut |origin: &Origin| self.source(origin, true))?;
        let mut calls = Vec::new();
        for (layer, arguments) in &self.calls {
            let arguments = arguments.map(&mut |origin: &Origin| self.source(origin, false))?;
            calls.push(Call { layer: *layer, arguments });
        }
        let (calls, new_index) = sorted(calls)?;
        let renumber = |source: &Source| match *source {
            Source::Result(call, output) => Source::Result(new_index[call], output),
            input => input,
        };
        let mut renumbered = Vec::new();
        for call in calls {
            let arguments = call.arguments.map(&mut |source: &Source| Ok(renumber(source)))?;
            renumbered.push(Call { arguments, ..call });
        }
        let outputs = outputs.map(&mut |source: &Source| Ok(renumber(source)))?;
        Ok(Functional { layers: self.layers, calls: renumbered, inputs, outputs })
    }
}

/// The calls in an order in which each comes after those whose results it takes, and the new index of each.
fn sorted(calls: Vec<Call>) -> Result<(Vec<Call>, Vec<usize>)> {
    let before = |call: &Call| {
        let sources = call.arguments.tensors().into_iter();
        let calls = sources.filter_map(|source| if let Source::Result(call, _) = source { Some(*call) } else { None });
        calls.collect::<Vec<usize>>()
    };
    let mut waits: Vec<usize> = Vec::new();
    let mut followers = vec![Vec::new(); calls.len()];
    for (index, call) in calls.iter().enumerate() {
        let before = before(call);
        waits.push(before.len());
        before.into_iter().for_each(|other| followers[other].push(index));
    }
    // The earliest call of the file that can run is next.
    let mut ready: std::collections::BTreeSet<usize> = (0..calls.len()).filter(|index| waits[*index] == 0).collect();
    let (mut order, mut new_index) = (Vec::new(), vec![0; calls.len()]);
    while let Some(index) = ready.pop_first() {
        new_index[index] = order.len();
        order.push(index);
        for follower in &followers[index] {
            waits[*follower] -= 1;
            if waits[*follower] == 0 {
                ready.insert(*follower);
            }
        }
    }
    if order.len() != calls.len() {
        refuse!("its calls depend on each other in a circle");
    }
    let mut calls: Vec<Option<Call>> = calls.into_iter().map(Some).collect();
    let calls = order.iter().filter_map(|index| calls[*index].take()).collect();
    Ok((calls, new_index))
}

impl Functional {
    /// The tensors that are given for the inputs, by layer.
    fn bind(&self, cx: &Context<'_>, given: &Argument) -> Result<HashMap<usize, Masked>> {
        let layers = self.inputs.tensors();
        let tensors: Vec<&Masked> = match (&self.inputs, given) {
            (Argument::Dict(inputs), Argument::Dict(items)) => {
                let mut tensors = Vec::new();
                for (key, _) in inputs {
                    let Some((_, item)) = items.iter().find(|(name, _)| name == key) else {
                        refuse!("it is called without `{}`", shown_name(key))
                    };
                    tensors.push(item.tensor()?);
                }
                tensors
            }
            // Inputs in a list or alone may be given by the names of their layers.
            (_, Argument::Dict(items)) if items.len() == layers.len() => {
                let named = |layer: &&usize| items.iter().find(|(name, _)| *name == self.layers[**layer].name);
                match layers.iter().map(named).collect::<Option<Vec<_>>>() {
                    Some(items) => items.into_iter().map(|(_, item)| item.tensor()).collect::<Result<_>>()?,
                    None => given.tensors(),
                }
            }
            _ => given.tensors(),
        };
        if tensors.len() != layers.len() {
            refuse!("it has {} inputs, and is called with {}", layers.len(), tensors.len());
        }
        let mut bound = HashMap::new();
        for (layer, tensor) in layers.into_iter().zip(tensors) {
            if let Some(spec) = self.layers[*layer].layer.input() {
                bound.insert(*layer, as_input(cx, tensor, spec)?);
            }
        }
        Ok(bound)
    }
}

impl Layer for Functional {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let Some(given) = arguments.take_first() else { refuse!("it is called without inputs") };
        let inputs = self.bind(cx, &given)?;
        let contexts = contexts(cx, &self.layers)?;
        let mut results: Vec<Argument> = Vec::new();
        let find = |results: &[Argument], source: &Source| -> Result<Masked> {
            match *source {
                Source::Input(layer) => match inputs.get(&layer) {
                    Some(tensor) => Ok(tensor.clone()),
                    None => refuse!("`{}` is not among its inputs", shown_name(&self.layers[layer].name)),
                },
                Source::Result(call, output) => {
                    let tensors = results.get(call).map(Argument::tensors).unwrap_or_default();
                    match usize::try_from(output).ok().and_then(|output| tensors.get(output).copied()) {
                        Some(tensor) => Ok(tensor.clone()),
                        None => refuse!("output {output} of a layer is used, which has {}", tensors.len()),
                    }
                }
            }
        };
        for next in &self.calls {
            let arguments = next.arguments.map(&mut |source: &Source| find(&results, source))?;
            results.push(call(&contexts[next.layer], &self.layers[next.layer], arguments)?);
        }
        let outputs = self.outputs.map(&mut |source: &Source| find(&results, source))?;
        Ok(match outputs {
            Argument::List(mut items) if items.len() == 1 => items.remove(0),
            outputs => outputs,
        })
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

impl Model for Functional {
    fn inputs(&self) -> Vec<(&str, &InputSpec)> {
        let keys: Vec<&str> = match &self.inputs {
            Argument::Dict(items) => items.iter().map(|(key, _)| key.as_str()).collect(),
            inputs => inputs.tensors().into_iter().map(|layer| self.layers[*layer].name.as_str()).collect(),
        };
        let specs = self.inputs.tensors().into_iter().filter_map(|layer| self.layers[*layer].layer.input());
        keys.into_iter().zip(specs).collect()
    }

    fn takes_dict(&self) -> bool {
        matches!(self.inputs, Argument::Dict(_))
    }

    fn output_keys(&self) -> Option<Vec<&str>> {
        match &self.outputs {
            Argument::Dict(items) => Some(items.iter().map(|(key, _)| key.as_str()).collect()),
            _ => None,
        }
    }

    fn output_names(&self) -> Vec<String> {
        let layer = |source: &Source| match *source {
            Source::Input(layer) => layer,
            Source::Result(call, _) => self.calls[call].layer,
        };
        self.outputs.tensors().into_iter().map(|source| self.layers[layer(source)].name.clone()).collect()
    }

    fn layers(&self) -> Vec<&NamedLayer> {
        self.layers.iter().collect()
    }

    fn counts_own_call(&self) -> bool {
        true
    }
}
