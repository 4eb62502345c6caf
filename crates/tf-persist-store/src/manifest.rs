//! What a version consists of.

use std::collections::HashSet;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tf_persist_savedmodel::internals::push_hex;
use tf_persist_savedmodel::saved_model::TensorInfo;
use tf_persist_savedmodel::{SavedModel, SignatureDef, printable};

use crate::durable;
use crate::error::{Result, StoreError};
use crate::files::{is_safe, is_signature};
use crate::layout::Layout;
use crate::name::{ModelName, is_version};

/// The most bytes of a manifest.
pub(crate) const MAX_FILE: u64 = 256 << 20;

/// The most bytes of all files of a version.
pub(crate) const MAX_BYTES: u64 = 1 << 44;

/// A version: its files and where it comes from. The SHA-256 of the file that holds it is the version's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    format: u64,
    /// The model.
    pub model: String,
    /// The number of the version.
    pub version: u64,
    /// When it was published.
    pub published_at: Timestamp,
    /// Who published it: user and machine.
    pub published_by: String,
    /// Where it was published from.
    pub source: String,
    /// The version that was the newest until then.
    pub parent: Option<u64>,
    /// The version of TensorFlow that wrote the graph.
    pub tensorflow_version: String,
    /// What the model computes.
    pub signatures: Vec<SignatureSummary>,
    /// What its publisher said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Metrics and other data of its publisher.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// The files, sorted by name.
    pub files: Vec<FileEntry>,
}

/// A file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Relative to the version's folder, with `/`.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// In hexadecimal digits.
    pub sha256: String,
}

/// A signature of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureSummary {
    /// Its name.
    pub name: String,
    /// Its inputs.
    pub inputs: Vec<TensorSummary>,
    /// Its outputs.
    pub outputs: Vec<TensorSummary>,
}

/// An input or output of a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorSummary {
    /// Its name.
    pub name: String,
    /// Such as `float32`.
    pub dtype: String,
    /// Such as `[None, 8, 8, 1]`.
    pub shape: String,
}

/// What a publisher knows of a version beside its files.
#[derive(Debug)]
pub(crate) struct Provenance {
    pub(crate) by: String,
    pub(crate) source: String,
    pub(crate) note: Option<String>,
    pub(crate) metadata: Map<String, Value>,
}

impl Manifest {
    /// The manifest of a model that lies ready to be published; number and parent are not known yet.
    pub(crate) fn new(name: &ModelName, model: &SavedModel, files: Vec<FileEntry>, from: Provenance) -> Self {
        let mut signatures: Vec<SignatureSummary> = Vec::new();
        for meta_graph in model.meta_graphs() {
            for signature in meta_graph.signatures() {
                if signatures.iter().all(|known| known.name != signature.name) {
                    signatures.push(summary(signature));
                }
            }
        }
        let versions = model.meta_graphs().first().map(|graph| graph.tensorflow_version().to_owned());
        Self {
            format: 1,
            model: name.to_string(),
            version: 0,
            published_at: Timestamp::now(),
            published_by: from.by,
            source: from.source,
            parent: None,
            tensorflow_version: versions.unwrap_or_default(),
            signatures,
            note: from.note,
            metadata: from.metadata,
            files,
        }
    }

    /// The bytes of the file, and their SHA-256.
    pub(crate) fn encode(&self) -> Result<(String, String)> {
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| StoreError::io("write the manifest of", &self.model)(error.into()))?;
        text.push('\n');
        let digest = hex(&Sha256::digest(&text));
        Ok((text, digest))
    }

    /// Reads and checks the manifest of a version, and computes its digest; `None` if there is none.
    pub(crate) fn read(layout: &Layout, model: &ModelName, number: u64) -> Result<Option<(Self, String)>> {
        let path = layout.manifest(number);
        let Some(bytes) = durable::read(&path, MAX_FILE)? else { return Ok(None) };
        Self::decode(&bytes, &path, model, number).map(Some)
    }

    /// Checks the manifest of a version in a file of this path, and computes its digest.
    pub(crate) fn decode(bytes: &[u8], path: &Path, model: &ModelName, number: u64) -> Result<(Self, String)> {
        let invalid = |reason: String| StoreError::damaged(path, reason);
        // The format comes first: a later one may have other fields.
        let format = serde_json::from_slice::<Format>(bytes).map_err(|error| invalid(error.to_string()))?.format;
        if format != 1 {
            return Err(StoreError::UnknownFormat { path: path.to_path_buf(), format });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
        if manifest.model != model.as_str() || manifest.version != number {
            return Err(invalid(format!("it is of version {} of `{}`", manifest.version, manifest.model)));
        }
        if !is_version(manifest.version) {
            return Err(invalid(format!("{} is not the number of a version", manifest.version)));
        }
        manifest.check_files().map_err(invalid)?;
        Ok((manifest, hex(&Sha256::digest(bytes))))
    }

    /// Checks what a stranger may have written. The reason, if a file is refused.
    fn check_files(&self) -> Result<(), String> {
        let mut folded = HashSet::new();
        for FileEntry { name, .. } in &self.files {
            if !is_safe(name) {
                return Err(format!("the name `{}` leads out of the version's folder", printable(name)));
            }
            if is_signature(name) {
                return Err(format!(
                    "`{}` is the name of a signature, which is not part of a version",
                    printable(name)
                ));
            }
            // They would be one file where the file system ignores case.
            if !folded.insert(name.to_lowercase()) {
                return Err(format!("`{}` is there twice, or differs from another in case only", printable(name)));
            }
        }
        if !self.files.is_sorted_by(|a, b| a.name < b.name) {
            return Err("its files are not sorted".to_owned());
        }
        if self.bytes() > MAX_BYTES {
            return Err(format!("its files have more than {MAX_BYTES} bytes"));
        }
        Ok(())
    }

    /// The size of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.size))
    }
}

#[derive(Deserialize)]
struct Format {
    format: u64,
}

fn summary(signature: &SignatureDef) -> SignatureSummary {
    let tensors = |all: &[(String, TensorInfo)]| {
        let one = |(name, info): &(String, TensorInfo)| TensorSummary {
            name: name.clone(),
            dtype: info.dtype.to_string(),
            shape: info.shape.to_string(),
        };
        all.iter().map(one).collect()
    };
    SignatureSummary {
        name: signature.name.clone(),
        inputs: tensors(&signature.inputs),
        outputs: tensors(&signature.outputs),
    }
}

/// Hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    push_hex(&mut text, bytes);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(version: u64, files: &[(&str, u64)]) -> Result<(Manifest, String)> {
        let files =
            files.iter().map(|(name, size)| FileEntry { name: (*name).to_owned(), size: *size, sha256: hex(&[1]) });
        let manifest = Manifest {
            format: 1,
            model: "m".to_owned(),
            version,
            published_at: Timestamp::UNIX_EPOCH,
            published_by: String::new(),
            source: String::new(),
            parent: None,
            tensorflow_version: String::new(),
            signatures: Vec::new(),
            note: None,
            metadata: Map::new(),
            files: files.collect(),
        };
        let bytes = manifest.encode().unwrap().0;
        Manifest::decode(bytes.as_bytes(), Path::new("1.json"), &"m".parse().unwrap(), version)
    }

    #[test]
    fn numbers_are_those_of_versions() {
        assert!(decoded(1, &[]).is_ok() && decoded(i64::MAX.unsigned_abs(), &[]).is_ok());
        for number in [0, 1 << 63, u64::MAX] {
            let error = decoded(number, &[]).unwrap_err().to_string();
            assert!(error.ends_with("is not the number of a version"), "{error}");
        }
    }

    #[test]
    fn files_are_those_of_a_model() {
        let refused = |files: &[(&str, u64)]| decoded(1, files).unwrap_err().to_string();
        assert!(decoded(1, &[("A", 1 << 43), ("a.sig", 1), ("a/model.sig", 1), ("b", (1 << 43) - 2)]).is_ok());
        assert!(refused(&[("a", 1 << 43), ("b", (1 << 43) + 1)]).contains("have more than 17592186044416 bytes"));
        assert!(refused(&[("a", u64::MAX), ("b", u64::MAX)]).contains("have more than 17592186044416 bytes"));
        assert!(refused(&[("a", 1), ("a", 1)]).contains("`a` is there twice"));
        assert!(refused(&[("A", 1), ("a", 1)]).contains("differs from another in case only"));
        assert!(refused(&[("b", 1), ("a", 1)]).contains("not sorted"));
        for name in ["model.sig", "model.sig.new", "Model.SIG"] {
            assert!(refused(&[(name, 1)]).contains("the name of a signature"), "{name}");
        }
    }
}
