//! Invalid models and inputs are refused with an error, before TensorFlow runs if possible.

use std::fs;
use std::path::Path;

use tf_persist_core::{
    DType, Error, ErrorKind, LoadOptions, LoadedModel, ModelError, ModelErrorKind, SavedModel, SavedModelError,
    Setting, Tensor,
};
use tf_persist_testing::{copy_folder, corpus, root};

use crate::recorded::Recorded;

/// The model `half_plus_two` in a folder that may be damaged.
fn copy_of(name: &str) -> tempfile::TempDir {
    let work = tempfile::tempdir().unwrap();
    let model = root().join("models").join(name).join("model");
    copy_folder(&model, &work.path().join("model"));
    work
}

fn refusal(model: &Path) -> Error {
    LoadedModel::load(model, LoadOptions::default()).unwrap_err()
}

#[test]
fn wrong_inputs_are_refused_by_name() {
    let model = LoadedModel::load(root().join("models/half_plus_two/model"), LoadOptions::default()).unwrap();
    let signature = model.signature("serving_default").unwrap();
    let x = || Tensor::from_slice(&[1], &[1.0_f32]).unwrap();
    let wide = Tensor::from_slice(&[1], &[1.0_f64]).unwrap();
    let said = |inputs: Vec<(&str, Tensor)>| signature.run(inputs).unwrap_err().to_string();
    assert_eq!(said(vec![]), "signature `serving_default` needs `x`, which was not given");
    assert_eq!(said(vec![("x", x()), ("z", x())]), "signature `serving_default` has no input `z`; its inputs are `x`");
    assert_eq!(said(vec![("x", wide)]), "input `x` of signature `serving_default` is float32, not float64");
    assert_eq!(said(vec![("x", x()), ("x", x())]), "input `x` of signature `serving_default` was given twice");
    let unknown = model.signature("nope").unwrap_err().to_string();
    assert!(unknown.contains("has no signature `nope`") && unknown.contains("`serving_default`"), "{unknown}");
    assert!(signature.run([("x", x())]).unwrap().get("q").unwrap_err().to_string().contains("the outputs are `y`"));
}

#[test]
fn wrong_shape_is_explained() {
    let model = LoadedModel::load(root().join("models/digits/model"), LoadOptions::default()).unwrap();
    let image = Tensor::zeros(DType::Float32, &[1, 7, 7, 1]).unwrap();
    let error = model.signature("serving_default").unwrap().run([("image", image)]).unwrap_err();
    assert!(error.to_string().contains("takes the shape [-1, 8, 8, 1], not [1, 7, 7, 1]"), "{error}");
}

#[test]
fn unknown_tags_list_the_tags_of_the_model() {
    let multi = root().join("models/multi/model");
    let error = LoadedModel::load(&multi, LoadOptions::default().tags(["gpu"])).unwrap_err();
    assert!(error.to_string().contains("`serve`, `serve,train`"), "{error}");
}

#[test]
fn unsupported_dtypes_are_refused_by_name() {
    let recorded = Recorded::read(&root().join("models/float8"));
    let model = LoadedModel::load(&recorded.model, LoadOptions::default()).unwrap();
    assert!(!recorded.meta.refused.is_empty());
    for signature in recorded.meta.refused.keys() {
        let x = Tensor::from_slice(&[2], &[1.0_f32, 2.0]).unwrap();
        let asked = model.signature(signature).and_then(|signature| signature.run([("x", x)]));
        let error = asked.unwrap_err().to_string();
        assert!(error.contains("float8_e4m3fn"), "{error}");
    }
}

#[test]
fn missing_or_short_variables_are_refused_before_tensorflow_runs() {
    /// The damage to a model.
    type Damage = (&'static str, fn(&Path));
    let break_ways: [Damage; 6] = [
        ("no variables folder", |model| fs::remove_dir_all(model.join("variables")).unwrap()),
        ("no index", |model| fs::remove_file(model.join("variables/variables.index")).unwrap()),
        ("no shard", |model| fs::remove_file(model.join("variables/variables.data-00000-of-00001")).unwrap()),
        ("a short shard", |model| fs::write(model.join("variables/variables.data-00000-of-00001"), "x").unwrap()),
        ("a short index", |model| {
            let path = model.join("variables/variables.index");
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("a flipped byte in the index", |model| {
            let path = model.join("variables/variables.index");
            let mut bytes = fs::read(&path).unwrap();
            bytes[8] ^= 0x40;
            fs::write(&path, bytes).unwrap();
        }),
    ];
    for (what, damage) in break_ways {
        let work = copy_of("half_plus_two");
        let path = work.path().join("model");
        damage(&path);
        let error = refusal(&path);
        assert!(!matches!(error, Error::TensorFlow { .. }), "{what}: {error}");
        assert!(error.to_string().contains("variables"), "{what}: {error}");
        // The intact parts can still be read.
        assert!(SavedModel::open(&path).unwrap().signature("serving_default").is_ok(), "{what}");
    }
}

#[test]
fn every_negative_case_of_the_corpus_gives_its_error() {
    let Some(corpus) = corpus("every_negative_case_of_the_corpus_gives_its_error") else { return };
    let model = |name: &str| corpus.join("negative").join(name).join("model");

    let error = refusal(&model("estimator_tf113_no_variables_dir"));
    assert!(error.to_string().contains("variables"), "{error}");
    let error = refusal(&model("session_bundle_pre_savedmodel"));
    assert_eq!(error.kind(), ErrorKind::Model(ModelErrorKind::NotASavedModel));
    assert!(error.to_string().contains("SessionBundle"), "{error}");
    let error = refusal(&model("taxi_estimator_removed_kernel"));
    assert!(error.to_string().contains("BoostedTreesBucketize"), "{error}");
    assert!(
        error.hint().unwrap().text().contains("TensorFlow 2.8 was the last that could run `BoostedTreesBucketize`")
    );
    let error = refusal(&model("tfdf_without_library"));
    assert!(
        error.kind() == ErrorKind::Model(ModelErrorKind::MissingOps)
            && error.to_string().contains("`SimpleMLCreateModelResource`"),
        "{error}"
    );
    assert_eq!(error.hint().unwrap().settings(), [Setting::SetTo("op_library", "ydf-tf".into())]);
    assert!(!SavedModel::open(model("tfdf_without_library")).unwrap().meta_graphs()[0].signatures().is_empty());
    let error = LoadedModel::load(model("wrong_tags"), LoadOptions::default().tags(["serve"])).unwrap_err();
    let Some(ModelError::SavedModel(SavedModelError::UnknownTags { available, .. })) = error.model() else {
        panic!("{error}")
    };
    assert_eq!(available, &[["transform"]]);
}
