//! Control edges from nodes without an effect are dropped: to wait for them changes nothing. The reads of variables
//! that became constants leave many, and they keep weights alive that were folded into others.

use std::collections::HashMap;

use tf_persist_proto::tensorflow as pb;

use super::effects::{ActingFunctions, has_control_flow};
use crate::graph::{is_control, node_of};

/// Drops control edges at the top of a graph whose source and all that it depends on only compute.
pub(super) fn drop_dead_edges(graph: &mut pb::GraphDef) {
    // What waits for a node in a branch that is not taken does not run either.
    if has_control_flow(&graph.node) {
        return;
    }
    let acts = acting(&graph.node, &ActingFunctions::new(&graph.library.function));
    let index = positions(&graph.node);
    let is_dead: Vec<Vec<bool>> = graph
        .node
        .iter()
        .map(|node| {
            let dead = |input: &String| is_control(input) && index.get(node_of(input)).is_some_and(|at| !acts[*at]);
            node.input.iter().map(dead).collect()
        })
        .collect();
    for (node, is_dead) in graph.node.iter_mut().zip(is_dead) {
        let mut is_dead = is_dead.into_iter();
        node.input.retain(|_| !is_dead.next().unwrap_or(false));
    }
}

fn positions(nodes: &[pb::NodeDef]) -> HashMap<&str, usize> {
    nodes.iter().enumerate().map(|(at, node)| (node.name.as_str(), at)).collect()
}

/// Of each node, whether it or one that it depends on may do more than compute.
fn acting(nodes: &[pb::NodeDef], functions: &ActingFunctions<'_>) -> Vec<bool> {
    let index = positions(nodes);
    let mut takers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        for source in node.input.iter().filter_map(|input| index.get(node_of(input))) {
            takers[*source].push(at);
        }
    }
    let mut acts: Vec<bool> = nodes.iter().map(|node| functions.acts(node)).collect();
    let mut todo: Vec<usize> = (0..nodes.len()).filter(|at| acts[*at]).collect();
    while let Some(at) = todo.pop() {
        for taker in &takers[at] {
            if !std::mem::replace(&mut acts[*taker], true) {
                todo.push(*taker);
            }
        }
    }
    acts
}
