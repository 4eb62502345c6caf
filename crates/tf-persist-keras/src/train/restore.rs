//! The values of an optimizer's variables: those of the file, or those before the first step.

use std::collections::HashMap;

use tf_persist_savedmodel::{Error, Hint, Result, Tensor};

use super::layout::layout_of;
use super::optimizers::{Initial, OptimizerVariable, filled};
use crate::archive::hdf5::{Dataset, Group};
use crate::graph::Resource;
use crate::reason::shown_name;
use crate::source::{Source, WeightLayout};

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
        None => return Err(misfit(source, datasets.len(), variables.len())),
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
            Initial::Weight(Resource::Table(_)) => return Err(misfit(source, datasets.len(), variables.len())),
        };
        values.insert(index, value);
    }
    Ok(values)
}

fn misfit(source: &Source, found: usize, wanted: usize) -> Error {
    Error::Unsupported {
        path: source.path.clone(),
        reason: format!(
            "it has {found} variables of an optimizer, which do not fit its optimizer with {wanted}; this happens when \
             layers were frozen after training"
        ),
        hint: Some(Hint::new("save the model again without its optimizer, or export it from the program that trained")),
    }
}

/// The saved variables of the optimizer, in order.
pub(crate) fn optimizer_datasets(source: &Source) -> Result<Vec<Dataset>> {
    match &source.weights {
        WeightLayout::Folders(root) => match root.group("optimizer/vars")? {
            Some(group) => numbered(&group),
            None => Ok(Vec::new()),
        },
        WeightLayout::Shards(_) => Ok(Vec::new()),
        WeightLayout::Layers(_) => match &source.optimizer_weights {
            Some(group) => named(group),
            None => Ok(Vec::new()),
        },
    }
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
fn named(group: &Group) -> Result<Vec<Dataset>> {
    let mut datasets = Vec::new();
    for name in crate::weights::weight_names(group)? {
        match group.dataset(&name)? {
            Some(dataset) => datasets.push(dataset),
            None => {
                let name = shown_name(&name);
                return Err(Error::flawed(group.file().path(), format!("the optimizer's weight `{name}` is missing")));
            }
        }
    }
    Ok(datasets)
}
