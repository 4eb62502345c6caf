//! Running a signature.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use super::LoadedModel;
use super::bind::{Binding, Input, Source};
use super::explain;
use super::outputs::Outputs;
use super::run_options::RunOptions;
use super::shapes;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::ffi::Port;
use crate::saved_model::SignatureDef;
use crate::tensor::Tensor;

/// The inputs of a signature that has none.
pub const NO_INPUTS: [(&str, Tensor); 0] = [];

/// A signature of a loaded model, ready to run from any number of threads at once. Keeps the model alive.
#[derive(Clone)]
pub struct Signature {
    model: LoadedModel,
    binding: Arc<Binding>,
}

impl Signature {
    pub(super) fn new(model: LoadedModel, binding: Arc<Binding>) -> Self {
        Self { model, binding }
    }

    /// What the model declares: inputs and outputs with dtype and shape.
    #[must_use]
    pub fn definition(&self) -> &SignatureDef {
        &self.binding.definition
    }

    /// The tensors to be given: name and dtype. A sparse input `KEY` is three: `KEY.indices`, `KEY.values`, `KEY.dense_shape`.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = (&str, DType)> {
        self.binding.inputs.iter().map(|input| (input.name.as_str(), input.dtype))
    }

    /// The names of the tensors that come back. A sparse output is three, as an input.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = &str> {
        self.binding.outputs.iter().map(|output| output.name.as_str())
    }

    /// Runs the signature.
    ///
    /// Names and dtypes are checked before TensorFlow is asked, and shapes against the graph's placeholders, as Python's session
    /// does: some kernels abort the process on a rank they do not expect. The shapes that a signature declares are not, because
    /// signatures lie about them. Numbers are neither copied on their way in nor on their way out.
    ///
    /// # Errors
    /// If an input is missing, unknown, of another dtype or shape, or given twice, or TensorFlow refuses or fails.
    pub fn run<'a, T: Borrow<Tensor>>(&self, inputs: impl IntoIterator<Item = (&'a str, T)>) -> Result<Outputs> {
        self.run_with(inputs, &RunOptions::default())
    }

    /// Runs the signature in a way that is not the usual one.
    ///
    /// # Errors
    /// As [`Signature::run`]; [`Error::UnknownOutput`] if the options name an output that there is not.
    pub fn run_with<'a, T: Borrow<Tensor>>(
        &self,
        inputs: impl IntoIterator<Item = (&'a str, T)>,
        options: &RunOptions<'_>,
    ) -> Result<Outputs> {
        let binding = &*self.binding;
        let wanted = self.wanted(options.outputs)?;
        let mut given: Vec<Option<T>> = binding.inputs.iter().map(|_| None).collect();
        for (name, tensor) in inputs {
            let index = self.input_index(name)?;
            let input = &binding.inputs[index];
            self.check(input, tensor.borrow(), options)?;
            if given[index].replace(tensor).is_some() {
                return Err(self.conflict(&input.name, "was given twice"));
            }
        }
        let fed = self.assign(&given)?;
        let feeds: Vec<_> = binding.feeds.iter().copied().zip(fed.iter().copied()).collect();
        let action = || format!("run signature `{}` of `{}`", self.name(), self.model.artefact().path().display());
        // A signature that only gives its inputs back has nothing to run, which TensorFlow takes for an error.
        let run = |fetches: &[Port]| match fetches {
            [] => Ok(Vec::new()),
            fetches => {
                let run = self.model.session().run(action, None, &feeds, fetches, &[]);
                run.map_err(|error| self.explain(error, &given))
            }
        };
        let value = |fetched: &[Tensor], fetches: &[usize], output: usize| match binding.outputs[output].source {
            Source::Fetch(place) => fetched[fetches.iter().position(|fetch| *fetch == place).unwrap_or(place)].clone(),
            Source::Feed(place) => fed[place].clone(),
        };
        let tensors = match wanted {
            None => {
                let fetched = run(&binding.fetches)?;
                (0..binding.outputs.len()).map(|output| (output, value(&fetched, &[], output))).collect()
            }
            Some(wanted) => {
                let mut fetches: Vec<usize> = Vec::new();
                for output in &wanted {
                    match binding.outputs[*output].source {
                        Source::Fetch(place) if !fetches.contains(&place) => fetches.push(place),
                        _ => {}
                    }
                }
                let fetched = run(&fetches.iter().map(|place| binding.fetches[*place]).collect::<Vec<_>>())?;
                wanted.into_iter().map(|output| (output, value(&fetched, &fetches, output))).collect()
            }
        };
        Ok(Outputs::new(self.binding.clone(), tensors))
    }

    /// The model that it belongs to.
    #[must_use]
    pub fn model(&self) -> &LoadedModel {
        &self.model
    }

    /// Whether every op that a run reaches says itself what shapes it cannot take, so that a run may leave them to it: see
    /// [`RunOptions::shapes_of_any_kind`].
    #[must_use]
    pub fn checks_shapes_itself(&self) -> bool {
        *self.binding.checks_shapes.get_or_init(|| {
            let model = &self.model;
            shapes::are_checked_by_ops(model.artefact(), model.meta_graph(), self.definition())
        })
    }

    /// The places of the outputs that are wanted, in the signature's order; `None` for all.
    fn wanted(&self, names: Option<&[String]>) -> Result<Option<Vec<usize>>> {
        let Some(names) = names else { return Ok(None) };
        let place = |name: &String| {
            self.outputs().position(|output| output == name).ok_or_else(|| Error::UnknownOutput {
                output: name.clone(),
                available: self.outputs().map(str::to_owned).collect(),
            })
        };
        let mut places = names.iter().map(place).collect::<Result<Vec<_>>>()?;
        places.sort_unstable();
        places.dedup();
        Ok(Some(places))
    }

    fn name(&self) -> &str {
        &self.binding.definition.name
    }

    fn input_index(&self, name: &str) -> Result<usize> {
        self.binding.inputs.iter().position(|input| input.name == name).ok_or_else(|| Error::UnknownInput {
            signature: self.name().to_owned(),
            input: name.to_owned(),
            available: self.binding.inputs.iter().map(|input| input.name.clone()).collect(),
        })
    }

    fn check(&self, input: &Input, tensor: &Tensor, options: &RunOptions<'_>) -> Result<()> {
        if input.dtype == tensor.dtype() {
            if input.shape.accepts(tensor.shape()) || options.any_shape && self.checks_shapes_itself() {
                return Ok(());
            }
            return Err(Error::WrongShape {
                signature: self.name().to_owned(),
                input: input.name.clone(),
                expected: input.shape.clone(),
                given: tensor.shape().to_vec(),
            });
        }
        Err(Error::WrongDType {
            signature: self.name().to_owned(),
            input: input.name.clone(),
            expected: input.dtype,
            given: tensor.dtype(),
        })
    }

    /// The value of each feed, from what was given and the defaults.
    fn assign<'v, T: Borrow<Tensor>>(&'v self, given: &'v [Option<T>]) -> Result<Vec<&'v Tensor>> {
        let binding = &*self.binding;
        let mut fed: Vec<Option<&Tensor>> = vec![None; binding.feeds.len()];
        for (input, given) in binding.inputs.iter().zip(given) {
            let Some(tensor) = given.as_ref().map(Borrow::borrow) else { continue };
            match fed[input.feed] {
                Some(other) if other != tensor => {
                    let reason = "names the same tensor as another input, which was given another value";
                    return Err(self.conflict(&input.name, reason));
                }
                _ => fed[input.feed] = Some(tensor),
            }
        }
        // What was given stands before what is there by default, under whichever of its names.
        let mut missing = Vec::new();
        for (input, _) in binding.inputs.iter().zip(given).filter(|(_, given)| given.is_none()) {
            match &input.default {
                Some(default) => fed[input.feed] = fed[input.feed].or(Some(default)),
                None => missing.push(input.name.clone()),
            }
        }
        if !missing.is_empty() {
            return Err(Error::MissingInput { signature: self.name().to_owned(), missing });
        }
        Ok(fed.into_iter().flatten().collect())
    }

    fn conflict(&self, input: &str, reason: &str) -> Error {
        Error::ConflictingInput {
            signature: self.name().to_owned(),
            input: input.to_owned(),
            reason: reason.to_owned(),
        }
    }

    /// Says what to do about an op that cannot run, else which shapes were not as declared, when TensorFlow did not like what it
    /// was given.
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
        let hint = (!unlike.is_empty()).then(|| unlike.join("; "));
        Error::TensorFlow { action, code, message, hint }
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({} of {:?})", self.name(), self.model)
    }
}
