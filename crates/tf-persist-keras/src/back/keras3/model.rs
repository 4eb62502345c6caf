//! Models and layers with their places.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use tf_persist_savedmodel::Tensor;

use super::{functions, layers, nodes};
use crate::parse::{Origin, class_and_config, histories, inbound};
use crate::reason::{Result, refuse, shown_name};

/// The number of models and wrappers inside each other.
const MAX_DEPTH: usize = 40;

/// Makes configs of Keras 3 from those of Keras 2, and collects what is wrong.
#[derive(Debug, Default)]
pub(super) struct Converter {
    /// What cannot be converted.
    pub(super) findings: Vec<String>,
    /// What becomes otherwise.
    pub(super) notes: Vec<String>,
    /// What `Discretization` layers learned of the data, by their names and those of the layers around them.
    pub(super) summaries: HashMap<String, Tensor>,
    /// Whether a layer makes masks.
    pub(super) has_masks: bool,
    /// The names of the layers around the one that is converted, and its own.
    around: Vec<String>,
}

/// The name of a layer, in which Keras 3 does not take slashes.
pub(super) fn layer_name(name: &str) -> String {
    name.replace('/', "_")
}

impl Converter {
    /// Converts a layer. None if that is impossible, which is then among the findings.
    pub(super) fn layer(&mut self, entry: &Value) -> Option<Value> {
        let (name, class) = match class_and_config(entry) {
            Ok((class, config)) => {
                let name = config.get("name").or_else(|| entry.get("name")).and_then(Value::as_str);
                (name.unwrap_or(class).to_owned(), class.to_owned())
            }
            Err(reason) => {
                self.findings.push(reason.to_string());
                return None;
            }
        };
        self.around.push(name);
        let converted = if self.around.len() > MAX_DEPTH {
            Err("it is nested too deep".into())
        } else {
            self.named_layer(entry, &class)
        };
        if let Err(reason) = &converted
            && !reason.is_reported()
        {
            let place = self.place();
            self.findings.push(format!("{place}: {reason}"));
        }
        self.around.pop();
        converted.ok()
    }

    /// `layer NAME (CLASS)` for messages.
    fn place(&self) -> String {
        // The model itself is not named.
        let skipped = usize::from(self.around.len() > 1);
        format!("layer `{}`", shown_name(&self.around[skipped..].join("/")))
    }

    /// Notes that a layer is not the same in Keras 3.
    pub(super) fn note(&mut self, note: &str) {
        let place = self.place();
        self.notes.push(format!("{place}: {note}"));
    }

    /// What the layer learned of the data, if it did.
    pub(super) fn summary(&self) -> Option<&Tensor> {
        self.summaries.get(&self.around[1.min(self.around.len())..].join("/"))
    }

    fn named_layer(&mut self, entry: &Value, class: &str) -> Result<Value> {
        let (_, config) = class_and_config(entry)?;
        let registered = entry.get("registered_name").and_then(Value::as_str);
        let (module, class, config) = match class {
            "Functional" | "Model" => ("keras.src.models.functional", "Functional".into(), self.functional(config)?),
            "Sequential" => ("keras", "Sequential".into(), self.sequential(config)?),
            "InputLayer" => ("keras.layers", "InputLayer".into(), input(config)?),
            class if class.contains('>') || registered.is_some_and(|name| name.contains('>')) => {
                refuse!("`{}` is custom, and only its code tells whether Keras 3 has it", shown_name(class))
            }
            class if functions::is_function(class) => {
                let name = config.get("name").and_then(Value::as_str).unwrap_or(class);
                functions::operation(entry, layer_name(name))?
            }
            "Lambda" => refuse!("it holds Python bytecode, which Keras 3 does not load"),
            class => layers::convert(self, class, config)?,
        };
        let is_named = class == "Functional" || module.starts_with("keras.src.ops");
        let registered = if is_named { Value::from(class.as_str()) } else { Value::Null };
        let mut converted = Map::new();
        converted.insert("module".into(), module.into());
        converted.insert("class_name".into(), class.into());
        converted.insert("config".into(), config.into());
        converted.insert("registered_name".into(), registered);
        if let Some(number) = entry.get("shared_object_id") {
            converted.insert("shared_object_id".into(), number.clone());
        }
        Ok(converted.into())
    }

    /// Converts layers, all of them even if one fails.
    pub(super) fn layers(&mut self, entries: &[Value]) -> Result<Vec<Value>> {
        let converted: Vec<Option<Value>> = entries.iter().map(|entry| self.layer(entry)).collect();
        match converted.into_iter().collect() {
            Some(layers) => Ok(layers),
            None => Err(crate::reason::Reason::reported()),
        }
    }

    fn sequential(&mut self, config: &Map<String, Value>) -> Result<Map<String, Value>> {
        let Some(Value::Array(entries)) = config.get("layers") else { refuse!("its `layers` is not a list") };
        let mut layers = self.sequence(entries)?;
        // The shape of the input is in the first layer's config in files of before TensorFlow 2.4.
        if let Some(first) = entries.first().filter(|first| first.get("class_name") != Some(&"InputLayer".into())) {
            let of_first = first.get("config").and_then(|config| config.get("batch_input_shape"));
            let shape = of_first.or_else(|| config.get("build_input_shape")).filter(|shape| shape.is_array());
            if let Some(shape) = shape {
                let dtype = first.get("config").and_then(|config| config.get("dtype")).unwrap_or(&Value::Null);
                let is_embedding = first.get("class_name") == Some(&"Embedding".into());
                let dtype = if is_embedding { "float32".into() } else { dtype.clone() };
                let name = format!("{}_input", first["config"]["name"].as_str().unwrap_or("first"));
                let input = json!({"name": name, "batch_input_shape": shape, "dtype": dtype});
                let input = json!({"class_name": "InputLayer", "config": input});
                layers.splice(0..0, self.layer(&input));
            }
        }
        let mut converted = named(config);
        converted.insert("layers".into(), layers.into());
        Ok(converted)
    }

    /// The layers of a sequence, and what follows them.
    fn sequence(&mut self, entries: &[Value]) -> Result<Vec<Value>> {
        let layers = self.layers(entries)?;
        let with_next = |(layer, entry)| std::iter::once(layer).chain(layers::after(entry).map(|(_, next)| next));
        Ok(layers.into_iter().zip(entries).flat_map(with_next).collect())
    }

    fn functional(&mut self, config: &Map<String, Value>) -> Result<Map<String, Value>> {
        let list = |key: &str| match config.get(key) {
            Some(value) => Ok(value),
            None => refuse!("its config has no `{key}`"),
        };
        let Value::Array(entries) = list("layers")? else { refuse!("its `layers` is not a list") };
        let layers = self.layers(entries)?;
        let names = Names::of(entries, self.has_masks);
        for name in names.classes.keys().filter(|name| names.is_taken(name)) {
            let (name, new) = (shown_name(name), shown_name(&names.new_name(name)));
            let why = "because Keras 3 gives its name to an operation on masks";
            self.notes.push(format!("layer `{name}` is called `{new}`, {why}"));
        }
        let mut called = Vec::new();
        for (mut layer, entry) in layers.into_iter().zip(entries) {
            let class = entry.get("class_name").and_then(Value::as_str).unwrap_or_default();
            let mut calls = Vec::new();
            if functions::is_function(class) {
                calls.push(functions::call(entry, &|origin| names.history(origin, false))?);
            }
            let called_layer = Some(entry).filter(|_| !functions::is_function(class));
            for arguments in inbound(called_layer.and_then(|entry| entry.get("inbound_nodes")))? {
                calls.push(nodes::call(&arguments, class, &|origin| names.history(origin, false))?);
            }
            let name = names.new_name(entry.get("name").and_then(Value::as_str).unwrap_or_default());
            let count = calls.len();
            layer["name"] = name.clone().into();
            layer["config"]["name"] = name.clone().into();
            layer["inbound_nodes"] = calls.into();
            called.push(layer);
            if let Some((next, mut layer)) = layers::after(entry) {
                let calls =
                    (0..count).map(|call| json!({"args": [nodes::tensor(json!([name, call, 0]))], "kwargs": {}}));
                layer["name"] = next.into();
                layer["inbound_nodes"] = calls.collect::<Vec<_>>().into();
                called.push(layer);
            }
        }
        let layers = called;
        let inputs = histories(list("input_layers")?)?;
        let outputs = histories(list("output_layers")?)?;
        let mut converted = named(config);
        converted.insert("layers".into(), layers.into());
        let inputs = nodes::histories(&inputs, &|origin| names.history(origin, true))?;
        let outputs = nodes::histories(&outputs, &|origin| names.history(origin, true))?;
        converted.insert("input_layers".into(), inputs);
        converted.insert("output_layers".into(), outputs);
        Ok(converted)
    }
}

/// `name` and `trainable` of a model.
fn named(config: &Map<String, Value>) -> Map<String, Value> {
    let mut named = Map::new();
    let name = config.get("name").and_then(Value::as_str).unwrap_or("model");
    named.insert("name".into(), layer_name(name).into());
    named.insert("trainable".into(), config.get("trainable").cloned().unwrap_or(true.into()));
    named
}

/// The layers of a functional model.
pub(super) struct Names<'a> {
    classes: HashMap<&'a str, &'a str>,
    /// The names of those that follow others to give the same in Keras 3.
    after: HashMap<&'a str, String>,
    has_masks: bool,
}

impl<'a> Names<'a> {
    pub(super) fn of(entries: &'a [Value], has_masks: bool) -> Self {
        let entry = |entry: &'a Value| Some((entry.get("name")?.as_str()?, entry.get("class_name")?.as_str()?));
        let after = |entry: &'a Value| Some((entry.get("name")?.as_str()?, layers::after(entry)?.0));
        Self {
            classes: entries.iter().filter_map(entry).collect(),
            after: entries.iter().filter_map(after).collect(),
            has_masks,
        }
    }

    fn class(&self, layer: &str) -> &str {
        self.classes.get(layer).copied().unwrap_or_default()
    }

    /// Whether Keras 3 gives the name to the operation that concatenates masks.
    fn is_taken(&self, layer: &str) -> bool {
        let is_numbered = |rest: &str| rest.is_empty() || rest.starts_with('_');
        self.has_masks
            && self.class(layer) == "Concatenate"
            && layer_name(layer).strip_prefix("concatenate").is_some_and(is_numbered)
    }

    /// The name of a layer in Keras 3.
    fn new_name(&self, layer: &str) -> String {
        let new = layer_name(layer);
        if self.is_taken(layer) { format!("{new}_layer") } else { new }
    }

    /// Where a tensor comes from. Keras 2 counts the calls of nested models from 1, Keras 3 only where a functional one
    /// gives an output.
    pub(super) fn history(&self, origin: &Origin, in_outputs: bool) -> Result<Value> {
        let class = self.class(&origin.layer);
        let is_functional = matches!(class, "Functional" | "Model");
        let counts_own = (is_functional && !in_outputs) || class == "Sequential";
        let Some(call) = origin.call.checked_sub(u64::from(counts_own)) else {
            refuse!("a call of `{}` that it does not have is used", shown_name(&origin.layer))
        };
        let name = match self.after.get(origin.layer.as_str()) {
            Some(next) => next.clone(),
            None => self.new_name(&origin.layer),
        };
        Ok(json!([name, call, origin.output]))
    }
}

/// Whether a layer in a config makes masks.
pub(super) fn has_masks(config: &Value) -> bool {
    match config {
        Value::Array(items) => items.iter().any(has_masks),
        Value::Object(object) => {
            object.get("mask_zero") == Some(&true.into())
                || object.get("class_name") == Some(&"Masking".into())
                || object.values().any(has_masks)
        }
        _ => false,
    }
}

fn input(config: &Map<String, Value>) -> Result<Map<String, Value>> {
    let shape = ["batch_input_shape", "batch_shape"].into_iter().find_map(|key| config.get(key));
    let Some(shape) = shape else { refuse!("its config has no `batch_input_shape`") };
    let dtype = super::values::dtype(config.get("dtype").unwrap_or(&Value::Null))?;
    let name = config.get("name").and_then(Value::as_str).unwrap_or("input");
    let mut converted = Map::new();
    converted.insert("batch_shape".into(), shape.clone());
    converted.insert("dtype".into(), dtype.unwrap_or("float32".into()));
    converted.insert("sparse".into(), false.into());
    converted.insert("name".into(), layer_name(name).into());
    Ok(converted)
}
