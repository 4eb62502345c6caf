//! Pruned and frozen exports give the recorded answers in both languages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tf_persist_core::saved_model::FoundBy;
use tf_persist_core::tensor::npy;
use tf_persist_core::{
    ErrorKind, LoadOptions, LoadedModel, ModelError, ModelErrorKind, OpLibrary, SaveOptions, SavedModel, Tensor,
};
use tf_persist_testing::{corpus, root};

use crate::python;
use crate::recorded::{Case, Recorded, models};

#[test]
fn our_models_answer_after_every_export() {
    every_form(&models(), &root().join("models"));
}

/// `op_libraries.rs` exports models that need op libraries, in separate processes.
#[test]
fn real_models_answer_after_every_export() {
    let Some(corpus) = corpus("real_models_answer_after_every_export") else { return };
    let dev = corpus.join("dev");
    let plain = Recorded::all(&dev).into_iter().filter(|recorded| recorded.meta.custom_op_libs.is_empty());
    every_form(&plain.collect::<Vec<_>>(), &dev);
}

/// Exports each model pruned, frozen and both; with all recorded signatures, with the default ones, and with each one
/// alone; to folders and to packs. Runs the recorded cases in both languages. `round_trip.rs` tests exports without
/// options.
#[expect(clippy::print_stdout, reason = "shows the differences, and why models cannot be frozen")]
pub(crate) fn every_form(all: &[Recorded], folder: &Path) {
    let work = tempfile::tempdir().unwrap();
    let mut forms = Forms { work: work.path(), pairs: String::new() };
    for recorded in all {
        let source = folder.join(&recorded.name);
        let name = &recorded.name;
        let signatures: BTreeSet<&str> = of_first_meta_graph(recorded).map(|case| case.signature.as_str()).collect();
        let plain = SaveOptions::default().tags(&recorded.meta.tags);
        for (way, options) in [("pruned", plain.clone().inference_only(true)), ("frozen", plain.clone().frozen(true))] {
            let all = options.clone().signatures(signatures.iter().copied());
            let saved = forms.check(&source, &format!("{way}_all"), all);
            let by_itself = forms.check(&source, way, options.clone());
            println!("{name}: {way}, {saved:?} of {signatures:?}; without a list {by_itself:?}");
            if signatures.len() > 1 {
                for signature in &signatures {
                    forms.check(&source, &format!("{way}_{signature}"), options.clone().signatures([*signature]));
                }
            }
            // Both options together mean the second one.
            if by_itself.is_some() && way == "frozen" {
                let both = work.path().join("both").join(name);
                SavedModel::open(source.join("model")).unwrap().save(&both, options.inference_only(true)).unwrap();
                assert_eq!(files(&both), files(&work.path().join(way).join(name)), "{name}: both options");
            }
        }
    }
    let list = work.path().join("list");
    fs::write(&list, forms.pairs).unwrap();
    let libraries = OpLibrary::loaded();
    let libraries = libraries.iter().flat_map(|library| [Path::new("--op-library"), library.path()]);
    println!("{}", python::run("checks.check_export", [Path::new("--list"), &list].into_iter().chain(libraries)));
}

/// The cases of the only meta graph that such an export keeps.
fn of_first_meta_graph(recorded: &Recorded) -> impl Iterator<Item = &Case> {
    recorded.meta.cases.iter().filter(|case| case.tags.as_ref().is_none_or(|tags| *tags == recorded.meta.tags))
}

/// Exports of models, and the checks that Python runs on them.
struct Forms<'a> {
    work: &'a Path,
    pairs: String,
}

impl Forms<'_> {
    /// Exports a model with these options, to a folder and to a pack, and runs the cases of its signatures. Returns the
    /// signatures, or `None` if the model cannot be exported with these options.
    fn check(&mut self, source: &Path, way: &str, options: SaveOptions) -> Option<Vec<String>> {
        let name = source.file_name().unwrap().to_str().unwrap();
        let (target, pack) = (self.work.join(way).join(name), self.work.join(format!("{name}_{way}.tfpack")));
        let model = SavedModel::open(source.join("model")).unwrap();
        let saved = match model.save(&target, options.clone()) {
            Ok(saved) => saved,
            Err(ModelError::CannotExport { reason, .. }) => {
                assert!(way.starts_with("frozen"), "{name}, {way}: {reason}");
                assert!(
                    reason.contains("constant") || reason.contains("none would be left"),
                    "{name}, {way}: {reason}"
                );
                assert!(!target.exists(), "{name}, {way}");
                return None;
            }
            Err(error) => panic!("{name}, {way}: {error}"),
        };
        assert!(!way.starts_with("frozen") || !target.join("variables").exists(), "{name}, {way}");
        // A pack has the same files, so it gives the same answers.
        model.save(&pack, options).unwrap();
        let unpacked = self.work.join("unpacked");
        SavedModel::open(&pack).unwrap().save(&unpacked, SaveOptions::default().overwrite(true)).unwrap();
        assert_eq!(files(&unpacked), files(&target), "{name}, {way}: the pack");
        let cases = self.work.join("cases").join(way).join(name);
        let recorded = some_cases(source, &cases, &saved.signatures);
        recorded.check(&target);
        if !recorded.meta.cases.is_empty() {
            writeln!(self.pairs, "{}={}", target.display(), cases.display()).unwrap();
        }
        Some(saved.signatures)
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![folder.to_path_buf()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_path_buf(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Records in `folder` the cases of the first meta graph and these signatures, which are all that such an export keeps.
fn some_cases(recorded: &Path, folder: &Path, signatures: &[String]) -> Recorded {
    let mut meta: Value = serde_json::from_slice(&fs::read(recorded.join("meta.json")).unwrap()).unwrap();
    let tags = meta["tags"].clone();
    let is_sequence = meta["sequence"] == true;
    let stays = |case: &Value| {
        let is_of_others = case.get("tags").is_some_and(|own| *own != tags);
        !is_of_others && signatures.iter().any(|name| case["signature"] == *name)
    };
    let cases = meta["cases"].as_array_mut().unwrap();
    // If cases depend on the state that earlier ones left, later cases are left out with them.
    if is_sequence {
        cases.truncate(cases.iter().take_while(|case| stays(case)).count());
    }
    cases.retain(stays);
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("meta.json"), meta.to_string()).unwrap();
    fs::copy(recorded.join("io.npz"), folder.join("io.npz")).unwrap();
    let mut cases = Recorded::read(folder);
    cases.model = recorded.join("model");
    cases
}

/// Constants, tables and initial values that kept and removed parts share, branches that are not taken, custom
/// gradients, and variables that no saver restores.
#[test]
fn dependent_parts_are_kept() {
    let work = tempfile::tempdir().unwrap();
    let (made, out) = (work.path().join("made"), work.path().join("out"));
    fs::create_dir(&made).unwrap();
    python::run("checks.check_pruned", ["make".as_ref(), made.as_os_str()]);
    let mut arguments = vec!["check".to_owned()];
    let mut names: Vec<_> = fs::read_dir(&made).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names.len(), 19, "{names:?}");
    for name in names {
        let original = made.join(&name);
        let model = SavedModel::open(&original).unwrap();
        check_answer(&original, &original);
        let options = SaveOptions::default().signatures(["serving_default"]);
        for (way, options) in [("pruned", options.clone().inference_only(true)), ("frozen", options.frozen(true))] {
            let target = out.join(way).join(&name);
            model.save(&target, options).unwrap_or_else(|error| panic!("{}, {way}: {error}", original.display()));
            check_answer(&target, &original);
            arguments.push(format!("{}={}", target.display(), original.display()));
        }
    }
    let kept = without_outputs(&made, &out);
    let kept: Vec<String> = kept.into_iter().map(|(target, original)| format!("{target}={original}")).collect();
    arguments.extend(kept.iter().cloned());
    let said = python::run("checks.check_pruned", arguments);
    for pair in kept {
        assert!(said.contains(&format!("ok {pair} look serving_default\n")), "{said}");
    }
    saved_from_a_session(&made.join("without_saver"), &out.join("session"));
}

/// Signatures without outputs stay for Python, if they write nothing; a frozen model cannot have them.
fn without_outputs(made: &Path, out: &Path) -> Vec<(String, String)> {
    let mut kept = Vec::new();
    for name in ["no_outputs", "without_saver"] {
        let (original, target) = (made.join(name), out.join("by_itself").join(name));
        let model = SavedModel::open(&original).unwrap();
        let saved = model.save(&target, SaveOptions::default().inference_only(true)).unwrap();
        assert_eq!((saved.signatures, saved.variables), (vec!["look".to_owned(), "serving_default".into()], 1));
        kept.push((target.display().to_string(), original.display().to_string()));
        let frozen = out.join("frozen_by_itself").join(name);
        assert_eq!(model.save(&frozen, SaveOptions::default().frozen(true)).unwrap().signatures, ["serving_default"]);
        let error = model.save(out.join("no"), SaveOptions::default().frozen(true).signatures(["look"])).unwrap_err();
        assert!(error.to_string().contains("signature `look` has no outputs"), "{error}");
    }
    kept
}

/// A session saves variables that its graph's saver leaves out.
fn saved_from_a_session(original: &Path, target: &Path) {
    let model = LoadedModel::load(original, LoadOptions::default()).unwrap();
    let unrestored = model.saved_model().unrestored_variables(model.meta_graph()).unwrap();
    let found: Vec<_> = unrestored.found.iter().map(|found| (found.variable.as_str(), found.by)).collect();
    assert_eq!(found, [("weight", FoundBy::Objects)]);
    assert!(unrestored.missing.is_empty());
    model.save(target, SaveOptions::default()).unwrap();
    check_answer(target, original);
    // Without its variables the model cannot be loaded.
    fs::remove_dir_all(target.join("variables")).unwrap();
    let error = LoadedModel::load(target, LoadOptions::default()).unwrap_err();
    let says = error.to_string();
    assert!(
        error.kind() == ErrorKind::Model(ModelErrorKind::MissingVariables) && says.contains("`weight`, of signature"),
        "{says}"
    );
    let error =
        SavedModel::open(target).unwrap().save(target.with_extension("no"), SaveOptions::default().frozen(true));
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("the variable `weight`, which signature `serving_default` reads, has no value")
    );
}

/// A model of `checks.check_pruned` gives the recorded answer of its original.
fn check_answer(model: &Path, original: &Path) {
    let expected = npy::read_file(original.join("answer.npy")).unwrap();
    let loaded =
        LoadedModel::load(model, LoadOptions::default()).unwrap_or_else(|error| panic!("{error} {:?}", error.detail()));
    let signature = loaded.signature("serving_default").unwrap();
    let x = Tensor::from_slice(&[2, 2], &[1.0_f32, 2.0, 3.0, 4.0]).unwrap();
    let outputs = signature.run([(signature.definition().inputs[0].0.as_str(), &x)]).unwrap();
    let (_, answer) = outputs.iter().next().unwrap();
    let pairs = answer.view::<f32>().unwrap().iter().zip(expected.view::<f32>().unwrap());
    assert!(
        pairs.into_iter().all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs().max(1.0)),
        "{}: {answer:?}",
        model.display()
    );
}
