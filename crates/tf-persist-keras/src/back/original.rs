//! The file of a model as it is, with other values where they are given.

use tf_persist_savedmodel::{Error, Result};

use super::config;
use super::containers::{entries, version};
use super::keras_file::{Copied, KerasFile, WEIGHTS, copy};
use crate::archive::Attribute;
use crate::archive::hdf5::{Dataset, Group};
use crate::archive::hdf5_writer;
use crate::source::{Source, WeightLayout};

/// What becomes of a dataset, by its path in the file of the weights.
pub(super) type Choose<'a> = dyn FnMut(&str, &Dataset) -> Result<Copied> + 'a;

/// A copy of the file. Weights without a model become a whole file, with the model that was given.
pub(super) fn original(source: &Source, choose: &mut Choose<'_>) -> Result<KerasFile> {
    let mut tree = hdf5_writer::Group::default();
    match (&source.weights, &source.archive) {
        (WeightLayout::Folders(root), Some(archive)) => {
            copy(root, &mut tree, &mut |dataset| choose(dataset.path(), dataset))?;
            let mut entries = Vec::new();
            // What Keras writes besides: the model and its vocabularies. Others would be unknown to it.
            let is_kept = |name: &str| {
                matches!(name, "config.json" | "metadata.json")
                    || (name.starts_with("assets/") && !name.chars().any(char::is_control))
            };
            for name in archive.names().filter(|name| *name != WEIGHTS && is_kept(name)) {
                entries.push((name.to_owned(), archive.read(name)?));
            }
            Ok(KerasFile::Archive(entries, tree))
        }
        (WeightLayout::Folders(root), None) => {
            copy(root, &mut tree, &mut |dataset| choose(dataset.path(), dataset))?;
            Ok(KerasFile::Archive(given_model(source), tree))
        }
        (WeightLayout::Shards(roots), _) => {
            for root in roots {
                copy(root, &mut tree, &mut |dataset| choose(dataset.path(), dataset))?;
            }
            Ok(KerasFile::Archive(given_model(source), tree))
        }
        (WeightLayout::Layers(group), _) => {
            let around = around_layers(group);
            if source.has_own_model {
                let root = group.file().root()?;
                copy(&root, &mut tree, &mut |dataset| choose(dataset.path(), dataset))?;
            } else {
                let (model, _) = config::for_hdf5(&source.model, None);
                tree.set("keras_version", Attribute::Text(version(source)));
                tree.set("backend", Attribute::Text("tensorflow".into()));
                tree.set("model_config", Attribute::Text(model.to_string()));
                let below =
                    tree.group("model_weights").map_err(|reason| Error::flawed(&source.path, reason.to_string()))?;
                copy(group, below, &mut |dataset| choose(&format!("{around}{}", dataset.path()), dataset))?;
            }
            Ok(KerasFile::Hdf5(tree))
        }
    }
}

/// The path of a dataset of the weights in the copy.
pub(super) fn path_in_copy(source: &Source, dataset: &Dataset) -> String {
    match &source.weights {
        WeightLayout::Layers(group) => format!("{}{}", around_layers(group), dataset.path()),
        _ => dataset.path().to_owned(),
    }
}

/// What the copy has in front of the paths of a file that has weights only.
fn around_layers(group: &Group) -> &'static str {
    if group.path().is_empty() { "model_weights/" } else { "" }
}

fn given_model(source: &Source) -> Vec<(String, tf_persist_proto::bytes::Bytes)> {
    entries(&config::for_archive(&source.model, None, source.dialect), &version(source))
}
