//! Control edges from nodes without an effect are dropped: to wait for them changes nothing. The reads of variables
//! that became constants leave many, and they keep weights alive that were folded into others.
//!
//! A node that has an effect still waits for those that may fail: it must not run for a request that is refused.

use std::collections::HashMap;

use tf_persist_proto::tensorflow as pb;

use super::effects::{ActingFunctions, has_control_flow};
use crate::graph::{is_control, node_of};

/// Ops that cannot fail.
const NEVER_FAIL: [&str; 6] = ["Const", "Identity", "IdentityN", "NoOp", "Placeholder", "PlaceholderWithDefault"];

/// Drops control edges at the top of a graph whose source and all that it depends on only compute.
pub(super) fn drop_dead_edges(graph: &mut pb::GraphDef) {
    // What waits for a node in a branch that is not taken does not run either.
    if has_control_flow(&graph.node) {
        return;
    }
    let functions = ActingFunctions::new(&graph.library.function);
    let index = positions(&graph.node);
    let takers = takers(&graph.node, &index);
    let marked = |is_first: &dyn Fn(&pb::NodeDef) -> bool| graph.node.iter().map(is_first).collect::<Vec<bool>>();
    // Of each node, whether it or one that it depends on may do more than compute, or may fail.
    let effects = marked(&|node| functions.acts(node));
    let acts = spread(effects.clone(), |at| takers[at].clone());
    let may_fail = spread(marked(&|node| !NEVER_FAIL.contains(&node.op.as_str())), |at| takers[at].clone());
    // Whether one that depends on it may do more than compute.
    let sources = |at: usize| {
        let inputs = graph.node[at].input.iter();
        inputs.filter_map(|input| index.get(node_of(input)).copied()).collect::<Vec<_>>()
    };
    let leads_to_effect = spread(effects, sources);
    let is_dead = |input: &str, taker: usize| {
        let source = index.get(node_of(input)).copied().filter(|_| is_control(input));
        source.is_some_and(|source| !(acts[source] || may_fail[source] && leads_to_effect[taker]))
    };
    let is_dead: Vec<Vec<bool>> = graph
        .node
        .iter()
        .enumerate()
        .map(|(taker, node)| node.input.iter().map(|input| is_dead(input, taker)).collect())
        .collect();
    for (node, is_dead) in graph.node.iter_mut().zip(is_dead) {
        let mut is_dead = is_dead.into_iter();
        node.input.retain(|_| !is_dead.next().unwrap_or(false));
    }
}

fn positions(nodes: &[pb::NodeDef]) -> HashMap<&str, usize> {
    nodes.iter().enumerate().map(|(at, node)| (node.name.as_str(), at)).collect()
}

/// The nodes that take something of each node, or wait for it.
fn takers(nodes: &[pb::NodeDef], index: &HashMap<&str, usize>) -> Vec<Vec<usize>> {
    let mut takers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        for source in node.input.iter().filter_map(|input| index.get(node_of(input))) {
            takers[*source].push(at);
        }
    }
    takers
}

/// Marks also the nodes that are next to marked ones.
fn spread(mut marks: Vec<bool>, next: impl Fn(usize) -> Vec<usize>) -> Vec<bool> {
    let mut todo: Vec<usize> = (0..marks.len()).filter(|at| marks[*at]).collect();
    while let Some(at) = todo.pop() {
        for other in next(at) {
            if !std::mem::replace(&mut marks[other], true) {
                todo.push(other);
            }
        }
    }
    marks
}
