//! Layers and functions that a file names and this library does not know, given by the user.
//!
//! A recipe in a TOML file says what a custom layer computes, in operations of `keras.ops` and layers of Keras. Code in
//! a file never runs.

mod code;
pub(crate) mod expression;
mod recipe;
mod recipe_layer;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use tf_persist_savedmodel::{Error, Hint, Result};

use crate::config::Config;
use crate::layers::Layer;
use crate::parse::Parser;

pub use code::{CustomLayer, LayerBuilder, SymbolicTensor};
pub(crate) use recipe::Recipe;
pub(crate) use recipe_layer::call_function;

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

    /// Adds the recipes in a TOML file: tables `layers.CLASS`, `functions.NAME` and `lambdas.LAYER`.
    ///
    /// # Errors
    /// If it cannot be read, or a recipe is not valid.
    pub fn add_file(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let metadata = std::fs::metadata(path).map_err(Error::io("read", path))?;
        if metadata.len() > MAX_BYTES {
            return Err(invalid(path, format!("it has {} bytes, and {MAX_BYTES} are allowed", metadata.len())));
        }
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        self.add_toml(&text).map_err(|reason| invalid(path, reason))
    }

    /// Adds the recipes in a text in TOML, as [`CustomObjects::add_file`].
    ///
    /// # Errors
    /// One sentence, if it is not TOML or a recipe is not valid.
    pub fn add_toml(&mut self, text: &str) -> Result<(), String> {
        let tables: Map<String, Value> = toml::from_str(text).map_err(|error| error.to_string())?;
        for (kind, recipes) in &tables {
            if !["layers", "functions", "lambdas"].contains(&kind.as_str()) {
                return Err(format!("`{kind}` is not one of the tables `layers`, `functions`, `lambdas`"));
            }
            let Value::Object(recipes) = recipes else { return Err(format!("`{kind}` is not a table")) };
            for (name, recipe) in recipes {
                let read = Recipe::read(recipe).map_err(|reason| format!("`{kind}.{name}`: {reason}"))?;
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
    }
}

fn invalid(path: &Path, reason: String) -> Error {
    let hint = Hint::new("docs/keras.md has examples of recipes");
    Error::Unsupported { path: path.to_path_buf(), reason, hint: Some(hint) }
}
