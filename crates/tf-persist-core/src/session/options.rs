//! Options of loading.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread::available_parallelism;

use protobuf::Message;
use tf_persist_proto::tensorflow::ConfigProto;
use tf_persist_proto::tensorflow::config::GraphOptions;
use tf_persist_proto::tensorflow::config::config_proto::Experimental;
use tf_persist_proto::tensorflow::rewriter_config::RewriterConfig;
use tf_persist_proto::tensorflow::rewriter_config::rewriter_config::{MemOptType, NumIterationsType, Toggle};
use tf_persist_savedmodel::Asserts;
use tf_persist_savedmodel::scan::Trust;
use tf_persist_savedmodel::tensor::Tolerance;

use super::load_folder::UnpackTarget;
use crate::error::{Error, Result};
use crate::runtime::{Runtime, Search};

/// The executor of TensorFlow that runs a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Executor {
    /// TensorFlow's default: ops run on the inter-op threads.
    #[default]
    Default,
    /// One thread, in topological order. Faster on small graphs; refuses the control flow of TensorFlow 1.
    SingleThreaded,
}

/// Whether a model is changed in memory, while it is loaded, to be faster. The files stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum Optimize {
    /// The graph as it is: the bits of TensorFlow's default session.
    #[default]
    Off,
    /// Variables that no signature writes become constants, which TensorFlow folds, fuses and packs ahead of time. The
    /// last digits of answers may differ.
    On,
    /// What was the fastest in a trial of at most two seconds, among the graph as it is and the changed one, if it
    /// answered requests as the graph as it is did within [`LoadOptions::optimize_tolerance`]. The requests are those
    /// that are recorded in the model, else generated ones.
    Auto,
    /// What an earlier trial chose, if [`LoadOptions::optimize_cache`] remembers it, else the graph as it is: a load
    /// with `Auto` that must not take long.
    Remembered,
}

/// Options of loading. The defaults are those of TensorFlow, except that soft placement is on, so that a graph that is
/// pinned to a GPU runs without one.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    pub(super) tags: Option<Vec<String>>,
    pub(super) op_libraries: Vec<PathBuf>,
    pub(super) runtime: Option<Runtime>,
    pub(super) unpack_target: Option<UnpackTarget>,
    pub(super) search: Search,
    pub(super) trust: Trust,
    pub(super) optimize: Optimize,
    pub(super) optimize_tolerance: Tolerance,
    pub(super) optimize_cache: Option<PathBuf>,
    pub(super) asserts: Asserts,
    intra_op_threads: i32,
    pub(super) inter_op_threads: i32,
    executor: Executor,
    soft_placement: bool,
    session_config: ConfigProto,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            tags: None,
            op_libraries: Vec::new(),
            runtime: None,
            unpack_target: None,
            search: Search::default(),
            trust: Trust::Nothing,
            optimize: Optimize::Off,
            optimize_tolerance: Tolerance::Both { relative: 1e-5, absolute: 1e-6 },
            optimize_cache: None,
            asserts: Asserts::Keep,
            intra_op_threads: 0,
            inter_op_threads: 0,
            executor: Executor::Default,
            soft_placement: true,
            session_config: ConfigProto::new(),
        }
    }
}

impl LoadOptions {
    /// The tags of the meta graph, in any order; the set may be empty. Default: the only meta graph, else the one
    /// tagged `serve` alone.
    #[must_use]
    pub fn tags<S: Into<String>>(mut self, tags: impl IntoIterator<Item = S>) -> Self {
        self.tags = Some(tags.into_iter().map(Into::into).collect());
        self
    }

    /// Loads this op library before the model: a file, or the name of an installed pip package, as in
    /// [`OpLibrary::load_named`](crate::OpLibrary::load_named). It stays loaded for the rest of the process.
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

    /// Where the files of a [pack](crate::pack) are unpacked for TensorFlow. Default: in memory, or on disk if the ops
    /// of the model cannot read them there.
    #[must_use]
    pub fn unpack_to(mut self, target: UnpackTarget) -> Self {
        self.unpack_target = Some(target);
        self
    }

    /// Searches for libtensorflow here, if no [runtime](Self::runtime) is given. The model is checked first.
    #[must_use]
    pub fn search(mut self, search: Search) -> Self {
        self.search = search;
        self
    }

    /// The dangers of [`SavedModel::scan`](crate::SavedModel::scan) that the model may have. Default:
    /// [`Trust::Nothing`].
    #[must_use]
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// Whether the model is changed in memory to be faster. Default: [`Optimize::Off`]. A model that cannot be changed,
    /// or is not faster, is loaded as it is: [`LoadedModel::optimization`](crate::LoadedModel::optimization) tells.
    #[must_use]
    pub fn optimize(mut self, optimize: Optimize) -> Self {
        self.optimize = optimize;
        self
    }

    /// Whether the model is changed in memory to be faster.
    #[must_use]
    pub fn optimization(&self) -> Optimize {
        self.optimize
    }

    /// How far the answers of a changed model may be from those of the model as it is, with [`Optimize::Auto`].
    /// Default: 1e-5 of a number and 1e-6.
    #[must_use]
    pub fn optimize_tolerance(mut self, tolerance: Tolerance) -> Self {
        self.optimize_tolerance = tolerance;
        self
    }

    /// A folder that remembers what [`Optimize::Auto`] chose, so that the next load of the same model, with the same
    /// options, TensorFlow and processor, takes no trial. It is created if necessary. Default: none.
    #[must_use]
    pub fn optimize_cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.optimize_cache = Some(folder.into());
        self
    }

    /// What becomes of the assertions of a graph that is simplified. Default: [`Asserts::Keep`]. Has no effect with
    /// [`Optimize::Off`].
    #[must_use]
    pub fn asserts(mut self, asserts: Asserts) -> Self {
        self.asserts = asserts;
        self
    }

    /// Threads within one op, such as a matrix product. 0 is TensorFlow's choice, one per core.
    ///
    /// All sessions of a process share these threads, and the first session decides their number:
    /// [`LoadedModel::other_intra_op_threads`](crate::LoadedModel::other_intra_op_threads) reports another one. With
    /// `TF_OVERRIDE_GLOBAL_THREADPOOL=1` in the environment before the first session, each session has its own threads,
    /// and [`Optimize::Auto`] also tries one where this is 0.
    #[must_use]
    pub fn intra_op_threads(mut self, threads: i32) -> Self {
        self.intra_op_threads = threads;
        self
    }

    /// Threads that run ops in parallel. 0 is TensorFlow's choice; -1 runs the graph in the calling thread, which is
    /// several times as fast for small graphs.
    #[must_use]
    pub fn inter_op_threads(mut self, threads: i32) -> Self {
        self.inter_op_threads = threads;
        self
    }

    /// The executor that runs the graph.
    #[must_use]
    pub fn executor(mut self, executor: Executor) -> Self {
        self.executor = executor;
        self
    }

    /// Whether ops that are pinned to a missing device may run on another one. Default: true.
    #[must_use]
    pub fn soft_placement(mut self, allow: bool) -> Self {
        self.soft_placement = allow;
        self
    }

    /// Further options of the session, such as those of GPUs. Threads and soft placement are not taken from it: the
    /// methods of this type set them, as the executor where it is not the default.
    #[must_use]
    pub fn session_config(mut self, config: ConfigProto) -> Self {
        self.session_config = config;
        self
    }

    /// Whether a session with these options runs its graph in the calling thread.
    pub(super) fn runs_in_calling_thread(&self) -> bool {
        let by_environment = || std::env::var("TF_NUM_INTEROP_THREADS").ok()?.trim().parse().ok();
        let threads = match self.inter_op_threads {
            0 => by_environment().unwrap_or(0),
            asked => asked,
        };
        threads < 0
    }

    /// The intra-op threads of the process, if they are not what these options ask for because an earlier session
    /// decided. Call it before creating each session.
    pub(super) fn other_intra_op_threads(&self) -> Option<i32> {
        static FIRST: OnceLock<i32> = OnceLock::new();
        let first = *FIRST.get_or_init(|| self.intra_op_threads);
        let number = |asked: i32| match asked {
            0 => available_parallelism().map_or(0, |cores| cores.get() as i32),
            asked => asked,
        };
        (number(first) != number(self.intra_op_threads) && !sessions_have_own_threads()).then_some(number(first))
    }

    /// Whether neither these options, nor the environment, nor an earlier session decides on the intra-op threads.
    pub(super) fn may_choose_intra_op_threads(&self) -> bool {
        self.intra_op_threads == 0
            && sessions_have_own_threads()
            && std::env::var_os("TF_NUM_INTRAOP_THREADS").is_none()
    }

    /// The options as a serialized `ConfigProto`, for a graph as it is.
    pub(super) fn config(&self) -> Result<Vec<u8>> {
        Self::serialized(self.config_proto())
    }

    /// The options as a serialized `ConfigProto`, for a graph that was changed.
    ///
    /// Much of what TensorFlow does to a graph before its first run has been done. One pass in place of two, without
    /// the optimizers that find nothing more, halves that time. Options of the user come first.
    pub(super) fn config_of_changed_graph(&self) -> Result<Vec<u8>> {
        let mut config = self.config_proto();
        let has_own = config.graph_options.as_ref().is_some_and(|graph| graph.rewrite_options.is_some());
        if !has_own {
            let graph: &mut GraphOptions = config.graph_options.mut_or_insert_default();
            let rewrites: &mut RewriterConfig = graph.rewrite_options.mut_or_insert_default();
            rewrites.meta_optimizer_iterations = NumIterationsType::ONE.into();
            rewrites.memory_optimization = MemOptType::NO_MEM_OPT.into();
            rewrites.disable_tfg_optimizer = true;
            // It changes nothing without a GPU, and infers all shapes to find out.
            if !may_have_gpu() {
                rewrites.layout_optimizer = Toggle::OFF.into();
            }
        }
        Self::serialized(config)
    }

    fn serialized(config: ConfigProto) -> Result<Vec<u8>> {
        config.write_to_bytes().map_err(|error| Error::data("session options", error.to_string()))
    }

    fn config_proto(&self) -> ConfigProto {
        let mut config = self.session_config.clone();
        config.intra_op_parallelism_threads = self.intra_op_threads;
        config.inter_op_parallelism_threads = self.inter_op_threads;
        config.allow_soft_placement = self.soft_placement;
        if self.executor == Executor::SingleThreaded {
            let experimental: &mut Experimental = config.experimental.mut_or_insert_default();
            experimental.executor_type = "SINGLE_THREADED_EXECUTOR".into();
        }
        config
    }
}

/// Whether the machine may have a GPU: elsewhere than on Linux, or if there is a trace of its driver.
fn may_have_gpu() -> bool {
    const TRACES: [&str; 5] = ["/dev/nvidiactl", "/proc/driver/nvidia", "/dev/dxg", "/dev/kfd", "/dev/dri"];
    !cfg!(target_os = "linux") || TRACES.iter().any(|trace| Path::new(trace).exists())
}

/// Whether the environment gives each session its own threads, by the values that TensorFlow reads as true.
fn sessions_have_own_threads() -> bool {
    let value = std::env::var("TF_OVERRIDE_GLOBAL_THREADPOOL").unwrap_or_default();
    matches!(value.to_ascii_lowercase().as_str(), "1" | "true")
}

#[cfg(test)]
mod tests {
    use protobuf::Message;

    use super::*;

    fn read(config: Result<Vec<u8>>) -> ConfigProto {
        ConfigProto::parse_from_bytes(&config.unwrap()).unwrap()
    }

    #[test]
    fn a_changed_graph_is_rewritten_once() {
        let options = LoadOptions::default().inter_op_threads(-1);
        assert!(read(options.config()).graph_options.is_none());
        let config = read(options.config_of_changed_graph());
        assert_eq!(config.inter_op_parallelism_threads, -1);
        let rewrites = &config.graph_options.rewrite_options;
        assert_eq!(rewrites.meta_optimizer_iterations.enum_value(), Ok(NumIterationsType::ONE));
        assert!(rewrites.disable_tfg_optimizer);
        assert_eq!(rewrites.layout_optimizer.enum_value() == Ok(Toggle::OFF), !may_have_gpu());
    }

    #[test]
    fn rewrites_of_the_user_come_first() {
        let mut config = ConfigProto::new();
        let graph = config.graph_options.mut_or_insert_default();
        graph.rewrite_options.mut_or_insert_default().meta_optimizer_iterations = NumIterationsType::TWO.into();
        let options = LoadOptions::default().session_config(config);
        assert_eq!(options.config_of_changed_graph().unwrap(), options.config().unwrap());
    }
}
