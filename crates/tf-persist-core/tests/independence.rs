//! Which signatures of real models are proven to have independent rows. TensorFlow is not needed.
//!
//! Goes over `models/` and, where `TF_PERSIST_CORPUS` names it, over a corpus of real models.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

use std::path::{Path, PathBuf};

use tf_persist_core::{SavedModel, prove_rows_independent};

/// All signatures of a model, and why each is not proven.
fn proofs(folder: &Path) -> Vec<(String, Result<(), String>)> {
    let Ok(model) = SavedModel::open(folder) else { return Vec::new() };
    let mut all = Vec::new();
    for meta_graph in model.meta_graphs() {
        for signature in meta_graph.signatures() {
            let proof = prove_rows_independent(&model, meta_graph, signature);
            all.push((signature.name.clone(), proof.map_err(|why| why.to_string())));
        }
    }
    all
}

fn models(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![below.to_owned()];
    while let Some(folder) = todo.pop() {
        if ["saved_model.pb", "saved_model.pbtxt"].iter().any(|file| folder.join(file).is_file()) {
            found.push(folder);
            continue;
        }
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        todo.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()));
    }
    found.sort();
    found
}

#[test]
fn smoke() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut places = vec![root.join("models"), PathBuf::from("/tmp/bt")];
    places.extend(std::env::var_os("TF_PERSIST_CORPUS").map(PathBuf::from));
    for place in places {
        for folder in models(&place) {
            for (signature, proof) in proofs(&folder) {
                eprintln!("{} {signature}: {proof:?}", folder.display());
            }
        }
    }
}
