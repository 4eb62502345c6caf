//! Writes an image.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::address::ImageAddress;
use super::base::Base;
use super::config::{self, ImageConfig, Platform};
use super::place::Place;
use crate::durable;
use crate::error::{Result, StoreError};
use crate::oci::layer::{self, Layer, LayerEntry, TAR, TAR_GZIP};
use crate::oci::manifest::{Descriptor, IMAGE_CONFIG};
use crate::oci::model_pack::packed;
use crate::remote::RemoteOptions;

/// The most bytes of an entry of the cache.
const MAX_CACHED: u64 = 4 << 10;

/// Files that form a layer of their own.
#[derive(Debug, Clone)]
pub struct ImageLayer {
    /// What made the layer, for the history of the image.
    pub created_by: String,
    /// The files and folders.
    pub entries: Vec<LayerEntry>,
}

/// An image that can be written.
#[derive(Debug, Clone)]
pub struct Image {
    /// From the layer that changes least to the one that changes most.
    pub layers: Vec<ImageLayer>,
    /// How it is started.
    pub config: ImageConfig,
    /// What it runs on.
    pub platform: Platform,
    /// The time in its config. The same time is needed for the same image.
    pub created: Timestamp,
}

/// How an image is written.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct ImageOptions {
    gzip: bool,
    base: Option<ImageAddress>,
    cache: Option<PathBuf>,
}

impl ImageOptions {
    /// Compresses the layers.
    pub fn gzip(mut self, gzip: bool) -> Self {
        self.gzip = gzip;
        self
    }

    /// Puts the layers on those of this image.
    pub fn base(mut self, base: ImageAddress) -> Self {
        self.base = Some(base);
        self
    }

    /// Remembers in this folder which digest a compressed layer has, so that one that the target has is not compressed
    /// again.
    pub fn cache(mut self, folder: PathBuf) -> Self {
        self.cache = Some(folder);
        self
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageWritten {
    /// The SHA-256 of the manifest, as `sha256:…`.
    pub digest: String,
    /// What the tag pointed to, if it was another image.
    pub moved_from: Option<String>,
    /// The bytes of all layers.
    pub bytes: u64,
    /// All layers, and those that the target lacked.
    pub layers: usize,
    /// The layers that were written or sent, the others were there.
    pub written: usize,
}

/// The blob of a layer, as the cache knows it by its diff id.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    digest: String,
    size: u64,
}

/// What is needed to write layers.
struct Writer<'a> {
    target: Place,
    scratch: &'a Path,
    options: &'a ImageOptions,
    remote: &'a RemoteOptions,
    written: usize,
}

impl Image {
    /// Writes the image, where the tag of the address points to it afterwards. Layers that are there are left alone.
    ///
    /// # Errors
    /// If a file cannot be read or has changed, the base is not an image for this platform or is damaged, the target is
    /// a folder with other contents, or the registry cannot be reached or refuses.
    pub fn write(&self, to: &ImageAddress, options: &ImageOptions, remote: &RemoteOptions) -> Result<ImageWritten> {
        let base = options.base.as_ref().map(|base| Base::open(base, &self.platform, to, remote)).transpose()?;
        // Before anything is written, since it finds what is wrong with the base.
        self.config(base.as_ref(), &[])?;
        let target = Place::target(to, remote)?;
        let scratch = target.scratch()?;
        let mut writer = Writer { target, scratch: scratch.path(), options, remote, written: 0 };
        let mut descriptors = Vec::new();
        if let Some(base) = &base {
            for layer in &base.layers {
                writer.add_base(base, layer)?;
            }
            descriptors.extend(base.layers.iter().cloned());
        }
        let mut ids = Vec::new();
        for layer in &self.layers {
            let added = writer.add(layer)?;
            ids.push((added.diff_id, layer.created_by.clone()));
            descriptors.push(added.descriptor);
        }
        let config = self.config(base.as_ref(), &ids)?;
        let (bytes, layers) = (descriptors.iter().map(|layer| layer.size).sum(), descriptors.len());
        let packed = packed(None, IMAGE_CONFIG, &config, descriptors, BTreeMap::new())?;
        if !writer.target.has(&packed.manifest.config)? {
            writer.target.add_bytes(&packed.manifest.config, &packed.config_bytes)?;
        }
        let moved_from = writer.target.publish(&packed.manifest_bytes, &self.platform)?;
        let digest = Descriptor::of("", &packed.manifest_bytes).digest;
        Ok(ImageWritten { digest, moved_from, bytes, layers, written: writer.written })
    }

    fn config(&self, base: Option<&Base>, ids: &[(String, String)]) -> Result<serde_json::Value> {
        let of_base = base.map(|base| (base.config.clone(), base.layers.len()));
        let invalid = |reason: String| match base {
            Some(base) => base.invalid(&reason),
            None => StoreError::refused("the image", reason),
        };
        config::config(of_base, &self.config, &self.platform, self.created, ids).map_err(invalid)
    }
}

impl Writer<'_> {
    fn add_base(&mut self, base: &Base, layer: &Descriptor) -> Result<()> {
        self.remote.progress.start(layer.size);
        if !self.target.has(layer)? {
            base.bring(layer, &self.target, self.scratch)?;
            self.written += 1;
        }
        self.remote.progress.advance(layer.size);
        Ok(())
    }

    /// Adds a layer of ours. Its digest is computed first, so that one that is there need not be written.
    fn add(&mut self, layer: &ImageLayer) -> Result<Layer> {
        let changed =
            |entry: &LayerEntry| StoreError::damaged(entry.path(), "its contents are not those that were published");
        let measured = layer::measure(&layer.entries, &changed)?;
        self.remote.progress.start(measured.size);
        let known = match self.options.gzip {
            false => Some(Descriptor::new(TAR, &measured.sha256, measured.size)),
            true => self.cached(&measured.sha256)?,
        };
        if let Some(descriptor) = known
            && self.target.has(&descriptor)?
        {
            self.remote.progress.advance(measured.size);
            return Ok(Layer { descriptor, diff_id: measured.sha256 });
        }
        let path = self.scratch.join("own");
        let written = layer::write(&layer.entries, &path, self.options.gzip, &changed)?;
        if written.diff_id != measured.sha256 {
            return Err(StoreError::refused(&layer.created_by, "a file of the layer changed while it was read"));
        }
        if self.options.gzip
            && let Some(folder) = &self.options.cache
        {
            // Without the cache, the layer is compressed once more.
            let _ = remember(folder, &written);
        }
        if !self.target.has(&written.descriptor)? {
            self.target.add(&written.descriptor, &path)?;
            self.written += 1;
        }
        let _ = fs::remove_file(&path);
        self.remote.progress.advance(measured.size);
        Ok(written)
    }

    fn cached(&self, diff_id: &str) -> Result<Option<Descriptor>> {
        let Some(folder) = &self.options.cache else { return Ok(None) };
        let bytes = durable::read(&cached_path(folder, diff_id), MAX_CACHED)?;
        let known = bytes.and_then(|bytes| serde_json::from_slice::<Known>(&bytes).ok());
        let descriptor = known.map(|known| {
            let sha256 = known.digest.strip_prefix("sha256:").unwrap_or_default();
            Descriptor::new(TAR_GZIP, sha256, known.size)
        });
        // A damaged entry is written again.
        Ok(descriptor.filter(|descriptor| descriptor.sha256().is_some()))
    }
}

fn remember(folder: &Path, layer: &Layer) -> Result<()> {
    fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
    let known = Known { digest: layer.descriptor.digest.clone(), size: layer.descriptor.size };
    let path = cached_path(folder, &layer.diff_id);
    let bytes = serde_json::to_vec(&known).map_err(|error| StoreError::io("write", &path)(error.into()))?;
    durable::write(&path, &bytes)
}

fn cached_path(folder: &Path, diff_id: &str) -> PathBuf {
    folder.join(format!("{diff_id}.gzip.json"))
}
