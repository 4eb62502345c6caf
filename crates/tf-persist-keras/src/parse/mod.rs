//! Reads the configuration of a model, in the dialect of the Keras that wrote it.

mod argument;
mod nodes;

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value};

pub(crate) use argument::constant;
pub(crate) use nodes::{Histories, Origin, histories, inbound};

use crate::config::{Config, Dialect, Policy, shown};
use crate::custom::{self, CustomObjects, toml_key};
use crate::layers::{self, Identities, NamedLayer, Rules};
use crate::operations;
use crate::reason::{Reason, Result, refuse, shown_name};
use crate::source::Source;

/// The number of models and wrappers inside each other. Real models have fewer than ten.
const MAX_DEPTH: usize = 40;

/// The longest name of a layer or a class, in bytes.
const MAX_NAME: usize = 500;

/// The bytes of the configs of the models that stand for custom layers, counted for each layer.
const MAX_MODEL_BYTES: usize = 256 << 20;

/// The number of findings that are reported.
const MAX_FINDINGS: usize = 100;

/// Reads layers, and collects what is wrong with them.
#[derive(Debug)]
pub(crate) struct Parser<'a> {
    pub(crate) dialect: Dialect,
    /// The names of the layers around the one that is being read.
    around: Vec<String>,
    findings: Vec<Finding>,
    custom: &'a CustomObjects,
    identities: Identities,
    /// The files of the models around the layer that custom objects named.
    models: Vec<PathBuf>,
    /// The bytes of the configs of all such models.
    model_bytes: usize,
}

/// What is wrong with a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The names of the layers around it, and its own.
    pub(crate) layer: Vec<String>,
    pub(crate) class: String,
    pub(crate) reason: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = shown_name(&self.layer.join("/"));
        write!(f, "layer `{name}` ({}): {}", self.class, self.reason)
    }
}

impl<'a> Parser<'a> {
    /// Without custom objects.
    pub(crate) fn new(dialect: Dialect) -> Self {
        static NONE: LazyLock<CustomObjects> = LazyLock::new(CustomObjects::new);
        Self::with_custom(dialect, &NONE)
    }

    pub(crate) fn with_custom(dialect: Dialect, custom: &'a CustomObjects) -> Self {
        Self {
            dialect,
            around: Vec::new(),
            findings: Vec::new(),
            custom,
            identities: Identities::default(),
            models: Vec::new(),
            model_bytes: 0,
        }
    }

    /// Reads the model of another file, in its dialect, where a custom layer stands.
    pub(crate) fn model_of(&mut self, source: &Source) -> Result<NamedLayer> {
        let path = source.path.display();
        if self.models.contains(&source.path) {
            refuse!("the model `{path}` that stands for it has such a layer itself");
        }
        self.model_bytes = self.model_bytes.saturating_add(source.config_bytes);
        if self.model_bytes > MAX_MODEL_BYTES {
            refuse!("the models that stand for custom layers have more than {MAX_MODEL_BYTES} bytes together");
        }
        self.models.push(source.path.clone());
        let dialect = std::mem::replace(&mut self.dialect, source.dialect);
        let identities = std::mem::take(&mut self.identities);
        let model = self.layer(&source.model);
        self.dialect = dialect;
        self.identities = identities;
        self.models.pop();
        model
    }

    /// What was wrong.
    pub(crate) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Reads a layer: an object with `class_name` and `config`. The reason of an error is among the findings, unless it
    /// has none.
    pub(crate) fn layer(&mut self, entry: &Value) -> Result<NamedLayer> {
        let (class, config) = class_and_config(entry)?;
        let empty = Value::Null;
        let name = config.get("name").or_else(|| entry.get("name")).unwrap_or(&empty).as_str();
        let name = name.unwrap_or(class).to_owned();
        for name in [class, &name, entry.get("name").and_then(Value::as_str).unwrap_or_default()] {
            if name.len() > MAX_NAME {
                refuse!("the name `{}` has {} bytes, more than {MAX_NAME}", shown_name(name), name.len());
            }
        }
        if self.around.len() >= MAX_DEPTH {
            refuse!("its layers are nested more than {MAX_DEPTH} deep");
        }
        self.around.push(name);
        let layer = self.named_layer(entry, class, config);
        let name = self.around.clone();
        self.around.pop();
        layer.map_err(|reason| {
            if !reason.is_reported() && self.findings.len() < MAX_FINDINGS {
                self.findings.push(Finding { layer: name, class: shown_class(class), reason: reason.to_string() });
            }
            Reason::reported()
        })
    }

    fn named_layer(&mut self, entry: &Value, class: &str, config: &Map<String, Value>) -> Result<NamedLayer> {
        let name = self.around.last().cloned().unwrap_or_default();
        let module = entry.get("module").and_then(Value::as_str);
        let mut is_operation = self.dialect == Dialect::Keras3 && is_operation(class, module, config);
        let custom = self.custom;
        let reader = Config::new(config, self.dialect).with_custom(custom);
        let policy = Policy::parse(config.get("dtype"))?;
        let registered = entry.get("registered_name").and_then(Value::as_str).filter(|name| name.contains('>'));
        let given = match class {
            "Lambda" => custom.lambda(&name).map(|recipe| custom::recipe_layer(recipe, &reader, self)),
            _ => custom.layer_of(class, registered).map(|source| custom::layer(source, &reader, self)),
        };
        let layer = match (given, registered) {
            (Some(layer), _) => Some(layer),
            (None, Some(_)) => None,
            (None, None) if is_operation => {
                let operation = operations::build(class, module, &reader);
                // Without modules, a layer whose config lacks `trainable` looks like an operation.
                is_operation = operation.is_some() || module.is_some();
                operation.or_else(|| if is_operation { None } else { layers::build(class, &reader, self) })
            }
            (None, None) => layers::build(class, &reader, self),
        };
        let (identity, is_repeated) = self.identities.of(entry, class, &name);
        match layer {
            Some(layer) => Ok(NamedLayer {
                name,
                class: class.to_owned(),
                trainable: config.get("trainable").and_then(Value::as_bool).unwrap_or(true),
                policy,
                rules: Arc::new(Rules::of(class, config)),
                is_operation,
                identity,
                is_repeated,
                layer: layer?,
            }),
            None if is_operation => refuse!("this operation of `keras.ops` is not supported"),
            None if class == "Lambda" => {
                let key = toml_key(&name);
                refuse!("it holds Python bytecode, which is never run; give a recipe for it as `lambdas.{key}`")
            }
            None => {
                let name = registered.unwrap_or(class);
                let is_whole = self.around.len() == 1 && self.models.is_empty();
                if is_whole {
                    refuse!(
                        "the whole model is of this class, a subclass of `Model` or of another library, whose code is not in \
                         the file; export it in Python with `model.export(DIR)`, and use that"
                    )
                }
                refuse!(
                    "this class is unknown: it is custom, or of another library; give a recipe for it as `layers.\"{name}\"`"
                )
            }
        }
    }
}

/// Whether an entry is a node of `keras.ops`. An `.h5` file has no modules, and ops have no `trainable`.
fn is_operation(class: &str, module: Option<&str>, config: &Map<String, Value>) -> bool {
    match module {
        Some(module) => module.starts_with("keras.src.ops") || module.starts_with("keras.ops"),
        None => class != "InputLayer" && !config.contains_key("trainable") && !config.contains_key("layers"),
    }
}

/// The class and the config of an entry.
pub(crate) fn class_and_config(entry: &Value) -> Result<(&str, &Map<String, Value>)> {
    let class = entry.get("class_name").and_then(Value::as_str);
    match (class, entry.get("config")) {
        (Some(class), Some(Value::Object(config))) => Ok((class, config)),
        _ => refuse!("{} is not a layer: it needs `class_name` and `config`", shown(entry)),
    }
}

/// A class for a message.
fn shown_class(class: &str) -> String {
    shown_name(class)
}
