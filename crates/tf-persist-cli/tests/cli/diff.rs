//! What two models differ in. Nothing here needs TensorFlow.

use std::fs;

use serde_json::json;
use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow as pb;

use crate::command::Ran;
use crate::support::Dir;
use crate::verify::times;

fn diff(dir: &Dir, line: &str) -> Ran {
    dir.cmd(&format!("diff {line}")).without_tensorflow().run()
}

/// Checks that the report shows a difference, without an error.
#[track_caller]
fn different(ran: Ran, first_line: &str) -> Ran {
    ran.check(!ran.err().contains("error: "), "a difference is no error");
    ran.check(ran.out().lines().next() == Some(first_line), format_args!("the first line should be `{first_line}`"));
    ran
}

#[test]
fn a_copy_is_the_same() {
    let dir = Dir::new();
    for model in ["digits", "text", "tf1_graph", "multi", "text_format", "sparse", "float8", "dtypes"] {
        dir.copy_model(model, model);
        let same = diff(&dir, &format!("models/{model}/model {model}")).ok();
        same.check(same.out().starts_with("same: "), "the first word is the verdict");
        let report = diff(&dir, &format!("models/{model}/model {model} --format json")).ok().json();
        assert_eq!((&report["verdict"], &report["parts"]), (&json!("same"), &json!([])));
    }
    diff(&dir, "digits digits").ok().prints_only("same: signatures, ops, functions, graph, assets, 11 variables\n");
    diff(&dir, "digits digits --variables").ok().prints_only("same: 11 variables\n");
}

#[test]
fn changed_constants_and_signatures_are_listed() {
    let dir = Dir::new();
    times(&dir, "a", "2");
    times(&dir, "b", "3");
    let ran = different(diff(&dir, "a b"), "different: graph");
    ran.prints("graph: 1 changed\n  ~ c (Const)\n  1 more node with different inputs\n");
    let report = diff(&dir, "a b --format json").json();
    assert_eq!(
        report["meta_graphs"][0]["graph"],
        json!({"added": [], "removed": [], "changed": ["c (Const)"], "dependent": 1})
    );
    diff(&dir, "a b --variables").ok().prints_only("same: 0 variables\n");

    let text = fs::read_to_string(dir.path("a/saved_model.pbtxt")).unwrap();
    dir.write("c/saved_model.pbtxt", text.replace("\"chance\"", "\"luck\"").replace("key: \"y\"", "key: \"z\""));
    let ran = different(diff(&dir, "a c"), "different: signatures");
    let ran =
        ran.prints("signatures: 1 removed, 1 changed, 1 added\n  - chance\n  ~ serving_default: output `y` removed; ");
    ran.prints("output `z` added\n  + luck\n");
    let report = diff(&dir, "a c --format json").json();
    let expected = json!({"added": ["luck"], "removed": ["chance"],
                          "changed": {"serving_default": ["output `y` removed", "output `z` added"]}});
    assert_eq!(report["meta_graphs"][0]["signatures"], expected);
}

#[test]
fn changed_variables_assets_and_ops_are_listed() {
    let dir = Dir::new();
    let ran = different(
        diff(&dir, "models/digits/model models/text/model"),
        "different: signatures, ops, functions, graph, variables, assets",
    );
    let ran = ran.prints("\nvariables: 11 removed, 0 of 0 changed, 6 added\n").prints("  ~ BiasAdd 3 -> 0\n");
    ran.prints("\nassets: 1 added\n  + assets/vocabulary.txt\n").prints("more; --format json lists all\n");
    let report = diff(&dir, "models/digits/model models/text/model --format json").json();
    assert_eq!(report["meta_graphs"][0]["ops"]["Conv2D"], json!([2, 0]));
    assert_eq!(report["assets"]["added"], json!(["assets/vocabulary.txt"]));
    assert_eq!(report["variables"]["removed"].as_array().unwrap().len(), 11);
    different(diff(&dir, "models/digits/model models/text/model --variables"), "different: variables");

    dir.copy_model("half_plus_two", "m");
    let shard = dir.path("m/variables/variables.data-00000-of-00001");
    let half: Vec<u8> = 0.5_f32.to_le_bytes().to_vec();
    let mut bytes = fs::read(&shard).unwrap();
    let place = bytes.windows(4).position(|window| window == half).unwrap();
    bytes[place..place + 4].copy_from_slice(&0.75_f32.to_le_bytes());
    fs::write(&shard, bytes).unwrap();
    // The checksum is that of the old value.
    let damaged = diff(&dir, "models/half_plus_two/model m").fails().says("the checksum is wrong");
    damaged.prints_only("");
}

#[test]
fn values_and_their_tolerance() {
    let dir = Dir::new();
    for (name, value) in [("a", 1.0_f32), ("b", 1.0625)] {
        dir.copy_model("half_plus_two", name);
        let variables = dir.path(name).join("variables");
        let tensors = tf_persist_core::checkpoint::CheckpointReader::open(variables.join("variables")).unwrap();
        let all: Vec<_> = tensors
            .index()
            .entries
            .iter()
            .map(|entry| (entry.key.clone(), tensors.read(&entry.key).unwrap()))
            .collect();
        fs::remove_dir_all(&variables).unwrap();
        fs::create_dir(&variables).unwrap();
        let mut writer = tf_persist_core::checkpoint::CheckpointWriter::create(variables.join("variables")).unwrap();
        for (key, mut tensor) in all {
            if let Ok(values) = tensor.view_mut::<f32>() {
                values[0] = value;
            }
            writer.add(&key, &tensor).unwrap();
        }
        writer.finish().unwrap();
    }
    let ran = different(diff(&dir, "a b"), "different: variables");
    let ran = ran.prints("variables: 0 removed, 2 of 2 changed, 0 added\n");
    ran.prints(
        "differs in 1 of 1 elements; largest absolute difference 0.0625, relative 0.05882; at [] 1.0625 instead of 1\n",
    );
    diff(&dir, "a b --tolerance 0.1").ok().prints("2 variables, 2 of them not equal, but within 0.1\n");
    let report = diff(&dir, "a b --tolerance 0.1 --format json").ok().json();
    let changed = &report["variables"]["changed"][0];
    assert_eq!((&changed["within_tolerance"], &changed["values"]["largest_absolute"]), (&json!(true), &json!(0.0625)));
    different(diff(&dir, "a b --tolerance 1e-3"), "different: variables");
}

#[test]
fn meta_graphs_are_matched_by_tags() {
    let dir = Dir::new();
    let ran = different(
        diff(&dir, "models/multi/model models/half_plus_two/model"),
        "different: tags, signatures, ops, functions, graph, variables",
    );
    ran.prints("- meta graph `serve,train`\n");
    diff(&dir, "models/multi/model models/multi/model --tags train,serve").ok();
    diff(&dir, "models/multi/model models/half_plus_two/model --tags serve,train")
        .fails()
        .says("has no meta graph")
        .prints_only("");
}

#[test]
fn an_unreadable_model_is_an_error_not_a_difference() {
    let dir = Dir::new();
    for line in ["none models/digits/model", "models/digits/model none", "models/digits models/digits/model"] {
        diff(&dir, line).fails().says("is not a SavedModel").prints_only("");
    }
    dir.write("cut/saved_model.pb", &fs::read(dir.path("models/digits/model/saved_model.pb")).unwrap()[..999]);
    diff(&dir, "models/digits/model cut").fails().says("`cut/saved_model.pb` is damaged").prints_only("");
}

#[test]
fn usage_errors_of_diff_exit_with_2() {
    let dir = Dir::new();
    for line in ["", "a", "a b c", "a b --tolerance -1", "a b --format xml", "a b --variables --tags serve"] {
        diff(&dir, line).misused();
    }
}

/// A chain of thousands of nodes, and one of functions of which the last calls this one, and a node that is its own
/// input.
fn chain(model: &mut pb::SavedModel, last: &str) {
    let graph = model.meta_graphs[0].graph_def.mut_or_insert_default();
    let node = |name: &str, op: &str, input: &str| pb::NodeDef {
        name: name.into(),
        op: op.into(),
        input: vec![input.into()],
        ..Default::default()
    };
    graph.node.push(node("own", "Neg", "own"));
    for number in 0..20_000 {
        graph.node.push(node(&format!("n{number}"), "Neg", &format!("n{}", number + 1)));
        let mut function = pb::FunctionDef::new();
        function.signature.mut_or_insert_default().name = format!("f{number}");
        let called = if number == 19_999 { last.to_owned() } else { format!("f{}", number + 1) };
        function.node_def.push(node("call", &called, "x"));
        graph.library.mut_or_insert_default().function.push(function);
    }
}

#[test]
fn hostile_graphs_terminate() {
    let dir = Dir::new();
    dir.write_proto("chain", |model| chain(model, "Abs"));
    dir.write_proto("circle", |model| chain(model, "f0"));
    assert!(pb::SavedModel::parse_from_bytes(&fs::read(dir.path("circle/saved_model.pb")).unwrap()).is_ok());
    diff(&dir, "chain chain").ok();
    let ran = dir.cmd("diff chain circle").without_tensorflow().run();
    ran.check(ran.out().starts_with("different: "), "one of them is a circle");
}
