//! The nodes that a run needs.

use std::collections::{HashMap, HashSet};

use super::{GraphView, IndexedGraph, NodeView, source};
use crate::graph::node_of;

/// The nodes at the top that these nodes or tensors need, including themselves. Functions are not followed.
pub(crate) fn reachable_nodes<'a>(graph: GraphView<'a>, from: impl IntoIterator<Item = &'a str>) -> HashSet<&'a str> {
    let nodes: HashMap<&str, NodeView<'_>> = graph.nodes().map(|node| (node.name, node)).collect();
    let mut todo: Vec<&str> = from.into_iter().map(node_of).collect();
    let mut seen = HashSet::new();
    while let Some(name) = todo.pop() {
        if seen.insert(name) {
            todo.extend(nodes.get(name).into_iter().flat_map(|node| node.inputs()).map(node_of));
        }
    }
    seen
}

/// Finds a node with `is_wanted` among those that TensorFlow would run to fetch these nodes, including nodes of
/// functions. Nodes that are fed do not run.
pub(crate) fn find_reachable<'g, 'a>(
    graph: &'g IndexedGraph<'a>,
    fed: &HashSet<&str>,
    fetched: &[&str],
    is_wanted: impl Fn(&NodeView<'a>) -> bool,
) -> Option<&'g NodeView<'a>> {
    let nodes: HashMap<&str, &NodeView<'_>> = graph.nodes.iter().map(|node| (node.name, node)).collect();
    let functions: HashMap<&str, &[NodeView<'_>]> =
        graph.functions.iter().map(|function| (function.name, function.nodes.as_slice())).collect();
    let is_at_top = |node: &NodeView<'_>| nodes.get(node.name).is_some_and(|known| known.is(node));
    let mut todo: Vec<&NodeView<'_>> = fetched.iter().filter_map(|name| nodes.get(name).copied()).collect();
    let mut seen = HashSet::new();
    let mut entered: HashSet<&str> = HashSet::new();
    while let Some(node) = todo.pop() {
        if !seen.insert(node.address()) || fed.contains(node.name) && is_at_top(node) {
            continue;
        }
        if is_wanted(node) {
            return Some(node);
        }
        // TensorFlow runs all nodes of a function that have an effect.
        for (name, body) in node.calls().filter_map(|name| functions.get_key_value(name)) {
            if entered.insert(name) {
                todo.extend(body.iter());
            }
        }
        if is_at_top(node) {
            todo.extend(node.inputs().filter_map(|input| nodes.get(source(input).0).copied()));
        }
    }
    None
}
