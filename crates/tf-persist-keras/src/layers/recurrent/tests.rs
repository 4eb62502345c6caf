use std::rc::Rc;

use serde_json::{Value, json};
use tf_persist_savedmodel::DType;

use crate::config::Dialect;
use crate::graph::{Graph, Op, Program, Shape};
use crate::layers::{Argument, Arguments, Context, Masked, Shared};
use crate::parse::Parser;
use crate::reason::{Reason, Result};

/// What a call of a layer adds.
#[derive(Debug)]
struct Emitted {
    shapes: Vec<String>,
    masked: Vec<bool>,
    /// The folders of the variables.
    weights: Vec<String>,
    graph: Graph,
    program: Rc<Program>,
}

impl Emitted {
    fn count(&self, op: &str) -> usize {
        self.graph.nodes().iter().filter(|node| matches!(node.op, Op::Named(name) if name == op)).count()
    }

    fn count_in_loops(&self, op: &str) -> usize {
        let count = |graph: &Graph| {
            graph.nodes().iter().filter(|node| matches!(node.op, Op::Named(name) if name == op)).count()
        };
        self.program.library.borrow().iter().map(|function| count(&function.graph)).sum()
    }
}

fn shape(dims: &[i64]) -> Shape {
    Shape::new(dims.iter().map(|dim| u64::try_from(*dim).ok()).collect::<Vec<_>>())
}

/// Calls a layer with an input of this shape and perhaps a mask of it, and with states.
fn call(dialect: Dialect, class: &str, config: Value, input: &[i64], mask: bool, states: usize) -> Result<Emitted> {
    called(dialect, class, config, input, mask, states, false)
}

fn called(
    dialect: Dialect,
    class: &str,
    config: Value,
    input: &[i64],
    mask: bool,
    states: usize,
    training: bool,
) -> Result<Emitted> {
    let mut parser = Parser::new(dialect);
    let layer = parser
        .layer(&json!({"class_name": class, "config": config}))
        .map_err(|reason| parser.findings().first().map_or(reason, |finding| Reason::new(finding.reason.clone())))?;
    let program = Program::new();
    let graph = Graph::new(&program);
    let shared = Shared::default();
    let tensor = graph.argument("x", DType::Float32, shape(input))?;
    let mask = mask.then(|| graph.argument("mask", DType::Bool, shape(&input[..2]))).transpose()?;
    let mut first = vec![Argument::Tensor(Masked { tensor, mask })];
    for _ in 0..states {
        first.push(graph.argument("state", DType::Float32, shape(&[-1, 4]))?.into());
    }
    let first = if states == 0 { first.remove(0) } else { Argument::List(first) };
    let mut cx = Context::new(&graph, dialect, &shared).child(&["layers"], &layer.name);
    cx.training = training;
    let result = layer.call(&cx, Arguments::new(vec![first], Vec::new()))?;
    let tensors = result.tensors();
    let weight = |weight: &crate::layers::Weight| {
        let folders = weight.place.folders.iter().map(|names| names[0].as_str()).collect::<Vec<_>>().join("/");
        let saved = if weight.is_saved { "" } else { " memory" };
        format!("{folders}/{} {} {:?}{saved}", weight.index, weight.name, weight.shape)
    };
    let shapes = tensors.iter().map(|tensor| tensor.shape.to_string()).collect();
    let masked = tensors.iter().map(|tensor| tensor.mask.is_some()).collect();
    let weights = shared.weights.borrow().iter().map(weight).collect();
    Ok(Emitted { shapes, masked, weights, graph, program })
}

fn keras3(class: &str, config: Value, input: &[i64]) -> Result<Emitted> {
    call(Dialect::Keras3, class, config, input, false, 0)
}

fn lstm(more: Value) -> Value {
    let mut config = json!({"name": "lstm", "units": 4, "trainable": true});
    if let (Value::Object(config), Value::Object(more)) = (&mut config, more) {
        config.extend(more);
    }
    config
}

#[test]
fn lstm_gives_output_and_states() {
    let made = keras3("LSTM", lstm(json!({"return_state": true, "return_sequences": true})), &[-1, -1, 3]).unwrap();
    assert_eq!(made.shapes, ["[?,?,4]", "[?,4]", "[?,4]"]);
    let weights = ["layers/cell/0 kernel [3, 16]", "layers/cell/1 recurrent_kernel [4, 16]", "layers/cell/2 bias [16]"];
    assert_eq!(made.weights, weights);
    assert_eq!(
        (made.count("While"), made.count_in_loops("MatMul"), made.count_in_loops("TensorListSetItem")),
        (1, 2, 1)
    );
}

#[test]
fn last_output_needs_no_list() {
    let made = keras3("GRU", lstm(json!({})), &[2, 5, 3]).unwrap();
    assert_eq!(made.shapes, ["[2,4]"]);
    assert_eq!((made.count("TensorListReserve"), made.count("TensorListStack")), (0, 0));
}

#[test]
fn unrolled_steps_stand_one_by_one() {
    let config = lstm(json!({"unroll": true, "return_sequences": true}));
    let made = call(Dialect::Keras3, "SimpleRNN", config.clone(), &[-1, 5, 3], true, 0).unwrap();
    assert_eq!((made.count("While"), made.count("MatMul"), made.count("SelectV2")), (0, 10, 10));
    assert_eq!((made.shapes, made.masked), (vec!["[?,5,4]".to_owned()], vec![true]));
    let error = keras3("SimpleRNN", config.clone(), &[-1, -1, 3]).unwrap_err().to_string();
    assert_eq!(error, "`unroll` needs a fixed number of steps");
    let error = keras3("SimpleRNN", config, &[-1, 5000, 3]).unwrap_err().to_string();
    assert_eq!(error, "`unroll` for 5000 steps is not supported: at most 4096 steps are unrolled");
}

#[test]
fn masks_pass_with_sequences_only() {
    let masked = |config| call(Dialect::Keras3, "LSTM", config, &[-1, 5, 3], true, 0).unwrap().masked;
    assert_eq!(masked(lstm(json!({}))), [false]);
    assert_eq!(masked(lstm(json!({"return_sequences": true, "return_state": true}))), [true, false, false]);
}

#[test]
fn states_may_come_behind_the_sequence() {
    let made = call(Dialect::Keras2, "LSTM", lstm(json!({"time_major": false})), &[-1, 5, 3], false, 2).unwrap();
    assert_eq!((made.shapes, made.graph.arguments().len()), (vec!["[?,4]".to_owned()], 3));
    let error = call(Dialect::Keras2, "LSTM", lstm(json!({})), &[-1, 5, 3], false, 1).unwrap_err().to_string();
    assert_eq!(error, "it has 2 states, and is called with 1 initial ones");
}

#[test]
fn stateful_layers_keep_their_states_in_variables() {
    let config = lstm(json!({"stateful": true}));
    let made = keras3("LSTM", config.clone(), &[2, 5, 3]).unwrap();
    assert_eq!(made.count("AssignVariableOp"), 2);
    assert_eq!(made.weights[3..], ["layers/0 rnn_state [2, 4] memory", "layers/0 rnn_state [2, 4] memory"]);
    let error = keras3("LSTM", config, &[-1, 5, 3]).unwrap_err().to_string();
    assert_eq!(error, "it is stateful, and the size of its batch is unknown");
}

#[test]
fn gru_has_the_biases_of_its_version() {
    let bias = |dialect, config| call(dialect, "GRU", config, &[-1, 5, 3], false, 0).unwrap().weights[2].clone();
    assert_eq!(bias(Dialect::Keras3, lstm(json!({}))), "layers/cell/2 bias [2, 12]");
    assert_eq!(bias(Dialect::Keras2, lstm(json!({}))), "layers/cell/2 bias [12]");
    assert_eq!(bias(Dialect::Keras2, lstm(json!({"reset_after": true}))), "layers/cell/2 bias [2, 12]");
    assert_eq!(bias(Dialect::Keras3, lstm(json!({"reset_after": false}))), "layers/cell/2 bias [12]");
}

#[test]
fn recurrent_dropout_implies_products_by_gate() {
    let products =
        |dialect, config| call(dialect, "LSTM", config, &[-1, 5, 3], false, 0).unwrap().count_in_loops("MatMul");
    assert_eq!(products(Dialect::Keras3, lstm(json!({"recurrent_dropout": 0.1}))), 8);
    assert_eq!(products(Dialect::Keras2, lstm(json!({"recurrent_activation": "sigmoid", "implementation": 1}))), 2);
    assert_eq!(products(Dialect::Keras2, lstm(json!({"activation": "relu", "implementation": 1}))), 8);
}

#[test]
fn masks_of_dropout_are_drawn_once_for_all_steps() {
    let drawn = |dialect, class: &str, config: Value, training| {
        let made = called(dialect, class, config, &[-1, 5, 3], false, 0, training).unwrap();
        (made.count("StatelessRandomUniformV2"), made.count_in_loops("MatMul"))
    };
    let rates = |input: f64, state: f64| lstm(json!({"dropout": input, "recurrent_dropout": state}));
    assert_eq!(drawn(Dialect::Keras3, "LSTM", rates(0.5, 0.0), false).0, 0);
    assert_eq!(drawn(Dialect::Keras3, "LSTM", rates(0.5, 0.0), true), (1, 2));
    // One for each gate.
    assert_eq!(drawn(Dialect::Keras3, "LSTM", rates(0.5, 0.5), true), (8, 8));
    assert_eq!(drawn(Dialect::Keras3, "GRU", rates(0.5, 0.5), true).0, 6);
    assert_eq!(drawn(Dialect::Keras3, "SimpleRNN", rates(0.5, 0.5), true).0, 2);
    // Only simple cells drop all.
    assert_eq!(drawn(Dialect::Keras3, "LSTM", rates(1.0, 0.0), true).0, 0);
}

#[test]
fn loops_keep_their_states_in_training() {
    let kept = |training| {
        let made = called(Dialect::Keras3, "LSTM", lstm(json!({})), &[-1, -1, 3], true, 0, training).unwrap();
        made.count_in_loops("TensorListPushBack")
    };
    // The step, the output before it, and two states.
    assert_eq!((kept(false), kept(true)), (0, 4));
}

#[test]
fn keras2_drops_by_step_where_cudnn_might_run() {
    let shapes = |config: Value| {
        let made = called(Dialect::Keras2, "LSTM", lstm(config), &[-1, 5, 3], false, 0, true).unwrap();
        let nodes = made.graph.nodes();
        let drawn = nodes.iter().filter(|node| node.op == Op::Named("StatelessRandomUniformV2"));
        drawn.map(|node| node.outputs[0].1.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(shapes(json!({"dropout": 0.5, "recurrent_activation": "sigmoid"})), ["[?,5,3]"]);
    assert_eq!(shapes(json!({"dropout": 0.5, "activation": "relu", "implementation": 2})), ["[?,3]"]);
}

#[test]
fn cudnn_layers_have_their_weights_themselves() {
    let config = json!({"name": "rnn", "units": 4});
    let made = call(Dialect::Keras2, "CuDNNLSTM", config.clone(), &[-1, 5, 3], false, 0).unwrap();
    assert_eq!(made.weights[2], "layers/2 bias [32]");
    let made = call(Dialect::Keras2, "CuDNNGRU", config.clone(), &[-1, 5, 3], false, 0).unwrap();
    assert_eq!(made.weights[2], "layers/2 bias [24]");
    let error = call(Dialect::Keras2, "CuDNNGRU", config, &[-1, 5, 3], true, 0).unwrap_err().to_string();
    assert_eq!(error, "its input has a mask, and layers for cuDNN take none");
}

#[test]
fn stacked_cells_have_folders_by_class() {
    let cell = |class: &str, units: u64| json!({"class_name": class, "config": {"name": class, "units": units, "trainable": true}});
    let cells = json!([cell("LSTMCell", 4), cell("GRUCell", 2), cell("LSTMCell", 3)]);
    let stacked = json!({"class_name": "StackedRNNCells", "config": {"name": "s", "trainable": true, "cells": cells}});
    let config = json!({"name": "rnn", "trainable": true, "cell": stacked, "return_state": true});
    let made = keras3("RNN", config, &[-1, 5, 3]).unwrap();
    assert_eq!(made.shapes, ["[?,3]", "[?,4]", "[?,4]", "[?,2]", "[?,3]", "[?,3]"]);
    let kernels: Vec<_> = made.weights.iter().filter(|weight| weight.contains(" kernel")).collect();
    let wanted = [
        "layers/cell/cells/lstm_cell/0 kernel [3, 16]",
        "layers/cell/cells/gru_cell/0 kernel [4, 6]",
        "layers/cell/cells/lstm_cell_1/0 kernel [2, 12]",
    ];
    assert_eq!(kernels, wanted);
}

#[test]
fn cells_must_be_cells() {
    let dense = json!({"class_name": "Dense", "config": {"name": "d", "units": 2, "trainable": true}});
    let error = keras3("RNN", json!({"name": "rnn", "trainable": true, "cell": dense}), &[-1, 5, 3]).unwrap_err();
    assert_eq!(error.to_string(), "its cell is a `Dense`, which is not supported");
}

fn bidirectional(layer: Value, more: Value) -> Value {
    let layer = json!({"class_name": "LSTM", "config": layer});
    let mut config = json!({"name": "bi", "trainable": true, "layer": layer});
    if let (Value::Object(config), Value::Object(more)) = (&mut config, more) {
        config.extend(more);
    }
    config
}

#[test]
fn bidirectional_merges_both_directions() {
    let made = |config| call(Dialect::Keras3, "Bidirectional", config, &[-1, 5, 3], true, 0);
    let seq = lstm(json!({"return_sequences": true, "trainable": true}));
    let all = made(bidirectional(seq.clone(), json!({}))).unwrap();
    assert_eq!((&all.shapes[..], &all.masked[..]), (&["[?,5,8]".to_owned()][..], &[true][..]));
    assert_eq!(all.weights[0], "layers/forward_layer/cell/0 kernel [3, 16]");
    assert_eq!(all.weights[3], "layers/backward_layer/cell/0 kernel [3, 16]");
    let none = made(bidirectional(seq.clone(), json!({"merge_mode": null}))).unwrap();
    assert_eq!(
        (&none.shapes[..], &none.masked[..]),
        (&["[?,5,4]".to_owned(), "[?,5,4]".to_owned()][..], &[true, true][..])
    );
    let sum = made(bidirectional(lstm(json!({"return_state": true})), json!({"merge_mode": "sum"}))).unwrap();
    assert_eq!((sum.shapes.len(), sum.masked[0]), (5, false));
    let error = made(bidirectional(seq.clone(), json!({"merge_mode": "max"}))).unwrap_err().to_string();
    assert_eq!(error, "`merge_mode` should be `concat`, `sum`, `ave`, `mul` or null");
    let same = json!({"backward_layer": {"class_name": "LSTM", "config": seq.clone()}});
    let error = made(bidirectional(seq, same)).unwrap_err().to_string();
    assert_eq!(error, "both of its layers have the same `go_backwards`");
}

fn distributed(layer: Value) -> Value {
    json!({"name": "td", "trainable": true, "layer": layer})
}

fn dense() -> Value {
    json!({"class_name": "Dense", "config": {"name": "dense", "units": 2, "trainable": true}})
}

#[test]
fn steps_are_called_one_by_one_or_as_a_batch() {
    let made = |dialect, input: &[i64]| call(dialect, "TimeDistributed", distributed(dense()), input, true, 0).unwrap();
    let by_step = made(Dialect::Keras3, &[-1, 5, 3]);
    assert_eq!((by_step.count("MatMul"), &by_step.shapes[..]), (5, &["[?,5,2]".to_owned()][..]));
    assert_eq!((&by_step.weights[0][..], by_step.masked[0]), ("layers/layer/0 kernel [3, 2]", true));
    for (dialect, input) in
        [(Dialect::Keras2, &[-1, 5, 3][..]), (Dialect::Keras3, &[-1, -1, 3]), (Dialect::Keras3, &[2, -1, 3])]
    {
        let batch = made(dialect, input);
        assert_eq!((batch.count("MatMul"), batch.masked[0]), (1, true));
        assert_eq!(batch.shapes, [shape(&[input[0], input[1], 2]).to_string()]);
    }
}

#[test]
fn too_many_steps_become_a_batch() {
    let inner = json!({"class_name": "TimeDistributed", "config": distributed(dense())});
    let made = keras3("TimeDistributed", distributed(inner), &[-1, 3000, 3000, 3]).unwrap();
    assert_eq!(made.shapes, ["[?,3000,3000,2]"]);
    assert!(made.graph.nodes().len() < 40_000, "{}", made.graph.nodes().len());
}
