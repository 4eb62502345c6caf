//! Assertions of a graph are dropped, where a user gave them up. An input that they would have refused is answered
//! then.

use tf_persist_proto::tensorflow as pb;

use crate::graph::is_control;

/// Replaces the assertions of a graph and its functions by nodes that do nothing but wait for what they waited for.
/// Returns how many.
pub(super) fn drop_asserts(graph: &mut pb::GraphDef) -> usize {
    let functions = graph.library.as_mut().into_iter().flat_map(|library| &mut library.function);
    let nodes = graph.node.iter_mut().chain(functions.flat_map(|function| &mut function.node_def));
    let mut dropped = 0;
    for node in nodes.filter(|node| node.op == "Assert") {
        node.op = "NoOp".into();
        node.input.retain(|input| is_control(input));
        node.attr.clear();
        dropped += 1;
    }
    dropped
}
