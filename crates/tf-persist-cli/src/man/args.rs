//! The arguments of `tf-persist man`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write a page for each command into this folder, which must exist, instead of printing the page of `tf-persist`
    #[arg(long, value_name = "DIR")]
    pub(super) output: Option<PathBuf>,
}
