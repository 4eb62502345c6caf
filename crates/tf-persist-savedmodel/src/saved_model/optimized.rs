//! `assets.extra/tf-persist-optimized.json`: how a model was optimised, and of which model it was made.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::SavedModel;
use super::layout::OPTIMIZED_FILE;
use crate::container::pack::push_hex;
use crate::error::{Error, Result};

/// The file has a few hundred bytes.
const MAX_BYTES: u64 = 64 << 10;

/// How a model was optimised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Optimized {
    /// What was changed: `constants` for variables, `asserts` that were dropped, `calls` and `loops` that became nodes,
    /// `products` of batches that became products of matrices, `weights` that others were folded into.
    pub changes: Vec<String>,
    /// The model that it was made of.
    pub from: OptimizedFrom,
    /// The program that made it, with its version.
    pub by: String,
}

/// Hashes of the model that an optimised one was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OptimizedFrom {
    /// The SHA-256 of its graph's file in binary form, in hexadecimal digits.
    pub graph_sha256: String,
    /// Its fingerprint's hash of that file, as text; `None` if it had no fingerprint.
    pub saved_model_checksum: Option<String>,
    /// The hash of its variables' index, as text, as in a fingerprint; `None` without variables.
    pub checkpoint_hash: Option<String>,
}

impl Optimized {
    /// Describes what is made of a model.
    ///
    /// # Errors
    /// If the index of its variables is damaged.
    pub(crate) fn of(source: &SavedModel, changes: &[&str]) -> Result<Self> {
        let fingerprint = source.fingerprint().ok().flatten();
        let index = source.variables()?.index.as_ref();
        let mut graph_sha256 = String::new();
        push_hex(&mut graph_sha256, &Sha256::digest(source.bytes()));
        Ok(Self {
            changes: changes.iter().map(|change| (*change).to_owned()).collect(),
            from: OptimizedFrom {
                graph_sha256,
                saved_model_checksum: fingerprint.map(|it| it.saved_model_checksum.to_string()),
                checkpoint_hash: index.map(|index| index.fingerprint().to_string()),
            },
            by: concat!("tf-persist ", env!("CARGO_PKG_VERSION")).to_owned(),
        })
    }
}

impl SavedModel {
    /// How the model was optimised, if it was.
    ///
    /// # Errors
    /// If the file that says so cannot be read.
    pub fn optimized(&self) -> Result<Option<Optimized>> {
        let Some(bytes) = self.files().read(OPTIMIZED_FILE, MAX_BYTES, "the limit of this file")? else {
            return Ok(None);
        };
        let path = self.path().join(OPTIMIZED_FILE);
        serde_json::from_slice(&bytes).map(Some).map_err(|error| Error::damaged(path, error.to_string()))
    }
}
