//! Packs give the same answers as their folders, wherever their files are unpacked for TensorFlow.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tf_persist_core::{LoadOptions, LoadSavedModel, LoadedModel, SaveOptions, SavedModel, Tensor, UnpackTarget};
use tf_persist_testing::{corpus, root};

use crate::compare::largest_difference;
use crate::recorded::{Recorded, models};

#[test]
fn our_models_answer_from_a_pack() {
    packs(&models());
}

#[test]
#[expect(clippy::print_stdout, reason = "shows the models that are left out")]
fn real_models_answer_from_a_pack() {
    let Some(corpus) = corpus("real_models_answer_from_a_pack") else { return };
    let (plain, custom): (Vec<_>, Vec<_>) =
        Recorded::all(&corpus.join("dev")).into_iter().partition(|recorded| recorded.meta.custom_op_libs.is_empty());
    for recorded in custom {
        println!("left out, needs an op library: {}", recorded.name);
    }
    packs(&plain);
}

/// Runs the recorded cases of each model from memory and from the disk.
#[expect(clippy::print_stdout, reason = "shows the differences")]
fn packs(all: &[Recorded]) {
    for recorded in all {
        let model = SavedModel::from_bytes(SavedModel::open(&recorded.model).unwrap().to_bytes().unwrap()).unwrap();
        for target in [UnpackTarget::Memory, UnpackTarget::Disk] {
            let largest = check(recorded, &model, target);
            println!("{}: {} cases, {target:?}, off by {largest:e}", recorded.name, recorded.meta.cases.len());
        }
    }
}

/// Runs every case in order, one session for each tag set; returns the largest difference from the recorded answers.
fn check(recorded: &Recorded, model: &SavedModel, target: UnpackTarget) -> f64 {
    let mut sessions: BTreeMap<Vec<String>, LoadedModel> = BTreeMap::new();
    let mut largest = 0.0_f64;
    for case in &recorded.meta.cases {
        let tags = recorded.tags_of(case);
        let about = format!("{}, `{}`, {target:?}", recorded.name, case.signature);
        let session = sessions.entry(tags.clone()).or_insert_with(|| {
            // Memory is the default.
            let options = if target == UnpackTarget::Memory {
                LoadOptions::default()
            } else {
                LoadOptions::default().unpack_to(target)
            };
            model.load(options.tags(tags)).unwrap_or_else(|error| panic!("{about}: {error} {:?}", error.detail()))
        });
        assert_eq!(session.unpack_target(), Some(target), "{about}");
        let inputs = recorded.inputs(case);
        let outputs = session
            .signature(&case.signature)
            .and_then(|signature| signature.run(inputs.iter().map(|(name, tensor)| (name.as_str(), tensor))))
            .unwrap_or_else(|error| panic!("{about}: {error}\n{:?}", error.detail()));
        let fresh = outputs.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
        largest = largest.max(largest_difference(&about, &fresh, &recorded.outputs(case), recorded.meta.tolerance));
    }
    largest
}

fn model(name: &str) -> SavedModel {
    SavedModel::open(root().join("models").join(name).join("model")).unwrap()
}

/// A counter's state is saved in a pack and continues from there; no files are left behind.
#[test]
fn state_is_saved_in_a_pack() {
    let work = tempfile::tempdir().unwrap();
    let pack = work.path().join("m.tfpack");
    let recorded = Recorded::read(&root().join("models/counter"));
    let case = &recorded.meta.cases[0];
    let inputs = recorded.inputs(case);
    let run = |model: &LoadedModel| -> Vec<(String, Tensor)> {
        let signature = model.signature(&case.signature).unwrap();
        let outputs = signature.run(inputs.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
        outputs.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect()
    };
    let never_saved = model("counter").load(LoadOptions::default()).unwrap();
    let expected: Vec<_> = (0..4).map(|_| run(&never_saved)).collect();

    let options = SaveOptions::default().overwrite(true);
    let mut loaded = model("counter").load(LoadOptions::default()).unwrap();
    for expected in &expected {
        assert_eq!(&run(&loaded), expected);
        loaded.save(&pack, options.clone()).unwrap();
        // A model from a pack is saved over that pack.
        loaded = LoadedModel::load(&pack, LoadOptions::default()).unwrap();
    }
    assert_eq!(names(work.path()), ["m.tfpack"]);
    // The bytes of a loaded model have its state too.
    let bytes = loaded.to_bytes(SaveOptions::default()).unwrap();
    let again = SavedModel::from_bytes(bytes).unwrap().load(LoadOptions::default()).unwrap();
    assert_eq!(run(&again), run(&loaded));
    let folder = work.path().join("folder");
    loaded.save(&folder, SaveOptions::default()).unwrap();
    assert_eq!(LoadedModel::load(&folder, LoadOptions::default()).unwrap().unpack_target(), None);
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn errors_name_the_model_instead_of_the_unpacked_files() {
    let work = tempfile::tempdir().unwrap();
    let pack = work.path().join("broken.tfpack");
    let Some(corpus) = corpus("errors_name_the_model_instead_of_the_unpacked_files") else { return };
    // The model's op library is not loaded.
    let broken = SavedModel::open(corpus.join("negative/tfdf_without_library/model")).unwrap();
    broken.save(&pack, SaveOptions::default()).unwrap();
    let error = LoadedModel::load(&pack, LoadOptions::default()).unwrap_err();
    let said = format!("{error} {:?} {:?}", error.detail(), error.hint());
    assert!(said.contains("broken.tfpack") && said.contains("load its op library"), "{said}");
    assert!(!said.contains("ram://") && !said.contains("/tf-persist-"), "{said}");
}
