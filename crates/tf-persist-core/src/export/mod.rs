//! Every way out of a model.

mod build;
mod copy;
mod fingerprint;
mod freeze;
mod options;
mod packed;
mod prune;
mod requests;
mod save;
mod staging;
mod values;

pub use build::{GraphSignature, ModelBuilder};
pub(crate) use copy::PARTS;
pub(crate) use fingerprint::FILE as FINGERPRINT;
pub use options::SaveOptions;
pub use save::Saved;

#[cfg(test)]
mod tests;
