//! Files of other programs with the name of a Keras file: the error says what they are, and the hint what would help.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use tf_persist_keras::{OpenOptions, fuzzing};
use tf_persist_savedmodel::Error;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in entries {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Checks that an error says this, in one sentence, and what would help.
#[track_caller]
fn says(error: &Error, expected: &str) {
    let text = error.to_string();
    assert!(text.contains(expected), "{text}");
    assert!(!text.contains('\n') && error.hint().is_some(), "{text}");
}

#[test]
fn files_of_other_programs_are_named() {
    let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    for (bytes, expected) in [
        (Vec::new(), "it is empty"),
        (b"<!DOCTYPE html>\n<html>".to_vec(), "it is a web page"),
        (lfs.to_vec(), "it is a pointer of Git LFS"),
        (b"\x80\x04\x95\x10\0".to_vec(), "it is a Python pickle"),
        (b"\x1c\0\0\0TFL3".to_vec(), "it is a TensorFlow Lite model"),
        (b"\x08\x07\x12\x07pytorch".to_vec(), "it is an ONNX model"),
        (b"\x1f\x8b\x08\0".to_vec(), "it is compressed with gzip"),
        (b"\x93NUMPY\x01\0".to_vec(), "it is an array of numpy"),
        (b"anything else".to_vec(), "it is neither a zip archive (`.keras`) nor an HDF5 file (`.h5`)"),
        (archive(&[("archive/data.pkl", "")]), "it is a file of PyTorch"),
        (archive(&[("arr_0.npy", "")]), "it is an archive of numpy"),
        (archive(&[("model/config.json", "{}")]), "its files are in a folder `model`"),
        (archive(&[("word/document.xml", "")]), "it is a zip archive without `config.json`"),
        (archive(&[("config.json", "{}")]), "it has no `model.weights.h5`"),
    ] {
        says(&fuzzing::open(bytes).unwrap_err(), expected);
    }
}

#[test]
fn models_whose_code_is_elsewhere_are_named() {
    let config = r#"{"module": "keras_hub.src.models", "class_name": "BertBackbone", "config": {"num_layers": 2},
        "registered_name": "keras_hub>BertBackbone"}"#;
    let file = fuzzing::keras_file(config.as_bytes(), Some("3.15.1")).unwrap();
    let error = fuzzing::open(file).unwrap_err();
    assert!(error.to_string().contains("(BertBackbone): the whole model is of this class"), "{error}");

    let old = r#"{"class_name": "Sequential", "config": [{"class_name": "Dense", "config": {"name": "dense_1", "output_dim": 3,
        "init": "uniform", "batch_input_shape": [null, 4]}}]}"#;
    says(&fuzzing::open(fuzzing::keras_file(old.as_bytes(), None).unwrap()).unwrap_err(), "it was written by Keras 1");
    let new = r#"{"class_name": "Sequential", "config": {"layers": []}}"#;
    let error = fuzzing::open(fuzzing::keras_file(new.as_bytes(), Some("4.0.0")).unwrap()).unwrap_err();
    says(&error, "it was written by Keras 4.0.0");
}

#[test]
fn files_that_are_missing_beside_others_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let open =
        |file: &Path, architecture: &Path| OpenOptions::default().architecture(architecture).open(file).unwrap_err();
    fs::write(path("model.json"), r#"{"class_name": "Sequential", "config": {"layers": []}}"#).unwrap();
    fs::write(path("x.weights.json"), r#"{"weight_map": {"/layers/dense/vars": ["x_00000.weights.h5"]}}"#).unwrap();
    says(&open(&path("x.weights.json"), &path("model.json")), "`x_00000.weights.h5` is missing");
    fs::write(path("model.keras"), archive(&[("config.json", "{}")])).unwrap();
    says(&open(&path("model.keras"), &path("model.json")), "it has a model of its own");
}
