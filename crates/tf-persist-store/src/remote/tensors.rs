//! Which bytes of a checkpoint's data file are in other files already: equal tensors have equal sizes and checksums in
//! the indexes.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tf_persist_savedmodel::checkpoint::{CheckpointIndex, Checksum, index_path, shard_path};

use super::partial::Partial;
use crate::error::Result;
use crate::manifest::FileEntry;

/// The prefix of the names of a SavedModel's checkpoint.
const PREFIX: &str = "variables/variables";

/// The bytes that are read at once.
const BLOCK: usize = 1 << 20;

/// A tensor in a file.
#[derive(Debug, Clone)]
struct Place {
    path: PathBuf,
    offset: u64,
}

/// Tensors in files of this machine, by size and checksum.
#[derive(Debug, Default)]
pub(crate) struct KnownTensors(HashMap<(u64, u32), Place>);

impl KnownTensors {
    /// The tensors of models in these folders. What cannot be read has none.
    pub(crate) fn of(folders: &[PathBuf]) -> Self {
        let mut known = HashMap::new();
        for folder in folders {
            let Ok(index) = CheckpointIndex::open(folder.join(PREFIX)) else { continue };
            for part in index.entries.iter().flat_map(|entry| &entry.parts) {
                let path = shard_path(&index.prefix, part.shard, index.num_shards);
                known.entry((part.bytes, part.crc32c)).or_insert(Place { path, offset: part.offset });
            }
        }
        Self(known)
    }
}

/// The tensors of a data file: where each is, and its checksum.
pub(crate) type Parts = Vec<(Range<u64>, u32)>;

/// The tensors of a data file by the index, which is in `folder` already; none if the file is not a checkpoint's, or
/// the index says nothing that could be right. `scratch` is a folder for files of this function.
pub(crate) fn parts(files: &[FileEntry], name: &str, folder: &Path, scratch: &Path) -> Parts {
    let Some(shard) = shard_number(name) else { return Parts::new() };
    let read = || -> io::Result<Option<CheckpointIndex>> {
        // The index is checked against the sizes of the data files, which are not there yet: empty files have them.
        let there = scratch.join("index");
        let _ = fs::remove_dir_all(&there);
        fs::create_dir_all(&there)?;
        let prefix = there.join("variables");
        fs::copy(index_path(&folder.join(PREFIX)), index_path(&prefix))?;
        for file in files {
            if shard_number(&file.name).is_some()
                && let Some(name) = file.name.strip_prefix("variables/")
            {
                File::create(there.join(name))?.set_len(file.size)?;
            }
        }
        let index = CheckpointIndex::open(&prefix).ok();
        fs::remove_dir_all(&there)?;
        Ok(index)
    };
    let Ok(Some(index)) = read() else { return Parts::new() };
    let parts = index.entries.iter().flat_map(|entry| &entry.parts).filter(|part| part.shard == shard);
    let mut parts: Parts = parts.map(|part| (part.offset..part.offset + part.bytes, part.crc32c)).collect();
    parts.sort_by_key(|(range, _)| range.start);
    parts
}

/// The number of a data file; `None` for other files.
fn shard_number(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(PREFIX)?.strip_prefix(".data-")?;
    let (shard, of) = rest.split_once("-of-")?;
    of.parse::<u32>().ok()?;
    shard.parse().ok()
}

/// Copies the tensors that are known. Returns their bytes.
pub(crate) fn copy_known(partial: &mut Partial, parts: &Parts, known: &KnownTensors) -> Result<u64> {
    let mut copied = 0;
    for (range, crc32c) in parts {
        let size = range.end - range.start;
        let Some(place) = known.0.get(&(size, *crc32c)).filter(|_| size > 0 && !partial.has(range)) else { continue };
        if copy(partial, range, *crc32c, place)? {
            partial.have(range.clone())?;
            copied += size;
        }
    }
    Ok(copied)
}

/// Copies a tensor; `false` if it is not what the index of its file says.
fn copy(partial: &Partial, range: &Range<u64>, crc32c: u32, place: &Place) -> Result<bool> {
    let Ok(file) = File::open(&place.path) else { return Ok(false) };
    let size = range.end - range.start;
    let mut buffer = vec![0; usize::try_from(size).map_or(BLOCK, |size| size.min(BLOCK))];
    let (mut done, mut checksum) = (0, Checksum::new());
    while done < size {
        let length = usize::try_from(size - done).map_or(buffer.len(), |left| left.min(buffer.len()));
        let block = &mut buffer[..length];
        if file.read_exact_at(block, place.offset.saturating_add(done)).is_err() {
            return Ok(false);
        }
        checksum.update(block);
        partial.write(block, range.start + done)?;
        done += length as u64;
    }
    Ok(checksum.masked() == crc32c)
}
