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
/// writes the state of both, but the config of the optimizer inside alone. So the state tells.
pub(super) fn scales_loss(source: &Source) -> reason::Result<bool> {
    if source.dialect != Dialect::Keras3 {
        return Ok(false);
    }
    let State::Complete(datasets) = state(source)? else { return Ok(false) };
    if datasets.is_empty() {
        let policy = source.model.pointer("/config/dtype/config/name").and_then(Value::as_str);
        return Ok(policy == Some("mixed_float16"));
    }
    Ok(before_inner(&datasets)?.is_some())
}

/// How many of these variables of an optimizer are before those of another one inside it. None if it is no
/// `LossScaleOptimizer`: the third variable of one is a count, where an optimizer alone has a slot of a weight, or no
/// more.
pub(crate) fn before_inner(datasets: &[Dataset]) -> Result<Option<usize>> {
    /// Those before the first step: iteration and learning rate.
    const FRESH: usize = 2;
    /// Those after it, with the count of steps and the scale.
    const STEPPED: usize = 4;
    let is = |index: usize, dtype: DType| -> Result<bool> {
        let Some(dataset) = datasets.get(index) else { return Ok(false) };
        Ok(dataset.shape().is_empty() && dataset.dtype()? == dtype)
    };
    let scales = is(0, DType::Int64)? && is(1, DType::Float32)? && is(2, DType::Int64)?;
    let has_scale = is(3, DType::Float32)? && is(4, DType::Int64)?;
    Ok(scales.then_some(if has_scale { STEPPED } else { FRESH }))
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
