//! The arguments of `tf-persist run`.

use std::path::{Path, PathBuf};

use clap::Args;
use tf_persist_core::RunOptions;

use crate::columns;
use crate::common_args::{Format, batch_size};
use crate::keras_args::KerasArgs;
use crate::load_args::{LoadArgs, OptimizeArgs};

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// A model: the folder of a SavedModel, a .tfpack file, or a Keras file (.keras, .h5)
    pub(crate) path: PathBuf,
    /// The signature to run [default: serving_default, else the only one]
    #[arg(long, value_name = "NAME")]
    pub(crate) signature: Option<String>,
    /// Give one input: a number, a string or a nested list as JSON, or a numpy array; repeatable
    #[arg(long, value_name = "NAME=JSON|NAME=@FILE.npy", conflicts_with = "requests", value_parser = assignment)]
    pub(crate) input: Vec<String>,
    /// Give all inputs: arrays or columns by name, or a JSON request {"inputs": …} or {"instances": […]} ("-" is
    /// standard input), or a folder of such files, of which --shard chooses one
    #[arg(long, value_name = "FILE.npz|.json|.parquet|.arrow|DIR", conflicts_with = "requests")]
    pub(crate) inputs: Option<PathBuf>,
    /// Give tf.Examples for the signature's string input: serialized ones in a TFRecord file, which may be compressed
    /// by gzip, or a list of objects with features, such as [{"age": 3, "name": ["x"]}] ("-" is standard input). If
    /// several inputs take strings, give the others with --input, or choose one with --input NAME=
    #[arg(long, value_name = "FILE.json|FILE.tfrecord", conflicts_with_all = ["requests", "inputs"])]
    pub(crate) examples: Option<PathBuf>,
    /// Answer many requests in order and with one session: JSON, one per line ("-" is standard input), or the
    /// PredictionLogs of a request log or a warm-up file
    #[arg(long, value_name = "FILE.jsonl|FILE.tfrecord")]
    pub(crate) requests: Option<PathBuf>,
    /// Compute only these outputs (comma list; repeatable), which need only their own inputs
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) outputs: Option<Vec<String>>,
    /// Run the rows of the input files in batches of N, in constant memory; the same command continues a run that was
    /// interrupted
    #[arg(long, value_name = "N", requires = "output", conflicts_with_all = ["requests", "repeat"])]
    #[arg(value_parser = batch_size())]
    pub(crate) batch_size: Option<usize>,
    /// Write the outputs to a file instead of printing them; with --shard, to a file of this folder
    #[arg(long, value_name = "FILE.npz|.npy|.json|.jsonl|.parquet|.arrow|DIR", conflicts_with = "requests")]
    pub(crate) output: Option<PathBuf>,
    /// Take file N of the folder that --inputs names, counted from 0 in the order of names, and write a file of the
    /// same name into the folder of --output; also JOB_COMPLETION_INDEX, as pods of Kubernetes have it
    #[arg(long, value_name = "N", requires = "inputs", requires = "output", conflicts_with = "requests")]
    pub(crate) shard: Option<usize>,
    /// The format of the printed outputs
    #[arg(long, value_enum, default_value = "text", conflicts_with_all = ["output", "requests"])]
    pub(crate) format: Format,
    /// Run N more times after the first run, and print how long they took
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "requests")]
    pub(crate) repeat: Option<u32>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) optimize: OptimizeArgs,
    #[command(flatten)]
    pub(crate) keras: KerasArgs,
}

impl RunArgs {
    /// Whether the inputs are a JSON request, which may name the signature.
    pub(crate) fn is_json(&self) -> bool {
        let is_other = |path: &Path| path.extension() == Some("npz".as_ref()) || columns::Format::of(path).is_some();
        self.inputs.as_deref().is_some_and(|path| !is_other(path))
    }

    pub(super) fn run_options(&self) -> RunOptions<'_> {
        self.outputs.as_deref().map_or_else(RunOptions::default, |names| RunOptions::default().outputs(names))
    }
}

/// A name and a value, separated by `=`.
fn assignment(text: &str) -> Result<String, &'static str> {
    if text.contains('=') { Ok(text.to_owned()) } else { Err("expected NAME=JSON or NAME=@FILE.npy") }
}
