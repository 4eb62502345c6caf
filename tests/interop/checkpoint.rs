//! Python reads the checkpoints that we write, and we read those that TensorFlow wrote, with the same numbers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tf_persist_core::checkpoint::{CheckpointReader, CheckpointWriter, OBJECT_GRAPH_KEY, index_path};
use tf_persist_core::tensor::npz;
use tf_persist_core::{DType, Tensor};
use tf_persist_testing::root;

use crate::python;

/// Every dtype of tensors that a checkpoint may have.
const DTYPES: [DType; 20] = [
    DType::Float32,
    DType::Float64,
    DType::Int32,
    DType::UInt8,
    DType::Int16,
    DType::Int8,
    DType::Complex64,
    DType::Int64,
    DType::Bool,
    DType::QInt8,
    DType::QUInt8,
    DType::QInt32,
    DType::BFloat16,
    DType::QInt16,
    DType::QUInt16,
    DType::UInt16,
    DType::Complex128,
    DType::Float16,
    DType::UInt32,
    DType::UInt64,
];

/// A checkpoint with tensors of every dtype and of several shapes.
fn write(prefix: &Path) {
    let mut writer = CheckpointWriter::create(prefix).unwrap();
    for dtype in DTYPES {
        let size = dtype.size().unwrap();
        for shape in [&[][..], &[2, 3], &[0, 4], &[257]] {
            let length = shape.iter().product::<usize>() * size;
            let bytes: Vec<u8> = match dtype {
                DType::Bool => (0..length).map(|index| (index % 3 == 0).into()).collect(),
                _ => (0..length).map(|index| (index * 37 + 11) as u8).collect(),
            };
            let name = format!("{dtype}/{}", shape.len() + shape.first().unwrap_or(&0));
            writer.add(&name, &Tensor::from_bytes(dtype, shape, &bytes).unwrap()).unwrap();
        }
    }
    // Enough long keys that the index has several blocks.
    for number in 0..3000 {
        let name = format!("{}{number}", "layer/".repeat(20));
        writer.add(&name, &Tensor::scalar(number).unwrap()).unwrap();
    }
    writer.add("words", &Tensor::from_strings(&[2, 2], ["a", "", "ccc", &"d".repeat(300)]).unwrap()).unwrap();
    writer.add("no words", &Tensor::from_strings::<&str>(&[0], []).unwrap()).unwrap();
    let float8 = DType::from_name("float8_e5m2").unwrap();
    writer.add_bytes("float8", float8, &[3], &[0x3c, 0xc0, 0x00]).unwrap();
    writer.finish().unwrap();
}

/// We must read the same tensors as `checks.read_checkpoint`.
fn compare(prefix: &Path, archive: &Path) {
    let python: BTreeMap<String, Tensor> = npz::read_file(archive).unwrap().into_iter().collect();
    let reader = CheckpointReader::open(prefix).unwrap();
    let about = prefix.display();
    // TensorFlow writes strings in slices, but cannot read them.
    let entries = reader.index().entries.iter();
    let entries: Vec<_> = entries.filter(|entry| entry.dtype != DType::String || !entry.is_partitioned()).collect();
    assert_eq!(python.len(), entries.len(), "{about}");
    for entry in entries {
        // It may end in a zero byte, which numpy's strings cannot.
        if entry.key == OBJECT_GRAPH_KEY {
            continue;
        }
        let theirs = &python[&entry.key];
        assert_eq!(theirs.shape(), entry.shape, "{about}: {}", entry.key);
        if entry.dtype == DType::String {
            assert_eq!(
                reader.read(&entry.key).unwrap().strings().unwrap(),
                theirs.strings().unwrap(),
                "{about}: {}",
                entry.key
            );
        } else {
            let ours = reader.read_bytes(&entry.key).unwrap();
            assert_eq!(ours.bytes().unwrap(), theirs.bytes().unwrap(), "{about}: {}", entry.key);
        }
    }
}

#[test]
fn python_reads_what_we_read_and_write() {
    let work = tempfile::tempdir().unwrap();
    let written = work.path().join("written");
    write(&written);
    let models = fs::read_dir(root().join("models")).unwrap();
    let models = models.map(|model| model.unwrap().path().join("model/variables/variables"));
    let mut prefixes: Vec<PathBuf> = models.filter(|prefix| index_path(prefix).exists()).collect();
    prefixes.push(written);
    prefixes.push(root().join("crates/tf-persist-savedmodel/src/checkpoint/testdata/slices"));
    let archive = |number: usize| work.path().join(format!("{number}.npz"));
    let pairs = prefixes.iter().enumerate();
    let pairs = pairs.map(|(number, prefix)| format!("{}={}", prefix.display(), archive(number).display()));
    python::run("checks.read_checkpoint", pairs);
    for (number, prefix) in prefixes.iter().enumerate() {
        compare(prefix, &archive(number));
    }
}
