//! The configs of layers, by class.

use serde_json::{Map, Value, json};

use super::model::{Converter, layer_name};
use super::values;
use crate::config::{Policy, shown};
use crate::layers::learned_boundaries;
use crate::reason::{Reason, Result, refuse, shown_name};

/// The classes that both have, and whose config may need changes.
const CLASSES: [&str; 100] = [
    "Activation",
    "ActivityRegularization",
    "Add",
    "AdditiveAttention",
    "AlphaDropout",
    "Attention",
    "Average",
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "BatchNormalization",
    "Bidirectional",
    "CategoryEncoding",
    "CenterCrop",
    "Concatenate",
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DTranspose",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "Cropping1D",
    "Cropping2D",
    "Cropping3D",
    "Dense",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "Discretization",
    "Dot",
    "Dropout",
    "ELU",
    "EinsumDense",
    "Embedding",
    "Flatten",
    "GRU",
    "GRUCell",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
    "GroupNormalization",
    "HashedCrossing",
    "Hashing",
    "Identity",
    "IntegerLookup",
    "LSTM",
    "LSTMCell",
    "LayerNormalization",
    "LeakyReLU",
    "Masking",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
    "Maximum",
    "Minimum",
    "MultiHeadAttention",
    "Multiply",
    "Normalization",
    "PReLU",
    "Permute",
    "RNN",
    "RandomBrightness",
    "RandomContrast",
    "RandomFlip",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
    "ReLU",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "Resizing",
    "SeparableConv1D",
    "SeparableConv2D",
    "SimpleRNN",
    "SimpleRNNCell",
    "Softmax",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "SpectralNormalization",
    "StackedRNNCells",
    "StringLookup",
    "Subtract",
    "TextVectorization",
    "TimeDistributed",
    "UnitNormalization",
    "UpSampling1D",
    "UpSampling2D",
    "UpSampling3D",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "ZeroPadding3D",
];

/// Classes of `keras.applications`, and their modules in Keras 3.
const OF_APPLICATIONS: [(&str, &str); 2] = [
    ("LayerScale", "keras.src.applications.convnext"),
    ("CustomScaleLayer", "keras.src.applications.inception_resnet_v2"),
];

/// Keys without effect in Keras 2, or that tell Keras 3 nothing.
const DROPPED: [&str; 9] = [
    "batch_input_shape",
    "dynamic",
    "rng_type",
    "force_generator",
    "autocast",
    "implementation",
    "input_length",
    "vocabulary_size",
    "input_dtype",
];

/// The module, the class and the config of a layer in Keras 3.
pub(super) fn convert(
    converter: &mut Converter,
    class: &str,
    config: &Map<String, Value>,
) -> Result<(&'static str, String, Map<String, Value>)> {
    let mut new = common(converter, config)?;
    let class = match class {
        "ThresholdedReLU" => {
            let theta = new.shift_remove("theta").unwrap_or(1.0.into());
            new.insert("threshold".into(), theta);
            "ReLU"
        }
        "RandomHeight" | "RandomWidth" => {
            converter.note("Keras 3 has no such class, so it becomes an `Identity`, which changes nothing in training");
            new.retain(|key, _| matches!(key.as_str(), "name" | "trainable" | "dtype"));
            "Identity"
        }
        // At inference, Keras 2 scales and crops, and Keras 3 does nothing.
        "RandomCrop" => {
            converter.note("it becomes a `Resizing`, as Keras 2 resizes at inference, and does not crop in training");
            new.retain(|key, _| matches!(key.as_str(), "name" | "trainable" | "dtype" | "height" | "width"));
            new.insert("crop_to_aspect_ratio".into(), true.into());
            "Resizing"
        }
        "SyncBatchNormalization" => {
            new.insert("synchronized".into(), true.into());
            "BatchNormalization"
        }
        class if CLASSES.contains(&class) => class,
        class => match OF_APPLICATIONS.iter().find(|(known, _)| *known == class) {
            Some((_, module)) => return Ok((module, class.to_owned(), new)),
            None => refuse!("Keras 3 has no class `{}`", shown_name(class)),
        },
    };
    match class {
        "BatchNormalization" => batch_normalization(&mut new)?,
        "LayerNormalization" => single_axis(&mut new),
        "LeakyReLU" => {
            let alpha = new.shift_remove("alpha").unwrap_or(0.3.into());
            new.insert("negative_slope".into(), alpha);
        }
        "Softmax" => drop_keys(&mut new, &["robust_masking"]),
        "Attention" | "AdditiveAttention" if new.shift_remove("causal") == Some(true.into()) => {
            refuse!("`causal` is an argument of calls in Keras 3");
        }
        "MultiHeadAttention" => {
            drop_keys(&mut new, &["query_shape", "key_shape", "value_shape", "softmax_robust_masking"]);
        }
        "Embedding" => drop_keys(&mut new, &["sparse"]),
        "SpatialDropout1D" | "SpatialDropout2D" | "SpatialDropout3D" => {
            // Its constructor does not take the others.
            drop_keys(&mut new, &["noise_shape", "trainable", "activity_regularizer"]);
        }
        "Conv1DTranspose" | "Conv2DTranspose" | "Conv3DTranspose" => one_group(&mut new, &["conv_op"])?,
        class if class.starts_with("Depthwise") || class.starts_with("Separable") => {
            let extra = ["kernel_initializer", "kernel_regularizer", "kernel_constraint", "conv_op"];
            one_group(&mut new, &extra)?;
            if class.starts_with("Depthwise") {
                drop_keys(&mut new, &["filters"]);
            }
        }
        "Discretization" => discretization(converter, &mut new)?,
        class if is_recurrent(class) => recurrent(class, config, &mut new)?,
        _ => {}
    }
    Ok(("keras.layers", class.to_owned(), new))
}

/// What all layers have in common.
fn common(converter: &mut Converter, config: &Map<String, Value>) -> Result<Map<String, Value>> {
    let mut new = Map::new();
    let compute = Policy::parse(config.get("dtype"))?.compute;
    let mut failed = false;
    for (key, value) in config.iter().filter(|(key, _)| !DROPPED.contains(&key.as_str())) {
        let value = match key.as_str() {
            "name" => value.as_str().map_or(Value::Null, |name| layer_name(name).into()),
            "dtype" => match values::dtype(value)? {
                Some(dtype) => dtype,
                None => continue,
            },
            "activation" | "recurrent_activation" => values::activation(value, compute.name())?,
            "layer" | "backward_layer" | "cell" if value.is_object() => match converter.layer(value) {
                Some(layer) => layer,
                None => {
                    failed = true;
                    continue;
                }
            },
            "cells" => match value.as_array().map(|cells| converter.layers(cells)) {
                Some(Ok(cells)) => cells.into(),
                Some(Err(_)) => {
                    failed = true;
                    continue;
                }
                None => refuse!("its `cells` is not a list"),
            },
            key if key.ends_with("_initializer") => match values::initializer(value) {
                Some(initializer) => initializer,
                None => continue,
            },
            key if key.ends_with("_regularizer") && !value.is_null() => {
                rule(converter, key, values::regularizer(value))
            }
            key if key.ends_with("_constraint") && !value.is_null() => rule(converter, key, values::constraint(value)),
            _ => value.clone(),
        };
        new.insert(key.clone(), value);
    }
    if failed { Err(Reason::reported()) } else { Ok(new) }
}

/// A rule of training that Keras 3 may not have.
fn rule(converter: &mut Converter, key: &str, converted: Option<Value>) -> Value {
    if converted.is_none() {
        converter.note(&format!("its `{key}` is not one of Keras 3, and is left out"));
    }
    converted.unwrap_or_default()
}

fn drop_keys(config: &mut Map<String, Value>, keys: &[&str]) {
    for key in keys {
        config.shift_remove(*key);
    }
}

/// Keras 2 has the key `groups` in the configs of convolutions that have none.
fn one_group(config: &mut Map<String, Value>, others: &[&str]) -> Result<()> {
    match config.shift_remove("groups") {
        None | Some(Value::Null) => {}
        Some(groups) if groups == 1 => {}
        Some(groups) => refuse!("`groups` is {}, and should be 1", shown(&groups)),
    }
    drop_keys(config, others);
    Ok(())
}

/// An axis in a list of one.
fn single_axis(config: &mut Map<String, Value>) {
    if let Some(Value::Array(axes)) = config.get("axis")
        && let [axis] = axes.as_slice()
    {
        let axis = axis.clone();
        config.insert("axis".into(), axis);
    }
}

/// What follows a layer of Keras 2 in Keras 3 to give the same, with its name. None if nothing does.
///
/// Lookups give counts as floating numbers in Keras 2, and as integers in Keras 3.
pub(super) fn after(entry: &Value) -> Option<(String, Value)> {
    let class = entry.get("class_name")?.as_str()?;
    let config = entry.get("config")?;
    let mode = config.get("output_mode")?.as_str()?;
    let is_lookup = matches!(class, "StringLookup" | "IntegerLookup" | "TextVectorization");
    if !is_lookup || matches!(mode, "int" | "tf_idf" | "tf-idf") {
        return None;
    }
    let name = format!("{}_float", layer_name(config.get("name")?.as_str()?));
    let config = json!({"name": name, "trainable": true, "dtype": "float32", "scale": 1.0, "offset": 0.0});
    let layer = json!({"module": "keras.layers", "class_name": "Rescaling", "config": config, "registered_name": null});
    Some((name, layer))
}

fn batch_normalization(config: &mut Map<String, Value>) -> Result<()> {
    single_axis(config);
    if config.get("axis").is_some_and(Value::is_array) {
        refuse!("it has several axes, and Keras 3 takes one");
    }
    if config.shift_remove("renorm") == Some(true.into()) {
        refuse!("`renorm` is not in Keras 3");
    }
    drop_keys(config, &["fused", "virtual_batch_size", "adjustment", "renorm_clipping", "renorm_momentum"]);
    Ok(())
}

/// Keras 3 keeps the boundaries that were learned in the config, and not what they were learned from.
fn discretization(converter: &Converter, config: &mut Map<String, Value>) -> Result<()> {
    // Its constructor does not take them.
    drop_keys(config, &["trainable", "activity_regularizer"]);
    if let Some(bins) = config.shift_remove("bins") {
        let key = if bins.is_array() { "bin_boundaries" } else { "num_bins" };
        config.insert(key.into(), bins);
    }
    if config.get("bin_boundaries").is_some_and(Value::is_array) {
        config.insert("num_bins".into(), Value::Null);
        return Ok(());
    }
    let bins = config.get("num_bins").and_then(Value::as_u64);
    let (Some(bins), Some(summary)) = (bins, converter.summary()) else { refuse!("its boundaries are unknown") };
    config.insert("bin_boundaries".into(), json!(learned_boundaries(summary, bins)?));
    config.insert("num_bins".into(), Value::Null);
    Ok(())
}

/// Whether a layer has a cell, or is one.
fn is_recurrent(class: &str) -> bool {
    class.starts_with("ConvLSTM")
        || matches!(class, "RNN" | "LSTM" | "GRU" | "SimpleRNN" | "LSTMCell" | "GRUCell" | "SimpleRNNCell")
}

fn recurrent(class: &str, old: &Map<String, Value>, config: &mut Map<String, Value>) -> Result<()> {
    if config.shift_remove("time_major") == Some(true.into()) {
        refuse!("`time_major` is not in Keras 3");
    }
    drop_keys(config, &["input_dim", "num_constants"]);
    let has_gates = class != "RNN" && !class.starts_with("SimpleRNN");
    if has_gates && !old.contains_key("recurrent_activation") {
        let is_old = !old.contains_key("time_major");
        let name = if is_old { "hard_sigmoid" } else { "sigmoid" };
        let compute = Policy::parse(old.get("dtype"))?.compute;
        config.insert("recurrent_activation".into(), values::activation(&name.into(), compute.name())?);
    }
    if class.starts_with("GRU") && !config.contains_key("reset_after") {
        config.insert("reset_after".into(), false.into());
    }
    Ok(())
}
