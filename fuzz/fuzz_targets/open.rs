//! Arbitrary bytes as `saved_model.pb`: an error, or a model whose parts can all be read.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use tf_persist_core::SavedModel;

fuzz_target!(|data: &[u8]| {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::write(folder.path().join("saved_model.pb"), data).unwrap();
    let Ok(model) = SavedModel::open(folder.path()) else { return };
    for meta_graph in model.meta_graphs() {
        let _ = model.check(meta_graph);
        let _ = (model.training(meta_graph).to_string(), model.assets(meta_graph), meta_graph.custom_ops().len());
        for signature in meta_graph.signatures() {
            let _ = (signature.to_string(), signature.input_tensors(), signature.output_tensors(None).is_ok());
        }
    }
});
