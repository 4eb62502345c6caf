//! The arguments of `tf-persist scan`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tf_persist_savedmodel::scan::Level;

use crate::common_args::Format;
use crate::keras_args::KerasArgs;

#[derive(Debug, Args)]
pub(crate) struct ScanArgs {
    /// A model: the folder of a SavedModel, a .tfpack file, or a Keras file (.keras, .h5)
    pub(crate) path: PathBuf,
    /// Scan only the meta graph with these tags (comma list; "" is the empty set)
    #[arg(long, value_name = "TAGS")]
    pub(super) tags: Option<String>,
    /// The format of the report
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
    /// Exit with 1 if there is a finding of at least this level
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "danger")]
    pub(super) fail_on: FailOn,
    #[command(flatten)]
    pub(super) keras: KerasArgs,
}

/// What makes a scan fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FailOn {
    Info,
    Warning,
    Danger,
    Never,
}

impl FailOn {
    pub(super) fn level(self) -> Option<Level> {
        match self {
            Self::Info => Some(Level::Info),
            Self::Warning => Some(Level::Warning),
            Self::Danger => Some(Level::Danger),
            Self::Never => None,
        }
    }
}
