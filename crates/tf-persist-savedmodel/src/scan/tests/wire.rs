//! Encodings of a graph that TensorFlow's protobuf reads in a surprising way. All but the last were tried on TensorFlow
//! 2.21, which runs the hidden op.

use tempfile::TempDir;
use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow as pb;

use super::graphs::{Model, constant, func, function, node, text};
use crate::checkpoint::testing::delimited;
use crate::saved_model::SavedModel;

const INIT: &str = "__saved_model_init_op";
const EVIL: &str = "danger WriteFile writes a file: `/tmp/x` [loading (init op)]";

/// A model that would write a file if it ran `boot`.
fn writer() -> Model {
    let nodes = vec![
        constant("path", &["/tmp/x"]),
        node("write", "WriteFile", &["path", "path"], []),
        node("evil", "Identity", &["path", "^write"], []),
        node("boot", "Identity", &["evil"], []),
    ];
    Model::serving("x:0", nodes)
}

fn delimited_of(parts: &[(u64, &[u8])]) -> Vec<u8> {
    let mut message = Vec::new();
    parts.iter().for_each(|(field, bytes)| delimited(&mut message, *field, bytes));
    message
}

/// A model of serialized meta graphs.
fn open(meta_graphs: &[Vec<u8>]) -> (TempDir, SavedModel) {
    let folder = tempfile::tempdir().unwrap();
    let parts: Vec<(u64, &[u8])> = meta_graphs.iter().map(|it| (2, it.as_slice())).collect();
    std::fs::write(folder.path().join("saved_model.pb"), delimited_of(&parts)).unwrap();
    let model = SavedModel::open(folder.path()).unwrap();
    (folder, model)
}

/// The findings about ops of a model with another field in its meta graph.
fn with(model: Model, field: u64, bytes: &[u8]) -> Vec<String> {
    let mut meta_graph = model.proto.write_to_bytes().unwrap();
    delimited(&mut meta_graph, field, bytes);
    let (_folder, model) = open(&[meta_graph]);
    super::graphs::lines(&model.scan().unwrap())
}

fn info(tensor: &str, dtype: pb::DataType) -> pb::TensorInfo {
    let mut info = pb::TensorInfo::new();
    info.set_name(tensor.into());
    info.dtype = dtype.into();
    info
}

/// TensorFlow runs the op that `__saved_model_init_op` names, ignores the rest of that signature, and feeds only
/// assets.
#[test]
fn init_op_in_a_signature_is_followed() {
    let mut model = writer();
    let mut signature = pb::SignatureDef::new();
    signature.inputs.insert("x".into(), info("evil:0", pb::DataType::DT_STRING));
    signature.outputs.insert(INIT.into(), info("boot", pb::DataType::DT_STRING));
    model.proto.signature_def.insert(INIT.into(), signature);
    assert_eq!(model.lines(), [EVIL]);
}

/// The parts of a value in a map's entry are merged.
#[test]
fn parts_of_map_values_are_merged() {
    let collection = delimited_of(&[(1, &delimited_of(&[(1, b"boot")]))]);
    let entry = |parts: &[(u64, &[u8])]| with(writer(), 4, &delimited_of(parts));
    assert_eq!(entry(&[(1, b"saved_model_main_op"), (2, &collection)]), [EVIL]);
    assert_eq!(entry(&[(2, &collection), (1, b"saved_model_main_op")]), [EVIL]);
    assert_eq!(entry(&[(1, b"saved_model_main_op"), (2, &collection), (2, b"")]), [EVIL]);

    let name = delimited_of(&[(1, b"boot")]);
    for output in [&[(1, INIT.as_bytes()), (2, &name)][..], &[(1, INIT.as_bytes()), (2, &name), (2, b"")]] {
        let signature = delimited_of(&[(2, &delimited_of(output))]);
        for rest in [&b""[..], &delimited_of(&[(2, &delimited_of(&[(1, b"a"), (2, &delimited_of(&[(1, b"x")]))]))])] {
            let entry = delimited_of(&[(1, INIT.as_bytes()), (2, &signature), (2, rest)]);
            assert_eq!(with(writer(), 5, &entry), [EVIL]);
        }
    }
}

/// Protobuf ignores mistyped fields.
#[test]
fn mistyped_fields_are_ignored() {
    // An input that is a number does not shift those behind it.
    let read = function("f", &["p", "q"], vec![node("r", "ReadFile", &["q"], [])], &[("r", "r:contents:0")]);
    let mut call = vec![0x18, 1];
    let nodes = node("y", "PartitionedCall", &["x", "a", "bad"], [("f", func("f"))]);
    let nodes = pb::NodeDef { input: vec!["a".into(), "bad".into()], ..nodes };
    call.extend(nodes.write_to_bytes().unwrap());
    let model = Model::serving("y:0", vec![constant("a", &["a"]), constant("bad", &["/etc/hostname"])]);
    let lines = with(model.functions(vec![read]), 2, &delimited_of(&[(1, &call)]));
    assert_eq!(lines, ["danger ReadFile reads a file: `/etc/hostname` [`serving_default`]"]);

    // A tag that is a number is ignored: TensorFlow takes the first graph.
    let mut first = writer().init("boot").proto.write_to_bytes().unwrap();
    delimited(&mut first, 1, &[0x20, 1]);
    let (_folder, model) = open(&[first, Model::serving("x:0", vec![]).proto.write_to_bytes().unwrap()]);
    let tags = ["serve".to_owned()];
    assert_eq!(super::graphs::lines(&model.scan_tags(&tags).unwrap()), [EVIL]);
}

/// The key of an attribute may follow its value.
#[test]
fn key_may_follow_its_value() {
    let gradient = function("g", &[], vec![node("p", "PyFunc", &[], [])], &[]);
    let mut model = Model::serving("y:0", vec![]).functions(vec![gradient]);
    let library = model.proto.graph_def.mut_or_insert_default().library.mut_or_insert_default();
    library.registered_gradients.push(pb::RegisteredGradient {
        registered_op_type: "Custom".into(),
        gradient_func: "g".into(),
        ..Default::default()
    });
    let mut asks = node("y", "IdentityN", &["x"], []).write_to_bytes().unwrap();
    let value = text("Custom").write_to_bytes().unwrap();
    delimited(&mut asks, 5, &delimited_of(&[(2, &value), (1, b"_gradient_op_type")]));
    let lines = with(model, 2, &delimited_of(&[(1, &asks)]));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("danger PyFunc"), "{lines:?}");
}
