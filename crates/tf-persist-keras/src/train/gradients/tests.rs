//! What rules add to a graph.

use std::rc::Rc;

use tf_persist_savedmodel::DType;

use super::step::is_of_sizes;
use super::{Gradient, gradients};
use crate::graph::{Graph, Node, Op, Program, Shape, TensorRef};

fn ops(graph: &Graph) -> Vec<&'static str> {
    graph.nodes().iter().filter_map(|node| if let Op::Named(op) = node.op { Some(op) } else { None }).collect()
}

fn rows(graph: &Graph) -> TensorRef {
    graph.argument("x", DType::Float32, Shape::new([None, Some(3)])).unwrap()
}

/// The gradient of a loss with respect to `x`.
fn gradient(graph: &Graph, loss: &TensorRef, x: &TensorRef) -> TensorRef {
    match gradients(graph, loss, std::slice::from_ref(x)).unwrap().remove(0) {
        Some(Gradient::Dense(gradient)) => gradient,
        other => panic!("{other:?}"),
    }
}

#[test]
fn constants_of_squares_wait_for_the_gradient() {
    let graph = Graph::new(&Program::new());
    let x = rows(&graph);
    let loss = graph.sum(&graph.square(&graph.tanh(&x).unwrap()).unwrap(), &[0, 1], false).unwrap();
    gradient(&graph, &loss, &x);
    let nodes: Rc<[Node]> = graph.nodes().into();
    let waiting: Vec<&Node> = nodes.iter().filter(|node| !node.control.is_empty()).collect();
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].op, Op::Named("Const"));
    let product = nodes.iter().rfind(|node| node.inputs.iter().any(|it| it.node == waiting[0].control[0])).unwrap();
    assert_eq!(product.op, Op::Named("Mul"));
}

#[test]
fn means_of_rows_are_divided_where_the_gradient_is_constant() {
    let graph = Graph::new(&Program::new());
    let x = rows(&graph);
    // Of the loss itself.
    let mean = graph.mean(&x, &[0], false).unwrap();
    let loss = graph.sum(&mean, &[0], false).unwrap();
    gradient(&graph, &loss, &x);
    assert!(ops(&graph).contains(&"RealDiv") && !ops(&graph).contains(&"Reciprocal"));
    // Of what depends on values.
    let loss = graph.sum(&graph.square(&mean).unwrap(), &[0], false).unwrap();
    gradient(&graph, &loss, &x);
    assert!(ops(&graph).contains(&"Reciprocal"));
}

#[test]
fn sizes_are_no_values() {
    let graph = Graph::new(&Program::new());
    let x = rows(&graph);
    let ones = graph.ones_like(&x).unwrap();
    assert!(is_of_sizes(&graph, &graph.sum(&ones, &[0, 1], false).unwrap()));
    assert!(!is_of_sizes(&graph, &graph.add_v2(&ones, &x).unwrap()));
}
