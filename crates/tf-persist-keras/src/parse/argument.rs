//! Arguments of calls, as Keras 3 writes them.

use serde_json::Value;
use tf_persist_savedmodel::{DType, Tensor};

use super::Origin;
use super::nodes::origin;
use crate::config::policy::dtype;
use crate::config::{int, shown};
use crate::layers::Argument;
use crate::reason::{Result, refuse};

/// The nesting of arguments. serde_json itself stops at 128.
const MAX_DEPTH: usize = 100;

/// The most elements of a constant in a config.
const MAX_ELEMENTS: usize = 1 << 24;

/// Reads an argument.
pub(super) fn argument(value: &Value) -> Result<Argument<Origin>> {
    let Value::Object(object) = value else {
        return Ok(match value {
            Value::Array(items) => Argument::List(items.iter().map(argument).collect::<Result<_>>()?),
            plain => Argument::Plain(plain.clone()),
        });
    };
    let Some(class) = object.get("class_name").and_then(Value::as_str) else {
        let item = |(key, value): (&String, &Value)| Ok((key.clone(), argument(value)?));
        return Ok(Argument::Dict(object.iter().map(item).collect::<Result<_>>()?));
    };
    let config = object.get("config").unwrap_or(&Value::Null);
    Ok(match class {
        "__keras_tensor__" => match config.get("keras_history") {
            Some(history) => Argument::Tensor(origin(history)?),
            None => refuse!("a tensor has no `keras_history`"),
        },
        "__slice__" => {
            let bound = |key: &str| match config.get(key) {
                None | Some(Value::Null) => Ok(None),
                Some(value) => int(key, value).map(Some),
            };
            Argument::Slice([bound("start")?, bound("stop")?, bound("step")?])
        }
        "__ellipsis__" => Argument::Ellipsis,
        "__tensor__" | "__numpy__" => {
            let name = config.get("dtype").and_then(Value::as_str).unwrap_or_default();
            Argument::Constant(constant(config.get("value").unwrap_or(&Value::Null), dtype(name)?)?)
        }
        "__tuple__" => argument(config.get("value").or_else(|| config.get("items")).unwrap_or(config))?,
        _ => Argument::Plain(value.clone()),
    })
}

/// A tensor from nested lists of numbers.
pub(crate) fn constant(value: &Value, dtype: DType) -> Result<Tensor> {
    let mut shape = Vec::new();
    let mut inner = value;
    while let Value::Array(items) = inner {
        shape.push(items.len());
        let Some(first) = items.first() else { break };
        if shape.len() > MAX_DEPTH {
            refuse!("a constant is nested more than {MAX_DEPTH} deep");
        }
        inner = first;
    }
    let mut numbers = Vec::new();
    flatten(value, &shape, &mut numbers)?;
    let tensor = Tensor::from_slice(&[numbers.len()], &numbers)?;
    let tensor = if dtype == DType::Float64 { tensor } else { narrowed(&numbers, dtype)? };
    Ok(tensor.reshape(&shape)?)
}

fn flatten(value: &Value, shape: &[usize], numbers: &mut Vec<f64>) -> Result<()> {
    match (value, shape) {
        (Value::Array(items), [size, rest @ ..]) if items.len() == *size => {
            items.iter().try_for_each(|item| flatten(item, rest, numbers))
        }
        (value, []) if numbers.len() < MAX_ELEMENTS => {
            let number = match value {
                Value::Bool(value) => Some(f64::from(u8::from(*value))),
                value => value.as_f64(),
            };
            let Some(number) = number else { refuse!("the constant {} is not a number", shown(value)) };
            numbers.push(number);
            Ok(())
        }
        _ => refuse!("a constant has rows of different lengths, or is too large"),
    }
}

/// The numbers in a dtype.
fn narrowed(numbers: &[f64], dtype: DType) -> Result<Tensor> {
    let shape = [numbers.len()];
    macro_rules! as_type {
        ($($dtype:ident $type:ty),*) => {
            match dtype {
                $(DType::$dtype => Tensor::from_slice(&shape, &numbers.iter().map(|it| *it as $type).collect::<Vec<_>>())?,)*
                DType::Bool => Tensor::from_slice(&shape, &numbers.iter().map(|it| *it != 0.0).collect::<Vec<_>>())?,
                DType::Float16 => {
                    let halves: Vec<_> = numbers.iter().map(|it| half::f16::from_f64(*it)).collect();
                    Tensor::from_slice(&shape, &halves)?
                }
                DType::BFloat16 => {
                    let halves: Vec<_> = numbers.iter().map(|it| half::bf16::from_f64(*it)).collect();
                    Tensor::from_slice(&shape, &halves)?
                }
                _ => refuse!("a constant of dtype {dtype} is not supported"),
            }
        };
    }
    Ok(as_type!(
        Float32 f32, Float64 f64, Int8 i8, Int16 i16, Int32 i32, Int64 i64, UInt8 u8, UInt16 u16, UInt32 u32, UInt64 u64
    ))
}
