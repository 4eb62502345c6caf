//! State that runs change is saved, and Python continues from it.

use std::fs;

use tf_persist_core::{LoadOptions, LoadedModel, NO_INPUTS, SaveOptions, Tensor};
use tf_persist_testing::root;

use crate::recorded::Recorded;

fn counter() -> Recorded {
    Recorded::read(&root().join("models/counter"))
}

fn value(model: &LoadedModel) -> Tensor {
    let outputs = model.signature("value").unwrap().run(NO_INPUTS).unwrap();
    outputs.iter().next().unwrap().1.clone()
}

#[test]
fn current_variables_are_saved() {
    let recorded = counter();
    let work = tempfile::tempdir().unwrap();
    let model = LoadedModel::load(&recorded.model, LoadOptions::default()).unwrap();
    let before = value(&model);
    // The recorded cases change the state, so it ends with another value.
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
    // The original is unchanged.
    let original = LoadedModel::load(&recorded.model, LoadOptions::default()).unwrap();
    assert_eq!(value(&original), before);
}

#[test]
fn a_model_can_be_saved_over_its_source() {
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

/// A TensorFlow 1 variable, a signature that adds to it, and a signature that returns its input.
const REFERENCE_VARIABLE: &str = r#"
    saved_model_schema_version: 1
    meta_graphs {
      meta_info_def { tags: "serve" }
      graph_def {
        node { name: "w" op: "VariableV2" attr { key: "dtype" value { type: DT_FLOAT } }
               attr { key: "shape" value { shape { dim { size: 3 } } } } }
        node { name: "one" op: "Const" attr { key: "dtype" value { type: DT_FLOAT } }
               attr { key: "value" value { tensor { dtype: DT_FLOAT tensor_shape { dim { size: 3 } } float_val: 1 } } } }
        node { name: "init" op: "Assign" input: "w" input: "one" attr { key: "T" value { type: DT_FLOAT } } }
        node { name: "add" op: "AssignAdd" input: "w" input: "one" attr { key: "T" value { type: DT_FLOAT } } }
        versions { producer: 26 }
      }
      collection_def { key: "saved_model_main_op" value { node_list { value: "init" } } }
      signature_def { key: "add" value { outputs { key: "y" value { name: "add:0" dtype: DT_FLOAT_REF } } } }
      signature_def { key: "echo" value { inputs { key: "x" value { name: "one:0" dtype: DT_FLOAT } }
                                          outputs { key: "y" value { name: "one:0" dtype: DT_FLOAT } } } }
    }"#;

#[test]
fn an_output_does_not_change_with_its_variable() {
    let work = tempfile::tempdir().unwrap();
    fs::write(work.path().join("saved_model.pbtxt"), REFERENCE_VARIABLE).unwrap();
    let model = LoadedModel::load(work.path(), LoadOptions::default()).unwrap();
    let add = model.signature("add").unwrap();
    let first = add.run(NO_INPUTS).unwrap();
    assert_eq!(first["y"].view::<f32>().unwrap(), [2.0; 3]);
    let second = add.run(NO_INPUTS).unwrap();
    assert_eq!(second["y"].view::<f32>().unwrap(), [3.0; 3]);
    assert_eq!(
        first["y"].view::<f32>().unwrap(),
        [2.0; 3],
        "TensorFlow wrote to the variable's memory, not to the answer"
    );
}

#[test]
fn a_signature_may_return_its_inputs() {
    let work = tempfile::tempdir().unwrap();
    fs::write(work.path().join("saved_model.pbtxt"), REFERENCE_VARIABLE).unwrap();
    let model = LoadedModel::load(work.path(), LoadOptions::default()).unwrap();
    let x = Tensor::from_slice(&[2], &[5.0_f32, 6.0]).unwrap();
    assert_eq!(model.signature("echo").unwrap().run([("x", &x)]).unwrap()["y"], x);
}
