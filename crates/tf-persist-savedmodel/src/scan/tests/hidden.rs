//! Names that a graph hides from a reader. Placeholders, lists, shared handles and fed assets were tried on TensorFlow
//! 2.21, which reads or writes the hidden file.

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::NameAttrList;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;

use super::graphs::{Model, attr, constant, func, funcs, function, node, text};

const COMPUTED: &str = "danger ReadFile reads a file whose name is computed [`serving_default`]";

/// A placeholder, whose value the caller of the function gives.
fn open(name: &str) -> pb::AttrValue {
    attr(Value::Placeholder(name.into()))
}

fn of_type(kind: pb::DataType) -> pb::AttrValue {
    attr(Value::Type(kind.into()))
}

/// The lines above info.
fn grave(model: Model) -> Vec<String> {
    model.lines().into_iter().filter(|line| !line.starts_with("info")).collect()
}

/// A function of these nodes whose caller gives `/etc/hostname` for the attribute `v`.
fn called(nodes: Vec<pb::NodeDef>, returned: &str) -> Model {
    let mut f = NameAttrList { name: "f".into(), ..Default::default() };
    f.attr.insert("v".into(), text("/etc/hostname"));
    let call = node("y", "StatefulPartitionedCall", &["x"], [("f", attr(Value::Func(f)))]);
    Model::serving("y:0", vec![call]).functions(vec![function("f", &["p"], nodes, &[("r", returned)])])
}

#[test]
fn attributes_given_by_the_caller_are_computed_names() {
    let read = || node("r", "ReadFile", &["c:output:0"], []);
    let content = node("c", "Const", &[], [("value", open("v"))]);
    assert_eq!(called(vec![content, read()], "r:contents:0").lines(), [COMPUTED]);
    let joined = node("c", "StringJoin", &["a:output:0", "a:output:0"], [("separator", open("v"))]);
    assert_eq!(called(vec![constant("a", &["a"]), joined, read()], "r:contents:0").lines(), [COMPUTED]);
    for (op, attribute, expected) in [
        ("PrintV2", "output_stream", "PrintV2 prints tensors to a place that the function's caller chooses"),
        (
            "DebugIdentityV3",
            "debug_urls",
            "DebugIdentityV3 is TensorFlow's debugger, and writes to a place that the function's caller chooses",
        ),
        ("EncodeProto", "descriptor_source", "EncodeProto reads a file whose name is computed"),
        ("ImmutableConst", "memory_region_name", "ImmutableConst reads a file whose name is computed"),
    ] {
        let lines = called(vec![node("c", op, &["p"], [(attribute, open("v"))])], "p").lines();
        assert_eq!(lines, [format!("danger {expected} [`serving_default`]")]);
    }
}

#[test]
fn functions_given_by_the_caller_are_followed() {
    let nodes = |choice| {
        vec![
            node("c", "If", &["p", "p"], [("then_branch", func("harmless")), ("else_branch", choice)]),
            node("r", "ReadFile", &["c:output:0"], []),
        ]
    };
    let harmless = || function("harmless", &["p"], vec![constant("k", &["b"])], &[("r", "k:output:0")]);
    let read = |choice| called(nodes(choice), "r:contents:0").functions(vec![harmless()]).lines();
    assert_eq!(read(func("harmless")), ["warning ReadFile reads a file: `b` [`serving_default`]"]);
    assert_eq!(read(open("v")), [COMPUTED]);
    // A function that does not exist.
    assert_eq!(read(func("other")), [COMPUTED]);
    let none = vec![
        constant("k", &["b"]),
        node("c", "Case", &["p"], [("branches", funcs(&[]))]),
        node("m", "Pack", &["c:output:0", "k:output:0"], []),
        node("r", "ReadFile", &["m:output:0"], []),
    ];
    assert!(called(none, "r:contents:0").lines().contains(&COMPUTED.to_owned()));
}

/// An argument or an output may be a list of tensors, whose length an attribute gives.
#[test]
fn lists_shift_the_arguments_behind_them() {
    let list = |arg: &mut pb::op_def::op_def::ArgDef| arg.number_attr = "N".into();
    let constants = || vec![constant("a", &["a"]), constant("bad", &["/etc/hostname"])];
    let mut reader = function("f", &["list", "p"], vec![node("r", "ReadFile", &["p"], [])], &[("r", "r:contents:0")]);
    list(&mut reader.signature.mut_or_insert_default().input_arg[0]);
    let call = node("y", "f", &["a", "a", "bad"], []);
    assert_eq!(Model::serving("y:0", [constants(), vec![call]].concat()).functions(vec![reader]).lines(), [COMPUTED]);

    let nodes = [constants(), vec![node("both", "Pack", &["bad:output:0", "bad:output:0"], [])]].concat();
    let mut names = function("f", &[], nodes, &[("list", "both:output"), ("p", "a:output:0")]);
    list(&mut names.signature.mut_or_insert_default().output_arg[0]);
    let nodes = vec![node("c", "f", &[], []), node("y", "ReadFile", &["c:1"], [])];
    assert_eq!(Model::serving("y:0", nodes).functions(vec![names]).lines(), [COMPUTED]);
}

/// TensorFlow may replace a function by another that implements the same.
#[test]
fn results_of_replaceable_functions_are_computed() {
    let nodes = || vec![node("c", "PartitionedCall", &["x"], [("f", func("f"))]), node("y", "ReadFile", &["c"], [])];
    let named = |name: &str, file: &str, implements: &str| {
        let mut function = function(name, &["p"], vec![constant("k", &[file])], &[("r", "k:output:0")]);
        function.attr.insert("api_implements".into(), text(implements));
        function
    };
    let read = |functions| Model::serving("y:0", nodes()).functions(functions).lines();
    let alone = "warning ReadFile reads a file: `a` [`serving_default`]";
    assert_eq!(read(vec![named("f", "a", "this"), named("g", "/etc/hostname", "that")]), [alone]);
    assert_eq!(read(vec![named("f", "a", "this"), named("g", "/etc/hostname", "this")]), [COMPUTED]);
}

/// A variable that the init op sets to an asset's path and `serving_default` reads, and further nodes, which `set`
/// runs.
fn asset_in_a_variable(shared: Option<&str>, more: Vec<pb::NodeDef>) -> Model {
    let mut variable = node("v", "VarHandleOp", &[], []);
    if let Some(shared) = shared {
        variable.attr.insert("shared_name".into(), text(shared));
    }
    let nodes = vec![
        node("a", "Placeholder", &[], []),
        variable,
        node("assign", "AssignVariableOp", &["v", "a"], []),
        node("value", "ReadVariableOp", &["v"], []),
        node("y", "ReadFile", &["value"], []),
        node("set", "NoOp", &["^assign"], []),
    ];
    Model::serving("y:0", nodes).nodes(more).asset("a:0", "words.txt").init("assign")
}

#[test]
fn several_nodes_may_be_one_variable() {
    let evil = |handle: pb::NodeDef| vec![handle, node("w", "AssignVariableOp", &["h", "x"], [])];
    let variable = |name| node("h", "VarHandleOp", &[], [("shared_name", name)]);
    assert_eq!(grave(asset_in_a_variable(Some("v"), evil(variable(text("other"))))), [""; 0]);
    assert_eq!(grave(asset_in_a_variable(None, vec![])), [""; 0]);
    // Variables without a name are one.
    assert_eq!(grave(asset_in_a_variable(None, evil(node("h", "VarHandleOp", &[], [])))), [COMPUTED]);
    assert_eq!(grave(asset_in_a_variable(Some(""), evil(node("h", "VarHandleOp", &[], [])))), [COMPUTED]);
    assert_eq!(grave(asset_in_a_variable(Some("v"), evil(variable(open("v"))))), [COMPUTED]);
    // A handle can be a constant.
    for (op, attribute) in [("Const", "dtype"), ("HostConst", "dtype"), ("ParseTensor", "out_type")] {
        for kind in [of_type(pb::DataType::DT_RESOURCE), of_type(pb::DataType::DT_VARIANT), open("v")] {
            let model = asset_in_a_variable(Some("v"), evil(node("h", op, &[], [(attribute, kind)])));
            assert_eq!(grave(model), [COMPUTED], "{op}");
        }
        let number = of_type(pb::DataType::DT_INT32);
        let model = asset_in_a_variable(Some("v"), vec![node("h", op, &[], [(attribute, number)])]);
        assert_eq!(grave(model), [""; 0], "{op}");
    }
}

#[test]
fn another_signature_may_set_a_variable() {
    let input = "danger ReadFile reads a file: whatever the input `x` names [`serving_default`]";
    // The signature is fed the tensor that an asset's path is fed to.
    assert_eq!(grave(asset_in_a_variable(Some("v"), vec![]).signature("set", "a:0", "assign:0")), [input]);
    // Through a function that `serving_default` does not call.
    let same = function("same", &["p"], vec![], &[("r", "p")]);
    let nodes = vec![
        node("z", "Placeholder", &[], []),
        node("c", "PartitionedCall", &["z"], [("f", func("same"))]),
        node("w", "AssignVariableOp", &["v", "c"], []),
    ];
    let model = asset_in_a_variable(Some("v"), nodes).functions(vec![same]).signature("set", "z:0", "w:0");
    assert_eq!(grave(model), [input]);
}

/// Loading restores it from the checkpoint.
#[test]
fn variable_that_loading_does_not_set_is_computed() {
    let mut model = asset_in_a_variable(Some("v"), vec![]);
    model.proto.collection_def.clear();
    assert_eq!(grave(model.init("x")), [COMPUTED]);
}

#[test]
fn shard_with_an_empty_prefix_is_a_file() {
    let nodes = vec![
        constant("name", &[""]),
        node("shard", "ShardedFilename", &["name"], []),
        node("read", "ReadFile", &["shard"], []),
        node("y", "CacheDataset", &["read", "shard"], []),
    ];
    assert_eq!(
        Model::serving("y:0", nodes).lines(),
        [
            "danger CacheDataset writes a file and reads it again: `-?????-of-?????` [`serving_default`]",
            "warning ReadFile reads a file: `-?????-of-?????` [`serving_default`]"
        ]
    );
}

/// The debugger accepts its scheme in capitals.
#[test]
fn urls_in_capitals_are_recognized() {
    let urls = attr(Value::List(pb::attr_value::attr_value::ListValue {
        s: vec![b"FILE:///tmp/x".to_vec().into()],
        ..Default::default()
    }));
    let model = Model::serving("y:0", vec![node("y", "DebugIdentity", &["x"], [("debug_urls", urls)])]);
    assert_eq!(model.lines(), ["danger DebugIdentity writes files to a folder: `/tmp/x` [`serving_default`]"]);
}
