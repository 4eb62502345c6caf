//! Arguments that say how a model is loaded, and loading by them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tf_persist_core::runtime::{Runtime, Search, cache_folder};
use tf_persist_core::scan::Trust;
use tf_persist_core::tensor::Tolerance;
use tf_persist_core::{LoadOptions, LoadSavedModel, LoadedModel, Optimize, SavedModel};

use crate::common_args::{LibraryArgs, asserts, env_var, tags, tolerance};
use crate::error::{self, UsageError};

/// More threads than this are a mistake.
const MAX_THREADS: i32 = 4096;

/// How a model is loaded.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Loading")]
pub(crate) struct LoadArgs {
    /// Use the meta graph with these tags (comma list; "" is the empty set) [default: the only meta graph, else
    /// "serve"]
    #[arg(long, value_name = "TAGS")]
    pub(crate) tags: Option<String>,
    /// Load a library of further ops, or those of an installed pip package, before the model; repeatable; also
    /// TF_PERSIST_OP_LIBRARIES, separated by colons
    #[arg(long, value_name = "FILE.so|PACKAGE")]
    pub(crate) op_library: Vec<PathBuf>,
    /// Permit every danger that `tf-persist scan` finds, or the dangers of these ops (comma list)
    #[arg(long, value_name = "OP,…", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) trust: Option<String>,
    /// Refuse the model unless it was signed with the private key of this public one (`model.sig` in its folder)
    #[arg(long, value_name = "KEY.pub")]
    pub(crate) require_signature: Option<PathBuf>,
    /// Threads within one op, also TF_PERSIST_INTRA_OP_THREADS; 0 lets TensorFlow choose [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..=i64::from(MAX_THREADS)))]
    pub(crate) intra_op_threads: Option<i32>,
    /// Threads that run ops in parallel, also TF_PERSIST_INTER_OP_THREADS; 0 lets TensorFlow choose, -1 runs the graph
    /// in the calling thread [default: 0; for `train`: -1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i32).range(-1..=i64::from(MAX_THREADS)))]
    pub(crate) inter_op_threads: Option<i32>,
    #[command(flatten)]
    pub(crate) library: LibraryArgs,
}

/// Whether a model is changed in memory to be faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OptimizeMode {
    /// What is the fastest in a trial of two seconds, and answers as the model as it is.
    Auto,
    /// Variables become constants, without a trial.
    On,
    /// The model as it is.
    Off,
}

/// The fast path.
#[derive(Debug, Args)]
#[command(next_help_heading = "Loading")]
pub(crate) struct OptimizeArgs {
    /// Change the model in memory to be faster: constants for variables, kept if a trial of two seconds shows the same
    /// answers in less time (auto) or without a trial (on); also TF_PERSIST_OPTIMIZE [default: off]
    #[arg(long, value_name = "WHEN", value_enum, hide_possible_values = true)]
    pub(crate) optimize: Option<OptimizeMode>,
    /// How far the answers may then be from those of the model as it is [default: 1e-5 of a number and 1e-6]
    #[arg(long, value_name = "T", value_parser = tolerance)]
    pub(crate) optimize_tolerance: Option<f64>,
    /// Also drop its assertions: an input that they would have refused then gets an answer, which may mean nothing
    #[arg(long)]
    pub(crate) optimize_drop_asserts: bool,
}

impl OptimizeArgs {
    /// Adds what was asked for to the options; by default the model stays as it is.
    pub(crate) fn apply(&self, options: LoadOptions) -> anyhow::Result<LoadOptions> {
        let options = options.asserts(asserts(self.optimize_drop_asserts));
        Ok(self.mode()?.apply(options, self.optimize_tolerance))
    }

    /// What the argument or the environment asks for.
    pub(crate) fn mode(&self) -> anyhow::Result<OptimizeMode> {
        const VARIABLE: &str = "TF_PERSIST_OPTIMIZE";
        let by_environment = || -> anyhow::Result<Option<OptimizeMode>> {
            let Some(value) = env_var(VARIABLE) else { return Ok(None) };
            let mode = value.to_str().and_then(|text| OptimizeMode::from_str(text, true).ok());
            let refusal = || UsageError(format!("{VARIABLE} is `{}`, and not `auto`, `on` or `off`", value.display()));
            Ok(Some(mode.ok_or_else(refusal)?))
        };
        let mode = self.optimize.map_or_else(by_environment, |mode| Ok(Some(mode)))?;
        Ok(mode.unwrap_or(OptimizeMode::Off))
    }
}

impl OptimizeMode {
    /// The value of the argument.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Adds it to the options, with the tolerance of its trial.
    pub(crate) fn apply(self, options: LoadOptions, tolerance: Option<f64>) -> LoadOptions {
        let options = options.optimize(match self {
            Self::Auto => Optimize::Auto,
            Self::On => Optimize::On,
            Self::Off => Optimize::Off,
        });
        let options = match tolerance {
            Some(both) => options.optimize_tolerance(Tolerance::Within(both)),
            None => options,
        };
        match cache_folder() {
            Some(libraries) if self == Self::Auto => options.optimize_cache(libraries.with_file_name("optimize")),
            _ => options,
        }
    }
}

impl LibraryArgs {
    pub(crate) fn search(&self) -> Search {
        match &self.libtensorflow {
            Some(folder) => Search::only_named(folder, "--libtensorflow"),
            None => Search::default(),
        }
    }

    pub(crate) fn open(&self) -> tf_persist_core::Result<Runtime> {
        Runtime::open_with(&self.search())
    }
}

impl LoadArgs {
    /// The tags of `--tags`.
    pub(crate) fn tag_list(&self) -> Option<Vec<String>> {
        self.tags.as_deref().map(tags)
    }

    /// `--trust` permits everything, `--trust=A,B` only what these ops do.
    fn trust(&self) -> Trust {
        match self.trust.as_deref() {
            None => Trust::Nothing,
            Some("") => Trust::Everything,
            Some(ops) => Trust::ops(ops.split(',').map(str::trim)),
        }
    }

    /// Loads a model. Errors that do not need TensorFlow are found before it is opened.
    pub(crate) fn load(&self, saved_model: &SavedModel) -> anyhow::Result<LoadedModel> {
        self.load_with(saved_model, self.options()?)
    }

    /// As [`LoadArgs::load`], with these options.
    pub(crate) fn load_with(&self, saved_model: &SavedModel, options: LoadOptions) -> anyhow::Result<LoadedModel> {
        if self.op_libraries().is_empty() {
            saved_model.check_ops(saved_model.meta_graph(self.tag_list().as_deref())?)?;
        }
        let model = saved_model.load(options)?;
        if let Some(optimization) = model.optimization() {
            error::note(&format!("`{}` {optimization}", saved_model.path().display()));
        }
        if let [first, rest @ ..] = model.ignored_attributes() {
            let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
            error::warn(&format!(
                "TensorFlow {} does not know {first}{more}, and runs `{}` without",
                model.runtime().version(),
                saved_model.path().display()
            ));
        }
        Ok(model)
    }

    /// The op libraries of `--op-library` or the environment: files and packages.
    fn op_libraries(&self) -> Vec<PathBuf> {
        if !self.op_library.is_empty() {
            return self.op_library.clone();
        }
        let listed = env_var("TF_PERSIST_OP_LIBRARIES");
        let listed = listed.iter().flat_map(std::env::split_paths);
        listed.filter(|path| !path.as_os_str().is_empty()).collect()
    }

    pub(crate) fn options(&self) -> anyhow::Result<LoadOptions> {
        self.options_or(0, 0)
    }

    /// The options, with these numbers of threads where neither a flag nor the environment gives one.
    pub(crate) fn options_or(&self, intra: i32, inter: i32) -> anyhow::Result<LoadOptions> {
        let intra = self.intra_op_threads.map_or_else(|| threads("TF_PERSIST_INTRA_OP_THREADS", intra), Ok)?;
        let inter = self.inter_op_threads.map_or_else(|| threads("TF_PERSIST_INTER_OP_THREADS", inter), Ok)?;
        let mut options = LoadOptions::default().intra_op_threads(intra).inter_op_threads(inter).trust(self.trust());
        options = options.search(self.library.search());
        if let Some(tags) = self.tag_list() {
            options = options.tags(tags);
        }
        for library in self.op_libraries() {
            options = options.op_library(library);
        }
        Ok(options)
    }
}

/// A number of threads from the environment, or the default.
fn threads(name: &str, default: i32) -> anyhow::Result<i32> {
    let Some(value) = env_var(name) else { return Ok(default) };
    let number = value.to_str().and_then(|text| text.parse().ok()).filter(|number| (-1..=MAX_THREADS).contains(number));
    number
        .ok_or_else(|| UsageError(format!("{name} is `{}`, which is not a number of threads", value.display())).into())
}
