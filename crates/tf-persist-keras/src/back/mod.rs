//! Writes Keras files: of models in Keras files, and of SavedModels that came from one.

mod config;
mod containers;
mod extra;
mod keras3;
mod keras_file;
mod modules;
mod original;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use tf_persist_savedmodel::{Error, Hint, Result, SavedModel};

use crate::archive::hdf5::Dataset;
use crate::config::Dialect;
use crate::convert::{KerasModel, OpenOptions};
use crate::custom::CustomObjects;
use crate::graph::{Program, Resource};
use crate::layers::Weight;
use crate::source::{Source, WeightLayout};
use crate::train::{self, Training};
use crate::weights;
use containers::Model;
use keras_file::{Container, Copied, KerasFile, check_target};
use keras3::Old;
pub(crate) use table::Entry;

/// How a Keras file is written.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct KerasSaveOptions {
    overwrite: bool,
    custom: CustomObjects,
    keras: Option<KerasVersion>,
}

/// A Keras that reads files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KerasVersion {
    /// Keras 2: TensorFlow until 2.15, and the package `tf_keras`.
    Keras2,
    /// Keras 3.
    Keras3,
}

/// What was written.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SavedKerasFile {
    /// Whether it is for another Keras than that which wrote the original.
    pub is_converted: bool,
    /// What is not as in the original, in sentences.
    pub notes: Vec<String>,
}

impl KerasSaveOptions {
    /// Replaces a file at the target.
    #[must_use]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// The Keras that is to read the file. A model of Keras 2 is converted to Keras 3, and then gives the same answers
    /// within rounding. Without this, an `.h5` file of Keras 2 that is written as a `.keras` file is converted, and
    /// other files stay those of the Keras that wrote them.
    #[must_use]
    pub fn keras(mut self, keras: KerasVersion) -> Self {
        self.keras = Some(keras);
        self
    }

    /// What replaces custom layers, functions and lambdas, for a SavedModel that becomes the other kind of file.
    #[must_use]
    pub fn custom_objects(mut self, custom: CustomObjects) -> Self {
        self.custom = custom;
        self
    }
}

/// The program, what training adds to it, and the weights that files have, each with its dataset.
type Located = (Rc<Program>, Option<Training>, Vec<Weight>, Vec<Dataset>);

impl KerasModel {
    /// Writes the model as a `.keras` or `.h5` file: for the version of Keras that wrote it, unless the options say
    /// otherwise. It appears whole or not at all.
    ///
    /// # Errors
    /// If weights are missing, too many or of other shapes; if the name of the target is of neither kind; if something
    /// is there, unless it may be overwritten; if it cannot be converted or written.
    pub fn save(&self, target: impl AsRef<Path>, options: &KerasSaveOptions) -> Result<SavedKerasFile> {
        let target = target.as_ref();
        let container = container_of(target)?;
        check_target(target, options.overwrite)?;
        let same = match &self.source.weights {
            WeightLayout::Layers(_) => Container::Hdf5,
            WeightLayout::Folders(_) | WeightLayout::Shards(_) => Container::Archive,
        };
        let own = match self.source.dialect {
            Dialect::Keras2 => KerasVersion::Keras2,
            Dialect::Keras3 => KerasVersion::Keras3,
        };
        let is_moved = (own, same, container) == (KerasVersion::Keras2, Container::Hdf5, Container::Archive);
        let keras = options.keras.unwrap_or(if is_moved { KerasVersion::Keras3 } else { own });
        if keras != own {
            return self.save_for(keras, container, target, options);
        }
        let (_, _, weights, datasets) = self.located()?;
        let optimizer = train::optimizer_datasets(&self.source)?;
        let file = if container == same {
            original::original(&self.source, &mut |_, _| Ok(Copied::Same))?
        } else {
            let (source, layer) = (&self.source, &self.model);
            Model { source, layer, weights: &weights, datasets: &datasets, optimizer: &optimizer }.file(container)?
        };
        file.write(target, options.overwrite)?;
        Ok(SavedKerasFile { is_converted: false, notes: Vec::new() })
    }

    /// Writes the model for another Keras than that which wrote it.
    fn save_for(
        &self,
        keras: KerasVersion,
        container: Container,
        target: &Path,
        options: &KerasSaveOptions,
    ) -> Result<SavedKerasFile> {
        if keras == KerasVersion::Keras2 {
            let reason = "it is of Keras 3, and cannot be converted to Keras 2".to_owned();
            return Err(Error::Unsupported { path: self.source.path.clone(), reason, hint: None });
        }
        let emitted = self.emitted()?;
        let weights: Vec<Weight> = emitted.weights.into_iter().filter(|weight| weight.is_saved).collect();
        let datasets = weights::locate(&self.source, &self.model, &weights)?;
        let training = emitted.training.as_ref().ok().and_then(Option::as_ref);
        let merges_masks = &emitted.merges_masks;
        let old = Old { model: self, weights: &weights, datasets: &datasets, training, merges_masks };
        let (file, notes) = old.convert()?;
        if container == Container::Archive {
            file.write(target, options.overwrite)?;
        } else {
            let source = Source::from_bytes(&self.source.path, file.to_bytes()?, None)?;
            KerasModel::new(source, &OpenOptions::default())?.save(target, options)?;
        }
        Ok(SavedKerasFile { is_converted: true, notes })
    }

    /// The program, what training adds to it, and the weights that files have, each with its dataset.
    fn located(&self) -> Result<Located> {
        let emitted = self.emitted()?;
        let weights: Vec<Weight> = emitted.weights.into_iter().filter(|weight| weight.is_saved).collect();
        let datasets = weights::locate(&self.source, &self.model, &weights)?;
        Ok((emitted.program, emitted.training.unwrap_or_default(), weights, datasets))
    }
}

/// Writes a SavedModel that came from a Keras file as one: with the values of its variables, and the state of its
/// optimizer if it has it. If the SavedModel does not tell of which file it is, `like` is a file of the same model.
///
/// # Errors
/// If it did not come from a Keras file and `like` is not given, or variables are missing or of other shapes; else as
/// [`KerasModel::save`].
pub fn write_back(
    model: &SavedModel,
    like: Option<&KerasModel>,
    target: impl AsRef<Path>,
    options: &KerasSaveOptions,
) -> Result<SavedKerasFile> {
    let target = target.as_ref();
    let container = container_of(target)?;
    check_target(target, options.overwrite)?;
    let file = match like {
        Some(like) => like_file(model, like)?,
        None => extra::keras_file(model)?,
    };
    if file.container() == container && options.keras.is_none() {
        file.write(target, options.overwrite)?;
        return Ok(SavedKerasFile { is_converted: false, notes: Vec::new() });
    }
    let source = Source::from_bytes(model.path(), file.to_bytes()?, None)?;
    drop(file);
    let open = OpenOptions::default().custom_objects(options.custom.clone());
    KerasModel::new(source, &open)?.save(target, options)
}

fn container_of(target: &Path) -> Result<Container> {
    Container::of_name(target).ok_or_else(|| Error::Unsupported {
        path: target.to_path_buf(),
        reason: "its name is not that of a Keras file".into(),
        hint: Some(Hint::new("give a name that ends in `.keras` or `.h5`")),
    })
}

/// The file of a model, with the values of a SavedModel whose variables have the same names.
fn like_file(model: &SavedModel, like: &KerasModel) -> Result<KerasFile> {
    let (program, training, weights, datasets) = like.located()?;
    let mut entries = entries(&like.source, &program, training.as_ref(), &weights, &datasets)?;
    let variables = model.variables()?;
    let keys: HashMap<&str, &str> =
        variables.all.iter().map(|variable| (variable.name.as_str(), variable.entry.key.as_str())).collect();
    for entry in &mut entries {
        // TensorFlow doubles dots in the keys of checkpoints.
        let key = keys.get(entry.name.replace('.', "..").as_str()).or_else(|| keys.get(entry.name.as_str()));
        entry.key = key.map(|key| (*key).to_owned()).unwrap_or_default();
    }
    let values = extra::values(model, &entries)?;
    let paths = extra::paths(&entries);
    // The state of an optimizer that no variable has stays as it is.
    let keeps_optimizer = extra::keeps_optimizer(&like.source, &entries)?;
    let has_optimizer = entries.iter().any(|entry| entry.layer.is_none());
    let mut file = original::original(&like.source, &mut |path, _| {
        let is_replaced = paths.contains(path) || !keeps_optimizer && extra::is_optimizer(path);
        Ok(if is_replaced { Copied::LeftOut } else { Copied::Same })
    })?;
    let tree = file.tree();
    if !keeps_optimizer {
        tree.remove("optimizer_weights");
    }
    extra::add(tree, &values, has_optimizer).map_err(|reason| Error::flawed(&like.source.path, reason.to_string()))?;
    Ok(file)
}

/// The files that a SavedModel keeps of its Keras file. `keys` are those of the program's variables in the checkpoint.
pub(crate) fn extra_files(
    source: &Source,
    program: &Program,
    mut entries: Vec<Entry>,
    keys: &[String],
) -> Result<Vec<(String, Vec<u8>)>> {
    let variables = program.variables.borrow();
    let keys: HashMap<&str, &String> = variables.iter().map(|variable| variable.name.as_str()).zip(keys).collect();
    for entry in &mut entries {
        entry.key = keys.get(entry.name.as_str()).map(|key| (*key).clone()).unwrap_or_default();
    }
    extra::files(source, entries)
}

/// The variables of a model and where its file has them. They have no keys yet.
pub(crate) fn entries(
    source: &Source,
    program: &Program,
    training: Option<&Training>,
    weights: &[Weight],
    datasets: &[Dataset],
) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (weight, dataset) in weights.iter().zip(datasets) {
        let path = original::path_in_copy(source, dataset);
        let layer = weight.place.layers.first().cloned().unwrap_or_default();
        let in_layer = path.strip_prefix("model_weights/").and_then(|path| path.strip_prefix(layer.as_str()));
        let name = match in_layer.and_then(|name| name.strip_prefix('/')) {
            Some(name) => name.to_owned(),
            None => containers::h5_name(weight, source.dialect),
        };
        entries.push(Entry {
            name: name_of(program, weight.resource),
            key: String::new(),
            path,
            layer: Some(layer),
            weight: name,
            dtype: weight.dtype,
            shape: weight.shape.clone(),
        });
    }
    let Some(training) = training else { return Ok(entries) };
    let saved = train::optimizer_datasets(source)?;
    let layout = train::layout(source, &training.variables);
    let is_saved = train::layout_of(source, &training.variables, &saved).is_some_and(|saved| saved == layout);
    for (number, index) in layout.into_iter().enumerate() {
        let variable = &training.variables[index];
        let short = variable.name.strip_prefix("optimizer/").unwrap_or(&variable.name);
        let path = match &source.weights {
            _ if is_saved => saved[number].path().to_owned(),
            WeightLayout::Layers(_) => format!("optimizer_weights/optimizer/{short}"),
            _ => format!("optimizer/vars/{number}"),
        };
        entries.push(Entry {
            name: variable.name.clone(),
            key: String::new(),
            path,
            layer: None,
            weight: short.to_owned(),
            dtype: variable.dtype,
            shape: variable.shape.clone(),
        });
    }
    Ok(entries)
}

/// The name of a variable in the SavedModel.
fn name_of(program: &Program, resource: Resource) -> String {
    match resource {
        Resource::Variable(index) => {
            program.variables.borrow().get(index).map(|variable| variable.name.clone()).unwrap_or_default()
        }
        Resource::Table(_) => String::new(),
    }
}
