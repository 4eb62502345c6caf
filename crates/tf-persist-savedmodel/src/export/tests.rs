//! Exports of graphs that no exporter writes.

use std::fs;
use std::path::Path;

use tf_persist_proto::protobuf::{EnumOrUnknown, Message, MessageField};
use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;
use tf_persist_proto::tensorflow::meta_graph::meta_graph_def::MetaInfoDef;
use tf_persist_proto::tensorflow::meta_graph::tensor_info::Encoding;
use tf_persist_proto::tensorflow::saved_object_graph::saved_object::Kind;
use tf_persist_proto::tensorflow::trackable_object_graph::trackable_object_graph::trackable_object::ObjectReference;

use super::SaveOptions;
use crate::checkpoint::{CheckpointReader, CheckpointWriter, OBJECT_GRAPH_KEY};
use crate::error::Result;
use crate::graph::attr;
use crate::saved_model::SavedModel;
use crate::{DType, Tensor};

const FLOAT: i32 = 1;
const RESOURCE: i32 = 20;

fn call(name: &str, function: &str, inputs: &[&str]) -> pb::NodeDef {
    let types = vec![EnumOrUnknown::from_i32(RESOURCE); inputs.len()];
    let function = Value::Func(pb::NameAttrList { name: function.into(), ..Default::default() });
    let function = pb::AttrValue { value: Some(function), ..Default::default() };
    let mut node = attr::node(name, "PartitionedCall", &[], [("f", function), ("Tin", attr::dtypes(types))]);
    node.attr.insert("Tout".into(), attr::dtypes(vec![EnumOrUnknown::from_i32(FLOAT)]));
    node.input = inputs.iter().map(|input| (*input).to_owned()).collect();
    node
}

fn argument(name: &str, dtype: i32) -> pb::op_def::op_def::ArgDef {
    pb::op_def::op_def::ArgDef { name: name.into(), type_: EnumOrUnknown::from_i32(dtype), ..Default::default() }
}

/// A function from a handle to a number.
fn function(name: &str, nodes: Vec<pb::NodeDef>, result: &str) -> pb::FunctionDef {
    let signature = pb::OpDef {
        name: name.into(),
        input_arg: vec![argument("handle", RESOURCE)],
        output_arg: vec![argument("result", FLOAT)],
        ..Default::default()
    };
    pb::FunctionDef {
        signature: MessageField::some(signature),
        node_def: nodes,
        ret: [("result".to_owned(), result.to_owned())].into(),
        ..Default::default()
    }
}

/// A model with a variable `v`, a signature that calls `f` with it, these functions, and an object graph.
fn model(folder: &Path, functions: Vec<pb::FunctionDef>, objects: pb::SavedObjectGraph) -> SavedModel {
    let float = || attr::dtype(DType::Float32);
    let mut keys = attr::strings_node("keys", &["v"]).unwrap();
    keys.name = "keys".into();
    let nodes = vec![
        attr::node("v", "VarHandleOp", &[], [("dtype", float()), ("shape", attr::shape(&[]))]),
        call("y", "f", &["v"]),
        attr::node("prefix", "Placeholder", &[], [("dtype", attr::dtype(DType::String))]),
        keys,
        attr::strings_node("slices", &[""]).unwrap(),
        attr::node(
            "read",
            "RestoreV2",
            &["prefix", "keys", "slices"],
            [("dtypes", attr::dtypes(vec![EnumOrUnknown::from_i32(FLOAT)]))],
        ),
        attr::node("assign", "AssignVariableOp", &["v", "read"], [("dtype", float())]),
        attr::node("restore", "NoOp", &["^assign"], []),
    ];
    let output = pb::TensorInfo {
        dtype: EnumOrUnknown::from_i32(FLOAT),
        tensor_shape: MessageField::some(attr::shape_proto(&[])),
        encoding: Some(Encoding::Name("y:0".into())),
        ..Default::default()
    };
    let signature = pb::SignatureDef { outputs: [("y".to_owned(), output)].into(), ..Default::default() };
    let library = pb::FunctionDefLibrary { function: functions, ..Default::default() };
    let meta_graph = pb::MetaGraphDef {
        meta_info_def: MessageField::some(MetaInfoDef { tags: vec!["serve".into()], ..Default::default() }),
        graph_def: MessageField::some(pb::GraphDef {
            node: nodes,
            library: MessageField::some(library),
            ..Default::default()
        }),
        saver_def: MessageField::some(pb::SaverDef {
            filename_tensor_name: "prefix:0".into(),
            save_tensor_name: "prefix:0".into(),
            restore_op_name: "restore".into(),
            ..Default::default()
        }),
        signature_def: [("serving_default".to_owned(), signature)].into(),
        object_graph_def: MessageField::some(objects),
        ..Default::default()
    };
    let model = pb::SavedModel { meta_graphs: vec![meta_graph], ..Default::default() };
    let _ = fs::remove_dir_all(folder.join("variables"));
    fs::create_dir_all(folder.join("variables")).unwrap();
    fs::write(folder.join("saved_model.pb"), model.write_to_bytes().unwrap()).unwrap();
    let mut writer = CheckpointWriter::create(folder.join("variables/variables")).unwrap();
    writer.add("v", &Tensor::scalar(3.0_f32).unwrap()).unwrap();
    let tracked = pb::TrackableObjectGraph { nodes: vec![Default::default()], ..Default::default() };
    writer.add(OBJECT_GRAPH_KEY, &Tensor::from_strings(&[], [tracked.write_to_bytes().unwrap()]).unwrap()).unwrap();
    writer.finish().unwrap();
    SavedModel::open(folder).unwrap()
}

fn read() -> pb::NodeDef {
    attr::node("read", "ReadVariableOp", &["handle"], [("dtype", attr::dtype(DType::Float32))])
}

/// What comes of saving a model, and the names of its functions.
fn saved(model: &SavedModel, options: SaveOptions) -> Result<(pb::MetaGraphDef, Vec<String>)> {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("saved");
    model.save(&target, options)?;
    let saved = SavedModel::open(&target)?;
    let definition = saved.decode_meta_graph(&saved.meta_graphs()[0])?;
    let names = definition.graph_def.library.function.iter().map(|function| function.signature.name.clone()).collect();
    Ok((definition, names))
}

fn frozen() -> SaveOptions {
    SaveOptions::default().frozen(true)
}

#[test]
fn functions_are_rewritten_for_the_values_they_get() {
    let folder = tempfile::tempdir().unwrap();
    let functions = vec![
        function("f", vec![call("inner", "g", &["handle"])], "inner:output:0"),
        function("g", vec![read()], "read:value:0"),
        function("unused", vec![read()], "read:value:0"),
    ];
    let model = model(folder.path(), functions, pb::SavedObjectGraph::default());
    let (definition, names) = saved(&model, frozen()).unwrap();
    assert_eq!(names, ["g_frozen", "f_frozen"]);
    let graph = &definition.graph_def;
    let ops: Vec<&str> = graph.node.iter().map(|node| node.op.as_str()).collect();
    // Two that do nothing, because TensorFlow does not optimise a graph of two nodes.
    assert_eq!(ops, ["Const", "PartitionedCall", "NoOp", "NoOp"]);
    let g = &graph.library.function[0];
    assert_eq!((g.node_def[0].op.as_str(), g.ret["result"].as_str()), ("Identity", "read:output:0"));
    assert_eq!(g.signature.input_arg[0].type_.value(), FLOAT);
    assert!(definition.saver_def.is_none() && definition.object_graph_def.is_none());
    let (_, names) = saved(&model, SaveOptions::default().inference_only(true)).unwrap();
    assert_eq!(names, ["f", "g"]);
}

/// A model of which each signature is an operation by the file's dtypes, and one is.
#[test]
fn signatures_without_dtypes_keep_their_graph_and_operations_do_not_outlive_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let source = model(folder.path(), vec![function("f", vec![read()], "read:value:0")], Default::default());
    let mut definition = source.decode_meta_graph(&source.meta_graphs()[0]).unwrap();
    let graph = definition.graph_def.mut_or_insert_default();
    graph.node.push(attr::node("z", "Neg", &["y"], [("T", attr::dtype(DType::Float32))]));
    graph.node.push(attr::node("step", "NoOp", &["^z"], []));
    let dense = definition.signature_def["serving_default"].outputs["y"].clone();
    let named = |name: &str| pb::TensorInfo { encoding: Some(Encoding::Name(name.into())), ..Default::default() };
    let signature = |info| pb::SignatureDef { outputs: [("o".to_owned(), info)].into(), ..Default::default() };
    let mut ragged = pb::TensorInfo::new();
    ragged.mut_composite_tensor().components.extend([dense, named("z:0")]);
    definition.signature_def.insert("ragged".into(), signature(ragged));
    definition.signature_def.insert("undeclared".into(), signature(named("z:0")));
    definition.signature_def.insert("__saved_model_train_op".into(), signature(named("step")));
    let bytes = pb::SavedModel { meta_graphs: vec![definition], ..Default::default() }.write_to_bytes().unwrap();
    fs::write(folder.path().join("saved_model.pb"), bytes).unwrap();
    let source = SavedModel::open(folder.path()).unwrap();
    let left = |options: SaveOptions| {
        let (definition, _) = saved(&source, options).unwrap();
        let names: Vec<String> = definition.signature_def.keys().cloned().collect();
        let nodes = &definition.graph_def.node;
        (names.join(" "), ["y", "z", "step"].map(|name| nodes.iter().any(|node| node.name == name)))
    };
    let all = "__saved_model_train_op ragged serving_default undeclared";
    assert_eq!(left(SaveOptions::default().rename_signature("ragged", "r")).0, all.replace("ragged", "r"));
    let pruned = SaveOptions::default().inference_only(true);
    assert_eq!(left(pruned.clone()), ("ragged serving_default undeclared".into(), [true, true, false]));
    assert_eq!(left(pruned.signatures(["serving_default"])), ("serving_default".into(), [true, false, false]));
}

#[test]
fn a_function_that_writes_is_refused_by_the_name_of_the_variable() {
    let folder = tempfile::tempdir().unwrap();
    let write = attr::node("write", "AssignAddVariableOp", &["handle", "one:output:0"], []);
    let functions = vec![function("f", vec![read(), write], "read:value:0")];
    let model = model(folder.path(), functions, pb::SavedObjectGraph::default());
    let error = saved(&model, frozen()).unwrap_err().to_string();
    assert!(error.contains("the variable `v`") && error.contains("AssignAddVariableOp"), "{error}");
}

#[test]
fn functions_that_call_themselves_end_in_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let functions = vec![function("f", vec![call("again", "f", &["handle"])], "again:output:0")];
    let recursive = model(folder.path(), functions, pb::SavedObjectGraph::default());
    assert!(saved(&recursive, frozen()).unwrap_err().to_string().contains("deep"));
    saved(&recursive, SaveOptions::default().inference_only(true)).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let chain = |number: usize| {
        let name = if number == 0 { "f".to_owned() } else { format!("f{number}") };
        function(&name, vec![call("next", &format!("f{}", number + 1), &["handle"])], "next:output:0")
    };
    let deep = model(folder.path(), (0..20_000).map(chain).collect(), pb::SavedObjectGraph::default());
    assert!(saved(&deep, frozen()).unwrap_err().to_string().contains("deep"));
    let (_, names) = saved(&deep, SaveOptions::default().inference_only(true)).unwrap();
    assert_eq!(names.len(), 20_000);
}

#[test]
fn object_graphs_that_lead_nowhere_are_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let child = |node_id: i32| {
        let children = vec![ObjectReference { node_id, local_name: "child".into(), ..Default::default() }];
        let object = pb::SavedObject {
            children,
            kind: Some(Kind::UserObject(pb::SavedUserObject::default())),
            ..Default::default()
        };
        pb::SavedObjectGraph { nodes: vec![object], ..Default::default() }
    };
    for node_id in [1, -1, i32::MAX, i32::MIN] {
        let functions = vec![function("f", vec![read()], "read:value:0")];
        let model = model(folder.path(), functions, child(node_id));
        for options in [
            SaveOptions::default().inference_only(true),
            frozen(),
            SaveOptions::default().signatures(["serving_default"]),
        ] {
            let error = saved(&model, options).unwrap_err().to_string();
            assert!(error.contains("refers to an object that is not there"), "{error}");
        }
    }
    // One that leads back to itself is well.
    let functions = vec![function("f", vec![read()], "read:value:0")];
    let model = model(folder.path(), functions, child(0));
    saved(&model, SaveOptions::default().inference_only(true)).unwrap();
}

#[test]
fn a_saver_that_is_not_understood_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let functions = vec![function("f", vec![read()], "read:value:0")];
    let model = model(folder.path(), functions, pb::SavedObjectGraph::default());
    let mut definition = model.decode_meta_graph(&model.meta_graphs()[0]).unwrap();
    definition.graph_def.mut_or_insert_default().node.iter_mut().for_each(|node| {
        if node.op == "AssignVariableOp" {
            node.op = "Conjure".into();
        }
    });
    let changed = pb::SavedModel { meta_graphs: vec![definition], ..Default::default() };
    fs::write(folder.path().join("saved_model.pb"), changed.write_to_bytes().unwrap()).unwrap();
    let model = SavedModel::open(folder.path()).unwrap();
    let error = saved(&model, SaveOptions::default().inference_only(true)).unwrap_err();
    assert!(error.to_string().contains("`Conjure`"), "{error}");
    saved(&model, SaveOptions::default()).unwrap();
}

#[test]
fn equal_tensors_are_written_once() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    model(&source, Vec::new(), pb::SavedObjectGraph::default());
    // As Keras's `model.export` writes them: each weight under two keys.
    let prefix = source.join("variables/variables");
    fs::remove_dir_all(source.join("variables")).unwrap();
    let kernel = Tensor::from_slice(&[100], &[1.5_f32; 100]).unwrap();
    let other = Tensor::from_slice(&[50, 2], &[1.5_f32; 100]).unwrap();
    let mut changed = [1.5_f32; 100];
    changed[99] = 2.0;
    let changed = Tensor::from_slice(&[100], &changed).unwrap();
    let words = Tensor::from_strings(&[2], ["a", "b"]).unwrap();
    let mut writer = CheckpointWriter::create(&prefix).unwrap();
    writer.add("v", &Tensor::from_slice(&[], &[3.0_f32]).unwrap()).unwrap();
    let all =
        [("a", &kernel), ("b", &kernel), ("c", &other), ("d", &changed), ("e", &words), ("f", &words), ("g", &kernel)];
    all.iter().for_each(|(key, tensor)| writer.add(key, tensor).unwrap());
    writer.finish().unwrap();

    let opened = SavedModel::open(&source).unwrap();
    let data = |name: &str| {
        fs::metadata(folder.path().join(name).join("variables/variables.data-00000-of-00001")).unwrap().len()
    };
    opened.save(folder.path().join("once"), SaveOptions::default()).unwrap();
    opened.save(folder.path().join("plain"), SaveOptions::default().plain(true)).unwrap();
    assert_eq!(data("plain"), data("source"));
    assert_eq!(data("once"), data("source") - 2 * 400);
    let reader = CheckpointReader::open(folder.path().join("once/variables/variables")).unwrap();
    for (key, tensor) in all {
        assert_eq!(reader.read(key).unwrap(), *tensor, "{key}");
    }
    let offset = |key: &str| reader.index().get(key).unwrap().parts[0].offset;
    assert!(offset("a") == offset("b") && offset("a") == offset("g") && offset("a") != offset("c"));
    // What is shared stays so, in a copy of the files and where they are written anew.
    let once = SavedModel::open(folder.path().join("once")).unwrap();
    once.save(folder.path().join("again"), SaveOptions::default()).unwrap();
    assert_eq!(data("again"), data("once"));
    let signatures = SaveOptions::default().signatures(["serving_default"]);
    once.save(folder.path().join("kept"), signatures).unwrap();
    assert!(data("kept") <= data("once"));
}
