//! Small files that describe much.

use serde_json::{Value, json};
use tf_persist_keras::fuzzing;
use tf_persist_testing::in_own_process;

use crate::config::read;
use crate::measure::convert;
use crate::samples::{archive, call, entry, functional, input, sequential, tensor};

/// Converts a config that must not be read as it is, and gives the error.
fn refusal(config: &Value) -> String {
    read(config, Some("3.15.1")).unwrap().unwrap_or_else(|| "nothing".into())
}

fn shape() -> Value {
    json!([4])
}

/// Models in each other, each of which calls the next one several times.
fn nested(layer: &Value, depth: usize, calls: usize) -> Value {
    let mut model = layer.clone();
    for level in 0..depth {
        let mut from = vec!["x".to_owned()];
        from.extend((1..calls).map(|_| "inner".to_owned()));
        let mut inner = call("inner", &[], model);
        let nodes = from.iter().enumerate().map(|(index, from)| {
            let mut tensor = tensor(from);
            tensor["config"]["keras_history"][1] = json!(index.saturating_sub(1));
            json!({"args": [tensor], "kwargs": {}})
        });
        inner["inbound_nodes"] = nodes.collect();
        let from_one = usize::from(level > 0);
        model =
            functional(&json!([input("x", &shape(), "float32"), inner]), &json!([["inner", calls - 1 + from_one, 0]]));
    }
    model
}

#[test]
fn nested_models_that_call_each_other() {
    for layer in [
        entry("Dense", &json!({"units": 4}), "inner"),
        entry("Dropout", &json!({"rate": 0.5}), "inner"),
        entry("ReLU", &json!({}), &"n".repeat(400)),
    ] {
        assert_eq!(refusal(&nested(&layer, 3, 2)), "nothing");
        let error = refusal(&nested(&layer, 30, 3));
        assert!(error.contains("operations, too many for a config of its size"), "{error}");
    }
}

#[test]
fn deep_configs() {
    let layer = entry("Dense", &json!({"units": 4}), "inner");
    let error = refusal(&nested(&layer, 50, 1));
    assert!(error.contains("nested more than 40 deep") || error.contains("recursion limit"), "{error}");
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("{\"class_name\":\"Sequential\",\"config\":", "}")] {
        let text = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
        let file = archive(&[("config.json", text.as_bytes()), ("model.weights.h5", b"")]);
        let error = convert(file).unwrap().unwrap();
        assert!(error.contains("`config.json` is not JSON: recursion limit exceeded"), "{error}");
    }
}

#[test]
fn circles_of_nodes() {
    let dense = || entry("Dense", &json!({"units": 4}), "d");
    let circle = functional(
        &json!([input("x", &shape(), "float32"), call("a", &["b"], dense()), call("b", &["a"], dense())]),
        &json!([["b", 0, 0]]),
    );
    let error = refusal(&circle);
    assert!(error.ends_with("its calls depend on each other in a circle"), "{error}");
    let own = functional(&json!([input("x", &shape(), "float32"), call("a", &["a"], dense())]), &json!([["a", 0, 0]]));
    assert!(refusal(&own).ends_with("its calls depend on each other in a circle"));
}

#[test]
fn names_that_are_long_or_escape() {
    let long = "n".repeat(100_000);
    let error = refusal(&sequential(&("Dense", json!({"units": 3}), json!([4]))).with("layer", &long));
    assert!(error.contains("has 100000 bytes, more than 500") && error.len() < 500, "{error}");
    let error = refusal(&sequential(&("Den\u{1b}[31mse", json!({}), json!([4]))));
    assert!(error.contains("Den\\u{1b}[31mse"), "{error}");
    for name in ["../../../../tmp/x", "/etc/passwd", "..", ".", "a//b", "\u{1b}[2J", "é\n"] {
        let model = sequential(&("Dense", json!({"units": 3}), json!([4]))).with("layer", name);
        assert_eq!(refusal(&model), "nothing", "{name:?}");
    }
}

/// Replaces a text everywhere.
trait With {
    fn with(self, old: &str, new: &str) -> Self;
}

impl With for Value {
    fn with(mut self, old: &str, new: &str) -> Self {
        fn replace(value: &mut Value, old: &str, new: &str) {
            match value {
                Value::String(text) if text == old => new.clone_into(text),
                Value::Array(items) => items.iter_mut().for_each(|item| replace(item, old, new)),
                Value::Object(items) => items.values_mut().for_each(|item| replace(item, old, new)),
                _ => {}
            }
        }
        replace(&mut self, old, new);
        self
    }
}

#[test]
fn long_sequences() {
    in_own_process("bombs::long_sequences", || {
        for (class, config) in [
            ("LSTM", json!({"units": 2, "unroll": true})),
            ("GRU", json!({"units": 2, "unroll": true, "return_sequences": true})),
            ("TimeDistributed", json!({"layer": entry("Dense", &json!({"units": 2}), "d")})),
        ] {
            for steps in [4000_u64, 100_000, 1 << 30, 1 << 50] {
                let mut model = sequential(&(class, config.clone(), json!([steps, 2])));
                model["compile_config"] = json!({"optimizer": {"class_name": "Adam", "config": {}}, "loss": "mse"});
                println!("{class} {steps}: {}", refusal(&model));
            }
        }
    });
}

/// Many layers, in files of a size that fits them, must not take the square of the time.
#[test]
fn many_layers() {
    in_own_process("bombs::many_layers", || {
        let mut layers = vec![input("x", &shape(), "float32")];
        for number in 0..3000 {
            let from = if number == 0 { "x".to_owned() } else { format!("d{}", number - 1) };
            layers.push(call(
                &format!("d{number}"),
                &[&from],
                entry("Dense", &json!({"units": 4}), &format!("d{number}")),
            ));
        }
        let model = functional(&Value::Array(layers), &json!([["d2999", 0, 0]]));
        let text = model.to_string();
        println!("{} bytes of config", text.len());
        assert_eq!(read(&model, Some("3.15.1")).unwrap(), None);
        let h5 = fuzzing::h5_file(text.as_bytes(), Some("3.15.1")).unwrap();
        assert_eq!(convert(h5).unwrap(), None);
    });
}

#[test]
fn wide_layers() {
    let many = |class: &str, module: &str, count: usize| {
        let args: Vec<Value> = (0..count).map(|_| tensor("x")).collect();
        let mut layer = entry(class, &json!({"axis": -1}), "m");
        layer["module"] = json!(module);
        layer["name"] = json!("m");
        layer["inbound_nodes"] = json!([{"args": [args], "kwargs": {}}]);
        functional(&json!([input("x", &shape(), "float32"), layer]), &json!([["m", 0, 0]]))
    };
    for (class, module) in [
        ("Add", "keras.layers"),
        ("Concatenate", "keras.layers"),
        ("Maximum", "keras.layers"),
        ("Concatenate", "keras.src.ops.numpy"),
        ("Stack", "keras.src.ops.numpy"),
        ("Meshgrid", "keras.src.ops.numpy"),
    ] {
        println!("{class}: {}", refusal(&many(class, module, 3000)));
    }
    let outputs: Vec<Value> = (0..1000).map(|_| json!(["d", 0, 0])).collect();
    let dense = call("d", &["x"], entry("Dense", &json!({"units": 4}), "d"));
    println!("outputs: {}", refusal(&functional(&json!([input("x", &shape(), "float32"), dense]), &json!(outputs))));
}

#[test]
fn constants_that_are_large() {
    let row = format!("[{}]", vec!["0"; 100_000].join(","));
    let tensor = json!({"class_name": "__numpy__", "config": {"dtype": "float32", "value": Value::Null}});
    let mut op = entry("Add", &json!({}), "op");
    op["module"] = json!("keras.src.ops.numpy");
    op["name"] = json!("op");
    op["inbound_nodes"] = json!([{"args": [crate::samples::tensor("x"), tensor], "kwargs": {}}]);
    let model = functional(&json!([input("x", &json!([1]), "float32"), op]), &json!([["op", 0, 0]])).to_string();
    for rows in [1, 10, 50] {
        let value = format!("[{}]", vec![row.as_str(); rows].join(","));
        let text = model.replace("\"value\":null", &format!("\"value\":{value}"));
        let file = fuzzing::keras_file(text.as_bytes(), Some("3.15.1")).unwrap();
        println!("{rows} rows: {:?}", convert(file));
    }
}
