//! Loaded models: a SavedModel in a session of TensorFlow.

mod bind;
mod explain;
mod init;
mod load;
mod load_folder;
mod optimize;
mod options;
mod outputs;
mod run_options;
mod save;
mod signature;
mod unrestored;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

pub use load::LoadSavedModel;
pub use load_folder::UnpackTarget;
pub use optimize::Optimization;
pub use options::{Executor, LoadOptions, Optimize};
pub use outputs::Outputs;
pub use run_options::RunOptions;
pub use signature::{NO_INPUTS, Signature};

use tf_persist_savedmodel::saved_model::{MetaGraph, SavedModel, UnknownAttribute};

use crate::error::Result;
use crate::ffi;
use crate::runtime::Runtime;
use bind::Binding;
use load_folder::LoadFolder;

/// A SavedModel in a session, with variables restored and initialisers run.
///
/// Clones share the session. Any number of threads may run signatures at once, and share the variables.
#[derive(Clone)]
pub struct LoadedModel(Arc<Inner>);

struct Inner {
    session: ffi::Session,
    saved_model: SavedModel,
    meta_graph: MetaGraph,
    /// For each signature of the meta graph, its binding, created on first use.
    bindings: Vec<OnceLock<Arc<Binding>>>,
    runtime: Runtime,
    /// Dropped after the session.
    load_folder: LoadFolder,
    ignored: Vec<UnknownAttribute>,
    /// The variables that were restored without the saver of the graph.
    restored: Vec<unrestored::Restored>,
    other_threads: Option<i32>,
    /// What was done to make it faster, if that was asked for.
    optimization: OnceLock<Optimization>,
}

impl LoadedModel {
    /// Opens and loads a SavedModel in one step.
    ///
    /// # Errors
    /// As [`SavedModel::open`] and [`SavedModel::load`].
    pub fn load(path: impl AsRef<Path>, options: LoadOptions) -> Result<Self> {
        SavedModel::open(path)?.load(options)
    }

    /// The model that it was loaded from.
    #[must_use]
    pub fn saved_model(&self) -> &SavedModel {
        &self.0.saved_model
    }

    /// Where the files of its pack were unpacked; `None` if it was loaded from a folder.
    #[must_use]
    pub fn unpack_target(&self) -> Option<UnpackTarget> {
        self.0.load_folder.unpack_target()
    }

    /// The meta graph that was loaded.
    #[must_use]
    pub fn meta_graph(&self) -> &MetaGraph {
        &self.0.meta_graph
    }

    /// The runtime of the session.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }

    /// Attributes of nodes that this TensorFlow does not know and ignores: a newer one wrote the model, and may answer
    /// otherwise. At most a hundred.
    #[must_use]
    pub fn ignored_attributes(&self) -> &[UnknownAttribute] {
        &self.0.ignored
    }

    /// The intra-op threads of the process, if they are not what [`LoadOptions::intra_op_threads`] asked for: the first
    /// session of the process decides for all.
    #[must_use]
    pub fn other_intra_op_threads(&self) -> Option<i32> {
        self.0.other_threads
    }

    /// What was done to make the model faster; `None` without [`LoadOptions::optimize`].
    #[must_use]
    pub fn optimization(&self) -> Option<&Optimization> {
        self.0.optimization.get()
    }

    /// Returns a signature.
    ///
    /// # Errors
    /// If there is no signature of this name.
    pub fn signature(&self, name: &str) -> Result<Signature> {
        let mut bound = self.meta_graph().signatures().iter().zip(&self.0.bindings);
        let found = bound.find(|(definition, _)| definition.name == name);
        let (definition, slot) = found.ok_or_else(|| self.meta_graph().unknown_signature(name))?;
        let binding = match slot.get() {
            Some(binding) => binding.clone(),
            None => {
                let binding = Arc::new(Binding::new(&self.0.session, definition));
                slot.get_or_init(|| binding).clone()
            }
        };
        Ok(Signature::new(self.clone(), binding))
    }

    /// The default signature: `serving_default`, else the only one.
    ///
    /// # Errors
    /// If there are several, or none.
    pub fn default_signature(&self) -> Result<Signature> {
        let name = self.meta_graph().default_signature()?.name.clone();
        self.signature(&name)
    }

    /// Says what was done to make it faster, once.
    fn with(self, optimization: Optimization) -> Self {
        let _ = self.0.optimization.set(optimization);
        self
    }

    pub(crate) fn session(&self) -> &ffi::Session {
        &self.0.session
    }
}

impl fmt::Debug for LoadedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoadedModel({} {:?})", self.saved_model().path().display(), self.meta_graph().tags())
    }
}
