//! Every way out of a model.

mod copy;
mod fingerprint;
mod plain;
mod staging;

pub use plain::{SaveOptions, Saved};
