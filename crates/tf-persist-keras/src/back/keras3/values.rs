//! Values in the configs of layers: dtypes, initializers, activations and their kin.

use serde_json::{Map, Value, json};

use crate::config::{Config, Dialect, shown};
use crate::layers::Activation;
use crate::reason::{Result, refuse, shown_name};

/// The initializers of Keras 3.
const INITIALIZERS: [&str; 15] = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
];

const REGULARIZERS: [&str; 4] = ["L1", "L2", "L1L2", "OrthogonalRegularizer"];

const CONSTRAINTS: [&str; 4] = ["MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"];

/// An object without its class being in a module that Keras 3 does not have. None if Keras 3 has no such class, or
/// there is none.
fn object(value: &Value, classes: &[&str], module: &str) -> Option<Value> {
    // The names of functions that make them.
    if let Value::String(name) = value {
        let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
        let class = classes.iter().find(|class| plain(class) == plain(name))?;
        return Some(json!({"module": module, "class_name": class, "config": {}, "registered_name": null}));
    }
    let class = value.get("class_name")?.as_str()?;
    let class = classes.iter().find(|known| **known == class)?;
    let mut config = value.get("config").and_then(Value::as_object).cloned().unwrap_or_default();
    for key in ["dtype", "partition_info"] {
        config.shift_remove(key);
    }
    Some(json!({"module": module, "class_name": class, "config": config, "registered_name": null}))
}

/// An initializer. None for those of other libraries: the weights have their values.
pub(super) fn initializer(value: &Value) -> Option<Value> {
    object(value, &INITIALIZERS, "keras.initializers")
}

/// A regularizer, or None if Keras 3 does not have it.
pub(super) fn regularizer(value: &Value) -> Option<Value> {
    object(value, &REGULARIZERS, "keras.regularizers")
}

/// A constraint, or None if Keras 3 does not have it.
pub(super) fn constraint(value: &Value) -> Option<Value> {
    object(value, &CONSTRAINTS, "keras.constraints")
}

/// A dtype, or the name of a policy. None if the config leaves it to Keras.
pub(super) fn dtype(value: &Value) -> Result<Option<Value>> {
    let name = match value {
        Value::Null => return Ok(None),
        Value::String(name) => name.as_str(),
        Value::Object(policy) => match policy.get("config").and_then(|config| config.get("name")?.as_str()) {
            Some(name) => name,
            None => refuse!("its dtype {} is not known", shown(value)),
        },
        _ => refuse!("its dtype {} is not known", shown(value)),
    };
    Ok(Some(name).filter(|name| !name.starts_with("_infer")).map(Value::from))
}

/// An activation that computes in Keras 3 what it does in Keras 2. `policy` is the dtype in which its layer computes.
pub(super) fn activation(value: &Value, compute: &str) -> Result<Value> {
    let name = match value {
        Value::Null => return Ok("linear".into()),
        Value::String(name) => name.as_str(),
        Value::Object(object) if object.get("class_name").and_then(Value::as_str) == Some("function") => {
            match object.get("config") {
                Some(Value::String(name)) => name,
                _ => refuse!("its activation {} is not known", shown(value)),
            }
        }
        other => return layer(other),
    };
    Ok(match name {
        "hard_sigmoid" => hard_sigmoid(compute),
        // The names of TensorFlow's functions.
        "softmax_v2" => "softmax".into(),
        "log_softmax_v2" => "log_softmax".into(),
        "swish" => "silu".into(),
        "ReLU" | "LeakyReLU" | "PReLU" | "ELU" | "ThresholdedReLU" | "Softmax" => {
            return layer(&json!({"class_name": name, "config": {"name": name.to_ascii_lowercase()}}));
        }
        name => {
            let known = Map::from_iter([("activation".to_owned(), Value::from(name))]);
            if Activation::of(&Config::new(&known, Dialect::Keras3), "activation").is_err() {
                refuse!("its activation `{}` is not one of Keras 3", shown_name(name));
            }
            name.into()
        }
    })
}

/// A layer in the place of an activation function.
fn layer(value: &Value) -> Result<Value> {
    let mut converter = super::model::Converter::default();
    match converter.layer(value) {
        Some(layer) => Ok(layer),
        None => refuse!("its activation {} cannot be converted: {}", shown(value), converter.findings.join("; ")),
    }
}

/// The function of Keras 2: `clip(0.2 * x + 0.5, 0, 1)`. That of Keras 3 is `relu6(x + 3) / 6`.
fn hard_sigmoid(compute: &str) -> Value {
    let layer = |class: &str, config: Value| json!({"module": "keras.layers", "class_name": class, "config": config, "registered_name": null});
    let layers = [
        layer("Rescaling", json!({"name": "scale", "trainable": true, "dtype": compute, "scale": 0.2, "offset": 0.5})),
        layer(
            "ReLU",
            json!({"name": "clip", "trainable": true, "dtype": compute, "max_value": 1.0,
            "negative_slope": 0.0, "threshold": 0.0}),
        ),
    ];
    layer("Pipeline", json!({"name": "hard_sigmoid", "layers": layers}))
}
