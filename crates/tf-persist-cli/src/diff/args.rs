//! The arguments of `tf-persist diff`.

use std::path::PathBuf;

use clap::Args;

use crate::args::Format;
use crate::verify::tolerance;

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 the same, 1 different (or it could not be done: then there is an error and no report), \
                        2 wrong usage."
)]
pub(crate) struct DiffArgs {
    /// The folder of a SavedModel
    pub(crate) a: PathBuf,
    /// The folder of another
    pub(crate) b: PathBuf,
    /// Compare only the meta graphs with these tags (comma list; "" is the empty set)
    #[arg(long, value_name = "TAGS")]
    pub(crate) tags: Option<String>,
    /// Compare only the variables
    #[arg(long, conflicts_with = "tags")]
    pub(crate) variables: bool,
    /// How far floats of variables may be off, absolute and relative, and still be the same
    #[arg(long, value_name = "T", value_parser = tolerance, default_value = "0")]
    pub(crate) tolerance: f64,
    /// How to write the report
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}
