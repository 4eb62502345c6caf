//! TensorFlow SavedModels as things you can hold: look into them, run them, write them, from Rust, with the numbers that
//! Python gave and no Python at run time.

#[cfg(target_endian = "big")]
compile_error!("tensors, checkpoints and .npy files are little-endian, and so must the machine be");

mod dtype;
mod error;
pub mod runtime;
mod shape;
pub mod tensor;

pub use dtype::DType;
pub use error::{Code, Error, Result};
pub use shape::{MAX_RANK, PartialShape, element_count};
pub use tensor::{Element, Strings, Tensor};
