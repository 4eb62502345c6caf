//! TensorFlow SavedModels as things you can hold: look into them, run them, write them, from Rust, with the numbers that
//! Python gave and no Python at run time.
//!
//! ```no_run
//! use tf_persist_core::{LoadOptions, LoadSavedModel, SaveOptions, SavedModel, Tensor};
//!
//! # fn main() -> tf_persist_core::Result<()> {
//! let artefact = SavedModel::open("models/digits/model")?; // milliseconds, without TensorFlow
//! println!("{}", artefact.signature("serving_default")?);
//!
//! let model = artefact.load(LoadOptions::default())?; // opens libtensorflow, restores the variables
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
//! [`SavedModel`] is the artefact: tags, signatures, variables, ops, assets. It never touches TensorFlow and cannot be hurt by a
//! hostile file. [`SavedModel::load`](LoadSavedModel::load) asks the [`Runtime`](runtime::Runtime) for a session and gives a [`LoadedModel`], whose
//! [`Signature`]s run from any number of threads.
//!
//! # Training
//!
//! [`train::Trainer`] runs a model's own train signature over data, with checkpoints that are whole models and from which it goes on
//! bit for bit.
//!
//! # A model in one file
//!
//! [`SavedModel::save`] to `model.tfpack` and [`SavedModel::to_bytes`] make one file, or bytes, of a model, and [`SavedModel::open`] and
//! [`SavedModel::from_bytes`] take them: see [`pack`].
//!
//! # libtensorflow
//!
//! It is opened at run time: nothing is linked. [`runtime::Search`] says where it is looked for; the one in Python's `tensorflow`
//! package will do.
//!
//! # Memory
//!
//! A [`Tensor`] is dtype, shape and aligned bytes. TensorFlow adopts the bytes of what is fed, and what is fetched stays in
//! TensorFlow's memory until it is dropped: numbers are not copied either way. Strings are copied once each way, and so is what
//! comes out of a graph with TensorFlow 1's reference variables, whose ops write to memory that others look at.
//!
//! # A SavedModel is a program
//!
//! Opening one is safe. Running one lets it do whatever its ops can. [`SavedModel::scan`] says what that is, and
//! [`SavedModel::load`](LoadSavedModel::load) refuses what reaches outside of the model, files and sockets among it, unless [`LoadOptions::trust`] says
//! otherwise. Ops of libraries, and what TensorFlow makes of hostile numbers, are beyond it: load only models that you trust.

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
pub use ffi::release_free_memory;
pub use op_library::OpLibrary;
pub use session::{
    Executor, LoadOptions, LoadSavedModel, LoadedModel, NO_INPUTS, Outputs, RunOptions, Signature, UnpackTarget,
};

// What needs no TensorFlow.
#[doc(hidden)]
pub use tf_persist_savedmodel::error::names;
pub use tf_persist_savedmodel::error::{
    CheckpointError, Error as ModelError, ErrorKind as ModelErrorKind, Hint, SavedModelError, Setting, SignatureError,
    TensorError, WarmupError,
};
pub use tf_persist_savedmodel::{
    DType, Dependence, Element, InvalidShape, MAX_RANK, MetaGraph, PartialShape, SaveOptions, SaveReport, SavedModel,
    SignatureDef, Strings, Tensor, TensorInfo, VariableSource, checkpoint, diff, element_count, example_features, pack,
    printable, prove_rows_independent, saved_model, scan, scratch, tensor,
};

/// What programs that run models import: `use tf_persist_core::prelude::*`.
pub mod prelude {
    pub use crate::{LoadOptions, LoadSavedModel, LoadedModel, SaveOptions, SavedModel, Tensor};
}

pub mod warmup {
    //! Recorded requests: read and written without TensorFlow, asked again with it.
    //!
    //! ```no_run
    //! use tf_persist_core::tensor::Tolerance;
    //! use tf_persist_core::{LoadOptions, LoadSavedModel, SavedModel, warmup};
    //!
    //! # fn main() -> tf_persist_core::Result<()> {
    //! let artefact = SavedModel::open("model")?;
    //! let records = warmup::Records::open(&artefact)?.expect("nothing was recorded");
    //! let model = artefact.load(LoadOptions::default())?;
    //! for record in records {
    //!     println!("{:?}", model.replay(&record?, Tolerance::Rounding)?.outcome);
    //! }
    //! # Ok(())
    //! # }
    //! ```
    pub use crate::replay::{Added, Outcome, Recorder, Replay, Sequence};
    pub use tf_persist_savedmodel::warmup::*;
}
