//! The files of a model in a layer.

use std::collections::BTreeSet;
use std::path::Path;

use crate::error::{Result, StoreError};
use crate::files::publishable;
use crate::oci::layer::LayerEntry;
use crate::signing::SIGNATURE_FILE;
use crate::store::Version;

/// The files of a version, with its signature, below a folder of the image. When the layer is written, they must be
/// those that were published.
#[must_use]
pub fn version_entries(version: &Version, folder: &str) -> Vec<LayerEntry> {
    let signature = version.path().join(SIGNATURE_FILE);
    let mut entries: Vec<LayerEntry> = version
        .manifest()
        .files
        .iter()
        .map(|file| {
            let path = version.path().join(&file.name);
            LayerEntry::file(format!("{folder}/{}", file.name), 0o644, path).sha256(&file.sha256)
        })
        .collect();
    if signature.exists() {
        entries.push(LayerEntry::file(format!("{folder}/{SIGNATURE_FILE}"), 0o644, signature));
    }
    with_folders(entries)
}

/// The files of a folder below a folder of the image.
///
/// # Errors
/// If something in the folder is neither a file nor a folder, has a name that is not UTF-8, or cannot be read.
pub fn folder_entries(path: &Path, folder: &str) -> Result<Vec<LayerEntry>> {
    let files = publishable(path)?;
    let entry = |name: &str| LayerEntry::file(format!("{folder}/{name}"), 0o644, path.join(name));
    Ok(with_folders(files.iter().map(|(name, _)| entry(name)).collect()))
}

/// The bytes of all files of a model: of a folder, or of one file.
///
/// # Errors
/// If something in the folder is neither a file nor a folder, or cannot be read.
pub fn model_size(path: &Path) -> Result<u64> {
    let found = path.metadata().map_err(StoreError::io("read", path))?;
    if !found.is_dir() {
        return Ok(found.len());
    }
    Ok(publishable(path)?.iter().map(|(_, size)| size).sum())
}

/// The same with the folders of all files, so that no runtime has to guess their modes.
#[must_use]
pub fn with_folders(mut entries: Vec<LayerEntry>) -> Vec<LayerEntry> {
    let known: BTreeSet<String> = entries.iter().map(|entry| entry.name().to_owned()).collect();
    let parents = entries.iter().flat_map(|entry| {
        let name = entry.name();
        name.match_indices('/').map(|(at, _)| name[..at].to_owned()).collect::<Vec<_>>()
    });
    let parents: BTreeSet<String> = parents.filter(|parent| !known.contains(parent)).collect();
    entries.extend(parents.into_iter().map(|parent| LayerEntry::folder(parent, 0o755)));
    entries
}
