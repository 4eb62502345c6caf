//! Finds the values of a model's variables in its file.

mod cast;
mod folders;
mod layers;
mod matching;
mod order;
#[cfg(test)]
mod tests;

use tf_persist_savedmodel::{DType, Error, Hint, Result, Tensor};

use crate::archive::hdf5::Dataset;
use crate::layers::{NamedLayer, Place, Weight};
use crate::source::{Source, WeightLayout};

pub(crate) use folders::OLD_LAYERS;
pub(crate) use layers::{TOP_LEVEL, weight_names};
pub(crate) use order::by_layer;

/// The dataset of each weight.
///
/// # Errors
/// All that is wrong, in one sentence: weights without a value, values without a weight, wrong shapes.
pub(crate) fn locate(source: &Source, model: &NamedLayer, weights: &[Weight]) -> Result<Vec<Dataset>> {
    let mut findings = Vec::new();
    let found = match &source.weights {
        WeightLayout::Folders(root) => folders::locate(std::slice::from_ref(root), weights, &mut findings)?,
        WeightLayout::Shards(roots) => folders::locate(roots, weights, &mut findings)?,
        WeightLayout::Layers(root) => {
            let layers = by_layer(model, source.dialect, weights);
            layers::locate(root, &layers, weights, &mut findings)?
        }
    };
    let mut wrong = Vec::new();
    for (weight, dataset) in weights.iter().zip(&found) {
        match dataset {
            None => wrong.push(format!("{} has no value", described(weight))),
            Some(dataset) if dataset.shape() != weight.shape => wrong.push(format!(
                "{} has shape {:?} in the file, and {:?} in the model",
                described(weight),
                dataset.shape(),
                weight.shape
            )),
            Some(dataset) => {
                let dtype = dataset.dtype()?;
                if !is_assignable(dtype, weight.dtype) {
                    wrong.push(format!(
                        "{} is {dtype} in the file, and {} in the model",
                        described(weight),
                        weight.dtype
                    ));
                }
            }
        }
    }
    wrong.append(&mut findings);
    if !wrong.is_empty() {
        let hint = match source.has_own_model {
            true => Hint::new("save the model again, so that its weights are those of its layers"),
            false => Hint::new("give the JSON of the model whose weights these are").set("architecture"),
        };
        return Err(Error::Damaged { path: source.path.clone(), reason: shortened(&wrong), hint: Some(hint) });
    }
    Ok(found.into_iter().flatten().collect())
}

/// The value of a variable that is not declared yet, because the graph depends on it. None if the file does not have
/// it.
pub(crate) fn early_value(file: &WeightLayout, place: &Place, index: usize, name: &str) -> Result<Option<Tensor>> {
    let dataset = match file {
        WeightLayout::Folders(root) => folders::find(std::slice::from_ref(root), place, index, name)?,
        WeightLayout::Shards(roots) => folders::find(roots, place, index, name)?,
        WeightLayout::Layers(root) => layers::find(root, place, name)?,
    };
    dataset.map(|dataset| dataset.read()).transpose()
}

/// If the file has weights of a custom layer that is a model: the folders between the layer's and the model's.
/// `attribute` are their names, where several models are possible. `layers` are the names of the model's layers.
pub(crate) fn model_folders(
    file: &WeightLayout,
    place: &Place,
    attribute: Option<&[String]>,
    layers: &[&str],
) -> crate::reason::Result<Option<Vec<String>>> {
    match file {
        WeightLayout::Folders(root) => folders::model_folders(std::slice::from_ref(root), place, attribute),
        WeightLayout::Shards(roots) => folders::model_folders(roots, place, attribute),
        WeightLayout::Layers(root) => Ok(layers::has_weights(root, place, layers)?.then(Vec::new)),
    }
}

/// The value of a weight, in its dtype.
pub(crate) fn read(source: &Source, weight: &Weight, dataset: &Dataset) -> Result<Tensor> {
    let value = dataset.read()?;
    if value.dtype() == weight.dtype {
        return Ok(value);
    }
    let dtype = value.dtype();
    cast::cast(&value, weight.dtype)?.ok_or_else(|| {
        let reason = format!("{} is {dtype} in the file, and {} in the model", described(weight), weight.dtype);
        Error::flawed(&source.path, reason)
    })
}

/// Whether Keras assigns values of one dtype to a variable of another.
fn is_assignable(value: DType, variable: DType) -> bool {
    let is_number = |dtype| !matches!(dtype, DType::String | DType::Complex64 | DType::Complex128);
    value == variable || (is_number(value) && is_number(variable))
}

/// `kernel` of layer `dense`.
fn described(weight: &Weight) -> String {
    let layers = tf_persist_savedmodel::printable(&weight.place.layers.join("/")).to_string();
    format!("`{}` of layer `{layers}`", weight.name)
}

/// Findings in one sentence.
pub(crate) fn shortened(findings: &[String]) -> String {
    const MOST: usize = 20;
    let mut text = findings.iter().take(MOST).cloned().collect::<Vec<_>>().join("; ");
    if findings.len() > MOST {
        text.push_str(&format!("; and {} more", findings.len() - MOST));
    }
    text
}
