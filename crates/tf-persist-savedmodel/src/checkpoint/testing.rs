//! Checkpoint files made by hand, for tests.

use super::checksum::masked;
pub(crate) use super::encode::{delimited, number, varint};
use super::table::MAGIC;

/// A `BundleHeaderProto` of this many shards.
pub(crate) fn header(num_shards: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    number(&mut bytes, 1, num_shards);
    delimited(&mut bytes, 3, &[0x08, 1]);
    bytes
}

/// A `BundleEntryProto` without a checksum.
pub(crate) fn entry(dtype: u64, shape: &[u64], shard: u64, offset: u64, size: u64) -> Vec<u8> {
    let mut dimensions = Vec::new();
    for dimension in shape {
        let mut bytes = Vec::new();
        number(&mut bytes, 1, *dimension);
        delimited(&mut dimensions, 2, &bytes);
    }
    let mut bytes = Vec::new();
    number(&mut bytes, 1, dtype);
    delimited(&mut bytes, 2, &dimensions);
    for (field, value) in [(3, shard), (4, offset), (5, size)] {
        number(&mut bytes, field, value);
    }
    bytes
}

/// An index file of these keys and values, in this order: one data block, and keys that share what they can.
pub(crate) fn table(entries: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut before: &[u8] = &[];
    for (key, value) in entries {
        let shared = key.iter().zip(before).take_while(|(a, b)| a == b).count();
        record(&mut data, shared, &key[shared..], value);
        before = key;
    }
    table_of_blocks(&[block(data, 0)])
}

/// A table of these data blocks.
pub(crate) fn table_of_blocks(blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut index = Vec::new();
    for (number, block) in blocks.iter().enumerate() {
        let mut value = Vec::new();
        varint(&mut value, bytes.len() as u64);
        varint(&mut value, block.len() as u64 - 5);
        record(&mut index, 0, &[number as u8 + 1], &value);
        bytes.extend(block);
    }
    let meta = block(Vec::new(), 0);
    let index = block(index, 0);
    let mut handles = Vec::new();
    for block in [meta, index] {
        varint(&mut handles, bytes.len() as u64);
        varint(&mut handles, block.len() as u64 - 5);
        bytes.extend(block);
    }
    handles.resize(40, 0);
    bytes.extend(handles);
    bytes.extend(MAGIC.to_le_bytes());
    bytes
}

/// A block of these entries, with its restarts and its trailer.
pub(crate) fn block(mut entries: Vec<u8>, kind: u8) -> Vec<u8> {
    entries.extend([0, 0, 0, 0, 1, 0, 0, 0, kind]);
    let checksum = masked(&entries);
    entries.extend(checksum.to_le_bytes());
    entries
}

/// An entry of a block.
pub(crate) fn record(block: &mut Vec<u8>, shared: usize, own: &[u8], value: &[u8]) {
    for length in [shared, own.len(), value.len()] {
        varint(block, length as u64);
    }
    block.extend(own);
    block.extend(value);
}
