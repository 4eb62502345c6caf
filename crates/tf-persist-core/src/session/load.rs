//! Loading: the checks, and the session.

use std::sync::{Arc, OnceLock};

use tf_persist_savedmodel::internals::FrozenModel;
use tf_persist_savedmodel::saved_model::{MetaGraph, OPS_VERSION, SavedModel, UnknownAttribute, Unrestored};

use super::load_folder::LoadFolder;
use super::optimize;
use super::options::{LoadOptions, Optimize};
use super::{Inner, LoadedModel, explain, init, unrestored};
use crate::error::{Error, ModelError, Result};
use crate::ffi;
use crate::op_library::OpLibrary;
use crate::runtime::Runtime;

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
        let checked = Checked::new(self, &options)?;
        match options.optimize {
            Optimize::Off => checked.load(&options),
            Optimize::On => optimize::without_trial(&checked, &options),
            Optimize::Auto => optimize::fastest(&checked, &options, true),
            Optimize::Remembered => optimize::fastest(&checked, &options, false),
        }
    }
}

/// A model that was found fit to be loaded, with the open runtime.
pub(super) struct Checked<'m> {
    pub(super) model: &'m SavedModel,
    pub(super) meta_graph: MetaGraph,
    runtime: Runtime,
    unrestored: Unrestored,
    ignored: Vec<UnknownAttribute>,
    other_threads: Option<i32>,
    /// Whether it is an optimised model, and may be treated as one.
    pub(super) is_optimized: bool,
}

impl<'m> Checked<'m> {
    fn new(model: &'m SavedModel, options: &LoadOptions) -> Result<Self> {
        let meta_graph = model.meta_graph(options.tags.as_deref())?.clone();
        model.check(&meta_graph)?;
        options.trust.check(model, &meta_graph)?;
        // Check without TensorFlow first: opening it takes a third of a second.
        if options.runtime.is_none() && options.op_libraries.is_empty() && !Runtime::is_open() {
            model.check_ops(&meta_graph)?;
        }
        let unrestored = model.unrestored_variables(&meta_graph)?;
        model.refuse_missing(&unrestored)?;
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
            model.check_ops_with(&meta_graph, ops, runtime.version())?;
        }
        let ignored = model.unknown_attributes(&meta_graph, ops.as_ref());
        let other_threads = options.other_intra_op_threads();
        let is_optimized = options.optimize != Optimize::Off && model.optimized().is_ok_and(|found| found.is_some());
        Ok(Self { model, meta_graph, runtime, unrestored, ignored, other_threads, is_optimized })
    }

    pub(super) fn tensorflow_version(&self) -> &str {
        self.runtime.version()
    }

    /// Loads the graph of the model as it is.
    pub(super) fn load(&self, options: &LoadOptions) -> Result<LoadedModel> {
        let model = self.model;
        let mut load_folder = LoadFolder::create(model, &self.meta_graph, options, self.runtime.library())?;
        let config = if self.is_optimized { options.config_of_changed_graph() } else { options.config() }?;
        let mut session = self.open_session(options, &config, &load_folder);
        if let Err(error) = &session
            && let Some(other) = load_folder.fallback(error, model, options)
        {
            load_folder = other?;
            session = self.open_session(options, &config, &load_folder);
        }
        let session = session?;
        load_folder.delete_temporary(model);
        let restored = unrestored::restore(&session, model, self.unrestored.found.clone())?;
        Ok(self.loaded(session, load_folder, restored))
    }

    /// Loads a graph of the model whose variables are constants.
    ///
    /// # Errors
    /// If TensorFlow fails, or the graph lacks a tensor of a signature.
    pub(super) fn load_frozen(&self, graph: &FrozenModel, options: &LoadOptions) -> Result<LoadedModel> {
        let mut load_folder = LoadFolder::changed(self.model, &self.meta_graph, graph, self.runtime.library())?;
        let session = self.open_session(options, &options.config_of_changed_graph()?, &load_folder)?;
        load_folder.delete_temporary(self.model);
        let loaded = self.loaded(session, load_folder, Vec::new());
        for definition in self.meta_graph.signatures().iter().filter(|signature| !signature.outputs.is_empty()) {
            if let Some(tensor) = loaded.signature(&definition.name)?.lacking() {
                let path = self.model.path().to_path_buf();
                let reason = format!("the changed graph lacks the tensor `{tensor}`");
                return Err(ModelError::Unsupported { path, reason, hint: None }.into());
            }
        }
        Ok(loaded)
    }

    fn loaded(
        &self,
        session: ffi::Session,
        load_folder: LoadFolder,
        restored: Vec<unrestored::Restored>,
    ) -> LoadedModel {
        LoadedModel(Arc::new(Inner {
            session,
            saved_model: self.model.clone(),
            meta_graph: self.meta_graph.clone(),
            bindings: self.meta_graph.signatures().iter().map(|_| OnceLock::new()).collect(),
            runtime: self.runtime.clone(),
            load_folder,
            ignored: self.ignored.clone(),
            restored,
            other_threads: self.other_threads,
            optimization: OnceLock::new(),
        }))
    }

    /// Creates a session from a folder, with a serialized `ConfigProto`, and fills its tables.
    fn open_session(&self, options: &LoadOptions, config: &[u8], load_folder: &LoadFolder) -> Result<ffi::Session> {
        let (model, meta_graph, folder) = (self.model, &self.meta_graph, load_folder.folder(self.model));
        let load = || {
            let in_calling_thread = options.runs_in_calling_thread();
            let setup = ffi::Setup { config, in_calling_thread, text: load_folder.has_text(model) };
            let ops = meta_graph.ops().keys();
            let session = ffi::Session::load(self.runtime.library(), folder, meta_graph.tags(), ops, &setup)?;
            init::run_orphaned_initializers(&session, model, meta_graph, folder)?;
            Ok(session)
        };
        load().map_err(|error: Error| {
            let error = LoadFolder::rename_in_error(folder, error, model);
            explain::refusal(error, model.path(), meta_graph, &self.runtime)
        })
    }
}
