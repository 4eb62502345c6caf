//! The calls of a functional model's layers: `inbound_nodes`, `input_layers`, `output_layers`.

use serde_json::Value;

use super::argument::argument;
use crate::config::{shown, size};
use crate::layers::{Argument, Arguments};
use crate::reason::{Result, refuse};

/// Where a tensor comes from: a layer, a call of it, and an output of that call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) layer: String,
    pub(crate) call: u64,
    pub(crate) output: u64,
}

/// A nest of tensors: the inputs or outputs of a model.
pub(crate) type Histories = Argument<Origin>;

/// `["layer", call, output]`.
pub(super) fn origin(history: &Value) -> Result<Origin> {
    match history.as_array().map(Vec::as_slice) {
        Some([Value::String(layer), call, output, ..]) => {
            Ok(Origin { layer: layer.clone(), call: size("node", call)?, output: size("tensor", output)? })
        }
        _ => refuse!("{} is not the origin of a tensor", shown(history)),
    }
}

/// Whether a value is `["layer", call, output]`, perhaps with a fourth item.
fn is_origin(value: &Value) -> bool {
    matches!(value.as_array().map(Vec::as_slice), Some([Value::String(_), call, output, ..]) if call.is_u64() && output.is_u64())
}

/// `input_layers` or `output_layers`: one origin, or a list or dict of them.
pub(crate) fn histories(value: &Value) -> Result<Histories> {
    if is_origin(value) {
        return Ok(Argument::Tensor(origin(value)?));
    }
    match value {
        Value::Array(items) => Ok(Argument::List(items.iter().map(histories).collect::<Result<_>>()?)),
        Value::Object(items) => {
            let item = |(key, value): (&String, &Value)| Ok((key.clone(), histories(value)?));
            Ok(Argument::Dict(items.iter().map(item).collect::<Result<_>>()?))
        }
        _ => refuse!("{} is not the origin of a tensor", shown(value)),
    }
}

/// The calls of a layer.
pub(crate) fn inbound(nodes: Option<&Value>) -> Result<Vec<Arguments<Origin>>> {
    match nodes {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(nodes)) => nodes.iter().map(call).collect(),
        Some(value) => refuse!("`inbound_nodes` is {}, and should be a list", shown(value)),
    }
}

fn call(node: &Value) -> Result<Arguments<Origin>> {
    match node {
        Value::Object(object) if object.contains_key("args") => {
            let positional = match object.get("args").map(argument).transpose()? {
                Some(Argument::List(items)) => items,
                _ => refuse!("`args` of a node is not a list"),
            };
            let keyword = match object.get("kwargs").map(argument).transpose()? {
                Some(Argument::Dict(items)) => items,
                None => Vec::new(),
                Some(_) => refuse!("`kwargs` of a node is not an object"),
            };
            Ok(Arguments::new(positional, keyword))
        }
        legacy => legacy_call(legacy),
    }
}

/// A call as Keras 2 writes it: a nest of `["layer", call, output, {arguments}]`, or such an item alone.
fn legacy_call(node: &Value) -> Result<Arguments<Origin>> {
    let mut keyword = Vec::new();
    let inputs = legacy_inputs(node, &mut keyword)?;
    let first = match inputs {
        Argument::List(mut items) if items.len() == 1 => items.remove(0),
        inputs => inputs,
    };
    Ok(Arguments::new(vec![first], keyword))
}

fn legacy_inputs(value: &Value, keyword: &mut Vec<(String, Argument<Origin>)>) -> Result<Argument<Origin>> {
    let items = match value {
        Value::Array(items) => items,
        Value::Object(items) => {
            let mut inputs = Vec::new();
            for (key, item) in items {
                inputs.push((key.clone(), legacy_inputs(item, keyword)?));
            }
            return Ok(Argument::Dict(inputs));
        }
        _ => refuse!("{} is not an input of a layer", shown(value)),
    };
    match items.as_slice() {
        // A constant as the first argument.
        [Value::String(mark), _, constant, rest @ ..] if mark == "_CONSTANT_VALUE" => {
            legacy_keywords(rest, keyword)?;
            Ok(legacy_argument(constant)?)
        }
        [Value::String(_), _, _, rest @ ..] if is_origin(value) => {
            legacy_keywords(rest, keyword)?;
            Ok(Argument::Tensor(origin(value)?))
        }
        items => {
            let mut inputs = Vec::new();
            for item in items {
                inputs.push(legacy_inputs(item, keyword)?);
            }
            Ok(Argument::List(inputs))
        }
    }
}

fn legacy_keywords(rest: &[Value], keyword: &mut Vec<(String, Argument<Origin>)>) -> Result<()> {
    let Some(Value::Object(items)) = rest.first() else { return Ok(()) };
    for (key, value) in items {
        if keyword.iter().all(|(known, _)| known != key) {
            keyword.push((key.clone(), legacy_argument(value)?));
        }
    }
    Ok(())
}

/// An argument by name, in which `["layer", call, output]` is a tensor.
fn legacy_argument(value: &Value) -> Result<Argument<Origin>> {
    if is_origin(value) {
        return Ok(Argument::Tensor(origin(value)?));
    }
    match value {
        Value::Array(items) => Ok(Argument::List(items.iter().map(legacy_argument).collect::<Result<_>>()?)),
        plain => Ok(Argument::Plain(plain.clone())),
    }
}
