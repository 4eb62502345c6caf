//! The plain way out: the same graph, the session's present variables, and everything that stands beside them.

use std::fs;
use std::path::{Path, PathBuf};

use super::copy::{copy_part, copy_parts};
use super::fingerprint;
use super::staging::{self, Staging};
use crate::checkpoint::CheckpointIndex;
use crate::error::{Error, Result};
use crate::files::Files;
use crate::saved_model::{SavedModel, Variable, Variables, parse_tensor_name};
use crate::session::LoadedModel;
use crate::tensor::Tensor;

/// How a model is saved.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct SaveOptions {
    overwrite: bool,
    only_loaded: bool,
}

impl SaveOptions {
    /// Whether a model that stands at the target is replaced. The two change places in one step, once the new one is whole.
    #[must_use]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Whether only the loaded meta graph is written, where the file has several.
    #[must_use]
    pub fn only_loaded(mut self, only: bool) -> Self {
        self.only_loaded = only;
        self
    }

    pub(super) fn overwrites(&self) -> bool {
        self.overwrite
    }

    /// Checks, before anything is loaded, that a model may be saved at `target`: in a folder, or, if it ends in `.tfpack`, in a
    /// [pack](crate::pack).
    ///
    /// # Errors
    /// If it is there and not empty (unless [`SaveOptions::overwrite`]), or is no folder, or no pack.
    pub fn check_target(&self, target: impl AsRef<Path>) -> Result<()> {
        staging::check(target.as_ref(), self.overwrite)
    }
}

/// What was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Saved {
    /// The number of meta graphs.
    pub meta_graphs: usize,
    /// The number of variables.
    pub variables: usize,
    /// Their bytes.
    pub variable_bytes: u64,
}

impl Saved {
    pub(super) fn of(meta_graphs: usize, variables: &Variables) -> Self {
        Self { meta_graphs, variables: variables.all.len(), variable_bytes: variables.total_bytes }
    }
}

impl LoadedModel {
    /// Saves the model as a SavedModel folder, or as a [pack](crate::pack) if the target ends in `.tfpack`: the graph as it was
    /// loaded, the variables as they are now, assets, `assets.extra` and fingerprint. The target appears whole or not at all.
    ///
    /// The fingerprint is one of a new model, with an identifier of its own: [`SavedModel::pack`] makes packs that are the same
    /// each time.
    ///
    /// Other threads may run signatures meanwhile; what they write may or may not be in it.
    ///
    /// # Errors
    /// If the target is there and not empty (unless [`SaveOptions::overwrite`]), the disk is full, or other meta graphs of the
    /// file have variables that this session lacks (unless [`SaveOptions::only_loaded`]).
    pub fn save(&self, target: impl AsRef<Path>, options: SaveOptions) -> Result<Saved> {
        check_place(self.artefact().path(), target.as_ref())?;
        let staging = Staging::begin(target.as_ref(), options.overwrite)?;
        let variables = self.save_variables(&staging)?;
        let source = self.artefact();
        let meta_graphs = if options.only_loaded && source.meta_graphs().len() > 1 {
            self.write_loaded_meta_graph(&staging)?;
            1
        } else {
            self.check_coverage(variables.as_ref())?;
            copy_graph(source, &staging)?;
            fingerprint::carry_over(source.files(), &staging, variables.as_ref())?;
            source.meta_graphs().len()
        };
        copy_parts(source.files(), &staging)?;
        staging.publish()?;
        Ok(Saved::of(meta_graphs, &variables.map_or_else(Variables::none, Variables::of)))
    }

    /// Runs the meta graph's own saver, if there is something to save. Variables that no saver restores are not in the session
    /// either: they are copied as they are.
    fn save_variables(&self, staging: &Staging) -> Result<Option<CheckpointIndex>> {
        let meta_graph = self.meta_graph();
        let had_variables = self.artefact().variables()?.index.is_some();
        if !had_variables {
            return Ok(None);
        }
        let Some(saver) = meta_graph.saver() else {
            copy_part(self.artefact().files(), "variables", staging)?;
            return CheckpointIndex::open(staging.path().join("variables").join("variables")).map(Some);
        };
        let session = self.session();
        let port = |name: &str| {
            let (op, index) = parse_tensor_name(name)?;
            let missing = || {
                let reason = format!("its saver names the tensor `{name}`, which the graph lacks");
                Error::damaged(self.artefact().path(), reason)
            };
            session.port(op, index).ok_or_else(missing)
        };
        let (filename, save) = (port(&saver.filename_tensor)?, port(&saver.save_tensor)?);
        let variables = staging.path().join("variables");
        fs::create_dir(&variables).map_err(Error::io("create", staging.shown("variables")))?;
        let prefix = variables.join("variables");
        let feed = Tensor::from_strings(&[], [prefix.as_os_str().as_encoded_bytes()])?;
        let action = || format!("save the variables of `{}`", self.artefact().path().display());
        session.run(action, None, &[(filename, &feed)], &[save], &[])?;
        CheckpointIndex::open(&prefix).map(Some)
    }

    /// Several meta graphs share one set of variables. Writing back all of them is only right if this session holds every one.
    fn check_coverage(&self, saved: Option<&CheckpointIndex>) -> Result<()> {
        let source = self.artefact();
        if source.meta_graphs().len() == 1 {
            return Ok(());
        }
        let kept = |before: &&Variable| {
            let now = saved.and_then(|saved| saved.get(&before.entry.key));
            now.is_some_and(|now| now.shape == before.entry.shape && now.dtype == before.entry.dtype)
        };
        let lost = source.variables()?.all.iter().find(|before| !kept(before));
        let Some(lost) = lost else { return Ok(()) };
        let tags = self.meta_graph().tags().join(",");
        Err(Error::Unsupported {
            path: source.path().to_path_buf(),
            reason: format!(
                "it has {} meta graphs, and the one with the tags `{tags}` lacks the variable `{}` of another",
                source.meta_graphs().len(),
                lost.name
            ),
            hint: Some(format!("write this meta graph alone, with --tags {tags}")),
        })
    }

    /// Writes the loaded meta graph and no other. No fingerprint: none is better than one of another file.
    fn write_loaded_meta_graph(&self, staging: &Staging) -> Result<()> {
        let name = "saved_model.pb";
        fs::write(staging.path().join(name), self.artefact().alone(self.meta_graph()))
            .map_err(Error::io("write", staging.shown(name)))
    }
}

/// The target must not stand in the model it is made of, nor the model in the target.
pub(super) fn check_place(source: &Path, target: &Path) -> Result<()> {
    let (Ok(source), Ok(target)) = (source.canonicalize(), real(target)) else { return Ok(()) };
    if source == target || !(target.starts_with(&source) || source.starts_with(&target)) {
        return Ok(());
    }
    let reason = if target.starts_with(&source) { "it stands in the model" } else { "the model stands in it" };
    let hint = Some("name a target beside the model".to_owned());
    Err(Error::Unsupported { path: target, reason: reason.into(), hint })
}

fn copy_graph(source: &SavedModel, staging: &Staging) -> Result<()> {
    let name = source.file().file_name().unwrap_or_default();
    let (target, writing) = (staging.path().join(name), Error::io("write", staging.shown(name)));
    if source.is_text() {
        // A text may say more than its binary form in memory.
        return match source.files() {
            Files::Folder(_) => fs::copy(source.file(), target).map(drop).map_err(writing),
            packed => copy_part(packed, &name.to_string_lossy(), staging),
        };
    }
    // What was loaded, which need not be what lies there by now.
    fs::write(target, source.bytes()).map_err(writing)
}

/// A path without links, of which the last parts need not be there yet.
fn real(path: &Path) -> std::io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let existing = path.ancestors().find(|folder| folder.exists()).unwrap_or(&path);
    let rest = path.strip_prefix(existing).unwrap_or(Path::new(""));
    Ok(existing.canonicalize()?.join(rest))
}
