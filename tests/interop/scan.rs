//! Attacks exported by real TensorFlow are found and refused, and work when they are trusted.

use std::fs;

use tf_persist_core::scan::{Level, Trust};
use tf_persist_core::{LoadOptions, LoadSavedModel, ModelError, SavedModel, SavedModelError, Tensor};
use tf_persist_testing::{corpus, root};

use crate::python;
use crate::recorded::Recorded;

/// The finding for each model of `models.make_attacks`.
const ATTACKS: [(&str, &str, &str); 17] = [
    ("write_in_signature", "WriteFile", "VICTIM"),
    ("read_in_signature", "ReadFile", "`/etc/hostname`"),
    ("read_joined_name", "ReadFile", "`/etc/hostname`"),
    ("read_computed_name", "ReadFile", "computed"),
    ("read_any", "ReadFile", "whatever the input `path` names"),
    ("function_in_function", "WriteFile", "VICTIM"),
    ("while_body", "WriteFile", "VICTIM"),
    ("if_branch", "WriteFile", "VICTIM"),
    ("dataset_map", "WriteFile", "VICTIM"),
    ("dataset_of_lines", "TextLineDataset", "computed"),
    ("gradient", "WriteFile", "VICTIM"),
    ("print_to_file", "PrintV2", "VICTIM"),
    ("python_function", "EagerPyFunc", "calls Python"),
    ("saved_dataset", "CacheDatasetV2", "VICTIM"),
    ("init_op", "WriteFile", "VICTIM"),
    ("init_like_a_signature", "WriteFile", "VICTIM"),
    ("init_in_parts", "WriteFile", "VICTIM"),
];

#[test]
fn real_attacks_are_found_and_refused() {
    let work = tempfile::tempdir().unwrap();
    let (out, victim) = (work.path().join("models"), work.path().canonicalize().unwrap().join("victim"));
    fs::create_dir(&victim).unwrap();
    python::run("models.make_attacks", [&out, &victim]);
    assert_eq!(fs::read_dir(&out).unwrap().count(), ATTACKS.len());
    // Files that Python wrote while it made the models.
    for entry in fs::read_dir(&victim).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_name() != "words.txt" {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let written = |name: &str| {
        let mut entries = fs::read_dir(&victim).unwrap().map(|entry| entry.unwrap().file_name());
        entries.any(|file| file.to_string_lossy().starts_with(name))
    };
    for (name, op, what) in ATTACKS {
        let model = SavedModel::open(out.join(name)).unwrap();
        let report = model.scan().unwrap();
        let what = what.replace("VICTIM", &format!("`{}`", victim.join(name).display()));
        let found = report.of_level(Level::Danger).any(|it| it.op.as_deref() == Some(op) && it.what.contains(&what));
        assert!(found, "{name}: {report}");
        let error = model.load(LoadOptions::default()).unwrap_err();
        let Some(ModelError::SavedModel(SavedModelError::Untrusted { ops, .. })) = error.model() else {
            panic!("{name}: {error}")
        };
        assert!(ops.iter().any(|it| it == op), "{name}: {error}");
        assert!(!written(name), "{name} was run");
        if !what.contains("victim") {
            continue;
        }
        // With trust, it does what the finding says.
        let loaded = model.load(LoadOptions::default().trust(Trust::ops([op]))).unwrap();
        if !name.starts_with("init_") {
            let x = Tensor::scalar(1.0_f32).unwrap();
            loaded.signature("serving_default").unwrap().run([("x", x)]).unwrap();
        }
        assert!(written(name), "{name} did not do what the finding says");
    }
}

/// Neither our models nor those of the corpus have a danger: all load without trust.
#[test]
fn real_models_have_no_danger() {
    let mut folders = vec![root().join("models")];
    folders.extend(corpus("real_models_have_no_danger").map(|corpus| corpus.join("dev")));
    for recorded in folders.iter().flat_map(|folder| Recorded::all(folder)) {
        let model = SavedModel::open(&recorded.model).unwrap();
        let report = model.scan().unwrap();
        assert_eq!(report.of_level(Level::Danger).count(), 0, "{report}");
        // Only ops of libraries give warnings.
        let warned = report.of_level(Level::Warning).all(|finding| finding.what.contains("it comes from a library"));
        assert!(warned, "{report}");
        let customs = model.meta_graphs().iter().map(|graph| graph.custom_ops().len()).max().unwrap_or_default();
        assert_eq!(report.of_level(Level::Warning).count(), customs, "{report}");
    }
}
