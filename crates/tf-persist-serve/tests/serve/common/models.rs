//! Models, and where TensorFlow is.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tf_persist_core::checkpoint::{CheckpointReader, CheckpointWriter};
use tf_persist_core::runtime::{Runtime, Search};
use tf_persist_core::{LoadOptions, Tensor};
use tf_persist_testing::{conformance, copy_folder, libtensorflow, model, skipped};

/// Where the tests look for libtensorflow.
pub(crate) fn search() -> Search {
    Search::only(libtensorflow())
}

/// Options of sessions that run in the calling thread, as the server's do.
pub(crate) fn load_options() -> LoadOptions {
    LoadOptions::default().search(search()).inter_op_threads(-1)
}

/// Whether there is a libtensorflow. If not, says that `test` is skipped.
pub(crate) fn has_tensorflow(test: &str) -> bool {
    let found = Runtime::open_with(&search()).is_ok();
    if !found {
        skipped(test, "there is no libtensorflow");
    }
    found
}

/// A base path with one of the repository's models as its version 7.
pub(crate) fn base_path(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(model(name), folder.path().join("7")).unwrap();
    folder
}

/// Makes a model that adds this number to half of its input.
pub(crate) fn half_plus(path: &Path, plus: f32) {
    copy_folder(&model("half_plus_two"), path);
    fs::remove_dir_all(path.join("variables")).unwrap();
    let original = CheckpointReader::open(model("half_plus_two").join("variables/variables")).unwrap();
    let mut changed = CheckpointWriter::create(path.join("variables/variables")).unwrap();
    for entry in &original.index().entries {
        match entry.key.as_str() {
            key @ "b/.ATTRIBUTES/VARIABLE_VALUE" => {
                changed.add(key, &Tensor::from_slice(&[], &[plus]).unwrap()).unwrap();
            }
            key => changed.add_from(key, &original, key).unwrap(),
        }
    }
    changed.finish().unwrap();
}

/// The models of TensorFlow Serving's tests, and others made for it.
pub(crate) fn testdata(test: &str) -> Option<PathBuf> {
    conformance(test).map(|folder| folder.join("testdata"))
}
