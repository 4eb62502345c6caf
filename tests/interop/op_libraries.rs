//! Op libraries of packages, one in C++ and one in Rust of our own, and their errors.
//!
//! Registered ops stay in the process and would affect other tests, so each test runs in a process of its own.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use tf_persist_core::runtime::Runtime;
use tf_persist_core::{
    Error, LoadOptions, LoadedModel, ModelError, OpLibrary, OpLibraryProblem, SaveOptions, SavedModel, SavedModelError,
    Setting, Tensor,
};
use tf_persist_testing::{corpus, in_own_process, root};

use crate::export_options::every_form;
use crate::recorded::Recorded;
use crate::round_trip::round_trip;

/// The folder of the built libraries: that of this binary.
fn built() -> PathBuf {
    env::current_exe().unwrap().parent().unwrap().to_path_buf()
}

/// The op in Rust, which cargo builds because these tests depend on it.
pub(crate) fn haversine() -> PathBuf {
    let name = if cfg!(target_os = "macos") { "libhaversine_op.dylib" } else { "libhaversine_op.so" };
    built().join(name)
}

/// The op in C++, compiled if necessary.
pub(crate) fn moving_average() -> PathBuf {
    let library = built().join("libmoving_average.so");
    let made = Command::new(root().join("scripts/build_custom_op"))
        .arg("examples/moving_average_op/moving_average.cc")
        .arg(&library)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    library
}

fn problem(result: Result<impl std::fmt::Debug, Error>) -> OpLibraryProblem {
    match result.unwrap_err() {
        Error::OpLibrary(error) => error.problem().clone(),
        other => panic!("{other}"),
    }
}

#[test]
fn ops_of_our_own_answer_and_survive_export() {
    in_own_process("op_libraries::ops_of_our_own_answer_and_survive_export", examples_round_trip);
}

fn examples_round_trip() {
    let mut all = Recorded::all(&root().join("examples/moving_average_op/models"));
    all.extend(Recorded::all(&root().join("examples/haversine_op/models")));
    // Before their libraries are loaded, each missing op is named with its users.
    for recorded in &all {
        let error = LoadedModel::load(&recorded.model, LoadOptions::default()).unwrap_err();
        let Some(ModelError::SavedModel(SavedModelError::MissingOps(missing))) = error.model() else {
            panic!("{}: {error}", recorded.name)
        };
        assert!(missing.ops().iter().all(|op| !op.used.node.is_empty() && !op.used.signatures.is_empty()), "{error}");
        assert_eq!(missing.hint().settings(), [Setting::SetTo("op_library", "FILE.so".into())]);
    }
    round_trip(&all);
    // An error of the op has the op's own words.
    let model = LoadedModel::load(root().join("examples/haversine_op/models/haversine/model"), LoadOptions::default());
    let point = |count: usize| Tensor::from_slice(&[count, 2], &vec![1.0_f64; count * 2]).unwrap();
    let refused = model.unwrap().signature("serving_default").unwrap().run([("start", point(1)), ("end", point(3))]);
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("`start` has 1 points and `end` 3"), "{error}");
}

/// A decision forest whose initialiser gets the path of one file and reads all of them: the export keeps the files and
/// the initialiser.
fn forest_without_library(forest: &Path) {
    let work = tempfile::tempdir().unwrap();
    let model = SavedModel::open(forest).unwrap();
    let names = |model: &SavedModel| model.meta_graphs()[0].assets().to_vec();
    for (way, options) in
        [("pruned", SaveOptions::default().inference_only(true)), ("frozen", SaveOptions::default().frozen(true))]
    {
        let target = work.path().join(way);
        assert_eq!(model.save(&target, options).unwrap().variables, 0, "{way}");
        let exported = SavedModel::open(&target).unwrap();
        assert_eq!(names(&exported), names(&model), "{way}");
        exported.check(&exported.meta_graphs()[0]).unwrap();
        assert_eq!(exported.assets(&exported.meta_graphs()[0]).unwrap().files.len(), 5, "{way}");
        assert!(exported.meta_graphs()[0].ops().contains_key("SimpleMLLoadModelFromPathWithHandle"), "{way}");
    }
}

#[test]
fn models_with_op_libraries_of_packages_answer_and_survive_export() {
    let test = "models_with_op_libraries_of_packages_answer_and_survive_export";
    if let Some(corpus) = corpus(test) {
        in_own_process(&format!("op_libraries::{test}"), || corpus_round_trip(&corpus));
    }
}

fn corpus_round_trip(corpus: &Path) {
    let mut all = Recorded::all(&corpus.join("dev"));
    all.retain(|recorded| !recorded.meta.custom_op_libs.is_empty());
    assert!(!all.is_empty());
    round_trip(&all);
    every_form(&all, &corpus.join("dev"));
    forest_without_library(&corpus.join("negative/tfdf_without_library/model"));
    // With the library, models that were refused load.
    let forest = corpus.join("negative/tfdf_without_library/model");
    assert!(LoadedModel::load(forest, LoadOptions::default().op_library("ydf_tf")).is_ok());
}

#[test]
fn op_libraries_load_once_from_any_thread() {
    in_own_process("op_libraries::op_libraries_load_once_from_any_thread", loading);
}

fn loading() {
    let runtime = Runtime::open().unwrap();
    let path = haversine();
    // Eight threads at once, by several names of the same file.
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link.so");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let loads: Vec<_> = (0..8)
        .map(|number| {
            let (runtime, path) = (runtime.clone(), if number % 2 == 0 { path.clone() } else { link.clone() });
            thread::spawn(move || OpLibrary::load(&runtime, path).unwrap().ops().to_vec())
        })
        .collect();
    assert!(loads.into_iter().all(|load| load.join().unwrap() == ["Haversine"]));
    assert_eq!(OpLibrary::loaded().len(), 1);

    // A copy is refused before it is loaded.
    let copy = folder.path().join("copy.so");
    fs::copy(&path, &copy).unwrap();
    let same = OpLibraryProblem::AlreadyRegistered { by: Some(path.canonicalize().unwrap()), loaded: false };
    assert_eq!(problem(OpLibrary::load(&runtime, &copy)), same);
    assert!(answers());

    // Another build of the same ops is detected only after loading; the error says so, and later errors explain it.
    let other = folder.path().join("other.so");
    fs::write(&other, [fs::read(&path).unwrap(), b"\0".to_vec()].concat()).unwrap();
    let same = OpLibraryProblem::AlreadyRegistered { by: Some(path.canonicalize().unwrap()), loaded: true };
    for _ in 0..2 {
        assert_eq!(problem(OpLibrary::load(&runtime, &other)), same);
    }
    assert!(!answers());

    // Packages, by their names in either spelling.
    let text = OpLibrary::load_package(&runtime, "tensorflow-text").unwrap();
    assert!(text.len() > 20, "{text:?}");
    assert_eq!(OpLibrary::load_named(&runtime, "TensorFlow_Text").unwrap().len(), text.len());
    assert_eq!(problem(OpLibrary::load_package(&runtime, "tensorflow-cpu")), OpLibraryProblem::TensorFlowItself);
    let OpLibraryProblem::UnknownPackage { looked, candidates } =
        problem(OpLibrary::load_named(&runtime, "no-such-ops"))
    else {
        panic!("another problem")
    };
    assert!(!looked.is_empty() && candidates == ["tensorflow-text", "ydf-tf"], "{looked:?} {candidates:?}");
    assert!(matches!(problem(OpLibrary::load_named(&runtime, "h5py")), OpLibraryProblem::NotInPackage { .. }));
}

/// Whether the model with the op in Rust runs.
fn answers() -> bool {
    let model = root().join("examples/haversine_op/models/haversine/model");
    let point = || Tensor::from_slice(&[1, 2], &[1.0_f64, 2.0]).unwrap();
    let ran = LoadedModel::load(model, LoadOptions::default())
        .and_then(|model| model.signature("serving_default")?.run([("start", point()), ("end", point())]));
    if let Err(error) = &ran {
        assert!(error.hint().is_some_and(|hint| hint.text().contains("two op libraries with the same ops")), "{error}");
    }
    ran.is_ok()
}

/// Opening a model and finding its missing ops needs no TensorFlow.
#[test]
fn missing_ops_are_known_without_tensorflow() {
    let Some(corpus) = corpus("missing_ops_are_known_without_tensorflow") else { return };
    let missing = |path: &Path| {
        let model = SavedModel::open(path).unwrap();
        model.missing_ops(&model.meta_graphs()[0])
    };
    let text = missing(&corpus.join("dev/tftext_pipeline_tf221/model"));
    assert!(text.iter().all(|op| op.package.is_some_and(|package| package.name == "tensorflow-text")), "{text:?}");
    let whitespace = text.iter().find(|op| op.name == "TFText>WhitespaceTokenizeWithOffsetsV2").unwrap();
    assert_eq!(whitespace.used.signatures, ["whitespace"]);
    assert!(whitespace.used.function.is_some());
    let forest = missing(&corpus.join("negative/tfdf_without_library/model"));
    let load = forest.iter().find(|op| op.name == "SimpleMLLoadModelFromPathWithHandle").unwrap();
    assert!(load.used.at_load && load.package.unwrap().name == "ydf-tf");
    for recorded in Recorded::all(&corpus.join("dev")) {
        let custom = !recorded.meta.custom_op_libs.is_empty();
        assert_eq!(!missing(&recorded.model).is_empty(), custom, "{}", recorded.name);
    }
}
