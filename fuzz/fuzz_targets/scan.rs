//! Arbitrary bytes as `saved_model.pb`: an error, or a model whose scan report can be printed.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use tf_persist_core::SavedModel;

fuzz_target!(|data: &[u8]| {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::write(folder.path().join("saved_model.pb"), data).unwrap();
    let Ok(model) = SavedModel::open(folder.path()) else { return };
    let report = model.scan().unwrap();
    assert!(!report.to_string().is_empty() && report.level().is_some());
});
