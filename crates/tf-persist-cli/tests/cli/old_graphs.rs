//! Graphs of newer, older and modified TensorFlows: missing ops are named, with a hint.

use serde_json::json;
use tf_persist_proto::protobuf::{EnumOrUnknown, Message};
use tf_persist_proto::tensorflow as pb;

use crate::command::Ran;
use crate::support::Dir;

/// A node of `models/sparse`'s graph.
fn node(name: &str, op: &str) -> pb::NodeDef {
    let mut node = pb::NodeDef::new();
    node.name = name.into();
    node.op = op.into();
    node
}

fn graph(model: &mut pb::SavedModel) -> &mut pb::GraphDef {
    model.meta_graphs[0].graph_def.mut_or_insert_default()
}

const RUN: &str = "--signature serving_default --input features.indices=[[0,0]] --input features.values=[1] \
                   --input features.dense_shape=[1,4]";

#[test]
fn the_op_of_a_known_package_is_named_before_tensorflow_is_opened() {
    let dir = Dir::new();
    dir.write_proto("m", |model| {
        graph(model).node.push(node("tokens", "TFText>WhitespaceTokenizeWithOffsetsV2"));
        graph(model).node.push(node("own", "OwnOp"));
    });
    let ran = dir.cmd("run m").args(RUN.split_whitespace()).without_tensorflow().run().fails();
    let ran = ran
        .says("`m` uses 2 ops that TensorFlow 2.21 does not have: `OwnOp`, `TFText>WhitespaceTokenizeWithOffsetsV2`");
    let ran = ran.hints("--op-library tensorflow-text");
    ran.check(
        ran.err().contains("  `TFText>WhitespaceTokenizeWithOffsetsV2` (1 node, `tokens`)\n"),
        "no place is named",
    );
    let report = dir.cmd("inspect m --format json").without_tensorflow().run().ok().json();
    let ops = &report["meta_graphs"][0]["missing_ops"];
    assert_eq!(ops[1]["package"], "tensorflow-text");
    assert_eq!((&ops[0]["op"], &ops[0]["node"], &ops[0]["package"]), (&json!("OwnOp"), &json!("own"), &json!(null)));
    let text = dir.cmd("inspect m").without_tensorflow().run().ok();
    text.check(
        text.out().contains("the op library of `tensorflow-text` with the op `TFText>"),
        "the package is not named",
    );
}

#[test]
fn ten_thousand_unknown_ops_stay_readable() {
    let dir = Dir::new();
    dir.write_proto("m", |model| {
        graph(model).node.extend((0..10_000).map(|index| node(&format!("n{index}"), &format!("Own{index:05}"))))
    });
    let ran = dir.cmd("run m").args(RUN.split_whitespace()).run().fails();
    let ran = ran.says("uses 10000 ops").says("and 9990 more");
    ran.check(ran.err().lines().count() < 20 && ran.err().len() < 4000, "it is too long to read");
    let text = dir.cmd("inspect m").without_tensorflow().run().ok();
    text.check(text.out().contains("and 9990 more"), "the missing ops are not cut short");
}

/// TensorFlow ignores attributes that it does not know, so answers may differ: the command warns.
#[test]
fn an_unknown_attribute_is_a_warning() {
    let dir = Dir::new();
    dir.write_proto("m", |model| {
        let mut value = pb::AttrValue::new();
        value.set_i(7);
        graph(model).node[0].attr.insert("of_the_future".into(), value.clone());
        graph(model).node[0].attr.insert("_of_some_tool".into(), value);
    });
    let ran = dir.cmd("run m").args(RUN.split_whitespace()).run().ok();
    let warning = "does not know the attribute `of_the_future` of the op `Const` (node `features/shape_default`), and runs `m` without";
    ran.check(ran.err().contains(warning), "it is not told");
    let quiet = dir.cmd("run models/sparse/model").args(RUN.split_whitespace()).run().ok();
    quiet.check(!quiet.err().contains("warning: "), "there is nothing to warn of");
}

/// An element type, which is the value of an attribute, is another matter: TensorFlow refuses it.
#[test]
fn an_unknown_dtype_names_the_writer_version() {
    let dir = Dir::new();
    dir.write_proto("m", |model| {
        model.meta_graphs[0].meta_info_def.mut_or_insert_default().tensorflow_version = "2.99.0".into();
        let mut new = node("new", "Placeholder");
        let mut value = pb::AttrValue::new();
        value.value = Some(pb::attr_value::attr_value::Value::Type(EnumOrUnknown::from_i32(77)));
        new.attr.insert("dtype".into(), value);
        graph(model).node.push(new);
    });
    let ran = dir.cmd("run m").args(RUN.split_whitespace()).run().fails();
    ran.hints("the model was written by TensorFlow 2.99.0, and this is 2.");
}

#[test]
fn removed_kernels_are_told_from_missing_ones() {
    let dir = Dir::new();
    let refused = |name: &str, change: &dyn Fn(&mut pb::NodeDef)| {
        dir.write_proto(name, |model| {
            let mut new = node("new", name);
            change(&mut new);
            graph(model).node.push(new);
        });
        dir.cmd("run").arg(name).args(RUN.split_whitespace()).run().fails()
    };
    let number = |node: &mut pb::NodeDef, key: &str, number: i64| {
        let mut value = pb::AttrValue::new();
        value.set_i(number);
        node.attr.insert(key.into(), value);
    };
    let ran = refused("BoostedTreesEnsembleResourceHandleOp", &|_| {});
    ran.says("BoostedTreesEnsembleResourceHandleOp").hints("TensorFlow 2.8 was the last that could run");
    let report = dir.cmd("inspect BoostedTreesEnsembleResourceHandleOp").without_tensorflow().run().ok();
    report.prints("TensorFlow 2.8 or older, the last one that can run `BoostedTreesEnsembleResourceHandleOp`");
    let ran = refused("TPUOrdinalSelector", &|_| {});
    ran.hints("knows `TPUOrdinalSelector` but cannot run it here");
    let ran = refused("PyFunc", &|node| {
        number(node, "token", 0);
        let mut value = pb::AttrValue::new();
        value.set_s(b"pyfunc_0".to_vec().into());
        node.attr.insert("token".into(), value);
        for key in ["Tin", "Tout"] {
            let mut value = pb::AttrValue::new();
            value.mut_list();
            node.attr.insert(key.into(), value);
        }
    });
    ran.hints("calls Python functions of the program that made it");
}

/// Ten megabytes of graph with custom ops take 0.1 s in an optimised build; a search whose time grows with the square
/// of the nodes would exceed the limit of every command.
#[test]
fn missing_ops_of_a_large_graph_are_found_at_once() {
    let dir = Dir::new();
    dir.write_proto("m", |model| {
        let graph = graph(model);
        for index in 0..120_000 {
            let mut new =
                node(&format!("scope/of/some/length/node_{index}"), if index % 9 == 0 { "OwnOp" } else { "Identity" });
            new.input.push(format!("scope/of/some/length/node_{}", index.max(1) - 1));
            let mut value = pb::AttrValue::new();
            value.set_type(pb::DataType::DT_FLOAT);
            new.attr.insert("T".into(), value);
            graph.node.push(new);
        }
        let last = graph.node.last().unwrap().name.clone();
        let signature = model.meta_graphs[0].signature_def.get_mut("serving_default").unwrap();
        signature.outputs.values_mut().for_each(|info| info.set_name(format!("{last}:0")));
    });
    let size = std::fs::metadata(dir.path("m/saved_model.pb")).unwrap().len();
    assert!(size > 9_000_000, "{size}");
    let ran = dir.cmd("inspect m").without_tensorflow().run().ok();
    ran.check(ran.out().contains("`OwnOp` (13334 nodes, such as `scope/of"), "the op is not found");
    ran.check(ran.out().contains("of signature `serving_default`"), "its signature is not found");
}

/// TensorFlow looks at a function when it is called. Python's loader refuses such a model; the sessions of old servers
/// ran it.
#[test]
fn an_op_in_an_uncalled_function_is_not_missing() {
    let dir = Dir::new();
    dir.write_proto("m", |model| {
        let mut function = pb::FunctionDef::new();
        function.signature.mut_or_insert_default().name = "nobodys".into();
        function.node_def.push(node("tokens", "TFText>WhitespaceTokenizeWithOffsetsV2"));
        graph(model).library.mut_or_insert_default().function.push(function);
    });
    dir.cmd("run m").args(RUN.split_whitespace()).run().ok();
    dir.cmd("inspect m").without_tensorflow().run().ok().prints("nothing is missing");
    let report = dir.cmd("inspect m --format json").without_tensorflow().run().ok().json();
    assert_eq!(report["meta_graphs"][0]["missing_ops"][0]["reached"], json!(false));
    assert_eq!(report["meta_graphs"][0]["missing_ops"][0]["function"], json!("nobodys"));
}

/// A copy of `models/bare_table`, whose table no init op fills, changed.
fn bare_table(dir: &Dir, name: &str, change: impl FnOnce(&mut pb::MetaGraphDef)) -> Ran {
    let file = dir.copy_model("bare_table", name).join("saved_model.pb");
    let mut model = pb::SavedModel::parse_from_bytes(&std::fs::read(&file).unwrap()).unwrap();
    change(&mut model.meta_graphs[0]);
    std::fs::write(file, model.write_to_bytes().unwrap()).unwrap();
    dir.cmd("run").arg(name).args(["--input", "words=[\"beta\"]", "--format", "json"]).run()
}

/// The op of a name, as the init op.
fn init_op(meta_graph: &mut pb::MetaGraphDef, op: &str) {
    let collection = meta_graph.collection_def.entry("legacy_init_op".into()).or_default();
    collection.mut_node_list().value.push(op.into());
}

/// An init op may do something else, such as setting local variables, and leave the tables to the loader.
#[test]
fn a_table_that_the_init_op_leaves_out_is_filled() {
    let dir = Dir::new();
    let left_out = bare_table(&dir, "left_out", |meta_graph| {
        meta_graph.graph_def.mut_or_insert_default().node.push(node("init", "NoOp"));
        init_op(meta_graph, "init");
    });
    assert_eq!(left_out.ok().json()["outputs"]["ids"], json!([1]));
    // What cannot be filled does not keep a model from being loaded that TensorFlow loads.
    let without = bare_table(&dir, "without", |meta_graph| {
        meta_graph.graph_def.mut_or_insert_default().node.push(node("init", "NoOp"));
        init_op(meta_graph, "init");
        let collection = meta_graph.collection_def.get_mut("table_initializer").unwrap();
        collection.mut_node_list().value = vec!["not_there".into(), "hash_table_Lookup/Add".into()];
    });
    without.fails().says("Table not initialized");
    // One that the init op fills is not filled twice: that would be refused with another path.
    let filled = bare_table(&dir, "filled", |meta_graph| {
        let mut init = node("init", "NoOp");
        init.input.push("^text_file_init/InitializeTableFromTextFileV2".into());
        meta_graph.graph_def.mut_or_insert_default().node.push(init);
        init_op(meta_graph, "init");
    });
    assert_eq!(filled.ok().json()["outputs"]["ids"], json!([1]));
}

/// A list of assets may name a tensor twice: TensorFlow refuses to feed it twice, and Python feeds what comes last.
#[test]
fn an_asset_that_is_listed_twice_is_fed_once() {
    let dir = Dir::new();
    let twice = |meta_graph: &mut pb::MetaGraphDef| {
        let assets = meta_graph.collection_def.get_mut("saved_model_assets").unwrap().mut_any_list();
        let first = assets.value[0].clone();
        assets.value.push(first);
    };
    assert_eq!(bare_table(&dir, "twice", twice).ok().json()["outputs"]["ids"], json!([1]));
    // With an init op it is TensorFlow that feeds them, while it loads the model.
    let refused = bare_table(&dir, "by_tensorflow", |meta_graph| {
        twice(meta_graph);
        init_op(meta_graph, "text_file_init/InitializeTableFromTextFileV2");
    });
    refused.fails().says("fed more than once").hints("lists an asset twice for this tensor");
}

#[test]
fn devices_versions_and_empty_tables_are_explained() {
    let dir = Dir::new();
    let pinned = bare_table(&dir, "pinned", |meta_graph| {
        let nodes = &mut meta_graph.graph_def.mut_or_insert_default().node;
        nodes.iter_mut().for_each(|node| node.device = "/job:ps/replica:0/task:0/device:CPU:0".into());
    });
    pinned.fails().says("TensorFlow could not").hints("pinned to machines of a cluster");
    // A GPU that is not there is another matter.
    let gpu = bare_table(&dir, "gpu", |meta_graph| {
        let nodes = &mut meta_graph.graph_def.mut_or_insert_default().node;
        nodes.iter_mut().for_each(|node| node.device = "/job:localhost/replica:0/task:0/device:GPU:3".into());
    });
    assert_eq!(gpu.ok().json()["outputs"]["ids"], json!([1]));
    let newer = bare_table(&dir, "newer", |meta_graph| {
        meta_graph.meta_info_def.mut_or_insert_default().tensorflow_version = "9.9.0".into();
        meta_graph.graph_def.mut_or_insert_default().versions.mut_or_insert_default().min_consumer = 99_999;
    });
    newer.fails().hints("the model was written by TensorFlow 9.9.0, and this is 2.");
    let unfilled = bare_table(&dir, "unfilled", |meta_graph| {
        meta_graph.collection_def.remove("table_initializer");
    });
    unfilled.fails().says("Table not initialized").hints("nothing in the model fills this table");
}
