//! Pushes a version to a registry.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tf_persist_savedmodel::scratch::Scratch;

use super::address::{OciAddress, Target};
use super::layer::TAR_GZIP;
use super::manifest::Descriptor;
use super::model_pack::{Packed, pack};
use super::modelcar::{Base, image, write_layer};
use super::objects::save;
use super::platform::image_manifest;
use super::registry::{Access, Registry};
use crate::copy;
use crate::durable;
use crate::error::{Result, StoreError};
use crate::manifest::MAX_FILE;
use crate::remote::api::wait;
use crate::remote::parallel::in_parallel;
use crate::remote::{RemoteError, RemoteErrorKind, RemoteOptions};
use crate::signing::SIGNATURE_FILE;
use crate::store::{Store, Version};

/// The most bytes of the config of an image.
pub(crate) const MAX_CONFIG: u64 = 8 << 20;

/// The machine whose image is taken from a base for several.
const PLATFORM: (&str, &str) = ("linux", "amd64");

/// Layers of images that Docker wrote, which OCI calls [`TAR_GZIP`].
pub(crate) const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// How a version is pushed to a registry.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct OciOptions {
    modelcar: bool,
    gzip: bool,
    base: Option<OciAddress>,
}

impl OciOptions {
    /// Pushes an image with the files in one layer, as KServe takes it, instead of a ModelPack.
    pub fn modelcar(mut self, modelcar: bool) -> Self {
        self.modelcar = modelcar;
        self
    }

    /// Compresses the layer of an image.
    pub fn gzip(mut self, gzip: bool) -> Self {
        self.gzip = gzip;
        self
    }

    /// Adds the layer to this image, which has a shell, for example.
    pub fn base(mut self, base: OciAddress) -> Self {
        self.base = Some(base);
        self
    }
}

/// What was pushed to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OciPushed {
    /// The SHA-256 of the manifest: `oci://HOST/REPOSITORY@sha256:…` always means this version.
    pub digest: String,
    /// What the tag pointed to, if it was another manifest. Somebody else may have moved it at the same time:
    /// registries have no precondition for that.
    pub moved_from: Option<String>,
    /// The blobs that were sent.
    pub sent: usize,
    /// The blobs that the registry had.
    pub skipped: usize,
}

/// A part of what is pushed.
struct Part<'a> {
    blob: &'a Descriptor,
    from: Origin<'a>,
}

/// Where the bytes of a part are.
enum Origin<'a> {
    File(&'a Path),
    Memory(&'a [u8]),
}

impl Store {
    /// Pushes a version to a registry, where the tag of the address points to it afterwards. What the registry has is
    /// not sent again.
    ///
    /// # Errors
    /// If the address has a digest and no tag, the files are not what was published, the registry cannot be reached or
    /// refuses, or a file cannot be read.
    pub fn push_oci(
        &self,
        version: &Version,
        to: &OciAddress,
        options: &OciOptions,
        remote: &RemoteOptions,
    ) -> Result<OciPushed> {
        if matches!(to.target(), Target::Digest(_)) {
            let reason = "a version is pushed to a tag, and this is a digest".to_owned();
            return Err(RemoteError::new(to, RemoteErrorKind::InvalidAddress { reason }).into());
        }
        let path = self.model_layout(version.model())?.manifest(version.number());
        let text = durable::read(&path, MAX_FILE)?.and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or_else(|| StoreError::damaged(&path, "it is gone, or is not UTF-8"))?;
        let registry = Registry::new(to, Access::Push, remote)?;
        let scratch = Scratch::beside(&std::env::temp_dir().join("tf-persist-push"));
        let scratch = scratch.map_err(StoreError::io("create a folder in", std::env::temp_dir()))?;
        let pushed = match options.modelcar {
            true => push_image(&registry, version, &text, (options, remote), scratch.path()),
            false => push_pack(&registry, version, &text, remote),
        };
        drop(scratch);
        pushed
    }
}

fn push_pack(registry: &Registry, version: &Version, text: &str, remote: &RemoteOptions) -> Result<OciPushed> {
    let signature = version.path().join(SIGNATURE_FILE);
    let signature = if signature.exists() { Some(copy::hash(&signature)?) } else { None };
    let packed = pack(version, text, signature.as_ref())?;
    let paths: Vec<_> =
        packed.manifest.layers.iter().map(|layer| version.path().join(layer.file().unwrap_or_default())).collect();
    let files = packed.manifest.layers.iter().zip(&paths).map(|(blob, path)| Part { blob, from: Origin::File(path) });
    push(registry, &packed, files.collect(), remote)
}

fn push_image(
    registry: &Registry,
    version: &Version,
    text: &str,
    (options, remote): (&OciOptions, &RemoteOptions),
    scratch: &Path,
) -> Result<OciPushed> {
    let is_signed = version.path().join(SIGNATURE_FILE).exists();
    let path = scratch.join("layer");
    let layer = write_layer(version, is_signed, &path, options.gzip)?;
    let base = options.base.as_ref().map(|base| take_base(registry, base, remote, scratch)).transpose()?;
    let packed = image(version, text, layer, base)?;
    // Those of the base are there.
    let own = packed.manifest.layers.last().map(|blob| Part { blob, from: Origin::File(&path) });
    push(registry, &packed, own.into_iter().collect(), remote)
}

/// Sends what the registry lacks, the manifest last.
fn push(registry: &Registry, packed: &Packed, files: Vec<Part<'_>>, remote: &RemoteOptions) -> Result<OciPushed> {
    let mut parts = files;
    parts.push(Part { blob: &packed.manifest.config, from: Origin::Memory(&packed.config_bytes) });
    let mut seen = HashSet::new();
    parts.retain(|part| seen.insert(part.blob.digest.clone()));
    let progress = remote.progress.as_ref();
    progress.start(parts.iter().map(|part| part.blob.size).sum());
    let (count, sent) = (parts.len(), AtomicUsize::new(0));
    in_parallel(parts, remote.parallel, |Part { blob, from }| {
        if !wait(registry.has_blob(blob))? {
            match from {
                Origin::File(path) => wait(registry.upload(blob, path))?,
                Origin::Memory(bytes) => wait(registry.upload_bytes(blob, bytes.to_vec().into()))?,
            }
            sent.fetch_add(1, Ordering::Relaxed);
        }
        progress.advance(blob.size);
        Ok(())
    })?;
    let bytes = packed.manifest_bytes.clone();
    let digest = Descriptor::of("", &bytes).digest;
    let digest = digest.trim_start_matches("sha256:").to_owned();
    let before = wait(registry.digest_of(&registry.address))?;
    if before.as_deref() != Some(&digest) {
        wait(registry.put_manifest(bytes.into()))?;
    }
    let (sent, moved_from) = (sent.into_inner(), before.filter(|before| *before != digest));
    Ok(OciPushed { digest, moved_from, sent, skipped: count - sent })
}

/// Brings the layers of a base image into the repository.
fn take_base(registry: &Registry, address: &OciAddress, remote: &RemoteOptions, scratch: &Path) -> Result<Base> {
    let from = Registry::new(address, Access::Pull, &base_options(remote, &registry.address, address))?;
    let invalid = |reason: &str| from.failed(format!("it cannot be a base: {reason}"));
    let get = |address: &OciAddress| -> Result<Vec<u8>> {
        let found = wait(from.manifest(address))?;
        found.map(|(bytes, _)| bytes.into()).ok_or_else(|| RemoteError::new(address, RemoteErrorKind::Absent).into())
    };
    let of_platform = |entry: &Descriptor| get(&address.at(entry.sha256().unwrap_or_default()));
    let manifest = image_manifest(get(address)?, PLATFORM, of_platform, invalid)?;
    let config = wait(from.blob(&manifest.config, MAX_CONFIG))?;
    let config: Value = serde_json::from_slice(&config).map_err(|_| invalid("its config is not JSON"))?;
    let mut layers = manifest.layers;
    for layer in &mut layers {
        if layer.media_type == DOCKER_LAYER {
            TAR_GZIP.clone_into(&mut layer.media_type);
        }
        if layer.sha256().is_none() {
            return Err(invalid("a layer has no SHA-256"));
        }
        if wait(registry.has_blob(layer))? || wait(registry.mount(layer, address))? {
            continue;
        }
        let path = scratch.join("base");
        save(&from, layer, &path)?;
        wait(registry.upload(layer, &path))?;
    }
    Ok(Base { layers, config })
}

/// The settings for the registry of a base image. The target may have no TLS; that says nothing about another host.
pub(crate) fn base_options(options: &RemoteOptions, target: &OciAddress, base: &OciAddress) -> RemoteOptions {
    options.clone().plain_http(options.plain_http && base.host() == target.host())
}
