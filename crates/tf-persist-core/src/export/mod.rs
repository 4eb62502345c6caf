//! Every way out of a model.

mod copy;
mod fingerprint;
mod graph;
mod plain;
mod staging;

pub use graph::{GraphSignature, ModelBuilder};
pub use plain::{SaveOptions, Saved};
