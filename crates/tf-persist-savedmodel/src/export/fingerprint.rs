//! `fingerprint.pb` of a copy with the same graph and rewritten variables.

use std::fs;
use std::hash::{BuildHasher, RandomState};

use protobuf::Message;
use tf_persist_proto::tensorflow::FingerprintDef;

use super::staging::Staging;
use crate::checkpoint::CheckpointIndex;
use crate::container::Files;
use crate::error::{Error, Result};
use crate::saved_model::layout::FINGERPRINT;

/// The limit of the file, which has about a hundred bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Writes the fingerprint of a copy, if the original has one: the hashes of the unchanged graph, the hash of the new
/// index of variables (0 without variables, as in TensorFlow), and a new identifier. An unreadable fingerprint is left
/// out: TensorFlow loads the model without it.
pub(super) fn carry_over(from: &Files, to: &Staging, variables: Option<&CheckpointIndex>) -> Result<()> {
    let source = from.path().join(FINGERPRINT);
    let Some(bytes) = from.read(FINGERPRINT, MAX_BYTES, "the limit of a fingerprint")? else { return Ok(()) };
    let Ok(mut fingerprint) = tf_persist_proto::parse::<FingerprintDef>(&bytes) else { return Ok(()) };
    fingerprint.checkpoint_hash = variables.map_or(0, CheckpointIndex::fingerprint);
    // A random 64-bit number, as in TensorFlow: the standard library seeds its hash maps with one.
    fingerprint.uuid = RandomState::new().hash_one(&fingerprint.uuid).to_string();
    let bytes = fingerprint.write_to_bytes().map_err(|error| Error::flawed(&source, error.to_string()))?;
    fs::write(to.path().join(FINGERPRINT), bytes).map_err(Error::io("write", to.shown(FINGERPRINT)))
}
