//! A version as an image with its files in one layer, as KServe takes it (a modelcar).

use std::path::Path;

use serde_json::{Value, json};

use super::layer::{self, Layer, LayerEntry};
use super::manifest::{Descriptor, IMAGE_CONFIG};
use super::model_pack::{Packed, annotations, packed};
use crate::error::{Result, StoreError};
use crate::signing::SIGNATURE_FILE;
use crate::store::Version;
use crate::verify::Fault;

/// The folder that KServe expects.
const FOLDER: &str = "models";

/// The machine that an image without a base is for. Its files run nowhere.
const ARCHITECTURE: &str = "amd64";

/// An image to which the layer is added.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) layers: Vec<Descriptor>,
    pub(super) config: Value,
}

/// Writes the layer: the files as `models/NUMBER/…`.
pub(super) fn write_layer(version: &Version, is_signed: bool, target: &Path, gzip: bool) -> Result<Layer> {
    let prefix = format!("{FOLDER}/{}/", version.number());
    let entry = |name: &str| LayerEntry::file(format!("{prefix}{name}"), 0o644, version.path().join(name));
    let mut entries: Vec<LayerEntry> =
        version.manifest().files.iter().map(|file| entry(&file.name).sha256(&file.sha256)).collect();
    entries.extend(is_signed.then(|| entry(SIGNATURE_FILE)));
    let changed = |entry: &LayerEntry| {
        let name = entry.name().strip_prefix(&prefix).unwrap_or(entry.name());
        let faults = vec![Fault::Contents(name.to_owned())];
        StoreError::Changed { model: version.model().clone(), version: version.number(), faults }
    };
    layer::write(&entries, target, gzip, &changed)
}

/// The image of a version.
pub(super) fn image(version: &Version, text: &str, layer: Layer, base: Option<Base>) -> Result<Packed> {
    let created = version.manifest().published_at.to_string();
    let (mut layers, mut config) = match base {
        Some(base) => (base.layers, base.config),
        None => (Vec::new(), json!({"architecture": ARCHITECTURE, "os": "linux", "config": {}})),
    };
    let invalid = || StoreError::refused("the base image", "its config has no `rootfs` for its layers");
    let Some(object) = config.as_object_mut() else { return Err(invalid()) };
    object.insert("created".into(), created.as_str().into());
    let rootfs = object.entry("rootfs").or_insert_with(|| json!({"type": "layers", "diff_ids": []}));
    let Some(ids) = rootfs.get_mut("diff_ids").and_then(Value::as_array_mut) else { return Err(invalid()) };
    if ids.len() != layers.len() {
        return Err(invalid());
    }
    ids.push(format!("sha256:{}", layer.diff_id).into());
    let history = object.entry("history").or_insert_with(|| json!([]));
    if let Some(history) = history.as_array_mut() {
        history.push(json!({"created": created, "created_by": "tf-persist store push --modelcar"}));
    }
    layers.push(layer.descriptor);
    packed(None, IMAGE_CONFIG, &config, layers, annotations(version, text))
}
