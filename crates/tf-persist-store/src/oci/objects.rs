//! The files of a version in a registry, as a remote store has them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek, Write};
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use reqwest::Response;
use sha2::{Digest, Sha256};

use super::manifest::Descriptor;
use super::registry::Registry;
use super::transfer::wait;
use crate::error::{Result, StoreError};
use crate::manifest::hex;
use crate::remote::client::count_received;
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
        let response = wait(self.registry.get_blob(blob, range))?;
        let chunks = Box::new(Chunks { response, place: self.place(key) });
        Ok(Answer::Found(Body { size: blob.size, tag: Tag::default(), chunks }))
    }
}

/// The bytes of an answer as they come.
struct Chunks {
    response: Response,
    place: String,
}

impl Iterator for Chunks {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        let chunk = wait(async { Ok(self.response.chunk().await) });
        match chunk {
            Ok(Ok(chunk)) => {
                let chunk = chunk?;
                count_received(chunk.len());
                Some(Ok(chunk))
            }
            Ok(Err(error)) => {
                let kind = RemoteErrorKind::Unreachable { reason: super::registry::cause(&error) };
                Some(Err(RemoteError::new(&self.place, kind).into()))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

/// Writes a blob to a file, and compares its size and digest. If the connection breaks, it goes on where it was.
pub(super) fn save(registry: &Registry, blob: &Descriptor, path: &Path) -> Result<()> {
    let wrong = |kind| StoreError::from(RemoteError::new(registry.blob_name(blob), kind));
    let writing = || StoreError::io("write", path);
    let mut file = File::create(path).map_err(writing())?;
    let (mut hasher, mut received, mut tries) = (Sha256::new(), 0_u64, 0);
    wait(async {
        loop {
            let range = (received > 0).then_some(received..blob.size);
            let mut response = match registry.get_blob(blob, range).await {
                Err(StoreError::Remote(error)) if *error.kind() == RemoteErrorKind::IgnoresRanges && received > 0 => {
                    file.set_len(0).and_then(|()| file.rewind()).map_err(writing())?;
                    (hasher, received) = (Sha256::new(), 0);
                    registry.get_blob(blob, None).await?
                }
                response => response?,
            };
            let failed = loop {
                match response.chunk().await {
                    Ok(None) => break None,
                    Err(error) => break Some(registry.unreachable(&error)),
                    Ok(Some(chunk)) => {
                        received += chunk.len() as u64;
                        if received > blob.size {
                            return Err(wrong(RemoteErrorKind::WrongSize { expected: blob.size, found: received }));
                        }
                        count_received(chunk.len());
                        hasher.update(&chunk);
                        file.write_all(&chunk).map_err(writing())?;
                    }
                }
            };
            if received == blob.size {
                break;
            }
            if !registry.waits(&mut tries).await {
                let short = RemoteErrorKind::WrongSize { expected: blob.size, found: received };
                return Err(failed.unwrap_or_else(|| wrong(short)));
            }
        }
        Ok(())
    })?;
    if Some(hex(&hasher.finalize()).as_str()) != blob.sha256() {
        return Err(wrong(RemoteErrorKind::WrongContents));
    }
    file.sync_all().map_err(writing())
}
