//! The calls of layers in the form of Keras 3.

use serde_json::{Map, Value, json};

use crate::layers::{Argument, Arguments};
use crate::parse::{Histories, Origin};
use crate::reason::{Result, refuse};

/// A call: `{"args": […], "kwargs": {…}}`. `class` is that of the layer.
pub(super) fn call(
    arguments: &Arguments<Origin>,
    class: &str,
    rename: &dyn Fn(&Origin) -> Result<Value>,
) -> Result<Value> {
    let mut args = Vec::new();
    let mut kwargs = Map::new();
    for (key, value) in &arguments.keyword {
        let value = argument(value, rename)?;
        // Keras 3 has no such argument, or the same without it.
        let is_default = value.is_null() || (key == "training" && value == false);
        if !is_default {
            kwargs.insert(key.clone(), value);
        }
    }
    for (index, value) in arguments.positional.iter().enumerate() {
        let value = match value {
            // The states that a recurrent layer begins with.
            Some(Argument::List(items)) if index == 0 && takes_states(class) && !items.is_empty() => {
                if items.len() > 1 {
                    let states = items[1..].iter().map(|state| argument(state, rename)).collect::<Result<Vec<_>>>()?;
                    kwargs.insert("initial_state".into(), states.into());
                }
                argument(&items[0], rename)?
            }
            Some(value) => argument(value, rename)?,
            None => Value::Null,
        };
        args.push(value);
    }
    Ok(json!({"args": args, "kwargs": kwargs}))
}

/// Whether a layer takes its first states behind its input, in a list.
fn takes_states(class: &str) -> bool {
    matches!(class, "RNN" | "LSTM" | "GRU" | "SimpleRNN" | "Bidirectional") || class.starts_with("ConvLSTM")
}

/// A tensor by its history.
pub(super) fn tensor(history: Value) -> Value {
    // Keras calls the layers again, and looks at the history alone.
    let config = json!({"shape": [null], "dtype": "float32", "keras_history": history});
    json!({"class_name": "__keras_tensor__", "config": config})
}

/// An argument of a call.
pub(super) fn argument(value: &Argument<Origin>, rename: &dyn Fn(&Origin) -> Result<Value>) -> Result<Value> {
    Ok(match value {
        Argument::Tensor(origin) => tensor(rename(origin)?),
        Argument::List(items) => {
            items.iter().map(|item| argument(item, rename)).collect::<Result<Vec<_>>>().map(Value::from)?
        }
        Argument::Dict(items) => {
            let mut object = Map::new();
            for (key, item) in items {
                object.insert(key.clone(), argument(item, rename)?);
            }
            object.into()
        }
        Argument::Plain(value) => value.clone(),
        Argument::Constant(_) | Argument::Slice(_) | Argument::Ellipsis => {
            refuse!("one of its calls has an argument that cannot be converted")
        }
    })
}

/// `input_layers` or `output_layers`. A list of one is that one: Keras 3 would return a list.
pub(super) fn histories(value: &Histories, rename: &dyn Fn(&Origin) -> Result<Value>) -> Result<Value> {
    match value {
        Argument::List(items) if items.len() == 1 => nested(&items[0], rename),
        value => nested(value, rename),
    }
}

fn nested(value: &Histories, rename: &dyn Fn(&Origin) -> Result<Value>) -> Result<Value> {
    Ok(match value {
        Argument::Tensor(origin) => rename(origin)?,
        Argument::List(items) => items.iter().map(|item| nested(item, rename)).collect::<Result<Vec<_>>>()?.into(),
        Argument::Dict(items) => {
            let mut object = Map::new();
            for (key, item) in items {
                object.insert(key.clone(), nested(item, rename)?);
            }
            object.into()
        }
        _ => refuse!("its inputs or outputs are not tensors"),
    })
}
