//! How a model is loaded.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread::available_parallelism;

use protobuf::{Message, MessageField};
use tf_persist_proto::tensorflow::ConfigProto;
use tf_persist_proto::tensorflow::config::config_proto::Experimental;
use tf_persist_savedmodel::scan::Trust;

use super::place::Unpacked;
use crate::error::{Error, Result};
use crate::runtime::{Runtime, Search};

/// Which of TensorFlow's executors runs a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Executor {
    /// TensorFlow's own choice: ops run on the inter-op threads.
    #[default]
    Default,
    /// One thread, in topological order. Faster on small graphs; refuses the control flow of TensorFlow 1.
    SingleThreaded,
}

/// How a model is loaded. The default is TensorFlow's own, but for soft placement, which is on: a graph that was pinned to a
/// GPU runs where there is none.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    pub(super) tags: Option<Vec<String>>,
    pub(super) op_libraries: Vec<PathBuf>,
    pub(super) runtime: Option<Runtime>,
    pub(super) unpacked: Option<Unpacked>,
    pub(super) search: Search,
    pub(super) trust: Trust,
    intra_op_threads: i32,
    inter_op_threads: i32,
    executor: Executor,
    soft_placement: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            tags: None,
            op_libraries: Vec::new(),
            runtime: None,
            unpacked: None,
            search: Search::default(),
            trust: Trust::Nothing,
            intra_op_threads: 0,
            inter_op_threads: 0,
            executor: Executor::Default,
            soft_placement: true,
        }
    }
}

impl LoadOptions {
    /// The tag set of the meta graph; the order does not matter, and the set may be empty. Without it: the only meta graph,
    /// or the one tagged `serve` and nothing else.
    #[must_use]
    pub fn tags<S: Into<String>>(mut self, tags: impl IntoIterator<Item = S>) -> Self {
        self.tags = Some(tags.into_iter().map(Into::into).collect());
        self
    }

    /// Loads this library of further ops before the model: a file, or the name of an installed pip package that has such, as
    /// [`OpLibrary::load_named`](crate::OpLibrary::load_named). Loaded once a process, for good.
    #[must_use]
    pub fn op_library(mut self, file_or_package: impl Into<PathBuf>) -> Self {
        self.op_libraries.push(file_or_package.into());
        self
    }

    /// Uses this runtime instead of [`Runtime::open`].
    #[must_use]
    pub fn runtime(mut self, runtime: Runtime) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Where the files of a [pack](crate::pack) are put for TensorFlow. Unless it is said, into memory; on disk if the model has
    /// ops that could not read them there, or TensorFlow says so.
    #[must_use]
    pub fn unpack_to(mut self, place: Unpacked) -> Self {
        self.unpacked = Some(place);
        self
    }

    /// Looks for libtensorflow here, if no [runtime](Self::runtime) is given, and only once the model has been found to be sound.
    #[must_use]
    pub fn search(mut self, search: Search) -> Self {
        self.search = search;
        self
    }

    /// What the model may do that [`SavedModel::scan`](crate::SavedModel::scan) calls a danger; [`Trust::Nothing`] unless it is said.
    #[must_use]
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// Threads within one op, such as a matrix product. 0 is TensorFlow's own choice, which is one a core.
    ///
    /// All sessions of a process share these threads, and the first one decides how many there are, whatever the later ones ask:
    /// [`LoadedModel::other_intra_op_threads`](crate::LoadedModel::other_intra_op_threads) says so. With
    /// `TF_OVERRIDE_GLOBAL_THREADPOOL=1` in the environment before the first session, each session has threads of its own, and as
    /// many as it asks for.
    #[must_use]
    pub fn intra_op_threads(mut self, threads: i32) -> Self {
        self.intra_op_threads = threads;
        self
    }

    /// Threads that run ops side by side. 0 is TensorFlow's own choice; -1 runs the graph in the thread that calls, which is
    /// several times as fast on small graphs.
    #[must_use]
    pub fn inter_op_threads(mut self, threads: i32) -> Self {
        self.inter_op_threads = threads;
        self
    }

    /// Which executor runs the graph.
    #[must_use]
    pub fn executor(mut self, executor: Executor) -> Self {
        self.executor = executor;
        self
    }

    /// Whether an op that is pinned to a device that is not there may run on another. On unless switched off.
    #[must_use]
    pub fn soft_placement(mut self, allow: bool) -> Self {
        self.soft_placement = allow;
        self
    }

    /// Whether a session of these options runs its graph in the thread that calls.
    pub(super) fn runs_in_calling_thread(&self) -> bool {
        let by_environment = || std::env::var("TF_NUM_INTEROP_THREADS").ok()?.trim().parse().ok();
        let threads = match self.inter_op_threads {
            0 => by_environment().unwrap_or(0),
            asked => asked,
        };
        threads < 0
    }

    /// The threads within one op that the process has, if a session of these options cannot have its own number: the first session
    /// of the process has decided. To be called before each session is made.
    pub(super) fn other_intra_op_threads(&self) -> Option<i32> {
        static FIRST: OnceLock<i32> = OnceLock::new();
        let first = *FIRST.get_or_init(|| self.intra_op_threads);
        let number = |asked: i32| match asked {
            0 => available_parallelism().map_or(0, |cores| cores.get() as i32),
            asked => asked,
        };
        (number(first) != number(self.intra_op_threads) && !sessions_have_own_threads()).then_some(number(first))
    }

    /// The options as a serialized `ConfigProto`.
    pub(super) fn config(&self) -> Result<Vec<u8>> {
        let mut config = ConfigProto::new();
        config.intra_op_parallelism_threads = self.intra_op_threads;
        config.inter_op_parallelism_threads = self.inter_op_threads;
        config.allow_soft_placement = self.soft_placement;
        if self.executor == Executor::SingleThreaded {
            let mut experimental = Experimental::new();
            experimental.executor_type = "SINGLE_THREADED_EXECUTOR".into();
            config.experimental = MessageField::some(experimental);
        }
        config.write_to_bytes().map_err(|error| Error::data("session options", error.to_string()))
    }
}

/// Whether TensorFlow was told to give each session threads of its own, in the words that it takes for yes.
fn sessions_have_own_threads() -> bool {
    let value = std::env::var("TF_OVERRIDE_GLOBAL_THREADPOOL").unwrap_or_default();
    matches!(value.to_ascii_lowercase().as_str(), "1" | "true")
}
