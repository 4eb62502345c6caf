//! Writing a pack.

use std::io::{self, Seek, SeekFrom, Write};

use sha2::{Digest, Sha256};

use super::items::Item;
use super::layout::{CRC_OFFSET, Entry, local_header, offsets, table};
use super::{MAX_FILES, MAX_TABLE_BYTES};
use crate::error::{Error, Result};

/// Writes a pack of files from [`super::of_files`] or [`super::of_folder`]. Each is read once.
///
/// `to` must be at its beginning. `wrote` converts errors of writing.
pub(crate) fn write(to: &mut (impl Write + Seek), items: &[Item], wrote: impl Fn(io::Error) -> Error) -> Result<()> {
    let (offsets, end) = layout(items)?;
    let mut entries = Vec::with_capacity(items.len());
    for (item, offset) in items.iter().zip(&offsets) {
        // The checksum in the header is known after reading the contents.
        to.write_all(&local_header(*offset, &item.name, item.length, 0)).map_err(&wrote)?;
        let (mut sha256, mut crc32) = (Sha256::new(), crc32fast::Hasher::new());
        item.for_each_piece(|piece| {
            sha256.update(piece);
            crc32.update(piece);
            to.write_all(piece).map_err(&wrote)
        })?;
        let crc32 = crc32.finalize();
        let behind = to.stream_position().map_err(&wrote)?;
        to.seek(SeekFrom::Start(offset + CRC_OFFSET)).map_err(&wrote)?;
        to.write_all(&crc32.to_le_bytes()).map_err(&wrote)?;
        to.seek(SeekFrom::Start(behind)).map_err(&wrote)?;
        let sha256 = sha256.finalize().into();
        entries.push(Entry { name: item.name.clone(), length: item.length, crc32, sha256 });
    }
    let table = table(&entries, &offsets, end);
    if table.len() as u64 > MAX_TABLE_BYTES {
        return Err(too_many(format!(
            "its table would have {} bytes, and the limit is {MAX_TABLE_BYTES}",
            table.len()
        )));
    }
    to.write_all(&table).map_err(&wrote)?;
    to.flush().map_err(&wrote)
}

/// The length of a pack of these files.
pub(crate) fn packed_length(items: &[Item]) -> Result<u64> {
    let (offsets, end) = layout(items)?;
    let entry = |item: &Item| Entry { name: item.name.clone(), length: item.length, crc32: 0, sha256: [0; 32] };
    let entries: Vec<Entry> = items.iter().map(entry).collect();
    Ok(end + table(&entries, &offsets, end).len() as u64)
}

fn layout(items: &[Item]) -> Result<(Vec<u64>, u64)> {
    if items.len() > MAX_FILES {
        return Err(too_many(format!("the model has more than {MAX_FILES} files")));
    }
    let files = items.iter().map(|item| (item.name.as_str(), item.length));
    offsets(files).ok_or_else(|| too_many("the model is too large".into()))
}

fn too_many(reason: String) -> Error {
    Error::data("a pack", reason)
}
