//! Activation functions: by name, or a layer in the place of a function.

pub(crate) mod function;
pub(crate) mod softmax;

use std::sync::Arc;

use serde_json::Value;

pub(crate) use function::Function;

use super::{Arguments, Context, NamedLayer};
use crate::config::{Config, Dialect, shown};
use crate::custom::{Recipe, call_function, toml_key};
use crate::graph::TensorRef;
use crate::parse::Parser;
use crate::reason::{Reason, Result, refuse};

/// What a layer applies to its result.
#[derive(Debug, Clone)]
pub(crate) struct Activation {
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Function(Function),
    /// A layer, and the key of the config that holds it, which names the folder of its variables.
    Layer(Arc<NamedLayer>, String),
    /// A custom function, whose recipe is given.
    Custom(Arc<Recipe>),
}

impl Activation {
    /// The activation in a key of a layer's config; linear if it is missing.
    pub(crate) fn of(config: &Config<'_>, key: &str) -> Result<Self> {
        let Some(value) = config.get(key) else { return Ok(Function::Linear.into()) };
        let name = value.as_str().or_else(|| value.get("config").and_then(Value::as_str));
        if let Some(recipe) = name.and_then(|name| config.custom_function(name)) {
            return Ok(Self { kind: Kind::Custom(Arc::new(recipe.clone())) });
        }
        Self::parse(value, key, config.dialect)
    }

    /// The activation with this name, or of this object.
    fn parse(value: &Value, key: &str, dialect: Dialect) -> Result<Self> {
        let class = value.get("class_name").and_then(Value::as_str);
        let name = match (value, class) {
            (Value::String(name), _) => name,
            (Value::Object(object), Some("function")) => match object.get("config") {
                Some(Value::String(name)) => name,
                _ => refuse!("its activation {} is not known", shown(value)),
            },
            (Value::Object(_), Some(_)) => return Self::of_layer(value, key, dialect),
            _ => refuse!("its activation {} is not known", shown(value)),
        };
        if let Some(function) = Function::named(name) {
            return Ok(function.into());
        }
        // Keras 2 takes the names of its activation layers, too.
        const LAYERS: [&str; 6] = ["ReLU", "LeakyReLU", "PReLU", "ELU", "ThresholdedReLU", "Softmax"];
        if dialect == Dialect::Keras2 && LAYERS.contains(&name.as_str()) {
            let layer = serde_json::json!({"class_name": name, "config": {"name": name, "trainable": true}});
            return Self::of_layer(&layer, key, dialect);
        }
        refuse!("its activation {} is not known; give a recipe for it as `functions.{}`", shown(value), toml_key(name))
    }

    /// A layer in the place of a function.
    fn of_layer(value: &Value, key: &str, dialect: Dialect) -> Result<Self> {
        let mut parser = Parser::new(dialect);
        match parser.layer(value) {
            Ok(layer) => Ok(Self { kind: Kind::Layer(Arc::new(layer), key.to_owned()) }),
            Err(reason) => {
                let reason = parser.findings().first().map_or(reason.to_string(), |finding| finding.reason.clone());
                Err(Reason::new(format!("its activation {} cannot be used: {reason}", shown(value))))
            }
        }
    }

    /// Whether it is this function, with Keras's defaults.
    pub(crate) fn is(&self, function: &Function) -> bool {
        matches!(&self.kind, Kind::Function(own) if own == function)
    }

    pub(crate) fn apply(&self, cx: &Context<'_>, x: &TensorRef) -> Result<TensorRef> {
        match &self.kind {
            Kind::Function(function) => function.apply(cx.g, cx.dialect, x),
            Kind::Custom(recipe) => Ok(call_function(recipe, cx, x.clone().into())?.tensor()?.tensor.clone()),
            Kind::Layer(layer, key) => {
                let arguments = Arguments::new(vec![x.clone().into()], Vec::new());
                let result = layer.call(&cx.child(&[key], &layer.name), arguments)?;
                Ok(result.tensor()?.tensor.clone())
            }
        }
    }
}

impl From<Function> for Activation {
    fn from(function: Function) -> Self {
        Self { kind: Kind::Function(function) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(value: &Value, dialect: Dialect) -> Result<Activation> {
        Activation::parse(value, "activation", dialect)
    }

    #[test]
    fn names_and_objects_are_read() {
        let silu = Function::named("silu").unwrap();
        for value in [json!("swish"), json!({"class_name": "function", "config": "silu", "module": "builtins"})] {
            assert!(parse(&value, Dialect::Keras3).unwrap().is(&silu));
        }
    }

    #[test]
    fn unknown_names_are_refused_by_name() {
        let reason = |value: Value, dialect| parse(&value, dialect).unwrap_err().to_string();
        assert_eq!(
            reason(json!("frob"), Dialect::Keras3),
            "its activation `\"frob\"` is not known; give a recipe for it as `functions.frob`"
        );
        let registered = reason(json!("my_package>cubed"), Dialect::Keras3);
        assert!(registered.ends_with("as `functions.\"my_package>cubed\"`"), "{registered}");
        assert_eq!(
            reason(json!("LeakyReLU"), Dialect::Keras3),
            "its activation `\"LeakyReLU\"` is not known; give a recipe for it as `functions.LeakyReLU`"
        );
        assert_eq!(reason(json!(3), Dialect::Keras2), "its activation `3` is not known");
        let custom = reason(json!({"class_name": "Mine", "config": {}}), Dialect::Keras3);
        assert!(custom.contains("`{\"class_name\":\"Mine\",\"config\":{}}`"), "{custom}");
    }
}
