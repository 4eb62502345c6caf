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

/// A loop that multiplies the rows of `x` with those of a sequence.
fn products(graph: &Graph, x: &TensorRef, keep: bool) -> TensorRef {
    let sequence = graph.argument("sequence", DType::Float32, Shape::new([None, None, Some(3)])).unwrap();
    let (count, list) = (graph.dim_of(&sequence, 0).unwrap(), graph.list_from_tensor(&sequence).unwrap());
    let element = Shape::new([None, Some(3)]);
    let variables = [graph.scalar_i32(0).unwrap(), graph.tanh(x).unwrap()];
    let results = graph.loop_of(
        "products",
        &variables,
        None,
        keep,
        |inner, values| inner.less(&values[0], &count),
        |inner, values| {
            let row = inner.list_get(&list, &values[0], DType::Float32, &element)?;
            Ok(vec![inner.add_v2(&values[0], &inner.scalar_i32(1)?)?, inner.mul(&values[1], &row)?])
        },
    );
    graph.sum(&results.unwrap()[1], &[0, 1], false).unwrap()
}

#[test]
fn loops_run_in_reverse() {
    let program = Program::new();
    let graph = Graph::new(&program);
    let x = rows(&graph);
    let loss = products(&graph, &x, true);
    assert_eq!(gradient(&graph, &loss, &x).shape, x.shape);
    assert_eq!(ops(&graph).iter().filter(|op| **op == "While").count(), 2);
    let library = program.library.borrow();
    let body = ops(&library.iter().rfind(|function| function.name.starts_with("gradient_body")).unwrap().graph);
    let count = |op: &str| body.iter().filter(|name| **name == op).count();
    // The kept values of both variables; the step again, and its gradient.
    assert_eq!((count("TensorListPopBack"), count("TensorListGetItem"), count("Mul")), (2, 1, 2));
}

#[test]
fn gradients_of_a_sequence_are_a_sequence() {
    let graph = Graph::new(&Program::new());
    let loss = products(&graph, &rows(&graph), true);
    let sequence = graph.arguments()[1].clone();
    let gradient = gradient(&graph, &loss, &sequence);
    assert_eq!(gradient.shape, sequence.shape);
    graph.with_nodes(|nodes| assert_eq!(nodes[gradient.node].op, Op::Named("TensorListStack")));
}

#[test]
fn loops_without_kept_values_are_refused() {
    let graph = Graph::new(&Program::new());
    let x = rows(&graph);
    let loss = products(&graph, &x, false);
    let error = gradients(&graph, &loss, std::slice::from_ref(&x)).unwrap_err().to_string();
    assert_eq!(error, "the gradient of `While`: it does not keep the values of its variables");
}

#[test]
fn operators_have_a_scope_of_their_own() {
    let graph = Graph::new(&Program::new());
    let x = rows(&graph);
    let loss = graph.scoped("dense", || {
        let product = graph.mul(&graph.tanh(&x)?, &graph.exp(&x)?)?;
        graph.sum(&product, &[0, 1], false)
    });
    gradient(&graph, &loss.unwrap(), &x);
    let names: Vec<String> = graph.nodes().into_iter().map(|node| node.name).collect();
    assert!(names.iter().any(|name| name == "gradients/dense/mul/Mul"), "{names:?}");
    assert!(names.iter().any(|name| name == "gradients/dense/TanhGrad"), "{names:?}");
}
