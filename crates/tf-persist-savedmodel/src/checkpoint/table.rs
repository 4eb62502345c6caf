//! The sorted table in which a checkpoint's index is stored.
//!
//! The format is LevelDB's: data blocks of prefix-compressed keys and their values, an index block with the positions
//! of the data blocks, and a footer with the position of the index block. Source: `tensorflow/tsl/lib/io/format.cc` and
//! `block.cc`, and <https://github.com/google/leveldb/blob/main/doc/table_format.md>.
//!
//! ```text
//! block     entry*  restart offsets (u32 each)  number of restarts (u32)
//! entry     shared (varint)  own (varint)  value length (varint)  own bytes of the key  value
//! trailer   type (u8, 0: plain, 1: snappy)  masked CRC-32C of block and type (u32), after every block
//! footer    metaindex handle  index handle  zeros up to 40 bytes  magic number (u64)
//! handle    offset (varint)  length without the trailer (varint)
//! ```

use std::borrow::Cow;

use tf_persist_proto::wire::Reader;

use super::checksum::masked;

/// Three bytes of snappy repeat at most 64 bytes, so no data can grow more than this.
const MAX_GROWTH: usize = 32;

/// The footer's length: two handles of at most 20 bytes, and the magic number.
pub(crate) const FOOTER_BYTES: usize = 48;

/// The last 8 bytes of a table.
pub(crate) const MAGIC: u64 = 0xdb47_7524_8b80_fb57;

/// The trailer of each block: its type and its checksum.
const TRAILER_BYTES: usize = 5;

/// Calls `visit` with each key and value of a table. Keys must be strictly ascending.
///
/// Time is linear in the bytes; memory is one key and one decompressed block.
///
/// # Errors
/// A sentence about the table, or the error of `visit`.
pub(crate) fn read_table(
    bytes: &[u8],
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let Some((body, footer)) = bytes.split_last_chunk::<FOOTER_BYTES>() else {
        return Err(format!("it has {} bytes, and its footer alone would have {FOOTER_BYTES}", bytes.len()));
    };
    let Some((handles, magic)) = footer.split_last_chunk::<8>() else { return Err("its footer is cut off".into()) };
    if u64::from_le_bytes(*magic) != MAGIC {
        return Err("it does not end in a checkpoint index's magic number: cut short, or another kind of file".into());
    }
    let mut reader = Reader::new(handles);
    handle(&mut reader)?; // The metaindex lists filters, which TensorFlow does not write.
    let index = block(body, handle(&mut reader)?, "index block")?;

    let mut key = Vec::new();
    // Data blocks follow each other. If two could overlap, a small file could make the reader loop over the same bytes.
    let mut end = 0;
    read_block(&index, &mut Vec::new(), |_, value| {
        let (offset, length) = handle(&mut Reader::new(value))?;
        if offset < end {
            return Err(format!("its data block at byte {offset} begins before the one before it ends"));
        }
        let data = block(body, (offset, length), "data block")?;
        end = offset + length;
        read_block(&data, &mut key, &mut visit)
    })
}

/// The position of a block.
fn handle(reader: &mut Reader<'_>) -> Result<(usize, usize), String> {
    let mut number = || reader.varint().ok().and_then(|number| usize::try_from(number).ok());
    number().zip(number()).ok_or_else(|| "where one of its blocks is cannot be read".into())
}

/// The contents of a block after its checksum was compared, decompressed if necessary.
fn block<'a>(body: &'a [u8], (offset, length): (usize, usize), what: &str) -> Result<Cow<'a, [u8]>, String> {
    let whole = offset
        .checked_add(length)
        .and_then(|end| end.checked_add(TRAILER_BYTES))
        .and_then(|end| body.get(offset..end))
        .ok_or_else(|| format!("its {what} of {length} bytes at byte {offset} lies outside the file"))?;
    let (checked, checksum) = whole.split_last_chunk::<4>().ok_or("a block is cut off")?;
    if u32::from_le_bytes(*checksum) != masked(checked) {
        return Err(format!("the checksum of its {what} at byte {offset} is wrong"));
    }
    match checked.split_last() {
        Some((0, contents)) => Ok(Cow::Borrowed(contents)),
        Some((1, contents)) => decompress(contents)
            .map(Cow::Owned)
            .ok_or_else(|| format!("its {what} at byte {offset} is not what snappy makes")),
        _ => Err(format!("its {what} is of an unknown type")),
    }
}

/// Visits the entries of a block. `key` is the key before the first one: keys ascend across blocks too.
fn read_block(
    block: &[u8],
    key: &mut Vec<u8>,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let entries = block
        .split_last_chunk::<4>()
        .and_then(|(rest, count)| {
            let restarts = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(4)?;
            rest.get(..rest.len().checked_sub(restarts)?)
        })
        .ok_or("a block is shorter than its list of restarts")?;
    let mut reader = Reader::new(entries);
    // The first key of a block is complete. The key before it in the table is only compared.
    let mut first = true;
    while reader.position() < entries.len() {
        let mut number = || reader.varint().ok().and_then(|number| usize::try_from(number).ok());
        let lengths = number().zip(number()).zip(number());
        let ((shared, own), value) = lengths.ok_or("the lengths of an entry cannot be read")?;
        let rest = &entries[reader.position()..];
        let own_bytes = rest.get(..own).ok_or("a key goes beyond the end of its block")?;
        let value_bytes =
            rest[own..].get(..value).ok_or_else(|| "a value goes beyond the end of its block".to_owned())?;
        let before = if first { 0 } else { key.len() };
        if shared > before {
            return Err("a key shares more bytes with the key before it than that has".into());
        }
        // The empty key is the first of a checkpoint: there is no key to compare it with.
        let begins = first && key.is_empty();
        if !begins && own_bytes <= &key[shared..] {
            return Err(format!("its keys are not in order after `{}`", String::from_utf8_lossy(key)));
        }
        key.truncate(shared);
        key.extend_from_slice(own_bytes);
        first = false;
        visit(key, value_bytes)?;
        reader.seek(reader.position() + own + value);
    }
    Ok(())
}

/// The decompressed data of a block; `None` if it is not valid snappy.
fn decompress(compressed: &[u8]) -> Option<Vec<u8>> {
    let length = snap::raw::decompress_len(compressed).ok()?;
    if length > compressed.len().saturating_mul(MAX_GROWTH) {
        return None;
    }
    snap::raw::Decoder::new().decompress_vec(compressed).ok()
}
