//! Keras files without Keras and without TensorFlow.

mod archive;
mod back;
mod config;
mod convert;
mod custom;
#[cfg(test)]
mod documented;
#[doc(hidden)]
pub mod fuzzing;
mod graph;
mod layers;
mod model;
mod operations;
mod parse;
mod reason;
mod saved_model;
mod source;
mod summary;
mod train;
mod weights;

pub use back::{KerasSaveOptions, KerasVersion, SavedKerasFile, write_back};
pub use convert::{ExportedModel, KerasModel, OpenOptions, open};
pub use custom::{CustomLayer, CustomObjects, LayerBuilder, SymbolicTensor};
pub use source::{find_keras_file, is_keras_file};
pub use summary::{LayerSummary, ModelSummary, TensorSummary};
