//! Golden examples: requests with the answers they were given, kept in the model, to be asked again anywhere.
//!
//! They stand in `assets.extra/tf_serving_warmup_requests`, the file that TensorFlow Serving warms its servers up on: a
//! [TFRecord file](tfrecord) of `PredictionLog`s, of at most [`MAX_RECORDS`] records. TensorFlow Serving reads the requests and
//! leaves the answers alone; `LoadedModel::replay` compares the answers, and `Recorder` writes them (both in tf-persist-core).
//! Requests that write to the model's state are a `Sequence`, in a file of their own.
//!
//! ```no_run
//! use tf_persist_core::tensor::Tolerance;
//! use tf_persist_core::{LoadOptions, SavedModel, warmup};
//!
//! # fn main() -> tf_persist_core::Result<()> {
//! let artefact = SavedModel::open("model")?;
//! let records = warmup::Records::of(&artefact)?.expect("nothing was recorded");
//! let model = artefact.load(LoadOptions::default())?;
//! for record in records {
//!     println!("{:?}", model.replay(&record?, Tolerance::Rounding)?.outcome);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Source: `tensorflow_serving/apis/prediction_log.proto` and `servables/tensorflow/saved_model_warmup_util.cc`.

mod compare;
mod decode;
mod examples;
mod file;
mod record;
pub mod tfrecord;
mod write;

pub use crate::replay::{Added, Outcome, Recorder, Replay, Sequence};
pub use crate::saved_model::first_state_write;
pub(crate) use compare::compare;
pub use compare::{OutputReport, OutputResult};
pub(crate) use examples::{answer as answer_of, outputs_of};
pub use file::{FILE, MAX_RECORDS, Records, SEQUENCE_FILE};
pub use record::{Kind, Record};
pub(crate) use record::{Request, Tensors};
pub(crate) use write::{check_folder, encode, write_file};

#[cfg(test)]
mod tests;
