//! The arguments of `tf-persist runtime`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::common_args::{Format, LibraryArgs};

#[derive(Debug, Args)]
pub(crate) struct RuntimeArgs {
    #[command(subcommand)]
    pub(crate) action: Option<RuntimeAction>,
    #[command(flatten)]
    pub(crate) library: LibraryArgs,
    /// The format of the report
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RuntimeAction {
    /// Download libtensorflow with pip into the user's cache
    Install(InstallArgs),
}

#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// The Python whose pip downloads it, also TF_PERSIST_PYTHON; it does not need TensorFlow [default: python3]
    #[arg(long, value_name = "PYTHON")]
    pub(crate) python: Option<PathBuf>,
    /// Download it even if it is installed already
    #[arg(long)]
    pub(crate) force: bool,
}
