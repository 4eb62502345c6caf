//! Activation functions.

use serde_json::Value;

use super::Context;
use crate::config::{Config, shown};
use crate::graph::TensorRef;
use crate::reason::{Result, refuse};

/// An activation function, by Keras's name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Activation {
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Linear,
    Relu,
    Sigmoid,
    Softmax,
    Tanh,
}

impl Activation {
    /// The activation in a key of a layer's config; linear if it is missing.
    pub(crate) fn of(config: &Config<'_>, key: &str) -> Result<Self> {
        config.get(key).map_or(Ok(Self { kind: Kind::Linear }), Self::parse)
    }

    /// The activation with this name, or of this object.
    pub(crate) fn parse(value: &Value) -> Result<Self> {
        let name = match value {
            Value::String(name) => Some(name.as_str()),
            // `{"class_name": "function", "config": "relu"}`
            Value::Object(object) => object.get("config").and_then(Value::as_str),
            _ => None,
        };
        let kind = match name {
            Some("linear") => Kind::Linear,
            Some("relu") => Kind::Relu,
            Some("sigmoid") => Kind::Sigmoid,
            Some("softmax") => Kind::Softmax,
            Some("tanh") => Kind::Tanh,
            _ => refuse!("its activation {} is not known", shown(value)),
        };
        Ok(Self { kind })
    }

    pub(crate) fn apply(&self, cx: &Context<'_>, x: &TensorRef) -> Result<TensorRef> {
        let g = cx.g;
        match self.kind {
            Kind::Linear => Ok(x.clone()),
            Kind::Relu => g.relu(x),
            Kind::Sigmoid => g.sigmoid(x),
            Kind::Softmax => g.softmax(x),
            Kind::Tanh => g.tanh(x),
        }
    }
}
