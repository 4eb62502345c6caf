//! Inspect, run, train and export TensorFlow SavedModels from Rust. Answers are the same as Python's, and no Python is
//! needed at run time.
//!
//! ```no_run
//! use tf_persist_core::{LoadOptions, LoadSavedModel, SaveOptions, SavedModel, Tensor};
//!
//! # fn main() -> tf_persist_core::Result<()> {
//! let saved_model = SavedModel::open("models/digits/model")?; // milliseconds, without TensorFlow
//! println!("{}", saved_model.signature("serving_default")?);
//!
//! let model = saved_model.load(LoadOptions::default())?; // opens libtensorflow, restores the variables
//! let image = Tensor::from_slice(&[1, 8, 8, 1], &[0.0_f32; 64])?;
//! let answer = model.signature("serving_default")?.run([("image", image)])?;
//! let probabilities = answer["probabilities"].view::<f32>()?;
//!
//! model.save("digits-copy", SaveOptions::default())?; // whole, or not at all
//! # Ok(())
//! # }
//! ```
//!
//! # Two states of a model
//!
//! [`SavedModel`] is the model as files: tags, signatures, variables, ops, assets. It never calls TensorFlow and is
//! safe with hostile files. [`SavedModel::load`](LoadSavedModel::load) opens a session through the
//! [`Runtime`](runtime::Runtime) and returns a [`LoadedModel`], whose [`Signature`]s run from any number of threads.
//!
//! # Training
//!
//! [`train::Trainer`] runs a model's own train signature over data. Its checkpoints are whole models, and training
//! resumes from them bit for bit.
//!
//! # A model in one file
//!
//! [`SavedModel::save`] to `model.tfpack` writes a model as one file, and [`SavedModel::to_bytes`] as bytes.
//! [`SavedModel::open`] and [`SavedModel::from_bytes`] read them; see [`pack`].
//!
//! # libtensorflow
//!
//! It is opened at run time; nothing is linked. [`runtime::Search`] describes where it is searched for. The one in
//! Python's `tensorflow` package will do.
//!
//! # Memory
//!
//! A [`Tensor`] is a dtype, a shape and aligned memory. TensorFlow adopts the memory of inputs, and outputs stay in
//! TensorFlow's memory until they are dropped, so numbers are not copied either way. Strings are copied once each way.
//! The outputs of a graph with TensorFlow 1's reference variables are copied once, because their ops write to the
//! variable's memory in place.
//!
//! # A SavedModel is a program
//!
//! Opening one is safe. A model that runs can do whatever its ops can do. [`SavedModel::scan`] lists this, and
//! [`SavedModel::load`](LoadSavedModel::load) refuses a model that uses files or sockets of the machine, unless
//! [`LoadOptions::trust`] permits it. This does not cover ops of libraries, nor TensorFlow's bugs with hostile numbers:
//! load only models that you trust.

mod builder;
mod error;
mod ffi;
mod op_library;
mod replay;
pub mod runtime;
mod session;
mod tensorflow_rust;
pub mod train;

pub use builder::{GraphSignature, ModelBuilder};
pub use error::{Code, Error, ErrorKind, OpLibraryError, OpLibraryProblem, Result, TensorFlowRequirement, TrainError};
pub use ffi::{release_free_memory, release_library_pages};
pub use op_library::OpLibrary;
pub use session::{
    Executor, LoadOptions, LoadSavedModel, LoadedModel, NO_INPUTS, Optimization, Optimize, Outputs, RunOptions,
    Signature, UnpackTarget,
};

// Needs no TensorFlow.
#[doc(hidden)]
pub use tf_persist_savedmodel::error::names;
pub use tf_persist_savedmodel::error::{
    CheckpointError, Error as ModelError, ErrorKind as ModelErrorKind, Hint, SavedModelError, Setting, SignatureError,
    TensorError, WarmupError,
};
pub use tf_persist_savedmodel::{
    Asserts, DType, Dependence, Element, InvalidShape, MAX_RANK, MetaGraph, PartialShape, SaveOptions, SaveReport,
    SavedModel, SignatureDef, Strings, Tensor, TensorInfo, VariableSource, checkpoint, diff, element_count,
    example_features, pack, printable, prove_rows_independent, saved_model, scan, scratch, tensor,
};

/// The imports of programs that run models: `use tf_persist_core::prelude::*`.
pub mod prelude {
    pub use crate::{LoadOptions, LoadSavedModel, LoadedModel, SaveOptions, SavedModel, Tensor};
}

pub mod warmup {
    //! Recorded requests: read and written without TensorFlow, replayed with it.
    //!
    //! ```no_run
    //! use tf_persist_core::tensor::Tolerance;
    //! use tf_persist_core::{LoadOptions, LoadSavedModel, SavedModel, warmup};
    //!
    //! # fn main() -> tf_persist_core::Result<()> {
    //! let saved_model = SavedModel::open("model")?;
    //! let records = warmup::Records::open(&saved_model)?.expect("nothing was recorded");
    //! let model = saved_model.load(LoadOptions::default())?;
    //! for record in records {
    //!     println!("{:?}", model.replay(&record?, Tolerance::Rounding)?.outcome);
    //! }
    //! # Ok(())
    //! # }
    //! ```
    pub use crate::replay::{Added, Outcome, Recorder, Replay, Sequence};
    pub use tf_persist_savedmodel::warmup::*;
}
