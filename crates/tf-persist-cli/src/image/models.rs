//! The models of an image.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use jiff::Timestamp;
use tf_persist_savedmodel::SavedModel;
use tf_persist_store::image::{LayerEntry, folder_entries, version_entries, with_folders};
use tf_persist_store::{ModelName, Reference, Selector, Version};

use super::ImageArgs;
use super::contents::MODELS;
use crate::error::{Hinted, UsageError};
use crate::keras_args::is_keras_file;
use crate::version_path;

/// A version of a model.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) name: ModelName,
    pub(super) number: u64,
    /// What the store knows of it.
    pub(super) version: Option<Version>,
    pub(super) entries: Vec<LayerEntry>,
}

impl Model {
    /// `digits@3`.
    pub(super) fn reference(&self) -> String {
        format!("{}@{}", self.name, self.number)
    }

    /// The SHA-256 of its manifest in the store.
    pub(super) fn digest(&self) -> Option<&str> {
        self.version.as_ref().map(Version::digest)
    }

    pub(super) fn published_at(&self) -> Option<Timestamp> {
        self.version.as_ref().map(|version| version.manifest().published_at)
    }
}

/// Finds the models of the arguments, whose paths are those of folders or files by now.
pub(super) fn models(args: &ImageArgs, has_op_libraries: bool) -> anyhow::Result<Vec<Model>> {
    let mut known = BTreeSet::new();
    let mut models = Vec::new();
    for path in &args.models {
        if let Some(key) = &args.require_signature {
            version_path::check_signature(path, key)?;
        }
        let model = model(path, args)?;
        if !has_op_libraries {
            check_ops(path)?;
        }
        if !known.insert((model.name.clone(), model.number)) {
            let reference = model.reference();
            return Err(UsageError(format!("two of the models are `{reference}`, and an image has each once")).into());
        }
        models.push(model);
    }
    if args.name.is_some()
        && (models.is_empty() || models.iter().any(|model| model.version.is_some() || args.models.len() > 1))
    {
        let reason = "--name is for one model that is not in a store; versions of a store keep their names";
        return Err(UsageError(reason.into()).into());
    }
    Ok(models)
}

fn model(path: &Path, args: &ImageArgs) -> anyhow::Result<Model> {
    if let Some(version) = version_path::version_at(path)? {
        let (name, number) = (version.model().clone(), version.number());
        let entries = version_entries(&version, &format!("{MODELS}/{name}/{number}"));
        return Ok(Model { name, number, version: Some(version), entries });
    }
    let (name, number) = named(path, args.name.as_ref())?;
    let folder = format!("{MODELS}/{name}/{number}");
    let is_file = path.is_file();
    let entries = if is_keras_file(path) && is_file {
        let file = path.file_name().and_then(|name| name.to_str()).context("the name of the file is not UTF-8")?;
        with_folders(vec![LayerEntry::file(format!("{folder}/{file}"), 0o644, path)])
    } else if is_file {
        let error = anyhow!("`{}` is a file, and an image has the folder of a model", path.display());
        let hint = "write the model to a folder with `tf-persist export` first".to_owned();
        return Err(Hinted { error, hint }.into());
    } else {
        folder_entries(path, &folder)?
    };
    Ok(Model { name, number, version: None, entries })
}

/// The name and the number of a model that is not in a store: `digits/3` is version 3 of `digits`, as TensorFlow
/// Serving reads folders, and `digits` is version 1.
fn named(path: &Path, name: Option<&ModelName>) -> anyhow::Result<(ModelName, u64)> {
    let absolute = path.canonicalize().with_context(|| format!("cannot find `{}`", path.display()))?;
    let last = |path: &Path| if path.is_file() { path.file_stem() } else { path.file_name() }.map(ToOwned::to_owned);
    let text = |path: &Path| last(path).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let own = text(&absolute);
    let number = match own.parse() {
        Ok(Selector::Number(number)) => Some(number),
        _ => None,
    };
    let of_path = || -> anyhow::Result<ModelName> {
        let folder = if number.is_some() { absolute.parent().map(text).unwrap_or_default() } else { own.clone() };
        folder.parse().map_err(|error: tf_persist_store::StoreError| {
            Hinted { error: error.into(), hint: "name it with --name NAME".to_owned() }.into()
        })
    };
    let name = name.map_or_else(of_path, |name| Ok(name.clone()))?;
    let number = number.unwrap_or(1);
    // The same rules as in a store.
    let reference: Reference = format!("{name}@{number}").parse()?;
    Ok((reference.model, number))
}

/// Refuses a model with ops that no library of the image has.
fn check_ops(path: &Path) -> anyhow::Result<()> {
    if is_keras_file(path) {
        return Ok(());
    }
    let model = SavedModel::open(path)?;
    if model.meta_graphs().is_empty() {
        bail!("`{}` has no graph", path.display());
    }
    // A server may be told which one of several is meant.
    match model.meta_graph(None) {
        Ok(graph) => Ok(model.check_ops(graph)?),
        Err(_) => Ok(()),
    }
}
