use std::fs;
use std::path::{Path, PathBuf};

use crate::checkpoint::testing::{entry, header, table};
use crate::checkpoint::*;
use crate::error::Error;
use crate::{DType, Tensor};

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/checkpoint/testdata").join(name)
}

/// A checkpoint that is copied in several steps: larger than one, with a tensor across the border, and strings at the
/// end.
fn large(prefix: &Path) {
    let mut writer = CheckpointWriter::create(prefix).unwrap();
    for (key, length) in [("a", 5_000_000), ("b", 3), ("c", 9_000_000), ("none", 0)] {
        let bytes: Vec<u8> = (0..length).map(|index: u32| (index % 251) as u8).collect();
        writer.add(key, &Tensor::from_bytes(DType::UInt8, &[bytes.len()], &bytes).unwrap()).unwrap();
    }
    writer.add("words", &Tensor::from_strings(&[2], ["one", "two"]).unwrap()).unwrap();
    writer.finish().unwrap();
}

fn flip(path: &Path, place: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[place] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn copies_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("from");
    large(&from);
    for (from, name) in [(from, "large"), (testdata("slices"), "slices")] {
        let to = folder.path().join("deep").join(name);
        let index = copy_checkpoint(&from, &to).unwrap();
        assert_eq!(index, CheckpointIndex::open(&to).unwrap());
        assert!(fs::read(shard_path(&from, 0, 1)).unwrap() == fs::read(shard_path(&to, 0, 1)).unwrap());
        assert_eq!(fs::read(index_path(&from)).unwrap(), fs::read(index_path(&to)).unwrap());
    }
    assert_eq!(count(&folder.path().join("deep")), 4);
}

#[test]
fn a_damaged_tensor_is_not_copied() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("from");
    large(&from);
    let reader = CheckpointReader::open(&from).unwrap();
    let places: Vec<(String, u64)> = reader
        .index()
        .entries
        .iter()
        .filter(|entry| entry.bytes() > 0)
        .flat_map(|entry| [0, entry.bytes() - 1].map(|place| (entry.key.clone(), entry.parts[0].offset + place)))
        .collect();
    let to = folder.path().join("to/variables");
    for (key, place) in places {
        let shard = shard_path(&from, 0, 1);
        flip(&shard, place as usize);
        let error = copy_checkpoint(&from, &to).unwrap_err();
        assert!(matches!(&error, Error::Damaged { path, .. } if *path == shard), "{error}");
        assert!(error.to_string().contains(&format!("`{key}`")), "{key}, byte {place}: {error}");
        flip(&shard, place as usize);
        assert_eq!(count(&folder.path().join("to")), 0);
    }
    copy_checkpoint(&from, &to).unwrap();
}

#[test]
fn several_shards_and_those_that_nothing_stands_in() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("from");
    let sum = |bytes: &[u8]| super::super::checksum::masked(bytes);
    let mut entries = Vec::new();
    for (shard, bytes) in [(0_u64, [1_u8, 2]), (2, [3, 4])] {
        let mut entry = entry(4, &[2], shard, 0, 2);
        super::super::encode::fixed32(&mut entry, 6, sum(&bytes));
        fs::write(shard_path(&from, shard as u32, 3), bytes).unwrap();
        entries.push(entry);
    }
    let header = header(3);
    fs::write(index_path(&from), table(&[(b"", &header), (b"a", &entries[0]), (b"b", &entries[1])])).unwrap();
    let to = folder.path().join("to/variables");
    copy_checkpoint(&from, &to).unwrap();
    assert_eq!(count(&folder.path().join("to")), 3);
    let read = CheckpointReader::open(&to).unwrap().read("b").unwrap();
    assert_eq!(read, Tensor::from_slice(&[2], &[3_u8, 4]).unwrap());
}

#[test]
fn what_is_there_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let from = testdata("slices");
    let to = folder.path().join("variables");
    copy_checkpoint(&from, &to).unwrap();
    assert!(matches!(copy_checkpoint(&from, &to), Err(Error::Exists { .. })));
    assert!(matches!(copy_checkpoint(&to, &to), Err(Error::Exists { .. })));
    assert!(matches!(copy_checkpoint(folder.path().join("none"), folder.path().join("x")), Err(Error::Io { .. })));
    // An index whose shard is missing.
    let partitioned = copy_checkpoint(testdata("partitioned"), folder.path().join("x")).unwrap_err();
    assert!(matches!(partitioned, Error::Damaged { .. }), "{partitioned}");
    assert_eq!(count(folder.path()), 2);
}
