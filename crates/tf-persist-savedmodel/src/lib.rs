//! TensorFlow SavedModels without TensorFlow: open them, look into them, check them, compare them, and write them out
//! again.
//!
//! ```
//! use tf_persist_savedmodel::checkpoint::CheckpointReader;
//! use tf_persist_savedmodel::{SaveOptions, SavedModel};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models");
//! # std::env::set_current_dir(format!("{models}/.."))?;
//! # let target = tempfile::tempdir()?;
//! # let frozen = target.path().join("frozen");
//! let model = SavedModel::open("models/digits/model")?;
//! for signature in model.signatures()? {
//!     println!("{signature}"); // names, dtypes and shapes of inputs and outputs
//! }
//!
//! // Every tensor of the checkpoint is read, and its checksum compared.
//! if let Some(index) = &model.variables()?.index {
//!     let checkpoint = CheckpointReader::new(index.clone());
//!     for entry in &checkpoint.index().entries {
//!         checkpoint.read(&entry.key)?;
//!     }
//! }
//!
//! // Variables become constants. The folder appears whole or not at all.
//! let report = model.save(&frozen, SaveOptions::default().frozen(true))?;
//! assert_eq!((report.meta_graphs, report.variables), (1, 0));
//! # Ok(())
//! # }
//! ```
//!
//! [`SavedModel::scan`] lists what a model can do besides computing; [`diff`] compares two models; [`warmup`] reads
//! recorded requests; [`checkpoint`] reads and writes checkpoints and maps training checkpoints to the variables of a
//! model; [`pack`] is a model in one file.
//!
//! The crate `tf-persist-core` re-exports all of this and runs models: it adds sessions, training and op libraries.
//!
//! # Untrusted files
//!
//! Files may come from strangers. Nesting, lengths and decoded sizes are limited before memory is allocated, names
//! never lead out of a folder, and an error names the file and the cause. A hostile file can make a function return an
//! error, and nothing else.

#[cfg(target_endian = "big")]
compile_error!("tensors, checkpoints and .npy files are little-endian, and so must the machine be");

pub mod checkpoint;
mod container;
pub mod diff;
mod dtype;
pub mod error;
pub mod example_features;
mod export;
mod foreign;
mod graph;
mod independence;
mod memory;
mod ops;
mod rewrite;
pub mod saved_model;
pub mod scan;
pub mod scratch;
mod shape;
mod stand_in;
pub mod tensor;
pub mod warmup;

pub use container::pack;
pub use dtype::DType;
pub use error::{
    CheckpointError, Error, ErrorKind, Hint, Result, SavedModelError, Setting, SignatureError, TensorError,
    WarmupError, printable,
};
pub use export::{SaveOptions, SaveReport, VariableSource};
pub use independence::{Dependence, prove_rows_independent};
pub use rewrite::Asserts;
pub use saved_model::{MetaGraph, SavedModel, SignatureDef, TensorInfo};
pub use shape::{InvalidShape, MAX_RANK, PartialShape, element_count};
pub use tensor::{Element, Strings, Tensor};

/// For `tf-persist-core`, which runs models. No part of the public interface.
#[doc(hidden)]
pub mod internals {
    pub use crate::container::Files;
    pub use crate::container::pack::{Entry, Pack, push_hex};
    pub use crate::export::{FrozenModel, Staging, check_target};
    pub use crate::foreign::recognize as recognize_foreign;
    pub use crate::graph::{attr, free_name};
    pub use crate::ops::{HandleKind, gives_reference, output_names, runs_python, variable_kind};
    pub use crate::rewrite::prune::saver_in_scope;
    pub use crate::saved_model::restored::{Restored, SavedTensor};
    pub use crate::saved_model::{
        Ends, MAX_GRAPH_BYTES, NamedTensor, SCHEMA_VERSION, are_checked_by_ops, are_sizes_checked_by_ops, check_model,
        decode_graph, first_effect, has_shrinking_convolution, is_operation_name, left_out_initializers,
    };
    pub use crate::stand_in::check as check_fetched;
    pub use crate::tensor::{Buffer, ForeignMemory, byte_len};
    pub use crate::warmup::{
        LoggedResults, Request, ResultsSink, Tensors, answer_of, check_folder, compare, encode, outputs_of,
        read_results, write_file,
    };
}
