//! The arguments of `tf-persist diff`.

use std::path::PathBuf;

use clap::Args;

use crate::common_args::{Format, tolerance};
use crate::keras_args::KerasArgs;

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 the same, 1 different (or failure, with an error and no report), 2 usage error.")]
pub(crate) struct DiffArgs {
    /// A model: the folder of a SavedModel, a .tfpack file, or a Keras file (.keras, .h5)
    pub(crate) a: PathBuf,
    /// The model to compare it with
    pub(crate) b: PathBuf,
    /// Compare only the meta graphs with these tags (comma list; "" is the empty set)
    #[arg(long, value_name = "TAGS")]
    pub(crate) tags: Option<String>,
    /// Compare only the variables
    #[arg(long, conflicts_with = "tags")]
    pub(crate) variables: bool,
    /// Treat floats of variables as the same up to this absolute and relative difference
    #[arg(long, value_name = "T", value_parser = tolerance, default_value = "0")]
    pub(crate) tolerance: f64,
    /// The format of the report
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) keras: KerasArgs,
}
