//! A model that runs: a SavedModel in a session of TensorFlow's.

mod bind;
mod explain;
mod init;
mod options;
mod outputs;
mod place;
mod run_options;
mod save;
mod signature;
mod unrestored;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

pub use options::{Executor, LoadOptions};
pub use outputs::Outputs;
pub use place::Unpacked;
pub use run_options::RunOptions;
pub use signature::{NO_INPUTS, Signature};

use tf_persist_savedmodel::saved_model::{MetaGraph, OPS_VERSION, SavedModel, UnknownAttribute};

use crate::error::Result;
use crate::ffi;
use crate::op_library::OpLibrary;

use crate::runtime::Runtime;
use bind::Binding;
use place::Place;

/// A SavedModel in a session: variables restored, initialisers run, ready to answer.
///
/// Cloning shares the session. Any number of threads may run signatures at once; what they write to variables they share.
#[derive(Clone)]
pub struct LoadedModel(Arc<Inner>);

struct Inner {
    session: ffi::Session,
    artefact: SavedModel,
    meta_graph: MetaGraph,
    /// Each signature of the meta graph, in its order, is bound to the graph when it is first asked for.
    bindings: Vec<OnceLock<Arc<Binding>>>,
    runtime: Runtime,
    /// Dropped after the session.
    place: Place,
    ignored: Vec<UnknownAttribute>,
    /// The variables that were restored besides those that the graph's saver restores.
    restored: Vec<unrestored::Restored>,
    other_threads: Option<i32>,
}

/// Loading: [`LoadSavedModel::load`] of a [`SavedModel`].
pub trait LoadSavedModel {
    /// Loads a meta graph into a session of TensorFlow's, which opens libtensorflow if it is not open.
    ///
    /// # Errors
    /// If there is no libtensorflow, no such meta graph, a variable file is missing or damaged, a variable that a signature reads has no
    /// value ([`SavedModelError::MissingVariables`](crate::SavedModelError::MissingVariables)), an op library cannot be loaded, the
    /// graph uses ops that there are not ([`SavedModelError::MissingOps`](crate::SavedModelError::MissingOps)), or TensorFlow refuses it;
    /// [`SavedModelError::Untrusted`](crate::SavedModelError::Untrusted) before TensorFlow is opened, if the graph would reach outside of the model in a
    /// way that [`LoadOptions::trust`] does not allow.
    fn load(&self, options: LoadOptions) -> Result<LoadedModel>;
}

impl LoadSavedModel for SavedModel {
    fn load(&self, options: LoadOptions) -> Result<LoadedModel> {
        let meta_graph = self.meta_graph(options.tags.as_deref())?.clone();
        self.check(&meta_graph)?;
        options.trust.check(self, &meta_graph)?;
        // What can be told without TensorFlow is, before it is opened, which takes a third of a second.
        if options.runtime.is_none() && options.op_libraries.is_empty() && !Runtime::is_open() {
            self.check_ops(&meta_graph)?;
        }
        let unrestored = self.unrestored_variables(&meta_graph)?;
        self.refuse_missing(&unrestored)?;
        let runtime = options.runtime.clone().map_or_else(|| Runtime::open_with(&options.search), Ok)?;
        for name in &options.op_libraries {
            OpLibrary::load_named(&runtime, name)?;
        }
        // To ask TensorFlow for its ops takes longer than to load a small model: it is asked only where the list does not do.
        let listed = runtime.version().strip_prefix(OPS_VERSION).is_some_and(|rest| rest.starts_with('.'));
        let loaded: Vec<OpLibrary> = OpLibrary::loaded();
        let is_loaded = |op: &&str| loaded.iter().any(|library| library.ops().iter().any(|own| own == op));
        let ops = (!listed || !meta_graph.custom_ops().keys().all(is_loaded)).then(|| ffi::all_ops(runtime.library()));
        if let Some(ops) = &ops {
            self.check_ops_with(&meta_graph, ops, runtime.version())?;
        }
        let ignored = self.unknown_attributes(&meta_graph, ops.as_ref());
        let other_threads = options.other_intra_op_threads();
        let mut place = Place::of(self, &meta_graph, &options, runtime.library())?;
        let mut session = open_session(self, &meta_graph, &options, &runtime, &place);
        if let Err(error) = &session
            && let Some(other) = place.instead(error, self, &options)
        {
            place = other?;
            session = open_session(self, &meta_graph, &options, &runtime, &place);
        }
        let session = session?;
        place.loaded(self);
        let restored = unrestored::restore(&session, self, unrestored.found)?;
        let bindings = meta_graph.signatures().iter().map(|_| OnceLock::new()).collect();
        let artefact = self.clone();
        Ok(LoadedModel(Arc::new(Inner {
            session,
            artefact,
            meta_graph,
            bindings,
            runtime,
            place,
            ignored,
            restored,
            other_threads,
        })))
    }
}

/// A session over the files at a place, its tables filled.
fn open_session(
    model: &SavedModel,
    meta_graph: &MetaGraph,
    options: &LoadOptions,
    runtime: &Runtime,
    place: &Place,
) -> Result<ffi::Session> {
    let folder = place.folder(model);
    let load = || {
        let config = options.config()?;
        let in_calling_thread = options.runs_in_calling_thread();
        let setup = ffi::Setup { config: &config, in_calling_thread, text: place.has_text(model) };
        let ops = meta_graph.ops().keys();
        let session = ffi::Session::load(runtime.library(), folder, meta_graph.tags(), ops, &setup)?;
        init::run_orphaned_initializers(&session, model, meta_graph, folder)?;
        Ok(session)
    };
    load().map_err(|error| explain::refusal(Place::rename(folder, error, model), model.path(), meta_graph, runtime))
}

impl LoadedModel {
    /// Opens and loads a SavedModel in one step.
    ///
    /// # Errors
    /// As [`SavedModel::open`] and [`SavedModel::load`].
    pub fn load(path: impl AsRef<Path>, options: LoadOptions) -> Result<Self> {
        SavedModel::open(path)?.load(options)
    }

    /// The artefact it was loaded from.
    #[must_use]
    pub fn saved_model(&self) -> &SavedModel {
        &self.0.artefact
    }

    /// Where the files of its pack were put for TensorFlow; `None` if it was loaded from a folder.
    #[must_use]
    pub fn unpacked(&self) -> Option<Unpacked> {
        self.0.place.unpacked()
    }

    /// The meta graph that was loaded.
    #[must_use]
    pub fn meta_graph(&self) -> &MetaGraph {
        &self.0.meta_graph
    }

    /// The runtime it runs in.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }

    /// Attributes of the graph's nodes that this TensorFlow does not know and leaves out of account: the model was written by a newer
    /// one, and its answers may differ from what that one gives. At most a hundred.
    #[must_use]
    pub fn ignored_attributes(&self) -> &[UnknownAttribute] {
        &self.0.ignored
    }

    /// The number of threads within one op that the process has, if it is another than
    /// [`LoadOptions::intra_op_threads`] asked for: the first session of the process decides for all.
    #[must_use]
    pub fn other_intra_op_threads(&self) -> Option<i32> {
        self.0.other_threads
    }

    /// A signature, ready to run.
    ///
    /// # Errors
    /// If there is none of that name. What of it cannot be fed or fetched is said to who asks for that.
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

    /// The signature used where none is named: `serving_default`, else the only one.
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
