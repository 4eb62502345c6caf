//! Saves a model with the values of its checkpoint, of a session or of a training checkpoint.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow as pb;

use super::copy::{copy_fitting_parts, copy_part, copy_parts};
use super::staging::Staging;
use super::values::{self, Restoring, Values, VariableSource};
use super::{SaveOptions, fingerprint, optimized, requests, smallest};
use crate::checkpoint::restore::{Mapping, tracked_objects};
use crate::checkpoint::{CheckpointIndex, CheckpointReader};
use crate::container::Files;
use crate::container::pack::is_pack_path;
use crate::error::{Error, Hint, Result, SavedModelError};
use crate::rewrite::prune::{self, Pruned};
use crate::rewrite::{Simplified, freeze, simplify};
use crate::saved_model::layout::{GRAPH_FILE, STATE_FILE};
use crate::saved_model::{MAX_FILE_BYTES, MetaGraph, SCHEMA_VERSION, SavedModel, TrainingState, Variable, Variables};

/// A report of a saved model.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SaveReport {
    /// The number of meta graphs.
    pub meta_graphs: usize,
    /// The names of the signatures of all meta graphs, sorted.
    pub signatures: Vec<String>,
    /// The number of variables.
    pub variables: usize,
    /// The tables in the checkpoint, and the number of their entries; `None` if it was not counted.
    pub tables: Vec<(String, Option<usize>)>,
    /// The bytes of the variables and tables.
    pub variable_bytes: u64,
    /// The source of each variable, with [`SaveOptions::from_checkpoint`].
    pub restored: Option<Mapping>,
    /// A sentence on the choice of this checkpoint, if its path does not name it.
    pub note: Option<String>,
    /// Whether its recorded sequence of requests was left out, because a signature that it calls is not kept.
    pub dropped_sequence: bool,
}

impl SavedModel {
    /// Saves the model as a SavedModel folder, or as a [pack](crate::pack) if the target ends in `.tfpack`, without
    /// TensorFlow: the graph, the variables with checked checksums, assets, `assets.extra` and fingerprint. The target
    /// appears atomically. Without options that change the model, files of packs stay as they are: equal models give
    /// equal packs, byte for byte.
    ///
    /// ```no_run
    /// use tf_persist_savedmodel::{SaveOptions, SavedModel};
    ///
    /// # fn main() -> tf_persist_savedmodel::Result<()> {
    /// let digits = SavedModel::open("models/digits/model")?;
    /// digits.save("digits-frozen", SaveOptions::default().frozen(true))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the target exists and is not empty (unless [`SaveOptions::overwrite`]), the disk is full, the model is
    /// damaged, or the options do not fit it: an unknown signature, or a variable that cannot become a constant.
    pub fn save(&self, target: impl AsRef<Path>, options: SaveOptions) -> Result<SaveReport> {
        let target = target.as_ref();
        let chosen = match &options.tags {
            Some(tags) => Some(self.meta_graph(Some(tags))?),
            None if options.rewrite.changes() => Some(self.meta_graph(None)?),
            None => None,
        };
        match chosen {
            Some(meta_graph) => self.check(meta_graph)?,
            None => self.meta_graphs().iter().try_for_each(|meta_graph| self.check(meta_graph))?,
        }
        if let Some((path, how)) = &options.checkpoint {
            // The checkpoint need not have variables that are pruned.
            let other = Restoring::find(self, path, how, options.rewrite.prunes())?;
            let (staging, saved) = stage(self, chosen, &Values::Checkpoint(&other), target, &options)?;
            staging.publish()?;
            return Ok(SaveReport { note: other.note, ..saved });
        }
        if chosen.is_none() && (is_pack_path(target) || self.is_packed()) {
            values::check_all(self)?;
            let write = if is_pack_path(target) { Self::pack } else { Self::unpack };
            return write(self, target, options.overwrite);
        }
        let (staging, saved) = stage(self, chosen, &Values::Artefact, target, &options)?;
        staging.publish()?;
        Ok(saved)
    }
}

impl SavedModel {
    /// As [`SavedModel::save`], with values from another source, for one meta graph or for all that share its
    /// variables.
    ///
    /// # Errors
    /// As [`SavedModel::save`], and if other meta graphs of the file have variables that the source lacks, unless
    /// [`SaveOptions::tags`] selects the meta graph.
    pub fn save_values(
        &self,
        meta_graph: &MetaGraph,
        values: &dyn VariableSource,
        target: impl AsRef<Path>,
        options: &SaveOptions,
    ) -> Result<SaveReport> {
        let (staging, saved) = self.stage_values(meta_graph, values, target.as_ref(), options)?;
        staging.publish()?;
        Ok(saved)
    }

    /// As [`SavedModel::save_values`], without publishing the folder.
    ///
    /// # Errors
    /// As [`SavedModel::save_values`].
    #[doc(hidden)]
    pub fn stage_values(
        &self,
        meta_graph: &MetaGraph,
        values: &dyn VariableSource,
        target: &Path,
        options: &SaveOptions,
    ) -> Result<(Staging, SaveReport)> {
        if let Some(tags) = options.tags.as_ref().filter(|tags| !meta_graph.has_tags(tags)) {
            let available = vec![meta_graph.tags().to_vec()];
            let (path, asked) = (self.path().to_path_buf(), tags.clone());
            return Err(SavedModelError::UnknownTags { path, asked, available }.into());
        }
        if options.checkpoint.is_some() {
            let reason = "it is loaded, and its variables are those of its session, not of a checkpoint";
            let hint = Some("save the model that was opened, with SavedModel::save".into());
            return Err(Error::Unsupported { path: self.path().to_path_buf(), reason: reason.into(), hint });
        }
        let alone = options.tags.is_some() || options.rewrite.changes();
        stage(self, alone.then_some(meta_graph), &Values::Source(values), target, options)
    }
}

impl SaveReport {
    pub(super) fn new(meta_graphs: &[MetaGraph], variables: &Variables) -> Self {
        let names: BTreeSet<&str> =
            meta_graphs.iter().flat_map(MetaGraph::signatures).map(|signature| signature.name.as_str()).collect();
        Self {
            meta_graphs: meta_graphs.len(),
            signatures: names.into_iter().map(str::to_owned).collect(),
            variables: variables.all.len(),
            tables: counted(variables),
            variable_bytes: variables.total_bytes,
            restored: None,
            note: None,
            dropped_sequence: false,
        }
    }
}

/// The tables, and the number of their entries.
fn counted(variables: &Variables) -> Vec<(String, Option<usize>)> {
    let Some(index) = variables.index.as_ref().filter(|_| !variables.tables.is_empty()) else { return Vec::new() };
    let reader = CheckpointReader::new(index.clone());
    variables.tables.iter().map(|table| (table.name.clone(), table.entries(&reader))).collect()
}

/// Writes one meta graph, or all, to a staged folder.
fn stage(
    source: &SavedModel,
    chosen: Option<&MetaGraph>,
    values: &Values<'_>,
    target: &Path,
    options: &SaveOptions,
) -> Result<(Staging, SaveReport)> {
    check_separate(source.path(), target)?;
    let staging = Staging::begin(target, options.overwrite)?;
    let saved = match chosen {
        Some(meta_graph) if options.rewrite.changes() => write_changed(source, meta_graph, values, &staging, options)?,
        _ => write_unchanged(source, chosen, values, &staging, options.plain)?,
    };
    Ok((staging, saved))
}

/// Writes the unchanged graph.
fn write_unchanged(
    source: &SavedModel,
    chosen: Option<&MetaGraph>,
    values: &Values<'_>,
    staging: &Staging,
    plain: bool,
) -> Result<SaveReport> {
    let variables = values.write_all(source, staging, plain)?;
    let meta_graphs = chosen.map_or(source.meta_graphs(), std::slice::from_ref);
    match chosen {
        Some(meta_graph) if source.meta_graphs().len() > 1 => {
            // No fingerprint is better than that of another file.
            fs::write(staging.path().join(GRAPH_FILE), source.with_only(meta_graph))
                .map_err(Error::io("write", staging.shown(GRAPH_FILE)))?;
        }
        _ => {
            if let Values::Source(_) = values {
                check_coverage(source, variables.as_ref())?;
            }
            copy_graph(source, staging)?;
            fingerprint::carry_over(source.files(), staging, variables.as_ref())?;
        }
    }
    copy_parts(source.files(), staging)?;
    let now = match variables {
        Some(index) => source.variables()?.again(index),
        None => Variables::none(),
    };
    let saved = SaveReport::new(meta_graphs, &now);
    Ok(SaveReport { restored: values.restoring().map(|restoring| restoring.mapping.clone()), ..saved })
}

/// Writes the changed graph, and the variables that it needs.
fn write_changed(
    source: &SavedModel,
    meta_graph: &MetaGraph,
    values: &Values<'_>,
    staging: &Staging,
    options: &SaveOptions,
) -> Result<SaveReport> {
    let rewrite = options.rewrite_of(meta_graph);
    let restoring = values.restoring();
    let values = values.open(source, staging)?;
    let reader = values.reader();
    let tracked = reader.map(tracked_objects).transpose()?.flatten();
    let Pruned { mut definition, tracked, kept, dropped_assets, signatures: kept_signatures, functions } =
        prune::prune(source, meta_graph, tracked, &rewrite)?;
    if let Some(restoring) = restoring {
        restoring.check(kept.as_deref())?;
    }
    let (mut variables, mut simplified) = (None, Simplified::default());
    if rewrite.frozen {
        definition.object_graph_def = None.into();
        let none = Vec::new();
        if let Some(reader) = reader {
            freeze::freeze(source.path(), &mut definition, kept.as_ref().unwrap_or(&none), reader)?;
        }
        if let Some(asserts) = rewrite.simplified {
            simplified = simplify(&mut definition, asserts);
        }
    } else if let Some(reader) = reader {
        variables = values::write_some(reader, kept.as_deref(), tracked.as_ref(), (staging, options.plain))?;
    }
    drop(values);
    if rewrite.prunes() {
        finish_pruned(source, &mut definition, &functions)?;
    }
    let for_users = |name: &&String| !name.starts_with("__saved_model");
    let signatures = definition.signature_def.keys().filter(for_users).cloned().collect();
    write_graph(source, definition, staging)?;
    copy_fitting_parts(source.files(), &dropped_assets, staging)?;
    let dropped_sequence = requests::fit(source.path(), staging, &kept_signatures)?;
    // Training cannot resume without its signature.
    let trains = |state: &TrainingState| kept_signatures.get(&state.signature) == Some(&state.signature);
    if !TrainingState::from_saved_model(source).ok().flatten().is_some_and(|state| trains(&state)) {
        let _ = fs::remove_file(staging.path().join(STATE_FILE));
    }
    if options.optimized {
        optimized::write(source, &simplified, staging)?;
    }
    let variables = match variables {
        Some(index) => source.variables()?.again(index),
        None => Variables::none(),
    };
    Ok(SaveReport {
        meta_graphs: 1,
        signatures,
        variables: variables.all.len(),
        tables: counted(&variables),
        variable_bytes: variables.total_bytes,
        restored: restoring.map(|restoring| restoring.mapping_of(kept.as_deref())),
        note: None,
        dropped_sequence,
    })
}

/// Checks that a pruned graph has all that it needs, and enlarges it if it is too small to be optimised.
pub(super) fn finish_pruned(
    source: &SavedModel,
    definition: &mut pb::MetaGraphDef,
    functions: &BTreeSet<String>,
) -> Result<()> {
    prune::check_whole(definition, functions).map_err(|reason| Error::CannotExport {
        path: source.path().to_path_buf(),
        reason,
        hint: Some(Hint::new("export it with all its parts").unset("inference_only").unset("frozen")),
    })?;
    smallest::enlarge(definition);
    Ok(())
}

fn write_graph(source: &SavedModel, definition: pb::MetaGraphDef, staging: &Staging) -> Result<()> {
    let bytes = encode(source, definition)?;
    fs::write(staging.path().join(GRAPH_FILE), bytes).map_err(Error::io("write", staging.shown(GRAPH_FILE)))
}

/// The contents of the file of a model with one meta graph.
pub(super) fn encode(source: &SavedModel, definition: pb::MetaGraphDef) -> Result<Vec<u8>> {
    let model = pb::SavedModel {
        saved_model_schema_version: SCHEMA_VERSION,
        meta_graphs: vec![definition],
        ..Default::default()
    };
    let size = model.compute_size();
    if size > MAX_FILE_BYTES {
        let reason = format!("the graph would have {size} bytes, and protobuf's limit is 2 GiB");
        return Err(Error::Unsupported { path: source.file().to_path_buf(), reason, hint: None });
    }
    model.write_to_bytes().map_err(|error| Error::flawed(source.file(), error.to_string()))
}

/// Checks that neither of target and model contains the other.
pub(super) fn check_separate(source: &Path, target: &Path) -> Result<()> {
    let (Ok(source), Ok(target)) = (source.canonicalize(), real(target)) else { return Ok(()) };
    if source == target || !(target.starts_with(&source) || source.starts_with(&target)) {
        return Ok(());
    }
    let reason = if target.starts_with(&source) { "it is inside the model" } else { "the model is inside it" };
    let hint = Some("name a target beside the model".into());
    Err(Error::Unsupported { path: target, reason: reason.into(), hint })
}

/// Checks that the saved variables cover all meta graphs, which share one checkpoint.
fn check_coverage(source: &SavedModel, saved: Option<&CheckpointIndex>) -> Result<()> {
    if source.meta_graphs().len() == 1 {
        return Ok(());
    }
    let kept = |before: &&Variable| {
        let now = saved.and_then(|saved| saved.get(&before.entry.key));
        now.is_some_and(|now| now.shape == before.entry.shape && now.dtype == before.entry.dtype)
    };
    let variables = source.variables()?;
    let tables = variables.tables.iter().find(|table| saved.is_none_or(|saved| saved.get(&table.keys.key).is_none()));
    let lost = variables.all.iter().find(|before| !kept(before)).map(|lost| &lost.name);
    let lost = lost.or(tables.map(|lost| &lost.name));
    let Some(lost) = lost else { return Ok(()) };
    Err(Error::Unsupported {
        path: source.path().to_path_buf(),
        reason: format!(
            "it has {} meta graphs, and the one that is loaded lacks the variable `{}` of another",
            source.meta_graphs().len(),
            lost
        ),
        hint: Some(Hint::new("write this meta graph alone").set("tags")),
    })
}

fn copy_graph(source: &SavedModel, staging: &Staging) -> Result<()> {
    let name = source.file().file_name().unwrap_or_default();
    let (target, writing) = (staging.path().join(name), Error::io("write", staging.shown(name)));
    if source.is_text() {
        // The text may have more information than its binary form in memory.
        return match source.files() {
            Files::Folder(_) => fs::copy(source.file(), target).map(drop).map_err(writing),
            packed => copy_part(packed, &name.to_string_lossy(), staging),
        };
    }
    // The bytes that were loaded: the file may have changed.
    fs::write(target, source.bytes()).map_err(writing)
}

/// Resolves the links of a path whose last parts may not exist yet.
fn real(path: &Path) -> std::io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let existing = path.ancestors().find(|folder| folder.exists()).unwrap_or(&path);
    let rest = path.strip_prefix(existing).unwrap_or(Path::new(""));
    Ok(existing.canonicalize()?.join(rest))
}
