//! Python → Rust → Python: the model and its export give the recorded answers in both languages.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use tf_persist_core::{LoadOptions, LoadedModel, OpLibrary, SaveOptions};
use tf_persist_testing::{corpus, root};

use crate::python;
use crate::recorded::{Recorded, models};

#[test]
fn our_models_answer_and_survive_export() {
    round_trip(&models());
}

/// `op_libraries.rs` runs models that need op libraries, in separate processes.
#[test]
fn real_models_answer_and_survive_export() {
    let Some(corpus) = corpus("real_models_answer_and_survive_export") else { return };
    let dev = corpus.join("dev");
    let mut plain = Recorded::all(&dev);
    plain.retain(|recorded| recorded.meta.custom_op_libs.is_empty());
    round_trip(&plain);
}

/// Runs the recorded cases of each model, of its export, and of the export in Python.
#[expect(clippy::print_stdout, reason = "shows the differences")]
pub(crate) fn round_trip(all: &[Recorded]) {
    let work = tempfile::tempdir().unwrap();
    let mut pairs = String::new();
    for recorded in all {
        let before = recorded.check(&recorded.model);
        let exported = work.path().join(&recorded.name);
        let options = recorded.options().tags(&recorded.meta.tags);
        LoadedModel::load(&recorded.model, options)
            .and_then(|model| model.save(&exported, SaveOptions::default()))
            .unwrap_or_else(|error| panic!("{}: {error}", recorded.name));
        let after = recorded.check(&exported);
        println!("{}: {} cases, off by {before:e}; exported {after:e}", recorded.name, recorded.meta.cases.len());
        let folder = recorded.model.parent().unwrap();
        writeln!(pairs, "{}={}", exported.display(), folder.display()).unwrap();
    }
    let list = work.path().join("list");
    fs::write(&list, pairs).unwrap();
    // Python needs the same op libraries.
    let libraries = OpLibrary::loaded();
    let libraries = libraries.iter().flat_map(|library| [Path::new("--op-library"), library.path()]);
    println!("{}", python::run("checks.check_export", [Path::new("--list"), &list].into_iter().chain(libraries)));
}

#[test]
fn one_meta_graph_of_two_is_exported() {
    let recorded = Recorded::read(&root().join("models/multi"));
    let work = tempfile::tempdir().unwrap();
    let exported = work.path().join("exported");
    let model = LoadedModel::load(&recorded.model, LoadOptions::default().tags(["train", "serve"])).unwrap();
    let saved = model.save(&exported, SaveOptions::default().tags(["train", "serve"])).unwrap();
    assert_eq!(saved.meta_graphs, 1);
    let model = LoadedModel::load(&exported, LoadOptions::default()).unwrap();
    assert_eq!(model.saved_model().meta_graphs().len(), 1);
    assert!(model.signature("gradients").is_ok());
}
