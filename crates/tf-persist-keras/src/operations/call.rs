//! A call of an operation: what it is called with, and the parameters in its config.

use serde_json::{Map, Value};
use tf_persist_savedmodel::DType;

use super::Entry;
use super::operand::Operand;
use crate::config::policy::dtype;
use crate::config::{float, int, shown, size};
use crate::graph::{Graph, TensorRef};
use crate::layers::{Argument, Arguments, Context};
use crate::reason::{Result, refuse};

/// What an operation has at hand.
///
/// A value may be an argument of the call, by position or name, or a parameter of the config: Keras has moved some from
/// one to the other.
pub(super) struct Call<'a> {
    pub(super) g: &'a Graph,
    pub(super) cx: &'a Context<'a>,
    pub(super) entry: &'static Entry,
    pub(super) arguments: &'a mut Arguments,
    pub(super) parameters: &'a Map<String, Value>,
}

impl Call<'_> {
    /// The argument or parameter with a name; `None` if it is missing or null.
    pub(super) fn take(&mut self, name: &str) -> Option<Argument> {
        let position = self.entry.arguments.split(' ').position(|argument| argument == name).unwrap_or(usize::MAX);
        self.arguments.take(position, name).or_else(|| self.parameter(name).map(argument_of))
    }

    fn required(&mut self, name: &str) -> Result<Argument> {
        match self.take(name) {
            Some(argument) => Ok(argument),
            None => refuse!("it is called without `{name}`"),
        }
    }

    /// A parameter of the config; `None` if it is missing or null.
    fn parameter(&self, name: &str) -> Option<&Value> {
        self.parameters.get(name).filter(|value| !value.is_null())
    }

    /// A plain value, from the arguments or the config.
    pub(super) fn value(&mut self, name: &str) -> Result<Option<Value>> {
        self.take(name).map(|argument| value_of(name, &argument)).transpose()
    }

    /// An operand that must be there.
    pub(super) fn operand(&mut self, name: &str) -> Result<Operand> {
        let argument = self.required(name)?;
        Operand::of(self.g, &argument)
    }

    /// An operand, if it is there.
    pub(super) fn operand_or_none(&mut self, name: &str) -> Result<Option<Operand>> {
        self.take(name).map(|argument| Operand::of(self.g, &argument)).transpose()
    }

    /// A tensor; numbers become int32 or float32.
    pub(super) fn tensor(&mut self, name: &str) -> Result<TensorRef> {
        self.operand(name)?.tensor(self.g)
    }

    /// A tensor, if it is there.
    pub(super) fn tensor_or_none(&mut self, name: &str) -> Result<Option<TensorRef>> {
        self.operand_or_none(name)?.map(|operand| operand.tensor(self.g)).transpose()
    }

    /// A list of operands.
    pub(super) fn operands(&mut self, name: &str) -> Result<Vec<Operand>> {
        match self.required(name)? {
            Argument::List(items) => items.iter().map(|item| Operand::of(self.g, item)).collect(),
            one => {
                // A tensor in place of a list is the list of its slices.
                let tensor = Operand::of(self.g, &one)?.tensor(self.g)?;
                Ok(self.g.unpack(&tensor, 0)?.into_iter().map(Operand::from).collect())
            }
        }
    }

    /// All positional arguments, for operations that take any number of them.
    pub(super) fn rest(&mut self) -> Result<Vec<Operand>> {
        let arguments = std::mem::take(&mut self.arguments.positional);
        arguments.iter().flatten().map(|argument| Operand::of(self.g, argument)).collect()
    }

    pub(super) fn int_or_none(&mut self, name: &str) -> Result<Option<i64>> {
        self.value(name)?.map(|value| int(name, &value)).transpose()
    }

    pub(super) fn int_or(&mut self, name: &str, default: i64) -> Result<i64> {
        Ok(self.int_or_none(name)?.unwrap_or(default))
    }

    pub(super) fn size(&mut self, name: &str) -> Result<u64> {
        match self.value(name)? {
            Some(value) => size(name, &value),
            None => refuse!("it has no `{name}`"),
        }
    }

    pub(super) fn bool_or(&mut self, name: &str, default: bool) -> Result<bool> {
        match self.value(name)? {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(value),
            Some(value) => refuse!("`{name}` is {}, and should be true or false", shown(&value)),
        }
    }

    pub(super) fn float_or_none(&mut self, name: &str) -> Result<Option<f64>> {
        match self.value(name)? {
            None => Ok(None),
            Some(value) => match float(&value) {
                Some(number) => Ok(Some(number)),
                None => refuse!("`{name}` is {}, and should be a number", shown(&value)),
            },
        }
    }

    pub(super) fn float_or(&mut self, name: &str, default: f64) -> Result<f64> {
        Ok(self.float_or_none(name)?.unwrap_or(default))
    }

    pub(super) fn text_or(&mut self, name: &str, default: &str) -> Result<String> {
        match self.value(name)? {
            None => Ok(default.to_owned()),
            Some(Value::String(value)) => Ok(value),
            Some(value) => refuse!("`{name}` is {}, and should be a text", shown(&value)),
        }
    }

    /// Integers in a list, or one alone.
    pub(super) fn ints_or_none(&mut self, name: &str) -> Result<Option<Vec<i64>>> {
        self.value(name)?.map(|value| ints(name, &value)).transpose()
    }

    pub(super) fn ints(&mut self, name: &str) -> Result<Vec<i64>> {
        match self.ints_or_none(name)? {
            Some(values) => Ok(values),
            None => refuse!("it has no `{name}`"),
        }
    }

    /// The axes of a reduction: all of them if none are given.
    pub(super) fn axes(&mut self, name: &str, rank: usize) -> Result<Vec<i64>> {
        Ok(self.ints_or_none(name)?.unwrap_or_else(|| all_axes(rank)))
    }

    /// The parameter `axis`: the last one if it is missing, `None` if it is null, which means all axes.
    pub(super) fn axis_or_all(&mut self) -> Result<Option<i64>> {
        let is_null = self.parameters.get("axis").is_some_and(Value::is_null);
        let axis = self.int_or_none("axis")?;
        Ok(if is_null { axis } else { Some(axis.unwrap_or(-1)) })
    }

    /// Whether the channels come before the other dimensions.
    pub(super) fn channels_first(&mut self) -> Result<bool> {
        match self.text_or("data_format", "channels_last")?.as_str() {
            "channels_last" => Ok(false),
            "channels_first" => Ok(true),
            other => refuse!(
                "`data_format` is `{}`, and should be `channels_last` or `channels_first`",
                other.escape_debug()
            ),
        }
    }

    /// A dtype by its name.
    pub(super) fn dtype_or_none(&mut self, name: &str) -> Result<Option<DType>> {
        match self.value(name)? {
            None => Ok(None),
            Some(Value::String(name)) => dtype(&name).map(Some),
            Some(value) => refuse!("`{name}` is {}, and should be a dtype", shown(&value)),
        }
    }
}

/// All axes of a tensor.
pub(super) fn all_axes(rank: usize) -> Vec<i64> {
    (0..rank as i64).collect()
}

/// Integers in a list, or one alone.
pub(super) fn ints(name: &str, value: &Value) -> Result<Vec<i64>> {
    match value {
        Value::Array(items) => items.iter().map(|item| int(name, item)).collect(),
        value => Ok(vec![int(name, value)?]),
    }
}

/// A value of a config as an argument.
fn argument_of(value: &Value) -> Argument {
    match value {
        Value::Array(items) => Argument::List(items.iter().map(argument_of).collect()),
        value => Argument::Plain(value.clone()),
    }
}

/// An argument as a value.
fn value_of(name: &str, argument: &Argument) -> Result<Value> {
    Ok(match argument {
        Argument::Plain(value) => value.clone(),
        Argument::List(items) => Value::Array(items.iter().map(|item| value_of(name, item)).collect::<Result<_>>()?),
        Argument::Constant(tensor) => constant_value(name, tensor)?,
        _ => refuse!("`{name}` is not known when the model is converted, and must be"),
    })
}

/// The numbers of a constant.
fn constant_value(name: &str, tensor: &tf_persist_savedmodel::Tensor) -> Result<Value> {
    let values: Vec<Value> = match tensor.dtype() {
        DType::Int32 => tensor.view::<i32>()?.iter().map(|it| Value::from(*it)).collect(),
        DType::Int64 => tensor.view::<i64>()?.iter().map(|it| Value::from(*it)).collect(),
        DType::Float32 => tensor.view::<f32>()?.iter().map(|it| Value::from(*it)).collect(),
        DType::Float64 => tensor.view::<f64>()?.iter().map(|it| Value::from(*it)).collect(),
        DType::Bool => tensor.view::<bool>()?.iter().map(|it| Value::from(*it)).collect(),
        dtype => refuse!("`{name}` is a constant of {dtype}, which is not supported here"),
    };
    match (tensor.shape(), values.as_slice()) {
        ([], [one]) => Ok(one.clone()),
        ([_], _) => Ok(Value::Array(values)),
        (shape, _) => refuse!("`{name}` is a constant of rank {}, and should be a list", shape.len()),
    }
}
