//! How a model was compiled: optimizer, losses and metrics, as the file has them.

use serde_json::{Map, Value};

use crate::config::shown;
use crate::reason::{Result, refuse};

/// The nesting of losses and metrics in a file.
const MAX_DEPTH: usize = 16;

/// An object of Keras: a name, or a class with its config.
#[derive(Debug, Clone)]
pub(super) struct Object<'a> {
    /// The name of the class or function.
    pub(super) name: &'a str,
    /// The config; None for a name alone, or a function.
    pub(super) config: Option<&'a Map<String, Value>>,
    /// Whether it is a text in the file, which then names metrics.
    pub(super) is_text: bool,
}

impl<'a> Object<'a> {
    /// The object, if the value is one.
    pub(super) fn of(value: &'a Value) -> Option<Self> {
        let object = match value {
            Value::String(name) => return Some(Self { name, config: None, is_text: true }),
            Value::Object(object) => object,
            _ => return None,
        };
        let class = object.get("class_name")?.as_str()?;
        match object.get("config") {
            Some(Value::String(name)) => Some(Self { name, config: None, is_text: false }),
            Some(Value::Object(config)) => Some(Self { name: class, config: Some(config), is_text: false }),
            _ => None,
        }
    }

    /// The value of a key of the config; None if it is missing or null.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.config?.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn float(&self, key: &str, default: f64) -> Result<f64> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => match number(value) {
                Some(number) => Ok(number),
                None => refuse!("`{key}` of `{}` is {}, and should be a number", self.name, shown(value)),
            },
        }
    }

    /// A number, or None where the file has null or nothing.
    pub(super) fn optional_float(&self, key: &str) -> Result<Option<f64>> {
        self.get(key).map(|_| self.float(key, 0.0)).transpose()
    }

    pub(super) fn int(&self, key: &str, default: i64) -> Result<i64> {
        self.get(key).map_or(Ok(default), |value| crate::config::int(key, value))
    }

    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(value) => refuse!("`{key}` of `{}` is {}, and should be true or false", self.name, shown(value)),
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key).and_then(Value::as_str)
    }

    /// Refuses keys of the config besides these.
    pub(super) fn only(&self, keys: &[&str]) -> Result<()> {
        let Some(config) = self.config else { return Ok(()) };
        match config.iter().find(|(key, value)| !keys.contains(&key.as_str()) && !value.is_null()) {
            Some((key, value)) => refuse!("`{}` has the key `{key}` ({}), which is unknown", self.name, shown(value)),
            None => Ok(()),
        }
    }
}

/// A number, also as Keras 2 writes numpy's: `{"class_name": …, "value": 0.1}` is not one of them.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite())
}

/// An argument of `compile`: for all outputs, or in the structure of the outputs.
#[derive(Debug, Clone)]
pub(super) enum Nest<'a> {
    None,
    One(Object<'a>),
    List(Vec<Self>),
    Dict(Vec<(&'a str, Self)>),
}

impl<'a> Nest<'a> {
    pub(super) fn of(value: Option<&'a Value>) -> Result<Self> {
        value.map_or(Ok(Self::None), |value| Self::nested(value, 0))
    }

    fn nested(value: &'a Value, depth: usize) -> Result<Self> {
        if depth > MAX_DEPTH {
            refuse!("its losses or metrics are nested more than {MAX_DEPTH} deep");
        }
        if let Some(object) = Object::of(value) {
            return Ok(Self::One(object));
        }
        match value {
            Value::Null => Ok(Self::None),
            Value::Array(items) => {
                Ok(Self::List(items.iter().map(|item| Self::nested(item, depth + 1)).collect::<Result<_>>()?))
            }
            Value::Object(items) if !items.contains_key("class_name") => {
                let item = |(key, item): (&'a String, &'a Value)| Ok((key.as_str(), Self::nested(item, depth + 1)?));
                Ok(Self::Dict(items.iter().map(item).collect::<Result<_>>()?))
            }
            value => refuse!("{} is not a loss or metric that is known", shown(value)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::One(_) => false,
            Self::List(items) => items.iter().all(Self::is_empty),
            Self::Dict(items) => items.iter().all(|(_, item)| item.is_empty()),
        }
    }

    /// All objects in it.
    pub(super) fn flat(&self) -> Vec<&Object<'a>> {
        match self {
            Self::None => Vec::new(),
            Self::One(object) => vec![object],
            Self::List(items) => items.iter().flat_map(Self::flat).collect(),
            Self::Dict(items) => items.iter().flat_map(|(_, item)| item.flat()).collect(),
        }
    }
}

/// How a model was compiled.
#[derive(Debug)]
pub(super) struct Compiled<'a> {
    pub(super) optimizer: Object<'a>,
    pub(super) loss: Nest<'a>,
    pub(super) loss_weights: Option<&'a Value>,
    pub(super) metrics: Nest<'a>,
    pub(super) weighted_metrics: Nest<'a>,
}

impl<'a> Compiled<'a> {
    /// Reads `compile_config` of a `.keras` file or `training_config` of an `.h5` file.
    pub(super) fn parse(config: &'a Value) -> Result<Self> {
        let Some(config) = config.as_object() else { refuse!("its training configuration is not an object") };
        let optimizer = ["optimizer", "optimizer_config"].into_iter().find_map(|key| config.get(key));
        let Some(optimizer) = optimizer.and_then(Object::of) else {
            refuse!("the file does not name the optimizer of its model")
        };
        let get = |key: &str| config.get(key).filter(|value| !value.is_null());
        Ok(Self {
            optimizer,
            loss: Nest::of(get("loss"))?,
            loss_weights: get("loss_weights"),
            metrics: Nest::of(get("metrics"))?,
            weighted_metrics: Nest::of(get("weighted_metrics"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tells_objects_from_outputs() {
        let value = json!({
            "optimizer": {"class_name": "SGD", "config": {"learning_rate": 0.1}},
            "loss": {"a": "mse", "b": {"class_name": "Huber", "config": {"delta": 2.0}}},
            "metrics": [["mae"], null],
        });
        let compiled = Compiled::parse(&value).unwrap();
        let Nest::Dict(losses) = &compiled.loss else { panic!("{:?}", compiled.loss) };
        let Nest::One(huber) = &losses[1].1 else { panic!("{losses:?}") };
        assert_eq!((losses[0].0, huber.name, huber.float("delta", 1.0)), ("a", "Huber", Ok(2.0)));
        assert_eq!(compiled.metrics.flat().len(), 1);
    }

    #[test]
    fn refuses_deep_nests() {
        let mut value = json!("mse");
        for _ in 0..MAX_DEPTH + 2 {
            value = json!([value]);
        }
        assert!(Nest::of(Some(&value)).is_err());
    }
}
