//! Assertions of a graph are dropped, where a user gave them up. An input that they would have refused is answered
//! then.

use tf_persist_proto::tensorflow as pb;

use super::effects::has_control_flow;
use crate::graph::{is_control, node_of};

/// Replaces the assertions of a graph and its functions by nodes that do nothing but wait for what they waited for.
/// Returns how many.
pub(super) fn drop_asserts(graph: &mut pb::GraphDef) -> usize {
    let functions = graph.library.as_mut().into_iter().flat_map(|library| &mut library.function);
    let bodies = std::iter::once(&mut graph.node).chain(functions.map(|function| &mut function.node_def));
    bodies.map(|nodes| drop_asserts_of(nodes)).sum()
}

fn drop_asserts_of(nodes: &mut [pb::NodeDef]) -> usize {
    // Its inputs hold a node in its loop or branch.
    let stays_there = has_control_flow(nodes);
    let mut dropped = 0;
    for node in nodes.iter_mut().filter(|node| node.op == "Assert") {
        node.op = "NoOp".into();
        let (mut controls, tensors): (Vec<String>, Vec<String>) =
            std::mem::take(&mut node.input).into_iter().partition(|input| is_control(input));
        for control in tensors.iter().filter(|_| stays_there).map(|tensor| format!("^{}", node_of(tensor))) {
            if !controls.contains(&control) {
                controls.push(control);
            }
        }
        node.input = controls;
        node.attr.clear();
        dropped += 1;
    }
    dropped
}
