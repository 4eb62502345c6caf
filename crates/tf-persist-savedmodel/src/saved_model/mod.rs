//! SavedModels on disk: opened, checked and inspected without TensorFlow.
//!
//! [`SavedModel::open`] reads `saved_model.pb` once, walks over its structure within limits, and collects the facts
//! about each [`MetaGraph`]. It does not decode the graph: that would take forty times the file's memory, and is needed
//! only to change graphs. A hostile folder can make it return an error, and nothing else.
//!
//! [`SavedModel::from_bytes`] opens a model that is a pack in memory; see [`pack`](crate::pack).
//!
//! Source of the format: `tensorflow/core/protobuf/saved_model.proto`, `meta_graph.proto`, and the loader in
//! `tensorflow/cc/saved_model/`.

mod assets;
mod composite;
pub(crate) mod declared;
mod digest;
mod feeds;
mod fingerprint;
mod graph_def;
mod graph_types;
mod initializers;
pub mod layout;
mod limits;
mod locate;
mod meta_graph;
mod missing;
pub(crate) mod objects;
mod op_counter;
mod op_uses;
mod optimized;
mod parse;
mod required;
pub(crate) mod restored;
mod schema;
mod shape_checks;
mod signature;
mod state_writes;
mod tables;
mod tensor_name;
mod text;
mod training;
mod training_state;
mod unknown_attributes;
mod unrestored;
pub(crate) mod variable_defs;
mod variables;
mod with_only;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tf_persist_proto::bytes::Bytes;
use tf_persist_proto::tensorflow as pb;

pub use crate::ops::{OPS_VERSION, OpPackage, is_known_op, last_tensorflow_with_kernel, usual_package};
pub(crate) use assets::stays_inside;
pub use assets::{Assets, FoundFile};
pub use composite::CompositeSpec;
#[doc(hidden)]
pub use feeds::NamedTensor;
pub use fingerprint::{CheckpointMatch, Fingerprint};
#[doc(hidden)]
pub use graph_def::MAX_GRAPH_BYTES;
#[doc(hidden)]
pub use graph_def::check_model;
#[doc(hidden)]
pub use graph_def::decode_graph;
#[doc(hidden)]
pub use initializers::left_out_initializers;
pub use meta_graph::{AssetFile, InitOp, InitSource, MetaGraph, Saver, VariableNode};
pub use optimized::{Optimized, OptimizedFrom};
#[doc(hidden)]
pub use required::Ends;
#[doc(hidden)]
pub use shape_checks::{are_checked_by_ops, are_sizes_checked_by_ops, has_shrinking_convolution};
#[doc(hidden)]
pub use signature::is_operation_name;
pub use signature::{DEFAULT_SIGNATURE, DefaultValue, SignatureDef, TensorInfo, TensorKind};
#[doc(hidden)]
pub use state_writes::first_effect;
pub use state_writes::first_state_write;
pub(crate) use state_writes::{Writes, first_state_write_to};
pub use tables::{Table, TableContents};
pub use tensor_name::parse_tensor_name;
pub(crate) use training::is_called_after_training;
pub use training::{Training, TrainingKind};
pub use training_state::TrainingState;
pub use unknown_attributes::UnknownAttribute;
pub use unrestored::{FoundBy, FoundVariable, Unrestored};
pub use variables::{Variable, Variables, name_of};

pub use crate::error::{MissingOp, MissingOps, MissingVariable, MissingVariables, OpUse, printable};

use crate::checkpoint::{CheckpointIndex, CheckpointReader};
use crate::container::Files;
use crate::error::{CheckpointError, Error, Result, SavedModelError};
use crate::graph::view::GraphView;
use crate::stand_in;
use crate::tensor::Tensor;
use layout::VARIABLES_PREFIX;
pub(crate) use limits::MAX_FILE_BYTES;
use limits::SizeSurvey;
use locate::{ModelFile, locate, locate_in};
use signature::MAX_DEFAULT_BYTES;

/// The version of the file's format (`kSavedModelSchemaVersion`).
pub const SCHEMA_VERSION: i64 = 1;

/// The tag of graphs that are for inference (`kSavedModelTagServe`).
pub const SERVE: &str = "serve";

/// A SavedModel in a folder or in a [pack](crate::pack). Cloning it is cheap.
///
/// It keeps the model's file in memory; a [`MetaGraph`] does not.
#[derive(Clone)]
pub struct SavedModel {
    model: Arc<Model>,
}

struct Model {
    files: Files,
    file: PathBuf,
    is_text: bool,
    /// The `SavedModel` protobuf, in binary form even if the file is text.
    bytes: Bytes,
    survey: SizeSurvey,
    meta_graphs: Vec<MetaGraph>,
    variables: OnceLock<Variables>,
}

impl SavedModel {
    /// Opens the SavedModel in a folder or a pack (`.tfpack`), from its `saved_model.pb` or else `saved_model.pbtxt`.
    ///
    /// The file is read once and kept. Further memory is a few hundred bytes for each signature and each different
    /// operation. No other file of a folder is read yet; the table of a pack is read and checked.
    ///
    /// # Errors
    /// - [`SavedModelError::NotASavedModel`] with a description of what the path has instead, such as a bare graph;
    /// - [`Error::Damaged`], if the file is cut off, nested more than 100 deep, or would take far more memory than its
    ///   size;
    /// - [`Error::Unsupported`], if the model is in chunks or the file above protobuf's limit of 2 GiB;
    /// - [`Error::Io`], if the operating system refuses to read it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::read(Files::open(path.as_ref())?)
    }

    /// Opens the SavedModel in the bytes of a pack: those of [`SavedModel::to_bytes`] or of a `.tfpack` file. The model
    /// keeps them, and reads variables and graph out of this memory without copying them first.
    ///
    /// # Errors
    /// Those of [`SavedModel::open`]; [`Error::Damaged`] if the bytes are not a complete pack.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Self> {
        Self::read(Files::from_bytes(bytes.into())?)
    }

    /// As [`SavedModel::from_bytes`], with the path of the file that the model was made of: errors and reports name it.
    ///
    /// # Errors
    /// As [`SavedModel::from_bytes`].
    pub fn from_bytes_of(path: impl Into<PathBuf>, bytes: impl Into<Bytes>) -> Result<Self> {
        Self::read(Files::in_memory(bytes.into(), path.into())?)
    }

    fn read(files: Files) -> Result<Self> {
        let located = match &files {
            Files::Folder(folder) => locate(folder)?,
            Files::Pack(pack) => locate_in(pack)?,
        };
        let (file, is_text) = match &located {
            ModelFile::Binary(file) => (file, false),
            ModelFile::Text(file) => (file, true),
        };
        let path = files.path();
        let (limit, limit_name) = if is_text {
            (text::MAX_TEXT_BYTES, "the limit of a text")
        } else {
            (limits::MAX_FILE_BYTES, "protobuf's limit")
        };
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let bytes = files.read(&name, limit, limit_name)?.unwrap_or_default();
        let damaged = |reason: String| Error::damaged(file, reason);
        if bytes.is_empty() {
            return Err(damaged("it is empty".into()));
        }
        stand_in::check(file, &bytes[..bytes.len().min(stand_in::BEGINNING)])?;
        if is_text && locate::looks_like_graph_text(&bytes) {
            return Err(locate::bare_graph(path, &name));
        }
        let bytes = if is_text { text::to_binary(&bytes).map_err(damaged)?.into() } else { bytes };
        let survey = limits::survey(&bytes).map_err(|reason| match text::instead_of_protobuf(&bytes) {
            Some(text) => damaged(text),
            None if reason.contains(" at byte ") => damaged(reason),
            // It is complete, and too large.
            None => Error::flawed(file, reason),
        })?;

        let mut budget = MAX_DEFAULT_BYTES;
        let read = |range| MetaGraph::read(path, &bytes, range, &mut budget);
        let meta_graphs = meta_graph_ranges(&bytes).into_iter().map(read).collect::<Result<Vec<_>, _>>();
        let meta_graphs = meta_graphs.map_err(|reason| Error::flawed(file, reason))?;
        if meta_graphs.is_empty() {
            if survey.looks_like_graph {
                return Err(locate::bare_graph(path, &name));
            }
            return Err(Error::flawed(file, "it has no meta graph"));
        }
        let file = file.clone();
        let model = Model { files, file, is_text, bytes, survey, meta_graphs, variables: OnceLock::new() };
        Ok(Self { model: Arc::new(model) })
    }

    /// The path of the folder or the pack; `<memory>` for a pack in memory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.model.files.path()
    }

    /// The file that it was read from. For a file in a pack this is the path of the pack and the name in it, for
    /// messages only.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.model.file
    }

    /// The length of that file when it was read; for a text, its length now.
    #[must_use]
    pub fn file_bytes(&self) -> Option<u64> {
        if self.is_text() {
            return self.files().length(&self.file().file_name()?.to_string_lossy()).ok()?;
        }
        Some(self.bytes().len() as u64)
    }

    /// The bytes of the largest node of all graphs and their functions in the file: those of the largest constant, if
    /// that is large.
    #[must_use]
    pub fn largest_node(&self) -> usize {
        let graphs = self.meta_graphs().iter().map(|meta_graph| GraphView::new(self.meta_graph_bytes(meta_graph)));
        let nodes =
            graphs.flat_map(|graph| graph.nodes().chain(graph.functions().flat_map(|function| function.nodes())));
        nodes.map(|node| node.encoded_len()).max().unwrap_or(0)
    }

    /// Whether it is in a pack: a `.tfpack` file, or bytes.
    #[must_use]
    pub fn is_packed(&self) -> bool {
        matches!(self.model.files, Files::Pack(_))
    }

    /// Whether that file is text.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.model.is_text
    }

    /// The meta graphs, in the order of the file; at least one.
    #[must_use]
    pub fn meta_graphs(&self) -> &[MetaGraph] {
        &self.model.meta_graphs
    }

    /// The meta graph with exactly these tags, in any order. Without tags: the only one, else the one whose only tag is
    /// `serve`.
    ///
    /// # Errors
    /// [`SavedModelError::UnknownTags`] with the tag sets of the model.
    pub fn meta_graph(&self, tags: Option<&[String]>) -> Result<&MetaGraph> {
        let serve = [SERVE.to_owned()];
        let tags = match (tags, self.meta_graphs()) {
            (None, [only]) => return Ok(only),
            (Some(tags), _) => tags,
            (None, _) => &serve,
        };
        self.meta_graphs().iter().find(|meta_graph| meta_graph.has_tags(tags)).ok_or_else(|| {
            Error::SavedModel(SavedModelError::UnknownTags {
                path: self.path().to_path_buf(),
                asked: tags.to_vec(),
                available: self.meta_graphs().iter().map(|meta_graph| meta_graph.tags().to_vec()).collect(),
            })
        })
    }

    /// The signatures, sorted by name, of the default meta graph.
    ///
    /// # Errors
    /// As [`SavedModel::meta_graph`].
    pub fn signatures(&self) -> Result<&[SignatureDef]> {
        Ok(self.meta_graph(None)?.signatures())
    }

    /// The signature of this name in the default meta graph.
    ///
    /// # Errors
    /// As [`SavedModel::meta_graph`] and [`MetaGraph::signature`].
    pub fn signature(&self, name: &str) -> Result<&SignatureDef> {
        self.meta_graph(None)?.signature(name)
    }

    /// The variables and tables that the model was saved with; none if it has no `variables/variables.index`. All meta
    /// graphs share them.
    ///
    /// # Errors
    /// If the index or a shard is damaged, as [`CheckpointIndex::open`].
    pub fn variables(&self) -> Result<&Variables> {
        if let Some(variables) = self.model.variables.get() {
            return Ok(variables);
        }
        let variables = match variables::index(&self.model.files)? {
            None => Variables::none(),
            Some(index) => {
                let tables = tables::tables(self, &index);
                Variables::new(index, tables)
            }
        };
        Ok(self.model.variables.get_or_init(|| variables))
    }

    /// Reads the value of one variable, without TensorFlow, by its name in [`SavedModel::variables`] or its key in the
    /// checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError::UnknownVariable`] with the names of the variables; those of [`SavedModel::variables`] and
    /// [`CheckpointReader::read`].
    pub fn read_variable(&self, name: &str) -> Result<Tensor> {
        let variables = self.variables()?;
        let variable = variables.all.iter().find(|variable| variable.name == name || variable.entry.key == name);
        match (variable, &variables.index) {
            (Some(variable), Some(index)) => CheckpointReader::new(index.clone()).read(&variable.entry.key),
            _ => Err(Error::Checkpoint(CheckpointError::UnknownVariable {
                prefix: self.path().join(VARIABLES_PREFIX),
                key: name.to_owned(),
                available: variables.all.iter().map(|variable| variable.name.clone()).collect(),
            })),
        }
    }

    /// Checks that the model has all of its variables.
    ///
    /// TensorFlow loads a model without its variables, and then fails at every run.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the graph would restore variables that are missing; those of [`SavedModel::variables`].
    pub fn check(&self, meta_graph: &MetaGraph) -> Result<()> {
        // TensorFlow reads the variables only if the graph can restore them.
        if meta_graph.saver().is_none_or(|saver| saver.restore_op.is_empty()) {
            return Ok(());
        }
        let nodes = meta_graph.variable_nodes();
        if self.variables()?.index.is_some() || nodes.is_empty() {
            return Ok(());
        }
        if self.files().length(VARIABLES_PREFIX)?.is_some() {
            return Err(Error::Unsupported {
                path: self.path().join(VARIABLES_PREFIX),
                reason: "it is a checkpoint of TensorFlow's first format, which is not read with a SavedModel".into(),
                hint: Some(
                    "load the model in Python, with `tf.compat.v1`, and export it with a saver of the second format"
                        .into(),
                ),
            });
        }
        let first = printable(&nodes[0].name);
        let (what, values) = match nodes.len() {
            1 => (format!("a variable, `{first}`"), "its value"),
            count => (format!("{count} variables, `{first}` and others"), "their values"),
        };
        let reason = format!(
            "`variables/variables.index` is missing: the graph has {what}, and TensorFlow would load it without {values} \
             and fail at every run"
        );
        Err(Error::damaged(self.path(), reason))
    }

    /// Whether the model can be trained further. Variables that cannot be read count as missing. The graph is read if
    /// signatures have `train` in their name.
    #[must_use]
    pub fn training(&self, meta_graph: &MetaGraph) -> Training {
        Training::new(meta_graph, self.variables().ok(), |signature| {
            first_state_write_to(self, meta_graph, signature, Writes::Variables).is_some()
        })
    }

    /// The files in the folders `assets` and `assets.extra`, and the declared files that are missing.
    ///
    /// # Errors
    /// If a folder cannot be read, or has far more files than any model.
    pub fn assets(&self, meta_graph: &MetaGraph) -> Result<Assets> {
        Assets::read(&self.model.files, meta_graph)
    }

    /// The fingerprint, if the model has a `fingerprint.pb`, compared with the variables.
    ///
    /// # Errors
    /// If the file is damaged or cannot be read.
    pub fn fingerprint(&self) -> Result<Option<Fingerprint>> {
        let index = self.variables().ok().and_then(|variables| variables.index.as_ref());
        Fingerprint::read(&self.model.files, index.map(CheckpointIndex::fingerprint))
    }

    /// Its files.
    #[doc(hidden)]
    pub fn files(&self) -> &Files {
        &self.model.files
    }

    /// The whole `SavedModel` protobuf as it was written; for a text, its binary form.
    #[doc(hidden)]
    pub fn bytes(&self) -> &Bytes {
        &self.model.bytes
    }

    /// A meta graph's `MetaGraphDef`, as it was written.
    #[doc(hidden)]
    pub fn meta_graph_bytes(&self, meta_graph: &MetaGraph) -> &[u8] {
        self.model.bytes.get(meta_graph.range()).unwrap_or_default()
    }

    /// A meta graph's signatures in the file, by name, including operations and fields without a type in this library.
    /// Of two with the same name, the later one counts.
    ///
    /// # Errors
    /// [`Error::Damaged`] if one cannot be decoded.
    pub fn signature_defs(&self, meta_graph: &MetaGraph) -> Result<BTreeMap<String, pb::SignatureDef>> {
        parse::signature_defs(&self.model.bytes.slice(meta_graph.range()))
            .map_err(|reason| Error::flawed(self.file(), reason))
    }

    /// Decodes a meta graph. Constants share the file's memory; the rest takes about forty times its size.
    ///
    /// # Errors
    /// [`Error::Damaged`] if a number does not fit its field, [`Error::Unsupported`] if it would take gigabytes.
    #[doc(hidden)]
    pub fn decode_meta_graph(&self, meta_graph: &MetaGraph) -> Result<pb::MetaGraphDef> {
        if let Err(reason) = self.model.survey.check_decoding(self.model.bytes.len()) {
            return Err(Error::Unsupported { path: self.file().to_path_buf(), reason, hint: None });
        }
        let message = tf_persist_proto::parse(&self.model.bytes.slice(meta_graph.range()));
        message.map_err(|error| Error::damaged(self.file(), error.to_string()))
    }
}

impl std::fmt::Debug for SavedModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SavedModel").field("path", &self.path()).field("meta_graphs", &self.meta_graphs()).finish()
    }
}

/// The ranges of the meta graphs in a serialized `SavedModel`: field 2.
fn meta_graph_ranges(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut reader = tf_persist_proto::wire::Reader::new(bytes);
    let mut ranges = Vec::new();
    while let Ok(Some((field, value))) = reader.next() {
        if let (2, Some(content)) = (field, value.bytes()) {
            ranges.push(reader.position() - content.len()..reader.position());
        }
    }
    ranges
}

#[cfg(test)]
mod tests;
