//! `fingerprint.pb` of a model whose graph stays and whose variables are written anew.

use std::fs;
use std::hash::{BuildHasher, RandomState};

use protobuf::Message;
use tf_persist_proto::tensorflow::FingerprintDef;

use super::staging::Staging;
use crate::checkpoint::CheckpointIndex;
use crate::container::Files;
use crate::error::{Error, Result};
use crate::saved_model::layout::FINGERPRINT;

/// The file has about a hundred bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Writes the fingerprint of the copy, if the original has one: its hashes of the graph, which is the same to the byte, the
/// hash of the new variables' index (0 without variables, as TensorFlow has it), and an identifier of its own. One that cannot be
/// read is left out: TensorFlow loads the model without.
pub(super) fn carry_over(from: &Files, to: &Staging, variables: Option<&CheckpointIndex>) -> Result<()> {
    let source = from.path().join(FINGERPRINT);
    let Some(bytes) = from.read(FINGERPRINT, MAX_BYTES, "the limit of a fingerprint")? else { return Ok(()) };
    let Ok(mut fingerprint) = tf_persist_proto::parse::<FingerprintDef>(&bytes) else { return Ok(()) };
    fingerprint.checkpoint_hash = variables.map_or(0, CheckpointIndex::fingerprint);
    // TensorFlow draws a random 64-bit number; so does the standard library, to seed its hash maps.
    fingerprint.uuid = RandomState::new().hash_one(&fingerprint.uuid).to_string();
    let bytes = fingerprint.write_to_bytes().map_err(|error| Error::flawed(&source, error.to_string()))?;
    fs::write(to.path().join(FINGERPRINT), bytes).map_err(Error::io("write", to.shown(FINGERPRINT)))
}
