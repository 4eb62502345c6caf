//! Loaded models: a SavedModel in a session of TensorFlow.

mod bind;
mod explain;
mod init;
mod load_folder;
mod options;
mod outputs;
mod run_options;
mod save;
mod signature;
mod unrestored;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

pub use load_folder::UnpackTarget;
pub use options::{Executor, LoadOptions};
pub use outputs::Outputs;
pub use run_options::RunOptions;
pub use signature::{NO_INPUTS, Signature};

use tf_persist_savedmodel::saved_model::{MetaGraph, OPS_VERSION, SavedModel, UnknownAttribute};

use crate::error::Result;
use crate::ffi;
use crate::op_library::OpLibrary;

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
}

/// Loading: [`LoadSavedModel::load`] of a [`SavedModel`].
pub trait LoadSavedModel {
    /// Loads a meta graph into a session of TensorFlow. Opens libtensorflow if necessary.
    ///
    /// # Errors
    /// - [`SavedModelError::Untrusted`](crate::SavedModelError::Untrusted), before TensorFlow is opened, if the graph
    ///   reaches outside the model in a way that [`LoadOptions::trust`] does not allow;
    /// - [`SavedModelError::MissingVariables`](crate::SavedModelError::MissingVariables) if a variable that a signature
    ///   reads has no value;
    /// - [`SavedModelError::MissingOps`](crate::SavedModelError::MissingOps) if the graph uses unknown ops;
    /// - others if there is no libtensorflow or no such meta graph, a variable file is missing or damaged, an op
    ///   library cannot be loaded, or TensorFlow fails.
    fn load(&self, options: LoadOptions) -> Result<LoadedModel>;
}

impl LoadSavedModel for SavedModel {
    fn load(&self, options: LoadOptions) -> Result<LoadedModel> {
        let meta_graph = self.meta_graph(options.tags.as_deref())?.clone();
        self.check(&meta_graph)?;
        options.trust.check(self, &meta_graph)?;
        // Check without TensorFlow first: opening it takes a third of a second.
        if options.runtime.is_none() && options.op_libraries.is_empty() && !Runtime::is_open() {
            self.check_ops(&meta_graph)?;
        }
        let unrestored = self.unrestored_variables(&meta_graph)?;
        self.refuse_missing(&unrestored)?;
        let runtime = options.runtime.clone().map_or_else(|| Runtime::open_with(&options.search), Ok)?;
        for name in &options.op_libraries {
            OpLibrary::load_named(&runtime, name)?;
        }
        // Listing the ops of TensorFlow takes longer than loading a small model: only where the built-in list is not
        // enough.
        let listed = runtime.version().strip_prefix(OPS_VERSION).is_some_and(|rest| rest.starts_with('.'));
        let loaded: Vec<OpLibrary> = OpLibrary::loaded();
        let is_loaded = |op: &&str| loaded.iter().any(|library| library.ops().iter().any(|own| own == op));
        let ops = (!listed || !meta_graph.custom_ops().keys().all(is_loaded)).then(|| ffi::all_ops(runtime.library()));
        if let Some(ops) = &ops {
            self.check_ops_with(&meta_graph, ops, runtime.version())?;
        }
        let ignored = self.unknown_attributes(&meta_graph, ops.as_ref());
        let other_threads = options.other_intra_op_threads();
        let mut load_folder = LoadFolder::create(self, &meta_graph, &options, runtime.library())?;
        let mut session = open_session(self, &meta_graph, &options, &runtime, &load_folder);
        if let Err(error) = &session
            && let Some(other) = load_folder.fallback(error, self, &options)
        {
            load_folder = other?;
            session = open_session(self, &meta_graph, &options, &runtime, &load_folder);
        }
        let session = session?;
        load_folder.delete_temporary(self);
        let restored = unrestored::restore(&session, self, unrestored.found)?;
        let bindings = meta_graph.signatures().iter().map(|_| OnceLock::new()).collect();
        let saved_model = self.clone();
        Ok(LoadedModel(Arc::new(Inner {
            session,
            saved_model,
            meta_graph,
            bindings,
            runtime,
            load_folder,
            ignored,
            restored,
            other_threads,
        })))
    }
}

/// Creates a session from a folder, and fills its tables.
fn open_session(
    model: &SavedModel,
    meta_graph: &MetaGraph,
    options: &LoadOptions,
    runtime: &Runtime,
    load_folder: &LoadFolder,
) -> Result<ffi::Session> {
    let folder = load_folder.folder(model);
    let load = || {
        let config = options.config()?;
        let in_calling_thread = options.runs_in_calling_thread();
        let setup = ffi::Setup { config: &config, in_calling_thread, text: load_folder.has_text(model) };
        let ops = meta_graph.ops().keys();
        let session = ffi::Session::load(runtime.library(), folder, meta_graph.tags(), ops, &setup)?;
        init::run_orphaned_initializers(&session, model, meta_graph, folder)?;
        Ok(session)
    };
    load().map_err(|error| {
        explain::refusal(LoadFolder::rename_in_error(folder, error, model), model.path(), meta_graph, runtime)
    })
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

    pub(crate) fn session(&self) -> &ffi::Session {
        &self.0.session
    }
}

impl fmt::Debug for LoadedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoadedModel({} {:?})", self.saved_model().path().display(), self.meta_graph().tags())
    }
}
