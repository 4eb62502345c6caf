//! OCI images that run, written without Docker: layers of files of this machine, alone or on another image, into a
//! folder (an OCI image layout) or a registry.
//!
//! The same files always give the same image. A layer that the target has is neither written nor sent again, so that
//! images share the layers that do not differ. Files are streamed. In a folder the index is written last, so that an
//! image is there whole or not at all.

mod address;
mod base;
mod config;
mod layout;
mod model;
mod place;
#[cfg(test)]
mod tests;
mod write;

pub use address::{ImageAddress, LayoutAddress};
pub use config::{Healthcheck, ImageConfig, Platform};
pub use model::{folder_entries, model_size, version_entries, with_folders};
pub use write::{Image, ImageLayer, ImageOptions, ImageWritten};

pub use crate::oci::layer::LayerEntry;
