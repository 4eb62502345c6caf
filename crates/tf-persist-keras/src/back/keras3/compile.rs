//! How a model was compiled, for Keras 3.

use serde_json::{Map, Value, json};

use crate::config::shown;
use crate::reason::{Result, refuse};

/// The nesting of losses and metrics.
const MAX_DEPTH: usize = 16;

/// The arguments of `compile` in Keras 3.
const KEYS: [&str; 8] = [
    "optimizer",
    "loss",
    "loss_weights",
    "metrics",
    "weighted_metrics",
    "run_eagerly",
    "steps_per_execution",
    "jit_compile",
];

const OPTIMIZERS: [&str; 11] =
    ["Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lion", "Nadam", "RMSprop", "SGD"];

/// `compile_config`, from that of a `.keras` file of Keras 2.
pub(super) fn compile_config(config: &Value, outputs: usize) -> Result<Value> {
    let Some(old) = config.as_object() else { refuse!("{} does not tell how it was compiled", shown(config)) };
    let mut new = Map::new();
    for key in KEYS {
        let Some(value) = old.get(key).filter(|value| !value.is_null()) else { continue };
        let value = match key {
            "optimizer" => optimizer(value)?,
            "loss" => objects(value, "keras.losses", 0)?,
            "metrics" | "weighted_metrics" => match (objects(value, "keras.metrics", 0)?, outputs) {
                // Keras 3 takes lists in a list for several outputs only.
                (Value::Array(mut lists), 1) if lists.len() == 1 && lists[0].is_array() => lists.remove(0),
                (metrics, _) => metrics,
            },
            _ => value.clone(),
        };
        new.insert(key.into(), value);
    }
    Ok(new.into())
}

fn optimizer(value: &Value) -> Result<Value> {
    let object = match value {
        Value::String(_) => return Ok(value.clone()),
        Value::Object(object) => object,
        _ => refuse!("its optimizer {} is not known", shown(value)),
    };
    let class = object.get("class_name").and_then(Value::as_str).unwrap_or_default();
    let class = class.strip_prefix("Custom>").unwrap_or(class);
    let Some(class) = OPTIMIZERS.iter().find(|known| known.eq_ignore_ascii_case(class)) else {
        refuse!("Keras 3 has no optimizer {}", shown(&class.into()))
    };
    let mut config = object.get("config").and_then(Value::as_object).cloned().unwrap_or_default();
    match config.shift_remove("decay") {
        Some(decay) if decay.as_f64().is_some_and(|decay| decay != 0.0) => {
            refuse!("`decay` of its optimizer is {}, which Keras 3 does not have", shown(&decay))
        }
        _ => {}
    }
    for key in ["jit_compile", "is_legacy_optimizer"] {
        config.shift_remove(key);
    }
    if let Some(rate) = config.shift_remove("lr") {
        config.insert("learning_rate".into(), rate);
    }
    if let Some(Value::Object(schedule)) = config.get_mut("learning_rate") {
        schedule.insert("module".into(), "keras.optimizers.schedules".into());
        schedule.insert("registered_name".into(), Value::Null);
    }
    Ok(json!({"module": "keras.optimizers", "class_name": class, "config": config, "registered_name": null}))
}

/// Losses or metrics: names, objects, and lists and dicts of them.
fn objects(value: &Value, module: &str, depth: usize) -> Result<Value> {
    if depth > MAX_DEPTH {
        refuse!("its losses or metrics are nested too deep");
    }
    Ok(match value {
        Value::Array(items) => {
            items.iter().map(|item| objects(item, module, depth + 1)).collect::<Result<Vec<_>>>()?.into()
        }
        Value::Object(object) => match (object.get("class_name").and_then(Value::as_str), object.get("config")) {
            (None, _) => {
                let mut new = Map::new();
                for (key, item) in object {
                    new.insert(key.clone(), objects(item, module, depth + 1)?);
                }
                new.into()
            }
            // A function, by its name.
            (Some(_), Some(Value::String(name))) => name.as_str().into(),
            (Some(class), config) => {
                let mut config = config.and_then(Value::as_object).cloned().unwrap_or_default();
                config.shift_remove("fn");
                if config.get("reduction").is_some_and(|reduction| reduction == "auto") {
                    config.insert("reduction".into(), "sum_over_batch_size".into());
                }
                json!({"module": module, "class_name": class, "config": config, "registered_name": null})
            }
        },
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optimizers_losses_and_metrics_are_those_of_keras_3() {
        let old = json!({"loss": {"class_name": "Huber", "config": {"reduction": "auto", "fn": "huber", "delta": 2.0}},
            "metrics": [["mae", {"class_name": "AUC", "config": {"name": "auc"}}]], "loss_weights": null,
            "optimizer": {"class_name": "Custom>Adam", "config": {"lr": 0.1, "decay": 0.0, "jit_compile": true}}});
        let new = compile_config(&old, 1).unwrap();
        assert_eq!(new["loss"]["config"], json!({"reduction": "sum_over_batch_size", "delta": 2.0}));
        assert_eq!((&new["loss"]["module"], &new["metrics"][0]), (&json!("keras.losses"), &json!("mae")));
        assert_eq!(new["metrics"][1]["module"], "keras.metrics");
        assert_eq!(new["optimizer"]["class_name"], "Adam");
        assert_eq!(new["optimizer"]["config"], json!({"learning_rate": 0.1}));
        assert!(new.get("loss_weights").is_none());
    }

    #[test]
    fn what_keras_3_does_not_have_is_refused_by_name() {
        let reason = |optimizer: Value| compile_config(&json!({"optimizer": optimizer}), 1).unwrap_err().to_string();
        let decay = json!({"class_name": "SGD", "config": {"decay": 0.01}});
        assert_eq!(reason(decay), "`decay` of its optimizer is `0.01`, which Keras 3 does not have");
        let scaled = json!({"class_name": "LossScaleOptimizer", "config": {}});
        assert_eq!(reason(scaled), "Keras 3 has no optimizer `\"LossScaleOptimizer\"`");
    }
}
