//! Versions in OCI registries: as a ModelPack, which `modctl`, `kit` and `oras` pull, or as an image with a layer of
//! files for KServe (a modelcar).
//!
//! A ModelPack has one layer for each file, whose digest is the SHA-256 of the file: a registry keeps an unchanged file
//! once, and a push skips it. The manifest of the store is an annotation, so that whoever pulls gets the same version.
//! Tags are moved without a precondition, which registries do not have: the last writer wins.

pub(crate) mod address;
mod challenge;
mod credentials;
pub(crate) mod layer;
pub(crate) mod manifest;
pub(crate) mod model_pack;
mod modelcar;
pub(crate) mod objects;
pub(crate) mod platform;
mod pull;
pub(crate) mod push;
pub(crate) mod registry;
#[cfg(test)]
mod tests;
pub(crate) mod transfer;

pub use address::OciAddress;
pub use pull::{cached, resolve};
pub use push::{OciOptions, OciPushed};
