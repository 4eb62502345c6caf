//! Small models, as the files that are changed.

use std::io::{Cursor, Write};

use serde_json::{Value, json};
use tf_persist_keras::fuzzing;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A layer, with the shape of its input without the batch.
type Sample = (&'static str, Value, Value);

/// Layers of every family. Those that are not known are refused.
#[expect(clippy::too_many_lines, reason = "a table")]
fn layers() -> Vec<Sample> {
    vec![
        ("Dense", json!({"units": 3, "activation": "relu", "use_bias": true}), json!([4])),
        (
            "Dense",
            json!({"units": 2, "activation": {"class_name": "LeakyReLU", "config": {"negative_slope": 0.1}}}),
            json!([null, 4]),
        ),
        ("Flatten", json!({"data_format": "channels_first"}), json!([2, 3, 4])),
        ("Reshape", json!({"target_shape": [3, -1]}), json!([2, 6])),
        ("Permute", json!({"dims": [2, 1]}), json!([2, 6])),
        ("RepeatVector", json!({"n": 3}), json!([4])),
        ("Embedding", json!({"input_dim": 5, "output_dim": 3, "mask_zero": true}), json!([4])),
        ("Masking", json!({"mask_value": 0.0}), json!([4, 2])),
        ("LSTM", json!({"units": 2, "return_sequences": true, "unroll": true, "go_backwards": true}), json!([3, 2])),
        ("LSTM", json!({"units": 2, "stateful": true, "return_state": true}), json!([null, 2])),
        ("GRU", json!({"units": 2, "reset_after": false, "return_sequences": true}), json!([3, 2])),
        ("SimpleRNN", json!({"units": 2, "unroll": true}), json!([3, 2])),
        (
            "Bidirectional",
            json!({"merge_mode": "concat", "layer": {"class_name": "LSTM", "config": {"name": "l", "units": 2, "return_sequences": true}}}),
            json!([3, 2]),
        ),
        (
            "TimeDistributed",
            json!({"layer": {"class_name": "Dense", "config": {"name": "d", "units": 2}}}),
            json!([3, 2]),
        ),
        (
            "RNN",
            json!({"cell": {"class_name": "StackedRNNCells", "config": {"cells": [
            {"class_name": "LSTMCell", "config": {"units": 2}}, {"class_name": "GRUCell", "config": {"units": 3}}]}}, "unroll": true}),
            json!([3, 2]),
        ),
        (
            "ConvLSTM2D",
            json!({"filters": 2, "kernel_size": [2, 2], "padding": "same", "strides": [1, 1], "dilation_rate": [1, 1]}),
            json!([3, 4, 4, 2]),
        ),
        (
            "Conv1D",
            json!({"filters": 2, "kernel_size": [3], "strides": [1], "padding": "causal", "dilation_rate": [2], "groups": 1}),
            json!([8, 2]),
        ),
        (
            "Conv2D",
            json!({"filters": 4, "kernel_size": [3, 3], "strides": [2, 2], "padding": "same", "dilation_rate": [1, 1], "groups": 2, "data_format": "channels_last"}),
            json!([8, 8, 2]),
        ),
        (
            "Conv2D",
            json!({"filters": 2, "kernel_size": [2, 2], "strides": [1, 1], "padding": "valid", "dilation_rate": [2, 2], "data_format": "channels_first"}),
            json!([2, 8, 8]),
        ),
        (
            "Conv3D",
            json!({"filters": 2, "kernel_size": [2, 2, 2], "strides": [1, 1, 1], "padding": "valid", "dilation_rate": [1, 1, 1]}),
            json!([4, 4, 4, 2]),
        ),
        (
            "Conv1DTranspose",
            json!({"filters": 2, "kernel_size": [3], "strides": [2], "padding": "same", "output_padding": null, "dilation_rate": [1]}),
            json!([8, 2]),
        ),
        (
            "Conv2DTranspose",
            json!({"filters": 2, "kernel_size": [3, 3], "strides": [2, 2], "padding": "valid", "output_padding": [1, 1], "dilation_rate": [1, 1]}),
            json!([8, 8, 2]),
        ),
        (
            "Conv3DTranspose",
            json!({"filters": 2, "kernel_size": [2, 2, 2], "strides": [1, 1, 1], "padding": "valid", "output_padding": null}),
            json!([4, 4, 4, 2]),
        ),
        (
            "DepthwiseConv1D",
            json!({"kernel_size": [3], "depth_multiplier": 2, "strides": [1], "padding": "same", "dilation_rate": [1]}),
            json!([8, 2]),
        ),
        (
            "DepthwiseConv2D",
            json!({"kernel_size": [3, 3], "depth_multiplier": 2, "strides": [1, 1], "padding": "same", "dilation_rate": [2, 2]}),
            json!([8, 8, 2]),
        ),
        (
            "SeparableConv1D",
            json!({"filters": 3, "kernel_size": [3], "depth_multiplier": 2, "strides": [1], "padding": "same", "dilation_rate": [1]}),
            json!([8, 2]),
        ),
        (
            "SeparableConv2D",
            json!({"filters": 3, "kernel_size": [3, 3], "depth_multiplier": 1, "strides": [1, 1], "padding": "valid", "dilation_rate": [1, 1]}),
            json!([8, 8, 2]),
        ),
        ("MaxPooling1D", json!({"pool_size": [2], "strides": [2], "padding": "valid"}), json!([8, 2])),
        ("AveragePooling2D", json!({"pool_size": [2, 2], "strides": [2, 2], "padding": "same"}), json!([8, 8, 2])),
        (
            "MaxPooling3D",
            json!({"pool_size": [2, 2, 2], "strides": [1, 1, 1], "padding": "valid"}),
            json!([4, 4, 4, 2]),
        ),
        ("GlobalAveragePooling1D", json!({"keepdims": true}), json!([8, 2])),
        ("GlobalMaxPooling2D", json!({"data_format": "channels_first"}), json!([8, 8, 2])),
        ("AdaptiveAveragePooling2D", json!({"output_size": [3, 3]}), json!([8, 8, 2])),
        ("UpSampling1D", json!({"size": 2}), json!([8, 2])),
        ("UpSampling2D", json!({"size": [2, 2], "interpolation": "bilinear"}), json!([8, 8, 2])),
        ("UpSampling3D", json!({"size": [2, 2, 2]}), json!([2, 2, 2, 2])),
        ("ZeroPadding1D", json!({"padding": [1, 2]}), json!([8, 2])),
        ("ZeroPadding2D", json!({"padding": [[1, 2], [0, 3]]}), json!([8, 8, 2])),
        ("Cropping1D", json!({"cropping": [1, 2]}), json!([8, 2])),
        ("Cropping2D", json!({"cropping": [[1, 2], [0, 3]]}), json!([8, 8, 2])),
        ("Cropping3D", json!({"cropping": [[1, 1], [0, 1], [1, 0]]}), json!([4, 4, 4, 2])),
        ("CenterCrop", json!({"height": 4, "width": 4}), json!([8, 8, 2])),
        (
            "Resizing",
            json!({"height": 4, "width": 4, "interpolation": "bilinear", "crop_to_aspect_ratio": true}),
            json!([8, 8, 2]),
        ),
        ("Rescaling", json!({"scale": [0.5, 0.25], "offset": 1.0}), json!([8, 8, 2])),
        (
            "BatchNormalization",
            json!({"axis": [-1], "momentum": 0.9, "epsilon": 0.001, "center": true, "scale": true}),
            json!([4, 4, 2]),
        ),
        ("LayerNormalization", json!({"axis": [1, 2], "epsilon": 0.001}), json!([4, 2])),
        ("GroupNormalization", json!({"groups": 2, "axis": -1, "epsilon": 0.001}), json!([4, 4])),
        ("UnitNormalization", json!({"axis": [-1]}), json!([4, 4])),
        ("RMSNormalization", json!({"axis": -1, "epsilon": 0.001}), json!([4, 4])),
        (
            "SpectralNormalization",
            json!({"power_iterations": 1, "layer": {"class_name": "Dense", "config": {"name": "d", "units": 2}}}),
            json!([4]),
        ),
        ("Normalization", json!({"axis": [-1], "invert": false, "mean": null, "variance": null}), json!([4])),
        ("Normalization", json!({"axis": [1], "mean": [1.0, 2.0], "variance": [1.0, 2.0]}), json!([2])),
        ("Dropout", json!({"rate": 0.5, "noise_shape": [null, 1], "seed": 1}), json!([4])),
        ("GaussianNoise", json!({"stddev": 0.5}), json!([4])),
        ("Softmax", json!({"axis": [-1, 1]}), json!([4, 4])),
        ("PReLU", json!({"shared_axes": [1]}), json!([4, 4])),
        ("ReLU", json!({"max_value": 6.0, "negative_slope": 0.1, "threshold": 0.0}), json!([4])),
        ("EinsumDense", json!({"equation": "abc,cd->abd", "output_shape": [null, 3], "bias_axes": "d"}), json!([4, 4])),
        (
            "Discretization",
            json!({"bin_boundaries": [0.0, 1.0], "num_bins": null, "output_mode": "one_hot"}),
            json!([4]),
        ),
        ("CategoryEncoding", json!({"num_tokens": 4, "output_mode": "multi_hot"}), json!([4])),
        ("Hashing", json!({"num_bins": 4, "salt": [1, 2], "output_mode": "int", "dtype": "string"}), json!([4])),
        (
            "StringLookup",
            json!({"vocabulary": ["a", "b"], "max_tokens": null, "num_oov_indices": 2, "output_mode": "int", "dtype": "string"}),
            json!([4]),
        ),
        (
            "IntegerLookup",
            json!({"vocabulary": [1, 2], "max_tokens": 10, "num_oov_indices": 1, "output_mode": "multi_hot", "dtype": "int64"}),
            json!([4]),
        ),
        (
            "TextVectorization",
            json!({"vocabulary": ["a", "b"], "max_tokens": 10, "standardize": "lower_and_strip_punctuation", "split": "whitespace", "ngrams": [1, 2], "output_mode": "int", "output_sequence_length": 5, "dtype": "string"}),
            json!([]),
        ),
        (
            "STFTSpectrogram",
            json!({"mode": "log", "frame_length": 8, "frame_step": 4, "fft_length": 8}),
            json!([32, 1]),
        ),
        (
            "MelSpectrogram",
            json!({"fft_length": 8, "sequence_stride": 4, "sequence_length": 8, "sampling_rate": 100, "num_mel_bins": 4, "min_freq": 2.0, "max_freq": 40.0}),
            json!([64]),
        ),
    ]
}

/// Attentions, called with the same tensor thrice.
fn attentions() -> Vec<Sample> {
    vec![
        (
            "MultiHeadAttention",
            json!({"num_heads": 2, "key_dim": 3, "value_dim": 4, "use_bias": true, "output_shape": null, "attention_axes": null}),
            json!([4, 6]),
        ),
        ("GroupQueryAttention", json!({"head_dim": 2, "num_query_heads": 4, "num_key_value_heads": 2}), json!([4, 6])),
        ("Attention", json!({"use_scale": true, "score_mode": "concat"}), json!([4, 6])),
        ("AdditiveAttention", json!({"use_scale": true}), json!([4, 6])),
        ("Dot", json!({"axes": [1, 2], "normalize": true}), json!([4, 4])),
        ("Concatenate", json!({"axis": -1}), json!([4, 4])),
        ("Add", json!({}), json!([4, 4])),
    ]
}

/// Operations, with their config and the arguments behind the tensor.
fn operations() -> Vec<(&'static str, &'static str, Value, Value)> {
    vec![
        ("numpy", "Reshape", json!({"newshape": [-1, 8]}), json!([])),
        ("numpy", "Tile", json!({"repeats": [1, 2, 3]}), json!([])),
        ("numpy", "Repeat", json!({"repeats": 2, "axis": 1}), json!([])),
        ("numpy", "Split", json!({"indices_or_sections": 2, "axis": 1}), json!([])),
        ("numpy", "ArraySplit", json!({"indices_or_sections": 3, "axis": 1}), json!([])),
        ("numpy", "Pad", json!({"pad_width": [[0, 0], [1, 2], [0, 1]], "mode": "constant"}), json!([])),
        ("numpy", "Roll", json!({"shift": 3, "axis": 1}), json!([])),
        ("numpy", "Transpose", json!({"axes": [0, 2, 1]}), json!([])),
        ("numpy", "Moveaxis", json!({"source": [1], "destination": [2]}), json!([])),
        ("numpy", "ExpandDims", json!({"axis": 1}), json!([])),
        ("numpy", "Squeeze", json!({"axis": null}), json!([])),
        ("numpy", "Sum", json!({"axis": [1], "keepdims": true}), json!([])),
        ("numpy", "Einsum", json!({"subscripts": "abc->ac"}), json!([])),
        ("numpy", "Tensordot", json!({"axes": [[1], [1]]}), json!([[1.0, 2.0]])),
        (
            "numpy",
            "GetItem",
            json!({}),
            json!([{"class_name": "__tuple__", "items": [
            {"class_name": "__ellipsis__", "config": {}},
            {"class_name": "__slice__", "config": {"start": -1, "stop": null, "step": -2}}]}]),
        ),
        ("numpy", "Diff", json!({"n": 2, "axis": -1}), json!([])),
        ("numpy", "Diagonal", json!({"offset": 1, "axis1": 1, "axis2": 2}), json!([])),
        ("numpy", "Tril", json!({"k": 1}), json!([])),
        ("numpy", "Clip", json!({"x_min": 0, "x_max": 1}), json!([])),
        ("numpy", "Quantile", json!({"axis": 1, "method": "linear", "keepdims": false}), json!([0.5])),
        ("numpy", "Rot90", json!({"k": 5, "axes": [1, 2]}), json!([])),
        ("numpy", "Vander", json!({"N": 3, "increasing": true}), json!([])),
        ("numpy", "Bincount", json!({"minlength": 4}), json!([])),
        ("numpy", "Linspace", json!({"num": 5, "axis": 0}), json!([1.0])),
        ("numpy", "Kron", json!({}), json!([[1.0, 2.0]])),
        ("numpy", "Power", json!({}), json!([2])),
        ("nn", "OneHot", json!({"num_classes": 5, "axis": -1, "dtype": "float32"}), json!([])),
        ("nn", "MaxPool", json!({"pool_size": [2], "strides": [2], "padding": "same"}), json!([])),
        ("nn", "Softmax", json!({"axis": [1, 2]}), json!([])),
        ("core", "Slice", json!({"shape": [1, 2, 2]}), json!([[0, 0, 0]])),
        ("core", "Cast", json!({"dtype": "int32"}), json!([])),
        ("math", "TopK", json!({"k": 2, "sorted": true}), json!([])),
        ("math", "SegmentSum", json!({"num_segments": 4, "sorted": false}), json!([[0, 1]])),
        ("math", "FFT", json!({}), json!([])),
        ("math", "ExtractSequences", json!({"sequence_length": 2, "sequence_stride": 1}), json!([])),
        ("image", "Resize", json!({"size": [3, 3], "interpolation": "bilinear"}), json!([])),
        ("linalg", "Norm", json!({"ord": 2, "axis": [1], "keepdims": true}), json!([])),
    ]
}

fn with_batch(shape: &Value) -> Value {
    let mut dims = vec![Value::Null];
    dims.extend(shape.as_array().unwrap().iter().cloned());
    Value::Array(dims)
}

pub(crate) fn entry(class: &str, config: &Value, name: &str) -> Value {
    let mut config = config.clone();
    config["name"] = json!(name);
    config["trainable"] = json!(true);
    if config.get("dtype").is_none() {
        config["dtype"] = json!("float32");
    }
    json!({"module": "keras.layers", "class_name": class, "config": config, "registered_name": null})
}

pub(crate) fn input(name: &str, shape: &Value, dtype: &str) -> Value {
    json!({"class_name": "InputLayer", "name": name, "inbound_nodes": [], "module": "keras.layers",
        "config": {"batch_shape": with_batch(shape), "dtype": dtype, "sparse": false, "name": name}})
}

pub(crate) fn tensor(name: &str) -> Value {
    json!({"class_name": "__keras_tensor__", "config": {"shape": null, "dtype": "float32", "keras_history": [name, 0, 0]}})
}

pub(crate) fn sequential((class, config, shape): &Sample) -> Value {
    let dtype = config.get("dtype").and_then(Value::as_str).unwrap_or("float32");
    let layers = json!([input("x", shape, dtype), entry(class, config, "layer")]);
    json!({"module": "keras", "class_name": "Sequential", "config": {"name": "model", "trainable": true, "layers": layers}})
}

pub(crate) fn functional(layers: &Value, outputs: &Value) -> Value {
    json!({"module": "keras.src.models.functional", "class_name": "Functional", "config": {
        "name": "model", "trainable": true, "layers": layers, "input_layers": [["x", 0, 0]], "output_layers": outputs}})
}

fn attention((class, config, shape): &Sample) -> Value {
    let mut layer = entry(class, config, "layer");
    let args = match *class {
        "MultiHeadAttention" | "GroupQueryAttention" => json!([tensor("x"), tensor("x"), tensor("x")]),
        _ => json!([[tensor("x"), tensor("x")]]),
    };
    layer["name"] = json!("layer");
    layer["inbound_nodes"] = json!([{"args": args, "kwargs": {"mask": null, "training": false}}]);
    functional(&json!([input("x", shape, "float32"), layer]), &json!([["layer", 0, 0]]))
}

fn operation((module, class, config, rest): &(&str, &str, Value, Value)) -> Value {
    let mut args = vec![tensor("x")];
    args.extend(rest.as_array().unwrap().iter().cloned());
    let mut config = config.clone();
    config["name"] = json!("op");
    let op = json!({"module": format!("keras.src.ops.{module}"), "class_name": class, "config": config, "name": "op",
        "registered_name": class, "inbound_nodes": [{"args": args, "kwargs": {}}]});
    functional(&json!([input("x", &json!([4, 4]), "float32"), op]), &json!([["op", 0, 0]]))
}

/// A layer of a functional model, called with each of these in turn.
pub(crate) fn call(name: &str, from: &[&str], mut layer: Value) -> Value {
    let nodes = from.iter().map(|from| json!({"args": [tensor(from)], "kwargs": {}}));
    layer["inbound_nodes"] = Value::Array(nodes.collect());
    layer["name"] = json!(name);
    layer
}

/// Models with several layers, nested ones, and compiled ones.
fn models() -> Vec<Value> {
    let inner = functional(
        &json!([
            input("x", &json!([4]), "float32"),
            call(
                "a",
                &["x"],
                entry(
                    "Dense",
                    &json!({"units": 4, "activation": "tanh", "kernel_regularizer": {"class_name": "L2", "config": {"l2": 0.01}}}),
                    "a"
                )
            ),
            call("b", &["a"], entry("Dropout", &json!({"rate": 0.5}), "b")),
        ]),
        &json!([["b", 0, 0]]),
    );
    let compile = |optimizer: &str, loss: Value| {
        json!({"optimizer": {"class_name": optimizer, "config": {"learning_rate": 0.1, "momentum": 0.5, "clipnorm": 1.0}},
            "loss": loss, "loss_weights": null, "metrics": ["mae", {"class_name": "MeanSquaredError", "config": {"name": "m"}}],
            "weighted_metrics": null, "run_eagerly": false, "steps_per_execution": 1, "jit_compile": false})
    };
    let mut nested = functional(
        &json!([
            input("x", &json!([4]), "float32"),
            call("inner", &["x", "inner"], inner.clone()),
            call("out", &["inner"], entry("Dense", &json!({"units": 2, "activation": "softmax"}), "out"))
        ]),
        &json!([["out", 0, 0]]),
    );
    nested["compile_config"] = compile("SGD", json!("categorical_crossentropy"));
    let schedule = json!({"class_name": "PiecewiseConstantDecay", "config": {"boundaries": [10, 20], "values": [0.1, 0.01, 0.001]}});
    let mut scheduled = inner.clone();
    scheduled["compile_config"] = json!({"optimizer": {"class_name": "Adam", "config": {"learning_rate": schedule, "amsgrad": true,
        "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "weight_decay": 0.1, "ema_momentum": 0.9, "use_ema": true,
        "ema_overwrite_frequency": 3, "gradient_accumulation_steps": 2}}, "loss": {"class_name": "Huber", "config": {"delta": 1.0}}});
    let mut recurrent = sequential(&("LSTM", json!({"units": 2, "unroll": true}), json!([3, 2])));
    recurrent["compile_config"] = compile("Adam", json!("mse"));
    let old = json!({"class_name": "Model", "config": {"name": "old", "layers": [
        {"class_name": "InputLayer", "name": "x", "inbound_nodes": [], "config": {"batch_input_shape": [null, 3], "dtype": "float32", "name": "x"}},
        {"class_name": "Dense", "name": "d", "inbound_nodes": [[["x", 0, 0, {}]], [["d", 0, 0, {}]]],
            "config": {"name": "d", "trainable": true, "units": 3, "activation": "hard_sigmoid"}},
        {"class_name": "Add", "name": "a", "inbound_nodes": [[["d", 0, 0, {}], ["d", 1, 0, {}]]], "config": {"name": "a", "trainable": true}}],
        "input_layers": [["x", 0, 0]], "output_layers": [["a", 0, 0]]}});
    vec![inner, nested, scheduled, recurrent, old]
}

/// All configs, each with the version of Keras that wrote it.
pub(crate) fn configs() -> Vec<(Value, Option<String>)> {
    let mut all: Vec<Value> = layers().iter().map(sequential).collect();
    all.extend(attentions().iter().map(attention));
    all.extend(operations().iter().map(operation));
    let mut configs: Vec<_> = all.into_iter().map(|config| (config, Some("3.15.1".to_owned()))).collect();
    for model in models() {
        let is_old = model["config"]["name"] == "old";
        configs.push((model, Some(if is_old { "2.15.0" } else { "3.15.1" }.to_owned())));
    }
    configs
}

/// `.keras` files of models with weights.
pub(crate) fn archives() -> Vec<Vec<u8>> {
    let file = |config: &Value| fuzzing::keras_file(config.to_string().as_bytes(), Some("3.15.1")).unwrap();
    let mut files: Vec<Vec<u8>> = models().iter().take(4).map(file).collect();
    let mut deflated = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::DEFAULT.compression_method(CompressionMethod::Deflated);
    for (name, contents) in entries(&files[0]) {
        deflated.start_file(name, options).unwrap();
        deflated.write_all(&contents).unwrap();
    }
    files.push(deflated.finish().unwrap().into_inner());
    files
}

/// The HDF5 files with the weights of models.
pub(crate) fn weights() -> Vec<Vec<u8>> {
    let of = |file: &Vec<u8>| entries(file).into_iter().find(|(name, _)| name == "model.weights.h5").unwrap().1;
    archives().iter().map(of).collect()
}

/// A `.keras` file with these weights.
pub(crate) fn with_weights(weights: &[u8]) -> Vec<u8> {
    let config = models().remove(0);
    archive(&[("config.json", config.to_string().as_bytes()), ("model.weights.h5", weights)])
}

/// An archive with these entries.
pub(crate) fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::DEFAULT.compression_method(CompressionMethod::Stored);
    for (name, contents) in entries {
        writer.start_file(*name, options).unwrap();
        writer.write_all(contents).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn entries(file: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = zip::ZipArchive::new(Cursor::new(file)).unwrap();
    let mut entries = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let mut contents = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut contents).unwrap();
        entries.push((entry.name().unwrap().into_owned(), contents));
    }
    entries
}

/// `.h5` files of whole models.
pub(crate) fn h5_files() -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    for (config, version) in configs().iter().rev().take(4) {
        files.extend(fuzzing::h5_file(config.to_string().as_bytes(), version.as_deref()));
    }
    files
}
