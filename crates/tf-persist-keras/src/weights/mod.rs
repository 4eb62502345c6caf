//! Finds the values of a model's variables in its file.

mod folders;
mod layers;

use tf_persist_savedmodel::{Error, Tensor};

use crate::archive::hdf5::Dataset;
use crate::layers::Weight;
use crate::source::{Source, WeightLayout};

pub(crate) use layers::names;

/// The dataset of each weight.
pub(crate) fn locate(source: &Source, weights: &[Weight]) -> tf_persist_savedmodel::Result<Vec<Dataset>> {
    let found = match &source.weights {
        WeightLayout::Folders(root) => folders::locate(root, weights)?,
        WeightLayout::Layers(root) => layers::locate(root, weights)?,
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
            Some(_) => {}
        }
    }
    if !wrong.is_empty() {
        return Err(Error::flawed(&source.path, shortened(&wrong)));
    }
    Ok(found.into_iter().flatten().collect())
}

/// The value of a weight, in its dtype.
pub(crate) fn read(source: &Source, weight: &Weight, dataset: &Dataset) -> tf_persist_savedmodel::Result<Tensor> {
    let value = dataset.read()?;
    if value.dtype() == weight.dtype {
        return Ok(value);
    }
    Err(Error::flawed(
        &source.path,
        format!("{} is {} in the file, and {} in the model", described(weight), value.dtype(), weight.dtype),
    ))
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
