//! From a Keras file to the functions of a SavedModel.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tf_persist_savedmodel::{Error, Hint, Result, SavedModel, Setting, Tensor};

use crate::back;
use crate::config;
use crate::custom::CustomObjects;
use crate::graph::{Function, Graph, Program, Resource, Signature, TensorRef};
use crate::layers::{Argument, Arguments, Context, Masked, NamedLayer, Shared, Weight};
use crate::parse::Parser;
use crate::reason;
use crate::saved_model::{Endpoint, ModelParts, Structure, Value};
use crate::source::Source;
use crate::summary::{LayerSummary, ModelSummary, TensorSummary, summary};
use crate::train::{self, Training};
use crate::weights;

/// What helps against a reason with these words, and the setting for it.
const HINTS: [(&str, &str, Option<&'static str>); 5] = [
    ("give a recipe", "recipes stand in a TOML file", Some("custom_objects")),
    (
        config::UNKNOWN_KEYS,
        "if a newer Keras added the key, save the model with Keras 3.15; if a subclass did, give a recipe for its class",
        Some("custom_objects"),
    ),
    (
        "its input is sparse",
        "build the model with `Input(…, sparse=False)` and the same weights, and feed dense tensors",
        None,
    ),
    (
        "its input is ragged",
        "build the model with an input of padded rows and a `Masking` layer, and the same weights",
        None,
    ),
    ("its input is optional", "build the model with the input as a required one, or without it", None),
];

/// How a file is opened.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct OpenOptions {
    architecture: Option<PathBuf>,
    inference_only: bool,
    custom: CustomObjects,
}

impl OpenOptions {
    /// The JSON of the model (`model.to_json()`), for a file that has only weights.
    #[must_use]
    pub fn architecture(mut self, path: impl Into<PathBuf>) -> Self {
        self.architecture = Some(path.into());
        self
    }

    /// What replaces custom layers, functions and lambdas.
    #[must_use]
    pub fn custom_objects(mut self, custom: CustomObjects) -> Self {
        self.custom = custom;
        self
    }

    /// Leaves training out: no signatures `train` and `evaluate`, no state of the optimizer.
    #[must_use]
    pub fn inference_only(mut self, inference_only: bool) -> Self {
        self.inference_only = inference_only;
        self
    }

    /// Opens a `.keras` or `.h5` file.
    ///
    /// # Errors
    /// As [`open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<KerasModel> {
        KerasModel::open(path.as_ref(), &self)
    }
}

/// Opens a `.keras` or `.h5` file.
///
/// # Errors
/// [`Error::Io`] if it cannot be read, [`Error::Damaged`] if it is no whole Keras file, [`Error::Unsupported`] if it
/// has layers that are unknown or options that change numbers and are not supported: all of them are named at once.
pub fn open(path: impl AsRef<Path>) -> Result<KerasModel> {
    OpenOptions::default().open(path)
}

/// What was written.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ExportedModel {
    /// Why a compiled model was written without the signatures `train` and `evaluate`; None if it has them, or is not
    /// compiled.
    pub why_inference_only: Option<String>,
}

/// A model in a Keras file. Its layers are known, its weights are not read yet.
#[derive(Debug)]
pub struct KerasModel {
    pub(crate) source: Source,
    pub(crate) model: NamedLayer,
    inference_only: bool,
}

/// The functions of a model and its variables.
pub(crate) struct Emitted {
    pub(crate) program: Rc<Program>,
    signatures: Vec<Signature>,
    pub(crate) weights: Vec<Weight>,
    /// The first values of variables that no file has.
    initial: HashMap<Resource, Tensor>,
    /// None if the model is not compiled; the reason if it cannot be trained.
    pub(crate) training: reason::Result<Option<Training>>,
    layers: Vec<LayerSummary>,
    /// The layers that merge inputs with different masks.
    pub(crate) merges_masks: BTreeSet<String>,
}

impl KerasModel {
    fn open(path: &Path, options: &OpenOptions) -> Result<Self> {
        Self::new(Source::open(path, options.architecture.as_deref())?, options)
    }

    pub(crate) fn new(source: Source, options: &OpenOptions) -> Result<Self> {
        let path = source.path.clone();
        let mut parser = Parser::with_custom(source.dialect, &options.custom);
        let model = parser.layer(&source.model);
        let findings: Vec<String> = parser.findings().iter().map(ToString::to_string).collect();
        match model {
            Ok(model) if findings.is_empty() && model.layer.as_model().is_some() => {
                Ok(Self { source, model, inference_only: options.inference_only })
            }
            Ok(_) if findings.is_empty() => Err(refused(&path, "it holds a layer, and no model".into())),
            Err(reason) if findings.is_empty() => Err(refused(&path, reason.to_string())),
            _ => Err(refused(&path, weights::shortened(&findings))),
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// The version of Keras that wrote the file, if the file tells.
    #[must_use]
    pub fn keras_version(&self) -> Option<&str> {
        self.source.keras_version.as_deref()
    }

    /// The names of the inputs, in the order of the model.
    #[must_use]
    pub fn input_names(&self) -> Vec<String> {
        let inputs = self.model.layer.as_model().map(|model| model.inputs()).unwrap_or_default();
        inputs.into_iter().map(|(name, _)| name.to_owned()).collect()
    }

    /// The variables of the model that files have.
    pub(crate) fn saved_weights(&self) -> Result<Vec<Weight>> {
        Ok(self.emitted()?.weights.into_iter().filter(|weight| weight.is_saved).collect())
    }

    /// Writes the model as a SavedModel. The folder appears whole or not at all.
    ///
    /// # Errors
    /// As [`open`], and if weights are missing, too many or of other shapes, or the target exists and is not empty.
    pub fn export(&self, target: impl AsRef<Path>, overwrite: bool) -> Result<ExportedModel> {
        let emitted = self.emitted()?;
        let (saved, memory): (Vec<Weight>, Vec<Weight>) = emitted.weights.into_iter().partition(|it| it.is_saved);
        let datasets = weights::locate(&self.source, &self.model, &saved)?;
        let training = emitted.training.as_ref().ok().and_then(Option::as_ref);
        let entries = back::entries(&self.source, &emitted.program, training, &saved, &datasets)?;
        let datasets = saved.iter().zip(datasets.iter().map(Some));
        let mut by_variable = HashMap::new();
        for (weight, dataset) in datasets.chain(memory.iter().map(|weight| (weight, None))) {
            if let Resource::Variable(index) = weight.resource {
                by_variable.insert(index, (weight, dataset));
            }
        }
        let of_weight = |index: usize| match by_variable.get(&index) {
            Some((weight, Some(dataset))) => weights::read(&self.source, weight, dataset),
            Some((weight, None)) => Tensor::zeros(weight.dtype, &weight.shape),
            None => Err(Error::data("the model", "a variable has no value")),
        };
        let of_optimizer = match training {
            Some(training) => train::optimizer_values(&self.source, &training.variables, &of_weight)?,
            None => HashMap::new(),
        };
        let value = |index: usize| {
            let made = of_optimizer.get(&index).or_else(|| emitted.initial.get(&Resource::Variable(index)));
            match (made, by_variable.get(&index)) {
                (Some(value), _) => Ok(Value::Tensor(value.clone())),
                (None, Some((weight, Some(dataset)))) => match dataset.plain(weight.dtype)? {
                    Some(plain) => Ok(Value::Dataset(Box::new(plain))),
                    None => of_weight(index).map(Value::Tensor),
                },
                (None, _) => of_weight(index).map(Value::Tensor),
            }
        };
        let parts = ModelParts {
            program: &emitted.program,
            signatures: &emitted.signatures,
            value: &value,
            serve: Some(self.endpoint(&emitted.signatures[0])),
            assets: Vec::new(),
            extra_files: &|keys| back::extra_files(&self.source, &emitted.program, entries.clone(), keys),
        };
        parts.write(target.as_ref(), overwrite)?;
        Ok(ExportedModel { why_inference_only: emitted.training.err().map(|reason| reason.to_string()) })
    }

    /// Why a compiled model is written without the signatures `train` and `evaluate`; None if it has them, or is not
    /// compiled.
    ///
    /// # Errors
    /// As [`open`].
    pub fn why_inference_only(&self) -> Result<Option<String>> {
        Ok(self.emitted()?.training.err().map(|reason| reason.to_string()))
    }

    /// The model as a SavedModel in memory.
    ///
    /// # Errors
    /// As [`KerasModel::export`].
    pub fn to_saved_model(&self) -> Result<SavedModel> {
        let folder = tempfile::tempdir().map_err(Error::io("create a folder in", std::env::temp_dir()))?;
        let path = folder.path().join("model");
        self.export(&path, false)?;
        SavedModel::from_bytes_of(&self.source.path, SavedModel::open(&path)?.to_bytes()?)
    }

    /// What the model consists of.
    ///
    /// # Errors
    /// As [`open`].
    pub fn summary(&self) -> Result<ModelSummary> {
        let emitted = self.emitted()?;
        let tensors = |names: &[String], tensors: &[TensorRef]| {
            let tensor = |(name, tensor): (&String, &TensorRef)| TensorSummary {
                name: name.clone(),
                dtype: tensor.dtype,
                shape: tensor.dims().to_vec(),
            };
            names.iter().zip(tensors).map(tensor).collect::<Vec<_>>()
        };
        let signature = &emitted.signatures[0];
        let count = |weight: &Weight| weight.shape.iter().map(|size| *size as u64).product::<u64>();
        Ok(ModelSummary {
            name: self.model.name.clone(),
            class: self.model.class.clone(),
            keras_version: self.source.keras_version.clone(),
            inputs: tensors(&signature.inputs, &signature.function.graph.arguments()),
            outputs: tensors(&signature.outputs, &signature.function.outputs),
            parameters: emitted.weights.iter().map(count).sum(),
            trainable: emitted.weights.iter().filter(|weight| weight.trainable).map(count).sum(),
            layers: emitted.layers,
            compile_config: self.source.compile_config.clone(),
        })
    }

    /// How the model takes and returns tensors in Python.
    fn endpoint(&self, signature: &Signature) -> Endpoint {
        let model = self.model.layer.as_model();
        let of = |is_dict: bool, count: usize| match (is_dict, count) {
            (true, _) => Structure::Dict,
            (false, 1) => Structure::Tensor,
            _ => Structure::List,
        };
        Endpoint {
            inputs: of(model.is_some_and(|model| model.takes_dict()), signature.inputs.len()),
            outputs: of(model.is_some_and(|model| model.output_keys().is_some()), signature.outputs.len()),
        }
    }

    pub(crate) fn emitted(&self) -> Result<Emitted> {
        self.emit().map_err(|reason| refused(&self.source.path, reason.to_string()))
    }

    fn emit(&self) -> reason::Result<Emitted> {
        let program = Program::new();
        program.allow(self.source.config_bytes, self.source.file_bytes);
        let vocabularies = self.source.vocabularies()?;
        let shared = Shared::of_file(vocabularies, self.source.weights.clone());
        let graph = Graph::new(&program);
        let (inputs, results, keys) = self.call(&graph, &shared)?;
        let signature = Signature {
            name: "serving_default".into(),
            inputs,
            outputs: keys,
            function: Function { name: "serving_default".into(), graph, outputs: results },
        };
        let layers = summary(&shared.calls.borrow(), &shared.weights.borrow());
        let merges_masks = shared.merges_masks.take();
        let mut training = match self.inference_only {
            true => Ok(None),
            false => train::training(&self.source, &self.model, &program, &shared),
        };
        let mut signatures = vec![signature];
        if let Ok(Some(training)) = &mut training {
            signatures.append(&mut training.signatures);
        }
        let (weights, initial) = (shared.weights.into_inner(), shared.initial.into_inner());
        Ok(Emitted { program, signatures, weights, initial, training, layers, merges_masks })
    }

    /// Calls the model with the arguments of a new function. Gives the names of the inputs, the outputs and their
    /// names.
    fn call(&self, graph: &Graph, shared: &Shared) -> reason::Result<(Vec<String>, Vec<TensorRef>, Vec<String>)> {
        let Some(model) = self.model.layer.as_model() else { reason::refuse!("it is no model") };
        let (mut names, mut given) = (Vec::new(), Vec::new());
        for (name, spec) in model.inputs() {
            let tensor = graph.argument(name, spec.dtype, spec.shape.clone())?;
            names.push(name.to_owned());
            given.push(Argument::Tensor(Masked::from(tensor)));
        }
        let first = if given.len() == 1 { given.remove(0) } else { Argument::List(given) };
        let cx = Context::new(graph, self.source.dialect, shared);
        let result = self.model.call(&cx, Arguments::new(vec![first], Vec::new()))?;
        let mut outputs = Vec::new();
        for tensor in result.tensors() {
            outputs.push(graph.identity(tensor)?);
        }
        let keys = match model.output_keys() {
            Some(keys) if keys.len() == outputs.len() => keys.into_iter().map(str::to_owned).collect(),
            _ => (0..outputs.len()).map(|index| format!("output_{index}")).collect(),
        };
        Ok((names, outputs, keys))
    }
}

fn refused(path: &Path, reason: String) -> Error {
    let mut hint: Option<Hint> = None;
    for (_, text, setting) in HINTS.iter().filter(|(part, ..)| reason.contains(part)) {
        let all = match hint {
            Some(before) => before.and(text),
            None => Hint::new(*text),
        };
        hint = Some(match setting.filter(|name| !all.settings().contains(&Setting::Set(name))) {
            Some(setting) => all.set(setting),
            None => all,
        });
    }
    Error::Unsupported { path: path.to_path_buf(), reason, hint }
}
