//! Files of h5py, of this crate's writer and of Keras, and files with changed bytes.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use half::{bf16, f16};
use tf_persist_savedmodel::{DType, Tensor};

use super::*;
use crate::archive::Attribute;
use crate::archive::hdf5_writer;
use crate::archive::zip::KerasZip;

/// What `testdata/make.py` writes, with h5py's oldest and newest form of the format.
const OF_H5PY: [&[u8]; 2] = [include_bytes!("testdata/earliest.h5"), include_bytes!("testdata/latest.h5")];

fn open(bytes: &[u8]) -> Hdf5 {
    Hdf5::open(Bytes::copy_from_slice(bytes), Path::new("a.h5")).unwrap()
}

fn read(file: &Hdf5, path: &str) -> Tensor {
    file.dataset(path).unwrap().unwrap().read().unwrap()
}

/// Reads all that is in a file, as far as it can be read.
fn visit(bytes: Bytes) -> Result<usize> {
    let file = Hdf5::open(bytes, Path::new("a.h5"))?;
    let (mut groups, mut visited) = (vec![file.root()?], 0);
    while let Some(group) = groups.pop() {
        visited += 1;
        let _ = group.attributes();
        let _ = group.texts("names");
        let Ok(members) = group.members() else { continue };
        for name in members.datasets {
            let Ok(Some(dataset)) = group.dataset(&name) else { continue };
            visited += 1;
            let _ = dataset.attributes();
            if let Ok(tensor) = dataset.read() {
                assert_eq!(tensor.shape(), dataset.shape());
            }
        }
        groups.extend(members.groups.iter().filter_map(|name| group.group(name).ok().flatten()));
    }
    Ok(visited)
}

#[test]
fn files_of_h5py_are_read() {
    let numbers: Vec<f32> = (0_u8..60).map(f32::from).collect();
    for bytes in OF_H5PY {
        let file = open(bytes);
        for name in ["plain", "deflated"] {
            assert_eq!(read(&file, name), Tensor::from_slice(&[3, 4, 5], &numbers).unwrap());
        }
        assert_eq!(read(&file, "half").view::<f16>().unwrap(), [0.5, -2.0].map(f16::from_f32));
        assert_eq!(read(&file, "big").view::<i64>().unwrap(), [1, -2, 3, 1 << 40]);
        assert_eq!(read(&file, "bools").view::<bool>().unwrap(), [true, false]);
        assert_eq!(read(&file, "brain").view::<bf16>().unwrap(), [1.0, -3.0].map(bf16::from_f32));
        assert_eq!(read(&file, "texts"), Tensor::from_strings(&[3], ["a", "zwölf", ""]).unwrap());
        assert_eq!(read(&file, "fixed"), Tensor::from_strings(&[2], ["a", "bcd"]).unwrap());
        assert_eq!(read(&file, "/layers/dense/vars/0/"), Tensor::scalar(0.25).unwrap());
        assert_eq!(file.dataset("brain").unwrap().unwrap().dtype().unwrap(), DType::BFloat16);
        let root = file.root().unwrap();
        assert_eq!(root.text("name").unwrap().unwrap(), "é");
        assert_eq!(root.attribute("bytes").unwrap(), Some(Attribute::FixedText("fixed".into())));
        assert_eq!(root.texts("names").unwrap().unwrap(), ["a", "bcd"]);
        assert_eq!(
            root.attribute("big").unwrap(),
            Some(Attribute::Numbers(Tensor::from_slice(&[2], &[1.5, -1.0]).unwrap()))
        );
        assert_eq!(root.texts("empty").unwrap(), Some(Vec::new()));
        let dense = file.group("layers/dense").unwrap().unwrap();
        let all: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        assert_eq!(dense.texts("list").unwrap().unwrap(), all);
        assert_eq!(file.datasets().unwrap().len(), 10);
    }
}

#[test]
fn what_is_absent_is_none() {
    let file = open(OF_H5PY[0]);
    assert!(file.dataset("layers").unwrap().is_none() && file.dataset("none/plain").unwrap().is_none());
    assert!(file.dataset("").unwrap().is_none() && file.dataset("plain/x").unwrap().is_none());
    assert!(file.group("plain").unwrap().is_none() && file.group("layers/none").unwrap().is_none());
    assert!(file.root().unwrap().attribute("none").unwrap().is_none());
    assert!(file.root().unwrap().texts("other").unwrap().is_none());
}

#[test]
fn errors_name_the_file_and_the_object() {
    let file = open(OF_H5PY[0]);
    let compound = file.dataset("compound").unwrap().unwrap();
    let error = compound.read().unwrap_err();
    assert_eq!(error.to_string(), "`a.h5` cannot be used: its dataset `/compound` has compound elements");
    assert_eq!(compound.dtype().unwrap_err().to_string(), error.to_string());
    let error = file.root().unwrap().text("big").unwrap_err();
    assert_eq!(error.to_string(), "`a.h5` cannot be used: its group `/` has an attribute `big` that is no text");
    let error = Hdf5::open(Bytes::from_static(b"PK\x03\x04"), Path::new("a.h5")).unwrap_err();
    assert_eq!(error.to_string(), "`a.h5` is damaged: it cannot be read as HDF5: invalid HDF5 magic bytes");
    let short = Hdf5::open(Bytes::copy_from_slice(&OF_H5PY[0][..6000]), Path::new("a.h5")).unwrap();
    assert!(short.datasets().unwrap_err().to_string().contains("`a.h5` is damaged: its "));
}

#[test]
fn declared_sizes_are_bounded() {
    let mut root = hdf5_writer::Group::default();
    root.insert("a", Tensor::from_slice(&[7777], &[0_u8; 7777]).unwrap()).unwrap();
    let bytes = root.to_bytes().unwrap();
    // The size is in the dataspace twice, and in the layout.
    let changed = |size: u64, places: usize| {
        let mut bytes = bytes.clone();
        let found = (0..bytes.len() - 8).filter(|at| bytes[*at..at + 8] == 7777_u64.to_le_bytes());
        for at in found.take(places).collect::<Vec<_>>() {
            bytes[at..at + 8].copy_from_slice(&size.to_le_bytes());
        }
        open(&bytes).dataset("a").unwrap().unwrap().read()
    };
    assert_eq!(changed(7777, 3).unwrap().len(), 7777);
    for size in [7785, 9000, 1 << 40, 1 << 62, u64::MAX] {
        for places in [2, 3] {
            assert!(changed(size, places).is_err(), "{size}");
        }
    }
    assert!(changed(1 << 40, 3).unwrap_err().to_string().contains("are more than"));
}

#[test]
fn objects_with_two_paths_are_refused() {
    let mut root = hdf5_writer::Group::default();
    root.group("outer/inner").unwrap();
    root.insert("outer/other/a", Tensor::scalar(1_u8).unwrap()).unwrap();
    let bytes = root.to_bytes().unwrap();
    let headers = |path: &str| open(&bytes).group(path).unwrap().unwrap();
    assert_eq!(headers("outer/inner").path(), "outer/inner");
    // Every address that is the header of a group becomes that of the group around it: a cycle.
    let symbols: Vec<usize> = (0..bytes.len() - 4).filter(|at| &bytes[*at..at + 4] == b"SNOD").collect();
    let address = |symbol: usize| u64::from_le_bytes(bytes[symbol + 16..symbol + 24].try_into().unwrap());
    // The last table is the root's, with the header of `outer`.
    let outer = address(*symbols.last().unwrap());
    let mut cyclic = bytes.clone();
    for symbol in &symbols {
        cyclic[symbol + 16..symbol + 24].copy_from_slice(&outer.to_le_bytes());
    }
    let error = open(&cyclic).datasets().unwrap_err().to_string();
    assert_eq!(error, "`a.h5` is damaged: its objects `outer` and `outer/inner` are the same one");
}

#[test]
fn no_changed_bytes_make_it_panic() {
    let mut files: Vec<Vec<u8>> = OF_H5PY.map(<[u8]>::to_vec).into();
    files.push(hdf5_writer::tests::everything().to_bytes().unwrap());
    let mut random = 1_u64;
    let mut next = |below: usize| {
        // Knuth's MMIX generator.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for whole in &files {
        assert!(visit(Bytes::copy_from_slice(whole)).unwrap() > 10);
        for _ in 0..200 {
            let mut bytes = whole.clone();
            for _ in 0..=next(3) {
                let at = next(bytes.len().min(16_000));
                bytes[at] = [0, 1, 0x7F, 0x80, 0xFF, next(256) as u8][next(6)];
            }
            if next(8) == 0 {
                bytes.truncate(next(whole.len()));
            }
            let start = Instant::now();
            let _ = visit(bytes.into());
            assert!(start.elapsed() < Duration::from_secs(20));
        }
    }
}

/// Every `.h5` and `.keras` file of the folder of cases that the environment names.
fn cases() -> Vec<PathBuf> {
    let Some(folder) = env::var_os("TF_PERSIST_KERAS_CASES") else { return Vec::new() };
    let mut files = Vec::new();
    for case in fs::read_dir(folder).unwrap() {
        let case = case.unwrap().path();
        if case.is_dir() {
            files.extend(fs::read_dir(case).unwrap().map(|file| file.unwrap().path()));
        }
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "h5" || extension == "keras"));
    files.sort();
    files
}

fn open_case(path: &Path) -> Hdf5 {
    if path.extension().is_some_and(|extension| extension == "h5") {
        return Hdf5::open_file(path).unwrap();
    }
    Hdf5::open(KerasZip::open(path).unwrap().read("model.weights.h5").unwrap(), path).unwrap()
}

/// Copies a group to one that is to be written.
fn copy(from: &Group, to: &mut hdf5_writer::Group) {
    for (name, value) in from.attributes().unwrap() {
        to.set(&name, value);
    }
    let members = from.members().unwrap();
    for name in &members.datasets {
        let dataset = from.dataset(name).unwrap().unwrap();
        let tensor = dataset.read().unwrap();
        assert_eq!((tensor.dtype(), tensor.shape()), (dataset.dtype().unwrap(), dataset.shape()));
        let copied = to.insert(name, tensor).unwrap();
        dataset.attributes().unwrap().into_iter().for_each(|(name, value)| copied.set(&name, value));
    }
    for name in &members.groups {
        copy(&from.group(name).unwrap().unwrap(), to.group(name).unwrap());
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that did nothing says so")]
fn every_case_is_read_and_written_again() {
    let files = cases();
    if files.is_empty() {
        eprintln!("skipped: TF_PERSIST_KERAS_CASES names no folder of cases");
    }
    for path in files {
        let file = open_case(&path);
        let mut root = hdf5_writer::Group::default();
        copy(&file.root().unwrap(), &mut root);
        let written = Hdf5::open(Bytes::from(root.to_bytes().unwrap()), &path).unwrap();
        let (before, after) = (file.datasets().unwrap(), written.datasets().unwrap());
        assert_eq!(before.len(), after.len(), "{}", path.display());
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before.path(), after.path(), "{}", path.display());
            assert_eq!(before.read().unwrap(), after.read().unwrap(), "{}", path.display());
            assert_eq!(before.attributes().unwrap(), after.attributes().unwrap(), "{}", path.display());
        }
    }
}
