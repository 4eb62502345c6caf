//! A model of Keras 2 as a `.keras` file of Keras 3 that gives the same answers.
//!
//! The config is converted, and read as any of Keras 3: its layers tell where their weights are in the file.

mod compile;
mod functions;
mod layers;
mod model;
mod nodes;
#[cfg(test)]
mod tests;
mod values;

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;
use tf_persist_proto::bytes::Bytes;
use tf_persist_savedmodel::{Error, Hint, Result, Tensor};

use super::config;
use super::containers::{IDF_WEIGHTS, entries, folders};
use super::keras_file::KerasFile;
use crate::archive::hdf5::Dataset;
use crate::archive::hdf5_writer::Group;
use crate::config::Dialect;
use crate::convert::{Emitted, KerasModel, OpenOptions};
use crate::graph::Resource;
use crate::layers::Weight;
use crate::reason::{self, shown_name};
use crate::source::Source;
use crate::train::{self, Training};
use crate::weights;
use model::{Converter, has_masks, layer_name};

/// The version that the files tell. They are for this one and later ones.
const VERSION: &str = "3.15.0";

/// A model of Keras 2, with the values of its weights.
pub(super) struct Old<'a> {
    pub(super) model: &'a KerasModel,
    pub(super) weights: &'a [Weight],
    /// Of the weights, in their order.
    pub(super) datasets: &'a [Dataset],
    pub(super) training: Option<&'a Training>,
    /// The layers that merge inputs with different masks.
    pub(super) merges_masks: &'a BTreeSet<String>,
}

impl Old<'_> {
    /// The file of Keras 3, and what is not the same in it.
    ///
    /// # Errors
    /// If layers cannot be converted: all of them are named.
    pub(super) fn convert(&self) -> Result<(KerasFile, Vec<String>)> {
        let source = &self.model.source;
        let mut converter = Converter::default();
        converter.has_masks = has_masks(&source.model);
        for (weight, dataset) in self.weights.iter().zip(self.datasets).filter(|(weight, _)| weight.name == "summary") {
            converter.summaries.insert(weight.place.layers.join("/"), dataset.read()?);
        }
        let model = converter.layer(&source.model);
        let why = "its inputs have different masks, which Keras 3 merges otherwise";
        let merging = self.merges_masks.iter().map(|layer| format!("layer `{}`: {why}", shown_name(layer)));
        let findings: Vec<String> = converter.findings.into_iter().chain(merging).collect();
        let Some(model) = model.filter(|_| findings.is_empty()) else { return Err(self.refused(&findings)) };
        let mut notes = converter.notes;
        let outputs = self.model.model.layer.as_model().map_or(1, |model| model.output_names().len());
        let (mut config, mut probe) = (model.clone(), None);
        if let Some(compiled) = self.compile_config(outputs, &mut notes) {
            config["compile_config"] = compiled;
            let read = self.read(&config)?;
            match read.training.as_ref().err() {
                None => probe = Some(read),
                Some(reason) => {
                    notes.push(format!("it is not compiled: {reason}"));
                    config = model;
                }
            }
        }
        let new = match probe {
            Some(read) => read,
            None => self.read(&config)?,
        };
        let saved: Vec<&Weight> = new.weights.iter().filter(|weight| weight.is_saved).collect();
        let mut tree =
            folders(self.values(&saved)?, Dialect::Keras3).map_err(|reason| self.refused(&[reason.to_string()]))?;
        if let Ok(Some(training)) = &new.training {
            self.optimizer(training, &mut tree, &mut notes)?;
        }
        Ok((KerasFile::Archive(self.entries(&config)?, tree), notes))
    }

    /// How the model was compiled. A note tells if that cannot be converted.
    fn compile_config(&self, outputs: usize, notes: &mut Vec<String>) -> Option<Value> {
        let config = self.model.source.compile_config.as_ref()?;
        match compile::compile_config(&config::compile_for_archive(config), outputs) {
            Ok(config) => Some(config),
            Err(reason) => {
                notes.push(format!("it is not compiled: {reason}"));
                None
            }
        }
    }

    /// The entries of the archive, without the weights.
    fn entries(&self, config: &Value) -> Result<Vec<(String, Bytes)>> {
        let mut entries = entries(config, VERSION);
        let mut vocabularies: Vec<_> = self.model.source.vocabularies()?.into_iter().collect();
        vocabularies.sort_by(|(a, _), (b, _)| a.cmp(b));
        entries.extend(vocabularies);
        Ok(entries)
    }

    /// What our reader makes of the new config.
    fn read(&self, config: &Value) -> Result<Emitted> {
        let path = &self.model.source.path;
        let bytes = KerasFile::Archive(self.entries(config)?, Group::default()).to_bytes()?;
        KerasModel::new(Source::from_bytes(path, bytes, None)?, &OpenOptions::default())?.emitted()
    }

    /// The values of the weights of Keras 3.
    fn values<'a>(&'a self, new: &[&'a Weight]) -> Result<Vec<(&'a Weight, Tensor)>> {
        let source = &self.model.source;
        let key = |weight: &Weight| {
            let layers: Vec<String> = weight.place.layers.iter().map(|name| layer_name(name)).collect();
            format!("{}/{}", layers.join("/"), weight.name)
        };
        let old: HashMap<String, (&Weight, &Dataset)> =
            self.weights.iter().zip(self.datasets).map(|(weight, dataset)| (key(weight), (weight, dataset))).collect();
        let (mut values, mut findings) = (Vec::new(), Vec::new());
        for weight in new {
            // That of depthwise convolutions has another name in Keras 2.
            let depthwise = key(weight).strip_suffix("/kernel").map(|layer| format!("{layer}/depthwise_kernel"));
            match old.get(&key(weight)).or_else(|| old.get(&depthwise?)) {
                Some((old, dataset)) if old.shape == weight.shape => {
                    values.push((*weight, weights::read(source, old, dataset)?));
                }
                Some((old, _)) => findings.push(format!(
                    "`{}` has shape {:?} in Keras 2, and {:?} in Keras 3",
                    key(weight),
                    old.shape,
                    weight.shape
                )),
                None => findings.push(format!("Keras 2 has no weight `{}`", key(weight))),
            }
        }
        // Keras 3 reads these even where the config has them.
        let known: Vec<String> = new.iter().map(|weight| key(weight)).collect();
        for (weight, dataset) in self.weights.iter().zip(self.datasets) {
            if weight.name == IDF_WEIGHTS && !known.contains(&key(weight)) {
                values.push((weight, weights::read(source, weight, dataset)?));
            }
        }
        if findings.is_empty() { Ok(values) } else { Err(self.refused(&findings)) }
    }

    /// Adds the state of the optimizer, if it has the same variables in Keras 3.
    fn optimizer(&self, new: &Training, tree: &mut Group, notes: &mut Vec<String>) -> Result<()> {
        let source = &self.model.source;
        if train::optimizer_datasets(source)?.is_empty() {
            return Ok(());
        }
        let Some(old) = self.training else {
            notes.push("it has no state of the optimizer, which is not known".into());
            return Ok(());
        };
        let by_variable: HashMap<usize, (&Weight, &Dataset)> = self
            .weights
            .iter()
            .zip(self.datasets)
            .filter_map(|(weight, dataset)| match weight.resource {
                Resource::Variable(index) => Some((index, (weight, dataset))),
                Resource::Table(_) => None,
            })
            .collect();
        let of_weight = |index: usize| match by_variable.get(&index) {
            Some((weight, dataset)) => weights::read(source, weight, dataset),
            None => Err(Error::data("the model", "a variable has no value")),
        };
        let values = train::optimizer_values(source, &old.variables, &of_weight)?;
        let mut found = Vec::new();
        for variable in &new.variables {
            let same = old.variables.iter().find(|old| layer_name(&old.name) == layer_name(&variable.name));
            let value = same.and_then(|old| match old.resource {
                Resource::Variable(index) => values.get(&index),
                Resource::Table(_) => None,
            });
            match value.filter(|value| value.shape() == variable.shape && value.dtype() == variable.dtype) {
                Some(value) => found.push(value.clone()),
                None => {
                    notes.push(format!("it has no state of the optimizer: `{}` is not in Keras 2", variable.name));
                    return Ok(());
                }
            }
        }
        for (number, value) in found.into_iter().enumerate() {
            let path = format!("optimizer/vars/{number}");
            tree.insert(&path, value).map_err(|reason: reason::Reason| self.refused(&[reason.to_string()]))?;
        }
        Ok(())
    }

    fn refused(&self, findings: &[String]) -> Error {
        Error::Unsupported {
            path: self.model.source.path.clone(),
            reason: format!("it cannot be converted to Keras 3: {}", weights::shortened(findings)),
            hint: Some(Hint::new("it can be written for Keras 2").set("keras_version")),
        }
    }
}
