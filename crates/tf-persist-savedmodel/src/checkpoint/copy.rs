//! Copying a checkpoint and checking it meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::check::Stored;
use super::entry::{Entry, Part};
use super::index::{CheckpointIndex, MAX_INDEX_BYTES, index_path, shard_path};
use super::publish::Unpublished;
use crate::container::file::{file_length, read_file};
use crate::error::{Error, Result};

/// Bytes copied between two reports to the checker, which then still finds them in a cache of the processor.
const STEP: u64 = 4 << 20;

/// Copies a checkpoint byte for byte, the index and every shard, to another prefix. A second thread compares each
/// checksum with the written bytes while the first one copies, so a damaged checkpoint is never published.
///
/// The file system may share the bytes instead of copying them. Nothing appears under the new prefix before everything
/// is complete, correct and on disk. Returns the index.
///
/// # Errors
/// - Those of [`CheckpointIndex::open`] for the original;
/// - [`Error::Damaged`] with the shard's path and the key if a checksum is wrong;
/// - [`Error::Exists`] if there is a checkpoint with the new prefix;
/// - [`Error::Io`] if the disk is full, or the files cannot be read or made.
pub fn copy_checkpoint(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<CheckpointIndex> {
    let from = from.as_ref();
    let path = index_path(from);
    // The same bytes are checked and written, whatever happens to the file meanwhile.
    let Some(bytes) = read_file(&path, MAX_INDEX_BYTES, "the limit of an index")? else {
        return Err(Error::io("read", &path)(rustix::io::Errno::NOENT.into()));
    };
    let index = CheckpointIndex::read(from, &bytes)?;
    index.check_shards()?;

    let mut new = Unpublished::begin(to.as_ref())?;
    let mut parts = parts_by_shard(&index);
    for shard in 0..index.num_shards {
        let path = shard_path(from, shard, index.num_shards);
        // A shard without tensors may be missing, and stays missing.
        let Some(length) = file_length(&path)? else { continue };
        let original = File::open(&path).map_err(Error::io("open", &path))?;
        let parts = parts.remove(&shard).unwrap_or_default();
        let target = new.file(&new.shard_path(shard, index.num_shards))?;
        let (progress, copied) = channel();
        thread::scope(|scope| {
            let check = scope.spawn(|| check(&path, target.as_file(), &parts, copied));
            let copied = copy(&original, target.as_file(), length, progress).map_err(Error::io("copy", &path));
            let checked = check.join().unwrap_or_else(|panic| resume_unwind(panic));
            copied.and(checked)
        })?;
        new.add(target, shard, index.num_shards)?;
    }
    new.finish(&bytes)
}

/// The parts of each shard in the order of their ends. A part that several entries share is checked once.
pub(super) fn parts_by_shard(index: &CheckpointIndex) -> BTreeMap<u32, Vec<(&Entry, &Part)>> {
    let mut shards: BTreeMap<u32, Vec<(&Entry, &Part)>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for entry in &index.entries {
        for part in &entry.parts {
            if seen.insert((part.shard, part.offset, part.bytes, part.crc32c, entry.dtype.number())) {
                shards.entry(part.shard).or_default().push((entry, part));
            }
        }
    }
    shards.values_mut().for_each(|parts| parts.sort_by_key(|(_, part)| part.offset.saturating_add(part.bytes)));
    shards
}

/// Copies a file step by step and reports the position, until the end or until the receiver is gone.
fn copy(from: &File, to: &File, length: u64, progress: Sender<u64>) -> io::Result<()> {
    let (mut from, mut to) = (from, to);
    let mut done = 0;
    while done < length {
        // The kernel copies if it can.
        let step = io::copy(&mut (&mut from).take(STEP.min(length - done)), &mut to)?;
        done += step;
        if step == 0 || progress.send(done).is_err() {
            break;
        }
    }
    Ok(())
}

/// Checks each part of a copied file as soon as it is complete.
fn check(shown: &Path, file: &File, parts: &[(&Entry, &Part)], progress: Receiver<u64>) -> Result<()> {
    let mut copied = 0;
    for (entry, part) in parts {
        while copied < part.offset.saturating_add(part.bytes) {
            let Ok(further) = progress.recv() else { break };
            copied = further;
        }
        Stored { path: shown, file, entry, part }.check()?;
    }
    // The sender must be able to finish.
    while progress.recv().is_ok() {}
    Ok(())
}
