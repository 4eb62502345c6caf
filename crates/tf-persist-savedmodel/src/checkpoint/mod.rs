//! Checkpoints: the variables of a model, read and written without TensorFlow.
//!
//! A checkpoint of TensorFlow's format V2 ("tensor bundle") is an index and one or more shards, named after a prefix:
//!
//! ```text
//! variables.index                 dtype, shape, shard, offset, length and checksum of each tensor
//! variables.data-00000-of-00002   the tensors' bytes, little-endian, one after the other
//! variables.data-00001-of-00002
//! ```
//!
//! [`CheckpointIndex::open`] reads and checks the index, and that each tensor lies inside its shard.
//! [`CheckpointReader`] reads the tensors. [`CheckpointWriter`] writes checkpoints that TensorFlow reads. [`restore`]
//! puts the variables of a training checkpoint into a model.
//!
//! Source of the format: `tensorflow/core/util/tensor_bundle/tensor_bundle.h` and `tensor_bundle.proto`.

mod assemble;
mod check;
pub(crate) mod checksum;
mod copy;
pub(crate) mod encode;
mod entry;
mod index;
mod locate;
mod publish;
mod read;
pub mod restore;
mod shard;
mod slice;
mod strings;
mod table;
mod table_builder;
mod write;

pub use checksum::Checksum;
pub use copy::copy_checkpoint;
pub use entry::{Entry, Part};
pub use index::{CheckpointIndex, MAX_INDEX_BYTES, index_path, shard_path};
pub use locate::{FoundCheckpoint, find_checkpoint, locate_checkpoint};
pub use read::CheckpointReader;
pub use slice::{Extent, Slice};
pub use write::CheckpointWriter;

/// The key of the object graph in checkpoints of TensorFlow 2, a string tensor that is not a variable.
pub const OBJECT_GRAPH_KEY: &str = "_CHECKPOINTABLE_OBJECT_GRAPH";

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
