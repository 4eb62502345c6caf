//! What is refused before TensorFlow is asked, and before anything is written.

use std::fs;
use std::path::Path;

use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;
use tf_persist_proto::tensorflow::tensor_shape::tensor_shape_proto::Dim;
use tf_persist_proto::tensorflow::{AttrValue, GraphDef, NodeDef, TensorShapeProto};
use tf_persist_savedmodel::DType;
use tf_persist_savedmodel::internals::attr;
use tf_persist_savedmodel::tensor::Tensor;

use super::{GraphSignature, ModelBuilder};
use crate::error::{Error, ModelError};

fn shape(sizes: &[i64]) -> AttrValue {
    let dim = sizes.iter().map(|size| Dim { size: *size, ..Dim::default() }).collect();
    let shape = Value::Shape(TensorShapeProto { dim, ..TensorShapeProto::default() });
    AttrValue { value: Some(shape), ..AttrValue::default() }
}

fn node(name: &str, op: &str, inputs: &[&str]) -> NodeDef {
    attr::node(name, op, inputs, [])
}

fn variable(name: &str, op: &str, sizes: &[i64]) -> NodeDef {
    attr::node(name, op, &[], [("dtype", attr::dtype(DType::Float32)), ("shape", shape(sizes))])
}

/// A variable that others of this name share.
fn shared(name: &str, op: &str, shared_name: &str) -> NodeDef {
    let mut node = variable(name, op, &[2]);
    let value = Value::S(shared_name.as_bytes().to_vec().into());
    node.attr.insert("shared_name".into(), AttrValue { value: Some(value), ..AttrValue::default() });
    node
}

fn handle(name: &str, shared_name: &str) -> NodeDef {
    shared(name, "VarHandleOp", shared_name)
}

/// y = x * w, z = x * y2, a train op and an initialiser.
fn nodes() -> Vec<NodeDef> {
    vec![
        node("x", "Placeholder", &[]),
        node("x2", "Placeholder", &[]),
        variable("w", "VariableV2", &[2]),
        node("initial", "Const", &[]),
        node("assign", "Assign", &["w", "initial"]),
        node("y", "Mul", &["x", "w"]),
        node("z", "Mul", &["y", "x2:0"]),
        node("train", "NoOp", &["^z"]),
        node("init", "NoOp", &["^assign"]),
    ]
}

fn bytes(nodes: Vec<NodeDef>) -> Vec<u8> {
    GraphDef { node: nodes, ..GraphDef::default() }.write_to_bytes().unwrap()
}

fn builder() -> ModelBuilder {
    ModelBuilder::new(bytes(nodes())).unwrap()
}

fn pair() -> Tensor {
    Tensor::from_slice(&[2], &[1.0_f32, 2.0]).unwrap()
}

/// The refusal of a model, which leaves no trace.
fn error(builder: &ModelBuilder) -> Error {
    let work = tempfile::tempdir().unwrap();
    let error = builder.save(work.path().join("deep/model")).unwrap_err();
    assert_eq!(fs::read_dir(work.path()).unwrap().count(), 0, "{error}");
    error
}

fn refused(builder: &ModelBuilder, words: &str) {
    let said = error(builder).to_string();
    assert!(said.contains(words), "`{said}` does not say `{words}`");
}

#[test]
fn what_is_no_graph() {
    refused(&ModelBuilder::new(Vec::new()).unwrap(), "the graph: it has no operations");
    let said = ModelBuilder::new(b"not a graph".to_vec()).unwrap_err().to_string();
    assert!(said.starts_with("the graph: "), "{said}");
    let twice = [nodes(), vec![node("x", "NoOp", &[])]].concat();
    refused(&ModelBuilder::new(bytes(twice)).unwrap(), "it has two operations `x`");
}

#[test]
fn variables_without_values_and_values_without_variables() {
    let more = [nodes(), vec![handle("v", "v")]].concat();
    let more = ModelBuilder::new(bytes(more)).unwrap();
    refused(&more, "its variables `w` and `v` have no values");
    assert!(error(&more).hint().unwrap().text().contains("state"));
    refused(&builder().variable("nope", pair()), "variable `nope`: the graph has no operation with this name");
    refused(
        &builder().variable("y", pair()),
        "variable `y`: the operation with this name is not a variable, but a `Mul`",
    );
    refused(&builder().variable("w", pair()).state("w", pair()), "variable `w`: it has two values");
}

#[test]
fn values_of_another_dtype_or_shape() {
    let wide = Tensor::from_slice(&[2], &[1.0_f64, 2.0]).unwrap();
    refused(&builder().variable("w", wide), "variable `w`: it is float32 in the graph, and its value float64");
    let long = Tensor::from_slice(&[3], &[1.0_f32; 3]).unwrap();
    let words = "variable `w`: it has the shape [2] in the graph, and its value [3]";
    refused(&builder().variable("w", long.clone()), words);
    // The oldest operation has no word for an unknown shape: any value passes, and the next thing is refused.
    let old = ModelBuilder::new(bytes(vec![variable("old", "Variable", &[])])).unwrap();
    refused(&old.variable("old", long).init_op("nope"), "the init op `nope`");
}

#[test]
fn operations_of_one_variable() {
    let two = |nodes: [NodeDef; 2]| {
        ModelBuilder::new(bytes(nodes.into())).unwrap().variable("a", pair()).variable("b", pair())
    };
    let reference = |name: &str, shared_name: &str| shared(name, "VariableV2", shared_name);
    refused(&two([handle("a", ""), handle("b", "")]), "`a` and `b` are one variable: both have the shared name ``");
    refused(&two([handle("a", "c"), handle("b", "c")]), "`a` and `b` are one variable: both have the shared name `c`");
    refused(&two([reference("a", "c"), reference("b", "c")]), "`a` and `b` are one variable");
    refused(&two([reference("a", ""), reference("b", "a")]), "`a` and `b` are one variable");
    // These are two, and the next thing is refused.
    refused(&two([reference("a", ""), reference("b", "")]).init_op("nope"), "the init op `nope`");
    refused(&two([reference("a", "c"), handle("b", "c")]).init_op("nope"), "the init op `nope`");
}

#[test]
fn signatures_that_cannot_be() {
    let with = |signature: GraphSignature| builder().variable("w", pair()).signature(signature);
    let good = || GraphSignature::new("s").input("x", "x").output("y", "y");
    for (signature, words) in [
        (GraphSignature::new("").output("y", "y"), "it has no name"),
        (GraphSignature::new("__saved_model_init_op").output("y", "y"), "TensorFlow reserves this name"),
        (GraphSignature::new("s").input("x", "x"), "signature `s`: it has no outputs"),
        (good().input("x", "x2"), "it has two inputs `x`"),
        (good().output("y", "y:0"), "it has two outputs `y`"),
        (good().input("", "x2"), "one without a name"),
        (good().input("more", "nope"), "input `more` of signature `s`: the graph has no operation `nope`"),
        (good().output("more", "nope:0"), "output `more` of signature `s`: the graph has no operation `nope`"),
        (good().output("more", "^y"), "it names a control dependency"),
        (good().input("same", "x:0"), "its inputs `x` and `same` are one tensor, `x:0`"),
        (good().output("z", "z"), "it depends on the placeholder `x2`, which no input feeds"),
        (good().runs("train"), "it depends on the placeholder `x2`, which no input feeds"),
        (good().runs("nope"), "what signature `s` runs: the graph has no operation `nope`"),
    ] {
        refused(&with(signature), words);
    }
    refused(&with(good()).signature(good()), "signature `s`: there are two with this name");
    let hint = error(&with(good().input("more", "nope"))).hint().unwrap();
    assert_eq!(hint.text(), "its placeholders are `x` and `x2`");
}

#[test]
fn init_ops_that_undo_the_restoring() {
    let with = |operation: &str| builder().variable("w", pair()).init_op(operation);
    refused(&with("nope"), "the init op `nope`: the graph has no operation `nope`");
    refused(&with("init"), "the init op `init`: it assigns to the variable `w`");
}

#[test]
fn assets_that_are_not_there() {
    let work = tempfile::tempdir().unwrap();
    let file = |name: &str| work.path().join(name);
    fs::create_dir(file("folder")).unwrap();
    for name in ["words", "folder/words"] {
        fs::write(file(name), name).unwrap();
    }
    let with = |tensor: &str, file: &Path| builder().variable("w", pair()).asset(tensor, file);
    refused(&with("x", &file("missing")), "missing");
    refused(&with("x", &file("folder")), "it is not a file");
    refused(&with("nope", &file("words")), "the graph has no operation `nope`");
    refused(&with("x", &file("words")).asset("x2", file("folder/words")), "has the same name");
}

#[test]
fn a_target_that_is_taken() {
    let work = tempfile::tempdir().unwrap();
    fs::write(work.path().join("saved_model.pb"), "old").unwrap();
    let model = builder().variable("w", pair());
    assert!(matches!(model.save(work.path()), Err(Error::Model(ModelError::Exists { .. }))));
    // Overwriting goes past that, to what else is wrong.
    let said = model.overwrite(true).init_op("nope").save(work.path()).unwrap_err();
    assert!(said.to_string().contains("the init op"), "{said}");
    assert_eq!(fs::read(work.path().join("saved_model.pb")).unwrap(), b"old");
}
