//! Exports that change the graph: pruned and frozen, against what Python recorded, in both languages.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tf_persist_core::{SaveOptions, SavedModel};

use crate::python;
use crate::recorded::{Recorded, corpus, models, root};

#[test]
fn every_model_of_ours_is_pruned_and_frozen() {
    prune_and_freeze(&models(), &root().join("models"));
}

#[test]
fn every_real_model_is_pruned_and_frozen() {
    let Some(corpus) = corpus("every_real_model_is_pruned_and_frozen") else { return };
    let dev = corpus.join("dev");
    let plain = Recorded::all(&dev).into_iter().filter(|recorded| recorded.meta.custom_op_libs.is_empty());
    prune_and_freeze(&plain.collect::<Vec<_>>(), &dev);
}

/// Exports each model with the signatures of its recorded cases alone, pruned and frozen, and runs the cases.
#[expect(clippy::print_stdout, reason = "the differences, and what cannot be frozen, are worth a look")]
fn prune_and_freeze(all: &[Recorded], folder: &Path) {
    let work = tempfile::tempdir().unwrap();
    let mut pairs = String::new();
    for recorded in all {
        let cases = work.path().join("cases").join(&recorded.name);
        let recorded = of_one_meta_graph(&folder.join(&recorded.name), &cases);
        let model = SavedModel::open(&recorded.model).unwrap();
        let signatures: Vec<&str> = recorded.meta.cases.iter().map(|case| case.signature.as_str()).collect();
        let options = SaveOptions::default().tags(&recorded.meta.tags).signatures(signatures);
        for (way, options) in [("pruned", options.clone().inference_only(true)), ("frozen", options.frozen(true))] {
            let exported = work.path().join(way).join(&recorded.name);
            let saved = match model.save(&exported, options) {
                Ok(saved) => saved,
                Err(error) if way == "frozen" && error.to_string().contains("constant") => {
                    println!("{}: cannot be frozen: {error}", recorded.name);
                    continue;
                }
                Err(error) => panic!("{}, {way}: {error}", recorded.name),
            };
            assert!(way != "frozen" || !exported.join("variables").exists(), "{}", recorded.name);
            let off = recorded.check(&exported);
            println!("{}: {way}, {} variables, off by {off:e}", recorded.name, saved.variables);
            writeln!(pairs, "{}={}", exported.display(), cases.display()).unwrap();
        }
    }
    let list = work.path().join("list");
    fs::write(&list, pairs).unwrap();
    println!("{}", python::run("check_export.py", [Path::new("--list"), &list]));
}

/// The cases of a model's first meta graph, as recordings in `folder`: an export that changes the graph has no other.
fn of_one_meta_graph(recorded: &Path, folder: &Path) -> Recorded {
    let mut meta: Value = serde_json::from_slice(&fs::read(recorded.join("meta.json")).unwrap()).unwrap();
    let tags = meta["tags"].clone();
    let of_others = |case: &Value| case.get("tags").is_some_and(|own| *own != tags);
    meta["cases"].as_array_mut().unwrap().retain(|case| !of_others(case));
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("meta.json"), meta.to_string()).unwrap();
    fs::copy(recorded.join("io.npz"), folder.join("io.npz")).unwrap();
    let mut cases = Recorded::read(folder);
    cases.model = recorded.join("model");
    cases
}

/// Parts that are shared between what stays and what goes: constants, tables, variables that others begin as.
#[test]
fn what_hangs_together_is_not_cut() {
    let work = tempfile::tempdir().unwrap();
    let (made, out) = (work.path().join("made"), work.path().join("out"));
    fs::create_dir(&made).unwrap();
    python::run("check_pruned.py", ["make".as_ref(), made.as_os_str()]);
    let mut arguments = vec!["check".to_owned()];
    let mut names: Vec<_> = fs::read_dir(&made).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names.len(), 6, "{names:?}");
    for name in names {
        let original = made.join(&name);
        let model = SavedModel::open(&original).unwrap();
        let options = SaveOptions::default().signatures(["serving_default"]);
        for (way, options) in [("pruned", options.clone().inference_only(true)), ("frozen", options.frozen(true))] {
            let target = out.join(way).join(&name);
            model.save(&target, options).unwrap_or_else(|error| panic!("{}, {way}: {error}", original.display()));
            arguments.push(format!("{}={}", target.display(), original.display()));
        }
    }
    python::run("check_pruned.py", arguments);
}
