use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::checkpoint::checksum::masked;
use crate::checkpoint::encode::{delimited, fixed32};
use crate::checkpoint::testing::{entry, header, number, table};
use crate::checkpoint::*;
use crate::error::{Error, TensorError};
use crate::{DType, Tensor};

/// TensorFlow 2.21 wrote this with `SaveV2`: `rows`, float32 [7, 3], in slices of 3, 2 and 2 rows; `columns`, int64 [2,
/// 5], in slices of 2 and 3 columns; `box`, uint8 [2, 2, 2], in four slices; `words`, string [3], in slices of 2 and 1;
/// `float8`.
fn slices() -> CheckpointReader {
    CheckpointReader::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/checkpoint/testdata/slices")).unwrap()
}

/// A checkpoint of one shard with these bytes and these entries.
fn checkpoint(data: &[u8], entries: &[(&[u8], Vec<u8>)]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("variables");
    let header = header(1);
    let mut all: Vec<(&[u8], &[u8])> = vec![(b"", &header)];
    all.extend(entries.iter().map(|(key, value)| (*key, value.as_slice())));
    fs::write(index_path(&prefix), table(&all)).unwrap();
    fs::write(shard_path(&prefix, 0, 1), data).unwrap();
    (folder, prefix)
}

/// An entry with the checksum of these bytes, which are at an offset.
fn summed(dtype: u64, shape: &[u64], offset: u64, bytes: &[u8]) -> Vec<u8> {
    let mut message = entry(dtype, shape, 0, offset, bytes.len() as u64);
    fixed32(&mut message, 6, masked(bytes));
    message
}

/// Why `w` cannot be read.
fn refusal(data: &[u8], entries: &[(&[u8], Vec<u8>)]) -> String {
    let (_folder, prefix) = checkpoint(data, entries);
    let reader = CheckpointReader::open(prefix).unwrap();
    let refusal = reader.read("w").unwrap_err().to_string();
    assert_eq!(reader.check().unwrap_err().to_string(), refusal);
    refusal
}

#[test]
fn puts_slices_of_tensorflow_together() {
    let reader = slices();
    let rows: Vec<f32> = (0..21_u8).map(f32::from).collect();
    assert_eq!(reader.read("rows").unwrap(), Tensor::from_slice(&[7, 3], &rows).unwrap());
    let columns: Vec<i64> = (0..10).collect();
    assert_eq!(reader.read("columns").unwrap(), Tensor::from_slice(&[2, 5], &columns).unwrap());
    let numbers: Vec<u8> = (0..8).collect();
    assert_eq!(reader.read("box").unwrap(), Tensor::from_slice(&[2, 2, 2], &numbers).unwrap());
    let words = Tensor::from_strings(&[3], [&b"one"[..], b"", b"\xff\x00three"]).unwrap();
    assert_eq!(reader.read("words").unwrap(), words);
    assert_eq!(reader.read_bytes("columns").unwrap().bytes().unwrap().len(), 80);
}

#[test]
fn types_that_no_tensor_holds_are_refused_by_name() {
    let reader = slices();
    let error = reader.read("float8").unwrap_err();
    assert!(
        matches!(&error, Error::Tensor(TensorError::UnsupportedDType { name: Some(name), .. }) if name == "float8"),
        "{error}"
    );
    assert!(error.to_string().contains("float8_e5m2"), "{error}");
    let raw = reader.read_bytes("float8").unwrap();
    assert_eq!((raw.dtype(), raw.bytes().unwrap()), (DType::UInt8, &[0x3c, 0xc0][..]));
    let error = reader.read_bytes("words").unwrap_err();
    assert!(matches!(error, Error::Tensor(TensorError::UnsupportedDType { dtype: DType::String, .. })), "{error}");
    for dtype in [20, 21] {
        let (_folder, prefix) = checkpoint(b"abc", &[(b"w", summed(dtype, &[1], 0, b"abc"))]);
        let reader = CheckpointReader::open(prefix).unwrap();
        assert!(reader.read("w").unwrap_err().to_string().contains("`w`: dtype"));
        reader.check().unwrap();
    }
}

#[test]
fn unknown_keys_are_refused_with_those_there_are() {
    let error = slices().read("row").unwrap_err().to_string();
    assert!(error.contains("has no variable `row`; it has `box`, `columns`, `float8`, `rows` and `words`"), "{error}");
}

#[test]
fn memory_is_aligned() {
    let (_folder, prefix) = checkpoint(&[7; 9], &[(b"w", summed(4, &[8], 1, &[7; 8]))]);
    let tensor = CheckpointReader::open(prefix).unwrap().read("w").unwrap();
    assert_eq!(tensor.bytes().unwrap(), [7; 8]);
    assert_eq!(tensor.bytes().unwrap().as_ptr() as usize % crate::tensor::ALIGNMENT, 0);
}

#[test]
fn empty_tensors_have_no_bytes() {
    let entries: &[(&[u8], Vec<u8>)] = &[(b"s", summed(7, &[0], 0, b"")), (b"w", summed(1, &[0, 3], 0, b""))];
    let (_folder, prefix) = checkpoint(b"", entries);
    let reader = CheckpointReader::open(prefix).unwrap();
    assert_eq!(reader.read("w").unwrap().shape(), [0, 3]);
    assert_eq!(reader.read("s").unwrap().len(), 0);
}

#[test]
fn a_wrong_checksum_is_told_by_name() {
    let value = summed(1, &[2], 0, &[1; 8]);
    let message = refusal(&[2; 8], &[(b"w", value)]);
    assert!(message.contains("data-00000-of-00001` is damaged: `w`: the checksum is wrong"), "{message}");
}

#[test]
fn a_shard_that_became_shorter_is_refused() {
    let strings = string_bytes(&[b"abc"]);
    for value in [summed(1, &[2], 0, &[1; 8]), summed(7, &[1], 0, &strings)] {
        let (_folder, prefix) = checkpoint(&[1; 16], &[(b"w", value)]);
        let reader = CheckpointReader::open(&prefix).unwrap();
        fs::write(shard_path(&prefix, 0, 1), [1; 5]).unwrap();
        assert!(reader.read("w").unwrap_err().to_string().contains("`w`: the file ends inside it"));
        fs::remove_file(shard_path(&prefix, 0, 1)).unwrap();
        assert!(reader.read("w").is_err());
        let reader = CheckpointReader::new(reader.index().clone());
        assert!(matches!(reader.read("w"), Err(Error::Io { .. })));
    }
}

/// Strings as a shard stores them.
fn string_bytes(strings: &[&[u8]]) -> Vec<u8> {
    let mut bytes: Vec<u8> = strings.iter().map(|string| string.len() as u8).collect();
    let lengths: Vec<u8> = strings.iter().flat_map(|string| (string.len() as u32).to_le_bytes()).collect();
    bytes.extend(masked(&lengths).to_le_bytes());
    bytes.extend(strings.concat());
    bytes
}

#[test]
fn strings_that_cannot_be_are_refused() {
    let whole = string_bytes(&[b"abc", b"de"]);
    let why = |bytes: &[u8]| refusal(bytes, &[(b"w", summed(7, &[2], 0, bytes))]);
    assert!(why(&whole).contains("`w`: the checksum is wrong"));
    let mut flipped = whole.clone();
    flipped[0] = 2;
    assert!(why(&flipped).contains("`w`: the checksum of the strings' lengths is wrong"));
    assert!(why(&whole[..5]).contains("lengths is cut off"));
    assert!(why(&whole[..9]).contains("the lengths of the strings are not those of its bytes"));
    assert!(why(&[0x80; 20]).contains("the length of a string cannot be read"));
    let mut huge = vec![0xff; 9];
    huge.extend([1, 0x7f, 0, 0, 0, 0]);
    assert!(why(&huge).contains("a string goes beyond the end"));
    assert!(refusal(b"", &[(b"w", entry(7, &[0], 0, 0, 0))]).contains("`w`: the checksum is wrong"));
}

/// `w`, int8 of `shape`, in slices of these rows at these offsets.
fn partitioned(shape: &[u64], slices: &[(u64, u64, u64)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut parent = entry(6, shape, 0, 0, 0);
    let mut rows = Vec::new();
    for (start, length, offset) in slices {
        let (mut extent, mut message) = (Vec::new(), Vec::new());
        number(&mut extent, 1, *start);
        number(&mut extent, 2, *length);
        delimited(&mut message, 1, &extent);
        delimited(&mut parent, 7, &message);
        let key = Slice(vec![Extent { start: *start, length: Some(*length) }]).key("w");
        rows.push((key, summed(6, &[*length], *offset, &vec![0; *length as usize])));
    }
    rows.sort();
    rows.push((b"w".to_vec(), parent));
    rows
}

#[test]
fn slices_that_do_not_make_a_whole_are_refused() {
    let read = |shape: &[u64], slices: &[(u64, u64, u64)]| {
        let rows = partitioned(shape, slices);
        let rows: Vec<(&[u8], Vec<u8>)> = rows.iter().map(|(key, value)| (key.as_slice(), value.clone())).collect();
        let (_folder, prefix) = checkpoint(&[0; 16], &rows);
        let reader = CheckpointReader::open(prefix).unwrap();
        let read = reader.read("w").map_err(|error| error.to_string());
        assert_eq!(reader.check().map_err(|error| error.to_string()).err(), read.as_ref().err().cloned());
        read
    };
    assert_eq!(read(&[4], &[(0, 2, 0), (2, 2, 2)]).unwrap(), Tensor::zeros(DType::Int8, &[4]).unwrap());
    let why = |shape: &[u64], slices: &[(u64, u64, u64)]| read(shape, slices).unwrap_err();
    assert!(why(&[4], &[(0, 2, 0)]).contains("`w`: its slices are not all of it"));
    assert!(why(&[1 << 50], &[(0, 2, 0), (2, 2, 2)]).contains("`w`: its slices are not all of it"));
    assert!(why(&[4], &[(0, 2, 0), (1, 2, 2)]).contains("`w`: two of its slices overlap"));
    assert!(why(&[4], &[(0, 2, 0), (2, 2, 1)]).contains("`w`: two of its slices use the same bytes"));
}

#[test]
fn models_read_with_right_checksums() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let mut tensors = 0;
    for model in fs::read_dir(models).unwrap() {
        let prefix = model.unwrap().path().join("model/variables/variables");
        if !index_path(&prefix).exists() {
            continue;
        }
        let reader = CheckpointReader::open(&prefix).unwrap();
        reader.check().unwrap();
        for entry in &reader.index().entries {
            let read = if matches!(entry.dtype, DType::Other(_)) {
                reader.read_bytes(&entry.key)
            } else {
                reader.read(&entry.key)
            };
            read.unwrap_or_else(|error| panic!("{error}"));
            tensors += 1;
        }
    }
    assert!(tensors > 20, "{tensors}");
}
