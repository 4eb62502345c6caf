//! Weights in folders named after classes: `layers/dense_1/vars/0`.

use crate::archive::hdf5::{Dataset, Group};
use crate::layers::Weight;

/// The dataset of each weight.
pub(super) fn locate(root: &Group, weights: &[Weight]) -> tf_persist_savedmodel::Result<Vec<Option<Dataset>>> {
    weights.iter().map(|weight| find(root, weight)).collect()
}

/// Tries each name that a folder may have.
fn find(root: &Group, weight: &Weight) -> tf_persist_savedmodel::Result<Option<Dataset>> {
    let mut groups = vec![root.clone()];
    for names in &weight.place.folders {
        let mut next = Vec::new();
        for group in &groups {
            for name in names {
                next.extend(group.group(name)?);
            }
        }
        groups = next;
    }
    for group in groups {
        if let Some(dataset) = group.dataset(&format!("vars/{}", weight.index))? {
            return Ok(Some(dataset));
        }
    }
    Ok(None)
}
