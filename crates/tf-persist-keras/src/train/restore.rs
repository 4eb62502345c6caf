//! The values of an optimizer's variables: those of the file, or those before the first step.

use std::collections::HashMap;

use serde_json::Value;
use tf_persist_savedmodel::{DType, Error, Result, Tensor};

use super::layout::layout_of;
use super::optimizers::{Initial, OptimizerVariable, filled};
use crate::archive::hdf5::{Dataset, Group};
use crate::config::Dialect;
use crate::convert::KerasModel;
use crate::graph::Resource;
use crate::reason::{self, Reason, refuse, shown_name};
use crate::source::{Source, WeightLayout};

/// Checks that the file has the state of this optimizer, or none. A model with another state can be used, but not
/// trained on.
pub(super) fn check_state(source: &Source, variables: &[OptimizerVariable]) -> reason::Result<()> {
    let datasets = match state(source)? {
        State::Complete(datasets) if datasets.is_empty() => return Ok(()),
        State::Complete(datasets) => datasets,
        State::Lacks(name) => refuse!(
            "the file lacks the optimizer's weight `{}`: Keras cannot write the state of some optimizers to `.h5` files",
            shown_name(&name)
        ),
    };
    let Some(layout) = layout_of(source, variables, &datasets) else {
        return Err(misfit(datasets.len(), variables.len()));
    };
    for (variable, dataset) in layout.into_iter().map(|index| &variables[index]).zip(&datasets) {
        let dtype = dataset.dtype()?;
        if dtype != variable.dtype {
            refuse!("`{}` is {dtype} in the file, and {} in the model", variable.name, variable.dtype);
        }
    }
    Ok(())
}

/// Whether Keras 3 put a `LossScaleOptimizer` around the optimizer. It does so for a model of `mixed_float16`, and
/// writes the state of both, but the config of the optimizer inside alone. So the state tells: the third variable is a
/// count, where an optimizer alone has a slot of a weight, or no more.
///
/// # Errors
/// If Keras trained the model: see [`check_inner`].
pub(super) fn scales_loss(source: &Source) -> reason::Result<bool> {
    if source.dialect != Dialect::Keras3 {
        return Ok(false);
    }
    let State::Complete(datasets) = state(source)? else { return Ok(false) };
    let is = |index: usize, dtype: DType| -> reason::Result<bool> {
        let Some(dataset) = datasets.get(index) else { return Ok(false) };
        Ok(dataset.shape().is_empty() && dataset.dtype()? == dtype)
    };
    if datasets.is_empty() {
        let policy = source.model.pointer("/config/dtype/config/name").and_then(Value::as_str);
        return Ok(policy == Some("mixed_float16"));
    }
    let scales = is(0, DType::Int64)? && is(1, DType::Float32)? && is(2, DType::Int64)?;
    if scales {
        check_inner(source, datasets.len())?;
    }
    Ok(scales)
}

/// Refuses the state of a `LossScaleOptimizer` that made steps. A `.keras` file has that of the optimizer inside twice,
/// and Keras reads the second, which a file that is written back would have from before the training.
fn check_inner(source: &Source, all: usize) -> reason::Result<()> {
    let WeightLayout::Folders(root) = &source.weights else { return Ok(()) };
    let inner = match root.group("optimizer/inner_optimizer/vars")? {
        Some(group) => numbered(&group)?.len(),
        None => 0,
    };
    // Before the first step, the two optimizers have an iteration and a learning rate each, or the inner one a
    // schedule.
    if inner > 0 && all != inner + 2 {
        refuse!(
            "it is of `mixed_float16`, so Keras put a `LossScaleOptimizer` around its optimizer, and a file with the state \
             of both after training is not supported; compile the model again in Python and save it: the optimizer then \
             begins anew"
        );
    }
    Ok(())
}

/// The value of each variable of the optimizer, by its number in the program. `weight` gives the values of weights.
///
/// # Errors
/// If the file has the state of another optimizer.
pub(crate) fn optimizer_values(
    source: &Source,
    variables: &[OptimizerVariable],
    weight: &dyn Fn(usize) -> Result<Tensor>,
) -> Result<HashMap<usize, Tensor>> {
    let datasets = optimizer_datasets(source)?;
    let saved: Vec<&OptimizerVariable> = match layout_of(source, variables, &datasets) {
        _ if datasets.is_empty() => Vec::new(),
        Some(layout) => layout.into_iter().map(|index| &variables[index]).collect(),
        None => return Err(unsupported(source, &misfit(datasets.len(), variables.len()))),
    };
    let mut values = HashMap::new();
    for (variable, dataset) in saved.into_iter().zip(&datasets) {
        let Resource::Variable(index) = variable.resource else { continue };
        let value = dataset.read()?;
        if value.dtype() != variable.dtype {
            let reason =
                format!("`{}` is {} in the file, and {} in the model", variable.name, value.dtype(), variable.dtype);
            return Err(Error::flawed(&source.path, reason));
        }
        values.insert(index, value);
    }
    for variable in variables {
        let Resource::Variable(index) = variable.resource else { continue };
        if values.contains_key(&index) {
            continue;
        }
        let value = match variable.initial {
            Initial::Filled(number) => filled(number, variable.dtype, &variable.shape)?,
            Initial::Weight(Resource::Variable(of)) => weight(of)?,
            Initial::Weight(Resource::Table(_)) => {
                return Err(unsupported(source, &misfit(datasets.len(), variables.len())));
            }
        };
        values.insert(index, value);
    }
    Ok(values)
}

fn misfit(found: usize, wanted: usize) -> Reason {
    Reason::new(format!(
        "it has {found} variables of an optimizer, which do not fit its optimizer with {wanted}; this happens when layers \
         were frozen after training"
    ))
}

fn unsupported(source: &Source, reason: &Reason) -> Error {
    Error::Unsupported { path: source.path.clone(), reason: reason.to_string(), hint: None }
}

impl KerasModel {
    /// Whether the file has the state of its optimizer. Keras does not write that of every optimizer.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn has_optimizer_state(&self) -> Result<bool> {
        Ok(!optimizer_datasets(&self.source)?.is_empty())
    }
}

/// What a file has of the state of an optimizer.
enum State {
    Complete(Vec<Dataset>),
    /// A variable of this name is listed, but not there.
    Lacks(String),
}

/// The saved variables of the optimizer, in order; none if some are missing.
pub(crate) fn optimizer_datasets(source: &Source) -> Result<Vec<Dataset>> {
    Ok(match state(source)? {
        State::Complete(datasets) => datasets,
        State::Lacks(_) => Vec::new(),
    })
}

fn state(source: &Source) -> Result<State> {
    Ok(match (&source.weights, &source.optimizer_weights) {
        (WeightLayout::Folders(root), _) => match root.group("optimizer/vars")? {
            Some(group) => State::Complete(numbered(&group)?),
            None => State::Complete(Vec::new()),
        },
        (WeightLayout::Layers(_), Some(group)) => named(group)?,
        (WeightLayout::Layers(_), None) | (WeightLayout::Shards(_), _) => State::Complete(Vec::new()),
    })
}

/// `0`, `1` and so on.
fn numbered(group: &Group) -> Result<Vec<Dataset>> {
    let mut datasets = Vec::new();
    while let Some(dataset) = group.dataset(&datasets.len().to_string())? {
        datasets.push(dataset);
    }
    Ok(datasets)
}

/// Those that the attribute `weight_names` lists.
fn named(group: &Group) -> Result<State> {
    let mut datasets = Vec::new();
    for name in crate::weights::weight_names(group)? {
        match group.dataset(&name)? {
            Some(dataset) => datasets.push(dataset),
            None => return Ok(State::Lacks(name)),
        }
    }
    Ok(State::Complete(datasets))
}
