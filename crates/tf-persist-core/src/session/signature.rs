//! Running a signature.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use tf_persist_savedmodel::DType;
use tf_persist_savedmodel::internals::{are_checked_by_ops, has_shrinking_convolution};
use tf_persist_savedmodel::saved_model::SignatureDef;
use tf_persist_savedmodel::tensor::Tensor;

use super::LoadedModel;
use super::bind::{Binding, Input, Output, Source, Unusable};
use super::explain;
use super::outputs::Outputs;
use super::run_options::RunOptions;
use crate::error::{Error, ModelError, Result, SignatureError};
use crate::ffi::Port;

/// The inputs for a signature without inputs.
pub const NO_INPUTS: [(&str, Tensor); 0] = [];

/// A signature of a loaded model, which any number of threads may run at once. Keeps the model alive.
#[derive(Clone)]
pub struct Signature {
    model: LoadedModel,
    binding: Arc<Binding>,
}

impl Signature {
    pub(super) fn new(model: LoadedModel, binding: Arc<Binding>) -> Self {
        Self { model, binding }
    }

    /// The declaration: inputs and outputs with dtype and shape.
    #[must_use]
    pub fn definition(&self) -> &SignatureDef {
        &self.binding.definition
    }

    /// Names and dtypes of the input tensors. A sparse input `KEY` has three: `KEY.indices`, `KEY.values`,
    /// `KEY.dense_shape`.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = (&str, DType)> {
        self.binding.inputs.iter().map(|input| (input.name.as_str(), input.dtype))
    }

    /// The names of the output tensors. A sparse output has three, as an input.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = &str> {
        self.binding.outputs.iter().map(|output| output.name.as_str())
    }

    /// Runs the signature.
    ///
    /// An input whose tensor is not a placeholder may be left out: the graph computes it. Names and dtypes are checked
    /// first, and shapes are compared with those of the placeholders, as in Python: some kernels abort the process on
    /// an unexpected rank. Declared shapes are not checked, because signatures are often wrong about them. Numbers are
    /// not copied, neither in nor out.
    ///
    /// # Errors
    /// If the signature has no outputs ([`SignatureError::NothingToRun`]); if an output cannot be fetched
    /// ([`SignatureError::Unfetchable`]); if an input is missing, unknown, of another dtype or shape, or given twice;
    /// or if TensorFlow fails.
    pub fn run<'a, T: Borrow<Tensor>>(&self, inputs: impl IntoIterator<Item = (&'a str, T)>) -> Result<Outputs> {
        self.run_with(inputs, &RunOptions::default())
    }

    /// Runs the signature with options.
    ///
    /// # Errors
    /// As [`Signature::run`]; [`SignatureError::UnknownOutput`] if the options name an unknown output. Only the given
    /// inputs and the requested outputs are checked.
    pub fn run_with<'a, T: Borrow<Tensor>>(
        &self,
        inputs: impl IntoIterator<Item = (&'a str, T)>,
        options: &RunOptions<'_>,
    ) -> Result<Outputs> {
        let binding = &*self.binding;
        binding.definition.check_runnable()?;
        let wanted = binding.definition.output_places(options.outputs)?;
        let mut given: Vec<Option<T>> = binding.inputs.iter().map(|_| None).collect();
        for (name, tensor) in inputs {
            let index = self.input_index(name)?;
            let input = &binding.inputs[index];
            binding.feed(input)?;
            self.check(input, tensor.borrow(), options)?;
            if given[index].replace(tensor).is_some() {
                return Err(self.conflict(&input.name, "was given twice"));
            }
        }
        let action = || format!("run signature `{}` of `{}`", self.name(), self.model.saved_model().path().display());
        if wanted.is_none() && binding.is_plain {
            let values = self.assign(&given, None)?;
            let feeds: Vec<_> =
                binding.feeds.iter().copied().zip(values).filter_map(|(it, value)| Some((it, value?))).collect();
            let fetched = self.model.session().run(action, None, &feeds, &binding.fetches, &[]);
            let fetched = fetched.map_err(|error| self.explain(error, &given))?;
            let value =
                |output: &Output| output.source.as_ref().ok().and_then(|source| fetched.get(source.fetch).cloned());
            let tensors = binding.outputs.iter().enumerate().filter_map(|(index, it)| Some((index, value(it)?)));
            return self.checked(tensors.collect());
        }
        // Fails before anything runs if a requested output cannot be fetched.
        let indices = wanted.clone().unwrap_or_else(|| (0..binding.outputs.len()).collect());
        let sources = indices.iter().map(|output| binding.source(*output)).collect::<Result<Vec<_>, ModelError>>()?;
        let values = self.assign(&given, wanted)?;
        let fed = || values.iter().enumerate().filter_map(|(index, value)| Some((index, (*value)?)));
        let feeds: Vec<_> = fed().map(|(index, value)| (binding.feeds[index], value)).collect();
        let fed_value = |source: &Source| source.feed.and_then(|feed| values[feed]);
        let mut fetches: Vec<usize> = Vec::new();
        for source in sources.iter().filter(|source| fed_value(source).is_none()) {
            if !fetches.contains(&source.fetch) {
                fetches.push(source.fetch);
            }
        }
        // TensorFlow refuses to run without fetches, as where all outputs are inputs.
        let fetched = if fetches.is_empty() {
            Vec::new()
        } else {
            let ports: Vec<Port> = fetches.iter().map(|index| binding.fetches[*index]).collect();
            let run = self.model.session().run(action, None, &feeds, &ports, &[]);
            run.map_err(|error| self.explain(error, &given))?
        };
        let value = |source: &Source| match fed_value(source) {
            Some(value) => Some(value.clone()),
            None => {
                fetches.iter().position(|fetch| *fetch == source.fetch).and_then(|index| fetched.get(index).cloned())
            }
        };
        let tensors = indices.into_iter().zip(&sources).filter_map(|(index, source)| Some((index, value(source)?)));
        self.checked(tensors.collect())
    }

    /// The model of the signature.
    #[must_use]
    pub fn model(&self) -> &LoadedModel {
        &self.model
    }

    /// Whether every op that a run reaches says itself what shapes it cannot take, so that a run may leave them to it:
    /// see [`RunOptions::skip_shape_check`].
    #[must_use]
    pub fn ops_check_shapes(&self) -> bool {
        *self.binding.checks_shapes.get_or_init(|| {
            let model = &self.model;
            are_checked_by_ops(model.saved_model(), model.meta_graph(), self.definition())
        })
    }

    /// The first tensor that the graph of the session lacks.
    pub(super) fn lacking(&self) -> Option<&str> {
        let unusable = self.binding.inputs.iter().filter_map(|input| input.feed.as_ref().err());
        let unusable = unusable.chain(self.binding.outputs.iter().filter_map(|output| output.source.as_ref().err()));
        unusable
            .filter_map(|unusable| if let Unusable::Lacking(tensor) = unusable { Some(&**tensor) } else { None })
            .next()
    }

    fn name(&self) -> &str {
        &self.binding.definition.name
    }

    fn input_index(&self, name: &str) -> Result<usize> {
        self.binding.inputs.iter().position(|input| input.name == name).ok_or_else(|| {
            Error::Model(ModelError::Signature(SignatureError::UnknownInput {
                signature: self.name().to_owned(),
                input: name.to_owned(),
                available: self.binding.inputs.iter().map(|input| input.name.clone()).collect(),
            }))
        })
    }

    fn check(&self, input: &Input, tensor: &Tensor, options: &RunOptions<'_>) -> Result<()> {
        if input.dtype == tensor.dtype() {
            if input.shape.accepts(tensor.shape()) || options.any_shape && self.ops_check_shapes() {
                return Ok(());
            }
            return Err(Error::Model(ModelError::Signature(SignatureError::WrongShape {
                signature: self.name().to_owned(),
                input: input.name.clone(),
                expected: input.shape.clone(),
                given: tensor.shape().to_vec(),
            })));
        }
        Err(Error::Model(ModelError::Signature(SignatureError::WrongDType {
            signature: self.name().to_owned(),
            input: input.name.clone(),
            expected: input.dtype,
            given: tensor.dtype(),
        })))
    }

    /// The outputs of a run, by their indices, unless one is what a convolution left that had nothing to compute.
    fn checked(&self, tensors: Vec<(usize, Tensor)>) -> Result<Outputs> {
        let binding = &self.binding;
        let is_nothing = |(index, tensor): &&(usize, Tensor)| {
            let output = &binding.outputs[*index];
            !tensor.is_empty() && output.has_other_channels(tensor.shape()) && self.may_be_nothing(output)
        };
        let Some((index, tensor)) = tensors.iter().find(is_nothing) else {
            return Ok(Outputs::new(binding.clone(), tensors));
        };
        let output = &binding.outputs[*index];
        Err(Error::Model(ModelError::Signature(SignatureError::WrongAnswer {
            signature: self.name().to_owned(),
            output: output.name.clone(),
            expected: output.shape.clone(),
            given: tensor.shape().to_vec(),
        })))
    }

    fn may_be_nothing(&self, output: &Output) -> bool {
        *output.may_be_nothing.get_or_init(|| {
            let is_fed = output.source.as_ref().is_ok_and(|source| source.feed.is_some());
            let Some(info) = self.definition().output(&output.name).filter(|_| !is_fed) else { return false };
            let (model, meta_graph) = (self.model.saved_model(), self.model.meta_graph());
            self.binding.inputs.iter().any(Input::has_open_sizes)
                && has_shrinking_convolution(model, meta_graph, self.definition(), info)
        })
    }

    /// The value of each feed, from the given inputs and the defaults; `None` where the graph computes it.
    fn assign<'v, T: Borrow<Tensor>>(
        &'v self,
        given: &'v [Option<T>],
        wanted: Option<Vec<usize>>,
    ) -> Result<Vec<Option<&'v Tensor>>> {
        let binding = &*self.binding;
        let mut fed: Vec<Option<&Tensor>> = vec![None; binding.feeds.len()];
        for (input, given) in binding.inputs.iter().zip(given) {
            let Some(tensor) = given.as_ref().map(Borrow::borrow) else { continue };
            let feed = &mut fed[binding.feed(input)?];
            match feed {
                Some(other) if *other != tensor => {
                    let reason = "names the same tensor as another input with another value";
                    return Err(self.conflict(&input.name, reason));
                }
                _ => *feed = Some(tensor),
            }
        }
        if given.iter().all(Option::is_some) {
            return Ok(fed);
        }
        // A given value takes precedence over a default, under any name of the tensor.
        let mut has_value: Vec<bool> = given.iter().map(Option::is_some).collect();
        for (index, input) in binding.inputs.iter().enumerate().filter(|(index, _)| given[*index].is_none()) {
            if let (Some(default), Ok(feed)) = (&input.default, &input.feed) {
                fed[*feed] = fed[*feed].or(Some(default));
                has_value[index] = true;
            }
        }
        if !has_value.iter().all(|has| *has) {
            let saved_model = self.model.saved_model();
            let graph = saved_model.meta_graph_bytes(self.model.meta_graph());
            binding.check_complete(graph, (has_value, wanted))?;
        }
        Ok(fed)
    }

    fn conflict(&self, input: &str, reason: &str) -> Error {
        Error::Model(ModelError::Signature(SignatureError::ConflictingInput {
            signature: self.name().to_owned(),
            input: input.to_owned(),
            reason: reason.to_owned(),
        }))
    }

    /// Says what to do about an op that cannot run, else which shapes were not as declared, when TensorFlow did not
    /// like what it was given.
    fn explain<T: Borrow<Tensor>>(&self, error: Error, given: &[Option<T>]) -> Error {
        let error = explain::failed_run(error);
        let Error::TensorFlow { action, code, message, hint: None } = error else { return error };
        let unlike = |(input, given): (&Input, &Option<T>)| {
            let info = self.definition().input(&input.name)?;
            let shape = given.as_ref()?.borrow().shape();
            (!info.shape.accepts(shape))
                .then(|| format!("`{}` is declared as {} and was given as {shape:?}", input.name, info.shape))
        };
        let unlike: Vec<String> = self.binding.inputs.iter().zip(given).filter_map(unlike).collect();
        let hint = (!unlike.is_empty()).then(|| unlike.join("; ").into());
        Error::TensorFlow { action, code, message, hint }
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({} of {:?})", self.name(), self.model)
    }
}
