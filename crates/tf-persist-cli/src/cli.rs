//! The command line.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::completions::{self, CompletionsArgs};
#[cfg(feature = "deploy")]
use crate::deploy::{self, DeployArgs};
use crate::diff::{self, DiffArgs};
use crate::export::{self, ExportArgs};
#[cfg(feature = "image")]
use crate::image::{self, ImageArgs};
use crate::inspect::{self, InspectArgs};
#[cfg(feature = "loop")]
use crate::loop_command::{self, LoopArgs};
use crate::man::{self, ManArgs};
#[cfg(feature = "monitor")]
use crate::monitor::{self, MonitorArgs};
#[cfg(feature = "serve")]
use crate::ready::{self, ReadyArgs};
#[cfg(feature = "runtime")]
use crate::run::{self, RunArgs};
#[cfg(feature = "runtime")]
use crate::runtime::{self, RuntimeArgs};
use crate::scan::{self, ScanArgs};
#[cfg(feature = "serve")]
use crate::serve::{self, Invoked, ServeArgs};
use crate::store::{self, StoreArgs};
#[cfg(feature = "train")]
use crate::train::{self, TrainArgs};
#[cfg(feature = "runtime")]
use crate::verify::{self, VerifyArgs};
use crate::version_path;

/// The commands that this build leaves out, each with the feature that has it.
const LEFT_OUT: &[(&str, &str)] = &[
    #[cfg(not(feature = "runtime"))]
    ("run", "runtime"),
    #[cfg(not(feature = "runtime"))]
    ("verify", "runtime"),
    #[cfg(not(feature = "runtime"))]
    ("runtime", "runtime"),
    #[cfg(not(feature = "train"))]
    ("train", "train"),
    #[cfg(not(feature = "loop"))]
    ("loop", "loop"),
    #[cfg(not(feature = "monitor"))]
    ("monitor", "monitor"),
    #[cfg(not(feature = "serve"))]
    ("serve-local", "serve"),
    #[cfg(not(feature = "serve"))]
    ("serve", "serve"),
    #[cfg(not(feature = "serve"))]
    ("ready", "serve"),
    #[cfg(not(feature = "image"))]
    ("image", "image"),
    #[cfg(not(feature = "deploy"))]
    ("deploy", "deploy"),
];

/// TensorFlow SavedModels from the terminal: inspect, run, train, export and serve them, without Python
#[derive(Debug, Parser)]
#[command(name = "tf-persist", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Exit codes: 0 success, 1 failure, 2 usage error.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Parses the command line; clap's matches tell which flags were given.
    pub(crate) fn read() -> Result<(Self, ArgMatches), clap::Error> {
        let command = complete(Self::command());
        let words: Vec<OsString> = std::env::args_os().collect();
        let matches =
            command.clone().try_get_matches_from(&words).map_err(|error| with_tip(error, &command, &words))?;
        Ok((Self::from_arg_matches(&matches)?, matches))
    }
}

/// The command line with what derive macros do not express.
pub(crate) fn complete(command: clap::Command) -> clap::Command {
    #[cfg(feature = "serve")]
    let command = command.mut_subcommand(SERVE_LOCAL, serve::complete).mut_subcommand(SERVE, serve::complete);
    command
}

/// Adds a tip to a usage error: for a command that this build leaves out, and for a word after a flag that takes its
/// value only after `=`.
fn with_tip(mut error: clap::Error, command: &clap::Command, words: &[OsString]) -> clap::Error {
    if let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidSubcommand)
        && let Some((name, feature)) = LEFT_OUT.iter().find(|(left_out, _)| left_out == name)
    {
        let tip = format!("this build of tf-persist has no `{name}`: it needs the cargo feature `{feature}`");
        error.remove(ContextKind::SuggestedSubcommand);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
        return error;
    }
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

/// The command with TensorFlow Serving's flags.
#[cfg(feature = "serve")]
const SERVE_LOCAL: &str = "serve-local";

/// The same as SageMaker starts it.
#[cfg(feature = "serve")]
const SERVE: &str = "serve";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a model's signatures, variables, assets and ops. Needs no TensorFlow
    Inspect(InspectArgs),
    /// Run a signature of a model
    #[cfg(feature = "runtime")]
    Run(RunArgs),
    /// Write a complete copy of a model, or a part of it, as a SavedModel
    Export(ExportArgs),
    /// Train a model with its own train signature, and save it with its whole state
    #[cfg(feature = "train")]
    Train(TrainArgs),
    /// Replay the requests that were recorded in a model and compare the answers, or record requests
    #[cfg(feature = "runtime")]
    Verify(VerifyArgs),
    /// Compare two models: signatures, ops, functions, variables, assets. Needs no TensorFlow
    Diff(DiffArgs),
    /// List what a model may do to this machine: files, sockets, Python. Needs no TensorFlow
    Scan(ScanArgs),
    /// Serve models over TensorFlow Serving's REST and gRPC interfaces, with its flags
    #[cfg(feature = "serve")]
    ServeLocal(Box<ServeArgs>),
    /// Serve models as SageMaker and Vertex AI expect of a container: `serve-local` with their routes, port and folders
    #[cfg(feature = "serve")]
    Serve(Box<ServeArgs>),
    /// Ask a server whether it is ready, as the health check of a container does
    #[cfg(feature = "serve")]
    Ready(ReadyArgs),
    /// Write models and all that serves them as an OCI image, without Docker: a folder, or pushed to a registry
    #[cfg(feature = "image")]
    Image(Box<ImageArgs>),
    /// Print manifests for Kubernetes: KServe, or a Job over many files
    #[cfg(feature = "deploy")]
    Deploy(Box<DeployArgs>),
    /// Report drift, quality, latency and errors from the request log of a server. Needs no TensorFlow
    #[cfg(feature = "monitor")]
    Monitor(Box<MonitorArgs>),
    /// Watch a served model, train it on when its requests change, and publish what is better, step by step
    #[cfg(feature = "loop")]
    Loop(LoopArgs),
    /// Keep versions of models: publish, label, roll back, check. Needs no TensorFlow
    Store(Box<StoreArgs>),
    /// Show which libtensorflow is used, and where it is searched for
    #[cfg(feature = "runtime")]
    Runtime(RuntimeArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write the pages of all commands
    Man(ManArgs),
}

impl Command {
    /// Runs the command. `matches` are those of the whole command line.
    #[cfg_attr(not(feature = "serve"), expect(unused_variables, reason = "`serve-local` asks which flags were given"))]
    pub(crate) fn run(mut self, matches: &ArgMatches) -> anyhow::Result<()> {
        self.resolve_versions()?;
        match self {
            Self::Inspect(args) => inspect::run(&args),
            #[cfg(feature = "runtime")]
            Self::Run(args) => run::run(args),
            Self::Export(args) => export::run(&args),
            #[cfg(feature = "train")]
            Self::Train(args) => train::run(&args),
            #[cfg(feature = "runtime")]
            Self::Verify(args) => verify::run(&args),
            Self::Diff(args) => diff::run(&args),
            Self::Scan(args) => scan::run(&args),
            #[cfg(feature = "serve")]
            Self::ServeLocal(args) => {
                serve::run(*args, matches.subcommand_matches(SERVE_LOCAL).unwrap_or(matches), Invoked::ServeLocal)
            }
            #[cfg(feature = "serve")]
            Self::Serve(args) => {
                serve::run(*args, matches.subcommand_matches(SERVE).unwrap_or(matches), Invoked::Serve)
            }
            #[cfg(feature = "serve")]
            Self::Ready(args) => ready::run(&args),
            #[cfg(feature = "image")]
            Self::Image(args) => image::run(&args),
            #[cfg(feature = "deploy")]
            Self::Deploy(args) => deploy::run(&args),
            #[cfg(feature = "monitor")]
            Self::Monitor(args) => monitor::run(&args),
            #[cfg(feature = "loop")]
            Self::Loop(args) => loop_command::run(&args),
            Self::Store(args) => store::run(&args),
            #[cfg(feature = "runtime")]
            Self::Runtime(args) => runtime::run(&args),
            Self::Completions(args) => completions::run(&args, Cli::command()),
            Self::Man(args) => man::run(&args, Cli::command()),
        }
    }

    /// Replaces `MODEL@REF` by the folder of that version, once: labels may move while the command runs.
    fn resolve_versions(&mut self) -> anyhow::Result<()> {
        let paths = match self {
            Self::Inspect(args) => vec![&mut args.path],
            #[cfg(feature = "runtime")]
            Self::Run(args) => vec![&mut args.path],
            Self::Export(args) => vec![&mut args.source],
            #[cfg(feature = "train")]
            Self::Train(args) => vec![&mut args.path],
            #[cfg(feature = "runtime")]
            Self::Verify(args) => vec![&mut args.path],
            Self::Diff(args) => vec![&mut args.a, &mut args.b],
            Self::Scan(args) => vec![&mut args.path],
            #[cfg(feature = "image")]
            Self::Image(args) => args.models.iter_mut().collect(),
            #[cfg(feature = "deploy")]
            Self::Deploy(args) => vec![args.model_mut()],
            _ => Vec::new(),
        };
        for path in paths {
            *path = version_path::resolve(std::mem::take(path))?;
        }
        self.check_signature()
    }

    /// Refuses a model that `--require-signature` does not accept, before it is read.
    #[cfg(feature = "runtime")]
    fn check_signature(&self) -> anyhow::Result<()> {
        let (path, load) = match self {
            Self::Run(args) => (&args.path, &args.load),
            #[cfg(feature = "train")]
            Self::Train(args) => (&args.path, &args.load),
            Self::Verify(args) => (&args.path, &args.load),
            _ => return Ok(()),
        };
        load.require_signature.as_ref().map_or(Ok(()), |key| version_path::check_signature(path, key))
    }

    #[cfg(not(feature = "runtime"))]
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "without the runtime nothing is loaded")]
    fn check_signature(&self) -> anyhow::Result<()> {
        Ok(())
    }

    /// The hint where the model has no signature of the given name, or has several and none was named.
    pub(crate) fn choose_signature(&self) -> Option<String> {
        let option = match self {
            Self::Inspect(_) => "--signature NAME",
            #[cfg(feature = "monitor")]
            Self::Monitor(_) => "--signature NAME",
            Self::Export(_) => "--signatures NAME,…",
            #[cfg(feature = "deploy")]
            Self::Deploy(_) => "--signature NAME",
            #[cfg(feature = "runtime")]
            Self::Run(args) if args.is_json() => "--signature NAME, or by `signature_name` in the request",
            #[cfg(feature = "runtime")]
            Self::Verify(args) if args.is_json() => "--signature NAME, or by `signature_name` in the request",
            #[cfg(feature = "runtime")]
            Self::Run(_) | Self::Verify(_) => "--signature NAME",
            #[cfg(feature = "train")]
            Self::Train(_) => "--signature NAME, or the one that measures with --evaluate-signature NAME",
            _ => return None,
        };
        Some(format!("choose one of them with {option}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        complete(Cli::command()).debug_assert();
    }
}
