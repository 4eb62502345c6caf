//! The files of a version in a registry, as a remote store has them.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use super::manifest::Descriptor;
use super::registry::Registry;
use crate::error::{Result, StoreError};
use crate::remote::api::wait;
use crate::remote::download::{self, Chunks};
use crate::remote::objects::{Answer, Body, Objects, Tag};
use crate::remote::{RemoteError, RemoteErrorKind};

/// The layers of a ModelPack by the names of their files, below a folder `MODEL/NUMBER`.
#[derive(Debug)]
pub(super) struct Layers<'a> {
    pub(super) registry: &'a Registry,
    /// `MODEL/NUMBER/`.
    pub(super) folder: String,
    pub(super) by_name: HashMap<String, Descriptor>,
}

impl Objects for Layers<'_> {
    fn place(&self, key: &str) -> String {
        match key.strip_prefix(&self.folder) {
            Some(name) if !name.is_empty() => format!("{}, {name}", self.registry.address),
            _ => self.registry.address.to_string(),
        }
    }

    fn get(&self, key: &str, range: Option<Range<u64>>, _unless: Option<&Tag>) -> Result<Answer> {
        let name = key.strip_prefix(&self.folder);
        let Some(blob) = name.and_then(|name| self.by_name.get(name)) else { return Ok(Answer::Absent) };
        body(self.registry, blob, range, self.place(key)).map(Answer::Found)
    }
}

/// Writes a blob to a file, and compares its size and digest.
pub(crate) fn save(registry: &Registry, blob: &Descriptor, path: &Path) -> Result<()> {
    let wrong = |kind| StoreError::from(RemoteError::new(registry.blob_name(blob), kind));
    let get = |range| body(registry, blob, range, registry.blob_name(blob));
    let found = download::save(get, wrong, blob.size, path, registry.retries())?;
    match Some(found.as_str()) == blob.sha256() {
        true => Ok(()),
        false => Err(wrong(RemoteErrorKind::WrongContents)),
    }
}

fn body(registry: &Registry, blob: &Descriptor, range: Option<Range<u64>>, place: String) -> Result<Body> {
    let response = wait(registry.get_blob(blob, range))?;
    Ok(Body { size: blob.size, tag: Tag::default(), chunks: Box::new(Chunks::new(response, place)) })
}
