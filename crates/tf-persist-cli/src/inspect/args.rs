//! The arguments of `tf-persist inspect`.

use std::path::PathBuf;

use clap::Args;

use crate::common_args::Format;
use crate::keras_args::KerasArgs;

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A model: the folder of a SavedModel, a .tfpack file, or a Keras file (.keras, .h5)
    pub(crate) path: PathBuf,
    /// Show only the meta graph with these tags (comma list; "" is the empty set)
    #[arg(long, value_name = "TAGS")]
    pub(crate) tags: Option<String>,
    /// Show only this signature
    #[arg(long, value_name = "NAME")]
    pub(crate) signature: Option<String>,
    /// Show only the variables, all of them
    #[arg(long)]
    pub(crate) variables: bool,
    /// Show only the variables, and read them: minimum, maximum, mean, and how many elements are NaN or infinite
    #[arg(long)]
    pub(crate) stats: bool,
    /// Show only the ops, all of them
    #[arg(long)]
    pub(crate) ops: bool,
    /// The format of the report
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) keras: KerasArgs,
}

impl InspectArgs {
    /// Whether only a part of a SavedModel's report is asked for.
    #[cfg(feature = "keras")]
    pub(super) fn is_narrow(&self) -> bool {
        self.tags.is_some() || self.signature.is_some() || self.variables || self.stats || self.ops
    }
}
