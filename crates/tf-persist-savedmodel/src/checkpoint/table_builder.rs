//! Writes the sorted table of a checkpoint's index, in the format that [`table`](super::table) describes.
//!
//! The bytes equal TensorFlow's: the size of blocks, the restarts, the short keys in the index block
//! (`tensorflow/tsl/lib/io/table_builder.cc` and `block_builder.cc`, options as in `table_options.h`).

use super::checksum::Checksum;
use super::encode::varint;
use super::table::{FOOTER_BYTES, MAGIC};

/// A block ends with the entry that makes it this long.
const BLOCK_BYTES: usize = 262_144;

/// The number of keys from one complete key of a data block to the next.
const RESTART_INTERVAL: usize = 16;

/// A table that is being written.
pub(super) struct TableBuilder {
    bytes: Vec<u8>,
    data: Block,
    index: Block,
    last_key: Vec<u8>,
    /// The position of the data block that ends with `last_key`. It enters the index block when the next key is known,
    /// under a short key between the two.
    ended: Option<Handle>,
}

impl TableBuilder {
    pub(super) fn new() -> Self {
        let (data, index) = (Block::new(RESTART_INTERVAL), Block::new(1));
        Self { bytes: Vec::new(), data, index, last_key: Vec::new(), ended: None }
    }

    /// Adds an entry. Its key is greater than the one before.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        if let Some(handle) = self.ended.take() {
            self.index.add(&separator(&self.last_key, key), &handle.encoded());
        }
        self.data.add(key, value);
        self.last_key.clear();
        self.last_key.extend(key);
        if self.data.len() >= BLOCK_BYTES {
            self.end_data();
        }
    }

    /// The file.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if !self.data.is_empty() {
            self.end_data();
        }
        let metaindex = self.push(Block::new(RESTART_INTERVAL));
        if let Some(handle) = self.ended.take() {
            self.index.add(&successor(&self.last_key), &handle.encoded());
        }
        let index = std::mem::replace(&mut self.index, Block::new(1));
        let index = self.push(index);
        let mut footer = [metaindex.encoded(), index.encoded()].concat();
        footer.resize(FOOTER_BYTES - 8, 0);
        footer.extend(MAGIC.to_le_bytes());
        self.bytes.extend(footer);
        self.bytes
    }

    fn end_data(&mut self) {
        let data = std::mem::replace(&mut self.data, Block::new(RESTART_INTERVAL));
        self.ended = Some(self.push(data));
    }

    /// Writes a block and its trailer.
    fn push(&mut self, block: Block) -> Handle {
        let contents = block.finish();
        let handle = Handle { offset: self.bytes.len(), length: contents.len() };
        let mut checksum = Checksum::new();
        checksum.update(&contents);
        checksum.update(&[PLAIN]);
        self.bytes.extend(contents);
        self.bytes.push(PLAIN);
        self.bytes.extend(checksum.masked().to_le_bytes());
        handle
    }
}

/// The type of a block that is not compressed.
const PLAIN: u8 = 0;

/// The position of a block; its length is without the trailer.
struct Handle {
    offset: usize,
    length: usize,
}

impl Handle {
    fn encoded(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        varint(&mut bytes, self.offset as u64);
        varint(&mut bytes, self.length as u64);
        bytes
    }
}

/// Entries with prefix-compressed keys.
struct Block {
    bytes: Vec<u8>,
    restarts: Vec<u32>,
    interval: usize,
    since_restart: usize,
    last_key: Vec<u8>,
}

impl Block {
    fn new(interval: usize) -> Self {
        Self { bytes: Vec::new(), restarts: vec![0], interval, since_restart: 0, last_key: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The length of the block if it ended here.
    fn len(&self) -> usize {
        self.bytes.len() + 4 * self.restarts.len() + 4
    }

    fn add(&mut self, key: &[u8], value: &[u8]) {
        let mut shared = 0;
        if self.since_restart < self.interval {
            shared = key.iter().zip(&self.last_key).take_while(|(a, b)| a == b).count();
        } else {
            self.restarts.push(self.bytes.len() as u32);
            self.since_restart = 0;
        }
        for length in [shared, key.len() - shared, value.len()] {
            varint(&mut self.bytes, length as u64);
        }
        self.bytes.extend(&key[shared..]);
        self.bytes.extend(value);
        self.last_key.clear();
        self.last_key.extend(key);
        self.since_restart += 1;
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes.extend(self.restarts.iter().flat_map(|restart| restart.to_le_bytes()));
        self.bytes.extend((self.restarts.len() as u32).to_le_bytes());
        self.bytes
    }
}

/// A short key that is at least `before` and below `next`.
fn separator(before: &[u8], next: &[u8]) -> Vec<u8> {
    let shared = before.iter().zip(next).take_while(|(a, b)| a == b).count();
    match (before.get(shared), next.get(shared)) {
        (Some(a), Some(b)) if *a < 0xff && a + 1 < *b => [&before[..shared], &[a + 1]].concat(),
        _ => before.to_vec(),
    }
}

/// A short key that is at least `key`.
fn successor(key: &[u8]) -> Vec<u8> {
    match key.iter().position(|byte| *byte != 0xff) {
        Some(place) => [&key[..place], &[key[place] + 1]].concat(),
        None => key.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::read_table;
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        // The keys share long prefixes, and the values fill several blocks.
        let rows: Vec<(Vec<u8>, Vec<u8>)> =
            (0..3000_u32).map(|row| (format!("layer/{row:05}").into_bytes(), vec![row as u8; 300])).collect();
        let mut builder = TableBuilder::new();
        rows.iter().for_each(|(key, value)| builder.add(key, value));
        let bytes = builder.finish();
        let mut read = Vec::new();
        read_table(&bytes, |key, value| {
            read.push((key.to_vec(), value.to_vec()));
            Ok(())
        })
        .unwrap();
        assert!(read == rows && bytes.len() > 3 * BLOCK_BYTES);
        let empty = TableBuilder::new().finish();
        assert!(read_table(&empty, |_, _| Err("there is an entry".into())).is_ok());
    }

    #[test]
    fn keys_between_are_short() {
        assert_eq!(separator(b"abcdef", b"abzz"), b"abd");
        assert_eq!(separator(b"abc", b"abd"), b"abc");
        assert_eq!(separator(b"ab", b"abd"), b"ab");
        assert_eq!(separator(b"a\xff1", b"b"), b"a\xff1");
        assert_eq!(successor(b"abc"), b"b");
        assert_eq!(successor(b"\xff\xffa"), b"\xff\xffb");
        assert_eq!(successor(b"\xff"), b"\xff");
        assert_eq!(successor(b""), b"");
    }
}
