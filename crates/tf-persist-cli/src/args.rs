//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{ArgMatches, Args as ClapArgs, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use tf_persist_core::runtime::{Runtime, Search};

use crate::train::TrainArgs;

/// TensorFlow models outside the notebook: look into them, run them, write them, with the numbers that Python gave.
#[derive(Debug, Parser)]
#[command(name = "tf-persist", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Exit codes: 0 done, 1 it could not be done, 2 wrong usage.")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// Reads the command line; what clap found is beside it.
    pub(crate) fn read() -> Result<(Self, ArgMatches), clap::Error> {
        let command = Self::command().mut_subcommand(SERVE_LOCAL, crate::serve::args::complete);
        let words: Vec<OsString> = std::env::args_os().collect();
        let matches =
            command.clone().try_get_matches_from(&words).map_err(|error| with_tip(error, &command, &words))?;
        Ok((Self::from_arg_matches(&matches)?, matches))
    }
}

/// A word that follows a flag whose value stands behind `=` alone is not understood: says so.
fn with_tip(mut error: clap::Error, command: &clap::Command, words: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(stray)) = error.get(ContextKind::InvalidArg) else { return error };
    let needs_equals = |flag: &str| {
        let is_it = |arg: &clap::Arg| {
            let longs = arg.get_long().into_iter().chain(arg.get_all_aliases().into_iter().flatten());
            longs.into_iter().any(|long| long == flag) && arg.is_require_equals_set()
        };
        command.get_subcommands().any(|command| command.get_arguments().any(is_it))
    };
    let flag = words.windows(2).find_map(|pair| {
        let flag = pair[0].to_str()?.strip_prefix("--")?;
        (pair[1] == stray.as_str() && needs_equals(flag)).then_some(flag)
    });
    if let Some(flag) = flag {
        let tip = format!("the value of this flag follows `=`: --{flag}={stray}");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// The command whose flags are TensorFlow Serving's.
pub(crate) const SERVE_LOCAL: &str = "serve-local";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look into a model: signatures, variables, assets, ops. Needs no TensorFlow
    Inspect(InspectArgs),
    /// Run a signature of a model
    Run(RunArgs),
    /// Write a model out again, complete, as a SavedModel
    Export(crate::export::ExportArgs),
    /// Train a model on by its own train signature, and save it with its whole state
    Train(TrainArgs),
    /// Ask a model the requests that were recorded in it, and say whether it answers as it did; or record them
    Verify(crate::verify::VerifyArgs),
    /// Compare two models: signatures, ops, functions, variables, assets. Needs no TensorFlow
    Diff(crate::diff::DiffArgs),
    /// Say what a model may do to this machine: files, sockets, Python. Needs no TensorFlow
    Scan(crate::scan::ScanArgs),
    /// Answer TensorFlow Serving's clients: REST and gRPC, by its flags
    ServeLocal(Box<crate::serve::args::ServeArgs>),
    /// Say which libtensorflow is used, and where it was looked for
    Runtime(RuntimeArgs),
}

impl Command {
    /// What to do where the model has no signature of the name that was given, or several and none was named.
    pub(crate) fn choose_signature(&self) -> Option<String> {
        let by_json =
            |path: &Option<PathBuf>| path.as_ref().is_some_and(|path| path.extension() != Some("npz".as_ref()));
        let option = match self {
            Self::Run(args) if by_json(&args.inputs) => "--signature NAME, or by `signature_name` in the request",
            Self::Verify(args) if by_json(&args.record) => "--signature NAME, or by `signature_name` in the request",
            Self::Inspect(_) | Self::Run(_) | Self::Verify(_) => "--signature NAME",
            Self::Train(_) => "--signature NAME, or the one that measures with --evaluate-signature NAME",
            Self::Export(_) => "--signatures NAME,…",
            Self::Diff(_) | Self::Scan(_) | Self::ServeLocal(_) | Self::Runtime(_) => return None,
        };
        Some(format!("choose one of them with {option}"))
    }
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For tools; documented in docs/cli.md.
    Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct InspectArgs {
    /// A SavedModel: its folder, or a .tfpack file
    pub(crate) path: PathBuf,
    /// Show only the meta graph with these tags (comma list; "" is the empty set)
    #[arg(long, value_name = "TAGS")]
    pub(crate) tags: Option<String>,
    /// Show only this signature
    #[arg(long, value_name = "NAME")]
    pub(crate) signature: Option<String>,
    /// Show only the variables, each
    #[arg(long)]
    pub(crate) variables: bool,
    /// Show only the variables, each, and read them: lowest, highest and mean number, how many are NaN or infinite
    #[arg(long)]
    pub(crate) stats: bool,
    /// Show only the ops, each
    #[arg(long)]
    pub(crate) ops: bool,
    /// How to write the report
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RunArgs {
    /// A SavedModel: its folder, or a .tfpack file
    pub(crate) path: PathBuf,
    /// The signature to run [default: serving_default, else the only one]
    #[arg(long, value_name = "NAME")]
    pub(crate) signature: Option<String>,
    /// An input: a number, a string or a nested list as JSON, or an array of numpy's
    #[arg(long, value_name = "NAME=JSON|NAME=@FILE.npy", conflicts_with = "requests", value_parser = assignment)]
    pub(crate) input: Vec<String>,
    /// All inputs: arrays by name, or a JSON object {"inputs": …} or {"instances": […]} ("-" is standard input)
    #[arg(long, value_name = "FILE.npz|FILE.json", conflicts_with = "requests")]
    pub(crate) inputs: Option<PathBuf>,
    /// tf.Examples for the signature's string input: a list of objects of features, such as [{"age": 3, "name": ["x"]}] ("-" is
    /// standard input). Where it has several, --input gives the others, or --input NAME= says which
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["requests", "inputs"])]
    pub(crate) examples: Option<PathBuf>,
    /// Many requests, a JSON object a line, answered in order by one session, a line each ("-" is standard input)
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) requests: Option<PathBuf>,
    /// Compute these outputs alone (comma list; repeatable), and ask only for the inputs that they need
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) outputs: Option<Vec<String>>,
    /// Where to write the outputs instead of printing them
    #[arg(long, value_name = "FILE.npz|FILE.npy|FILE.json", conflicts_with = "requests")]
    pub(crate) output: Option<PathBuf>,
    /// How to print the outputs
    #[arg(long, value_enum, default_value = "text", conflicts_with_all = ["output", "requests"])]
    pub(crate) format: Format,
    /// Run this many times more, after the first, and say how long they took
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "requests")]
    pub(crate) repeat: Option<u32>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

/// How a model is loaded.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Loading")]
pub(crate) struct LoadArgs {
    /// The tag set of the meta graph (comma list; "" is the empty set) [default: the only meta graph, else "serve"]
    #[arg(long, value_name = "TAGS")]
    pub(crate) tags: Option<String>,
    /// A library of further ops, or the installed pip package that has it, loaded before the model; repeatable; also
    /// TF_PERSIST_OP_LIBRARIES, colon-separated
    #[arg(long, value_name = "FILE.so|PACKAGE")]
    pub(crate) op_library: Vec<PathBuf>,
    /// Let the model do what `tf-persist scan` calls a danger: all of it, or what these ops do (comma list)
    #[arg(long, value_name = "OP,…", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) trust: Option<String>,
    /// Threads within one op, also TF_PERSIST_INTRA_OP_THREADS; 0 is TensorFlow's choice [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..=i64::from(MAX_THREADS)))]
    pub(crate) intra_op_threads: Option<i32>,
    /// Threads that run ops side by side, also TF_PERSIST_INTER_OP_THREADS; 0 is TensorFlow's choice, -1 runs the graph in
    /// the calling thread [default: 0; of `train`: -1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i32).range(-1..=i64::from(MAX_THREADS)))]
    pub(crate) inter_op_threads: Option<i32>,
    #[command(flatten)]
    pub(crate) library: LibraryArgs,
}

/// Where libtensorflow is.
#[derive(Debug, ClapArgs)]
pub(crate) struct LibraryArgs {
    /// The folder of libtensorflow, also TF_PERSIST_LIBTENSORFLOW [default: searched for, see `tf-persist runtime`]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) libtensorflow: Option<PathBuf>,
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

#[derive(Debug, ClapArgs)]
pub(crate) struct RuntimeArgs {
    #[command(subcommand)]
    pub(crate) action: Option<RuntimeAction>,
    #[command(flatten)]
    pub(crate) library: LibraryArgs,
    /// How to write the report
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RuntimeAction {
    /// Fetch libtensorflow through pip into the user's cache
    Install(InstallArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct InstallArgs {
    /// The Python whose pip fetches it, also TF_PERSIST_PYTHON; it need not have TensorFlow [default: python3]
    #[arg(long, value_name = "PYTHON")]
    pub(crate) python: Option<PathBuf>,
    /// Fetch it even if it is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// More threads than this are a slip of the finger.
pub(crate) const MAX_THREADS: i32 = 4096;

/// A variable of the environment. One that is empty is as good as none, which clap does not think.
pub(crate) fn env_var(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// A name and a value with `=` between them.
fn assignment(text: &str) -> Result<String, &'static str> {
    if text.contains('=') { Ok(text.to_owned()) } else { Err("it is not of the form NAME=JSON or NAME=@FILE.npy") }
}

/// A comma list of tags; the empty string is the empty set.
pub(crate) fn tags(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().mut_subcommand(SERVE_LOCAL, crate::serve::args::complete).debug_assert();
    }

    #[test]
    fn tags_are_a_comma_list() {
        assert_eq!(tags("serve"), ["serve"]);
        assert_eq!(tags("serve, train"), ["serve", "train"]);
        assert!(tags("").is_empty());
    }
}
