//! A custom layer that is another Keras model, which the user names.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::recipe::{passes_mask, text};
use crate::layers::{Argument, Arguments, Context, Layer, MaskRule, NamedLayer, Shared};
use crate::parse::Parser;
use crate::reason::{Result, refuse};
use crate::source::Source;
use crate::weights;

/// The keys of such a layer in a TOML file.
const KEYS: [&str; 4] = ["model", "attribute", "inputs", "mask"];

/// A model in a Keras file that stands for a custom layer.
#[derive(Debug, Clone)]
pub(crate) struct SubModel {
    source: Arc<Source>,
    /// The path of the model in the layer, by the names of attributes in Python. None if the file tells.
    attribute: Option<Vec<String>>,
    /// The names of the arguments of the layer's call.
    inputs: Vec<String>,
    passes_mask: bool,
}

impl SubModel {
    /// From a table of a TOML file with the key `model`, whose path is that of a file.
    pub(super) fn read(table: &Map<String, Value>, path: &Path) -> Result<Self> {
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            refuse!("`{key}` does not go with `model`, but `{}` do", KEYS[1..].join("`, `"));
        }
        let attribute = text(table, "attribute")?;
        Ok(Self {
            source: Arc::new(Source::open(path, None)?),
            attribute: attribute.map(|path| path.split(['.', '/']).map(str::to_owned).collect()),
            inputs: super::recipe::inputs(table)?,
            passes_mask: passes_mask(table)?,
        })
    }

    pub(super) fn layer(&self, parser: &mut Parser<'_>) -> Result<Box<dyn Layer>> {
        let model = parser.model_of(&self.source)?;
        if model.layer.as_model().is_none() {
            refuse!("`{}` holds a layer, and no model", self.source.path.display());
        }
        Ok(Box::new(SubModelLayer { given: self.clone(), model }))
    }
}

/// A layer that calls a model.
#[derive(Debug)]
struct SubModelLayer {
    given: SubModel,
    model: NamedLayer,
}

impl Layer for SubModelLayer {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let mut given = Vec::new();
        for (position, name) in self.given.inputs.iter().enumerate() {
            let first = if position == 0 { arguments.take_first() } else { None };
            given.extend(first.or_else(|| arguments.take(position, name)));
        }
        let first = if given.len() == 1 { given.remove(0) } else { Argument::List(given) };
        let arguments = Arguments::new(vec![first], Vec::new());
        match self.folders(cx)? {
            Some(folders) => {
                let folders: Vec<[&str; 1]> = folders.iter().map(|name| [name.as_str()]).collect();
                let folders: Vec<&[&str]> = folders.iter().map(|names| names.as_slice()).collect();
                let mut inner = cx.nested(&folders, &self.model.name);
                inner.dialect = self.given.source.dialect;
                self.model.call(&inner, arguments)
            }
            None => self.call_apart(cx, arguments),
        }
    }

    fn mask_rule(&self) -> MaskRule {
        if self.given.passes_mask { MaskRule::Pass } else { MaskRule::Drop }
    }
}

impl SubModelLayer {
    /// The folders between the layer's and the model's, if the outer file has the weights.
    fn folders(&self, cx: &Context<'_>) -> Result<Option<Vec<String>>> {
        let Some(file) = &cx.shared.file else { return Ok(None) };
        let model = self.model.layer.as_model();
        let layers: Vec<&str> = model.iter().flat_map(|it| it.layers()).map(|layer| layer.name.as_str()).collect();
        weights::model_folders(file, &cx.place, self.given.attribute.as_deref(), &layers)
    }

    /// Calls the model with the weights of its own file, which training does not change.
    fn call_apart(&self, cx: &Context<'_>, arguments: Arguments) -> Result<Argument> {
        let source = &self.given.source;
        let shared = match cx.shared.part(&source.path) {
            Some(shared) => shared,
            None => {
                cx.g.program.allow_more(source.config_bytes, source.file_bytes);
                cx.shared.add_part(&source.path, &cx.place, source.vocabularies()?, source.weights.clone())
            }
        };
        let is_new = shared.weights.borrow().is_empty();
        let result = self.model.call(&cx.apart(&shared, source.dialect), arguments)?;
        if is_new {
            self.read_weights(cx, &shared)?;
        }
        shared.begin_graph();
        Ok(result)
    }

    /// Gives the variables of the model their values.
    fn read_weights(&self, cx: &Context<'_>, shared: &Rc<Shared>) -> Result<()> {
        let source = &self.given.source;
        let all = shared.weights.borrow();
        let saved: Vec<_> = all.iter().filter(|weight| weight.is_saved).cloned().collect();
        let datasets = weights::locate(source, &self.model, &saved)?;
        for (weight, dataset) in saved.iter().zip(&datasets) {
            let value = weights::read(source, weight, dataset)?;
            cx.shared.initial.borrow_mut().insert(weight.resource, value);
        }
        for weight in all.iter() {
            cx.adopt(weight);
        }
        // Those of a model in it.
        cx.shared.initial.borrow_mut().extend(shared.initial.borrow_mut().drain());
        Ok(())
    }
}
