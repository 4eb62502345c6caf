//! TensorFlow SavedModels as things you can hold: look into them, run them, write them, from Rust, with the numbers that
//! Python gave and no Python at run time.

#[cfg(target_endian = "big")]
compile_error!("tensors, checkpoints and .npy files are little-endian, and so must the machine be");

pub mod checkpoint;
mod dtype;
mod error;
mod export;
mod ffi;
pub mod runtime;
pub mod saved_model;
mod session;
mod shape;
pub mod tensor;
mod tensorflow_rust;

pub use dtype::DType;
pub use error::{Code, Error, Result};
pub use export::{SaveOptions, Saved};
pub use saved_model::{MetaGraph, SavedModel, SignatureDef, TensorInfo, printable};
pub use session::{Executor, LoadOptions, LoadedModel, NO_INPUTS, OpLibrary, Outputs, Signature};
pub use shape::{MAX_RANK, PartialShape, element_count};
pub use tensor::{Element, Strings, Tensor};
