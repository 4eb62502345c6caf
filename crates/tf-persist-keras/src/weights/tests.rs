//! Files that this crate writes, with their weights in all layouts, and with weights missing or too many.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tf_persist_savedmodel::{DType, SavedModel, Tensor};

use crate::archive::Attribute;
use crate::archive::hdf5_writer::Group;
use crate::archive::zip_writer::KerasZipWriter;
use crate::{KerasModel, OpenOptions};

/// A model of layers one behind the other.
fn sequential(name: &str, layers: &[Value]) -> Value {
    let input =
        json!({"class_name": "InputLayer", "config": {"name": "x", "batch_shape": [null, 2], "dtype": "float32"}});
    let layers: Vec<Value> = [input].into_iter().chain(layers.iter().cloned()).collect();
    json!({"class_name": "Sequential", "config": {"name": name, "trainable": true, "layers": layers}})
}

fn dense(name: &str, trainable: bool) -> Value {
    json!({"class_name": "Dense", "config": {"name": name, "trainable": trainable, "units": 2}})
}

fn kernel(first: f32) -> Tensor {
    Tensor::from_slice(&[2, 2], &[first, 0.5, 0.25, 1.0]).unwrap()
}

fn bias(first: f32) -> Tensor {
    Tensor::from_slice(&[2], &[first, 0.0]).unwrap()
}

/// Writes an `.h5` file whose layers have these weights.
fn write_h5(path: &Path, model: Option<&Value>, layers: &[(&str, &[(&str, Tensor)])]) {
    let mut root = Group::default();
    root.set("keras_version", Attribute::Text("3.15.1".into()));
    let mut group = &mut root;
    if let Some(model) = model {
        group.set("model_config", Attribute::Text(model.to_string()));
        group = group.group("model_weights").unwrap();
    }
    group.set_texts("layer_names", layers.iter().map(|(name, _)| (*name).to_owned()).collect()).unwrap();
    for (name, weights) in layers {
        let layer = group.group(name).unwrap();
        layer.set_texts("weight_names", weights.iter().map(|(name, _)| (*name).to_owned()).collect()).unwrap();
        for (name, value) in *weights {
            layer.insert(name, value.clone()).unwrap();
        }
    }
    std::fs::write(path, root.to_bytes().unwrap()).unwrap();
}

/// Writes a `.keras` file with these datasets.
fn write_keras(path: &Path, model: &Value, datasets: &[(&str, Tensor)]) {
    let mut root = Group::default();
    for (path, value) in datasets {
        root.insert(path, value.clone()).unwrap();
    }
    let mut zip = KerasZipWriter::new(std::fs::File::create(path).unwrap());
    zip.add("metadata.json", br#"{"keras_version": "3.15.1"}"#).unwrap();
    zip.add("config.json", model.to_string().as_bytes()).unwrap();
    zip.add("model.weights.h5", &root.to_bytes().unwrap()).unwrap();
    zip.finish().unwrap();
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.h5");
    (folder, path)
}

fn exported(model: &KerasModel) -> SavedModel {
    model.to_saved_model().unwrap()
}

/// The first element of a weight.
fn first(model: &SavedModel, name: &str) -> f32 {
    model.read_variable(name).unwrap().view::<f32>().unwrap()[0]
}

fn reason(model: &KerasModel) -> String {
    let folder = tempfile::tempdir().unwrap();
    let error = model.export(folder.path().join("out"), false).unwrap_err().to_string();
    error.split_once("damaged: ").map_or(error.clone(), |(_, reason)| reason.to_owned())
}

#[test]
fn frozen_layers_of_a_nested_model_come_last() {
    let (_folder, path) = folder();
    let inner = sequential("inner", &[dense("a", false), dense("b", true)]);
    let model = sequential("outer", &[inner]);
    let weights = [
        ("scope_2/kernel:0", kernel(3.0)),
        ("scope_2/bias:0", bias(4.0)),
        ("scope_1/kernel:0", kernel(1.0)),
        ("scope_1/bias:0", bias(2.0)),
    ];
    write_h5(&path, Some(&model), &[("inner", &weights)]);
    let saved = exported(&crate::open(&path).unwrap());
    assert_eq!(first(&saved, "weights/inner/a/kernel"), 1.0);
    assert_eq!(first(&saved, "weights/inner/b/bias"), 4.0);
}

#[test]
fn weights_alone_are_given_to_layers_by_their_order() {
    let (folder, path) = folder();
    let architecture = folder.path().join("model.json");
    let model = sequential("m", &[dense("dense", true), dense("dense_1", true)]);
    std::fs::write(&architecture, model.to_string()).unwrap();
    let (one, two) = (
        [("dense_7/kernel", kernel(1.0)), ("dense_7/bias", bias(2.0))],
        [("dense_8/kernel", kernel(3.0)), ("dense_8/bias", bias(4.0))],
    );
    write_h5(&path, None, &[("input_9", &[]), ("dense_7", &one), ("dense_8", &two)]);
    let error = crate::open(&path).unwrap_err().to_string();
    assert!(error.contains("it has weights and no model"), "{error}");
    let saved = exported(&OpenOptions::default().architecture(&architecture).open(&path).unwrap());
    assert_eq!(first(&saved, "weights/dense/kernel"), 1.0);
    assert_eq!(first(&saved, "weights/dense_1/bias"), 4.0);
}

#[test]
fn all_that_is_wrong_with_weights_is_told_at_once() {
    let (_folder, path) = folder();
    let model = sequential("m", &[dense("a", true), dense("b", true)]);
    let of_a = [("a/kernel", kernel(1.0)), ("a/bias", bias(1.0)), ("a/other", bias(1.0))];
    let of_b = [("b/kernel", Tensor::zeros(DType::Float32, &[3, 2]).unwrap())];
    write_h5(&path, Some(&model), &[("a", &of_a), ("b", &of_b), ("c", &of_a)]);
    assert_eq!(
        reason(&crate::open(&path).unwrap()),
        "`kernel` of layer `b` has shape [3, 2] in the file, and [2, 2] in the model; `bias` of layer `b` has no value; \
         layer `a` has a weight `a/other` in the file that the model does not have; the file has weights of a layer `c` \
         that the model does not have"
    );
}

#[test]
fn a_folder_with_too_many_or_too_few_weights_is_refused() {
    let (folder, _) = folder();
    let path = folder.path().join("model.keras");
    let model = sequential("m", &[dense("a", true)]);
    let datasets = [
        ("layers/dense/vars/0", kernel(1.0)),
        ("layers/dense/vars/2", bias(1.0)),
        ("layers/dense/seed_generator/vars/0", bias(1.0)),
        ("optimizer/vars/0", bias(1.0)),
    ];
    write_keras(&path, &model, &datasets);
    assert_eq!(
        reason(&crate::open(&path).unwrap()),
        "`bias` of layer `a` has no value; the file has a weight `layers/dense/vars/2` that the model does not have"
    );
}

#[test]
fn folders_of_tensorflow_2_13_count_layers_twice() {
    let (folder, _) = folder();
    let path = folder.path().join("model.keras");
    let model = sequential("m", &[dense("a", true), dense("b", true)]);
    let at = |folder: &str, name: &str| format!("_layer_checkpoint_dependencies/{folder}/vars/{name}");
    let names = [at("dense", "0"), at("dense", "1"), at("dense_2", "0"), at("dense_2", "1")];
    let values = [kernel(1.0), bias(2.0), kernel(3.0), bias(4.0)];
    let datasets: Vec<(&str, Tensor)> = names.iter().map(String::as_str).zip(values).collect();
    write_keras(&path, &model, &datasets);
    let saved = exported(&crate::open(&path).unwrap());
    assert_eq!(first(&saved, "weights/a/bias"), 2.0);
    assert_eq!(first(&saved, "weights/b/kernel"), 3.0);
}

#[test]
fn values_are_cast_to_the_dtype_of_the_model() {
    let (folder, _) = folder();
    let path = folder.path().join("model.keras");
    let model = sequential("m", &[dense("a", true)]);
    let kernel = Tensor::from_slice(&[2, 2], &[0.1_f64, 1.0, 2.0, 3.0]).unwrap();
    let bias = Tensor::from_slice(&[2], &[7_i64, 8]).unwrap();
    write_keras(&path, &model, &[("layers/dense/vars/0", kernel), ("layers/dense/vars/1", bias)]);
    let saved = exported(&crate::open(&path).unwrap());
    assert_eq!(first(&saved, "weights/a/kernel"), 0.1);
    assert_eq!(first(&saved, "weights/a/bias"), 7.0);
    let texts = Tensor::from_strings(&[2], ["a", "b"]).unwrap();
    write_keras(&path, &model, &[("layers/dense/vars/0", self::kernel(1.0)), ("layers/dense/vars/1", texts)]);
    assert_eq!(
        reason(&crate::open(&path).unwrap()),
        "`bias` of layer `a` is string in the file, and float32 in the model"
    );
}

#[test]
fn a_layer_in_two_nested_models_is_saved_once() {
    let (folder, _) = folder();
    let path = folder.path().join("model.keras");
    let mut again = dense("shared", true);
    again["shared_object_id"] = json!(7);
    let one = sequential("one", &[dense("shared", true)]);
    let two = sequential("two", &[again, dense("own", true)]);
    let model = sequential("m", &[one, two]);
    let datasets = [
        ("layers/sequential/layers/dense/vars/0", kernel(1.0)),
        ("layers/sequential/layers/dense/vars/1", bias(2.0)),
        ("layers/sequential_1/layers/dense_1/vars/0", kernel(3.0)),
        ("layers/sequential_1/layers/dense_1/vars/1", bias(4.0)),
    ];
    write_keras(&path, &model, &datasets);
    let saved = exported(&crate::open(&path).unwrap());
    assert_eq!(saved.variables().unwrap().all.len(), 4);
    assert_eq!(first(&saved, "weights/one/shared/bias"), 2.0);
    assert_eq!(first(&saved, "weights/two/own/bias"), 4.0);
}

#[test]
fn shards_are_files_beside_their_list() {
    let (folder, _) = folder();
    let (list, architecture) = (folder.path().join("m.weights.json"), folder.path().join("model.json"));
    let model = sequential("m", &[dense("a", true)]);
    std::fs::write(&architecture, model.to_string()).unwrap();
    for (file, path, value) in [("m_0.weights.h5", "0", kernel(1.0)), ("m_1.weights.h5", "1", bias(2.0))] {
        let mut root = Group::default();
        root.insert(&format!("layers/dense/vars/{path}"), value).unwrap();
        std::fs::write(folder.path().join(file), root.to_bytes().unwrap()).unwrap();
    }
    let open = |map: Value| {
        std::fs::write(&list, json!({"weight_map": map}).to_string()).unwrap();
        OpenOptions::default().architecture(&architecture).open(&list)
    };
    let files = json!({"/layers/dense/vars": ["m_0.weights.h5", "m_1.weights.h5"]});
    let saved = exported(&open(files).unwrap());
    assert_eq!((first(&saved, "weights/a/kernel"), first(&saved, "weights/a/bias")), (1.0, 2.0));
    let outside = open(json!({"/layers/dense/vars": "../m_0.weights.h5"})).unwrap_err().to_string();
    assert!(outside.ends_with("its file `../m_0.weights.h5` is not a name in its folder"), "{outside}");
    assert!(open(json!({"/layers/dense/vars": "none.weights.h5"})).is_err());
}

#[test]
fn archives_of_numpy_are_refused_by_name() {
    let (folder, _) = folder();
    let path = folder.path().join("model.keras");
    let mut zip = KerasZipWriter::new(std::fs::File::create(&path).unwrap());
    zip.add("layers/dense.npy", b"").unwrap();
    zip.finish().unwrap();
    let error = crate::open(&path).unwrap_err().to_string();
    assert!(error.contains("an archive of numpy"), "{error}");
}
