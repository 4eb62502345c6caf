//! State that a run leaves behind is saved, and Python goes on from it.

use std::fs;

use tf_persist_core::{LoadOptions, LoadedModel, NO_INPUTS, SaveOptions, Tensor};

use crate::recorded::{Recorded, root};

fn counter() -> Recorded {
    Recorded::read(&root().join("models/counter"))
}

fn value(model: &LoadedModel) -> Tensor {
    let outputs = model.signature("value").unwrap().run(NO_INPUTS).unwrap();
    outputs.iter().next().unwrap().1.clone()
}

#[test]
fn the_present_variables_are_saved() {
    let recorded = counter();
    let work = tempfile::tempdir().unwrap();
    let model = LoadedModel::load(&recorded.model, LoadOptions::default()).unwrap();
    let before = value(&model);
    // The recorded cases change the state, and end with another value than they began with.
    for case in &recorded.meta.cases {
        let inputs = recorded.inputs(case);
        let signature = model.signature(&case.signature).unwrap();
        signature.run(inputs.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
    }
    let after = value(&model);
    assert_ne!(before, after);
    let saved = work.path().join("saved");
    model.save(&saved, SaveOptions::default()).unwrap();
    let again = LoadedModel::load(&saved, LoadOptions::default()).unwrap();
    assert_eq!(value(&again), after);
    // The original is as it was.
    let original = LoadedModel::load(&recorded.model, LoadOptions::default()).unwrap();
    assert_eq!(value(&original), before);
}

#[test]
fn a_model_may_be_saved_over_the_one_it_was_loaded_from() {
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("model");
    let model = LoadedModel::load(counter().model, LoadOptions::default()).unwrap();
    model.save(&path, SaveOptions::default()).unwrap();
    let model = LoadedModel::load(&path, LoadOptions::default()).unwrap();
    let refused = model.save(&path, SaveOptions::default()).unwrap_err();
    assert!(refused.to_string().contains("exists already"), "{refused}");
    model.save(&path, SaveOptions::default().overwrite(true)).unwrap();
    assert_eq!(value(&LoadedModel::load(&path, LoadOptions::default()).unwrap()), value(&model));
    assert_eq!(fs::read_dir(work.path()).unwrap().count(), 1, "nothing is left beside it");
}
