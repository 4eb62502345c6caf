//! The arguments of `tf-persist verify`.

use std::path::PathBuf;

use clap::Args;
use tf_persist_core::tensor::Tolerance;

use crate::args::{Format, LoadArgs};

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 the same, or recorded; 1 different, nothing to compare with, or it could not be done; 2 wrong usage."
)]
pub(crate) struct VerifyArgs {
    /// The folder of a SavedModel, or a pack (.tfpack); --record takes a folder alone
    pub(crate) path: PathBuf,
    /// How far floats may be off, absolute and relative; 0 demands the same bits [default: rounding, by the element type]
    #[arg(long, value_name = "T", value_parser = tolerance)]
    pub(crate) tolerance: Option<f64>,
    /// Ask the model these requests, and keep them with their answers in assets.extra/tf_serving_warmup_requests: arrays by
    /// name, a JSON request, or one a line ("-" is standard input, one JSON request)
    #[arg(long, value_name = "FILE.npz|FILE.json|FILE.jsonl", conflicts_with = "tolerance")]
    pub(crate) record: Option<PathBuf>,
    /// The signature that is recorded, where a request does not name its own [default: serving_default, else the only one]
    #[arg(long, value_name = "NAME", requires = "record")]
    pub(crate) signature: Option<String>,
    /// Record the requests as a sequence that is asked in order of the freshly loaded model, and kept apart from those that
    /// TensorFlow Serving runs: of signatures that write to the model's state
    #[arg(long, requires = "record")]
    pub(crate) in_order: bool,
    /// Begin anew: what was recorded before is dropped; with --in-order, the sequence, else the rest
    #[arg(long, requires = "record")]
    pub(crate) replace: bool,
    /// How to write the report
    #[arg(long, value_enum, default_value = "text", conflicts_with = "record")]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

/// A tolerance: a number that is not negative.
pub(crate) fn tolerance(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(number) if number >= 0.0 && f64::is_finite(number) => Ok(number),
        _ => Err("it is no number of 0 or more"),
    }
}

impl VerifyArgs {
    pub(super) fn tolerated(&self) -> Tolerance {
        self.tolerance.map_or(Tolerance::Rounding, Tolerance::Within)
    }
}
