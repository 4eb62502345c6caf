//! Golden examples: requests with the answers they were given, kept in the model, to be asked again anywhere.
//!
//! They stand in `assets.extra/tf_serving_warmup_requests`, the file that TensorFlow Serving warms its servers up on: a
//! [TFRecord file](tfrecord) of `PredictionLog`s, of at most [`MAX_RECORDS`] records. TensorFlow Serving reads the requests and
//! leaves the answers alone; [`LoadedModel::replay`](crate::LoadedModel::replay) compares the answers. [`Recorder`] writes them.
//! Requests that write to the model's state are a [`Sequence`], in a file of their own.
//!
//! ```no_run
//! use tf_persist_core::tensor::Tolerance;
//! use tf_persist_core::{LoadOptions, SavedModel, golden};
//!
//! # fn main() -> tf_persist_core::Result<()> {
//! let artefact = SavedModel::open("model")?;
//! let records = golden::Records::of(&artefact)?.expect("nothing was recorded");
//! let model = artefact.load(LoadOptions::default())?;
//! for record in records {
//!     println!("{:?}", model.replay(&record?, Tolerance::Rounding)?.outcome);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Source: `tensorflow_serving/apis/prediction_log.proto` and `servables/tensorflow/saved_model_warmup_util.cc`.

mod decode;
mod examples;
mod file;
mod record;
mod replay;
mod requests;
mod sequence;
mod state;
pub mod tfrecord;
mod write;

pub use file::{FILE, MAX_RECORDS, Records, SEQUENCE_FILE};
pub use record::{Kind, Record};
pub use replay::{Outcome, OutputReport, OutputResult, Replay};
pub use requests::{Added, Recorder};
pub use sequence::Sequence;
pub use state::what_it_writes;
pub(crate) use state::{Writes, what_it_writes_to};

#[cfg(test)]
mod tests;
