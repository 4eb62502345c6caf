//! The configuration of a layer, as Keras writes it in JSON.
//!
//! Every key is read, known to have no effect, or refused: [`Config::finish`] names the others.

pub(crate) mod policy;

use std::cell::RefCell;

use serde_json::{Map, Value};

pub(crate) use policy::{Policy, Quantization};

use crate::custom::{CustomObjects, Recipe};
use crate::reason::{Result, refuse};

/// Which Keras wrote a file. Its numbers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Keras 2, `tf_keras`.
    Keras2,
    Keras3,
}

/// What is wrong with keys that nothing read.
pub(crate) const UNKNOWN_KEYS: &str = "unknown for this class";

/// The keys of every layer that have no effect on what it computes, or that the reader of layers reads.
const OF_EVERY_LAYER: &[&str] =
    &["name", "trainable", "dtype", "batch_input_shape", "batch_shape", "activity_regularizer", "autocast"];

/// The configuration of one layer.
#[derive(Debug)]
pub(crate) struct Config<'a> {
    object: &'a Map<String, Value>,
    pub(crate) dialect: Dialect,
    custom: Option<&'a CustomObjects>,
    read: RefCell<Vec<&'a str>>,
}

impl<'a> Config<'a> {
    pub(crate) fn new(object: &'a Map<String, Value>, dialect: Dialect) -> Self {
        Self { object, dialect, custom: None, read: RefCell::default() }
    }

    pub(crate) fn with_custom(self, custom: &'a CustomObjects) -> Self {
        Self { custom: Some(custom), ..self }
    }

    /// The recipe of a custom function, if one is given.
    pub(crate) fn custom_function(&self, name: &str) -> Option<&'a Recipe> {
        self.custom?.function(name)
    }

    /// The keys, in order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.object.keys().map(String::as_str)
    }

    pub(crate) fn is_keras2(&self) -> bool {
        self.dialect == Dialect::Keras2
    }

    /// The value of a key; `None` if it is missing or null.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        let (key, value) = self.object.get_key_value(key)?;
        self.read.borrow_mut().push(key);
        Some(value).filter(|value| !value.is_null())
    }

    /// Whether the key is there, null or not.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.object.contains_key(key)
    }

    pub(crate) fn required(&self, key: &str) -> Result<&'a Value> {
        match self.get(key) {
            Some(value) => Ok(value),
            None => refuse!("its config has no `{key}`"),
        }
    }

    /// Keys that change nothing at inference or that are read elsewhere.
    pub(crate) fn without_effect(&self, keys: &[&str]) {
        for key in keys {
            if let Some((key, _)) = self.object.get_key_value(*key) {
                self.read.borrow_mut().push(key);
            }
        }
    }

    /// Initializers, regularizers and constraints of a weight, such as `kernel`.
    pub(crate) fn weight_rules(&self, weights: &[&str]) {
        for weight in weights {
            for rule in ["initializer", "regularizer", "constraint"] {
                self.without_effect(&[&format!("{weight}_{rule}")]);
            }
        }
    }

    /// Refuses a value other than null, false and those given.
    pub(crate) fn only(&self, key: &str, allowed: &[Value]) -> Result<()> {
        match self.get(key) {
            Some(value) if *value != Value::Bool(false) && !allowed.contains(value) => {
                refuse!("`{key}` is {}, which is not supported", shown(value))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn bool_or(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(value) => refuse!("`{key}` is {}, and should be true or false", shown(value)),
        }
    }

    pub(crate) fn str_or(&self, key: &str, default: &'a str) -> Result<&'a str> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::String(value)) => Ok(value),
            Some(value) => refuse!("`{key}` is {}, and should be a text", shown(value)),
        }
    }

    pub(crate) fn str(&self, key: &str) -> Result<&'a str> {
        self.required(key)?;
        self.str_or(key, "")
    }

    pub(crate) fn int(&self, key: &str) -> Result<i64> {
        int(key, self.required(key)?)
    }

    pub(crate) fn int_or(&self, key: &str, default: i64) -> Result<i64> {
        self.get(key).map_or(Ok(default), |value| int(key, value))
    }

    /// A size: an integer from 0 on.
    pub(crate) fn size(&self, key: &str) -> Result<u64> {
        size(key, self.required(key)?)
    }

    pub(crate) fn size_or(&self, key: &str, default: u64) -> Result<u64> {
        self.get(key).map_or(Ok(default), |value| size(key, value))
    }

    pub(crate) fn float_or(&self, key: &str, default: f64) -> Result<f64> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => match float(value) {
                Some(number) => Ok(number),
                None => refuse!("`{key}` is {}, and should be a number", shown(value)),
            },
        }
    }

    /// An integer, or a list of integers.
    pub(crate) fn ints(&self, key: &str) -> Result<Vec<i64>> {
        match self.required(key)? {
            Value::Array(items) => items.iter().map(|item| int(key, item)).collect(),
            value => Ok(vec![int(key, value)?]),
        }
    }

    /// `N` sizes, or one for all.
    pub(crate) fn sizes<const N: usize>(&self, key: &str, default: u64) -> Result<[u64; N]> {
        match self.get(key) {
            None => Ok([default; N]),
            Some(Value::Array(items)) => {
                let sizes = items.iter().map(|item| size(key, item)).collect::<Result<Vec<_>>>()?;
                match (<[u64; N]>::try_from(sizes.as_slice()), sizes.as_slice()) {
                    (Ok(sizes), _) => Ok(sizes),
                    (_, [one]) => Ok([*one; N]),
                    _ => refuse!("`{key}` has {} sizes, and should have {N}", sizes.len()),
                }
            }
            Some(value) => Ok([size(key, value)?; N]),
        }
    }

    pub(crate) fn floats(&self, key: &str) -> Result<Vec<f64>> {
        let float = |value: &Value| match float(value) {
            Some(number) => Ok(number),
            None => refuse!("`{key}` is {}, and should be numbers", shown(value)),
        };
        match self.required(key)? {
            Value::Array(items) => items.iter().map(float).collect(),
            value => Ok(vec![float(value)?]),
        }
    }

    pub(crate) fn array(&self, key: &str) -> Result<&'a [Value]> {
        match self.required(key)? {
            Value::Array(items) => Ok(items),
            value => refuse!("`{key}` is {}, and should be a list", shown(value)),
        }
    }

    /// Whether the channels come before the other dimensions (`data_format`).
    pub(crate) fn channels_first(&self) -> Result<bool> {
        match self.str_or("data_format", "channels_last")? {
            "channels_last" => Ok(false),
            "channels_first" => Ok(true),
            other => refuse!("`data_format` is `{other}`, and should be `channels_last` or `channels_first`"),
        }
    }

    /// Refuses keys that nothing read.
    pub(crate) fn finish(&self) -> Result<()> {
        self.without_effect(OF_EVERY_LAYER);
        let read = self.read.borrow();
        let unread: Vec<String> =
            self.object.keys().filter(|key| !read.contains(&key.as_str())).map(|key| format!("`{key}`")).collect();
        match unread.as_slice() {
            [] => Ok(()),
            [key] => refuse!("its config has the key {key}, which is {UNKNOWN_KEYS}"),
            keys => refuse!("its config has the keys {}, which are {UNKNOWN_KEYS}", keys.join(", ")),
        }
    }
}

pub(crate) fn int(key: &str, value: &Value) -> Result<i64> {
    match value
        .as_i64()
        .or_else(|| value.as_f64().filter(|it| it.fract() == 0.0 && it.abs() < 9e15).map(|it| it as i64))
    {
        Some(number) => Ok(number),
        None => refuse!("`{key}` is {}, and should be an integer", shown(value)),
    }
}

/// A number. Those that JSON does not have are strings.
pub(crate) fn float(value: &Value) -> Option<f64> {
    match value {
        Value::String(name) => match name.as_str() {
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            "NaN" => Some(f64::NAN),
            _ => None,
        },
        value => value.as_f64(),
    }
}

pub(crate) fn size(key: &str, value: &Value) -> Result<u64> {
    match u64::try_from(int(key, value)?) {
        Ok(size) if size <= i64::MAX as u64 / 2 => Ok(size),
        _ => refuse!("`{key}` is {}, and should be a size", shown(value)),
    }
}

/// A value for a message, cut to a readable length.
pub(crate) fn shown(value: &Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}
