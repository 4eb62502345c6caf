//! Tests of pruning.

use std::collections::BTreeSet;
use std::fs;

use tf_persist_proto::protobuf::{EnumOrUnknown, Message, MessageField};
use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::{ListValue, Value};
use tf_persist_proto::tensorflow::meta_graph::collection_def::{Kind, NodeList};
use tf_persist_proto::tensorflow::meta_graph::meta_graph_def::MetaInfoDef;
use tf_persist_proto::tensorflow::meta_graph::tensor_info::Encoding;

use super::{check_whole, settle};
use crate::export::SaveOptions;
use crate::graph::attr;
use crate::saved_model::SavedModel;
use crate::tensor::proto;
use crate::{DType, Tensor};

fn info(name: &str) -> pb::TensorInfo {
    pb::TensorInfo {
        dtype: EnumOrUnknown::from_i32(DType::Float32.number()),
        encoding: Some(Encoding::Name(name.into())),
        ..Default::default()
    }
}

fn signature(input: &str, output: &str) -> pb::SignatureDef {
    pb::SignatureDef {
        inputs: [("x".to_owned(), info(input))].into(),
        outputs: [("y".to_owned(), info(output))].into(),
        ..Default::default()
    }
}

fn node(name: &str, op: &str, inputs: &[&str]) -> pb::NodeDef {
    attr::node(name, op, inputs, [])
}

fn call(name: &str, function: &str, inputs: &[&str]) -> pb::NodeDef {
    let function = Value::Func(pb::NameAttrList { name: function.into(), ..Default::default() });
    let function = pb::AttrValue { value: Some(function), ..Default::default() };
    attr::node(name, "StatefulPartitionedCall", inputs, [("f", function)])
}

fn argument(name: &str) -> pb::op_def::op_def::ArgDef {
    pb::op_def::op_def::ArgDef { name: name.into(), ..Default::default() }
}

fn meta_graph(nodes: Vec<pb::NodeDef>, signature: pb::SignatureDef) -> pb::MetaGraphDef {
    pb::MetaGraphDef {
        meta_info_def: MessageField::some(MetaInfoDef { tags: vec!["serve".into()], ..Default::default() }),
        graph_def: MessageField::some(pb::GraphDef { node: nodes, ..Default::default() }),
        signature_def: [("serving_default".to_owned(), signature)].into(),
        ..Default::default()
    }
}

/// A model that makes a forest of an op library's, which its init op fills from one of two files, whose path goes
/// through a variable. Each file's name is in its own variable, as in decision forests.
fn forest(reader: &str) -> pb::MetaGraphDef {
    let path = |name: &str| attr::node(name, "Placeholder", &[], [("dtype", attr::dtype(DType::String))]);
    let string = || [("dtype", attr::dtype(DType::String))];
    let nodes = vec![
        path("done"),
        path("nodes"),
        attr::node("v", "VarHandleOp", &[], string()),
        attr::node("v/Assign", "AssignVariableOp", &["v", "done"], string()),
        attr::node("w", "VarHandleOp", &[], string()),
        attr::node("w/Assign", "AssignVariableOp", &["w", "nodes"], string()),
        node("forest", "MakeForest", &[]),
        node("other_forest", "MakeForest", &[]),
        attr::node("path", "ReadVariableOp", &["v", "^v/Assign"], string()),
        call("fill", "fill", &["path", "forest"]),
        call("fill_other", "fill", &["path", "other_forest"]),
        node("init", "NoOp", &["^fill", "^fill_other", "^v/Assign", "^w/Assign"]),
        attr::node("x", "Placeholder", &[], [("dtype", attr::dtype(DType::Float32))]),
        node("y", "AskForest", &["x", "forest"]),
    ];
    let fill = pb::FunctionDef {
        signature: MessageField::some(pb::OpDef {
            name: "fill".into(),
            input_arg: vec![argument("path"), argument("handle")],
            ..Default::default()
        }),
        node_def: vec![node("load", reader, &["handle", "path"])],
        control_ret: [("load".to_owned(), "load".to_owned())].into(),
        ..Default::default()
    };
    let mut definition = meta_graph(nodes, signature("x:0", "y:0"));
    definition.graph_def.mut_or_insert_default().library =
        MessageField::some(pb::FunctionDefLibrary { function: vec![fill], ..Default::default() });
    definition.asset_file_def = ["done", "nodes"]
        .map(|name| pb::AssetFileDef {
            tensor_info: MessageField::some(info(&format!("{name}:0"))),
            filename: name.to_owned(),
            ..Default::default()
        })
        .into();
    let list = NodeList { value: vec!["init".into()], ..Default::default() };
    let init = pb::CollectionDef { kind: Some(Kind::NodeList(list)), ..Default::default() };
    definition.collection_def = [("saved_model_main_op".to_owned(), init)].into();
    definition
}

/// The functions of a forest.
fn functions() -> BTreeSet<String> {
    BTreeSet::from(["fill".to_owned()])
}

/// The nodes and assets that stay of a model.
fn pruned(definition: pb::MetaGraphDef, options: SaveOptions) -> (Vec<String>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    fs::create_dir_all(source.join("assets")).unwrap();
    ["done", "nodes"].iter().for_each(|name| fs::write(source.join("assets").join(name), name).unwrap());
    let model = pb::SavedModel { meta_graphs: vec![definition], ..Default::default() };
    fs::write(source.join("saved_model.pb"), model.write_to_bytes().unwrap()).unwrap();
    SavedModel::open(&source).unwrap().save(&target, options).unwrap();
    let saved = SavedModel::open(&target).unwrap();
    let definition = saved.decode_meta_graph(&saved.meta_graphs()[0]).unwrap();
    check_whole(&definition, &functions()).unwrap();
    let files: Vec<String> = definition.asset_file_def.iter().map(|file| file.filename.clone()).collect();
    assert!(files.iter().all(|name| target.join("assets").join(name).exists()));
    (definition.graph_def.node.iter().map(|node| node.name.clone()).collect(), files)
}

#[test]
fn initialiser_of_a_resource_is_kept_with_its_files() {
    for options in [SaveOptions::default().inference_only(true), SaveOptions::default().frozen(true)] {
        let (nodes, files) = pruned(forest("LoadForest"), options.clone());
        assert_eq!(nodes, ["done", "nodes", "v", "v/Assign", "forest", "path", "fill", "init", "x", "y"]);
        assert_eq!(files, ["done", "nodes"]);
        // An op that reads the file whose path it takes needs no other.
        let (nodes, files) = pruned(forest("InitializeTableFromTextFileV2"), options);
        assert!(!nodes.contains(&"nodes".to_owned()));
        assert_eq!(files, ["done"]);
    }
}

#[test]
fn missing_parts_are_reported() {
    type Break = fn(&mut pb::MetaGraphDef);
    let without = |name: &'static str| {
        move |definition: &mut pb::MetaGraphDef| {
            definition.graph_def.mut_or_insert_default().node.retain(|node| node.name != name);
        }
    };
    let refused = |definition: &pb::MetaGraphDef| check_whole(definition, &functions()).unwrap_err();
    let mut definition = forest("LoadForest");
    assert_eq!(check_whole(&definition, &functions()), Ok(()));
    without("forest")(&mut definition);
    assert!(refused(&definition).contains("the op `fill` needs `forest`"));
    for (name, says) in
        [("y", "the signature `serving_default` needs `y:0`"), ("init", "`saved_model_main_op` needs `init`")]
    {
        let mut definition = forest("LoadForest");
        without(name)(&mut definition);
        assert!(refused(&definition).contains(says), "{}", refused(&definition));
    }
    let breaks: [(Break, &str); 3] = [
        (
            |definition| definition.asset_file_def[0].tensor_info.mut_or_insert_default().set_name("gone:0".into()),
            "`done`",
        ),
        (
            |definition| definition.saver_def.mut_or_insert_default().restore_op_name = "gone".into(),
            "the saver needs `gone`",
        ),
        (|definition| definition.graph_def.mut_or_insert_default().library = None.into(), "calls the function `fill`"),
    ];
    for (damage, says) in breaks {
        let mut definition = forest("LoadForest");
        damage(&mut definition);
        assert!(refused(&definition).contains(says), "{}", refused(&definition));
    }
}

/// `y` is `x` if a condition holds that has a default, else a variable's value, which a third input may choose as well.
fn branches(condition: &str) -> pb::MetaGraphDef {
    let default = attr::const_node("default", proto::to_proto(&Tensor::scalar(false).unwrap()));
    let nodes = vec![
        default,
        node("training", "PlaceholderWithDefault", &["default"]),
        node("is_training", "Identity", &["training"]),
        node("not_training", "LogicalNot", &["is_training"]),
        node("both", "LogicalAnd", &["not_training", "training"]),
        node("x", "Placeholder", &[]),
        node("v", "VarHandleOp", &[]),
        node("switch", "Switch", &["x", condition]),
        node("pivot", "Identity", &["switch:1"]),
        node("write", "AssignVariableOp", &["v", "x", "^pivot"]),
        node("taken", "Identity", &["switch:1", "^write"]),
        node("other", "Identity", &["switch"]),
        node("y", "Merge", &["other", "taken"]),
        node("which", "Identity", &["y:1"]),
    ];
    let mut definition = meta_graph(nodes, signature("x:0", "y:0"));
    definition.signature_def.get_mut("serving_default").unwrap().outputs.insert("which".into(), info("which:0"));
    definition
}

/// The nodes as `name = op(inputs)`, after branches were taken out that no signature can take.
fn settled(definition: &pb::MetaGraphDef) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let model = pb::SavedModel { meta_graphs: vec![definition.clone()], ..Default::default() };
    fs::write(folder.path().join("saved_model.pb"), model.write_to_bytes().unwrap()).unwrap();
    let model = SavedModel::open(folder.path()).unwrap();
    let mut definition = definition.clone();
    settle(&mut definition, &model.meta_graphs()[0], |_| true, true);
    let functions = definition.graph_def.library.function.iter().flat_map(|function| &function.node_def);
    let nodes = definition.graph_def.node.iter().chain(functions);
    nodes.map(|node| format!("{} = {}({})", node.name, node.op, node.input.join(", "))).collect()
}

#[test]
fn branch_that_is_never_taken_is_removed() {
    let nodes = settled(&branches("is_training"));
    for expected in [
        "switch = Identity(x, ^is_training)",
        "other = Identity(switch)",
        "y = Identity(other)",
        "y/value_index = Const()",
        "which = Identity(y/value_index)",
    ] {
        assert!(nodes.iter().any(|node| node == expected), "{expected}: {nodes:#?}");
    }
    assert!(!nodes.iter().any(|node| node.starts_with("write") || node.starts_with("pivot")), "{nodes:#?}");
    // The other side, by an operation on conditions.
    let nodes = settled(&branches("not_training"));
    assert!(nodes.contains(&"y = Identity(taken)".to_owned()), "{nodes:#?}");
    assert!(nodes.contains(&"taken = Identity(switch, ^write)".to_owned()), "{nodes:#?}");
    assert!(!nodes.iter().any(|node| node.starts_with("other")), "{nodes:#?}");
    assert!(settled(&branches("both")).contains(&"y = Identity(other)".to_owned()));
}

#[test]
fn branch_that_may_be_taken_is_kept() {
    let mut fed = branches("is_training");
    fed.signature_def.get_mut("serving_default").unwrap().inputs.insert("training".into(), info("training:0"));
    let mut unknown = branches("is_training");
    unknown.graph_def.mut_or_insert_default().node[1].op = "Placeholder".into();
    // The requested output is on the side that is not taken.
    let mut fetched = branches("is_training");
    fetched.signature_def.get_mut("serving_default").unwrap().outputs.insert("z".into(), info("taken:0"));
    for definition in [fed, unknown, fetched] {
        let nodes = settled(&definition);
        assert!(nodes.contains(&"y = Merge(other, taken)".to_owned()), "{nodes:#?}");
        assert_eq!(nodes.len(), definition.graph_def.node.len());
    }
}

#[test]
fn known_branch_becomes_a_call() {
    let mut definition = branches("is_training");
    let nodes = &mut definition.graph_def.mut_or_insert_default().node;
    let branch = |name: &str| {
        let function = Value::Func(pb::NameAttrList { name: name.into(), ..Default::default() });
        pb::AttrValue { value: Some(function), ..Default::default() }
    };
    nodes.push(attr::node(
        "if",
        "If",
        &["is_training", "x"],
        [("then_branch", branch("t")), ("else_branch", branch("e"))],
    ));
    let nodes = settled(&definition);
    assert!(nodes.contains(&"if = StatefulPartitionedCall(x, ^is_training)".to_owned()), "{nodes:#?}");
}

/// A function with these arguments and nodes.
fn function(name: &str, arguments: &[&str], nodes: Vec<pb::NodeDef>) -> pb::FunctionDef {
    pb::FunctionDef {
        signature: MessageField::some(pb::OpDef {
            name: name.into(),
            input_arg: arguments.iter().map(|name| argument(name)).collect(),
            ..Default::default()
        }),
        node_def: nodes,
        ..Default::default()
    }
}

fn branches_of(node: pb::NodeDef, names: &[&str]) -> pb::NodeDef {
    let func = names.iter().map(|name| pb::NameAttrList { name: (*name).into(), ..Default::default() }).collect();
    let list = ListValue { func, ..Default::default() };
    let mut node = node;
    node.attr.insert("branches".into(), pb::AttrValue { value: Some(Value::List(list)), ..Default::default() });
    node
}

#[test]
fn known_condition_is_followed_into_functions() {
    let number = |name: &str, value: i32| attr::const_node(name, proto::to_proto(&Tensor::scalar(value).unwrap()));
    let mut definition = branches("is_training");
    let graph = definition.graph_def.mut_or_insert_default();
    graph.node.push(call("outer", "outer", &["x", "is_training"]));
    let case = |name: &str, index: &str| branches_of(node(name, "Case", &[index, "a"]), &["zero", "one", "two"]);
    graph.library.mut_or_insert_default().function = vec![
        function("outer", &["a", "flag"], vec![call("inner", "inner", &["flag", "a"])]),
        function(
            "inner",
            &["flag", "a"],
            vec![
                number("one", 1),
                number("far", 7),
                attr::node("number", "Cast", &["flag"], [("DstT", attr::dtype(DType::Int32))]),
                case("first", "number:y:0"),
                case("second", "one:output:0"),
                case("last", "far:output:0"),
                case("unknown", "a"),
                call("again", "inner", &["a", "a"]),
            ],
        ),
    ];
    let nodes = settled(&definition);
    for expected in [
        "first = StatefulPartitionedCall(a, ^number)",
        "second = StatefulPartitionedCall(a, ^one)",
        "last = StatefulPartitionedCall(a, ^far)",
        "unknown = Case(a, a)",
    ] {
        assert!(nodes.iter().any(|node| node == expected), "{expected}: {nodes:#?}");
    }
    // The condition may be another where the original is called.
    assert!(nodes.contains(&"first = Case(number:y:0, a)".to_owned()), "{nodes:#?}");
}

#[test]
fn lists_of_arguments_are_not_counted_as_one() {
    let mut definition = branches("is_training");
    let graph = definition.graph_def.mut_or_insert_default();
    // The list takes the first two inputs, so `flag` is `x`, which is unknown.
    graph.node.push(call("listed", "listed", &["x", "is_training", "x"]));
    let case = branches_of(node("case", "Case", &["flag", "flag"]), &["zero", "one"]);
    let mut listed = function("listed", &["numbers", "flag"], vec![case]);
    listed.signature.mut_or_insert_default().input_arg[0].number_attr = "N".into();
    graph.library.mut_or_insert_default().function = vec![listed];
    let nodes = settled(&definition);
    let cases: Vec<&String> = nodes.iter().filter(|node| node.starts_with("case = ")).collect();
    assert_eq!(cases, ["case = Case(flag, flag)"]);
}
