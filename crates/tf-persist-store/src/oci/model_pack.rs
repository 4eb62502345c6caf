//! A version as a ModelPack (CNCF `model-spec`).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::manifest::{Descriptor, FILE_PATH, OCI_MANIFEST, OciManifest, TITLE, VERSION};
use super::transfer::MAX_MANIFEST;
use crate::copy::Hashed;
use crate::error::{Result, StoreError};
use crate::signing::SIGNATURE_FILE;
use crate::store::Version;

/// Media types.
pub(crate) const ARTIFACT: &str = "application/vnd.cncf.model.manifest.v1+json";
const CONFIG: &str = "application/vnd.cncf.model.config.v1+json";
const WEIGHTS: &str = "application/vnd.cncf.model.weight.v1.raw";
const WEIGHT_CONFIG: &str = "application/vnd.cncf.model.weight.config.v1.raw";
const DOCUMENT: &str = "application/vnd.cncf.model.doc.v1.raw";

/// The annotation with what a file system knows of a file.
const METADATA: &str = "org.cncf.model.file.metadata+json";

/// A manifest with its config, in the bytes that are pushed.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) manifest: OciManifest,
    pub(crate) manifest_bytes: Vec<u8>,
    pub(crate) config_bytes: Vec<u8>,
}

/// The ModelPack of a version. The same version always gives the same bytes. `text` is the manifest of the store,
/// `signature` the size and digest of the signature beside the files.
pub(crate) fn pack(version: &Version, text: &str, signature: Option<&Hashed>) -> Result<Packed> {
    let manifest = version.manifest();
    let mut layers: Vec<Descriptor> =
        manifest.files.iter().map(|file| layer(&file.name, &file.sha256, file.size)).collect();
    layers.extend(signature.map(|hashed| layer(SIGNATURE_FILE, &hashed.sha256, hashed.size)));
    let created = manifest.published_at.to_string();
    let mut descriptor = json!({
        "name": manifest.model,
        "version": manifest.version.to_string(),
        "createdAt": created,
    });
    if let (Some(note), Value::Object(descriptor)) = (&manifest.note, &mut descriptor) {
        descriptor.insert("description".into(), note.as_str().into());
    }
    let config = json!({
        "descriptor": descriptor,
        "config": {"format": "saved_model"},
        "modelfs": {"type": "layers", "diffIds": layers.iter().map(|layer| layer.digest.as_str()).collect::<Vec<_>>()},
    });
    packed(Some(ARTIFACT), CONFIG, &config, layers, annotations(version, text))
}

/// The annotations of the manifest of a version.
pub(crate) fn annotations(version: &Version, text: &str) -> BTreeMap<String, String> {
    let manifest = version.manifest();
    [
        ("org.opencontainers.image.created", manifest.published_at.to_string()),
        ("org.opencontainers.image.version", manifest.version.to_string()),
        (VERSION, text.to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// A manifest of these parts in its bytes.
pub(crate) fn packed(
    artifact: Option<&str>,
    config_type: &str,
    config: &Value,
    layers: Vec<Descriptor>,
    annotations: BTreeMap<String, String>,
) -> Result<Packed> {
    let encoded = |error: serde_json::Error| StoreError::io("write", "the manifest")(error.into());
    let config_bytes = serde_json::to_vec(config).map_err(encoded)?;
    let manifest = OciManifest {
        schema_version: 2,
        media_type: Some(OCI_MANIFEST.to_owned()),
        artifact_type: artifact.map(str::to_owned),
        config: Descriptor::of(config_type, &config_bytes),
        layers,
        annotations,
    };
    let manifest_bytes = serde_json::to_vec(&manifest).map_err(encoded)?;
    if manifest_bytes.len() as u64 > MAX_MANIFEST {
        let reason = format!(
            "its manifest would have {} bytes, and registries take {MAX_MANIFEST}: the model has too many files",
            manifest_bytes.len()
        );
        return Err(StoreError::refused("the version", reason));
    }
    Ok(Packed { manifest, manifest_bytes, config_bytes })
}

/// A layer that is a file. `modctl` and `kit` take its name from one annotation, `oras` from the other.
fn layer(name: &str, sha256: &str, size: u64) -> Descriptor {
    let media_type = match name {
        SIGNATURE_FILE => DOCUMENT,
        name if name.starts_with("variables/") || name == "saved_model.pb" => WEIGHTS,
        _ => WEIGHT_CONFIG,
    };
    let metadata = json!({
        "name": name.rsplit('/').next(), "mode": 0o644, "uid": 0, "gid": 0, "size": size,
        "mtime": "1970-01-01T00:00:00Z", "typeflag": b'0',
    });
    let mut layer = Descriptor::new(media_type, sha256, size);
    for (key, value) in [(FILE_PATH, name.to_owned()), (TITLE, name.to_owned()), (METADATA, metadata.to_string())] {
        layer.annotations.insert(key.to_owned(), value);
    }
    layer
}
