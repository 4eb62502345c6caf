//! A model that runs: a SavedModel in a session of TensorFlow's.

mod bind;
mod init;
mod op_library;
mod options;
mod outputs;
mod place;
mod signature;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

pub use op_library::OpLibrary;
pub use options::{Executor, LoadOptions};
pub use outputs::Outputs;
pub use place::Unpacked;
pub use signature::{NO_INPUTS, Signature};

use crate::error::{Error, Result};
use crate::ffi;
use crate::runtime::Runtime;
use crate::saved_model::{MetaGraph, SavedModel};
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
}

impl SavedModel {
    /// Loads a meta graph into a session of TensorFlow's, which opens libtensorflow if it is not open.
    ///
    /// # Errors
    /// If there is no libtensorflow, no such meta graph, a variable file is missing or damaged, or TensorFlow refuses the graph;
    /// [`Error::Untrusted`] before TensorFlow is opened, if the graph would reach outside of the model in a way that
    /// [`LoadOptions::trust`] does not allow.
    pub fn load(&self, options: LoadOptions) -> Result<LoadedModel> {
        let meta_graph = self.meta_graph(options.tags.as_deref())?.clone();
        self.check(&meta_graph)?;
        options.trust.check(self, &meta_graph)?;
        let runtime = options.runtime.clone().map_or_else(|| Runtime::open_with(&options.search), Ok)?;
        for path in &options.op_libraries {
            OpLibrary::load(&runtime, path)?;
        }
        let mut place = Place::of(self, &meta_graph, &options, runtime.library())?;
        let mut session = self.session(&meta_graph, &options, &runtime, &place);
        if let Err(error) = &session
            && let Some(other) = place.instead(error, self, &options)
        {
            place = other?;
            session = self.session(&meta_graph, &options, &runtime, &place);
        }
        let session = session?;
        place.loaded(self);
        let bindings = meta_graph.signatures().iter().map(|_| OnceLock::new()).collect();
        Ok(LoadedModel(Arc::new(Inner { session, artefact: self.clone(), meta_graph, bindings, runtime, place })))
    }

    /// A session over the files at a place, its tables filled.
    fn session(
        &self,
        meta_graph: &MetaGraph,
        options: &LoadOptions,
        runtime: &Runtime,
        place: &Place,
    ) -> Result<ffi::Session> {
        let folder = place.folder(self);
        let load = || {
            let config = options.config()?;
            let ops = meta_graph.ops().keys();
            let session = ffi::Session::load(runtime.library(), folder, meta_graph.tags(), ops, &config)?;
            init::run_orphaned_initializers(&session, self, meta_graph, folder)?;
            Ok(session)
        };
        load().map_err(|error| explain_refusal(Place::rename(folder, error, self), self.path()))
    }
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
    pub fn artefact(&self) -> &SavedModel {
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

    /// A signature, ready to run.
    ///
    /// # Errors
    /// If there is none of that name, or it names a tensor that the graph lacks.
    pub fn signature(&self, name: &str) -> Result<Signature> {
        let mut bound = self.meta_graph().signatures().iter().zip(&self.0.bindings);
        let found = bound.find(|(definition, _)| definition.name == name);
        let (definition, slot) = found.ok_or_else(|| self.meta_graph().unknown_signature(name))?;
        let binding = match slot.get() {
            Some(binding) => binding.clone(),
            None => {
                let binding = Arc::new(Binding::new(&self.0.session, definition, self.artefact().path())?);
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
        write!(f, "LoadedModel({} {:?})", self.artefact().path().display(), self.meta_graph().tags())
    }
}

/// Adds what to do about the refusals that people meet.
fn explain_refusal(error: Error, path: &Path) -> Error {
    let Error::TensorFlow { action, code, message, hint: None } = error else { return error };
    let hint = if message.contains("Op type not registered") {
        Some("load the library that has the op with --op-library FILE.so".to_owned())
    } else if message.contains("No OpKernel was registered") {
        Some(
            "this TensorFlow knows the op but can no longer run it: export the model anew, or use an older libtensorflow"
                .to_owned(),
        )
    } else if message.contains("NodeDef mentions attr") {
        Some("the model was written by a newer TensorFlow: use a libtensorflow of its version or later".to_owned())
    } else if message.contains("matching files")
        && path.as_os_str().as_encoded_bytes().iter().any(|it| b"*?[\\".contains(it))
    {
        Some("TensorFlow takes `*`, `?`, `[` and `\\` in a path for a pattern: rename the folder".to_owned())
    } else {
        None
    };
    Error::TensorFlow { action, code, message, hint }
}
