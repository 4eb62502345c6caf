//! Every way out of a model.

mod build;
mod copy;
mod declared;
mod fingerprint;
mod freeze;
mod options;
mod packed;
mod prune;
mod requests;
mod save;
mod smallest;
mod staging;
mod values;

pub use build::{GraphSignature, ModelBuilder};
pub(crate) use declared::{Declared, TableTensors};
pub use options::SaveOptions;
pub(crate) use prune::{Objects, Restored, SavedTensor, VARIABLE_VALUE, restored, variable_definitions};
pub use save::Saved;
pub(crate) use values::{object_graph as tracked_objects, value_of};

#[cfg(test)]
mod tests;
