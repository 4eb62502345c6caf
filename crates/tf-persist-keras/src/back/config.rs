//! The configurations of `.keras` and `.h5` files of the same Keras, made from each other.

use serde_json::{Map, Value, json};

use super::modules::module_of;
use crate::config::Dialect;
use crate::operations;

/// The nesting of configurations. serde_json itself stops at 128.
const MAX_DEPTH: usize = 128;

/// `config.json` of a `.keras` file.
pub(super) fn for_archive(model: &Value, compile_config: Option<&Value>, dialect: Dialect) -> Value {
    let mut model = model.clone();
    add_modules(&mut model, dialect, 0);
    if let Some(root) = model.as_object_mut() {
        for key in ["keras_version", "backend"] {
            root.remove(key);
        }
        if let Some(config) = compile_config {
            root.insert("compile_config".into(), compile_for_archive(config));
        }
    }
    model
}

/// The attributes `model_config` and `training_config` of an `.h5` file.
///
/// Keras reads a layer with a module in either kind of file, so only the model itself loses its own.
pub(super) fn for_hdf5(model: &Value, compile_config: Option<&Value>) -> (Value, Option<Value>) {
    let of_model = |key: &str| model.get(key).cloned().unwrap_or(Value::Null);
    let model = json!({"class_name": of_model("class_name"), "config": of_model("config")});
    (model, compile_config.map(compile_for_hdf5))
}

/// Gives a layer and all layers in it their modules, where they have none.
fn add_modules(entry: &mut Value, dialect: Dialect, depth: usize) {
    let Some(entry) = entry.as_object_mut().filter(|_| depth < MAX_DEPTH) else { return };
    if !entry.contains_key("module") {
        add_module(entry, dialect);
    }
    let Some(config) = entry.get_mut("config").and_then(Value::as_object_mut) else { return };
    for key in ["layer", "backward_layer", "cell", "layers", "cells"] {
        match config.get_mut(key) {
            Some(Value::Array(layers)) => layers.iter_mut().for_each(|layer| add_modules(layer, dialect, depth + 1)),
            Some(layer) => add_modules(layer, dialect, depth + 1),
            None => {}
        }
    }
}

fn add_module(entry: &mut Map<String, Value>, dialect: Dialect) {
    let Some(class) = entry.get("class_name").and_then(Value::as_str).map(str::to_owned) else { return };
    let config = entry.get("config").and_then(Value::as_object);
    let has = |key: &str| config.is_some_and(|config| config.contains_key(key));
    let is_operation = dialect == Dialect::Keras3 && !has("trainable") && !has("layers") && operations::has(&class);
    let (module, class, registered) = if let Some((_, name)) = class.split_once('>') {
        (Value::Null, name.to_owned(), Value::from(class.as_str()))
    } else if matches!(class.as_str(), "Functional" | "Model") && has("layers") {
        let module =
            if dialect == Dialect::Keras3 { "keras.src.models.functional" } else { "keras.src.engine.functional" };
        (module.into(), "Functional".to_owned(), "Functional".into())
    } else if class == "Sequential" {
        ("keras".into(), class, Value::Null)
    } else if is_operation {
        (module_of(&class).into(), class.clone(), class.into())
    } else {
        // The only class whose name in modules is not its own.
        let class = if class == "GroupedQueryAttention" { "GroupQueryAttention".to_owned() } else { class };
        ("keras.layers".into(), class, Value::Null)
    };
    entry.insert("module".into(), module);
    entry.insert("class_name".into(), class.into());
    entry.insert("registered_name".into(), registered);
}

/// `compile_config` from `training_config`.
pub(super) fn compile_for_archive(config: &Value) -> Value {
    let mut config = config.clone();
    let Some(object) = config.as_object_mut() else { return config };
    if let Some(mut optimizer) = object.shift_remove("optimizer_config") {
        if let Some(optimizer) = optimizer.as_object_mut().filter(|optimizer| !optimizer.contains_key("module")) {
            let class = optimizer.get("class_name").and_then(Value::as_str).unwrap_or_default();
            let is_legacy = optimizer.get("config").is_some_and(|config| config.get("decay").is_some());
            // Keras 2 registers its own optimizers as custom ones.
            let (module, name, registered) = match class.split_once('>') {
                Some(("Custom", name)) => ("keras.optimizers".into(), name.to_owned(), name.into()),
                Some((_, name)) => (Value::Null, name.to_owned(), class.into()),
                // Those of before TensorFlow 2.11.
                None if is_legacy => ("keras.optimizers.legacy".into(), class.to_owned(), Value::Null),
                None => ("keras.optimizers".into(), class.to_owned(), Value::Null),
            };
            optimizer.insert("module".into(), module);
            optimizer.insert("class_name".into(), name.into());
            optimizer.insert("registered_name".into(), registered);
        }
        object.insert("optimizer".into(), optimizer);
    }
    for (key, module) in [("loss", "keras.losses"), ("metrics", "keras.metrics"), ("weighted_metrics", "keras.metrics")]
    {
        if let Some(value) = object.get_mut(key) {
            name_module(value, module, 0);
        }
    }
    config
}

/// Adds the module to losses or metrics, which `.h5` files leave out.
fn name_module(value: &mut Value, module: &str, depth: usize) {
    if depth >= MAX_DEPTH {
        return;
    }
    if let Some(name) = wrapped_function(value) {
        *value = name.into();
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| name_module(item, module, depth + 1)),
        Value::Object(object) => match object.get("class_name").and_then(Value::as_str) {
            None => object.values_mut().for_each(|item| name_module(item, module, depth + 1)),
            Some(_) if object.contains_key("module") => {}
            Some(class) => {
                let (module, name, registered) = match class.split_once('>') {
                    Some((_, name)) => (Value::Null, name.to_owned(), class.into()),
                    None => (module.into(), class.to_owned(), Value::Null),
                };
                object.insert("module".into(), module);
                object.insert("class_name".into(), name.into());
                object.insert("registered_name".into(), registered);
            }
        },
        _ => {}
    }
}

/// The name of the function of a metric of Keras 2 that wraps one: its class in `.h5` files is not public there.
fn wrapped_function(metric: &Value) -> Option<String> {
    if metric.get("class_name")? != "MeanMetricWrapper" || metric.pointer("/config/fn").is_some_and(Value::is_object) {
        return None;
    }
    let config = metric.get("config")?;
    ["name", "fn"].into_iter().find_map(|key| config.get(key)?.as_str()).map(str::to_owned)
}

/// `training_config` from `compile_config`.
fn compile_for_hdf5(config: &Value) -> Value {
    let mut config = config.clone();
    let Some(object) = config.as_object_mut() else { return config };
    if let Some(optimizer) = object.shift_remove("optimizer") {
        let optimizer = match optimizer {
            Value::String(name) => json!({"class_name": name, "config": {}}),
            Value::Object(optimizer) => {
                let get = |key: &str| optimizer.get(key).cloned().unwrap_or(Value::Null);
                let registered = get("registered_name");
                let is_custom = registered.as_str().is_some_and(|name| name.contains('>'));
                json!({"class_name": if is_custom { registered } else { get("class_name") }, "config": get("config")})
            }
            other => other,
        };
        object.insert("optimizer_config".into(), optimizer);
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_and_operations_get_their_modules() {
        let model = json!({"class_name": "Functional", "config": {"name": "m", "layers": [
            {"class_name": "Add", "config": {"name": "add"}, "name": "add", "inbound_nodes": []},
            {"class_name": "Add", "config": {"name": "add_1", "trainable": true}},
            {"class_name": "Sequential", "config": {"name": "s", "layers": [
                {"class_name": "TimeDistributed", "config": {"trainable": true, "layer":
                    {"class_name": "my>Own", "config": {"trainable": true}}}},
            ]}},
        ]}});
        let converted = for_archive(&model, None, Dialect::Keras3);
        let layers = &converted["config"]["layers"];
        assert_eq!(converted["module"], "keras.src.models.functional");
        assert_eq!(layers[0]["module"], "keras.src.ops.numpy");
        assert_eq!(layers[1]["module"], "keras.layers");
        assert_eq!(layers[2]["module"], "keras");
        let own = &layers[2]["config"]["layers"][0]["config"]["layer"];
        assert_eq!((&own["class_name"], &own["registered_name"]), (&json!("Own"), &json!("my>Own")));
        assert_eq!(for_archive(&converted, None, Dialect::Keras3), converted);
    }

    #[test]
    fn optimizers_go_both_ways() {
        let training = json!({"loss": {"out": {"class_name": "MeanSquaredError", "config": {}}, "own":
            {"class_name": "my>Own", "config": {}}, "last": "mse"}, "weighted_metrics":
            [{"class_name": "MeanMetricWrapper", "config": {"name": "m", "fn": {"config": "mean_squared_error"}}}], "metrics": [[{"class_name": "MeanMetricWrapper",
            "config": {"name": "mae", "fn": "mean_absolute_error"}}]],
            "optimizer_config": {"class_name": "Custom>Adam", "config": {"learning_rate": 0.1}}});
        let compile = compile_for_archive(&training);
        assert_eq!(compile["optimizer"]["module"], "keras.optimizers");
        let old = json!({"optimizer_config": {"class_name": "Adam", "config": {"learning_rate": 0.1, "decay": 0.0}}});
        assert_eq!(compile_for_archive(&old)["optimizer"]["module"], "keras.optimizers.legacy");
        assert_eq!(compile["metrics"], json!([["mae"]]));
        let of_losses =
            json!({"module": "keras.losses", "class_name": "MeanSquaredError", "config": {}, "registered_name": null});
        let own = json!({"module": null, "class_name": "Own", "config": {}, "registered_name": "my>Own"});
        assert_eq!(compile["loss"], json!({"out": of_losses, "own": own, "last": "mse"}));
        assert_eq!(compile["weighted_metrics"][0]["module"], "keras.metrics");
        let back = compile_for_hdf5(&compile);
        assert_eq!(back["optimizer_config"], json!({"class_name": "Adam", "config": {"learning_rate": 0.1}}));
        assert_eq!(compile_for_hdf5(&json!({"optimizer": "adam"}))["optimizer_config"]["class_name"], "adam");
    }
}
