//! Ops that reach outside the model are found wherever they are.

use std::os::unix::fs::symlink;

use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow as pb;

use super::graphs::{Model, constant, danger, func, funcs, function, node, text};
use crate::checkpoint::testing::delimited;
use crate::saved_model::SavedModel;
use crate::scan::{EntryPoint, FindingKind, Level};

/// A function that writes a file.
fn writer(name: &str) -> pb::FunctionDef {
    let nodes = vec![constant("path", &["/owned"]), node("write", "WriteFile", &["path:output:0", "a"], [])];
    function(name, &["a"], nodes, &[("r", "a")])
}

/// A model whose signature is one node, and functions.
fn hidden(caller: pb::NodeDef, functions: Vec<pb::FunctionDef>) -> Model {
    Model::serving("call:0", vec![caller]).functions(functions)
}

#[test]
fn write_in_a_signature_is_found() {
    let nodes = vec![
        constant("path", &["/owned"]),
        node("write", "WriteFile", &["path", "x"], []),
        node("y", "Identity", &["x", "^write"], []),
    ];
    let report = Model::serving("y:0", nodes).scan();
    let found = danger(&report);
    assert_eq!(report.level(), Some(Level::Danger));
    assert_eq!((found.op.as_deref(), found.node.as_deref()), (Some("WriteFile"), Some("write")));
    assert_eq!((found.path.as_deref(), found.count), (Some("/owned"), 1));
    assert_eq!(found.reached_from, [EntryPoint::Signature("serving_default".into())]);
    assert_eq!(found.to_string(), "WriteFile writes a file: `/owned`\n    by `serving_default` → node `write`");
}

/// TensorFlow Serving and Python run all of these signatures.
#[test]
fn read_in_a_signature_without_output_dtypes_is_found() {
    let file = || {
        let nodes = vec![constant("path", &["/etc/hostname"]), node("r", "ReadFile", &["path"], [])];
        Model::serving("x:0", nodes).signature("tokens", "x:0", "r:0")
    };
    let (mut ragged, mut nameless, mut operation, mut train) = (file(), file(), file(), file());
    let output = |model: &mut Model| model.proto.signature_def.remove("tokens").unwrap().outputs["y"].clone();
    let add = |model: &mut Model, name: &str, change: &dyn Fn(&mut pb::TensorInfo)| {
        let mut info = output(model);
        change(&mut info);
        let outputs = [("y".to_owned(), info)].into();
        model.proto.signature_def.insert(name.into(), pb::SignatureDef { outputs, ..Default::default() });
    };
    add(&mut ragged, "tokens", &|info| {
        let component = info.clone();
        info.dtype = pb::DataType::DT_INVALID.into();
        info.mut_composite_tensor().components.push(component);
    });
    add(&mut nameless, "tokens", &|info| info.dtype = pb::DataType::DT_INVALID.into());
    add(&mut operation, "tokens", &|info| {
        info.dtype = pb::DataType::DT_INVALID.into();
        info.set_name("r".into());
    });
    add(&mut train, "__saved_model_train_op", &|_| {});
    for (model, name) in
        [(ragged, "tokens"), (nameless, "tokens"), (operation, "tokens"), (train, "__saved_model_train_op")]
    {
        assert_eq!(model.lines(), [format!("danger ReadFile reads a file: `/etc/hostname` [`{name}`]")]);
    }
}

#[test]
fn nested_functions_are_followed() {
    let middle = function("middle", &["b"], vec![node("inner", "PartitionedCall", &["b"], [("f", func("deep"))])], &[]);
    let report = hidden(node("call", "middle", &["x"], []), vec![writer("deep"), middle]).scan();
    assert_eq!(danger(&report).functions, ["middle", "deep"]);
}

#[test]
fn every_reference_to_a_function_is_followed() {
    let list = || funcs(&["harmless", "evil"]);
    let mut nested = func("harmless");
    nested.mut_func().attr.insert("g".into(), func("evil"));
    let callers = [
        node("call", "evil", &["x"], []),
        node("call", "StatefulPartitionedCall", &["x"], [("f", func("evil"))]),
        node("call", "While", &["x"], [("cond", func("harmless")), ("body", func("evil"))]),
        node("call", "StatelessWhile", &["x"], [("cond", func("evil")), ("body", func("harmless"))]),
        node("call", "If", &["x", "x"], [("then_branch", func("harmless")), ("else_branch", func("evil"))]),
        node("call", "Case", &["x", "x"], [("branches", list())]),
        node("call", "MapDataset", &["x"], [("f", func("evil"))]),
        node("call", "ReduceDataset", &["x", "x"], [("f", func("evil"))]),
        node("call", "GeneratorDataset", &["x"], [("finalize_func", func("evil"))]),
        node("call", "SymbolicGradient", &["x"], [("f", func("evil"))]),
        node("call", "RemoteCall", &["x", "x"], [("f", func("evil"))]),
        node("call", "XlaCallModule", &["x"], [("function_list", list())]),
        node("call", "NobodyKnows", &["x"], [("whatever", nested)]),
    ];
    for caller in callers {
        let op = caller.op.clone();
        let report = hidden(caller, vec![writer("evil"), function("harmless", &["a"], vec![], &[("r", "a")])]).scan();
        let found = danger(&report);
        assert_eq!((found.op.as_deref(), found.reached_from.len()), (Some("WriteFile"), 1), "{op}");
        assert_eq!(found.functions, ["evil"], "{op}");
    }
}

#[test]
fn gradients_and_implementations_are_followed() {
    let plain = |name: &str| function(name, &["a"], vec![], &[("r", "a")]);
    let call = || node("call", "PartitionedCall", &["x"], [("f", func("f"))]);
    // The gradient of `f`.
    let mut model = hidden(node("call", "SymbolicGradient", &["x"], [("f", func("f"))]), vec![plain("f"), writer("g")]);
    let library = model.proto.graph_def.mut_or_insert_default().library.mut_or_insert_default();
    library.gradient.push(pb::GradientDef {
        function_name: "f".into(),
        gradient_func: "g".into(),
        ..Default::default()
    });
    assert_eq!(danger(&model.scan()).functions, ["g"]);
    // A gradient registered under a type that a node requests.
    let asks = node("call", "IdentityN", &["x"], [("_gradient_op_type", text("CustomGradient-1"))]);
    let mut model = hidden(asks, vec![writer("g")]);
    let library = model.proto.graph_def.mut_or_insert_default().library.mut_or_insert_default();
    library.registered_gradients.push(pb::RegisteredGradient {
        registered_op_type: "CustomGradient-1".into(),
        gradient_func: "g".into(),
        ..Default::default()
    });
    assert_eq!(danger(&model.scan()).functions, ["g"]);
    // Another function that implements the same.
    let (mut harmless, mut evil) = (plain("f"), writer("e"));
    for it in [&mut harmless, &mut evil] {
        it.attr.insert("api_implements".into(), text("lstm"));
    }
    assert_eq!(danger(&hidden(call(), vec![harmless, evil]).scan()).functions, ["f", "e"]);
    // The function that a function names as its gradient.
    let mut harmless = plain("f");
    harmless.attr.insert("backward_function_name".into(), text("e"));
    assert_eq!(danger(&hidden(call(), vec![harmless, writer("e")]).scan()).functions, ["f", "e"]);
}

#[test]
fn init_op_and_saver_may_only_use_their_own_files() {
    let path = || constant("path", &["/owned"]);
    let init = Model::serving("x:0", vec![path(), node("init", "WriteFile", &["path", "path"], [])]).init("init");
    assert_eq!(init.lines(), ["danger WriteFile writes a file: `/owned` [loading (init op)]"]);
    let saver = |op: &str| {
        let nodes = vec![
            node("prefix", "Placeholder", &[], []),
            path(),
            node("write", op, &["path", "path"], []),
            node("save", "Identity", &["prefix", "^write"], []),
            node("restore", "NoOp", &["^write"], []),
        ];
        Model::serving("x:0", nodes).saver("prefix:0", "save:0", "restore").lines()
    };
    let both = "[saving, loading (variables)]";
    assert_eq!(saver("WriteFile"), [format!("danger WriteFile writes a file: `/owned` {both}")]);
    assert_eq!(saver("SaveV2"), [format!("danger SaveV2 writes a checkpoint: `/owned` {both}")]);
    assert_eq!(saver("RestoreV2"), [format!("danger RestoreV2 reads a checkpoint: `/owned` {both}")]);
}

#[test]
fn function_named_like_an_op_does_not_hide_the_op() {
    let evil = node("call", "WriteFile", &["x", "x"], []);
    let report = hidden(evil, vec![function("WriteFile", &["a", "b"], vec![], &[("r", "a")])]).scan();
    assert_eq!(danger(&report).op.as_deref(), Some("WriteFile"));
}

/// Protobuf merges the parts of a message and ignores mistyped fields.
#[test]
fn unusual_encodings_hide_nothing() {
    let print = |stream: &str| node("y", "PrintV2", &["x"], [("output_stream", text(stream))]);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let model = Model::serving("y:0", vec![]);
        let mut bytes = print("file:///tmp/x").write_to_bytes().unwrap();
        change(&mut bytes);
        let (mut graph, mut meta_graph, mut file) = (Vec::new(), model.proto.write_to_bytes().unwrap(), Vec::new());
        delimited(&mut graph, 1, &bytes);
        delimited(&mut meta_graph, 2, &graph);
        delimited(&mut file, 2, &meta_graph);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("saved_model.pb"), file).unwrap();
        let report = SavedModel::open(folder.path()).unwrap().scan().unwrap();
        danger(&report).what.clone()
    };
    let expected = "appends to a file: `/tmp/x`";
    assert_eq!(with(&|_| {}), expected);
    // Name and op again, as numbers.
    assert_eq!(with(&|bytes| bytes.extend([0x10, 1, 0x08, 1])), expected);
    // An entry whose value comes in two parts, the second empty, and whose key comes again, as a number.
    let entry = |parts: &[&[u8]]| {
        let mut entry = Vec::new();
        delimited(&mut entry, 1, b"output_stream");
        parts.iter().for_each(|part| delimited(&mut entry, 2, part));
        entry.extend([0x08, 1, 0x10, 1]);
        entry
    };
    let stream = [b"\x12\x0d".as_slice(), b"file:///tmp/x"].concat();
    assert_eq!(with(&|bytes| delimited(bytes, 5, &entry(&[&stream, b""]))), expected);
}

#[test]
fn function_named_like_a_harmless_op_is_followed() {
    let report = hidden(node("call", "Add", &["x", "x"], []), vec![writer("Add")]).scan();
    assert_eq!(danger(&report).functions, ["Add"]);
}

#[test]
fn each_effect_is_reported() {
    let cases: [(pb::NodeDef, &[&str]); 19] = [
        (
            node("y", "PrintV2", &["x"], [("output_stream", text("file:///tmp/log"))]),
            &["danger PrintV2 appends to a file: `/tmp/log`"],
        ),
        (node("y", "PrintV2", &["x"], [("output_stream", text("stdout"))]), &["info PrintV2 prints tensors"]),
        (node("y", "Print", &["x"], []), &["info Print prints tensors"]),
        (
            node("y", "PyFunc", &["x"], [("token", text("p"))]),
            &["danger PyFunc calls Python: a function that the process registered"],
        ),
        (
            node("y", "DatasetFromGraph", &["x"], []),
            &["danger DatasetFromGraph runs a graph that is the value of a tensor, which cannot be inspected"],
        ),
        (node("y", "RpcClient", &["host"], []), &["danger RpcClient opens a socket: `/host:1`"]),
        (node("y", "WholeFileReaderV2", &[], []), &["danger WholeFileReaderV2 reads files whose name is computed"]),
        (node("y", "CacheDatasetV2", &["x", "none", "x"], []), &[]),
        (
            node("y", "CacheDatasetV2", &["x", "host", "x"], []),
            &["danger CacheDatasetV2 writes a file and reads it again: `/host:1`"],
        ),
        (node("y", "FixedUnigramCandidateSampler", &["x"], []), &[]),
        (
            node("y", "FixedUnigramCandidateSampler", &["x"], [("vocab_file", text("/v"))]),
            &["danger FixedUnigramCandidateSampler reads a file: `/v`"],
        ),
        (node("y", "DecodeProtoV2", &["x"], [("descriptor_source", text("local://"))]), &[]),
        (
            node("y", "DecodeProtoV2", &["x"], [("descriptor_source", text("/d"))]),
            &["danger DecodeProtoV2 reads a file: `/d`"],
        ),
        (node("y", "DebugIdentity", &["x"], []), &["info DebugIdentity is TensorFlow's debugger"]),
        (
            node(
                "y",
                "Copy",
                &["x"],
                [("debug_ops_spec", {
                    let mut list = funcs(&[]);
                    list.mut_list().s.push(b"DebugIdentity;file:///tmp/d,grpc://h:1".to_vec().into());
                    list
                })],
            ),
            &["danger Copy writes files to a folder: `/tmp/d`", "danger Copy opens a socket: `grpc://h:1`"],
        ),
        (
            node("y", "FileSystemSetConfiguration", &["x", "x", "x"], []),
            &["danger FileSystemSetConfiguration changes how the process reaches a file system"],
        ),
        (node("y", "XlaCallModule", &["x"], []), &["warning XlaCallModule runs a program that is not inspected"]),
        (node("y", "Abort", &[], []), &["warning Abort ends the process"]),
        (
            node("y", "MyOp", &["x"], []),
            &["warning MyOp is not an op of TensorFlow 2.21: it comes from a library and may do anything"],
        ),
    ];
    for (case, expected) in cases {
        let constants = vec![constant("host", &["/host:1"]), constant("none", &[""])];
        let lines = Model::serving("y:0", vec![case]).nodes(constants).lines();
        let expected: Vec<String> = expected.iter().map(|line| format!("{line} [`serving_default`]")).collect();
        assert_eq!(lines, expected);
    }
}

#[test]
fn assets_and_links_out_of_the_model_are_reported() {
    let model = Model::serving("x:0", vec![constant("a", &["a"])]).asset("a:0", "../../x").asset("a:0", "inside.txt");
    let folder = model.asset("a:0", "linked.txt").write();
    let assets = folder.path().join("assets");
    std::fs::create_dir_all(folder.path().join("variables")).unwrap();
    std::fs::create_dir(&assets).unwrap();
    std::fs::write(assets.join("inside.txt"), "a").unwrap();
    symlink("/etc/hostname", assets.join("linked.txt")).unwrap();
    symlink("inside.txt", assets.join("alias.txt")).unwrap();
    symlink("../../nowhere", folder.path().join("dangling")).unwrap();
    symlink("/etc", folder.path().join("variables/etc")).unwrap();
    let report = SavedModel::open(folder.path()).unwrap().scan().unwrap();
    let mut rows: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| finding.kind != FindingKind::Size)
        .map(|finding| (finding.level, finding.kind, finding.path.as_deref().unwrap()))
        .collect();
    rows.sort();
    let expected = [
        (Level::Info, FindingKind::Link, "assets/alias.txt"),
        (Level::Danger, FindingKind::Asset, "../../x"),
        (Level::Danger, FindingKind::Asset, "linked.txt"),
        (Level::Danger, FindingKind::Link, "assets/linked.txt"),
        (Level::Danger, FindingKind::Link, "dangling"),
        (Level::Danger, FindingKind::Link, "variables/etc"),
    ];
    assert_eq!(rows, expected);
    assert!(report.to_string().contains("the graph reads an asset outside of the model: `../../x`"), "{report}");
    // A link to the model is not a link out of it.
    let outer = tempfile::tempdir().unwrap();
    symlink(folder.path(), outer.path().join("model")).unwrap();
    let through = SavedModel::open(outer.path().join("model")).unwrap().scan().unwrap();
    assert_eq!(through.of_level(Level::Info).count(), 2, "{through}");
}
