//! A custom layer whose recipe is given.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::Recipe;
use super::expression::{Expression, expression};
use crate::config::{Config, Dialect, size};
use crate::layers::{Argument, Arguments, Context, Layer, MaskRule, Masked, NamedLayer};
use crate::operations;
use crate::parse::Parser;
use crate::reason::{Result, refuse};

/// A layer that computes what a recipe says.
#[derive(Debug)]
pub(crate) struct RecipeLayer {
    recipe: Recipe,
    config: Map<String, Value>,
    layers: Vec<(String, NamedLayer)>,
}

impl RecipeLayer {
    pub(crate) fn new(recipe: &Recipe, config: &Config<'_>, parser: &mut Parser<'_>) -> Result<Self> {
        let mut values = Map::new();
        for key in config.keys() {
            values.insert(key.to_owned(), config.get(key).cloned().unwrap_or(Value::Null));
        }
        let mut layers = Vec::new();
        for (name, layer) in &recipe.layers {
            let mut entry = substituted(layer, &values)?;
            if let Some(Value::Object(config)) = entry.get_mut("config") {
                config.entry("name").or_insert_with(|| Value::String(name.clone()));
                config.entry("trainable").or_insert(Value::Bool(true));
            }
            layers.push((name.clone(), parser.layer(&entry)?));
        }
        Ok(Self { recipe: recipe.clone(), config: values, layers })
    }
}

/// A config with the values of the outer one: a text with `config.KEY`, such as `2 * config.units`, is computed.
fn substituted(value: &Value, config: &Map<String, Value>) -> Result<Value> {
    Ok(match value {
        Value::String(text) if text.contains("config.") => plain(&expression(text)?, config)?,
        Value::Array(items) => Value::Array(items.iter().map(|item| substituted(item, config)).collect::<Result<_>>()?),
        Value::Object(items) => {
            let item = |(key, value): (&String, &Value)| Ok((key.clone(), substituted(value, config)?));
            Value::Object(items.iter().map(item).collect::<Result<_>>()?)
        }
        plain => plain.clone(),
    })
}

/// The value of an expression over the config alone.
fn plain(expression: &Expression, config: &Map<String, Value>) -> Result<Value> {
    match expression {
        Expression::Plain(value) => Ok(value.clone()),
        Expression::Config(keys) => in_config(config, keys).cloned(),
        Expression::List(items) => {
            Ok(Value::Array(items.iter().map(|item| plain(item, config)).collect::<Result<_>>()?))
        }
        Expression::Call { name, positional, .. } if positional.len() == 2 => {
            match arithmetic(name, &plain(&positional[0], config)?, &plain(&positional[1], config)?) {
                Some(value) => Ok(value),
                None => refuse!("the config of a layer in its recipe cannot be computed with `{name}`"),
            }
        }
        _ => refuse!("the config of a layer in its recipe is computed from more than the config"),
    }
}

/// The value of a config by its keys.
fn in_config<'a>(config: &'a Map<String, Value>, keys: &[String]) -> Result<&'a Value> {
    let (first, rest) = keys.split_first().map_or(("", keys), |(first, rest)| (first.as_str(), rest));
    let value = rest.iter().fold(config.get(first), |value, key| value?.get(key));
    match value {
        Some(value) => Ok(value),
        None => refuse!("its config has no `{}`", keys.join(".")),
    }
}

/// Calls a custom function, such as an activation, with one tensor.
pub(crate) fn call_function(recipe: &Recipe, cx: &Context<'_>, x: Masked) -> Result<Argument> {
    let layer = RecipeLayer { recipe: recipe.clone(), config: Map::new(), layers: Vec::new() };
    layer.call(cx, &mut Arguments::new(vec![Argument::Tensor(x)], Vec::new()))
}

impl Layer for RecipeLayer {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let mut values: HashMap<&str, Argument> = HashMap::new();
        for (position, name) in self.recipe.inputs.iter().enumerate() {
            let given = if position == 0 { arguments.take_first() } else { None };
            if let Some(argument) = given.or_else(|| arguments.take(position, name)) {
                values.insert(name, argument);
            }
        }
        for weight in &self.recipe.weights {
            let mut shape = Vec::new();
            for expression in &weight.shape {
                match self.value(cx, &values, expression)? {
                    Argument::Plain(value) => shape.push(size(&weight.name, &value)?),
                    _ => refuse!("the shape of weight `{}` is not known", weight.name),
                }
            }
            let value = match weight.trainable {
                true => cx.weight(&weight.name, &shape)?,
                false => cx.state(&weight.name, &shape, cx.policy.variable)?,
            };
            values.insert(&weight.name, value.into());
        }
        for step in &self.recipe.steps {
            let result = self.value(cx, &values, &step.expression)?;
            match (step.names.as_slice(), result) {
                ([name], result) => {
                    values.insert(name, result);
                }
                (names, Argument::List(items)) if names.len() == items.len() => {
                    values.extend(names.iter().map(String::as_str).zip(items));
                }
                (names, _) => refuse!("a step of its recipe does not give {} results", names.len()),
            }
        }
        let results = self.recipe.returns.iter().map(|expression| self.value(cx, &values, expression));
        let mut results = results.collect::<Result<Vec<_>>>()?;
        Ok(if self.recipe.returns_list { Argument::List(results) } else { results.remove(0) })
    }

    fn mask_rule(&self) -> MaskRule {
        if self.recipe.passes_mask { MaskRule::Pass } else { MaskRule::Drop }
    }
}

impl RecipeLayer {
    fn value(&self, cx: &Context<'_>, values: &HashMap<&str, Argument>, expression: &Expression) -> Result<Argument> {
        match expression {
            Expression::Plain(value) => Ok(Argument::Plain(value.clone())),
            Expression::Name(name) => match values.get(name.as_str()) {
                Some(value) => Ok(value.clone()),
                None => refuse!("its recipe uses `{name}`, which is no input, weight or result"),
            },
            Expression::Config(keys) => Ok(Argument::Plain(in_config(&self.config, keys)?.clone())),
            Expression::Size(name, axis) => match values.get(name.as_str()) {
                Some(value) => Ok(Argument::Plain(value.tensor()?.size(*axis)?.into())),
                None => refuse!("its recipe uses `{name}`, which is no input, weight or result"),
            },
            Expression::List(items) => {
                let items = items.iter().map(|item| self.value(cx, values, item)).collect::<Result<Vec<_>>>()?;
                let plain =
                    |item: &Argument| if let Argument::Plain(value) = item { Some(value.clone()) } else { None };
                Ok(match items.iter().map(plain).collect::<Option<Vec<_>>>() {
                    Some(values) => Argument::Plain(Value::Array(values)),
                    None => Argument::List(items),
                })
            }
            Expression::Call { name, positional, keyword } => {
                let positional =
                    positional.iter().map(|item| self.value(cx, values, item)).collect::<Result<Vec<_>>>()?;
                let mut named = Vec::new();
                for (key, item) in keyword {
                    named.push((key.clone(), self.value(cx, values, item)?));
                }
                self.called(cx, name, positional, named)
            }
        }
    }

    /// The result of a layer inside it, or of an operation of `keras.ops`.
    fn called(
        &self,
        cx: &Context<'_>,
        name: &str,
        positional: Vec<Argument>,
        keyword: Vec<(String, Argument)>,
    ) -> Result<Argument> {
        if let Some((_, layer)) = self.layers.iter().find(|(inner, _)| inner == name) {
            return layer.call(&cx.child(&[name], name), Arguments::new(positional, keyword));
        }
        if let [Argument::Plain(a), Argument::Plain(b)] = positional.as_slice()
            && let Some(value) = arithmetic(name, a, b)
        {
            return Ok(Argument::Plain(value));
        }
        operation(cx, name, positional, keyword)
    }
}

/// The result of an operation of `keras.ops`.
pub(super) fn operation(
    cx: &Context<'_>,
    name: &str,
    positional: Vec<Argument>,
    keyword: Vec<(String, Argument)>,
) -> Result<Argument> {
    // Plain values by name are what the operation is made with, such as an axis.
    let mut config = Map::new();
    let mut tensors = Vec::new();
    for (key, argument) in keyword {
        match argument {
            Argument::Plain(value) => {
                config.insert(key, value);
            }
            argument => tensors.push((key, argument)),
        }
    }
    let config = Config::new(&config, Dialect::Keras3);
    let Some(operation) = operations::build(&class_of(name), None, &config) else {
        refuse!("`{name}` is neither a layer inside it nor a known operation of `keras.ops`")
    };
    let mut arguments = Arguments::new(positional, tensors);
    let result = operation?.call(cx, &mut arguments)?;
    arguments.finish()?;
    Ok(result)
}

/// The class of an operation: `log_softmax` is `LogSoftmax`.
fn class_of(function: &str) -> String {
    let words = function.split('_').map(|word| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
    });
    words.collect()
}

/// The result of arithmetic with two plain numbers.
fn arithmetic(name: &str, a: &Value, b: &Value) -> Option<Value> {
    if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
        let exact = match name {
            "add" => a.checked_add(b),
            "subtract" => a.checked_sub(b),
            "multiply" => a.checked_mul(b),
            "true_divide" if b != 0 && a % b == 0 => Some(a / b),
            _ => None,
        };
        if exact.is_some() {
            return exact.map(Value::from);
        }
    }
    let (a, b) = (a.as_f64()?, b.as_f64()?);
    Some(Value::from(match name {
        "add" => a + b,
        "subtract" => a - b,
        "multiply" => a * b,
        "true_divide" => a / b,
        _ => return None,
    }))
}
