//! Layers and functions that a file names and this library does not know, given by the user.
//!
//! A recipe in a TOML file says what a custom layer computes, in operations of `keras.ops` and layers of Keras. Code in
//! a file never runs.

mod code;
pub(crate) mod expression;
pub(crate) mod import;
mod recipe;
mod recipe_layer;
mod saved_model;
mod sub_model;
/// Why a text is not TOML, in one sentence.
fn not_toml(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.matches('\n').count() + 1);
    format!("line {line} is not TOML: {}", error.message())
}

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use tf_persist_savedmodel::{Error, Hint, Result};

use crate::config::Config;
use crate::layers::Layer;
use crate::parse::Parser;
use crate::reason::refuse;

pub use code::{CustomLayer, LayerBuilder, SymbolicTensor};
pub(crate) use recipe::Recipe;
pub(crate) use recipe_layer::call_function;
use saved_model::SavedModelLayer;
use sub_model::SubModel;

/// The largest file of recipes.
const MAX_BYTES: u64 = 16 << 20;

/// What replaces custom layers, functions and lambdas.
#[derive(Debug, Clone, Default)]
pub struct CustomObjects {
    layers: HashMap<String, LayerSource>,
    functions: HashMap<String, Recipe>,
    lambdas: HashMap<String, Recipe>,
}

/// What a custom layer is made of.
#[derive(Debug, Clone)]
pub(crate) enum LayerSource {
    Recipe(Recipe),
    Code(Arc<dyn CustomLayer>),
    Model(SubModel),
    SavedModel(SavedModelLayer),
}

impl CustomObjects {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a layer in Rust for a class, or for the name under which Keras registered it (`package>Class`).
    #[must_use]
    pub fn layer(mut self, class: impl Into<String>, layer: impl CustomLayer + 'static) -> Self {
        self.layers.insert(class.into(), LayerSource::Code(Arc::new(layer)));
        self
    }

    /// Adds the recipes in a TOML file: tables `layers.CLASS`, `functions.NAME` and `lambdas.LAYER`. The models that it
    /// names are files in its folder or below.
    ///
    /// # Errors
    /// If it cannot be read, or a recipe or a model is not valid.
    pub fn add_file(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let metadata = std::fs::metadata(path).map_err(Error::io("read", path))?;
        if metadata.len() > MAX_BYTES {
            return Err(invalid(path, format!("it has {} bytes, and {MAX_BYTES} are allowed", metadata.len())));
        }
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        self.add(&text, Some(path.parent().unwrap_or(Path::new("")))).map_err(|reason| invalid(path, reason))
    }

    /// Adds the recipes in a text in TOML, as [`CustomObjects::add_file`]. It cannot name models.
    ///
    /// # Errors
    /// One sentence, if it is not TOML or a recipe is not valid.
    pub fn add_toml(&mut self, text: &str) -> Result<(), String> {
        self.add(text, None)
    }

    /// `folder` has the models that the text names.
    fn add(&mut self, text: &str, folder: Option<&Path>) -> Result<(), String> {
        let tables: Map<String, Value> = toml::from_str(text).map_err(|error| not_toml(text, &error))?;
        for (kind, recipes) in &tables {
            if !["layers", "functions", "lambdas"].contains(&kind.as_str()) {
                return Err(format!("`{kind}` is not one of the tables `layers`, `functions`, `lambdas`"));
            }
            let Value::Object(recipes) = recipes else { return Err(format!("`{kind}` is not a table")) };
            for (name, recipe) in recipes {
                let in_table = |reason: crate::reason::Reason| format!("`{kind}.{name}`: {reason}");
                if let (Some(table), "layers") =
                    (recipe.as_object().filter(|it| it.contains_key("model")), kind.as_str())
                {
                    self.layers.insert(name.clone(), model_layer(table, folder).map_err(in_table)?);
                    continue;
                }
                let read = Recipe::read(recipe).map_err(in_table)?;
                match kind.as_str() {
                    "layers" => drop(self.layers.insert(name.clone(), LayerSource::Recipe(read))),
                    "functions" => drop(self.functions.insert(name.clone(), read)),
                    _ => drop(self.lambdas.insert(name.clone(), read)),
                }
            }
        }
        Ok(())
    }

    /// The recipe of a layer, by the name under which it was registered (`package>Class`) or by its class.
    pub(crate) fn layer_of(&self, class: &str, registered: Option<&str>) -> Option<&LayerSource> {
        registered.and_then(|name| self.layers.get(name)).or_else(|| self.layers.get(class))
    }

    /// The recipe of the function with this name.
    pub(crate) fn function(&self, name: &str) -> Option<&Recipe> {
        self.functions.get(name)
    }

    /// The recipe of a `Lambda`, by the name of the layer.
    pub(crate) fn lambda(&self, layer: &str) -> Option<&Recipe> {
        self.lambdas.get(layer)
    }
}

/// The layer of a recipe.
pub(crate) fn recipe_layer(
    recipe: &Recipe,
    config: &Config<'_>,
    parser: &mut Parser<'_>,
) -> crate::reason::Result<Box<dyn Layer>> {
    Ok(Box::new(recipe_layer::RecipeLayer::new(recipe, config, parser)?))
}

/// The layer of a recipe or in Rust.
pub(crate) fn layer(
    source: &LayerSource,
    config: &Config<'_>,
    parser: &mut Parser<'_>,
) -> crate::reason::Result<Box<dyn Layer>> {
    match source {
        LayerSource::Recipe(recipe) => recipe_layer(recipe, config, parser),
        LayerSource::Code(layer) => Ok(Box::new(code::CodeLayer::new(layer, config))),
        // What the class does with its config is what the model does.
        LayerSource::Model(model) => model.layer(parser),
        LayerSource::SavedModel(model) => Ok(Box::new(model.clone())),
    }
}

/// The layer that a model in `folder` stands for.
fn model_layer(table: &Map<String, Value>, folder: Option<&Path>) -> crate::reason::Result<LayerSource> {
    let path = path_in(folder, &recipe::text(table, "model")?.unwrap_or_default())?;
    match crate::source::find_keras_file(&path) {
        None if path.is_dir() => Ok(LayerSource::SavedModel(SavedModelLayer::read(table, &path)?)),
        found => Ok(LayerSource::Model(SubModel::read(table, &found.unwrap_or(path))?)),
    }
}

/// The path of a model that a TOML file names. A name does not lead out of the file's folder.
fn path_in(folder: Option<&Path>, name: &str) -> crate::reason::Result<PathBuf> {
    let Some(folder) = folder else { refuse!("only a file of recipes can name a model") };
    let is_inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if name.is_empty() || !Path::new(name).components().all(is_inside) {
        refuse!("the path `{}` is not one in the folder of the recipes", crate::reason::shown_name(name));
    }
    Ok(folder.join(name))
}

/// A name as a key in TOML, which has to be quoted if it has other characters than those of a word.
pub(crate) fn toml_key(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    match !name.is_empty() && name.bytes().all(is_plain) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

fn invalid(path: &Path, reason: String) -> Error {
    let hint = Hint::new("docs/keras.md has examples of recipes");
    Error::Unsupported { path: path.to_path_buf(), reason, hint: Some(hint) }
}
