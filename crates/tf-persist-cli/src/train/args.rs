//! What `train` is asked for.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::Args as ClapArgs;
use clap::builder::{RangedU64ValueParser, TypedValueParser};
use tf_persist_core::train::{EVALUATE_SIGNATURE, TRAIN_SIGNATURE};

use crate::args::{Format, LoadArgs};

/// More rows than any memory holds.
const MAX_BATCH: u64 = 1 << 32;

#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Exit codes: 0 done, 1 it could not be done, 2 wrong usage, 130 stopped by Ctrl-C, 143 by SIGTERM."
)]
pub(crate) struct TrainArgs {
    /// The folder of a SavedModel with a train signature, or a pack (.tfpack)
    pub(crate) path: PathBuf,
    /// What to train on: arrays by the names of the signature's inputs, a row an example
    #[arg(long, value_name = "FILE.npz")]
    pub(crate) data: PathBuf,
    /// What to measure at the end of each epoch, by the signature `evaluate`
    #[arg(long, value_name = "FILE.npz")]
    pub(crate) validate: Option<PathBuf>,
    /// The folder or pack (.tfpack) to write the trained model to, and checkpoints on the way; it must not exist, or be empty
    #[arg(long, value_name = "DST")]
    pub(crate) output: PathBuf,
    /// Replace what stands at DST, in one step, once there is a checkpoint
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Go on where the training that wrote the model was left: signature, batch size, seed and epochs are its
    #[arg(long)]
    pub(crate) resume: bool,
    /// How often to go through the data, counted from the beginning of the training [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) epochs: Option<u64>,
    /// Rows of a batch; the last of an epoch may be smaller
    #[arg(long, value_name = "ROWS", default_value = "32", conflicts_with = "resume", value_parser = batch_size())]
    pub(crate) batch_size: usize,
    /// The seed of the order of the rows, which is shuffled anew for each epoch
    #[arg(long, value_name = "N", default_value = "0", conflicts_with = "resume")]
    pub(crate) seed: u64,
    /// Take the rows in the order of the file
    #[arg(long, conflicts_with_all = ["seed", "resume"])]
    pub(crate) no_shuffle: bool,
    /// The signature of which each run is a step
    #[arg(long, value_name = "NAME", default_value = TRAIN_SIGNATURE, conflicts_with = "resume")]
    pub(crate) signature: String,
    /// The signature that measures the validation data
    #[arg(long, value_name = "NAME", default_value = EVALUATE_SIGNATURE, requires = "validate")]
    pub(crate) evaluate_signature: String,
    /// Save after every N steps [default: at the end of the first epoch, and of each that comes at least ten times as long after
    /// the last save as that took]
    #[arg(long, value_name = "N")]
    pub(crate) checkpoint_every: Option<NonZeroU64>,
    /// Draw the loss of every step and epoch
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) plot: Option<PathBuf>,
    /// How to write the report
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

fn batch_size() -> impl TypedValueParser<Value = usize> {
    RangedU64ValueParser::<u64>::new().range(1..=MAX_BATCH).map(|rows| rows as usize)
}
