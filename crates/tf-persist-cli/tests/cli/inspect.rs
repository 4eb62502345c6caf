//! `inspect`: its reports of real models, without TensorFlow.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::command::Ran;
use crate::recorded::Recorded;
use crate::support::Dir;

/// `inspect` of one of the repository's models, without TensorFlow.
#[track_caller]
fn inspect(dir: &Dir, line: &str) -> Ran {
    dir.cmd(&format!("inspect models/{line}")).without_tensorflow().run()
}

/// The object of a report, reduced to these keys.
fn only(object: &Value, keys: &[&str]) -> Value {
    keys.iter().map(|key| ((*key).to_owned(), object[key].clone())).collect()
}

#[test]
fn the_report_agrees_with_python_for_every_model() {
    let dir = Dir::new();
    for model in Recorded::all() {
        let report = inspect(&dir, &format!("{}/model --format json", model.name)).ok();
        let json = report.json();
        let meta_graphs = json["meta_graphs"].as_array().unwrap();
        let expected = model.meta["meta_graphs"].as_array().unwrap();
        report.check(meta_graphs.len() == expected.len(), "another number of meta graphs");
        for (ours, python) in meta_graphs.iter().zip(expected) {
            report.check(ours["tags"] == python["tags"], "other tags");
            report.check(ours["tensorflow_version"] == python["tf"], "another TensorFlow");
            report.check(ours["nodes"] == python["nodes"], "another number of nodes");
            report.check(ours["functions"] == python["functions"], "another number of functions");
            report.check(ours["custom_ops"] == json!({}), "custom ops");
            report.check(ours["missing"] == json!([]), "something is missing");
            report.check(ours["assets"]["missing"] == json!([]), "an asset is missing");
            let assets = ours["assets"]["files"].as_array().unwrap();
            let assets: Vec<&Value> = assets.iter().map(|file| &file["name"]).collect();
            report.check(json!(assets) == python["assets"], "other assets");
            let (ours, python) = (signatures(&ours["signatures"]), expected_signatures(&python["signatures"]));
            report.check(ours == python, format_args!("other signatures than Python's:\n{python:#?}"));
        }
        let (ours, python) = (variables(&json["variables"]["all"]), expected_variables(&model.meta["variables"]));
        report.check(ours == python, format_args!("other variables than Python's:\n{python:#?}"));
        report.check(json["variables"]["count"] == python.len(), "another number of variables");
    }
}

type Signatures = BTreeMap<String, Value>;

fn signatures(report: &Value) -> Signatures {
    let signature =
        |(name, signature): (&String, &Value)| (name.clone(), only(signature, &["method_name", "inputs", "outputs"]));
    report.as_object().unwrap().iter().map(signature).collect()
}

/// Python's, in the form of the report: `[dtype, shape, tensor]` of each input and output. Operations that are listed
/// among the signatures are none.
fn expected_signatures(python: &Value) -> Signatures {
    let tensor = |(name, info): (&String, &Value)| {
        let shape = if info[1] == "unknown" { Value::Null } else { info[1].clone() };
        (name.clone(), json!({ "dtype": info[0], "shape": shape, "tensor": info[2] }))
    };
    let tensors = |infos: &Value| infos.as_object().unwrap().iter().map(tensor).collect::<Value>();
    let mut all = Signatures::new();
    for (name, signature) in python.as_object().unwrap() {
        let (inputs, outputs) = (tensors(&signature["inputs"]), tensors(&signature["outputs"]));
        if outputs.as_object().unwrap().values().any(|info| info["dtype"] != "INVALID") {
            let all_of_it = json!({ "method_name": signature["method"], "inputs": inputs, "outputs": outputs });
            all.insert(name.clone(), all_of_it);
        }
    }
    all
}

fn variables(report: &Value) -> BTreeMap<String, Value> {
    let entry = |variable: &Value| {
        (variable["key"].as_str().unwrap().to_owned(), json!([variable["dtype"], variable["shape"]]))
    };
    report.as_array().unwrap().iter().map(entry).collect()
}

fn expected_variables(python: &Value) -> BTreeMap<String, Value> {
    let all = python.as_object().unwrap().iter();
    // The object graph is in the same checkpoint.
    all.filter(|(key, _)| *key != "_CHECKPOINTABLE_OBJECT_GRAPH")
        .map(|(key, info)| (key.clone(), info.clone()))
        .collect()
}

#[test]
fn the_json_report_is_as_documented() {
    let dir = Dir::new();
    let json = inspect(&dir, "tf1_graph/model --format json").ok().json();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(keys(&json), "path file meta_graphs variables fingerprint optimized");
    let graph = &json["meta_graphs"][0];
    let expected = "tags tensorflow_version git_version producer signatures nodes functions function_nodes ops custom_ops \
                    init_op object_graph_nodes training assets missing missing_ops restored_besides";
    assert_eq!(keys(graph), expected);
    assert_eq!(keys(&graph["signatures"]["serving_default"]), "method_name inputs outputs defaults default_values");
    assert_eq!(keys(&graph["signatures"]["serving_default"]["inputs"]["x"]), "dtype shape tensor");
    assert_eq!(keys(&graph["training"]), "kind signatures optimizer_variables summary");
    assert_eq!(graph["training"]["kind"], "state_only");
    assert_eq!(keys(&graph["assets"]), "files extra missing escaping");
    assert_eq!(graph["assets"]["files"], json!([{ "name": "species.txt", "bytes": 28, "declared": true }]));
    assert_eq!(graph["assets"]["extra"][0]["name"], "about.txt");
    assert_eq!(graph["init_op"], "init_all_tables");
    assert_eq!(keys(&json["variables"]), "count bytes shards all tables");
    assert_eq!(keys(&json["variables"]["all"][0]), "name key dtype shape bytes");
    assert!(json["fingerprint"].is_null() && json["optimized"].is_null());
    let digits = inspect(&dir, "digits/model --format json").ok().json();
    let expected = "saved_model_checksum graph_def_program_hash signature_def_hash saved_object_graph_hash \
                    checkpoint_hash uuid checkpoint";
    assert_eq!(keys(&digits["fingerprint"]), expected);
    assert!(digits["fingerprint"].as_object().unwrap().values().all(Value::is_string), "64-bit numbers are text");
    assert_eq!(digits["fingerprint"]["checkpoint"], "matches");
}

#[test]
fn an_optimised_model_says_of_which_it_was_made() {
    let dir = Dir::new();
    dir.cmd("export models/digits/model optimized --optimized").without_tensorflow().run().ok();
    let checksum =
        inspect(&dir, "digits/model --format json").ok().json()["fingerprint"]["saved_model_checksum"].clone();
    let json = dir.cmd("inspect optimized --format json").without_tensorflow().run().ok().json();
    assert_eq!(json["optimized"]["changes"], json!(["constants", "calls", "weights"]));
    assert_eq!(json["optimized"]["from"]["saved_model_checksum"], checksum);
    let text = dir.cmd("inspect optimized").without_tensorflow().run().ok();
    text.prints("constants, calls, weights; from the model with the fingerprint").prints(checksum.as_str().unwrap());
}

#[test]
fn the_text_report_is_complete() {
    let dir = Dir::new();
    let report = inspect(&dir, "tf1_graph/model").ok();
    report.check(report.err().is_empty(), "there is nothing to complain about");
    let expected = [
        "models/tf1_graph/model  (saved_model.pb, ",
        "meta graph serve  written by TensorFlow 2.21.0",
        "training   can be trained on in Python alone: no train signature, 2 variables of optimizer state",
        "signature classify  tensorflow/serving/classify",
        "    inputs   string   [-1]     tf_example:0",
        "    classes  string   [-1, 3]  hash_table_Lookup_1/LookupTableFindV2:0",
        "    x              float32  [-1, 4]  x:0",
        "ops  346 nodes, 0 functions",
        "  116  Const",
        "ops more; --ops shows all",
        "assets\n  species.txt  28 B",
        "assets.extra\n  about.txt  64 B",
        "to run it  nothing is missing",
        "variables  5 variables, 128 B, 2 shards",
        "  global_step           int64    []       8 B",
        "  iris/kernel           float32  [4, 3]  48 B",
        "fingerprint  none",
    ];
    let report = expected.into_iter().fold(report, |report, text| report.prints(text));
    report.check(!report.out().contains("not in TensorFlow"), "no op of it is custom");

    let digits = inspect(&dir, "digits/model").ok();
    digits
        .prints("    image          float32  [-1, 8, 8, 1]  ")
        .prints("    probabilities  float32  [-1, 10]       ")
        .prints("fingerprint  ")
        .prints("; it matches the variables");
    inspect(&dir, "text_format/model").ok().prints("(saved_model.pbtxt, ").prints("meta graph (no tags)  ");
    inspect(&dir, "dtypes/model").ok().prints("    float32  float32  unknown  unknown_rank_float32:0");
    let sparse = "sparse: values features/values:0, indices features/indices:0, dense_shape features/shape:0";
    inspect(&dir, "sparse/model").ok().prints(sparse).prints("variables  0 variables");
}

#[test]
fn options_narrow_the_report() {
    let dir = Dir::new();
    let report = inspect(&dir, "multi/model --tags serve,train").ok().prints("signature gradients");
    report.check(!report.out().contains("signature shifted"), "another meta graph is shown");
    // The order of tags means nothing.
    inspect(&dir, "multi/model --tags train,serve").ok().prints_only(report.out());
    let empty = dir.cmd("inspect models/text_format/model --tags").arg("").without_tensorflow().run().ok();
    empty.prints_only(inspect(&dir, "text_format/model").out());

    let report = inspect(&dir, "multi/model --signature shifted").ok().prints("signature shifted");
    for other in ["signature aliases", "signature gradients", "ops  ", "variables  ", "fingerprint", "to run it"] {
        report.check(!report.out().contains(other), format_args!("`{other}` was not asked for"));
    }
    // Both meta graphs have one of this name.
    let both = inspect(&dir, "multi/model --signature serving_default").ok();
    both.check(both.out().matches("signature serving_default").count() == 2, "one is missing");

    let report = inspect(&dir, "two_in_two_out/model --variables").ok();
    let all = inspect(&dir, "two_in_two_out/model --format json").ok().json()["variables"]["count"].as_u64().unwrap();
    report.check(report.out().trim().lines().count() as u64 == 1 + all, "each variable has a line, and nothing else");

    let report = inspect(&dir, "tf1_graph/model --ops").ok();
    let all = inspect(&dir, "tf1_graph/model --format json").ok().json();
    let all = all["meta_graphs"][0]["ops"].as_object().unwrap().len();
    report.check(report.out().trim().lines().count() == 1 + all, "each op has a line, and nothing else");

    let json =
        inspect(&dir, "multi/model --tags serve --signature shifted --variables --ops --format json").ok().json();
    let graphs = json["meta_graphs"].as_array().unwrap();
    assert_eq!(graphs.len(), 1);
    assert_eq!(graphs[0]["signatures"].as_object().unwrap().keys().collect::<Vec<_>>(), ["shifted"]);
    assert_eq!((graphs[0]["ops"]["MatMul"].as_u64(), json["variables"]["count"].as_u64()), (Some(1), Some(2)));
    assert!(graphs[0].get("assets").is_none() && json.get("fingerprint").is_none());
}

#[test]
fn unknown_names_list_the_known_ones() {
    let dir = Dir::new();
    inspect(&dir, "multi/model --tags gpu").fails().says("`gpu`").says("`serve`, `serve,train`");
    inspect(&dir, "multi/model --tags serve,train,gpu").fails().says("`serve,train,gpu`");
    let unknown = inspect(&dir, "multi/model --tags serve --signature nope").fails();
    unknown.says("`models/multi/model` has no signature `nope`; it has `aliases`, `serving_default` and `shifted`");
    // In none of both.
    inspect(&dir, "multi/model --signature nope").fails().says("`aliases`").says("`gradients`");
    let empty = dir.cmd("inspect models/digits/model --tags").arg("").without_tensorflow().run();
    empty.fails().says("it has `serve`").hints("serve");
}

#[test]
fn names_in_several_meta_graphs_are_listed_once() {
    let dir = Dir::new();
    let unknown = inspect(&dir, "multi/model --signature nope").fails();
    unknown.check(unknown.err().matches("serving_default").count() == 1, "a name is listed twice");
}

#[test]
fn a_hint_about_tags_can_be_followed() {
    let dir = Dir::new();
    let hint = dir.cmd("inspect models/text_format/model --tags serve").without_tensorflow().run().fails();
    hint.says("(empty)").hints("--tags \"\"");
}

#[test]
fn ops_that_tensorflow_lacks_are_marked() {
    let dir = Dir::new();
    dir.write_proto("custom", |model| {
        let graph = model.meta_graphs[0].meta_info_def.mut_or_insert_default();
        graph.tensorflow_version = "2.21.0".into();
        let nodes = &mut model.meta_graphs[0].graph_def.mut_or_insert_default().node;
        let mut node = nodes[0].clone();
        node.name = "own".into();
        node.op = "SimpleMLInferenceOp".into();
        nodes.push(node);
    });
    let report = dir.cmd("inspect custom").without_tensorflow().run().ok();
    report
        .prints("  1  SimpleMLInferenceOp  not in TensorFlow 2.")
        .prints("to run it  missing:\n  the op library of `ydf-tf` (for older TensorFlows: ");
    let json = dir.cmd("inspect custom --format json").without_tensorflow().run().ok().json();
    assert_eq!(json["meta_graphs"][0]["custom_ops"], json!({ "SimpleMLInferenceOp": 1 }));
    assert_eq!(json["meta_graphs"][0]["missing"].as_array().unwrap().len(), 1);
}

#[test]
fn a_missing_asset_is_named() {
    let dir = Dir::new();
    let model = dir.copy_model("text", "model");
    std::fs::remove_file(model.join("assets/vocabulary.txt")).unwrap();
    let report = dir.cmd("inspect model").without_tensorflow().run();
    report.check(report.out().contains("missing:\n  the asset `assets/vocabulary.txt`"), "the asset is not named");
    let json = dir.cmd("inspect model --format json").without_tensorflow().run().json();
    assert_eq!(json["meta_graphs"][0]["assets"]["missing"], json!(["vocabulary.txt"]));
}

/// A graph of `models/sparse` with an initialiser that reads this file.
fn read_at_load(dir: &Dir, name: &str, file: &str) -> Ran {
    use tf_persist_proto::tensorflow as pb;
    dir.write_proto(name, |model| {
        let meta_graph = &mut model.meta_graphs[0];
        let nodes = &mut meta_graph.graph_def.mut_or_insert_default().node;
        let mut path = pb::NodeDef { name: "vocabulary".into(), op: "Const".into(), ..Default::default() };
        let mut value = pb::AttrValue::new();
        value.mut_tensor().string_val.push(file.as_bytes().to_vec().into());
        path.attr.insert("value".into(), value);
        nodes.push(path);
        for (name, op, input) in
            [("table", "HashTableV2", "^vocabulary"), ("fill", "InitializeTableFromTextFileV2", "table")]
        {
            let mut node = pb::NodeDef { name: name.into(), op: op.into(), ..Default::default() };
            node.input.push(input.into());
            if name == "fill" {
                node.input.push("vocabulary".into());
            }
            nodes.push(node);
        }
        let init = meta_graph.collection_def.entry("saved_model_main_op".into()).or_default();
        init.mut_node_list().value.push("fill".into());
    });
    dir.cmd(&format!("inspect {name}")).without_tensorflow().run().ok()
}

#[test]
fn a_file_that_an_initialiser_reads_outside_of_the_model_is_missing() {
    let dir = Dir::new();
    let gone = read_at_load(&dir, "gone", "/home/who/vocabulary.txt");
    gone.prints("missing:\n  the file `/home/who/vocabulary.txt`, which does not exist");
    let there = dir.write("outside.txt", "a\n").display().to_string();
    let there = read_at_load(&dir, "there", &there);
    there.prints("outside.txt`, which is not part of the model: an initialiser reads it when the model is loaded");
}

#[test]
fn functions_of_python_are_missing() {
    let dir = Dir::new();
    dir.write_proto("m", |model| {
        let graph = model.meta_graphs[0].graph_def.mut_or_insert_default();
        let mut node = graph.node[0].clone();
        (node.name, node.op) = ("call".into(), "EagerPyFunc".into());
        graph.node.push(node);
    });
    let report = dir.cmd("inspect m").without_tensorflow().run().ok();
    report.prints("missing:\n  Python and the program that made the model").prints("`EagerPyFunc` (1 node, `call`)");
}

#[test]
fn variables_of_a_fingerprint_are_missing() {
    let dir = Dir::new();
    dir.write_proto("m", |_| {});
    // `FingerprintDef.checkpoint_hash` is field 5.
    dir.write("m/fingerprint.pb", [0x28, 7]);
    let report = dir.cmd("inspect m").without_tensorflow().run().ok();
    report
        .prints("missing:\n  the folder `variables`, ")
        .prints("Python's `tf.saved_model.load` does not load the model without it");
    dir.write("m/fingerprint.pb", [0x08, 7]);
    dir.cmd("inspect m").without_tensorflow().run().ok().prints("nothing is missing");
    dir.write("m/fingerprint.pb", "<!DOCTYPE html>");
    dir.cmd("inspect m").without_tensorflow().run().fails().says("m/fingerprint.pb").says("a web page");
    let none = inspect(&dir, "tf1_graph/model").ok();
    none.prints("fingerprint  none (only `tf.saved_model.save` of TensorFlow 2.11 and later writes one)");
}

#[test]
fn bare_graphs_are_recognised() {
    let dir = Dir::new();
    let text = "node {\n  name: \"x\"\n  op: \"Placeholder\"\n}\n";
    let binary = b"\x0a\x10\x0a\x01x\x12\x0bPlaceholder";
    dir.write("1/saved_model.pb", binary);
    dir.write("2/frozen_graph.pb", binary);
    dir.write("3/saved_model.pbtxt", text);
    for model in ["1", "2", "3"] {
        let ran = dir.cmd(&format!("inspect {model}")).without_tensorflow().run().fails().hints("export a SavedModel");
        let ran = ran.says("is a bare graph (GraphDef)");
        ran.check(!ran.err().contains("copy the model again"), "another copy is no better");
    }
}

#[test]
fn an_asset_that_is_a_pointer_is_named() {
    let dir = Dir::new();
    dir.copy_model("text", "model");
    dir.write("model/assets/vocabulary.txt", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n");
    let report = dir.cmd("inspect model").without_tensorflow().run().ok();
    report.prints("missing:\n  the asset `assets/vocabulary.txt`, which is a pointer of Git LFS");
}

#[test]
fn a_partial_report_starts_without_an_empty_line() {
    let dir = Dir::new();
    for option in ["--signature serving_default", "--ops", "--variables", "--stats", "--tags serve"] {
        let report = inspect(&dir, &format!("half_plus_two/model {option}")).ok();
        report.check(!report.out().starts_with('\n'), "it begins with an empty line");
    }
}

#[test]
fn every_spelling_of_a_path_works() {
    let dir = Dir::new();
    dir.copy_model("half_plus_two", "with space/a \"b\" ü/model");
    let names =
        ["with space/a \"b\" ü/model", "with space/a \"b\" ü/model/", "./with space/../with space/a \"b\" ü/model"];
    for name in names {
        let report = dir.cmd("inspect").arg(name).without_tensorflow().run().ok();
        report.prints("signature serving_default").prints(name);
    }
    dir.cmd("inspect .").current_dir(names[0]).without_tensorflow().run().ok().prints("signature serving_default");
    let json = dir.cmd("inspect --format json").arg(names[0]).without_tensorflow().run().ok().json();
    assert_eq!(json["path"], names[0]);
}
