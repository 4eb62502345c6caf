//! Tests of the simplifications of loops and products: what becomes of small graphs. `tests/interop/optimize.rs`
//! compares answers.

use tf_persist_proto::protobuf::MessageField;
use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;
use tf_persist_proto::tensorflow::meta_graph::tensor_info::Encoding;
use tf_persist_proto::tensorflow::op_def::op_def::ArgDef;

use super::{Asserts, Simplification, Simplified, simplify_by};
use crate::graph::attr;
use crate::tensor::proto;
use crate::{DType, Tensor};

fn info(name: &str) -> pb::TensorInfo {
    pb::TensorInfo { encoding: Some(Encoding::Name(name.into())), ..Default::default() }
}

/// A meta graph with a signature from the placeholder `x` to a tensor.
fn meta_graph(nodes: Vec<pb::NodeDef>, functions: Vec<pb::FunctionDef>, output: &str) -> pb::MetaGraphDef {
    let mut graph = pb::GraphDef { node: vec![float("x", "Placeholder", &[])], ..Default::default() };
    graph.node.extend(nodes);
    graph.library.mut_or_insert_default().function = functions;
    let signature = pb::SignatureDef {
        inputs: [("x".to_owned(), info("x:0"))].into(),
        outputs: [("y".to_owned(), info(output))].into(),
        ..Default::default()
    };
    pb::MetaGraphDef {
        graph_def: MessageField::some(graph),
        signature_def: [("serving_default".to_owned(), signature)].into(),
        ..Default::default()
    }
}

fn float(name: &str, op: &str, inputs: &[&str]) -> pb::NodeDef {
    attr::node(name, op, inputs, [("T", attr::dtype(DType::Float32))])
}

fn constant(name: &str, shape: &[usize], values: &[f32]) -> pb::NodeDef {
    attr::const_node(name, proto::to_proto(&Tensor::from_slice(shape, values).unwrap()))
}

fn int(name: &str, value: i32) -> pb::NodeDef {
    attr::const_node(name, proto::to_proto(&Tensor::scalar(value).unwrap()))
}

fn named(function: &str) -> pb::AttrValue {
    let value = Value::Func(pb::NameAttrList { name: function.into(), ..Default::default() });
    pb::AttrValue { value: Some(value), ..Default::default() }
}

fn argument(name: &str, dtype: DType) -> ArgDef {
    ArgDef { name: name.into(), type_: attr::proto_dtype(dtype), ..Default::default() }
}

/// A function; `returned` are the tensors of its outputs, and `effects` the nodes that always run.
fn function(
    name: &str,
    arguments: &[(&str, DType)],
    nodes: Vec<pb::NodeDef>,
    returned: &[(&str, DType)],
    effects: &[&str],
) -> pb::FunctionDef {
    let mut function = pb::FunctionDef { node_def: nodes, ..Default::default() };
    let signature = function.signature.mut_or_insert_default();
    signature.name = name.into();
    signature.input_arg = arguments.iter().map(|(name, dtype)| argument(name, *dtype)).collect();
    for (index, (tensor, dtype)) in returned.iter().enumerate() {
        signature.output_arg.push(argument(&format!("out{index}"), *dtype));
        function.ret.insert(format!("out{index}"), (*tensor).into());
    }
    function.control_ret = effects.iter().map(|node| ((*node).into(), (*node).into())).collect();
    function
}

fn ops(definition: &pb::MetaGraphDef) -> Vec<&str> {
    let mut ops: Vec<&str> = definition.graph_def.node.iter().map(|node| node.op.as_str()).collect();
    ops.sort_unstable();
    ops
}

fn node<'d>(definition: &'d pb::MetaGraphDef, name: &str) -> &'d pb::NodeDef {
    definition.graph_def.node.iter().find(|node| node.name == name).unwrap()
}

fn simplify(definition: &mut pb::MetaGraphDef) -> Simplified {
    super::simplify(definition, Asserts::Keep)
}

const FLOAT: DType = DType::Float32;
const INT: DType = DType::Int32;

#[test]
fn a_simplification_that_panics_costs_itself_alone() {
    let panics: Simplification = |graph, _, done| {
        done.calls += 1;
        graph.node.clear();
        panic!("as one with a mistake may")
    };
    let renames: Simplification = |graph, _, done| {
        done.folds += 1;
        graph.node[1].op = "Abs".into();
    };
    let mut definition = meta_graph(vec![float("y", "Neg", &["x"])], Vec::new(), "y:0");
    let done = simplify_by(&mut definition, &[("calls", panics), ("weights", renames)]);
    assert_eq!(done, Simplified { folds: 1, failed: vec!["calls"], ..Simplified::default() });
    assert_eq!(ops(&definition), ["Abs", "Placeholder"]);
}

#[test]
fn a_simplification_that_loses_an_output_costs_itself_alone() {
    // A node of the same name with one output instead of two, or with none.
    let loses: Simplification = |graph, _, _| graph.node[1].op = "Identity".into();
    let loses_all: Simplification = |graph, _, _| graph.node[1].op = "NoOp".into();
    let removes: Simplification = |graph, _, _| graph.node.truncate(1);
    let mut definition = meta_graph(vec![float("y", "TopKV2", &["x", "x"])], Vec::new(), "y:1");
    let done = simplify_by(&mut definition, &[("calls", loses), ("products", loses_all), ("weights", removes)]);
    assert_eq!(done.failed, ["calls", "products", "weights"]);
    assert_eq!(ops(&definition), ["Placeholder", "TopKV2"]);
}

/// The answer waits for an assertion, in a function as well, whose condition nothing else needs.
#[test]
fn assertions_go_only_where_they_are_given_up() {
    let asserted = |input: &str| {
        let condition = attr::node("finite", "IsFinite", &[input], [("T", attr::dtype(FLOAT))]);
        let types = attr::dtypes([attr::proto_dtype(FLOAT)]);
        (condition, attr::node("assert", "Assert", &["finite:y:0", input, "^finite"], [("T", types)]))
    };
    let (condition, assert) = asserted("a");
    let nodes = vec![condition, assert, float("negated", "Neg", &["a", "^assert"])];
    let inner = function("inner", &[("a", FLOAT)], nodes, &[("negated:y:0", FLOAT)], &["assert"]);
    let (condition, mut assert) = asserted("x");
    assert.input[0] = "finite".into();
    let call = attr::node("call", "StatefulPartitionedCall", &["x", "^assert"], [("f", named("inner"))]);
    let definition = meta_graph(vec![condition, assert, call, float("y", "Abs", &["call"])], vec![inner], "y:0");

    let mut kept = definition.clone();
    assert_eq!(simplify(&mut kept).asserts, 0);
    assert_eq!(ops(&kept).iter().filter(|op| **op == "Assert").count(), 2, "{:?}", ops(&kept));
    let mut dropped = definition;
    let done = super::simplify(&mut dropped, Asserts::Drop);
    assert_eq!((done.asserts, done.changes()), (2, vec!["constants", "asserts", "calls"]));
    assert!(!ops(&dropped).contains(&"Assert"), "{:?}", ops(&dropped));
}

/// `y` waits for a node that computes, or for one of this op.
fn waiting(op: &str) -> pb::MetaGraphDef {
    let nodes = vec![
        constant("weights", &[1], &[1.0]),
        float("read", "Identity", &["weights"]),
        float("checked", op, &["x"]),
        attr::node("last", "NoOp", &["^checked"], []),
        attr::node("reads", "NoOp", &["^read"], []),
        float("y", "Abs", &["x", "^reads", "^last"]),
    ];
    meta_graph(nodes, Vec::new(), "y:0")
}

#[test]
fn only_nodes_without_an_effect_need_not_be_waited_for() {
    let mut dead = waiting("Neg");
    simplify(&mut dead);
    assert_eq!((ops(&dead), node(&dead, "y").input.len()), (vec!["Abs", "Placeholder"], 1));
    for op in ["CheckNumerics", "Assert", "NotAnOpOfTensorFlow"] {
        let mut waits = waiting(op);
        simplify(&mut waits);
        let mut expected = ["Abs", op, "NoOp", "Placeholder"];
        expected.sort_unstable();
        assert_eq!(ops(&waits), expected);
        assert_eq!(node(&waits, "y").input, ["x", "^last"]);
    }
    // A branch that is not taken.
    let mut branches = waiting("Switch");
    simplify(&mut branches);
    assert_eq!(node(&branches, "y").input, ["x", "^reads", "^last"]);
}

/// What has an effect must not run for a request that is refused.
#[test]
fn effects_wait_for_what_may_fail() {
    let nodes = vec![
        constant("weights", &[1], &[1.0]),
        float("read", "Identity", &["weights"]),
        float("checked", "MatMul", &["x", "x"]),
        attr::node("all", "NoOp", &["^checked", "^read"], []),
        attr::node("effect", "PrintV2", &["x", "^all", "^read"], []),
        float("y", "Abs", &["x", "^all", "^effect"]),
    ];
    let mut definition = meta_graph(nodes, Vec::new(), "y:0");
    simplify(&mut definition);
    let inputs = |name: &str| node(&definition, name).input.clone();
    assert_eq!((inputs("all"), inputs("effect")), (vec!["^checked".to_owned()], vec!["x".into(), "^all".into()]));
    assert_eq!(inputs("y"), ["x", "^effect"]);
}

/// A loop of `steps` steps that multiplies `x` by its number each.
fn looping(steps: i32, op: &str) -> pb::MetaGraphDef {
    let arguments = [("i", INT), ("n", INT), ("a", FLOAT)];
    let nodes = vec![attr::node("less", "Less", &["i", "n"], [("T", attr::dtype(INT))])];
    let condition = function("condition", &arguments, nodes, &[("less:z:0", DType::Bool)], &[]);
    let nodes = vec![
        int("one", 1),
        attr::node("next", "AddV2", &["i", "one:output:0"], [("T", attr::dtype(INT))]),
        float("number", "Cast", &["i"]),
        float("product", op, &["a", "number:y:0"]),
    ];
    let returned = [("next:z:0", INT), ("n", INT), ("product:z:0", FLOAT)];
    let body = function("body", &arguments, nodes, &returned, &[]);
    let types = attr::dtypes([INT, INT, FLOAT].map(attr::proto_dtype));
    let attributes = [("cond", named("condition")), ("body", named("body")), ("T", types)];
    let nodes = vec![
        int("zero", 0),
        int("steps", steps),
        attr::node("loop", "While", &["zero", "steps", "x"], attributes),
        float("y", "Neg", &["loop:2"]),
    ];
    meta_graph(nodes, vec![condition, body], "y:0")
}

#[test]
fn loops_become_their_steps() {
    let mut definition = looping(3, "Mul");
    simplify(&mut definition);
    assert_eq!(
        ops(&definition),
        ["Cast", "Cast", "Cast", "Const", "Const", "Const", "Mul", "Mul", "Mul", "Neg", "Placeholder"]
    );
    assert_eq!(node(&definition, "y").input, ["loop/step_2/product"]);
    assert_eq!(node(&definition, "loop/step_2/product").input, ["loop/step_1/product", "loop/step_2/number"]);
    assert_eq!(node(&definition, "loop/step_0/product").input[0], "x");
}

#[test]
fn long_loops_and_loops_with_effects_stay() {
    for mut definition in [looping(0, "Mul"), looping(100_000, "Mul"), looping(3, "StatefulUniform")] {
        simplify(&mut definition);
        assert!(ops(&definition).contains(&"While"), "{:?}", ops(&definition));
    }
    // The number of steps depends on the request.
    let mut definition = looping(3, "Mul");
    definition.graph_def.mut_or_insert_default().node.retain(|node| node.name != "steps");
    definition.graph_def.mut_or_insert_default().node.push(attr::node("steps", "Size", &["x"], []));
    simplify(&mut definition);
    assert!(ops(&definition).contains(&"While"), "{:?}", ops(&definition));
}

#[test]
fn loops_whose_bound_waits_for_an_assertion_stay() {
    for waiting in ["steps", "zero"] {
        let mut definition = looping(3, "Mul");
        let graph = definition.graph_def.mut_or_insert_default();
        graph.node.push(attr::node("assert", "Assert", &["x", "x"], []));
        graph.node.iter_mut().filter(|node| node.name == waiting).for_each(|node| node.input.push("^assert".into()));
        simplify(&mut definition);
        assert!(["While", "Assert"].iter().all(|op| ops(&definition).contains(op)), "{:?}", ops(&definition));
    }
}

/// New constants would be outside of a loop of TensorFlow 1.
#[test]
fn loops_and_products_beside_control_flow_of_tensorflow_1_stay() {
    let mut definition = looping(3, "Mul");
    let graph = definition.graph_def.mut_or_insert_default();
    graph.node.retain(|node| node.name != "y");
    graph.node.push(float("enter", "Enter", &["loop:2"]));
    graph.node.push(float("y", "Neg", &["enter"]));
    simplify(&mut definition);
    assert!(ops(&definition).contains(&"While"), "{:?}", ops(&definition));

    let nodes = vec![
        with_shape(float("batch", "Enter", &["x"]), &[-1, 5, 3]),
        constant("w", &[3, 2], &[1.0; 6]),
        with_shape(float("y", "BatchMatMulV2", &["batch", "w"]), &[-1, 5, 2]),
    ];
    let mut definition = meta_graph(nodes, Vec::new(), "y:0");
    simplify(&mut definition);
    assert_eq!(ops(&definition), ["BatchMatMulV2", "Const", "Enter", "Placeholder"]);
}

/// The loop's body has one of its own, of TensorFlow 1.
#[test]
fn bodies_with_control_flow_of_tensorflow_1_stay() {
    let mut definition = looping(3, "Mul");
    let library = definition.graph_def.mut_or_insert_default().library.mut_or_insert_default();
    library.function[1].node_def.push(float("enter", "Enter", &["a"]));
    simplify(&mut definition);
    assert!(ops(&definition).contains(&"While"), "{:?}", ops(&definition));
}

/// `y` waits for a branch, or a call, whose function calls another with this op.
#[test]
fn calls_of_functions_with_checks_are_waited_for() {
    let calling = |op: &str| {
        let nodes = vec![float("checked", op, &["a"])];
        let inner = function("inner", &[("a", FLOAT)], nodes, &[("checked:output:0", FLOAT)], &[]);
        let call = attr::node("call", "PartitionedCall", &["a"], [("f", named("inner"))]);
        let outer = function("outer", &[("a", FLOAT)], vec![call], &[("call:output:0", FLOAT)], &[]);
        let branches = [("then_branch", named("outer")), ("else_branch", named("outer"))];
        let nodes = vec![
            attr::node("which", "Size", &["x"], []),
            attr::node("branch", "StatelessIf", &["which", "x"], branches),
            float("y", "Abs", &["x", "^branch"]),
        ];
        let mut definition = meta_graph(nodes, vec![inner, outer], "y:0");
        simplify(&mut definition);
        node(&definition, "y").input.clone()
    };
    assert_eq!(calling("Neg"), ["x"]);
    for op in ["EnsureShape", "CheckNumerics", "NotAnOpOfTensorFlow"] {
        assert_eq!(calling(op), ["x", "^branch"], "{op}");
    }
}

/// A node without inputs would be outside of the loop.
#[test]
fn assertions_that_are_given_up_stay_in_their_loop() {
    let nodes = vec![
        float("enter", "Enter", &["x"]),
        attr::node("assert", "Assert", &["enter", "enter:1", "^x"], []),
        float("y", "Neg", &["enter", "^assert"]),
    ];
    let mut definition = meta_graph(nodes, Vec::new(), "y:0");
    assert_eq!(super::simplify(&mut definition, Asserts::Drop).asserts, 1);
    let dropped = node(&definition, "assert");
    assert_eq!((dropped.op.as_str(), dropped.input.as_slice()), ("NoOp", &["^x".to_owned(), "^enter".to_owned()][..]));
}

fn with_shape(mut node: pb::NodeDef, sizes: &[i64]) -> pb::NodeDef {
    let dim = sizes.iter().map(|size| pb::tensor_shape::tensor_shape_proto::Dim { size: *size, ..Default::default() });
    let shape = pb::TensorShapeProto { dim: dim.collect(), ..Default::default() };
    let list = pb::attr_value::attr_value::ListValue { shape: vec![shape], ..Default::default() };
    let value = pb::AttrValue { value: Some(Value::List(list)), ..Default::default() };
    node.attr.insert("_output_shapes".into(), value);
    node
}

#[test]
fn batches_of_products_become_one_with_bias_and_activation() {
    let nodes = |sizes: &[i64]| {
        vec![
            with_shape(float("batch", "Abs", &["x"]), &[sizes[0], sizes[1], 3]),
            constant("w", &[3, 2], &[1.0; 6]),
            constant("bias", &[2], &[1.0, 2.0]),
            with_shape(float("product", "BatchMatMulV2", &["batch", "w"]), sizes),
            float("biased", "BiasAdd", &["product", "bias"]),
            float("y", "Relu", &["biased"]),
        ]
    };
    for sizes in [[-1, 5, 2], [-1, -1, 2]] {
        let mut definition = meta_graph(nodes(&sizes), Vec::new(), "y:0");
        assert_eq!(simplify(&mut definition).products, 2);
        assert!(!ops(&definition).contains(&"BatchMatMulV2"), "{:?}", ops(&definition));
        assert_eq!(node(&definition, "y").op, "Reshape");
        assert_eq!(node(&definition, "y").input[0], "product/product/activated");
    }
    // The matrix is not the same in every run.
    let mut varying = nodes(&[-1, 5, 2]);
    varying[1] = with_shape(float("w", "Abs", &["x"]), &[3, 2]);
    let mut definition = meta_graph(varying, Vec::new(), "y:0");
    assert_eq!(simplify(&mut definition).products, 0);
    // Constants of another shape, such as the kernels of attention.
    for (sizes, products) in [(&[3, -1][..], 2), (&[-1, 2], 2), (&[1, -1], 1), (&[3, 1, 2], 0), (&[-1, -1], 0)] {
        let mut reshaped = nodes(&[-1, 5, 2]);
        reshaped[1] = float("w", "Reshape", &["kernel", "sizes"]);
        reshaped.extend([constant("kernel", &[3, 1, 2], &[1.0; 6]), ints("sizes", sizes)]);
        let mut definition = meta_graph(reshaped, Vec::new(), "y:0");
        assert_eq!(simplify(&mut definition).products, products, "{sizes:?}");
    }
}

fn ints(name: &str, values: &[i32]) -> pb::NodeDef {
    attr::const_node(name, proto::to_proto(&Tensor::from_slice(&[values.len()], values).unwrap()))
}

/// The permutation that a transpose has.
fn permutation(definition: &pb::MetaGraphDef, name: &str) -> Vec<i64> {
    let constant = node(definition, &node(definition, name).input[1]);
    super::shapes::integers(attr::constant(constant).unwrap()).unwrap()
}

#[test]
fn transposes_become_one() {
    let transposed = |input: &str, second: &[i32]| {
        let nodes = vec![
            constant("w", &[1, 1, 3, 2], &[1.0; 6]),
            float("conv", "Conv2D", &["x", "w"]),
            float("relu", "Relu", &["conv"]),
            ints("p", &[0, 2, 3, 1]),
            ints("q", second),
            float("first", "Transpose", &[input, "p", "^x"]),
            float("y", "Transpose", &["first", "q"]),
        ];
        meta_graph(nodes, Vec::new(), "y:0")
    };
    let mut definition = transposed("relu", &[1, 0, 2, 3]);
    assert_eq!(simplify(&mut definition).layouts, 1);
    assert_eq!(node(&definition, "y").input[0], "relu");
    assert_eq!(permutation(&definition, "y"), [2, 0, 3, 1]);
    let mut definition = transposed("relu", &[0, 3, 1, 2]);
    assert_eq!(simplify(&mut definition).layouts, 1);
    assert_eq!(ops(&definition), ["Const", "Conv2D", "Identity", "Placeholder", "Relu"]);
    assert_eq!(node(&definition, "y").input[0], "relu");
    // They refuse tensors of other ranks, and TensorFlow would leave out what undoes each other.
    for second in [&[1, 0, 2, 3], &[0, 3, 1, 2]] {
        assert_eq!(simplify(&mut transposed("x", second)).layouts, 0, "{second:?}");
    }
    // Of other lengths, or no permutation: the graph refuses them.
    for second in [&[0, 2, 1][..], &[0, 0, 1, 2], &[0, -1, 1, 2]] {
        assert_eq!(simplify(&mut transposed("relu", second)).layouts, 0, "{second:?}");
    }
}

#[test]
fn reshapes_become_one_where_the_first_takes_everything() {
    let nodes = |before: &[i32], first: &[i32]| {
        vec![
            ints("b", before),
            ints("p", first),
            ints("q", &[-1, 2, 3]),
            float("before", "Reshape", &["x", "b"]),
            float("middle", "Neg", &["before"]),
            float("first", "Reshape", &["before", "p", "^middle"]),
            float("y", "Reshape", &["first", "q"]),
        ]
    };
    for (before, first, left) in [
        (&[-1, 4][..], &[-1][..], ["before", "q"]),
        (&[-1], &[-1], ["x", "q"]),
        (&[-1, 3, 4], &[-1, 6], ["before", "q"]),
        (&[-1, 4], &[-1, 6], ["first", "q"]),
        (&[-1, 4], &[2, 6], ["first", "q"]),
        (&[-1, 0], &[-1, 6], ["first", "q"]),
    ] {
        let mut definition = meta_graph(nodes(before, first), Vec::new(), "y:0");
        simplify(&mut definition);
        assert_eq!(node(&definition, "y").input[..2], left, "{before:?} {first:?}");
    }
    // A matrix keeps its shape.
    let nodes = vec![
        constant("w", &[3, 2], &[1.0; 6]),
        float("product", "MatMul", &["x", "w"]),
        float("relu", "Relu", &["product"]),
        ints("rows", &[-1, 2]),
        float("y", "Reshape", &["relu", "rows"]),
    ];
    let mut definition = meta_graph(nodes, Vec::new(), "y:0");
    assert_eq!(simplify(&mut definition).changes(), ["constants", "layouts"]);
    assert_eq!(ops(&definition), ["Const", "Identity", "MatMul", "Placeholder", "Relu"]);
}
