//! Which signatures of real models are proven to have independent rows. TensorFlow is not needed.
//!
//! Goes over `models/` and, where `TF_PERSIST_CORPUS` names it, over a corpus of real models.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

use std::path::{Path, PathBuf};

use tf_persist_savedmodel::{SavedModel, prove_rows_independent};
use tf_persist_testing::{corpus, root};

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

/// Signatures whose rows are independent, and those whose rows are not, or not known to be.
const PROVEN: [(&str, &str); 12] = [
    ("attention", "serving_default"),
    ("digits", "serving_default"),
    ("digits_trainable", "serving_default"),
    ("dtypes", "serving_default"),
    ("gpu_pinned", "serving_default"),
    ("half_plus_two", "serving_default"),
    ("lstm", "serving_default"),
    ("multi", "serving_default"),
    ("text_format", "serving_default"),
    ("tf1_graph", "serving_default"),
    ("two_in_two_out", "serve"),
    ("two_in_two_out", "serving_default"),
];
const NOT_PROVEN: [(&str, &str); 4] = [
    ("digits_trainable", "train"),
    ("padded_text", "serving_default"),
    ("text", "serving_default"),
    ("multi", "gradients"),
];

#[test]
fn models_whose_rows_are_independent() {
    let root = root().join("models");
    let of = |model: &str, signature: &str| {
        let found = proofs(&root.join(model).join("model")).into_iter().find(|(name, _)| name == signature);
        found.unwrap().1
    };
    for (model, signature) in PROVEN {
        assert_eq!(of(model, signature), Ok(()), "{model} {signature}");
    }
    for (model, signature) in NOT_PROVEN {
        assert!(of(model, signature).is_err(), "{model} {signature}");
    }
}

/// Hostile, huge and odd graphs too: the proof ends, one way or the other.
#[test]
fn a_corpus_of_real_models() {
    let Some(corpus) = corpus("a_corpus_of_real_models") else { return };
    let (mut proven, mut all) = (0, 0);
    for folder in models(&corpus) {
        for (signature, proof) in proofs(&folder) {
            all += 1;
            proven += usize::from(proof.is_ok());
            let folder = folder.strip_prefix(&corpus).unwrap().display();
            eprintln!("{folder} {signature}: {}", proof.err().unwrap_or_else(|| "independent".to_owned()));
        }
    }
    eprintln!("{proven} of {all} signatures are proven");
    assert!(all > 0);
}
