//! Every way out of a model.

mod copy;
mod fingerprint;
mod packed;
mod plain;
mod staging;

pub(crate) use copy::PARTS;
pub(crate) use fingerprint::FILE as FINGERPRINT;
pub use plain::{SaveOptions, Saved};
