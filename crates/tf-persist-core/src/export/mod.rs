//! Every way out of a model.

mod build;
mod copy;
mod fingerprint;
mod freeze;
mod options;
mod prune;
mod save;
mod staging;
mod values;

pub use build::{GraphSignature, ModelBuilder};
pub use options::SaveOptions;
pub use save::Saved;

#[cfg(test)]
mod tests;
