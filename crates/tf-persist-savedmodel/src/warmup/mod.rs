//! Recorded requests and responses, kept in the model, to be replayed anywhere.
//!
//! They are in `assets.extra/tf_serving_warmup_requests`, the file with which TensorFlow Serving warms up its servers:
//! a [TFRecord file](tfrecord) of `PredictionLog`s, of at most [`MAX_RECORDS`] records. TensorFlow Serving reads the
//! requests and ignores the responses; `LoadedModel::replay` compares the responses, and `Recorder` writes them (both
//! in tf-persist-core). Requests that write to the model's state are a `Sequence`, in a file of their own.
//!
//! ```no_run
//! use tf_persist_savedmodel::{SavedModel, warmup};
//!
//! # fn main() -> tf_persist_savedmodel::Result<()> {
//! let model = SavedModel::open("model")?;
//! for record in warmup::Records::open(&model)?.into_iter().flatten() {
//!     let record = record?;
//!     println!("{} request to `{}`", record.kind(), record.signature());
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
mod log;
mod log_line;
mod log_results;
mod record;
pub mod tfrecord;
mod write;

pub use crate::saved_model::first_state_write;
#[doc(hidden)]
pub use compare::compare;
pub use compare::{OutputReport, OutputResult};
#[doc(hidden)]
pub use examples::answer as answer_of;
#[doc(hidden)]
pub use examples::outputs_of;
pub use file::{FILE, MAX_RECORDS, Records, SEQUENCE_FILE};
pub use log::LoggedRequests;
#[doc(hidden)]
pub use log_results::{LoggedResults, ResultsSink, read_results};
#[doc(hidden)]
pub use record::Origin;
#[doc(hidden)]
pub use record::Request;
#[doc(hidden)]
pub use record::Tensors;
pub use record::{Kind, Record};
#[doc(hidden)]
pub use write::check_folder;
#[doc(hidden)]
pub use write::encode;
#[doc(hidden)]
pub use write::write_file;

#[cfg(test)]
mod tests;
