//! TensorFlow SavedModels as things you can hold: look into them, run them, write them, from Rust, with the numbers that
//! Python gave and no Python at run time.
//!
//! ```no_run
//! use tf_persist_core::{LoadOptions, SaveOptions, SavedModel, Tensor};
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
//! hostile file. [`SavedModel::load`] asks the [`Runtime`](runtime::Runtime) for a session and gives a [`LoadedModel`], whose
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
//! [`SavedModel::load`] refuses what reaches outside of the model, files and sockets among it, unless [`LoadOptions::trust`] says
//! otherwise. Ops of libraries, and what TensorFlow makes of hostile numbers, are beyond it: load only models that you trust.

#[cfg(target_endian = "big")]
compile_error!("tensors, checkpoints and .npy files are little-endian, and so must the machine be");

mod builder;
pub mod checkpoint;
mod container;
pub mod diff;
mod dtype;
mod error;
pub mod examples;
mod export;
mod ffi;
mod graph;
mod independence;
mod memory;
mod op_library;
mod ops;
mod replay;
mod rewrite;
pub mod runtime;
pub mod saved_model;
pub mod scan;
pub mod scratch;
mod session;
mod shape;
mod stand_in;
pub mod tensor;
mod tensorflow_rust;
pub mod train;
pub mod warmup;

pub use builder::{GraphSignature, ModelBuilder};
pub use container::pack;
pub use dtype::DType;
#[doc(hidden)]
pub use error::model::names;
pub use error::model::printable;
pub use error::{
    CheckpointError, Code, Error, ErrorKind, Hint, ModelError, ModelErrorKind, OpLibraryError, OpLibraryProblem,
    Result, SavedModelError, Setting, SignatureError, TensorError, TrainError, Wants, WarmupError,
};
pub use export::{SaveOptions, Saved, VariableSource};
pub use ffi::release_free_memory;
pub use independence::{Dependence, prove_rows_independent};
pub use op_library::OpLibrary;
pub use saved_model::{MetaGraph, SavedModel, SignatureDef, TensorInfo};
pub use session::{Executor, LoadOptions, LoadedModel, NO_INPUTS, Outputs, RunOptions, Signature, Unpacked};
pub use shape::{InvalidShape, MAX_RANK, PartialShape, element_count};
pub use tensor::{Element, Strings, Tensor};
