//! Weights in a group for each layer of the model, as `.h5` files have them.

use std::collections::{HashMap, HashSet};

use tf_persist_savedmodel::{Result, printable};

use super::matching::{Named, assign};
use super::order::LayerWeights;
use crate::archive::hdf5::{Dataset, Group};
use crate::layers::{Place, Weight};

/// The group for weights of the model that no layer has.
pub(crate) const TOP_LEVEL: &str = "top_level_model_weights";

/// A layer of the file, with its datasets in order.
struct Saved {
    name: String,
    datasets: Vec<(String, Dataset)>,
}

/// The dataset of each weight. What is wrong with the file is added to `findings`.
///
/// Layers are found by name. If that leaves layers without weights, the order decides, as in Keras: a file with weights
/// alone may be of a model whose layers have other numbers.
pub(super) fn locate(
    root: &Group,
    layers: &[LayerWeights],
    weights: &[Weight],
    findings: &mut Vec<String>,
) -> Result<Vec<Option<Dataset>>> {
    let saved = saved_layers(root, findings)?;
    let layers: Vec<&LayerWeights> = layers.iter().filter(|layer| !layer.weights.is_empty()).collect();
    let by_name: HashMap<&str, usize> =
        saved.iter().enumerate().map(|(index, layer)| (layer.name.as_str(), index)).collect();
    let has_names = layers.iter().all(|layer| by_name.contains_key(layer.layer.as_str()));
    let in_order = !has_names && layers.len() == saved.len();
    let mut found = vec![None; weights.len()];
    let mut taken = HashSet::new();
    for (index, layer) in layers.iter().enumerate() {
        let number = if in_order { Some(index) } else { by_name.get(layer.layer.as_str()).copied() };
        let Some(number) = number else { continue };
        taken.insert(number);
        assign_layer(layer, &saved[number], weights, &mut found, findings);
    }
    for (_, layer) in saved.iter().enumerate().filter(|(number, _)| !taken.contains(number)) {
        let name = printable(&layer.name);
        findings.push(format!("the file has weights of a layer `{name}` that the model does not have"));
    }
    Ok(found)
}

fn assign_layer(
    layer: &LayerWeights,
    saved: &Saved,
    weights: &[Weight],
    found: &mut [Option<Dataset>],
    findings: &mut Vec<String>,
) {
    let wanted: Vec<&Weight> = layer.weights.iter().map(|index| &weights[*index]).collect();
    let named: Vec<Named<'_>> =
        saved.datasets.iter().map(|(name, dataset)| Named { name, shape: dataset.shape() }).collect();
    let assigned = assign(&wanted, &named);
    let mut taken = HashSet::new();
    for (index, chosen) in layer.weights.iter().zip(assigned) {
        if let Some(chosen) = chosen {
            taken.insert(chosen);
            // A layer at several places of the model has the same values at each.
            found[*index].get_or_insert_with(|| saved.datasets[chosen].1.clone());
        }
    }
    for (_, (name, _)) in saved.datasets.iter().enumerate().filter(|(number, _)| !taken.contains(number)) {
        let (name, layer) = (printable(name), printable(&layer.layer));
        findings.push(format!("layer `{layer}` has a weight `{name}` in the file that the model does not have"));
    }
}

/// The layers of the file that have weights, in order.
fn saved_layers(root: &Group, findings: &mut Vec<String>) -> Result<Vec<Saved>> {
    let names = match root.texts("layer_names")? {
        Some(names) => names,
        None => root.members()?.groups,
    };
    let mut saved = Vec::new();
    for name in names.into_iter().filter(|name| name != TOP_LEVEL) {
        let Some(group) = root.group(&name)? else {
            findings.push(format!("the file lists a layer `{}` and does not have it", printable(&name)));
            continue;
        };
        let mut datasets = Vec::new();
        for weight in weight_names(&group)? {
            match group.dataset(&weight)? {
                Some(dataset) => datasets.push((weight, dataset)),
                None => findings.push(format!(
                    "layer `{}` lists a weight `{}` in the file and does not have it",
                    printable(&name),
                    printable(&weight)
                )),
            }
        }
        if !datasets.is_empty() {
            saved.push(Saved { name, datasets });
        }
    }
    if let Some(group) = root.group(TOP_LEVEL)? {
        for name in weight_names(&group)? {
            findings.push(format!("the file has a weight `{}` of the model itself", printable(&name)));
        }
    }
    Ok(saved)
}

/// The dataset of one variable of a layer, by its name.
pub(super) fn find(root: &Group, place: &Place, name: &str) -> Result<Option<Dataset>> {
    let Some(group) = place.layers.first().map(|layer| root.group(layer)).transpose()?.flatten() else {
        return Ok(None);
    };
    let mut names = weight_names(&group)?;
    names.retain(|dataset| dataset.rsplit('/').next().and_then(|last| last.split(':').next()) == Some(name));
    let of_layer =
        |dataset: &&String| place.layers.last().is_some_and(|layer| dataset.split('/').any(|folder| folder == layer));
    match names.iter().find(of_layer).or(names.first().filter(|_| names.len() == 1)) {
        Some(dataset) => group.dataset(dataset),
        None => Ok(None),
    }
}

/// Whether the file has weights of a layer. Those of an inner layer have its name in theirs, or those of `parts`.
pub(super) fn has_weights(root: &Group, place: &Place, parts: &[&str]) -> Result<bool> {
    let Some((first, inner)) = place.layers.split_first() else { return Ok(false) };
    let Some(group) = root.group(first)? else { return Ok(false) };
    let names = weight_names(&group)?;
    Ok(match inner.last() {
        None => !names.is_empty(),
        Some(layer) => names.iter().any(|name| name.split('/').any(|part| part == layer || parts.contains(&part))),
    })
}

/// The names of a group's datasets, in order.
pub(crate) fn weight_names(group: &Group) -> Result<Vec<String>> {
    Ok(group.texts("weight_names")?.unwrap_or_default())
}
