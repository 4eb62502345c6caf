//! What a SavedModel keeps of the Keras file that it came from, in `assets.extra/keras`: enough to write it again with
//! other values.
//!
//! `variables.json` is the table of the variables, `skeleton.h5` the file of the weights without their values, and the
//! other files are those of a `.keras` archive.

use std::collections::HashSet;

use serde_json::{Value, json};
use tf_persist_proto::bytes::Bytes;
use tf_persist_savedmodel::checkpoint::CheckpointReader;
use tf_persist_savedmodel::{Error, Hint, Result, SavedModel, Tensor, printable};

use super::containers::{named, optimizer_paths};
use super::keras_file::{Container, Copied, KerasFile, copy};
use super::original::original;
use super::table::{Entry, Table};
use crate::archive::hdf5::{Dataset, Hdf5};
use crate::archive::hdf5_writer::Group;
use crate::reason::Reason;
use crate::source::Source;
use crate::train;

/// The folder in `assets.extra`, and its files that are not those of an archive.
pub(crate) const FOLDER: &str = "keras";
const TABLE: &str = "variables.json";
const SKELETON: &str = "skeleton.h5";

/// The largest dataset that is kept because no variable has its value, such as the state of a metric, and the most
/// bytes of all of them.
const MAX_KEPT: usize = 1 << 20;
const MAX_KEPT_TOTAL: usize = 16 << 20;

/// The largest file that is read.
const MAX_FILE: u64 = 256 << 20;

/// The files in `assets.extra` for a model from a Keras file, by their paths in it.
pub(crate) fn files(source: &Source, entries: Vec<Entry>) -> Result<Vec<(String, Vec<u8>)>> {
    let paths = paths(&entries);
    let keeps_optimizer = keeps_optimizer(source, &entries)?;
    let mut left = MAX_KEPT_TOTAL;
    let file = original(source, &mut |path, dataset| {
        let size = bytes(dataset);
        let is_replaced = paths.contains(path);
        if keeps_optimizer && is_optimizer(path) && !is_replaced {
            return Ok(Copied::Same);
        }
        if is_replaced || is_optimizer(path) || size > MAX_KEPT.min(left) {
            return Ok(Copied::LeftOut);
        }
        left -= size;
        Ok(Copied::Same)
    })?;
    let container = file.container();
    let (tree, archived) = match file {
        KerasFile::Archive(entries, tree) => (tree, entries),
        KerasFile::Hdf5(mut tree) => {
            if !keeps_optimizer {
                tree.remove("optimizer_weights");
            }
            (tree, Vec::new())
        }
    };
    let archived: Vec<(String, Bytes)> =
        archived.into_iter().filter(|(name, _)| name != TABLE && name != SKELETON).collect();
    let table = Table { container, entries, files: archived.iter().map(|(name, _)| name.clone()).collect() };
    let skeleton = tree.to_bytes().map_err(|reason| Error::flawed(&source.path, reason.to_string()))?;
    let mut files =
        vec![(TABLE.to_owned(), format!("{:#}", table.to_json()).into_bytes()), (SKELETON.to_owned(), skeleton)];
    if container == Container::Hdf5 {
        let metadata = json!({"keras_version": source.keras_version});
        files.push(("config.json".into(), source.model.to_string().into_bytes()));
        files.push(("metadata.json".into(), metadata.to_string().into_bytes()));
    }
    files.extend(archived.into_iter().map(|(name, contents)| (name, contents.to_vec())));
    Ok(files.into_iter().map(|(name, contents)| (format!("{FOLDER}/{name}"), contents)).collect())
}

/// Where the datasets are that the values of variables replace.
pub(super) fn paths(entries: &[Entry]) -> HashSet<String> {
    let before_inner = before_inner(entries.iter());
    entries.iter().flat_map(|entry| entry_paths(entry, before_inner)).collect()
}

/// Where the dataset of a variable is, perhaps twice: see [`optimizer_paths`].
fn entry_paths(entry: &Entry, before_inner: Option<usize>) -> Vec<String> {
    let number = entry.path.strip_prefix("optimizer/vars/").and_then(|number| number.parse().ok());
    number.map_or_else(|| vec![entry.path.clone()], |number| optimizer_paths(number, before_inner))
}

/// How many variables a `LossScaleOptimizer` has before those of the optimizer inside it. None for another optimizer.
fn before_inner<'e>(entries: impl Iterator<Item = &'e Entry>) -> Option<usize> {
    let last = entries.filter(|entry| entry.layer.is_none()).position(|entry| entry.weight == "dynamic_scale")?;
    Some(last + 1)
}

/// No fewer than the bytes of a dataset.
fn bytes(dataset: &Dataset) -> usize {
    dataset.shape().iter().fold(8_usize, |size, dim| size.saturating_mul(*dim))
}

/// Whether the state of the optimizer in the file that no variable has is kept as it is: all of it if the model cannot
/// be trained, or what the optimizer does not use.
pub(super) fn keeps_optimizer(source: &Source, entries: &[Entry]) -> Result<bool> {
    let datasets = train::optimizer_datasets(source)?;
    let has_path = |entry: &Entry| datasets.iter().any(|dataset| dataset.path() == entry.path);
    let are_saved = entries.iter().filter(|entry| entry.layer.is_none()).all(has_path);
    Ok(are_saved && datasets.iter().map(bytes).fold(0, usize::saturating_add) <= MAX_KEPT_TOTAL)
}

/// Whether a dataset is state of an optimizer.
pub(super) fn is_optimizer(path: &str) -> bool {
    matches!(path.split('/').next(), Some("optimizer" | "_optimizer" | "optimizer_weights"))
}

/// The file that a SavedModel came from, with the model's values.
///
/// # Errors
/// If it did not come from one, or lacks a variable.
pub(super) fn keras_file(model: &SavedModel) -> Result<KerasFile> {
    let flawed =
        |file: &str, reason: String| Error::flawed(model.path().join("assets.extra").join(FOLDER).join(file), reason);
    let read = |name: &str| {
        let files = model.files();
        files.read(&format!("assets.extra/{FOLDER}/{name}"), MAX_FILE, "the limit of these files")
    };
    let (Some(table), Some(skeleton)) = (read(TABLE)?, read(SKELETON)?) else {
        let reason = "it did not come from a Keras file".to_owned();
        let hint = Some(Hint::new("name the file of the model whose weights it has").set("like"));
        return Err(Error::Unsupported { path: model.path().to_path_buf(), reason, hint });
    };
    let table: Value = serde_json::from_slice(&table).map_err(|error| flawed(TABLE, error.to_string()))?;
    let table = Table::from_json(&table).map_err(|reason| flawed(TABLE, reason.to_string()))?;
    let mut tree = Group::default();
    let path = model.path().join("assets.extra").join(FOLDER).join(SKELETON);
    copy(&Hdf5::open(skeleton, &path)?.root()?, &mut tree, &mut |_| Ok(Copied::Same))?;
    let mut entries = Vec::new();
    for name in &table.files {
        let Some(contents) = read(name)? else {
            return Err(flawed(TABLE, format!("`{}` is missing", printable(name))));
        };
        entries.push((name.clone(), contents));
    }
    let values = values(model, &table.entries)?;
    let has_optimizer = table.entries.iter().any(|entry| entry.layer.is_none());
    add(&mut tree, &values, has_optimizer).map_err(|reason| flawed(TABLE, reason.to_string()))?;
    Ok(match table.container {
        Container::Archive => KerasFile::Archive(entries, tree),
        Container::Hdf5 => KerasFile::Hdf5(tree),
    })
}

/// The values of variables by the paths of their datasets. The state of an optimizer is complete, or left out.
pub(super) fn values<'a>(model: &SavedModel, entries: &'a [Entry]) -> Result<Vec<(&'a Entry, Tensor)>> {
    let (mut values, mut missing) = (Vec::new(), Vec::new());
    let mut lacks_optimizer = false;
    let reader = model.variables()?.index.clone().map(CheckpointReader::new);
    let has = |key: &str| reader.as_ref().is_some_and(|reader| reader.index().get(key).is_some());
    for entry in entries {
        let value = match &reader {
            Some(reader) if has(&entry.key) => reader.read(&entry.key)?,
            _ if entry.layer.is_none() => {
                lacks_optimizer = true;
                continue;
            }
            _ => {
                missing.push(format!("it has no variable `{}`", printable(&entry.name)));
                continue;
            }
        };
        if value.dtype() != entry.dtype || value.shape() != entry.shape {
            missing.push(format!(
                "its variable `{}` is {}{:?}, and should be {}{:?}",
                printable(&entry.name),
                value.dtype(),
                value.shape(),
                entry.dtype,
                entry.shape
            ));
        }
        values.push((entry, value));
    }
    if !missing.is_empty() {
        let reason = crate::weights::shortened(&missing);
        return Err(Error::Unsupported { path: model.path().to_path_buf(), reason, hint: None });
    }
    if lacks_optimizer {
        values.retain(|(entry, _)| entry.layer.is_some());
    }
    Ok(values)
}

/// Adds the values of variables to the groups of a file. If an optimizer has variables and none has a value, what the
/// groups have of it is removed.
pub(super) fn add(tree: &mut Group, values: &[(&Entry, Tensor)], has_optimizer: bool) -> Result<(), Reason> {
    if has_optimizer && values.iter().all(|(entry, _)| entry.layer.is_some()) {
        tree.remove("optimizer");
        tree.remove("optimizer_weights");
    }
    let mut optimizer = Vec::new();
    let before_inner = before_inner(values.iter().map(|(entry, _)| *entry));
    for (entry, value) in values {
        if let Some(name) = entry.path.strip_prefix("optimizer_weights/") {
            optimizer.push((name.to_owned(), value.clone()));
            continue;
        }
        for path in entry_paths(entry, before_inner) {
            tree.insert(&path, value.clone())?;
        }
    }
    if optimizer.is_empty() {
        return Ok(());
    }
    let group = tree.group("optimizer_weights")?;
    if !group.has("weight_names") {
        return named(group, optimizer);
    }
    // With others that are kept.
    for (name, value) in optimizer {
        group.insert(&name, value)?;
    }
    Ok(())
}
