//! Packs answer as the folders they were made of, wherever their files are put for TensorFlow.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tf_persist_core::{LoadOptions, LoadSavedModel, LoadedModel, SaveOptions, SavedModel, Tensor, Unpacked};
use tf_persist_testing::{corpus, root};

use crate::compare::largest_difference;
use crate::recorded::{Recorded, models};

#[test]
fn every_model_of_ours_answers_out_of_a_pack() {
    packs(&models());
}

#[test]
#[expect(clippy::print_stdout, reason = "what is left out is said")]
fn every_real_model_answers_out_of_a_pack() {
    let Some(corpus) = corpus("every_real_model_answers_out_of_a_pack") else { return };
    let (plain, custom): (Vec<_>, Vec<_>) =
        Recorded::all(&corpus.join("dev")).into_iter().partition(|recorded| recorded.meta.custom_op_libs.is_empty());
    for recorded in custom {
        println!("left out, needs an op library: {}", recorded.name);
    }
    packs(&plain);
}

/// Runs the recorded cases of each model out of memory and off the disk.
#[expect(clippy::print_stdout, reason = "the differences are worth a look")]
fn packs(all: &[Recorded]) {
    for recorded in all {
        let model = SavedModel::from_bytes(SavedModel::open(&recorded.model).unwrap().to_bytes().unwrap()).unwrap();
        for place in [Unpacked::Memory, Unpacked::Disk] {
            let largest = check(recorded, &model, place);
            println!("{}: {} cases, {place:?}, off by {largest:e}", recorded.name, recorded.meta.cases.len());
        }
    }
}

/// Runs every case in order, one session for each tag set; the largest difference to what was recorded.
fn check(recorded: &Recorded, model: &SavedModel, place: Unpacked) -> f64 {
    let mut sessions: BTreeMap<Vec<String>, LoadedModel> = BTreeMap::new();
    let mut largest = 0.0_f64;
    for case in &recorded.meta.cases {
        let tags = recorded.tags_of(case);
        let about = format!("{}, `{}`, {place:?}", recorded.name, case.signature);
        let session = sessions.entry(tags.clone()).or_insert_with(|| {
            // Memory is what is taken unless something else is said.
            let options = if place == Unpacked::Memory {
                LoadOptions::default()
            } else {
                LoadOptions::default().unpack_to(place)
            };
            model.load(options.tags(tags)).unwrap_or_else(|error| panic!("{about}: {error} {:?}", error.detail()))
        });
        assert_eq!(session.unpacked(), Some(place), "{about}");
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

/// What a model counted is saved into a pack, and counted on from there; nothing is left behind.
#[test]
fn state_is_saved_into_a_pack_and_taken_up_again() {
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
        // From a pack it is saved over that pack.
        loaded = LoadedModel::load(&pack, LoadOptions::default()).unwrap();
    }
    assert_eq!(names(work.path()), ["m.tfpack"]);
    // Bytes of a model that runs have its state as well.
    let bytes = loaded.to_bytes(SaveOptions::default()).unwrap();
    let again = SavedModel::from_bytes(bytes).unwrap().load(LoadOptions::default()).unwrap();
    assert_eq!(run(&again), run(&loaded));
    let folder = work.path().join("folder");
    loaded.save(&folder, SaveOptions::default()).unwrap();
    assert_eq!(LoadedModel::load(&folder, LoadOptions::default()).unwrap().unpacked(), None);
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn what_tensorflow_says_of_its_place_is_said_of_the_model() {
    let work = tempfile::tempdir().unwrap();
    let pack = work.path().join("broken.tfpack");
    let Some(corpus) = corpus("what_tensorflow_says_of_its_place_is_said_of_the_model") else { return };
    // The library that the model needs is not there.
    let broken = SavedModel::open(corpus.join("negative/tfdf_without_library/model")).unwrap();
    broken.save(&pack, SaveOptions::default()).unwrap();
    let error = LoadedModel::load(&pack, LoadOptions::default()).unwrap_err();
    let said = format!("{error} {:?} {:?}", error.detail(), error.hint());
    assert!(said.contains("broken.tfpack") && said.contains("--op-library"), "{said}");
    assert!(!said.contains("ram://") && !said.contains("/tf-persist-"), "{said}");
}
