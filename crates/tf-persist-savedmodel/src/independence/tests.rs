//! Each rule, proven and refused, over small graphs.

use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::NameAttrList;
use tf_persist_proto::tensorflow::attr_value::attr_value::{ListValue, Value};

use super::prove;
use crate::dtype::DType;
use crate::graph::attr;
use crate::graph::view::{IndexedGraph, NodeView};
use crate::saved_model::{SignatureDef, TensorInfo, TensorKind};
use crate::shape::PartialShape;
use crate::tensor::{Tensor, proto};

fn attribute(text: &str) -> pb::AttrValue {
    let ints = |text: &str| text.split(',').filter(|item| !item.is_empty()).map(|item| item.parse().unwrap()).collect();
    let value = match text {
        "true" | "false" => Value::B(text == "true"),
        _ if text.starts_with('#') => {
            let sizes: Vec<i64> = ints(&text[1..]);
            let dim = |size| pb::tensor_shape::tensor_shape_proto::Dim { size, ..Default::default() };
            let dim = sizes.into_iter().map(dim).collect();
            Value::Shape(pb::TensorShapeProto { dim, ..Default::default() })
        }
        _ if text.starts_with('[') => {
            Value::List(ListValue { i: ints(&text[1..text.len() - 1]), ..Default::default() })
        }
        _ if text.starts_with('$') => Value::Placeholder(text[1..].to_owned()),
        _ if text.starts_with('@') => Value::Func(NameAttrList { name: text[1..].to_owned(), ..Default::default() }),
        _ => text.parse().map_or_else(|_| Value::S(text.as_bytes().to_vec().into()), Value::I),
    };
    pb::AttrValue { value: Some(value), ..Default::default() }
}

/// `name = Op(input, …) attribute=value …`, `name = 3` or `name = [3,4]` for integers, `name = f[3,4]` for a weight.
fn node(line: &str) -> pb::NodeDef {
    let (name, what) = line.trim().split_once(" = ").unwrap();
    let numbers = |text: &str| -> Vec<i64> {
        let items = text.split(['[', ',', ']']).filter(|item| !item.is_empty());
        items.map(|item| item.parse().unwrap()).collect()
    };
    if let Some(shape) = what.strip_prefix("f[") {
        let shape: Vec<usize> = numbers(shape).into_iter().map(|size| size as usize).collect();
        return attr::const_node(name, proto::to_proto(&Tensor::zeros(DType::Float32, &shape).unwrap()));
    }
    if what.starts_with(['[', '-']) || what.starts_with(|first: char| first.is_ascii_digit()) {
        let items: Vec<i32> = numbers(what).into_iter().map(|item| item as i32).collect();
        let shape = if what.starts_with("[[") {
            vec![items.len() / 2, 2]
        } else if what.starts_with('[') {
            vec![items.len()]
        } else {
            Vec::new()
        };
        return attr::const_node(name, proto::to_proto(&Tensor::from_slice(&shape, &items).unwrap()));
    }
    let (op, rest) = what.split_once('(').unwrap();
    let (inputs, attributes) = rest.split_once(')').unwrap();
    let inputs: Vec<&str> = inputs.split(", ").filter(|input| !input.is_empty()).collect();
    let attributes = attributes.split_whitespace().map(|pair| pair.split_once('=').unwrap());
    attr::node(name, op, &inputs, attributes.map(|(key, value)| (key, attribute(value))))
}

fn info(tensor: &str, shape: &[i64]) -> TensorInfo {
    let shape = PartialShape::new(shape.iter().map(|size| u64::try_from(*size).ok()).collect());
    let dtype = DType::Float32;
    TensorInfo { dtype, declared_dtype: dtype, shape, kind: TensorKind::Dense { name: tensor.to_owned() } }
}

/// The proof for the output `y` of a graph in text form, with inputs of these shapes and functions.
fn proof_of(inputs: &[(&str, &[i64])], lines: &str, functions: Vec<pb::FunctionDef>) -> Result<(), String> {
    let mut graph = pb::GraphDef { node: lines.split(';').map(node).collect(), ..Default::default() };
    graph.library.mut_or_insert_default().function = functions;
    let meta_graph = pb::MetaGraphDef { graph_def: Some(graph).into(), ..Default::default() };
    let bytes = meta_graph.write_to_bytes().unwrap();
    let signature = SignatureDef {
        name: "s".into(),
        method_name: String::new(),
        inputs: inputs.iter().map(|(name, shape)| ((*name).to_owned(), info(&format!("{name}:0"), shape))).collect(),
        outputs: vec![("y".into(), info("y:0", &[-1]))],
        defaults: Vec::new(),
    };
    prove(&IndexedGraph::new(&bytes), &signature).map_err(|why| why.to_string())
}

fn proof(shape: &[i64], lines: &str) -> Result<(), String> {
    proof_of(&[("x", shape)], lines, Vec::new())
}

#[track_caller]
fn proven(shape: &[i64], lines: &str) {
    assert_eq!(proof(shape, lines), Ok(()), "{lines}");
}

#[track_caller]
fn refused(shape: &[i64], lines: &str, words: &str) {
    let why = proof(shape, lines).expect_err(lines);
    assert!(why.contains(words), "{lines}: {why}");
}

#[test]
fn elements() {
    proven(&[-1, 3], "w = f[3]; a = AddV2(x, w); y = Relu(a)");
    proven(&[-1, 3], "w = f[1,3]; y = Mul(x, w)");
    proven(&[-1, 3], "w = f[]; y = Maximum(w, x)");
    proven(&[-1], "y = StringLower(x)");
    refused(&[-1, 3], "w = f[2,3]; y = Mul(x, w)", "not one row");
    refused(&[-1, 3], "w = f[5,1,1]; y = Mul(x, w)", "does not have the batch's rows");
    // [B] against [B, 1] is [B, B].
    refused(&[-1], "one = 1; e = ExpandDims(x, one); y = Mul(x, e)", "different axes");
    proven(&[-1, 3], "v = VariableV2() shape=#; y = Mul(x, v)");
    proven(&[-1, 3], "v = Variable() shape=#3; y = Mul(x, v)");
    // For this op an empty shape is an unknown shape.
    refused(&[-1, 3], "v = Variable() shape=#; y = Mul(x, v)", "sizes of what goes into it are not known");
    refused(&[-1, 3], "y = Dropout(x)", "there is no rule for this op");
    refused(&[-1, 3], "y = Where(x)", "there is no rule for this op");
    refused(&[-1], "y = Unique(x)", "there is no rule for this op");
}

#[test]
fn products() {
    let eye = "w = f[3,4]; ";
    proven(&[-1, 3], &format!("{eye}y = MatMul(x, w)"));
    refused(&[-1, 3], &format!("{eye}y = MatMul(x, w) transpose_a=true"), "left side's first dimension");
    refused(&[-1, 3], &format!("{eye}y = MatMul(w, x)"), "a weight depends on the inputs");
    refused(&[-1, 3], "y = MatMul(x, x) transpose_b=true", "a weight depends on the inputs");
    proven(&[-1, 5, 3], &format!("{eye}y = BatchMatMulV2(x, w)"));
    proven(&[-1, 5, 3], "y = BatchMatMulV2(x, x) adj_y=true");
    refused(&[-1, 3], "y = BatchMatMulV2(x, x) adj_y=true", "adds over the rows");
    refused(&[-1, 3], "w = f[2,3,4]; y = BatchMatMulV2(x, w)", "left side");
    proven(&[-1, 5, 3], "y = Einsum(x, x) equation=bij,bkj->bik");
    refused(&[-1, 5, 3], "y = Einsum(x, x) equation=bij,bkj->ik", "adds over the rows");
    refused(&[-1, 5, 3], "y = Einsum(x, x) equation=bij,ckj->bc", "different axes");
    refused(&[-1, 3], "w = f[7,3]; y = Einsum(x, w) equation=bi,bi->b", "not one row");
    refused(&[-1, 3], "y = Einsum(x) equation=...i->...", "equation");
    proven(&[-1, 3], "w = f[3]; y = BiasAdd(x, w)");
    refused(&[-1], "w = f[1]; y = BiasAdd(x, w)", "bias");
    proven(&[-1, 3], "y = Softmax(x)");
    refused(&[-1], "y = Softmax(x)", "sum over the rows");
}

#[test]
fn images() {
    let conv = "w = f[3,3,2,4]; c = Conv2D(x, w) padding=VALID";
    proven(&[-1, 8, 8, 2], &format!("{conv} strides=[1,2,2,1]; s = [-1,36]; y = Reshape(c, s)"));
    refused(&[-1, 8, 8, 2], &format!("{conv} strides=[1,2,2,1]; s = [-1,35]; y = Reshape(c, s)"), "rows'");
    refused(&[-1, 8, 8, 2], &format!("{conv} strides=[2,2,2,1]; y = Relu(c)"), "along the rows");
    refused(&[-1, 8, 8, 2], "y = Conv2D(x, x) padding=VALID", "a weight depends on the inputs");
    let pool = "p = MaxPool(x) padding=SAME";
    proven(&[-1, 7, 7, 2], &format!("{pool} ksize=[1,2,2,1] strides=[1,2,2,1]; s = [-1,32]; y = Reshape(p, s)"));
    refused(&[-1, 7, 7, 2], &format!("{pool} ksize=[2,2,2,1] strides=[1,2,2,1]; y = Relu(p)"), "along the rows");
    let norm = "w = f[2]; y = FusedBatchNormV3(x, w, w, w, w)";
    proven(&[-1, 7, 7, 2], &format!("{norm} is_training=false"));
    refused(&[-1, 7, 7, 2], norm, "averages over the batch");
    proven(&[-1, 7, 7, 2], "p = [[0,0],[1,1],[1,1],[0,0]]; y = Pad(x, p)");
    refused(&[-1, 7, 7, 2], "p = [[0,1],[1,1],[1,1],[0,0]]; y = Pad(x, p)", "along the rows");
}

#[test]
fn reductions() {
    proven(&[-1, 5, 3], "a = [1,-1]; y = Mean(x, a)");
    proven(&[-1, 5, 3], "a = 1; y = Max(x, a) keep_dims=true");
    refused(&[-1, 5, 3], "a = [0]; y = Mean(x, a)", "along the rows");
    refused(&[-1, 5, 3], "a = -3; y = Sum(x, a)", "along the rows");
    proven(&[-1, 5], "a = 1; y = ArgMax(x, a)");
    refused(&[-1, 5], "a = 0; y = ArgMax(x, a)", "along the rows");
    proven(&[-1, 5], "a = 1; y = Cumsum(x, a)");
    refused(&[-1, 5], "a = 0; y = Cumsum(x, a)", "along the rows");
    proven(&[-1, 5], "k = 2; y = TopKV2(x, k)");
    refused(&[-1], "k = 2; y = TopKV2(x, k)", "along the rows");
    refused(&[-1, 5], "a = [0]; y = ReverseV2(x, a)", "along the rows");
    proven(&[-1, 5], "a = [1]; y = ReverseV2(x, a)");
}

#[test]
fn shapes() {
    // How Keras flattens: the size of the batch out of the shape, packed with a number.
    let size = "s = Shape(x); a = [0]; b = [1]; n = StridedSlice(s, a, b, b) shrink_axis_mask=1; ";
    proven(&[-1, 4, 3], &format!("{size}m = -1; p = Pack(n, m); y = Reshape(x, p)"));
    proven(&[-1, 4, 3], "s = [-1,12]; y = Reshape(x, s)");
    proven(&[-1, -1, 6], "s = [-1,6]; f = Reshape(x, s); s2 = Shape(x); y = Reshape(f, s2)");
    // Rows of two, which are not the batch's rows.
    refused(&[-1, 4, 3], "s = [-1,6]; y = Reshape(x, s)", "does not have the batch's rows");
    refused(&[-1, 4, 3], "s = [-1,5]; y = Reshape(x, s)", "not known to be the rows'");
    refused(&[-1, -1], "s = [-1,5]; y = Reshape(x, s)", "not known to be the rows'");
    refused(&[-1, 4], "s = [4,-1]; y = Reshape(x, s)", "not known to be the rows'");
    refused(&[-1, 4], "s = [2,4]; y = Reshape(x, s)", "does not depend on the number of rows");
    refused(&[-1, 4], &format!("{size}m = 4; p = Pack(m, n); y = Reshape(x, p)"), "not known to be the rows'");
    // The number of rows becomes a number.
    refused(&[-1, 4], &format!("{size}f = Cast(n) DstT=1; y = Mul(x, f)"), "becomes a number");
    refused(&[-1, 4], &format!("{size}y = Mul(x, n)"), "becomes a number");
    refused(&[-1, 4], &format!("{size}o = 1; z = 0; y = Range(z, n, o)"), "how far it counts");
    proven(&[-1, 4], &format!("{size}m = 4; p = Pack(n, m); w = f[]; f = Fill(p, w); y = AddV2(x, f)"));
    refused(
        &[-1, 4],
        &format!("{size}p = Pack(n, n); w = f[]; f = Fill(p, w); y = AddV2(x, f)"),
        "more than one place",
    );
    proven(&[-1, 4], &format!("{size}w = f[1,4]; m = 1; p = Pack(n, m); t = Tile(w, p); y = AddV2(x, t)"));
    refused(&[-1, 4], "w = [2,1]; y = Tile(x, w)", "repeats the rows");
    refused(&[-1, 4], &format!("{size}w = f[2,4]; m = 1; p = Pack(n, m); y = Tile(w, p)"), "not one");
    proven(&[-1, 4], &format!("{size}w = f[4]; m = 4; p = Pack(n, m); y = BroadcastTo(w, p)"));
    refused(&[-1, 1], &format!("{size}p = Pack(n, n); y = BroadcastTo(x, p)"), "more than one place");
    refused(&[-1, 4], "y = Shape(x)", "does not have the batch's rows");
    refused(&[-1, 4], "y = Size(x)", "does not have the batch's rows");
}

#[test]
fn layouts() {
    proven(&[-1, 4, 3], "p = [1,0,2]; t = Transpose(x, p); a = 0; y = Sum(t, a)");
    refused(&[-1, 4, 3], "p = [1,0,2]; y = Transpose(x, p)", "does not have the batch's rows");
    refused(&[-1, 4, 3], "p = [1,0,2]; t = Transpose(x, p); a = 1; y = Sum(t, a)", "along the rows");
    refused(&[-1, 4, 3], "p = [1,0,2]; t = Transpose(x, p); s = [-1,3]; y = Reshape(t, s)", "not its first dimension");
    proven(&[-1, 4], "a = 1; y = ConcatV2(x, x, a)");
    refused(&[-1, 4], "a = 0; y = ConcatV2(x, x, a)", "along the rows");
    refused(&[-1, 4], "w = f[1,4]; a = 1; y = ConcatV2(x, w, a)", "beside something else");
    proven(&[-1, 4], "y = Pack(x, x) axis=1");
    refused(&[-1, 4], "y = Pack(x, x)", "does not have the batch's rows");
    proven(&[-1, 4], "a = 1; y = Split(a, x) num_split=2");
    refused(&[-1, 4], "a = 0; y = Split(a, x) num_split=2", "along the rows");
    proven(&[-1, 4], "y = Unpack(x) axis=1 num=4");
    refused(&[4, 4], "y = Unpack(x)", "no open first dimension");
    refused(&[-1, 4], "y = Unpack(x)", "along the rows");
    proven(&[-1, 1, 4], "y = Squeeze(x) squeeze_dims=[1]");
    refused(&[-1, 1, 4], "y = Squeeze(x)", "also that of the rows");
    refused(&[-1, 1, 4], "y = Squeeze(x) squeeze_dims=[0]", "along the rows");
    proven(&[-1, 4], "b = [0,1]; e = [0,0]; o = [1,1]; y = StridedSlice(x, b, e, o) begin_mask=1 end_mask=3");
    refused(&[-1, 4], "b = [0]; e = [1]; o = [1]; y = StridedSlice(x, b, e, o)", "along the rows");
    refused(&[-1, 4], "b = [0]; e = [0]; o = [-1]; y = StridedSlice(x, b, e, o) begin_mask=1 end_mask=1", "along");
    refused(&[-1, 4], "b = [0]; e = [1]; o = [1]; y = StridedSlice(x, b, e, o) shrink_axis_mask=1", "along the rows");
    proven(&[-1, 4], "b = [0,1]; s = [-1,2]; y = Slice(x, b, s)");
    refused(&[-1, 4], "b = [1,0]; s = [-1,4]; y = Slice(x, b, s)", "along the rows");
    let end = "s = Shape(x); z = [0]; o = [1]; n = StridedSlice(s, z, o, o); zero = [0,0]; ";
    refused(&[-1, 4], &format!("{end}m = [-1]; a = 0; e = ConcatV2(m, n, a); y = Slice(x, zero, e)"), "number of rows");
}

#[test]
fn looking_up() {
    proven(&[-1, 4], "w = f[50,8]; a = 0; y = GatherV2(w, x, a)");
    refused(&[-1, 4], "a = 0; i = [0]; y = GatherV2(x, i, a)", "along the rows");
    refused(&[-1], "a = 0; y = GatherV2(x, x, a)", "along the rows");
    proven(&[-1, 4], "a = 1; i = [0,2]; y = GatherV2(x, i, a)");
    refused(&[-1, 4], "w = f[50,8]; a = 1; y = GatherV2(w, x, a) batch_dims=1", "in a way that is not supported");
    proven(&[-1], "t = HashTableV2(); d = f[]; y = LookupTableFindV2(t, x, d)");
    refused(&[-1], "t = AnonymousHashTable(); d = f[]; y = LookupTableFindV2(t, x, d)", "there is no rule");
    proven(&[-1], "d = 5; o = f[]; y = OneHot(x, d, o, o)");
    refused(&[-1], "d = 5; o = f[]; y = OneHot(x, d, o, o) axis=0", "does not have the batch's rows");
}

#[test]
fn effects_end_the_proof() {
    refused(&[-1], "p = Print(x); y = Neg(x, ^p)", "there is no rule");
    refused(&[-1], "v = VarHandleOp(); a = AssignVariableOp(v, x); y = Neg(x, ^a)", "AssignVariableOp");
    refused(&[-1], "w = f[]; r = RandomUniform(w); y = Mul(x, r)", "RandomUniform");
    refused(&[-1], "y = Neg(nobody)", "does not exist");
    refused(&[-1], "y = Neg(a); a = Neg(y)", "loop of nodes");
    refused(&[-1, 3], "z = f[]; y = Placeholder()", "there is no rule");
}

fn function(name: &str, inputs: &[&str], lines: &str, output: &str) -> pb::FunctionDef {
    let argument = |name: &&str| pb::op_def::op_def::ArgDef { name: (*name).to_owned(), ..Default::default() };
    let signature = pb::OpDef {
        name: name.to_owned(),
        input_arg: inputs.iter().map(argument).collect(),
        output_arg: output.split(',').enumerate().map(|(index, _)| argument(&format!("o{index}").as_str())).collect(),
        ..Default::default()
    };
    let ret = output.split(',').enumerate().map(|(index, tensor)| (format!("o{index}"), tensor.to_owned()));
    pb::FunctionDef {
        signature: Some(signature).into(),
        node_def: lines.split(';').filter(|line| !line.is_empty()).map(node).collect(),
        ret: ret.collect(),
        ..Default::default()
    }
}

#[test]
fn functions_are_followed() {
    let double = || function("double", &["a"], "r = AddV2(a, a)", "r:z:0");
    let call = |functions| proof_of(&[("x", &[-1])], "y = PartitionedCall(x) f=@double", functions);
    assert_eq!(call(vec![double()]), Ok(()));
    assert_eq!(proof_of(&[("x", &[-1])], "y = double(x)", vec![double()]), Ok(()));
    assert!(call(vec![]).unwrap_err().contains("does not exist"));
    assert!(call(vec![function("double", &["a", "b"], "", "a")]).unwrap_err().contains("other arguments"));
    let writes = function("double", &["a"], "r = AddV2(a, a); p = PrintV2(a)", "r:z:0");
    assert!(call(vec![writes]).unwrap_err().contains("PrintV2"));
    let endless = function("double", &["a"], "r = PartitionedCall(a) f=@double", "r:output:0");
    assert!(call(vec![endless]).unwrap_err().contains("too deeply"));
    let sums = function("double", &["a"], "k = [0]; r = Sum(a, k:output:0); m = AddV2(a, r:output:0)", "m:z:0");
    assert!(call(vec![sums]).unwrap_err().contains("along the rows"));
    // Each function calls the next twice: two to the power of thirty calls.
    let chain = (0..30).map(|step| {
        let next = step + 1;
        let lines = format!("r = f{next}(a); s = f{next}(r:o0:0)");
        function(&format!("f{step}"), &["a"], &lines, "s:o0:0")
    });
    let chain = chain.chain([function("f30", &["a"], "r = Neg(a)", "r:y:0")]).collect();
    assert!(proof_of(&[("x", &[-1])], "y = f0(x)", chain).unwrap_err().contains("too large"));
}

#[test]
fn attributes_given_by_the_caller_end_the_proof() {
    let norm = |training: &str| {
        let lines = "w = f[2]; r = FusedBatchNormV3(a, w:output:0, w:output:0, w:output:0, w:output:0)";
        let norm = function("norm", &["a"], &format!("{lines} is_training={training}"), "r:y:0");
        proof_of(&[("x", &[-1, 7, 7, 2])], "y = norm(x) train=true", vec![norm])
    };
    assert_eq!(norm("false"), Ok(()));
    assert!(norm("$train").unwrap_err().contains("the caller of the function"));
    // Protobuf merges two `tensor`s in one value: a shape, then the integers 0 and 1.
    let tensors = [0x42, 8, 0x08, 3, 0x12, 4, 0x12, 2, 0x08, 2, 0x42, 4, 0x3a, 2, 0, 1];
    let entry = [&[0x0a, 5][..], b"value", &[0x12, tensors.len() as u8], &tensors].concat();
    let node = [&[0x2a, entry.len() as u8][..], &entry].concat();
    let sizes = super::attributes::constant(&NodeView::new(&node)).unwrap().numbers();
    assert_eq!(sizes, Some(vec![0, 1]));
}

#[test]
fn loops_and_branches() {
    let run = |condition: &str, body: &str| {
        let lines = "n = 0; y0 = While(n, x) cond=@c body=@b; y = Identity(y0:1)";
        let given = condition.rsplit_once("; ").map_or(condition, |(_, last)| last).split(" = ").next().unwrap();
        let tensor = format!("{}:z:0", given.trim());
        let body = function("b", &["n", "a"], &format!("i = 1; m = AddV2(n, i:output:0); {body}"), "m:z:0,r:z:0");
        proof_of(&[("x", &[-1, 3])], lines, vec![function("c", &["n", "a"], condition, &tensor), body])
    };
    assert_eq!(run("k = 5; l = Less(n, k:output:0)", "r = AddV2(a, a)"), Ok(()));
    let sums = "s = [0]; t = Sum(a, s:output:0); r = AddV2(a, t:output:0)";
    assert!(run("k = 5; l = Less(n, k:output:0)", sums).unwrap_err().contains("along the rows"));
    let until = "k = [0,1]; f = f[]; t = Sum(a, k:output:0); l = Less(f:output:0, t:output:0)";
    assert!(run(until, "r = AddV2(a, a)").unwrap_err().contains("how often the loop runs"));
    let branch = |condition: &str, other: &str| {
        let one = function("t", &["a"], "r = AddV2(a, a)", "r:z:0");
        let lines = format!("{condition}; y = If(c, x) then_branch=@t else_branch=@e");
        proof_of(&[("x", &[-1])], &lines, vec![one, function("e", &["a"], other, "r:y:0")])
    };
    assert_eq!(branch("c = f[]", "r = Neg(a)"), Ok(()));
    assert!(branch("k = [0]; c = Sum(x, k)", "r = Neg(a)").unwrap_err().contains("which branch"));
    assert!(branch("c = Neg(x)", "r = Neg(a)").unwrap_err().contains("which branch"));
    assert!(branch("c = f[]", "k = 0; r = ExpandDims(a, k:output:0)").unwrap_err().contains("same form"));
}

#[test]
fn functions_that_implement_the_same_may_be_swapped() {
    let implements = |mut function: pb::FunctionDef, what: &str| {
        function.attr.insert("api_implements".to_owned(), attribute(what));
        function
    };
    let called = || implements(function("called", &["a"], "r = Neg(a)", "r:y:0"), "lstm_one");
    let sums = || function("other", &["a"], "k = 0; r = Cumsum(a, k:output:0)", "r:out:0");
    let proof = |functions| proof_of(&[("x", &[-1])], "y = PartitionedCall(x) f=@called", functions);
    assert_eq!(proof(vec![called(), implements(sums(), "lstm_two")]), Ok(()));
    assert!(proof(vec![called(), implements(sums(), "lstm_one")]).unwrap_err().contains("implements the same"));
}

#[test]
fn lists_of_a_loop() {
    let list = "p = [1,0,2]; t = Transpose(x, p); s = [-1,3]; l = TensorListFromTensor(t, s); ";
    proven(&[-1, 4, 3], &format!("{list}i = 2; y = TensorListGetItem(l, i, s)"));
    proven(&[-1, 4, 3], &format!("{list}k = TensorListStack(l, s); y = Transpose(k, p)"));
    refused(&[-1, 4, 3], &format!("{list}y = TensorListStack(l, s)"), "does not have the batch's rows");
    refused(&[-1, 4, 3], "s = [3]; y = TensorListFromTensor(x, s)", "along the rows");
    let room = "n = 2; s = [-1]; l = TensorListReserve(s, n); i = 0; ";
    proven(&[-1, 3], &format!("{room}m = TensorListSetItem(l, i, x); y = TensorListGetItem(m, i, s)"));
    refused(&[-1, 3], &format!("{room}y = TensorListGetItem(l, i, s)"), "the list is empty");
    // How many there are is an axis: 2 - 1, if the list does not grow.
    let axis = |set: &str| {
        format!(
            "e = [-1]; n = 1; l = TensorListReserve(e, n); i = 1; w = f[]; m = TensorListSetItem(l, i, w){set}; \
             k = TensorListStack(m, e); c = Size(k); t = 2; a = Sub(t, c); y = Cumsum(x, a)"
        )
    };
    proven(&[-1, 3], &axis(""));
    refused(&[-1, 3], &axis(" resize_if_index_out_of_bounds=true"), "is not known");
}

#[test]
fn inputs_must_be_batches() {
    assert!(proof_of(&[("x", &[-1]), ("z", &[3])], "y = Neg(x)", Vec::new()).is_err());
    assert_eq!(proof_of(&[("x", &[-1, 3]), ("z", &[-1, 3])], "y = AddV2(x, z)", Vec::new()), Ok(()));
    assert!(proof_of(&[("x", &[-1]), ("z", &[-1, 3])], "y = AddV2(x, z)", Vec::new()).is_err());
    refused(&[-1], "y = f[3]", "does not have the batch's rows");
}
