//! Names of targets that promise a file of another format.

use std::path::Path;

use crate::error::{Error, Result};

/// Extensions of files that hold models or tensors, and what they are.
const FORMATS: [(&str, &str); 30] = [
    ("bin", "a file of raw weights"),
    ("caffemodel", "a Caffe model"),
    ("ckpt", "a checkpoint"),
    ("engine", "a TensorRT engine"),
    ("gguf", "a GGUF file"),
    ("gz", "an archive"),
    ("h5", "a Keras file"),
    ("hdf5", "a Keras file"),
    ("joblib", "a file of Python objects"),
    ("json", "a JSON file"),
    ("keras", "a Keras file"),
    ("lite", "a TensorFlow Lite model"),
    ("mlmodel", "a Core ML model"),
    ("mlpackage", "a Core ML model"),
    ("npy", "a file of numpy arrays"),
    ("npz", "a file of numpy arrays"),
    ("onnx", "an ONNX model"),
    ("pb", "a graph alone"),
    ("pbtxt", "a graph alone"),
    ("pickle", "a file of Python objects"),
    ("pkl", "a file of Python objects"),
    ("plan", "a TensorRT engine"),
    ("pt", "a PyTorch model"),
    ("pt2", "a PyTorch model"),
    ("pth", "a PyTorch model"),
    ("safetensors", "a safetensors file"),
    ("tar", "an archive"),
    ("tflite", "a TensorFlow Lite model"),
    ("tgz", "an archive"),
    ("zip", "an archive"),
];

/// Refuses a name that promises a file of a format that is not written: a folder of this name would mislead. A folder
/// that is there already was named by somebody else.
pub(super) fn check(target: &Path) -> Result<()> {
    let extension = target.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    let format = FORMATS.iter().find(|(known, _)| extension.as_deref() == Some(known));
    match format {
        Some((extension, format)) if !target.is_dir() => Err(Error::Unsupported {
            path: target.to_path_buf(),
            reason: format!("`.{extension}` names {format}, and a SavedModel is written"),
            hint: Some("name a folder, such as `model`, or a file `model.tfpack`".into()),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_formats_are_refused() {
        assert!(FORMATS.is_sorted());
        for name in ["m.onnx", "a/m.TFLite", "m.pb", "m.pt", "m.safetensors", "m.keras", "m.tar.gz"] {
            let error = check(Path::new(name)).unwrap_err();
            assert!(error.to_string().contains(" names "), "{error}");
            assert!(error.hint().is_some());
        }
        for name in ["m", "m.v1", "m.2", "onnx", ".onnx", "m.onnx.d", "m.tfpack", "m.savedmodel", "m.tf"] {
            check(Path::new(name)).unwrap();
        }
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("m.pb");
        std::fs::create_dir(&folder).unwrap();
        check(&folder).unwrap();
    }
}
