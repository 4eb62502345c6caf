//! Meta graphs: a graph with its tags, its signatures, and its init ops, assets and savers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::parse::parse_contents;
use super::signature::{DEFAULT_SIGNATURE, SignatureDef};
use crate::error::{Error, Result, SavedModelError};
use crate::ops::is_known_op;

/// One of a model's graphs. Cloning it is cheap, and it does not keep the file in memory.
///
/// Source: `MetaGraphDef` in `tensorflow/core/protobuf/meta_graph.proto`.
#[derive(Debug, Clone)]
pub struct MetaGraph {
    contents: Arc<Contents>,
}

/// The contents of a meta graph.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) path: PathBuf,
    /// Its range in the model's file.
    pub(super) range: Range<usize>,
    pub(super) tags: Vec<String>,
    pub(super) tensorflow_version: String,
    pub(super) git_version: String,
    pub(super) stripped_default_attrs: bool,
    pub(super) producer: i64,
    pub(super) signatures: Vec<SignatureDef>,
    pub(super) operations: Vec<SignatureDef>,
    pub(super) init_ops: Vec<InitOp>,
    pub(super) table_initializers: Vec<String>,
    pub(super) assets: Vec<AssetFile>,
    pub(super) nodes: u64,
    pub(super) functions: u64,
    pub(super) function_nodes: u64,
    pub(super) ops: BTreeMap<String, u64>,
    pub(super) calls: BTreeMap<String, u64>,
    pub(super) collections: Vec<String>,
    pub(super) saver: Option<Saver>,
    pub(super) object_graph_nodes: Option<u64>,
    pub(super) slot_variables: u64,
    pub(super) variable_nodes: Vec<VariableNode>,
}

/// An operation that a loader runs once after it has restored the variables.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InitOp {
    /// The place that names it.
    pub source: InitSource,
    /// Its name.
    pub operation: String,
}

/// The places that can name an init op. TensorFlow takes the first that a model has (`GetInitOp` in
/// `tensorflow/cc/saved_model/loader_util.cc`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum InitSource {
    /// The signature `__saved_model_init_op`.
    Signature,
    /// The collection `saved_model_main_op`.
    MainOp,
    /// The collection `legacy_init_op`.
    LegacyInitOp,
}

impl InitSource {
    /// The name of the signature or collection.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Signature => "__saved_model_init_op",
            Self::MainOp => "saved_model_main_op",
            Self::LegacyInitOp => "legacy_init_op",
        }
    }
}

/// A file of the model, and the tensor that is fed its path.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AssetFile {
    /// The name of the string tensor, such as `Const:0`.
    pub tensor: String,
    /// The file's name in the folder `assets`, which may be hostile.
    pub filename: String,
}

/// How the graph saves and restores its own variables (`tensorflow/core/protobuf/saver.proto`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Saver {
    /// The tensor that is fed the checkpoint's prefix.
    pub filename_tensor: String,
    /// The tensor to fetch to save the variables.
    pub save_tensor: String,
    /// The operation to run to restore the variables.
    pub restore_op: String,
    /// Whether it writes one shard for each device.
    pub sharded: bool,
    /// The checkpoints' format: 0 and 1 are from before tensor bundles, 2 is the current one.
    pub version: i64,
}

/// A node of the graph that holds a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VariableNode {
    /// Its name.
    pub name: String,
    /// Its operation: `VarHandleOp`, `VariableV2`, …
    pub op: String,
}

impl MetaGraph {
    /// Reads the meta graph at `range` of a file that was surveyed before. The memory of default values is subtracted
    /// from `budget`.
    pub(super) fn read(
        path: &Path,
        file: &tf_persist_proto::bytes::Bytes,
        range: Range<usize>,
        budget: &mut usize,
    ) -> Result<Self, String> {
        let mut contents = parse_contents(&file.slice(range.clone()), budget)?;
        contents.path = path.to_path_buf();
        contents.range = range;
        Ok(Self { contents: Arc::new(contents) })
    }

    #[doc(hidden)]
    pub fn range(&self) -> Range<usize> {
        self.contents.range.clone()
    }

    /// The tags, in the order of the file. Their order means nothing.
    #[must_use]
    pub fn tags(&self) -> &[String] {
        &self.contents.tags
    }

    /// Whether these are its tags, in any order.
    #[must_use]
    pub fn has_tags<S: AsRef<str>>(&self, tags: &[S]) -> bool {
        tags.iter().all(|tag| self.tags().iter().any(|own| own == tag.as_ref()))
            && self.tags().iter().all(|own| tags.iter().any(|tag| own == tag.as_ref()))
    }

    /// The version of the TensorFlow that wrote it; may be empty.
    #[must_use]
    pub fn tensorflow_version(&self) -> &str {
        &self.contents.tensorflow_version
    }

    /// The git version of the TensorFlow that wrote it; may be empty or `unknown`.
    #[must_use]
    pub fn git_version(&self) -> &str {
        &self.contents.git_version
    }

    /// Whether attributes that have their default values were left out.
    #[must_use]
    pub fn stripped_default_attrs(&self) -> bool {
        self.contents.stripped_default_attrs
    }

    /// The version of the graph's format that its writer produced (`GraphDef.versions.producer`).
    #[must_use]
    pub fn producer(&self) -> i64 {
        self.contents.producer
    }

    /// The names of the signatures that have outputs.
    pub(crate) fn signatures_with_outputs(&self) -> Vec<String> {
        let with_outputs = self.signatures().iter().filter(|signature| !signature.outputs.is_empty());
        with_outputs.map(|signature| signature.name.clone()).collect()
    }

    /// The signatures, sorted by name, without operations that the file has among them, such as
    /// `__saved_model_init_op`.
    #[must_use]
    pub fn signatures(&self) -> &[SignatureDef] {
        &self.contents.signatures
    }

    /// The operations that the file has among the signatures, sorted by name: `__saved_model_init_op`,
    /// `__saved_model_train_op`, and entries without tensors. They are not meant for users, but TensorFlow Serving runs
    /// them by their names.
    pub(crate) fn operations(&self) -> &[SignatureDef] {
        &self.contents.operations
    }

    /// The signature of this name.
    ///
    /// # Errors
    /// [`SavedModelError::UnknownSignature`] with the names of the signatures.
    pub fn signature(&self, name: &str) -> Result<&SignatureDef> {
        self.signatures().iter().find(|signature| signature.name == name).ok_or_else(|| self.unknown_signature(name))
    }

    /// The default signature: `serving_default`, else the only one.
    ///
    /// # Errors
    /// [`SavedModelError::UnknownSignature`] if there is neither.
    pub fn default_signature(&self) -> Result<&SignatureDef> {
        match (self.signature(DEFAULT_SIGNATURE), self.signatures()) {
            (Ok(signature), _) => Ok(signature),
            (Err(_), [only]) => Ok(only),
            (Err(error), _) => Err(error),
        }
    }

    /// The error for a name that no signature has.
    #[doc(hidden)]
    pub fn unknown_signature(&self, name: &str) -> Error {
        Error::SavedModel(SavedModelError::UnknownSignature {
            path: self.contents.path.clone(),
            name: name.to_owned(),
            available: self.signatures().iter().map(|signature| signature.name.clone()).collect(),
        })
    }

    /// The operation that a loader runs after it has restored the variables.
    #[must_use]
    pub fn init_op(&self) -> Option<&InitOp> {
        self.init_ops().first()
    }

    /// Every init op that the model names. The first one counts.
    #[must_use]
    pub fn init_ops(&self) -> &[InitOp] {
        &self.contents.init_ops
    }

    /// The operations that fill tables, of the collection `table_initializer`. Most models run them as part of the init
    /// op; those of TensorFlow Hub and TensorFlow Transform do not.
    #[must_use]
    pub fn table_initializers(&self) -> &[String] {
        &self.contents.table_initializers
    }

    /// The files that the graph reads, with the tensors that are fed their paths.
    #[must_use]
    pub fn assets(&self) -> &[AssetFile] {
        &self.contents.assets
    }

    /// The number of the graph's nodes, without those of functions.
    #[must_use]
    pub fn nodes(&self) -> u64 {
        self.contents.nodes
    }

    /// The number of functions in the graph's library.
    #[must_use]
    pub fn functions(&self) -> u64 {
        self.contents.functions
    }

    /// The number of the functions' nodes.
    #[must_use]
    pub fn function_nodes(&self) -> u64 {
        self.contents.function_nodes
    }

    /// How often each operation is used, in the graph and in its functions.
    #[must_use]
    pub fn ops(&self) -> &BTreeMap<String, u64> {
        &self.contents.ops
    }

    /// How often nodes call functions by using the function's name as their operation.
    #[must_use]
    pub fn calls(&self) -> &BTreeMap<String, u64> {
        &self.contents.calls
    }

    /// How often each operation is used that TensorFlow [`OPS_VERSION`](super::OPS_VERSION) lacks and an op library
    /// must provide.
    #[must_use]
    pub fn custom_ops(&self) -> BTreeMap<&str, u64> {
        let custom = self.ops().iter().filter(|(op, _)| !is_known_op(op));
        custom.map(|(op, count)| (op.as_str(), *count)).collect()
    }

    /// The names of the collections, sorted.
    #[must_use]
    pub fn collections(&self) -> &[String] {
        &self.contents.collections
    }

    /// How the graph saves and restores its variables, if it does.
    #[must_use]
    pub fn saver(&self) -> Option<&Saver> {
        self.contents.saver.as_ref()
    }

    /// The number of objects in the object graph of TensorFlow 2; `None` if there is no object graph.
    #[must_use]
    pub fn object_graph_nodes(&self) -> Option<u64> {
        self.contents.object_graph_nodes
    }

    /// The number of an optimizer's slot variables that the object graph names.
    #[must_use]
    pub fn slot_variables(&self) -> u64 {
        self.contents.slot_variables
    }

    /// The graph's nodes that hold variables.
    #[must_use]
    pub fn variable_nodes(&self) -> &[VariableNode] {
        &self.contents.variable_nodes
    }
}
