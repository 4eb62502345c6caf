use std::fs;
use std::path::Path;

use proptest::prelude::*;

use crate::DType;
use crate::checkpoint::table::MAGIC;
use crate::checkpoint::testing::{block, delimited, entry, header, number, record, table, table_of_blocks};
use crate::checkpoint::*;
use crate::error::Error;

/// TensorFlow 2.21 wrote this: `w`, float32 [7, 3], in slices of 3, 2 and 2 rows; `bias`, bfloat16 [3]; `words`, 3
/// strings.
const PARTITIONED: &[u8] = include_bytes!("../testdata/partitioned.index");

fn read(bytes: &[u8]) -> Result<CheckpointIndex, Error> {
    CheckpointIndex::read(Path::new("v"), bytes)
}

fn refusal(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

/// An index of one shard and these entries.
fn index(entries: &[(&[u8], Vec<u8>)]) -> Vec<u8> {
    let header = header(1);
    let mut all: Vec<(&[u8], &[u8])> = vec![(b"", &header)];
    all.extend(entries.iter().map(|(key, value)| (*key, value.as_slice())));
    table(&all)
}

#[test]
fn reads_a_partitioned_checkpoint_of_tensorflow() {
    let index = read(PARTITIONED).unwrap();
    let rows: Vec<_> = index
        .entries
        .iter()
        .map(|entry| (entry.key.as_str(), entry.dtype, entry.shape.clone(), entry.bytes()))
        .collect();
    let expected = [
        ("bias", DType::BFloat16, vec![3], 6),
        ("w", DType::Float32, vec![7, 3], 84),
        ("words", DType::String, vec![3], 11),
    ];
    assert_eq!(rows, expected);
    let w = index.get("w").unwrap();
    assert!(w.is_partitioned() && w.parts.len() == 3);
    assert_eq!(w.parts.iter().map(|part| part.offset).collect::<Vec<_>>(), [6, 42, 66]);
    assert_eq!(index.total_bytes(), 101);
    assert_eq!(index.num_shards, 1);
}

#[test]
fn keys_may_share_their_beginnings() {
    let index = read(&index(&[(b"layer/bias", entry(1, &[2], 0, 0, 8)), (b"layer/kernel", entry(3, &[], 0, 8, 4))]));
    let keys: Vec<_> = index.unwrap().entries.into_iter().map(|entry| entry.key).collect();
    assert_eq!(keys, ["layer/bias", "layer/kernel"]);
}

#[test]
fn refuses_what_is_no_table() {
    let whole = index(&[]);
    assert!(refusal(b"").contains("its footer alone would have 48"));
    assert!(refusal(&whole[1..]).contains("is damaged"));
    assert!(refusal(&whole[..whole.len() - 1]).contains("magic number"));
    let mut flipped = whole.clone();
    flipped[3] ^= 1;
    assert!(refusal(&flipped).contains("the checksum of its data block at byte 0 is wrong"));
    let mut outside = whole;
    let footer = outside.len() - 48;
    outside[footer..footer + 10].fill(0xff);
    assert!(refusal(&outside).contains("where one of its blocks is cannot be read"));
}

#[test]
fn refuses_blocks_that_cannot_be() {
    let mut data = Vec::new();
    record(&mut data, 0, b"", &header(1));
    assert!(refusal(&table_of_blocks(&[block(data.clone(), 1)])).contains("not what snappy makes"));
    assert!(refusal(&table_of_blocks(&[block(data.clone(), 7)])).contains("unknown type"));
    let mut beyond = data.clone();
    record(&mut beyond, 1, b"a", b"");
    assert!(refusal(&table_of_blocks(&[block(beyond, 0)])).contains("shares more bytes"));
    let mut cut = data.clone();
    cut.extend([0, 50, 0]);
    assert!(refusal(&table_of_blocks(&[block(cut, 0)])).contains("a key goes beyond the end"));
    let mut cut = data;
    cut.extend([0, 1, 50, b'a']);
    assert!(refusal(&table_of_blocks(&[block(cut, 0)])).contains("a value goes beyond the end"));
}

#[test]
fn refuses_blocks_that_overlap() {
    let mut data = Vec::new();
    record(&mut data, 0, b"", &header(1));
    let mut bytes = block(data, 0);
    let length = bytes.len() as u8 - 5;
    // The index block points at the one data block twice.
    let mut list = Vec::new();
    record(&mut list, 0, &[1], &[0, length]);
    record(&mut list, 0, &[2], &[0, length]);
    let list = block(list, 0);
    let handles = [0, 0, bytes.len() as u8, list.len() as u8 - 5];
    bytes.extend(list);
    bytes.extend(handles);
    bytes.extend([0; 36]);
    bytes.extend(MAGIC.to_le_bytes());
    assert!(refusal(&bytes).contains("begins before the one before it ends"));
}

#[test]
fn refuses_entries_that_cannot_be() {
    let one = |value: Vec<u8>| refusal(&index(&[(b"w", value)]));
    assert!(one(entry(1, &[2], 0, 0, 9)).contains("float32 of shape [2] cannot have 9 bytes"));
    assert!(one(entry(7, &[5], 0, 0, 4)).contains("5 strings cannot have 4 bytes"));
    assert!(one(entry(0, &[2], 0, 0, 8)).contains("it has no dtype"));
    assert!(one(entry(1, &[2], 1, 0, 8)).contains("not one of its 1"));
    assert!(one(entry(1, &[2], u64::MAX, 0, 8)).contains("shard -1"));
    assert!(one(entry(1, &[u64::MAX], 0, 0, 8)).contains("one of its dimensions has no size"));
    assert!(one(entry(1, &[1 << 40, 1 << 40], 0, 0, 8)).contains("does not fit 63 bits"));
    assert!(one(entry(1, &[2], 0, u64::MAX, 8)).contains("8 bytes at offset -1"));
    assert!(one(entry(1, &[1; 255], 0, 0, 4)).contains("rank"));
    assert!(one(vec![0x08]).contains("the data ends inside a number"));
    // The size of a future dtype is unknown.
    assert!(read(&index(&[(b"w", entry(99, &[2], 0, 0, 9))])).is_ok());
}

#[test]
fn refuses_keys_out_of_order() {
    let value = entry(1, &[], 0, 0, 4);
    for keys in [[b"b", b"a"], [b"a", b"a"]] {
        assert!(refusal(&index(&[(keys[0], value.clone()), (keys[1], value.clone())])).contains("not in order"));
    }
    assert!(refusal(&table(&[(b"w", &value)])).contains("it has no header"));
    assert!(refusal(&table(&[])).contains("it has no header"));
    assert!(refusal(&index(&[(b"\xff", value)])).contains("is not UTF-8"));
}

#[test]
fn refuses_headers_that_cannot_be() {
    let with = |header: &[u8]| refusal(&table(&[(b"", header)]));
    assert!(with(&header(0)).contains("it has 0 shards"));
    assert!(with(&header(1 << 40)).contains("shards"));
    let mut big = header(1);
    number(&mut big, 2, 1);
    assert!(with(&big).contains("big-endian"));
    let mut later = header(1);
    delimited(&mut later, 3, &[0x10, 2]);
    assert!(with(&later).contains("needs a reader of format 2"));
}

#[test]
fn refuses_slices_that_do_not_fit() {
    let mut parent = entry(1, &[4], 0, 0, 0);
    delimited(&mut parent, 7, &[0x0a, 2, 0x10, 2]);
    assert!(refusal(&index(&[(b"w", parent.clone())])).contains("a slice of `w` is missing"));
    let key = Slice(vec![Extent { start: 0, length: Some(2) }]).key("w");
    let slice = entry(1, &[2], 0, 0, 8);
    assert_eq!(read(&index(&[(&key, slice.clone()), (b"w", parent.clone())])).unwrap().total_bytes(), 8);
    assert!(refusal(&index(&[(&key, slice)])).contains("belongs to no tensor"));
    assert!(refusal(&index(&[(&key, entry(1, &[3], 0, 0, 12)), (b"w", parent)])).contains("does not fit"));
}

#[test]
fn refuses_keys_that_grow_beyond_measure() {
    let (header, value) = (header(1), entry(1, &[], 0, 0, 4));
    let mut data = Vec::new();
    record(&mut data, 0, b"", &header);
    record(&mut data, 0, &[b'a'; 50_000], &value);
    // Of a few bytes each, in full 12 MB.
    record(&mut data, 50_000, &[0], &value);
    for number in 1..250 {
        record(&mut data, 50_000, &[number], &value);
    }
    assert!(refusal(&table_of_blocks(&[block(data, 0)])).contains("more than 32 times the file's bytes"));
}

#[test]
fn shards_must_be_there_and_long_enough() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("variables");
    let header = header(2);
    let (a, b) = (entry(1, &[2], 0, 0, 8), entry(1, &[2], 1, 4, 8));
    fs::write(index_path(&prefix), table(&[(b"", &header), (b"a", &a), (b"b", &b)])).unwrap();
    let refusal = || CheckpointIndex::open(&prefix).unwrap_err().to_string();

    assert!(refusal().contains("variables.data-00000-of-00002` is damaged: it is missing"));
    fs::write(shard_path(&prefix, 0, 2), [0; 8]).unwrap();
    fs::write(shard_path(&prefix, 1, 2), [0; 11]).unwrap();
    assert!(refusal().contains("too few for the 8 bytes of `b` at offset 4"));
    fs::write(shard_path(&prefix, 1, 2), [0; 12]).unwrap();
    assert_eq!(CheckpointIndex::open(&prefix).unwrap().total_bytes(), 16);

    fs::remove_file(index_path(&prefix)).unwrap();
    assert!(matches!(CheckpointIndex::open(&prefix), Err(Error::Io { .. })));
    fs::create_dir(index_path(&prefix)).unwrap();
    assert!(refusal().contains("not a regular file"));
}

proptest! {
    #[test]
    fn no_mutation_panics(changes in prop::collection::vec((0_usize..PARTITIONED.len(), any::<u8>()), 1..8)) {
        let mut bytes = PARTITIONED.to_vec();
        for (position, value) in changes {
            bytes[position] = value;
        }
        let _ = read(&bytes);
    }

    /// As above, with checksums put right, so that the entries themselves are reached.
    #[test]
    fn no_entry_panics(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6)) {
        let keys: Vec<String> = (0..entries.len()).map(|number| format!("k{number}")).collect();
        let rows: Vec<(&[u8], Vec<u8>)> = keys.iter().map(|key| key.as_bytes()).zip(entries).collect();
        let _ = read(&index(&rows));
    }

    #[test]
    fn no_block_panics(data in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = read(&table_of_blocks(&[block(data, 0)]));
    }
}
