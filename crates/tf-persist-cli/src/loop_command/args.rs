//! The arguments of `tf-persist loop`.

use std::path::PathBuf;

use clap::Args;

use crate::common_args::{Format, LibraryArgs};

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 success, or stopped by SIGINT or SIGTERM; 1 failure; 2 usage error.")]
pub(crate) struct LoopArgs {
    /// What to watch, when to act, how to train, and what must hold: docs/loop.md describes it
    #[arg(value_name = "LOOP.toml")]
    pub(crate) path: PathBuf,
    /// End when nothing is left to do now, instead of waiting for requests, labels and time
    #[arg(long)]
    pub(crate) once: bool,
    /// Train a new version now, whether or not there is a reason
    #[arg(long)]
    pub(crate) now: bool,
    /// Print what would happen, and change nothing
    #[arg(long, conflicts_with = "once")]
    pub(crate) dry_run: bool,
    /// The format of the lines about what happens
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) library: LibraryArgs,
}
