//! Recorded requests of real models have the same answers in the model and in its export, and Python's TensorFlow reads
//! the file.

use std::path::Path;

use tf_persist_core::tensor::Tolerance;
use tf_persist_core::warmup::{Added, FILE, Outcome, Recorder, Records};
use tf_persist_core::{ErrorKind, LoadOptions, LoadSavedModel, LoadedModel, ModelErrorKind, SaveOptions, SavedModel};
use tf_persist_testing::{copy_folder, corpus, root};

use crate::python;
use crate::recorded::{Recorded, models};

#[test]
fn our_models_give_the_recorded_answers() {
    let recorded = record_all(&models(), &root().join("models"));
    // Its inputs are sparse.
    assert!(!recorded.contains(&"sparse".to_owned()), "{recorded:?}");
    assert_eq!(recorded.len(), 19, "{recorded:?}");
}

#[test]
fn real_models_give_the_recorded_answers() {
    let Some(corpus) = corpus("real_models_give_the_recorded_answers") else { return };
    let dev = corpus.join("dev");
    let plain: Vec<_> =
        Recorded::all(&dev).into_iter().filter(|recorded| recorded.meta.custom_op_libs.is_empty()).collect();
    let recorded = record_all(&plain, &dev);
    assert!(recorded.len() >= 20, "{recorded:?}");
}

/// Records every possible case of each model, and returns the names of the models with a recorded case.
#[expect(clippy::print_stdout, reason = "shows the cases that are left out")]
fn record_all(all: &[Recorded], folder: &Path) -> Vec<String> {
    let work = tempfile::tempdir().unwrap();
    let (mut pairs, mut names) = (Vec::new(), Vec::new());
    for recorded in all {
        let model = work.path().join(&recorded.name);
        copy_folder(&recorded.model, &model);
        // Some models have their own requests.
        let before = model.join(FILE).exists();
        let saved_model = SavedModel::open(&model).unwrap();
        let options = || LoadOptions::default().tags(&recorded.meta.tags);
        let loaded = saved_model.load(options()).unwrap();
        let meta_graph = loaded.meta_graph();
        let mut recorder = Recorder::begin(&saved_model, meta_graph, before).unwrap();
        for case in recorded.meta.cases.iter().filter(|case| recorded.tags_of(case) == recorded.meta.tags) {
            let about = format!("{}, `{}`", recorded.name, case.signature);
            match recorder.check(meta_graph, meta_graph.signature(&case.signature).unwrap()) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Model(ModelErrorKind::NotRecorded) => {
                    println!("left out: {about}: {error}");
                    continue;
                }
                Err(error) => panic!("{about}: {error}"),
            }
            let added = recorder.add(&loaded, &case.signature, recorded.inputs(case));
            assert!(matches!(added, Ok(Added::New | Added::Known)), "{about}: {added:?}");
        }
        if recorder.is_empty() {
            continue;
        }
        let count = recorder.write().unwrap();
        assert_eq!(replayed(&loaded), count, "{}", recorded.name);
        let exported = work.path().join(format!("{}.exported", recorded.name));
        loaded.save(&exported, SaveOptions::default()).unwrap();
        drop(loaded);
        let exported = LoadedModel::load(&exported, options()).unwrap();
        assert_eq!(replayed(&exported), count, "{}, exported", recorded.name);
        pairs.push(format!("{}={}", model.display(), folder.join(&recorded.name).display()));
        names.push(recorded.name.clone());
    }
    println!("{}", python::run("checks.check_warmup", &pairs));
    names
}

/// The number of records; each must give its recorded answer.
fn replayed(model: &LoadedModel) -> usize {
    let mut count = 0;
    for record in Records::open(model.saved_model()).unwrap().unwrap() {
        let replay = model.replay(&record.unwrap(), Tolerance::Rounding).unwrap();
        assert!(matches!(replay.outcome, Outcome::Compared(_)) && !replay.is_different(), "{replay:?}");
        count += 1;
    }
    count
}
