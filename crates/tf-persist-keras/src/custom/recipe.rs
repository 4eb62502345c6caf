//! A recipe, as a TOML file has it.

use serde_json::{Map, Value};

use super::expression::{Expression, Step, expression, step};
use crate::config::shown;
use crate::reason::{Result, refuse};

/// What a custom layer or function computes.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    /// The names of the arguments.
    pub(crate) inputs: Vec<String>,
    pub(crate) weights: Vec<WeightRecipe>,
    /// The layers inside it by name: `class_name` and `config`, in which a text `config.KEY` stands for a value of the
    /// outer config.
    pub(crate) layers: Vec<(String, Value)>,
    pub(crate) steps: Vec<Step>,
    pub(crate) returns: Vec<Expression>,
    /// Whether it returns a list, even of one tensor.
    pub(crate) returns_list: bool,
    /// Whether results have the mask of the first input.
    pub(crate) passes_mask: bool,
}

/// A variable of a custom layer.
#[derive(Debug, Clone)]
pub(crate) struct WeightRecipe {
    pub(crate) name: String,
    pub(crate) shape: Vec<Expression>,
    pub(crate) trainable: bool,
}

impl Recipe {
    pub(crate) fn read(value: &Value) -> Result<Self> {
        let Value::Object(table) = value else { refuse!("it is not a table") };
        const KEYS: [&str; 6] = ["inputs", "weights", "layers", "steps", "returns", "mask"];
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            refuse!("`{key}` is not one of its keys, which are `{}`", KEYS.join("`, `"));
        }
        let steps = texts(table, "steps")?.iter().map(|text| step(text)).collect::<Result<Vec<_>>>()?;
        let inputs = inputs(table)?;
        let returns = match table.get("returns") {
            None => match steps.last() {
                Some(last) => last.names.iter().cloned().map(Expression::Name).collect(),
                None => refuse!("it has no steps and returns nothing"),
            },
            Some(Value::String(text)) => vec![expression(text)?],
            Some(_) => texts(table, "returns")?.iter().map(|text| expression(text)).collect::<Result<_>>()?,
        };
        let layers = match table.get("layers") {
            None => Vec::new(),
            Some(Value::Object(layers)) => layers.iter().map(|(name, layer)| (name.clone(), layer.clone())).collect(),
            Some(_) => refuse!("`layers` is not a table"),
        };
        Ok(Self {
            inputs,
            weights: weights(table)?,
            layers,
            steps,
            returns_list: table.get("returns").is_some_and(Value::is_array) || returns.len() > 1,
            returns,
            passes_mask: passes_mask(table)?,
        })
    }
}

/// The names of the arguments of the layer's call.
pub(super) fn inputs(table: &Map<String, Value>) -> Result<Vec<String>> {
    if table.contains_key("inputs") { texts(table, "inputs") } else { Ok(vec!["x".into()]) }
}

/// Whether results have the mask of the first input.
pub(super) fn passes_mask(table: &Map<String, Value>) -> Result<bool> {
    match text(table, "mask")?.as_deref() {
        None | Some("drop") => Ok(false),
        Some("pass") => Ok(true),
        _ => refuse!("`mask` is neither `pass` nor `drop`"),
    }
}

/// A text, if it is there.
pub(super) fn text(table: &Map<String, Value>, key: &str) -> Result<Option<String>> {
    match table.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => refuse!("`{key}` is {}, and should be a text", shown(other)),
    }
}

fn weights(table: &Map<String, Value>) -> Result<Vec<WeightRecipe>> {
    let Some(value) = table.get("weights") else { return Ok(Vec::new()) };
    let Value::Array(items) = value else { refuse!("`weights` is not a list") };
    let mut weights = Vec::new();
    for item in items {
        let Value::Object(item) = item else { refuse!("a weight is not a table: {}", shown(item)) };
        if let Some(key) = item.keys().find(|key| !["name", "shape", "trainable"].contains(&key.as_str())) {
            refuse!("`{key}` is not one of a weight's keys, which are `name`, `shape`, `trainable`");
        }
        let Some(name) = item.get("name").and_then(Value::as_str) else { refuse!("a weight has no `name`") };
        let Some(Value::Array(sizes)) = item.get("shape") else { refuse!("weight `{name}` has no `shape`") };
        let size = |size: &Value| match size {
            Value::String(text) => expression(text),
            Value::Number(_) => Ok(Expression::Plain(size.clone())),
            other => refuse!("weight `{name}` has the size {}", shown(other)),
        };
        let shape = sizes.iter().map(size).collect::<Result<_>>()?;
        let trainable = item.get("trainable").is_none_or(|value| *value == Value::Bool(true));
        weights.push(WeightRecipe { name: name.to_owned(), shape, trainable });
    }
    Ok(weights)
}

/// A list of texts, or none.
fn texts(table: &Map<String, Value>, key: &str) -> Result<Vec<String>> {
    match table.get(key) {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            let text = |item: &Value| item.as_str().map(str::to_owned);
            match items.iter().map(text).collect::<Option<Vec<_>>>() {
                Some(texts) => Ok(texts),
                None => refuse!("`{key}` is not a list of texts"),
            }
        }
        Some(_) => refuse!("`{key}` is not a list of texts"),
    }
}
