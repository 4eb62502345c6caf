//! The arguments of `tf-persist train`.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::Args;
use tf_persist_core::train::{EVALUATE_SIGNATURE, TRAIN_SIGNATURE};

use crate::common_args::{Format, batch_size};
use crate::keras_args::KerasArgs;
use crate::load_args::LoadArgs;

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 success, 1 failure, 2 usage error, 130 stopped by Ctrl-C, 143 stopped by SIGTERM."
)]
pub(crate) struct TrainArgs {
    /// A model with a train signature: the folder of a SavedModel, a .tfpack file, or a compiled Keras file
    pub(crate) path: PathBuf,
    /// The training data: arrays by the names of the signature's inputs, one row per example
    #[arg(long, value_name = "FILE.npz")]
    pub(crate) data: PathBuf,
    /// The validation data, measured with the signature `evaluate` at the end of each epoch
    #[arg(long, value_name = "FILE.npz")]
    pub(crate) validate: Option<PathBuf>,
    /// Where to write checkpoints and the trained model: a folder, a .tfpack file or, for a model from a Keras file, a
    /// .keras or .h5 file. It must not exist, or be empty
    #[arg(long, value_name = "DST")]
    pub(crate) output: PathBuf,
    /// Replace the model at DST by the first checkpoint, in one step
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Continue the training that wrote the model, with its signature, batch size, seed and epochs
    #[arg(long)]
    pub(crate) resume: bool,
    /// Passes over the data, counted from the beginning of the training [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) epochs: Option<u64>,
    /// Rows per batch; the last batch of an epoch may be smaller
    #[arg(long, value_name = "ROWS", default_value = "32", conflicts_with = "resume", value_parser = batch_size())]
    pub(crate) batch_size: usize,
    /// The seed of the order of the rows, which differs in each epoch
    #[arg(long, value_name = "N", default_value = "0", conflicts_with = "resume")]
    pub(crate) seed: u64,
    /// Keep the rows in the order of the file
    #[arg(long, conflicts_with_all = ["seed", "resume"])]
    pub(crate) no_shuffle: bool,
    /// The signature that does one training step per run
    #[arg(long, value_name = "NAME", default_value = TRAIN_SIGNATURE, conflicts_with = "resume")]
    pub(crate) signature: String,
    /// The signature that measures the validation data
    #[arg(long, value_name = "NAME", default_value = EVALUATE_SIGNATURE, requires = "validate")]
    pub(crate) evaluate_signature: String,
    /// Save after every N steps [default: at the end of the first epoch, then at the end of an epoch once ten times the
    /// duration of the last save has passed since it]
    #[arg(long, value_name = "N")]
    pub(crate) checkpoint_every: Option<NonZeroU64>,
    /// Plot the loss of every step and epoch
    #[cfg(feature = "plot")]
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) plot: Option<PathBuf>,
    /// The format of the report
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) keras: KerasArgs,
}

impl TrainArgs {
    /// Whether `--plot` is given.
    pub(super) fn draws(&self) -> bool {
        #[cfg(feature = "plot")]
        return self.plot.is_some();
        #[cfg(not(feature = "plot"))]
        false
    }
}
