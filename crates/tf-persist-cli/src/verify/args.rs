//! The arguments of `tf-persist verify`.

use std::path::PathBuf;

use clap::Args;
use tf_persist_core::tensor::Tolerance;

use crate::common_args::{Format, tolerance};
use crate::keras_args::KerasArgs;
use crate::load_args::{LoadArgs, OptimizeArgs};

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 the same, or recorded; 1 different, nothing to compare with, or failure; 2 usage error."
)]
pub(crate) struct VerifyArgs {
    /// A model: the folder of a SavedModel, a .tfpack file, or a Keras file (.keras, .h5); --record needs a folder
    pub(crate) path: PathBuf,
    /// The largest absolute and relative difference of floats that counts as the same; 0 means equal bits [default:
    /// rounding errors, by dtype]
    #[arg(long, value_name = "T", value_parser = tolerance)]
    pub(crate) tolerance: Option<f64>,
    /// Run these requests, and record them with their answers in assets.extra/tf_serving_warmup_requests: arrays by
    /// name, a JSON request, or one per line ("-" is standard input, with one JSON request)
    #[arg(long, value_name = "FILE.npz|FILE.json|FILE.jsonl", conflicts_with = "tolerance")]
    pub(crate) record: Option<PathBuf>,
    /// Replay the requests of this request log of `serve-local` instead, and compare the answers with the logged ones
    #[arg(long, value_name = "FILE.tfrecord|FILE.jsonl", conflicts_with = "record")]
    pub(crate) requests: Option<PathBuf>,
    /// The signature to record, where a request does not name one [default: serving_default, else the only one]
    #[arg(long, value_name = "NAME", requires = "record")]
    pub(crate) signature: Option<String>,
    /// Record the requests as a sequence that is replayed in order on a newly loaded model, in a file that TensorFlow
    /// Serving does not run: for signatures that write to the model's state
    #[arg(long, requires = "record")]
    pub(crate) in_order: bool,
    /// Drop the earlier records: with --in-order those of the sequence, else the others
    #[arg(long, requires = "record")]
    pub(crate) replace: bool,
    /// The format of the report
    #[arg(long, value_enum, default_value = "text", conflicts_with = "record")]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) optimize: OptimizeArgs,
    #[command(flatten)]
    pub(crate) keras: KerasArgs,
}

impl VerifyArgs {
    /// Whether the requests to record are JSON, which may name the signature.
    pub(crate) fn is_json(&self) -> bool {
        self.record.as_ref().is_some_and(|path| path.extension() != Some("npz".as_ref()))
    }

    pub(super) fn tolerated(&self) -> Tolerance {
        self.tolerance.map_or(Tolerance::Rounding, Tolerance::Within)
    }
}
