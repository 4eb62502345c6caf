//! The image under another one.

use serde_json::Value;

use super::address::ImageAddress;
use super::config::Platform;
use super::place::Place;
use crate::error::{Result, StoreError};
use crate::oci::layer::{TAR, TAR_GZIP};
use crate::oci::manifest::{Descriptor, IMAGE_CONFIG};
use crate::oci::platform::image_manifest;
use crate::oci::push::{DOCKER_LAYER, MAX_CONFIG, base_options};
use crate::oci::transfer::MAX_MANIFEST;
use crate::remote::RemoteOptions;

/// Media types that a base may have.
const TAR_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// More layers than container runtimes take.
const MAX_LAYERS: usize = 127;

/// An image whose layers another one gets.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) layers: Vec<Descriptor>,
    pub(super) config: Value,
    address: String,
    place: Place,
}

impl Base {
    /// Reads manifest and config of an image. `target` is where the layers will go.
    pub(super) fn open(
        address: &ImageAddress,
        platform: &Platform,
        target: &ImageAddress,
        remote: &RemoteOptions,
    ) -> Result<Self> {
        let remote = match (address, target) {
            (ImageAddress::Registry(base), ImageAddress::Registry(target)) => base_options(remote, target, base),
            _ => remote.clone(),
        };
        let place = Place::source(address, &remote)?;
        let invalid = |reason: &str| invalid(&address.to_string(), reason);
        let manifest = image_manifest(
            place.first_manifest(MAX_MANIFEST)?,
            (platform.os(), platform.architecture()),
            |named| place.manifest(named, MAX_MANIFEST),
            invalid,
        )?;
        if ![IMAGE_CONFIG, DOCKER_CONFIG].contains(&manifest.config.media_type.as_str()) {
            return Err(invalid(&format!(
                "it is not an image that runs: its config is {}",
                manifest.config.media_type
            )));
        }
        let config = place.blob(&manifest.config, MAX_CONFIG)?;
        let config: Value = serde_json::from_slice(&config).map_err(|_| invalid("its config is not JSON"))?;
        let mut layers = manifest.layers;
        if layers.len() > MAX_LAYERS {
            return Err(invalid(&format!("it has {} layers, and container runtimes take {MAX_LAYERS}", layers.len())));
        }
        for layer in &mut layers {
            if layer.sha256().is_none() {
                return Err(invalid("a layer has no SHA-256"));
            }
            match layer.media_type.as_str() {
                TAR | TAR_GZIP | TAR_ZSTD => {}
                DOCKER_LAYER => TAR_GZIP.clone_into(&mut layer.media_type),
                other => return Err(invalid(&format!("a layer is {other}, which cannot be copied as it is"))),
            }
        }
        Ok(Self { layers, config, address: address.to_string(), place })
    }

    /// Brings a layer to a place.
    pub(super) fn bring(&self, layer: &Descriptor, to: &Place, scratch: &std::path::Path) -> Result<()> {
        to.bring(layer, &self.place, scratch)
    }

    /// The error for a reason why this image cannot be a base.
    pub(super) fn invalid(&self, reason: &str) -> StoreError {
        invalid(&self.address, reason)
    }
}

fn invalid(address: &str, reason: &str) -> StoreError {
    StoreError::refused(address, format!("it cannot be a base: {reason}"))
}
