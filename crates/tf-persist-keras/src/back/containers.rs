//! A model in the other kind of file of the same Keras.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use tf_persist_proto::bytes::Bytes;
use tf_persist_savedmodel::{Error, Result, Tensor};

use super::config;
use super::keras_file::{Container, KerasFile};
use crate::archive::Attribute;
use crate::archive::hdf5::Dataset;
use crate::archive::hdf5_writer::Group;
use crate::config::Dialect;
use crate::layers::{NamedLayer, Place, Weight};
use crate::reason;
use crate::source::Source;
use crate::train;
use crate::weights::{self, TOP_LEVEL, by_layer};

/// A model with the values of its weights.
pub(super) struct Model<'a> {
    pub(super) source: &'a Source,
    pub(super) layer: &'a NamedLayer,
    pub(super) weights: &'a [Weight],
    /// Of the weights, in their order.
    pub(super) datasets: &'a [Dataset],
    /// Of the optimizer, in the order that both kinds of files have.
    pub(super) optimizer: &'a [Dataset],
}

impl Model<'_> {
    pub(super) fn file(&self, container: Container) -> Result<KerasFile> {
        match container {
            Container::Archive => self.archive(),
            Container::Hdf5 => self.hdf5(),
        }
    }

    fn archive(&self) -> Result<KerasFile> {
        let source = self.source;
        let config = config::for_archive(&source.model, source.compile_config.as_ref(), source.dialect);
        let entries = entries(&config, &version(source));
        let mut values = Vec::new();
        for (weight, dataset) in self.weights.iter().zip(self.datasets) {
            values.push((weight, weights::read(source, weight, dataset)?));
        }
        let mut tree = self.checked(folders(values, source.dialect))?;
        let before_inner = train::before_inner(self.optimizer)?;
        for (number, dataset) in self.optimizer.iter().enumerate() {
            let value = dataset.read()?;
            for path in optimizer_paths(number, before_inner) {
                self.checked(tree.insert(&path, value.clone()).map(|_| ()))?;
            }
        }
        Ok(KerasFile::Archive(entries, tree))
    }

    fn hdf5(&self) -> Result<KerasFile> {
        let source = self.source;
        let assets = source.archive.iter().flat_map(|archive| archive.names()).find(|name| name.starts_with("assets/"));
        if let Some(asset) = assets {
            let name = tf_persist_savedmodel::printable(asset);
            let reason = format!("it has a vocabulary in `{name}`, and `.h5` files have no place for it");
            return Err(Error::Unsupported { path: source.path.clone(), reason, hint: None });
        }
        if self.weights.iter().any(|weight| weight.name.ends_with("amax_history")) {
            let reason = "Keras does not read layers that compute in float8 from `.h5` files".to_owned();
            return Err(Error::Unsupported { path: source.path.clone(), reason, hint: None });
        }
        let (model, training) = config::for_hdf5(&source.model, source.compile_config.as_ref());
        let mut tree = Group::default();
        let about = [("backend", "tensorflow".to_owned()), ("keras_version", version(source))];
        for (name, text) in &about {
            tree.set(name, Attribute::Text(text.clone()));
        }
        tree.set("model_config", Attribute::Text(model.to_string()));
        if let Some(training) = training {
            tree.set("training_config", Attribute::Text(training.to_string()));
        }
        self.checked(self.layers(&mut tree, &about))?;
        if !self.optimizer.is_empty() {
            let mut values = Vec::new();
            for (number, dataset) in self.optimizer.iter().enumerate() {
                values.push((format!("optimizer/variable_{number}"), dataset.read()?));
            }
            self.checked(tree.group("optimizer_weights").and_then(|group| named(group, values)))?;
        }
        Ok(KerasFile::Hdf5(tree))
    }

    /// The group `model_weights`.
    fn layers(&self, tree: &mut Group, about: &[(&str, String)]) -> reason::Result<()> {
        let group = tree.group("model_weights")?;
        let layers = by_layer(self.layer, self.source.dialect, self.weights);
        group.set_texts("layer_names", layers.iter().map(|layer| layer.layer.clone()).collect())?;
        for (name, text) in about {
            group.set(name, Attribute::Text(text.clone()));
        }
        for layer in &layers {
            let (mut values, mut names) = (Vec::new(), HashSet::new());
            for index in &layer.weights {
                let (weight, dataset) = (&self.weights[*index], &self.datasets[*index]);
                let mut name = h5_name(weight, self.source.dialect);
                while !names.insert(name.clone()) {
                    name.push('_');
                }
                values.push((name, weights::read(self.source, weight, dataset)?));
            }
            named(group.group(&layer.layer)?, values)?;
        }
        named(group.group(TOP_LEVEL)?, Vec::new())
    }

    fn checked<T>(&self, result: reason::Result<T>) -> Result<T> {
        result.map_err(|reason| {
            let reason = format!("it cannot be written as a file of the other kind: {reason}");
            Error::Unsupported { path: self.source.path.clone(), reason, hint: None }
        })
    }
}

/// The entries of an archive besides the weights.
pub(super) fn entries(config: &Value, keras_version: &str) -> Vec<(String, Bytes)> {
    let metadata = json!({"keras_version": keras_version});
    let entry = |name: &str, value: &Value| (name.to_owned(), Bytes::from(value.to_string()));
    vec![entry("metadata.json", &metadata), entry("config.json", config)]
}

/// Where a `.keras` file has a variable of an optimizer. One of the optimizer inside a `LossScaleOptimizer`, which has
/// `before_inner` of its own, is there twice, and Keras takes the value from the second place.
pub(super) fn optimizer_paths(number: usize, before_inner: Option<usize>) -> Vec<String> {
    let inner = before_inner.and_then(|before| number.checked_sub(before));
    let again = inner.map(|number| format!("optimizer/inner_optimizer/vars/{number}"));
    std::iter::once(format!("optimizer/vars/{number}")).chain(again).collect()
}

/// The version of Keras that a file is of; the lowest that writes such files if it does not tell.
pub(super) fn version(source: &Source) -> String {
    let lowest = match source.dialect {
        Dialect::Keras2 => "2.13.0",
        Dialect::Keras3 => "3.0.0",
    };
    source.keras_version.clone().unwrap_or_else(|| lowest.to_owned())
}

/// The folder of a layer in a `.keras` file of this dialect.
pub(super) fn folder(place: &Place, dialect: Dialect) -> String {
    let name = |names: &Vec<String>| {
        // Where names differ, those of Keras 2 are private.
        let private = names.iter().find(|name| name.starts_with('_') && *name != weights::OLD_LAYERS);
        let chosen = if dialect == Dialect::Keras2 { private.or(names.first()) } else { names.first() };
        chosen.cloned().unwrap_or_default()
    };
    place.folders.iter().map(name).collect::<Vec<_>>().join("/")
}

/// The name of a weight in the group of its layer in an `.h5` file: those of the layers around it and its own.
pub(super) fn h5_name(weight: &Weight, dialect: Dialect) -> String {
    let end = if dialect == Dialect::Keras2 { ":0" } else { "" };
    format!("{}/{}{end}", weight.place.layers.join("/"), weight.name)
}

/// The shares by which lookup layers count tokens.
pub(super) const IDF_WEIGHTS: &str = "idf_weights";

/// The values of weights in the folders of a `.keras` file.
pub(super) fn folders(values: Vec<(&Weight, Tensor)>, dialect: Dialect) -> reason::Result<Group> {
    let mut tree = Group::default();
    // Keras 2 reads the model's own variables from it, though there are none.
    tree.group("vars")?;
    let firsts: HashMap<String, Tensor> = values
        .iter()
        .filter(|(weight, _)| weight.index == 0)
        .map(|(weight, value)| (folder(&weight.place, dialect), value.clone()))
        .collect();
    for (weight, value) in values {
        let folder = folder(&weight.place, dialect);
        let vars = format!("{folder}/vars");
        if weight.name == IDF_WEIGHTS {
            // By its name, and in the folder of the layer around it, too.
            if let Some(around) = folder.strip_suffix("/_lookup_layer") {
                tree.insert(&format!("{around}/vars/{IDF_WEIGHTS}"), value.clone())?;
            }
            tree.insert(&format!("{vars}/{IDF_WEIGHTS}"), value)?;
            continue;
        }
        tree.insert(&format!("{vars}/{}", weight.index), value)?;
        // A wrapper saves the weight of its layer once more, before its own.
        if weight.index == 1
            && !firsts.contains_key(&folder)
            && let Some(value) = firsts.get(&format!("{folder}/layer"))
        {
            tree.insert(&format!("{vars}/0"), value.clone())?;
        }
        // As Keras 3 notes it.
        if let Some(layer) = weight.place.layers.last() {
            tree.group(&vars)?.set("name", Attribute::Text(layer.clone()));
        }
    }
    Ok(tree)
}

/// Adds datasets in an order that the attribute `weight_names` keeps.
pub(super) fn named(group: &mut Group, values: Vec<(String, Tensor)>) -> reason::Result<()> {
    group.set_texts("weight_names", values.iter().map(|(name, _)| name.clone()).collect())?;
    for (name, value) in values {
        group.insert(&name, value)?;
    }
    Ok(())
}
