//! `fingerprint.pb`: hashes of a model's parts, which identify an export.

use tf_persist_proto::wire::{Value, try_fields};

use crate::container::Files;
use crate::error::{Error, Result};
use crate::stand_in;

/// A fingerprint has a hundred bytes.
const MAX_FINGERPRINT_BYTES: u64 = 64 << 10;

/// The hashes that TensorFlow 2.11 and later write with a model.
///
/// Source: `FingerprintDef` in `tensorflow/core/protobuf/fingerprint.proto`. All hashes but the last differ between
/// versions of TensorFlow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Fingerprint {
    /// The hash of the model's file.
    pub saved_model_checksum: u64,
    /// The hash of the graph, without the parts that change from export to export.
    pub graph_def_program_hash: u64,
    /// The hash of the signatures.
    pub signature_def_hash: u64,
    /// The hash of the object graph.
    pub saved_object_graph_hash: u64,
    /// `Fingerprint64` of `variables/variables.index`; 0 if there was none.
    pub checkpoint_hash: u64,
    /// A random number of the export; empty before TensorFlow 2.15.
    pub uuid: String,
    /// The version of the fingerprint's format.
    pub version: i64,
    /// Whether `checkpoint_hash` is that of the variables beside it.
    pub checkpoint: CheckpointMatch,
}

/// Whether a fingerprint matches the variables of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum CheckpointMatch {
    /// The index is the exported one.
    Matches,
    /// The index differs: the variables were saved again, or belong to another model.
    Differs,
    /// The index or its hash is missing.
    #[default]
    Unknown,
}

impl CheckpointMatch {
    /// `matches`, `differs` or `unknown`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Matches => "matches",
            Self::Differs => "differs",
            Self::Unknown => "unknown",
        }
    }
}

impl Fingerprint {
    /// Reads a model's fingerprint, if it has one. `index` is the hash of its `variables.index`.
    pub(super) fn read(files: &Files, index: Option<u64>) -> Result<Option<Self>> {
        let name = "fingerprint.pb";
        let path = files.path().join(name);
        let Some(bytes) = files.read(name, MAX_FINGERPRINT_BYTES, "the limit of a fingerprint")? else {
            return Ok(None);
        };
        stand_in::check(&path, &bytes[..bytes.len().min(stand_in::BEGINNING)])?;
        let mut fingerprint = Self::default();
        for field in try_fields(&bytes) {
            let (number, value) = field.map_err(|error| Error::damaged(&path, error.to_string()))?;
            match (number, value) {
                (1, Value::Varint(hash)) => fingerprint.saved_model_checksum = hash,
                (2, Value::Varint(hash)) => fingerprint.graph_def_program_hash = hash,
                (3, Value::Varint(hash)) => fingerprint.signature_def_hash = hash,
                (4, Value::Varint(hash)) => fingerprint.saved_object_graph_hash = hash,
                (5, Value::Varint(hash)) => fingerprint.checkpoint_hash = hash,
                (6, Value::Bytes(version)) => {
                    for field in try_fields(version) {
                        let field = field.map_err(|error| Error::damaged(&path, error.to_string()))?;
                        if let (1, Value::Varint(producer)) = field {
                            fingerprint.version = producer.cast_signed();
                        }
                    }
                }
                (7, Value::Bytes(_)) => fingerprint.uuid = value.text().to_owned(),
                _ => {}
            }
        }
        fingerprint.checkpoint = match index {
            _ if fingerprint.checkpoint_hash == 0 => CheckpointMatch::Unknown,
            None => CheckpointMatch::Unknown,
            Some(hash) if hash == fingerprint.checkpoint_hash => CheckpointMatch::Matches,
            Some(_) => CheckpointMatch::Differs,
        };
        Ok(Some(fingerprint))
    }
}
