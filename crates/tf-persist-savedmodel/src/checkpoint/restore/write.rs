//! Writing a model's checkpoint with the values of another.

use std::path::Path;

use super::Mapping;
use crate::checkpoint::{CheckpointIndex, CheckpointReader, CheckpointWriter};
use crate::error::Result;

impl Mapping {
    /// Writes the model's checkpoint with the values of `checkpoint`, in one shard: its own keys and its own object
    /// graph, in their order. `model` and `checkpoint` are those that the mapping was made of.
    ///
    /// Every checksum is compared. Partitioned variables are assembled; a graph that restores slices of them accepts
    /// that. Nothing appears under `prefix` before everything is written.
    ///
    /// # Errors
    /// Those of [`CheckpointWriter::add_from`] and [`CheckpointWriter::finish`].
    pub fn write(
        &self,
        model: &CheckpointReader,
        checkpoint: &CheckpointReader,
        prefix: impl AsRef<Path>,
    ) -> Result<CheckpointIndex> {
        let mut writer = CheckpointWriter::create(prefix)?;
        let mut entries: Vec<_> = model.index().entries.iter().collect();
        entries.sort_by_key(|entry| entry.parts.first().map(|part| (part.shard, part.offset)));
        for entry in entries {
            match self.pairs.binary_search_by(|pair| pair.key.as_str().cmp(&entry.key)) {
                Ok(found) => writer.add_from(&entry.key, checkpoint, &self.pairs[found].source)?,
                Err(_) => writer.add_from(&entry.key, model, &entry.key)?,
            }
        }
        writer.finish()
    }
}
