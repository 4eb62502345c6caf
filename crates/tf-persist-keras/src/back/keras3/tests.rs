use serde_json::json;

use super::super::{KerasSaveOptions, KerasVersion};
use super::*;
use crate::config::Dialect;

/// A `.keras` file of Keras 2 with these layers in a row behind an input of shape `[null, 3]`, and these weights.
fn keras2(layers: &[Value], weights: &[(&str, Tensor)], compile: Option<Value>) -> KerasModel {
    let input = json!({"class_name": "InputLayer", "name": "x", "inbound_nodes": [],
        "config": {"name": "x", "batch_input_shape": [null, 3], "dtype": "float32", "sparse": false, "ragged": false}});
    let (mut entries_of_model, mut before) = (vec![input], "x".to_owned());
    for layer in layers {
        let mut layer = layer.clone();
        let name = layer["config"]["name"].as_str().unwrap().to_owned();
        layer["name"] = name.as_str().into();
        layer["inbound_nodes"] = json!([[[before, 0, 0, {}]]]);
        entries_of_model.push(layer);
        before = name;
    }
    let mut config = json!({"class_name": "Functional", "config": {"name": "m", "layers": entries_of_model,
        "input_layers": [["x", 0, 0]], "output_layers": [[before, 0, 0]]}});
    if let Some(compile) = compile {
        config["compile_config"] = compile;
    }
    let mut tree = Group::default();
    for (path, value) in weights {
        tree.insert(path, value.clone()).unwrap();
    }
    let bytes = KerasFile::Archive(entries(&config, "2.15.0"), tree).to_bytes().unwrap();
    let source = Source::from_bytes("old.keras".as_ref(), bytes, None).unwrap();
    KerasModel::new(source, &OpenOptions::default()).unwrap()
}

fn dense(name: &str, activation: &str) -> Value {
    json!({"class_name": "Dense", "config": {"name": name, "trainable": true, "dtype": "float32", "units": 2,
        "activation": activation, "use_bias": false, "kernel_regularizer": null,
        "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": null, "dtype": "float32"}}}})
}

fn numbers(shape: &[usize], first: f32) -> Tensor {
    let count: usize = shape.iter().product();
    Tensor::from_slice(shape, &(0..count).map(|index| first + index as f32).collect::<Vec<_>>()).unwrap()
}

/// Converts a model, and opens what was written.
fn converted(model: &KerasModel) -> Result<(KerasModel, Vec<String>)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.keras");
    let saved = model.save(&path, &KerasSaveOptions::default().keras(KerasVersion::Keras3))?;
    assert!(saved.is_converted);
    Ok((crate::open(path)?, saved.notes))
}

fn refusal(model: &KerasModel) -> String {
    converted(model).unwrap_err().to_string()
}

#[test]
fn weights_configs_and_the_optimizer_go_over() {
    let adam = json!({"class_name": "Custom>Adam", "config": {"name": "Adam", "learning_rate": 0.5, "is_legacy_optimizer": false}});
    let compile = json!({"optimizer": adam, "loss": "mse", "metrics": ["mae"]});
    // Keras 2 does not save the learning rate.
    let weights = [
        ("layers/dense/vars/0", numbers(&[3, 2], 1.0)),
        ("optimizer/vars/0", Tensor::from_slice(&[], &[7_i64]).unwrap()),
        ("optimizer/vars/1", numbers(&[3, 2], 2.0)),
        ("optimizer/vars/2", numbers(&[3, 2], 3.0)),
    ];
    let (new, notes) = converted(&keras2(&[dense("d/1", "hard_sigmoid")], &weights, Some(compile))).unwrap();
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!((new.source.dialect, new.keras_version()), (Dialect::Keras3, Some(VERSION)));
    let layers = &new.source.model["config"]["layers"];
    assert_eq!(layers[0]["config"]["batch_shape"], json!([null, 3]));
    assert_eq!((&layers[1]["name"], &layers[1]["module"]), (&json!("d_1"), &json!("keras.layers")));
    let activation = &layers[1]["config"]["activation"];
    assert_eq!(activation["class_name"], "Pipeline");
    assert_eq!(activation["config"]["layers"][0]["config"]["scale"], 0.2);
    assert_eq!(new.source.model["config"]["output_layers"], json!(["d_1", 0, 0]));
    let saved = new.saved_weights().unwrap();
    let datasets = weights::locate(&new.source, &new.model, &saved).unwrap();
    assert_eq!(datasets[0].path(), "layers/dense/vars/0");
    assert_eq!(datasets[0].read().unwrap().view::<f32>().unwrap()[..], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let state = train::optimizer_datasets(&new.source).unwrap();
    assert_eq!(state.len(), 4);
    assert_eq!(state[0].read().unwrap().view::<i64>().unwrap()[..], [7]);
    assert_eq!(state[1].read().unwrap().view::<f32>().unwrap()[..], [0.5]);
    assert_eq!(state[3].read().unwrap().view::<f32>().unwrap()[0], 3.0);
}

#[test]
fn all_that_keras_3_does_not_have_is_refused_at_once() {
    let layer = |class: &str, config: Value| json!({"class_name": class, "config": config});
    let layers = [
        layer("RandomHeight", json!({"name": "h", "factor": 0.1})),
        layer(
            "BatchNormalization",
            json!({"name": "b", "axis": [1], "renorm": false, "center": false, "scale": false}),
        ),
    ];
    let weights = [
        ("layers/batch_normalization/vars/0", numbers(&[3], 0.0)),
        ("layers/batch_normalization/vars/1", numbers(&[3], 1.0)),
    ];
    let model = keras2(&layers, &weights, None);
    let mut converter = Converter::default();
    let mut config = model.source.model.clone();
    config["config"]["layers"][1]["class_name"] = "LocallyConnected1D".into();
    config["config"]["layers"][2]["config"]["axis"] = json!([1, 2]);
    assert!(converter.layer(&config).is_none());
    let found = [
        "layer `h`: Keras 3 has no class `LocallyConnected1D`",
        "layer `b`: it has several axes, and Keras 3 takes one",
    ];
    assert_eq!(converter.findings, found);
}

#[test]
fn a_model_that_cannot_be_compiled_is_converted_without() {
    let compile = json!({"optimizer": {"class_name": "SGD", "config": {"decay": 0.5}}, "loss": "mse"});
    let weights = [("layers/dense/vars/0", numbers(&[3, 2], 1.0))];
    let (new, notes) = converted(&keras2(&[dense("d", "relu")], &weights, Some(compile))).unwrap();
    assert!(new.source.compile_config.is_none());
    assert_eq!(notes.len(), 1);
    assert!(notes[0].starts_with("it is not compiled: "), "{notes:?}");
}

#[test]
fn different_masks_are_refused_where_keras_3_merges_them_otherwise() {
    let embedding = json!({"class_name": "Embedding", "name": "e", "inbound_nodes": [[["x", 0, 0, {}]], [["y", 0, 0, {}]]],
        "config": {"name": "e", "input_dim": 4, "output_dim": 2, "mask_zero": true}});
    let merge = |calls: Value| {
        json!({"class_name": "Add", "name": "a", "inbound_nodes": [[calls[0], calls[1]]],
        "config": {"name": "a", "trainable": true}})
    };
    let input = |name: &str| {
        json!({"class_name": "InputLayer", "name": name, "inbound_nodes": [],
        "config": {"name": name, "batch_input_shape": [null, 3], "dtype": "int32"}})
    };
    let model = |calls: Value| {
        let config = json!({"class_name": "Functional", "config": {"name": "m",
            "layers": [input("x"), input("y"), embedding, merge(calls)],
            "input_layers": [["x", 0, 0], ["y", 0, 0]], "output_layers": [["a", 0, 0]]}});
        let mut tree = Group::default();
        tree.insert("layers/embedding/vars/0", numbers(&[4, 2], 0.0)).unwrap();
        let bytes = KerasFile::Archive(entries(&config, "2.15.0"), tree).to_bytes().unwrap();
        KerasModel::new(Source::from_bytes("m".as_ref(), bytes, None).unwrap(), &OpenOptions::default()).unwrap()
    };
    let reason = refusal(&model(json!([["e", 0, 0, {}], ["e", 1, 0, {}]])));
    assert!(reason.ends_with("layer `a`: its inputs have different masks, which Keras 3 merges otherwise"), "{reason}");
    assert!(converted(&model(json!([["e", 0, 0, {}], ["e", 0, 0, {}]]))).is_ok());
}

#[test]
fn calls_are_counted_as_keras_3_does() {
    let entry = |class: &str| json!({"class_name": class, "name": "inner"});
    for (class, in_calls, in_outputs) in [("Functional", 0, 1), ("Sequential", 0, 0), ("Dense", 1, 1)] {
        let entries = [entry(class)];
        let names = model::Names::of(&entries, false);
        let origin = crate::parse::Origin { layer: "inner".into(), call: 1, output: 0 };
        assert_eq!(names.history(&origin, false).unwrap(), json!(["inner", in_calls, 0]), "{class}");
        assert_eq!(names.history(&origin, true).unwrap(), json!(["inner", in_outputs, 0]), "{class}");
    }
}

#[test]
fn functions_of_tensorflow_become_operations() {
    let entry = |function: &str, arguments: Value| {
        json!({"class_name": "TFOpLambda", "name": "f",
        "config": {"name": "f", "function": function}, "inbound_nodes": [["x", 0, 0, arguments]]})
    };
    let operation = |entry: &Value| functions::operation(entry, "f".into()).map_err(|reason| reason.to_string());
    let call =
        |entry: &Value| functions::call(entry, &|origin| Ok(origin.layer.clone().into())).unwrap()["args"].clone();
    let mean = entry("math.reduce_mean", json!({"axis": -1, "keepdims": true, "name": null}));
    let (module, class, config) = operation(&mean).unwrap();
    assert_eq!((module, class.as_str()), ("keras.src.ops.numpy", "Mean"));
    assert_eq!(Value::from(config), json!({"name": "f", "axis": -1, "keepdims": true}));
    let product = entry("math.multiply", json!({"y": 2.0, "name": null}));
    assert_eq!(call(&product)[1], 2.0);
    let slice = json!({"slice_spec": [{"start": 1, "stop": null, "step": null}, {"class_name": "__ellipsis__"}]});
    let key = &call(&entry("__operators__.getitem", slice))[1];
    assert_eq!((&key[0]["class_name"], &key[0]["config"]["start"]), (&json!("__slice__"), &json!(1)));
    assert_eq!(key[1]["class_name"], "__ellipsis__");
    let unknown = operation(&entry("signal.stft", json!({}))).unwrap_err();
    assert_eq!(unknown, "the function `signal.stft` of TensorFlow has no counterpart that is known");
    let transposed = operation(&entry("linalg.matmul", json!({"b": ["x", 0, 0], "transpose_b": true}))).unwrap_err();
    assert_eq!(transposed, "it is called with `transpose_b`, which is not known");
    let sized = operation(&entry("reshape", json!({"shape": [["x", 0, 0], 2]}))).unwrap_err();
    assert_eq!(sized, "`shape` is a tensor, and an operation of Keras 3 takes numbers");
}
