//! Weights in a group for each layer of the model, as `.h5` files have them.

use std::collections::HashMap;

use tf_persist_savedmodel::Error;

use crate::archive::hdf5::{Dataset, Group};
use crate::layers::Weight;

/// The dataset of each weight.
///
/// A group lists the trainable weights before the others, so frozen layers move. If the names at this order's positions
/// fit, they decide; else each weight takes the first free dataset with its name.
pub(super) fn locate(root: &Group, weights: &[Weight]) -> tf_persist_savedmodel::Result<Vec<Option<Dataset>>> {
    let mut by_layer: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, weight) in weights.iter().enumerate() {
        by_layer.entry(weight.place.layers.first().map_or("", String::as_str)).or_default().push(index);
    }
    let mut found = vec![None; weights.len()];
    for (layer, mut indices) in by_layer {
        let Some(group) = root.group(layer)? else { continue };
        let names = names(&group)?;
        indices.sort_by_key(|index| !weights[*index].trainable);
        let fits = |(index, name): (&usize, &String)| ends_with(name, &weights[*index].name);
        let in_order = names.len() == indices.len() && indices.iter().zip(&names).all(fits);
        let mut free: Vec<Option<&String>> = names.iter().map(Some).collect();
        for (position, index) in indices.iter().enumerate() {
            let chosen = match in_order {
                true => Some(position),
                false => free.iter().position(|name| name.is_some_and(|name| ends_with(name, &weights[*index].name))),
            };
            if let Some(name) = chosen.and_then(|chosen| free[chosen].take()) {
                found[*index] = group.dataset(name)?;
            }
        }
        let left: Vec<&str> = free.into_iter().flatten().map(String::as_str).collect();
        if !left.is_empty() {
            let reason = format!("layer `{layer}` has no weight for `{}` in the file", left.join("`, `"));
            return Err(Error::flawed(root.file().path(), reason));
        }
    }
    Ok(found)
}

/// The names of a group's datasets, in order.
pub(crate) fn names(group: &Group) -> tf_persist_savedmodel::Result<Vec<String>> {
    let mut names = Vec::new();
    if let Some(attribute) = group.attribute("weight_names")? {
        names.extend(attribute.texts().unwrap_or_default().iter().cloned());
        return Ok(names);
    }
    for part in 0.. {
        let Some(attribute) = group.attribute(&format!("weight_names{part}"))? else { break };
        names.extend(attribute.texts().unwrap_or_default().iter().cloned());
    }
    Ok(names)
}

/// Whether a dataset such as `dense/kernel:0` is the weight `kernel`.
fn ends_with(dataset: &str, weight: &str) -> bool {
    let name = dataset.rsplit('/').next().unwrap_or(dataset);
    name.split(':').next() == Some(weight)
}
