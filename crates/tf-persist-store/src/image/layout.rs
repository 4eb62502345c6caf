//! A folder of images (OCI image layout).

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use tf_persist_savedmodel::scratch::Scratch;

use super::config::Platform;
use crate::copy;
use crate::durable;
use crate::error::{Result, StoreError};
use crate::oci::manifest::{Descriptor, OCI_INDEX, OCI_MANIFEST};
use crate::oci::transfer::MAX_MANIFEST;

/// The file that marks a folder as a layout, and what is in it.
const MARK: &str = "oci-layout";
const VERSION: &str = "1.0.0";

/// The file that lists the images.
const INDEX: &str = "index.json";

/// Where blobs are.
const BLOBS: &str = "blobs/sha256";

/// The annotation with the name of an image.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The most bytes of the file that marks a layout.
const MAX_MARK: u64 = 64 << 10;

/// An open layout.
#[derive(Debug)]
pub(super) struct Layout {
    folder: PathBuf,
}

impl Layout {
    /// Opens a layout.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let mark = folder.join(MARK);
        let Some(bytes) = durable::read(&mark, MAX_MARK)? else {
            return Err(StoreError::refused(folder, format!("it is not an OCI image layout: it has no `{MARK}`")));
        };
        let found: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        match found.get("imageLayoutVersion").and_then(Value::as_str) {
            Some(VERSION) => Ok(Self { folder: folder.to_path_buf() }),
            _ => Err(StoreError::damaged(mark, format!("it does not name the version {VERSION} of the layout"))),
        }
    }

    /// Opens a layout, or makes one of a folder that is empty or absent.
    pub(super) fn create(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
        if !folder.join(MARK).exists() {
            let entries = fs::read_dir(folder).map_err(StoreError::io("read", folder))?;
            // Hidden folders are what a killed process was writing.
            let other = entries.flatten().find(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
            if let Some(other) = other {
                let other = other.file_name();
                let reason = format!("it is not an OCI image layout, and has `{}`", other.display());
                return Err(StoreError::refused(folder, reason));
            }
            let mark = json!({"imageLayoutVersion": VERSION}).to_string();
            durable::write(&folder.join(MARK), mark.as_bytes())?;
        }
        let layout = Self::open(folder)?;
        let blobs = folder.join(BLOBS);
        fs::create_dir_all(&blobs).map_err(StoreError::io("create", &blobs))?;
        Ok(layout)
    }

    /// A hidden folder on the file system of the layout.
    pub(super) fn scratch(&self) -> Result<Scratch> {
        Scratch::within(&self.folder, "layer").map_err(StoreError::io("create a folder in", &self.folder))
    }

    /// Where a blob is, or would be.
    pub(super) fn path(&self, blob: &Descriptor) -> Result<PathBuf> {
        let sha256 = blob.sha256().ok_or_else(|| self.damaged(format!("`{}` is not a SHA-256", blob.digest)))?;
        Ok(self.folder.join(BLOBS).join(sha256))
    }

    /// Whether the layout has a blob. One with other contents than its name says counts as absent.
    pub(super) fn has(&self, blob: &Descriptor) -> Result<bool> {
        let path = self.path(blob)?;
        Ok(is_file_of(&path, blob.size) && Some(copy::hash(&path)?.sha256.as_str()) == blob.sha256())
    }

    /// Copies a blob to a new file, and compares its size and contents with its name.
    pub(super) fn copy(&self, blob: &Descriptor, to: &Path) -> Result<()> {
        let path = self.path(blob)?;
        if is_file_of(&path, blob.size) && Some(copy::copy(&path, to)?.sha256.as_str()) == blob.sha256() {
            return Ok(());
        }
        Err(self.lacks(blob))
    }

    /// A blob of at most `limit` bytes.
    pub(super) fn read(&self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        if blob.size > limit {
            return Err(self.damaged(format!("{} should have {} bytes, more than {limit}", blob.digest, blob.size)));
        }
        let path = self.path(blob)?;
        let bytes = durable::read(&path, blob.size)?;
        let is_it =
            |bytes: &Vec<u8>| Descriptor::of("", bytes).digest == blob.digest && bytes.len() as u64 == blob.size;
        bytes.filter(is_it).ok_or_else(|| self.lacks(blob))
    }

    /// The path of a blob whose size and contents are compared with its name.
    pub(super) fn checked(&self, blob: &Descriptor) -> Result<PathBuf> {
        match self.has(blob)? {
            true => self.path(blob),
            false => Err(self.lacks(blob)),
        }
    }

    /// Takes a file of its own file system over as a blob.
    pub(super) fn take(&self, blob: &Descriptor, file: &Path) -> Result<()> {
        let path = self.path(blob)?;
        fs::rename(file, &path).map_err(StoreError::io("write", &path))?;
        let folder = self.folder.join(BLOBS);
        durable::sync_folder(&folder).map_err(StoreError::io("write", &folder))
    }

    /// Adds a blob that is in memory.
    pub(super) fn add(&self, blob: &Descriptor, bytes: &[u8]) -> Result<()> {
        let scratch = self.scratch()?;
        let file = scratch.path().join("blob");
        durable::write(&file, bytes)?;
        self.take(blob, &file)
    }

    /// The entry of the index for a tag. Without a tag it is `latest`, or the only entry.
    pub(super) fn find(&self, tag: Option<&str>) -> Result<Descriptor> {
        let index = self.index()?;
        let entries = entries(&index);
        let named = entries.iter().find(|entry| name_of(entry) == Some(tag.unwrap_or("latest")));
        let entry = match (named, tag, entries) {
            (Some(entry), _, _) | (None, None, [entry]) => entry,
            _ => {
                let names: Vec<&str> = entries.iter().filter_map(name_of).take(10).collect();
                let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                let tag = tag.unwrap_or("latest");
                return Err(StoreError::refused(
                    &self.folder,
                    format!("it has no image `{tag}`; the names in it: {names}"),
                ));
            }
        };
        serde_json::from_value(entry.clone()).map_err(|error| self.damaged(format!("`{INDEX}`: {error}")))
    }

    /// Writes the index with an image under a tag. Returns what the tag pointed to, if that was another image.
    pub(super) fn publish(&self, tag: &str, manifest: &Descriptor, platform: &Platform) -> Result<Option<String>> {
        let folder = File::open(&self.folder).map_err(StoreError::io("open", &self.folder))?;
        // Another process may add an image at the same time. The lock ends with the file.
        flock(&folder, FlockOperation::LockExclusive)
            .map_err(|error| StoreError::io("lock", &self.folder)(error.into()))?;
        let mut index = self.index()?;
        let before = entries(&index).iter().find(|entry| name_of(entry) == Some(tag));
        let before = before.and_then(|entry| entry.get("digest")?.as_str()).map(str::to_owned);
        let entry = json!({
            "mediaType": OCI_MANIFEST,
            "digest": manifest.digest,
            "size": manifest.size,
            "annotations": {REF_NAME: tag},
            "platform": {"architecture": platform.architecture(), "os": platform.os()},
        });
        let Some(list) = index.get_mut("manifests").and_then(Value::as_array_mut) else {
            return Err(self.damaged(format!("`{INDEX}` has no list of images")));
        };
        match list.iter_mut().find(|entry| name_of(entry) == Some(tag)) {
            Some(known) => *known = entry,
            None => list.push(entry),
        }
        durable::write(&self.folder.join(INDEX), index.to_string().as_bytes())?;
        Ok(before.filter(|before| *before != manifest.digest))
    }

    /// The index; an empty one if there is none yet.
    fn index(&self) -> Result<Value> {
        let Some(bytes) = durable::read(&self.folder.join(INDEX), MAX_MANIFEST)? else {
            return Ok(json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}));
        };
        let index: Value =
            serde_json::from_slice(&bytes).map_err(|error| self.damaged(format!("`{INDEX}`: {error}")))?;
        match index.get("manifests").is_some_and(Value::is_array) {
            true => Ok(index),
            false => Err(self.damaged(format!("`{INDEX}` has no list of images"))),
        }
    }

    fn lacks(&self, blob: &Descriptor) -> StoreError {
        self.damaged(format!("it lacks the blob {}, or has another one for it", blob.digest))
    }

    fn damaged(&self, reason: String) -> StoreError {
        StoreError::damaged(&self.folder, reason)
    }
}

fn is_file_of(path: &Path, size: u64) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.len() == size)
}

fn entries(index: &Value) -> &[Value] {
    index.get("manifests").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn name_of(entry: &Value) -> Option<&str> {
    entry.get("annotations")?.get(REF_NAME)?.as_str()
}
