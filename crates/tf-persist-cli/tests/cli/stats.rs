//! `inspect --stats`: what the numbers of variables are like, without TensorFlow.

use std::fs;

use serde_json::{Value, json};
use tf_persist_core::checkpoint::CheckpointWriter;
use tf_persist_core::{DType, Tensor};

use crate::command::Ran;
use crate::support::Dir;

/// A model with these variables and the graph of `half_plus_two`.
fn model(dir: &Dir, name: &str, variables: &[(&str, Tensor)]) {
    let model = dir.copy_model("half_plus_two", name);
    fs::remove_dir_all(model.join("variables")).unwrap();
    let mut writer = CheckpointWriter::create(model.join("variables/variables")).unwrap();
    for (key, tensor) in variables {
        writer.add(key, tensor).unwrap();
    }
    writer.add_bytes("y/int4", DType::from_name("int4").unwrap(), &[2, 2], &[0x0f, 3, 0x08, 7]).unwrap();
    writer.add_bytes("y/uint4", DType::from_name("uint4").unwrap(), &[2], &[0x0f, 3]).unwrap();
    writer.add_bytes("z/float8", DType::from_name("float8_e5m2").unwrap(), &[3], &[0x3c, 0xc0, 0x7d]).unwrap();
    writer.finish().unwrap();
}

fn variables() -> Vec<(&'static str, Tensor)> {
    vec![
        ("bools", Tensor::from_slice(&[3], &[true, false, true]).unwrap()),
        ("large", Tensor::from_slice(&[2], &[u64::MAX, 1]).unwrap()),
        ("none", Tensor::zeros(DType::Float32, &[0]).unwrap()),
        ("numbers", Tensor::from_slice(&[2, 3], &[1.5_f32, f32::NAN, -2.0, f32::INFINITY, 0.5, f32::NAN]).unwrap()),
        ("words", Tensor::from_strings(&[1], ["word"]).unwrap()),
    ]
}

fn inspect(dir: &Dir, line: &str) -> Ran {
    dir.cmd(&format!("inspect {line}")).without_tensorflow().run()
}

/// The figures of each variable.
fn stats(ran: &Ran) -> Vec<(String, Value)> {
    let all = ran.json()["variables"]["all"].as_array().unwrap().clone();
    all.iter().map(|variable| (variable["name"].as_str().unwrap().to_owned(), variable["stats"].clone())).collect()
}

#[test]
fn every_variable_has_statistics() {
    let dir = Dir::new();
    model(&dir, "model", &variables());
    let text = inspect(&dir, "model --variables --stats").ok();
    let text = text.prints("2 true").prints("min 1  max 18446744073709551615  mean 9.22337e18");
    text.prints("min -2  max 1.5  mean 0  2 NaN, 1 infinite").prints("min -2  max 1  mean -0.5  1 NaN");
    let expected = [
        ("bools", json!({ "true": 2 })),
        ("large", json!({ "min": 1, "max": u64::MAX, "mean": 9_223_372_036_854_775_808.0, "nan": 0, "infinite": 0 })),
        ("none", json!({ "min": null, "max": null, "mean": null, "nan": 0, "infinite": 0 })),
        ("numbers", json!({ "min": -2.0, "max": 1.5, "mean": 0.0, "nan": 2, "infinite": 1 })),
        ("words", Value::Null),
        ("y/int4", json!({ "min": -8, "max": 7, "mean": 0.25, "nan": 0, "infinite": 0 })),
        ("y/uint4", json!({ "min": 3, "max": 15, "mean": 9.0, "nan": 0, "infinite": 0 })),
        ("z/float8", json!({ "min": -2.0, "max": 1.0, "mean": -0.5, "nan": 1, "infinite": 0 })),
    ];
    let report = inspect(&dir, "model --stats --format json").ok();
    assert_eq!(stats(&report), expected.map(|(name, stats)| (name.to_owned(), stats)));
    let keys: Vec<String> = report.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["path", "file", "meta_graphs", "variables"], "only the variables are shown");
    let without = inspect(&dir, "model --variables --format json").ok();
    assert!(without.json()["variables"]["all"][0].get("stats").is_none());
}

/// The byte of -1 in an int4 is 15: the number is compared and shown, not the byte.
#[test]
fn narrow_numbers_are_compared_by_value() {
    let dir = Dir::new();
    let model = |name: &str, int4: &[u8], float8: &[u8]| {
        let model = dir.copy_model("half_plus_two", name);
        fs::remove_dir_all(model.join("variables")).unwrap();
        let mut writer = CheckpointWriter::create(model.join("variables/variables")).unwrap();
        writer.add_bytes("float8", DType::from_name("float8_e4m3fn").unwrap(), &[3], float8).unwrap();
        writer.add_bytes("int4", DType::from_name("int4").unwrap(), &[2, 2], int4).unwrap();
        writer.finish().unwrap();
    };
    model("a", &[0, 1, 3, 7], &[0x38, 0xc0, 0x7f]);
    model("b", &[0, 1, 0x0f, 7], &[0x38, 0x40, 0x7f]);
    let diff = |line: &str| dir.cmd(&format!("diff {line}")).without_tensorflow().run();
    let ran = diff("a b --variables");
    let ran = ran.prints("int4 differs in 1 of 4 elements; largest absolute difference 4, relative 1.333");
    ran.prints("at [1, 0] -1 instead of 3").prints("largest absolute difference 4, relative 2; at [1] 2 instead of -2");
    // The upper half of the byte is ignored, and all NaNs are the same.
    model("c", &[0, 1, 0xff, 7], &[0x38, 0x40, 0xff]);
    diff("b c --variables").ok().prints_only("same: 2 variables\n");
}

#[test]
fn a_wrong_checksum_names_the_variable() {
    let dir = Dir::new();
    model(&dir, "model", &variables());
    let shard = dir.path("model/variables/variables.data-00000-of-00001");
    let mut bytes = fs::read(&shard).unwrap();
    // Behind three bools and two numbers of eight bytes.
    bytes[3 + 16] ^= 1;
    fs::write(&shard, bytes).unwrap();
    let text =
        inspect(&dir, "model --stats").fails().says("`numbers`: the checksum is wrong").says("variables.data-00000");
    text.prints("2 true").prints("`numbers`: the checksum is wrong");
    let report = inspect(&dir, "model --stats --format json").fails();
    let all = stats(&report);
    assert_eq!(all[0].1, json!({ "true": 2 }));
    assert!(all[3].1["error"].as_str().unwrap().contains("the checksum is wrong"), "{all:?}");
    // What is not read is not known to be damaged.
    inspect(&dir, "model --variables").ok();
}

#[test]
fn models_without_variables_and_real_models_have_statistics() {
    let dir = Dir::new();
    inspect(&dir, "models/sparse/model --stats").ok().prints("0 variables");
    inspect(&dir, "models/digits/model --stats").ok().prints("mean ");
    inspect(&dir, "models/float8/model --stats").ok();
    inspect(&dir, "models/tf1_graph/model --stats").ok().prints("2 shards");
}
