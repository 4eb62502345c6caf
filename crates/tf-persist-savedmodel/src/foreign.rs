//! Files of other programs and of other formats of machine learning, which people name where a model belongs.

use std::ffi::OsStr;
use std::path::Path;

use crate::error::Hint;

/// Recognizes a file by its first 64 bytes, and by the end of its name where its format has no mark. Gives what it is,
/// as the rest of "it is …", and what would help.
#[must_use]
pub fn recognize(path: &Path, beginning: &[u8]) -> Option<(&'static str, Hint)> {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
    let named = |extensions: &[&str]| extensions.contains(&extension.as_str());
    if beginning.is_empty() {
        return Some(("empty", "copy it again from where it was made".into()));
    }
    if beginning.get(4..8) == Some(b"TFL3") {
        return Some(("a TensorFlow Lite model", "export a SavedModel from the model that it was made of".into()));
    }
    let is_zip = beginning.starts_with(b"PK\x03\x04");
    if named(&["pt", "pth"]) || is_zip && contains(beginning, b"data.pkl") {
        return Some(("a file of PyTorch", "make the model in Keras or TensorFlow, and save it there".into()));
    }
    if named(&["pkl", "pickle", "joblib"]) || matches!(beginning, [0x80, 2..=5, ..]) {
        let hint = "load it in Python, and save its model with `model.save(\"model.keras\")`";
        return Some(("a Python pickle, which holds code and is never run", hint.into()));
    }
    if named(&["onnx"]) || matches!(beginning, [8, 1..=20, 0x12, 1..=40, ..]) {
        return Some(("an ONNX model", "export a SavedModel from the model that it was made of".into()));
    }
    if named(&["safetensors"]) || beginning.get(8..10) == Some(b"{\"") && beginning.get(4..8) == Some(&[0; 4]) {
        let hint = "load it in Python into its model, and save that with `model.save(\"model.keras\")`";
        return Some(("a file of weights (safetensors) without a model", hint.into()));
    }
    if beginning.starts_with(b"\x93NUMPY") {
        return Some(("an array of numpy", "name the model, and give arrays as inputs".into()));
    }
    if beginning.starts_with(&[0x1f, 0x8b]) {
        return Some(("compressed with gzip", "uncompress it first: `gunzip`, or `tar -xzf`".into()));
    }
    None
}

/// Whether a zip archive begins as Keras writes `.keras` files.
pub(crate) fn is_keras_archive(beginning: &[u8]) -> bool {
    let name = beginning.get(30..).unwrap_or_default();
    beginning.starts_with(b"PK\x03\x04") && (name.starts_with(b"metadata.json") || name.starts_with(b"config.json"))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_are_told() {
        let zip = |name: &[u8]| [b"PK\x03\x04".as_slice(), &[0; 26], name].concat();
        for (name, begins, expected) in [
            ("a.keras", Vec::new(), "empty"),
            ("a.keras", b"\x1c\0\0\0TFL3".to_vec(), "a TensorFlow Lite model"),
            ("a.keras", zip(b"archive/data.pkl"), "a file of PyTorch"),
            ("a.pth", b"\x80\x02}".to_vec(), "a file of PyTorch"),
            ("a.h5", b"\x80\x04\x95".to_vec(), "a Python pickle, which holds code and is never run"),
            ("a.keras", b"\x08\x07\x12\x07pytorch".to_vec(), "an ONNX model"),
            ("a", b"\x30\0\0\0\0\0\0\0{\"a\"".to_vec(), "a file of weights (safetensors) without a model"),
            ("a.keras", b"\x93NUMPY\x01".to_vec(), "an array of numpy"),
            ("a.keras", b"\x1f\x8b\x08".to_vec(), "compressed with gzip"),
        ] {
            assert_eq!(recognize(Path::new(name), &begins).map(|(what, _)| what), Some(expected));
        }
        for begins in
            [zip(b"config.json"), b"\x89HDF\r\n\x1a\n".to_vec(), b"\x08\x01".to_vec(), b"\n\x03\n\x01".to_vec()]
        {
            assert_eq!(recognize(Path::new("a.keras"), &begins), None);
        }
        assert!(is_keras_archive(&zip(b"metadata.json")) && !is_keras_archive(&zip(b"archive/data.pkl")));
    }
}
