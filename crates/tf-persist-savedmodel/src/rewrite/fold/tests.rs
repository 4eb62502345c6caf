use std::collections::BTreeMap;

use tf_persist_proto::tensorflow::attr_value::attr_value::Value;

use super::*;

fn constant(name: &str, shape: &[usize], values: &[f32]) -> pb::NodeDef {
    attr::const_node(name, proto::to_proto(&Tensor::from_slice(shape, values).unwrap()))
}

fn node(name: &str, op: &str, input: &[&str]) -> pb::NodeDef {
    attr::node(name, op, input, [("T", attr::dtype(DType::Float32))])
}

fn with(mut node: pb::NodeDef, name: &str, value: Value) -> pb::NodeDef {
    node.attr.insert(name.into(), pb::AttrValue { value: Some(value), ..Default::default() });
    node
}

/// A convolution of two channels, `conv`, with the weights 1 to 4, and what comes after it.
fn convolution(after: Vec<pb::NodeDef>) -> Vec<pb::NodeDef> {
    let mut nodes = vec![
        node("x", "Placeholder", &[]),
        constant("w", &[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]),
        node("conv", "Conv2D", &["x", "w"]),
    ];
    nodes.extend(after);
    nodes
}

struct Folded(BTreeMap<String, pb::NodeDef>);

impl Folded {
    fn of(nodes: Vec<pb::NodeDef>, asked: &[&str]) -> Self {
        let mut graph = pb::GraphDef { node: nodes, ..Default::default() };
        fold(&mut graph, &asked.iter().map(|name| (*name).to_owned()).collect());
        Self(graph.node.into_iter().map(|node| (node.name.clone(), node)).collect())
    }

    fn op(&self, name: &str) -> &str {
        &self.0[name].op
    }

    fn input(&self, name: &str) -> &[String] {
        &self.0[name].input
    }

    /// The constant that is this input of a node.
    fn values(&self, name: &str, input: usize) -> Vec<f32> {
        let tensor = attr::constant(&self.0[&self.input(name)[input]]).unwrap();
        proto::from_proto(tensor, 1 << 20).unwrap().view::<f32>().unwrap().to_vec()
    }
}

/// What Keras writes for `BatchNormalization`: `x * (gamma * rsqrt(variance + epsilon)) + (beta - mean * that)`.
#[test]
fn batch_normalization_of_keras() {
    let folded = Folded::of(
        convolution(vec![
            constant("variance", &[2], &[0.24, 3.99]),
            constant("epsilon", &[], &[0.01]),
            node("add", "AddV2", &["variance", "epsilon"]),
            node("rsqrt", "Rsqrt", &["add"]),
            constant("gamma", &[2], &[1.0, 3.0]),
            node("scale", "Mul", &["rsqrt", "gamma"]),
            constant("beta", &[2], &[7.0, 8.0]),
            constant("mean", &[2], &[1.0, 2.0]),
            node("moved", "Mul", &["mean", "scale"]),
            node("offset", "Sub", &["beta", "moved"]),
            node("mul", "Mul", &["conv", "scale"]),
            node("y", "AddV2", &["mul", "offset"]),
            node("relu", "Relu6", &["y"]),
        ]),
        &["relu"],
    );
    assert_eq!((folded.op("y"), folded.op("relu")), ("BiasAdd", "Relu6"));
    assert_eq!(folded.input("y")[0], "conv");
    let close = |found: Vec<f32>, wanted: &[f32]| {
        assert!(
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-5),
            "{found:?}"
        );
    };
    // The scales are 2 and 1.5.
    close(folded.values("conv", 1), &[2.0, 3.0, 6.0, 6.0]);
    close(folded.values("y", 1), &[5.0, 5.0]);
}

#[test]
fn fused_batch_normalization_after_a_bias() {
    let vectors = ["gamma", "beta", "mean", "variance"].iter().zip([[2.0, 1.0], [0.5, 0.0], [1.0, 0.0], [3.0, 15.0]]);
    let mut after: Vec<_> = vectors.map(|(name, values)| constant(name, &[2], &values)).collect();
    after.push(constant("bias", &[1, 1, 1, 2], &[4.0, 8.0]));
    after.push(node("biased", "Add", &["bias", "conv"]));
    let norm = attr::node("norm", "FusedBatchNormV3", &["biased", "gamma", "beta", "mean", "variance"], []);
    let norm =
        ["T", "U"].into_iter().fold(norm, |norm, name| with(norm, name, attr::dtype(DType::Float32).value.unwrap()));
    let inference = with(with(norm.clone(), "is_training", Value::B(false)), "epsilon", Value::F(1.0));
    let inference = || after.iter().cloned().chain([inference.clone(), node("y", "Relu", &["norm"])]).collect();
    let folded = Folded::of(convolution(inference()), &["y"]);
    assert_eq!(folded.op("norm"), "BiasAdd");
    // The scales are 1 and 0.25; `(bias - mean) * scale + beta`.
    assert_eq!(folded.values("conv", 1), [1.0, 0.5, 3.0, 1.0]);
    assert_eq!(folded.values("norm", 1), [3.5, 2.0]);
    // A request may ask for its mean.
    assert_eq!(Folded::of(convolution(inference()), &["y", "norm"]).op("norm"), "FusedBatchNormV3");
    // In training, the mean is that of the batch.
    let folded = Folded::of(convolution(after.into_iter().chain([norm]).collect()), &["norm"]);
    assert_eq!(folded.op("norm"), "FusedBatchNormV3");
}

#[test]
fn channels_of_depthwise_convolutions_and_matrix_products() {
    let nodes = vec![
        node("x", "Placeholder", &[]),
        constant("w", &[1, 1, 2, 2], &[1.0, 1.0, 1.0, 1.0]),
        node("conv", "DepthwiseConv2dNative", &["x", "w"]),
        constant("c", &[4], &[1.0, 2.0, 3.0, 4.0]),
        node("mul", "Mul", &["c", "conv"]),
        constant("v", &[2, 1], &[5.0, 6.0]),
        node("product", "MatMul", &["mul", "v"]),
        constant("half", &[], &[0.5]),
        node("half_of_it", "Mul", &["product", "half"]),
        node("less", "Sub", &["half_of_it", "half"]),
    ];
    let folded = Folded::of(nodes, &["less"]);
    assert_eq!(folded.values("conv", 1), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(folded.input("product")[0], "conv");
    assert_eq!(folded.values("product", 1), [2.5, 3.0]);
    assert_eq!((folded.op("less"), folded.values("less", 1)), ("BiasAdd", vec![-0.5]));
}

/// Whatever would change an answer, or one that somebody else takes, is left.
#[test]
fn others_are_left() {
    let scale = || constant("c", &[2], &[2.0, 3.0]);
    let mul = || node("mul", "Mul", &["conv", "c"]);
    let is_left = |nodes: Vec<pb::NodeDef>, asked: &[&str]| {
        let folded = Folded::of(nodes, asked);
        folded.op("mul") == "Mul" && folded.input("conv")[1] == "w"
    };
    assert!(!is_left(convolution(vec![scale(), mul()]), &["mul"]));
    // Asked for itself, or taken by another node.
    assert!(is_left(convolution(vec![scale(), mul()]), &["mul", "conv"]));
    assert!(is_left(convolution(vec![scale(), mul(), node("other", "Relu", &["conv"])]), &["mul"]));
    assert!(is_left(convolution(vec![scale(), node("mul", "Mul", &["conv", "conv"])]), &["mul"]));
    // Not one number for each channel, or more dimensions.
    for (shape, values) in [(&[3][..], &[1.0; 3][..]), (&[2, 1], &[1.0; 2]), (&[1, 1, 1, 1, 2], &[1.0; 2])] {
        assert!(is_left(convolution(vec![constant("c", shape, values), mul()]), &["mul"]), "{shape:?}");
    }
    // Channels that come first, and numbers that are not finite.
    let mut first = convolution(vec![scale(), mul()]);
    first[2] = with(first[2].clone(), "data_format", Value::S("NCHW".into()));
    assert!(is_left(first, &["mul"]));
    assert!(is_left(convolution(vec![constant("c", &[2], &[f32::INFINITY, 1.0]), mul()]), &["mul"]));
    // Weights and factors that are no constants.
    let mut open = convolution(vec![scale(), mul()]);
    open[1] = node("w", "Placeholder", &[]);
    assert!(is_left(open, &["mul"]));
    assert!(is_left(convolution(vec![node("c", "Placeholder", &[]), mul()]), &["mul"]));
    // A request may give them.
    assert!(is_left(convolution(vec![scale(), mul()]), &["mul", "c"]));
    assert!(is_left(convolution(vec![scale(), mul()]), &["mul", "w"]));
    assert!(is_left(
        convolution(vec![scale(), node("i", "Identity", &["c"]), node("mul", "Mul", &["conv", "i"])]),
        &["mul", "i"]
    ));
    // A constant after something that may fail.
    assert!(is_left(
        convolution(vec![
            node("check", "NoOp", &[]),
            {
                let mut scale = scale();
                scale.input.push("^check".into());
                scale
            },
            mul()
        ]),
        &["mul"]
    ));
}

/// A request may give a tensor in the middle of the graph.
#[test]
fn what_is_asked_for_is_still_taken() {
    let nodes =
        convolution(vec![constant("c", &[], &[2.0]), node("mul", "Mul", &["conv", "c"]), node("y", "Relu", &["mul"])]);
    let folded = Folded::of(nodes, &["mul", "y"]);
    assert_eq!((folded.op("mul"), folded.input("y")), ("Identity", &["mul".to_owned()][..]));
}

/// An answer that waits for an assertion still waits for it.
#[test]
fn nodes_that_wait_are_left() {
    let nodes = |waiting: &str| {
        let mut nodes = convolution(vec![
            constant("c", &[2], &[2.0, 3.0]),
            node("check", "NoOp", &[]),
            node("biased", "BiasAdd", &["conv", "c"]),
            node("mul", "Mul", &["biased", "c"]),
            node("y", "Relu", &["mul"]),
        ]);
        nodes.iter_mut().filter(|node| node.name == waiting).for_each(|node| node.input.push("^check".into()));
        nodes
    };
    for waiting in ["biased", "mul", "w", "c"] {
        let folded = Folded::of(nodes(waiting), &["y"]);
        assert_eq!(
            (folded.op("mul"), folded.input("y"), folded.input("conv")[1].as_str()),
            ("Mul", &["mul".to_owned()][..], "w"),
            "{waiting}"
        );
    }
    // The convolution itself is still there.
    let folded = Folded::of(nodes("conv"), &["y"]);
    assert_eq!((folded.op("mul"), folded.input("conv")[2].as_str()), ("BiasAdd", "^check"));
}

/// The product of a weight and a scale has as many digits as they have.
#[test]
fn weights_that_would_be_too_small_are_left() {
    let op = |scale: f32| {
        let nodes = convolution(vec![constant("c", &[2], &[1.0, scale]), node("mul", "Mul", &["conv", "c"])]);
        Folded::of(nodes, &["mul"]).op("mul").to_owned()
    };
    assert_eq!([1e-37, 0.0, 1e-39, f32::MIN_POSITIVE / 3.0].map(op), ["Identity", "Identity", "Mul", "Mul"]);
    // A weight of 4e-30 times 1e-10.
    let mut nodes = convolution(vec![constant("c", &[], &[1e-10]), node("mul", "Mul", &["conv", "c"])]);
    nodes[1] = constant("w", &[1, 1, 1, 2], &[4e-30, 0.0]);
    assert_eq!(Folded::of(nodes, &["mul"]).op("mul"), "Mul");
}

/// Graphs with circles and without ends do not hang.
#[test]
fn circles_end() {
    let nodes = vec![node("a", "Identity", &["b"]), node("b", "Identity", &["a"]), node("mul", "Mul", &["a", "b"])];
    assert_eq!(Folded::of(nodes, &["mul"]).op("mul"), "Mul");
    let nodes = vec![node("a", "Mul", &["b", "b"]), node("b", "Mul", &["a", "a"])];
    assert_eq!(Folded::of(nodes, &["a"]).op("a"), "Mul");
}
