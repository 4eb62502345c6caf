//! Sources of the values of variables, and how they are written.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow as pb;

use super::copy::{check_links, copy_part};
use super::staging::Staging;
use crate::checkpoint::restore::{Mapping, RestoreOptions};
use crate::checkpoint::{
    CheckpointIndex, CheckpointReader, CheckpointWriter, OBJECT_GRAPH_KEY, copy_checkpoint, locate_checkpoint,
};
use crate::container::Files;
use crate::dtype::DType;
use crate::error::{CheckpointError, Error, Result};
use crate::saved_model::SavedModel;
use crate::saved_model::declared::Declared;
use crate::saved_model::restored::Restored;
use crate::shape::PartialShape;
use crate::tensor::Tensor;

/// The file prefix of the checkpoint in the folder `variables`.
const PREFIX: &str = "variables";

/// A source of values of variables other than the checkpoint of the model, such as a session.
pub trait VariableSource {
    /// Whether the source has values. If not, those of the checkpoint are written.
    fn has_values(&self) -> bool;

    /// Writes the values of all variables to a checkpoint with this prefix.
    ///
    /// # Errors
    /// If a value cannot be read or written.
    fn write_checkpoint(&self, prefix: &Path) -> Result<()>;
}

/// The source of the values.
pub(super) enum Values<'a> {
    /// The checkpoint of the model.
    Artefact,
    /// Another source, such as a session.
    Source(&'a dyn VariableSource),
    /// A training checkpoint.
    Checkpoint(&'a Restoring),
}

/// A training checkpoint that has the variables of a model.
pub(super) struct Restoring {
    model: SavedModel,
    /// The declarations of the graph, read if shapes differ.
    declared: OnceCell<Declared>,
    own: CheckpointReader,
    other: CheckpointReader,
    pub(super) mapping: Mapping,
    options: RestoreOptions,
    /// A note on the choice of this checkpoint, if the path does not name it.
    pub(super) note: Option<String>,
}

impl Restoring {
    /// Finds the variables of a model in a checkpoint. With `keep_for_now`, missing variables are reported by
    /// [`Restoring::check`] only.
    pub(super) fn find(model: &SavedModel, path: &Path, options: &RestoreOptions, keep_for_now: bool) -> Result<Self> {
        let Some(index) = &model.variables()?.index else {
            let reason = "it has no variables, for which a checkpoint could have values".to_owned();
            return Err(Error::Unsupported { path: model.path().to_path_buf(), reason, hint: None });
        };
        let own = CheckpointReader::new(index.clone());
        let mut note = None;
        let other = match Files::open(path)? {
            Files::Folder(_) => {
                let found = locate_checkpoint(path)?;
                note = found.note;
                CheckpointReader::open(found.prefix)?
            }
            Files::Pack(_) => match &SavedModel::open(path)?.variables()?.index {
                Some(index) => CheckpointReader::new(index.clone()),
                None => {
                    let reason = "the model in it has no variables".to_owned();
                    return Err(Error::Unsupported { path: path.to_path_buf(), reason, hint: None });
                }
            },
        };
        let mut tolerant = options.clone();
        tolerant.keep_missing |= keep_for_now;
        let declared = OnceCell::new();
        let mapping = find(model, &declared, [&own, &other], &tolerant)?;
        Ok(Self { model: model.clone(), declared, own, other, mapping, options: options.clone(), note })
    }

    /// Checks that the checkpoint has the kept variables, if that is required.
    pub(super) fn check(&self, kept: Option<&[Restored]>) -> Result<()> {
        let needed = keys(kept.unwrap_or_default());
        if self.options.keep_missing || !self.mapping.kept.iter().any(|key| needed.contains(key.as_str())) {
            return Ok(());
        }
        find(&self.model, &self.declared, [&self.own, &self.other], &self.options).map(drop).map_err(
            |error| match error {
                Error::Checkpoint(CheckpointError::Mismatch(mut other)) => {
                    other.missing.retain(|missing| needed.contains(missing.key.as_str()));
                    Error::Checkpoint(CheckpointError::Mismatch(other))
                }
                error => error,
            },
        )
    }

    /// The mapping of the kept variables.
    pub(super) fn mapping_of(&self, kept: Option<&[Restored]>) -> Mapping {
        let mut mapping = self.mapping.clone();
        if let Some(kept) = kept {
            let stay = keys(kept);
            mapping.pairs.retain(|pair| stay.contains(pair.key.as_str()));
            mapping.kept.retain(|key| stay.contains(key.as_str()));
        }
        mapping
    }

    fn write(&self, prefix: &Path) -> Result<CheckpointIndex> {
        self.mapping.write(&self.own, &self.other, prefix)
    }
}

/// Finds the variables of a model in another checkpoint. The checkpoint of the model comes first.
fn find(
    model: &SavedModel,
    declared: &OnceCell<Declared>,
    [own, other]: [&CheckpointReader; 2],
    options: &RestoreOptions,
) -> Result<Mapping> {
    let shape = |key: &str| {
        let declared = declared.get_or_init(|| Declared::read(model).and_unrestored(model));
        if !declared.is_of_table(key) {
            return declared.shape(key);
        }
        let rows = own.index().get(key)?.shape.iter().skip(1).map(|size| Some(*size as u64));
        Some(PartialShape::new([None].into_iter().chain(rows).collect()))
    };
    Mapping::find_with(own, other, options, &shape)
}

/// A checkpoint with the values, open for reading.
pub(super) struct Opened {
    reader: Option<CheckpointReader>,
    /// Its folder, if it is temporary.
    _folder: Option<TempDir>,
}

impl Opened {
    /// `None` if the model has no checkpoint.
    pub(super) fn reader(&self) -> Option<&CheckpointReader> {
        self.reader.as_ref()
    }
}

impl Values<'_> {
    /// The training checkpoint, if it is one.
    pub(super) fn restoring(&self) -> Option<&Restoring> {
        if let Values::Checkpoint(restoring) = self { Some(restoring) } else { None }
    }

    /// Writes all variables to a staged model. `None` if there are none.
    pub(super) fn write_all(
        &self,
        source: &SavedModel,
        staging: &Staging,
        plain: bool,
    ) -> Result<Option<CheckpointIndex>> {
        let Some(index) = &source.variables()?.index else { return Ok(None) };
        let folder = staging.path().join("variables");
        match self {
            Values::Source(values) if values.has_values() => {
                fs::create_dir(&folder).map_err(Error::io("create", staging.shown("variables")))?;
                values.write_checkpoint(&folder.join(PREFIX))?;
            }
            Values::Checkpoint(restoring) => {
                fs::create_dir(&folder).map_err(Error::io("create", staging.shown("variables")))?;
                return restoring.write(&folder.join(PREFIX)).map(Some);
            }
            // Variables that no saver restores are not in the session.
            _ => match source.files() {
                Files::Folder(from) => {
                    check_links(from, "variables")?;
                    fs::create_dir(&folder).map_err(Error::io("create", staging.shown("variables")))?;
                    if !plain && has_repeated(index) {
                        return write_once(&CheckpointReader::new(index.clone()), &folder.join(PREFIX)).map(Some);
                    }
                    return copy_checkpoint(from.join("variables").join(PREFIX), folder.join(PREFIX)).map(Some);
                }
                packed => {
                    check_all(source)?;
                    copy_part(packed, "variables", staging)?;
                }
            },
        }
        CheckpointIndex::open(folder.join(PREFIX)).map(Some)
    }

    /// Opens the values of all variables.
    pub(super) fn open(&self, source: &SavedModel, staging: &Staging) -> Result<Opened> {
        let Some(index) = &source.variables()?.index else { return Ok(Opened { reader: None, _folder: None }) };
        let is_own = match self {
            Values::Artefact => true,
            Values::Source(values) => !values.has_values(),
            Values::Checkpoint(_) => false,
        };
        if is_own {
            return Ok(Opened { reader: Some(CheckpointReader::new(index.clone())), _folder: None });
        }
        // In the staged folder, so that it is on the same disk; deleted before publishing.
        let folder = tempfile::Builder::new().prefix("values-").tempdir_in(staging.path());
        let folder = folder.map_err(Error::io("create", staging.shown("variables")))?;
        let prefix = folder.path().join(PREFIX);
        match self {
            Values::Artefact => {}
            Values::Source(values) => values.write_checkpoint(&prefix)?,
            Values::Checkpoint(restoring) => drop(restoring.write(&prefix)?),
        }
        Ok(Opened { reader: Some(CheckpointReader::open(prefix)?), _folder: Some(folder) })
    }
}

/// The keys of restored variables and tables.
fn keys(kept: &[Restored]) -> BTreeSet<&str> {
    kept.iter().flat_map(|item| item.tensors.iter().map(|tensor| tensor.key.as_str())).collect()
}

/// Reads all variables of a model, which checks every checksum.
pub(super) fn check_all(source: &SavedModel) -> Result<()> {
    let Some(index) = &source.variables()?.index else { return Ok(()) };
    let reader = CheckpointReader::new(index.clone());
    index.entries.iter().try_for_each(|entry| match entry.dtype {
        DType::String => reader.read(&entry.key).map(drop),
        _ => reader.read_bytes(&entry.key).map(drop),
    })
}

impl SavedModel {
    /// Whether the checkpoint has so many equal tensors, under several keys, that [`SavedModel::save`] writes their
    /// bytes once.
    ///
    /// # Errors
    /// If the index of the checkpoint is damaged.
    pub fn has_repeated_tensors(&self) -> Result<bool> {
        Ok(self.variables()?.index.as_ref().is_some_and(has_repeated))
    }
}

/// Whether a checkpoint would be smaller by a sixteenth at least if the bytes of tensors that are likely to be equal
/// were written once, and all of it can be written anew. For less, a copy of the files is faster.
fn has_repeated(index: &CheckpointIndex) -> bool {
    let mut places = BTreeMap::new();
    let (mut all, mut repeated) = (0_u64, 0_u64);
    for entry in &index.entries {
        let [part] = entry.parts.as_slice() else { return false };
        let has_size = entry.dtype.size().is_some();
        if part.slice.is_some() || (!has_size && entry.dtype != DType::String) {
            return false;
        }
        if has_size && part.bytes > 0 {
            let place = (part.shard, part.offset);
            let likeness = (entry.dtype.number(), &entry.shape, part.crc32c);
            if *places.entry(likeness).or_insert(place) != place {
                repeated = repeated.saturating_add(part.bytes);
            }
        }
        all = all.saturating_add(part.bytes);
    }
    repeated > all / 16
}

/// Writes a checkpoint anew, with the bytes of equal tensors once.
fn write_once(reader: &CheckpointReader, prefix: &Path) -> Result<CheckpointIndex> {
    let mut writer = CheckpointWriter::create(prefix)?;
    let entries = &reader.index().entries;
    entries.iter().try_for_each(|entry| writer.add_once_from(&entry.key, reader, &entry.key))?;
    writer.finish()
}

/// Writes the kept variables (all for `None`), and a new object graph.
pub(super) fn write_some(
    reader: &CheckpointReader,
    kept: Option<&[Restored]>,
    tracked: Option<&pb::TrackableObjectGraph>,
    (staging, plain): (&Staging, bool),
) -> Result<Option<CheckpointIndex>> {
    let kept = kept.map(keys);
    let stays = |key: &str| key != OBJECT_GRAPH_KEY && kept.as_ref().is_none_or(|kept| kept.contains(key));
    let entries: Vec<_> = reader.index().entries.iter().filter(|entry| stays(&entry.key)).collect();
    if let Some(missing) = kept.iter().flatten().find(|key| reader.index().get(key).is_none()) {
        return Err(Error::damaged(
            &reader.index().prefix,
            format!("it lacks the variable `{missing}`, which the graph restores"),
        ));
    }
    if entries.is_empty() && tracked.is_none() {
        return Ok(None);
    }
    let folder = staging.path().join("variables");
    fs::create_dir(&folder).map_err(Error::io("create", staging.shown("variables")))?;
    let mut writer = CheckpointWriter::create(folder.join(PREFIX))?;
    // First, because data are in the order of keys, as in files of TensorFlow.
    if let Some(tracked) = tracked {
        let bytes =
            tracked.write_to_bytes().map_err(|error| Error::flawed(&reader.index().prefix, error.to_string()))?;
        writer.add(OBJECT_GRAPH_KEY, &Tensor::from_strings(&[], [bytes])?)?;
    }
    let add = if plain { CheckpointWriter::add_from } else { CheckpointWriter::add_once_from };
    entries.iter().try_for_each(|entry| add(&mut writer, &entry.key, reader, &entry.key))?;
    writer.finish().map(Some)
}
