//! What layers of merging, attention and products add to a graph.

use serde_json::{Value, json};
use tf_persist_savedmodel::DType;

use super::{Argument, Arguments, Context, Masked, Shared};
use crate::config::Dialect;
use crate::graph::{Graph, Node, Op, Program, Shape};
use crate::parse::Parser;
use crate::reason::{Reason, Result};

/// What a call of a layer adds.
#[derive(Debug)]
struct Emitted {
    shapes: Vec<String>,
    masked: Vec<bool>,
    /// The folders and names of the variables.
    weights: Vec<String>,
    ops: Vec<&'static str>,
    shared: Shared,
    inputs: Vec<Masked>,
}

impl Emitted {
    fn count(&self, op: &str) -> usize {
        self.ops.iter().filter(|name| **name == op).count()
    }
}

/// An input: its dtype, its shape, whether it has a mask of its first two dimensions.
type Input<'a> = (DType, &'a [i64], bool);

const F: DType = DType::Float32;

fn shape(dims: &[i64]) -> Shape {
    Shape::new(dims.iter().map(|dim| u64::try_from(*dim).ok()).collect::<Vec<_>>())
}

/// Calls a layer with tensors by position, as one list or one by one.
fn call(
    dialect: Dialect,
    class: &str,
    config: &Value,
    inputs: &[Input<'_>],
    listed: bool,
    keyword: &[(&str, Value)],
) -> Result<Emitted> {
    let mut parser = Parser::new(dialect);
    let mut object = json!({"name": "layer", "trainable": true});
    if let (Value::Object(object), Value::Object(config)) = (&mut object, config) {
        object.extend(config.clone());
    }
    let layer = parser
        .layer(&json!({"class_name": class, "config": object}))
        .map_err(|reason| parser.findings().first().map_or(reason, |finding| Reason::new(finding.reason.clone())))?;
    let graph = Graph::new(&Program::new());
    let mut tensors = Vec::new();
    for (dtype, dims, has_mask) in inputs {
        let tensor = graph.argument("x", *dtype, shape(dims))?;
        let mask = has_mask.then(|| graph.argument("mask", DType::Bool, shape(&dims[..2]))).transpose()?;
        tensors.push(Masked { tensor, mask });
    }
    let arguments: Vec<Argument> = tensors.iter().cloned().map(Argument::Tensor).collect();
    let positional = if listed { vec![Argument::List(arguments)] } else { arguments };
    let keyword = keyword.iter().map(|(name, value)| ((*name).to_owned(), Argument::Plain(value.clone())));
    let shared = Shared::default();
    let cx = Context::new(&graph, dialect, &shared).child(&["layer"], &layer.name);
    let result = layer.call(&cx, Arguments::new(positional, keyword.collect()))?;
    let results = result.tensors();
    let weight = |weight: &super::Weight| {
        let folders = weight.place.folders.iter().map(|names| names[0].as_str()).collect::<Vec<_>>().join("/");
        format!("{folders}/{} {} {:?}", weight.index, weight.name, weight.shape)
    };
    let op = |node: Node| if let Op::Named(name) = node.op { Some(name) } else { None };
    let weights = shared.weights.borrow().iter().map(weight).collect();
    Ok(Emitted {
        shapes: results.iter().map(|tensor| tensor.shape.to_string()).collect(),
        masked: results.iter().map(|tensor| tensor.mask.is_some()).collect(),
        weights,
        ops: graph.nodes().into_iter().filter_map(op).collect(),
        shared,
        inputs: tensors,
    })
}

fn merge(dialect: Dialect, class: &str, inputs: &[Input<'_>]) -> Result<Emitted> {
    call(dialect, class, &json!({}), inputs, true, &[])
}

#[test]
fn merging_raises_ranks() {
    let merged = merge(Dialect::Keras3, "Add", &[(F, &[-1, 4, 6], false), (F, &[-1, 6], false)]).unwrap();
    assert_eq!((merged.shapes[0].as_str(), merged.count("ExpandDims")), ("[?,4,6]", 1));
    let reason = merge(Dialect::Keras3, "Subtract", &[(F, &[-1, 4], false)]).unwrap_err().to_string();
    assert_eq!(reason, "it is called with 1 inputs, and subtracts one from another");
}

#[test]
fn merging_promotes_dtypes() {
    let mixed = [(DType::Int32, &[-1, 4][..], false), (F, &[-1, 4], false)];
    for class in ["Add", "Maximum", "Multiply", "Concatenate"] {
        assert_eq!(merge(Dialect::Keras3, class, &mixed).unwrap().count("Cast"), 1, "{class}");
    }
    let whole = [(DType::Int32, &[-1, 4][..], false), (DType::Int32, &[-1, 4], false)];
    let average = merge(Dialect::Keras3, "Average", &whole).unwrap();
    assert_eq!((average.count("Cast"), average.count("RealDiv")), (1, 1));
}

#[test]
fn masks_are_merged_as_the_version_does() {
    let (masked, plain) = ((F, &[-1, 4, 6][..], true), (F, &[-1, 4, 6][..], false));
    let has_mask = |dialect, class, inputs: &[Input<'_>]| merge(dialect, class, inputs).unwrap().masked[0];
    for class in ["Add", "Multiply", "Maximum"] {
        assert!(has_mask(Dialect::Keras3, class, &[masked, masked]));
        assert!(!has_mask(Dialect::Keras3, class, &[masked, plain]));
        assert!(has_mask(Dialect::Keras2, class, &[masked, plain]));
    }
    assert!(has_mask(Dialect::Keras3, "Concatenate", &[plain, masked]));
    // Keras 3 keeps what is not masked in one of the tensors.
    assert_eq!(merge(Dialect::Keras3, "Maximum", &[masked, masked]).unwrap().count("SelectV2"), 2);
    assert_eq!(merge(Dialect::Keras2, "Maximum", &[masked, masked]).unwrap().count("SelectV2"), 0);
}

#[test]
fn dot_contracts_any_axes() {
    let dot = |axes: Value, x: &[i64], y: &[i64]| {
        let inputs = [(F, x, false), (F, y, false)];
        call(Dialect::Keras3, "Dot", &json!({"axes": axes}), &inputs, true, &[]).map(|it| it.shapes[0].clone())
    };
    assert_eq!(dot(json!(1), &[-1, 6], &[-1, 6]).unwrap(), "[?,1]");
    assert_eq!(dot(json!([2, 1]), &[-1, 4, 6], &[-1, 6, 5]).unwrap(), "[?,4,5]");
    assert_eq!(dot(json!([3, 1]), &[-1, 2, 4, 6], &[-1, 6, 3, 5]).unwrap(), "[?,2,4,3,5]");
    assert!(dot(json!(0), &[-1, 6], &[-1, 6]).is_err());
    assert!(dot(json!([1, 2, 3]), &[-1, 6], &[-1, 6]).is_err());
}

fn attention(dialect: Dialect, config: &Value, keyword: &[(&str, Value)]) -> Result<Emitted> {
    let inputs = [(F, &[-1, 5, 8][..], true), (F, &[-1, 7, 8], true)];
    call(dialect, "MultiHeadAttention", config, &inputs, false, keyword)
}

#[test]
fn heads_have_folders_of_their_own() {
    let config = json!({"num_heads": 2, "key_dim": 3, "value_dim": 4, "use_bias": false});
    let emitted = attention(Dialect::Keras3, &config, &[]).unwrap();
    assert_eq!(
        emitted.weights,
        [
            "layer/query_dense/0 kernel [8, 2, 3]",
            "layer/key_dense/0 kernel [8, 2, 3]",
            "layer/value_dense/0 kernel [8, 2, 4]",
            "layer/output_dense/0 kernel [2, 4, 8]",
        ]
    );
    assert_eq!((emitted.shapes[0].as_str(), emitted.masked[0]), ("[?,5,8]", true));
}

#[test]
fn attention_of_keras3_takes_masks_away() {
    let config = json!({"num_heads": 2, "key_dim": 3});
    let is_unmasked = |dialect| {
        let emitted = attention(dialect, &config, &[]).unwrap();
        emitted.inputs.iter().map(|input| emitted.shared.is_unmasked(input)).collect::<Vec<_>>()
    };
    assert_eq!(is_unmasked(Dialect::Keras3), [true, true]);
    assert_eq!(is_unmasked(Dialect::Keras2), [false, false]);
}

#[test]
fn scores_and_causality_are_arguments() {
    let config = json!({"num_heads": 2, "key_dim": 3});
    let arguments = [("return_attention_scores", json!(true)), ("use_causal_mask", json!(true))];
    for dialect in [Dialect::Keras2, Dialect::Keras3] {
        let emitted = attention(dialect, &config, &arguments).unwrap();
        assert_eq!(emitted.shapes, ["[?,5,8]", "[?,2,5,7]"]);
        assert_eq!((emitted.masked.as_slice(), emitted.count("GreaterEqual")), (&[true, false][..], 1));
    }
    assert!(attention(Dialect::Keras2, &config, &[("training", json!(true))]).is_ok());
    let config = json!({"num_heads": 2, "key_dim": 3, "dropout": 0.5});
    assert!(attention(Dialect::Keras2, &config, &[("training", json!(true))]).is_err());
}

#[test]
fn odd_attention_is_refused() {
    let reason = |config: Value| attention(Dialect::Keras3, &config, &[]).unwrap_err().to_string();
    assert_eq!(reason(json!({"num_heads": 0, "key_dim": 3})), "`num_heads` is 0");
    assert_eq!(reason(json!({"key_dim": 3})), "its config has no `num_heads`");
    assert_eq!(
        reason(json!({"num_heads": 1, "key_dim": 3, "frob": 1})),
        "its config has the key `frob`, which is unknown for this class"
    );
    assert_eq!(
        reason(json!({"num_heads": 1, "key_dim": 3, "attention_axes": [0]})),
        "`attention_axes` do not fit inputs of rank 3"
    );
    let config = json!({"head_dim": 2, "num_query_heads": 3, "num_key_value_heads": 2});
    let inputs = [(F, &[-1, 5, 8][..], false), (F, &[-1, 7, 8], false)];
    let error = call(Dialect::Keras3, "GroupQueryAttention", &config, &inputs, false, &[]).unwrap_err();
    assert_eq!(error.to_string(), "`num_query_heads` 3 is no multiple of 2");
}

#[test]
fn low_rank_adaptations_are_merged_into_kernels_of_keras_files() {
    let config = json!({"units": 4, "lora_rank": 2});
    let emitted = call(Dialect::Keras3, "Dense", &config, &[(F, &[-1, 6], false)], false, &[]).unwrap();
    assert_eq!(emitted.weights, ["layer/0 kernel [6, 4]", "layer/1 bias [4]"]);
}

#[test]
fn quantized_kernels_have_scales() {
    let weights = |policy: Value, mut config: Value| {
        config["dtype"] = json!({"class_name": "QuantizedDTypePolicy", "config": policy});
        call(Dialect::Keras3, "Dense", &config, &[(F, &[-1, 6], false)], false, &[]).unwrap().weights
    };
    let int8 = weights(json!({"mode": "int8", "source_name": "float32"}), json!({"units": 4}));
    assert_eq!(int8, ["layer/0 kernel [6, 4]", "layer/1 bias [4]", "layer/2 kernel_scale [4]"]);
    let config = json!({"units": 5, "use_bias": false});
    let int4 = weights(json!({"mode": "int4/4", "source_name": "float32"}), config);
    assert_eq!(
        int4,
        ["layer/0 kernel [6, 3]", "layer/1 kernel_scale [2, 5]", "layer/2 kernel_zero [2, 5]", "layer/3 g_idx [6]",]
    );
}

#[test]
fn activations_may_be_layers_with_variables() {
    let prelu = json!({"class_name": "PReLU", "config": {"name": "p_re_lu", "trainable": true, "shared_axes": [1]}});
    let config = json!({"units": 4, "activation": prelu, "use_bias": false});
    let emitted = call(Dialect::Keras3, "Dense", &config, &[(F, &[-1, 5, 6], false)], false, &[]).unwrap();
    assert_eq!(emitted.weights, ["layer/0 kernel [6, 4]", "layer/activation/0 alpha [1, 4]"]);
}
