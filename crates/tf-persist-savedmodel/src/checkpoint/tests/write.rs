use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use proptest::prelude::*;

use crate::checkpoint::*;
use crate::error::{CheckpointError, Error, TensorError};
use crate::shape::InvalidShape;
use crate::{DType, Tensor};

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Writes a checkpoint again, its tensors in their order in the shard.
fn rewrite(reader: &CheckpointReader, prefix: &Path) -> CheckpointIndex {
    let mut entries: Vec<&Entry> = reader.index().entries.iter().collect();
    entries.sort_by_key(|entry| entry.parts[0].offset);
    let mut writer = CheckpointWriter::create(prefix).unwrap();
    for entry in entries {
        if matches!(entry.dtype, DType::Other(_)) {
            let raw = reader.read_bytes(&entry.key).unwrap();
            writer.add_bytes(&entry.key, entry.dtype, &entry.shape, raw.bytes().unwrap()).unwrap();
        } else {
            writer.add(&entry.key, &reader.read(&entry.key).unwrap()).unwrap();
        }
    }
    writer.finish().unwrap()
}

#[test]
fn what_tensorflow_wrote_is_written_again_byte_for_byte() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let mut same = 0;
    for model in fs::read_dir(models).unwrap() {
        let original = model.unwrap().path().join("model/variables/variables");
        if !shard_path(&original, 0, 1).exists() {
            continue;
        }
        let reader = CheckpointReader::open(&original).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("variables");
        assert_eq!(rewrite(&reader, &copy).entries, reader.index().entries, "{}", original.display());
        let equal = |a, b| fs::read(a).unwrap() == fs::read(b).unwrap();
        assert!(equal(shard_path(&original, 0, 1), shard_path(&copy, 0, 1)), "{}", original.display());
        assert!(equal(index_path(&original), index_path(&copy)), "{}", original.display());
        same += 1;
    }
    assert!(same >= 5, "{same}");
}

#[test]
fn pieces_are_written_as_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let value = Tensor::from_slice(&[2, 3], &[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    let bytes = value.bytes().unwrap();
    let (whole, pieces) = (folder.path().join("whole"), folder.path().join("pieces"));
    let mut writer = CheckpointWriter::create(&whole).unwrap();
    writer.add("a", &value).unwrap();
    writer.finish().unwrap();
    let mut writer = CheckpointWriter::create(&pieces).unwrap();
    writer.add_pieces("a", DType::Float32, &[2, 3], |give| bytes.chunks(5).try_for_each(give)).unwrap();
    writer.finish().unwrap();
    let equal = |a, b| fs::read(a).unwrap() == fs::read(b).unwrap();
    assert!(equal(shard_path(&whole, 0, 1), shard_path(&pieces, 0, 1)));
    assert!(equal(index_path(&whole), index_path(&pieces)));

    // Too few bytes, and an error of the one who gives them.
    for length in [23, 25] {
        let mut writer = CheckpointWriter::create(folder.path().join("wrong")).unwrap();
        let added = writer.add_pieces("a", DType::Float32, &[2, 3], |give| give(&vec![0; length]));
        assert!(matches!(added, Err(Error::Tensor(TensorError::InvalidShape(_)))));
        assert!(writer.finish().is_err());
    }
    let mut writer = CheckpointWriter::create(folder.path().join("wrong")).unwrap();
    let failing = writer.add_pieces("a", DType::Float32, &[1], |_| Err(Error::data("it", "fails")));
    assert!(failing.is_err() && writer.finish().is_err());
}

#[test]
fn nothing_is_to_be_seen_before_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("a/b/step-1");
    let mut writer = CheckpointWriter::create(&prefix).unwrap();
    writer.add("w", &Tensor::scalar(1.0_f32).unwrap()).unwrap();
    assert!(names(&folder.path().join("a/b")).iter().all(|name| name.starts_with('.')));
    drop(writer);
    assert!(names(&folder.path().join("a/b")).is_empty());
    let mut writer = CheckpointWriter::create(&prefix).unwrap();
    writer.add("w", &Tensor::scalar(1.0_f32).unwrap()).unwrap();
    let index = writer.finish().unwrap();
    assert_eq!(names(&folder.path().join("a/b")), ["step-1.data-00000-of-00001", "step-1.index"]);
    assert_eq!(CheckpointIndex::open(&prefix).unwrap(), index);
    fs::write(folder.path().join("other"), "").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&index_path(&prefix)), mode(&folder.path().join("other")));
}

#[test]
fn an_empty_checkpoint_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("none");
    assert!(CheckpointWriter::create(&prefix).unwrap().finish().unwrap().entries.is_empty());
    assert!(CheckpointIndex::open(&prefix).unwrap().entries.is_empty());
}

#[test]
fn a_checkpoint_that_is_there_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("step");
    let late = CheckpointWriter::create(&prefix).unwrap();
    // A shard without an index is what a writer left that was stopped.
    fs::write(shard_path(&prefix, 0, 1), "left").unwrap();
    let mut first = CheckpointWriter::create(&prefix).unwrap();
    first.add("w", &Tensor::scalar(1_i32).unwrap()).unwrap();
    first.finish().unwrap();
    assert!(matches!(CheckpointWriter::create(&prefix), Err(Error::Exists { .. })));
    assert!(matches!(late.finish(), Err(Error::Exists { .. })));
    assert_eq!(names(folder.path()).len(), 2);
    assert_eq!(CheckpointReader::open(&prefix).unwrap().read("w").unwrap(), Tensor::scalar(1_i32).unwrap());
}

#[test]
fn keys_and_bytes_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = CheckpointWriter::create(folder.path().join("step")).unwrap();
    let one = Tensor::scalar(1.0_f32).unwrap();
    writer.add("w", &one).unwrap();
    assert!(writer.add("w", &one).unwrap_err().to_string().contains("`w`: the checkpoint has one with this key"));
    for key in ["", "\0slice"] {
        assert!(writer.add(key, &one).unwrap_err().to_string().contains("keeps such keys for itself"));
    }
    let shape = |error| matches!(error, Error::Tensor(TensorError::InvalidShape(InvalidShape { .. })));
    assert!(shape(writer.add_bytes("b", DType::Float32, &[2], &[0; 7]).unwrap_err()));
    assert!(shape(writer.add_bytes("b", DType::Float32, &[usize::MAX, 2], &[0; 8]).unwrap_err()));
    for dtype in [DType::String, DType::Resource, DType::Other(99)] {
        let error = writer.add_bytes("b", dtype, &[1], &[0]).unwrap_err();
        assert!(matches!(error, Error::Tensor(TensorError::UnsupportedDType { .. })), "{error}");
    }
    let keys: Vec<String> = writer.finish().unwrap().entries.into_iter().map(|entry| entry.key).collect();
    assert_eq!(keys, ["w"]);
}

#[test]
fn tensors_of_another_checkpoint_are_added() {
    let slices =
        CheckpointReader::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/checkpoint/testdata/slices")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("step");
    let mut writer = CheckpointWriter::create(&prefix).unwrap();
    for entry in &slices.index().entries {
        writer.add_from(&format!("new/{}", entry.key), &slices, &entry.key).unwrap();
    }
    assert!(writer.add_from("new/rows", &slices, "rows").unwrap_err().to_string().contains("one with this key"));
    assert!(matches!(
        writer.add_from("x", &slices, "nothing"),
        Err(Error::Checkpoint(CheckpointError::UnknownVariable { .. }))
    ));
    let index = writer.finish().unwrap();
    // What was in slices is in one piece.
    assert!(index.entries.iter().all(|entry| !entry.is_partitioned()));
    let written = CheckpointReader::open(&prefix).unwrap();
    for entry in &slices.index().entries {
        let key = format!("new/{}", entry.key);
        if entry.dtype == DType::String {
            assert_eq!(written.read(&key).unwrap(), slices.read(&entry.key).unwrap());
        } else {
            assert_eq!(written.read_bytes(&key).unwrap(), slices.read_bytes(&entry.key).unwrap(), "{key}");
            assert_eq!(written.index().get(&key).unwrap().shape, entry.shape);
        }
    }

    // A damaged one spoils the checkpoint, which then is never seen.
    let mut bytes = fs::read(shard_path(&prefix, 0, 1)).unwrap();
    let place = written.index().get("new/float8").unwrap().parts[0].offset as usize;
    bytes[place] ^= 1;
    fs::write(shard_path(&prefix, 0, 1), bytes).unwrap();
    let mut writer = CheckpointWriter::create(folder.path().join("next")).unwrap();
    let error = writer.add_from("float8", &written, "new/float8").unwrap_err();
    assert!(error.to_string().contains("`new/float8`: the checksum is wrong"), "{error}");
    assert!(writer.finish().is_err());
    assert_eq!(names(folder.path()).len(), 2);
}

#[test]
fn a_folder_that_is_a_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(matches!(CheckpointWriter::create(folder.path().join("file/step")), Err(Error::Io { .. })));
    for prefix in ["/", "a/"] {
        assert!(matches!(CheckpointWriter::create(prefix), Err(Error::Io { .. })));
    }
}

fn tensors() -> impl Strategy<Value = Tensor> {
    let shape = prop::collection::vec(0_usize..4, 0..4);
    let dtype = prop::sample::select(vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 18, 19, 22, 23]);
    (shape, dtype, any::<u64>()).prop_map(|(shape, dtype, seed)| {
        let dtype = DType::from_number(dtype);
        let count: usize = shape.iter().product();
        let mut state = seed | 1;
        let mut byte = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        match dtype.size() {
            None => Tensor::from_strings(&shape, (0..count).map(|_| vec![byte(); usize::from(byte())])).unwrap(),
            Some(size) => {
                let bytes: Vec<u8> = (0..count * size).map(|_| byte()).collect();
                Tensor::from_bytes(dtype, &shape, &bytes).unwrap()
            }
        }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(all in prop::collection::btree_map("[a-c/]{1,12}", tensors(), 0..40)) {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let mut writer = CheckpointWriter::create(folder.path().join(name)).unwrap();
            all.iter().for_each(|(key, tensor)| writer.add(key, tensor).unwrap());
            writer.finish().unwrap()
        };
        let index = write("a");
        let reader = CheckpointReader::open(folder.path().join("a")).unwrap();
        prop_assert_eq!(reader.index(), &index);
        prop_assert_eq!(index.entries.len(), all.len());
        for (key, tensor) in &all {
            prop_assert_eq!(&reader.read(key).unwrap(), tensor);
        }
        // Equal tensors make equal files.
        prop_assert_eq!(write("b").fingerprint(), index.fingerprint());
    }

    /// A changed byte of a shard is always found, and costs one tensor.
    #[test]
    fn a_changed_byte_is_found(all in prop::collection::vec(tensors(), 1..6), place: prop::sample::Index, flip in 1_u8..) {
        let folder = tempfile::tempdir().unwrap();
        let prefix = folder.path().join("step");
        let mut writer = CheckpointWriter::create(&prefix).unwrap();
        for (number, tensor) in all.iter().enumerate() {
            writer.add(&format!("v{number}"), tensor).unwrap();
        }
        writer.finish().unwrap();
        let mut bytes = fs::read(shard_path(&prefix, 0, 1)).unwrap();
        prop_assume!(!bytes.is_empty());
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        fs::write(shard_path(&prefix, 0, 1), bytes).unwrap();
        let reader = CheckpointReader::open(&prefix).unwrap();
        for (number, tensor) in all.iter().enumerate() {
            let key = format!("v{number}");
            let part = &reader.index().get(&key).unwrap().parts[0];
            let hit = (part.offset..part.offset + part.bytes).contains(&(place as u64));
            match reader.read(&key) {
                Ok(read) => prop_assert!(!hit && read == *tensor),
                Err(error) => prop_assert!(hit && error.to_string().contains(&key), "{}", error),
            }
        }
    }
}
