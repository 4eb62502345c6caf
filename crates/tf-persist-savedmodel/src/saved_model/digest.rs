//! A digest of everything that a model's answers depend on.

use std::io::{BufRead, BufReader};

use sha2::{Digest, Sha256};

use super::{MetaGraph, SavedModel};
use crate::container::pack::push_hex;
use crate::error::{Error, Result};

impl SavedModel {
    /// The SHA-256, in hexadecimal digits, of what a model's answers depend on: its graphs, the index of its variables,
    /// which has a checksum of each, and its assets. A model that was copied or packed has the same.
    ///
    /// # Errors
    /// If the index is damaged, or an asset cannot be read.
    pub fn digest(&self, meta_graph: &MetaGraph) -> Result<String> {
        let mut hasher = Sha256::new();
        hasher.update(Sha256::digest(self.bytes()));
        let index = self.variables()?.index.as_ref().map(|index| index.fingerprint());
        hasher.update(index.unwrap_or_default().to_le_bytes());
        for asset in self.assets(meta_graph)?.files {
            let name = format!("assets/{}", asset.name);
            let Some((reader, length)) = self.files().reader(&name)? else { continue };
            hasher.update((name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(length.to_le_bytes());
            let mut reader = BufReader::new(reader);
            loop {
                let piece = reader.fill_buf().map_err(Error::io("read", self.path().join(&name)))?;
                if piece.is_empty() {
                    break;
                }
                hasher.update(piece);
                let length = piece.len();
                reader.consume(length);
            }
        }
        let mut digest = String::new();
        push_hex(&mut digest, &hasher.finalize());
        Ok(digest)
    }
}
