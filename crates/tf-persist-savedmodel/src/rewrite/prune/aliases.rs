//! Variables that several nodes hold. TensorFlow identifies them by the shared name, not by the node.

use std::collections::HashMap;

use crate::graph::{Graph, Reachable, is_variable, variable_identity};

/// The nodes that hold each variable.
pub(super) struct Aliases<'a>(HashMap<(&'a [u8], &'a [u8]), Vec<usize>>);

impl<'a> Aliases<'a> {
    pub(super) fn new(graph: &Graph<'a>) -> Self {
        let mut nodes: HashMap<_, Vec<usize>> = HashMap::new();
        for (index, node) in graph.nodes.iter().enumerate().filter(|(_, node)| is_variable(node)) {
            nodes.entry(variable_identity(node)).or_default().push(index);
        }
        Self(nodes)
    }

    /// Whether one of the nodes that hold the same variable is reached.
    pub(super) fn is_reached(&self, graph: &Graph<'a>, reach: &Reachable, holder: &str) -> bool {
        let Some(node) = graph.node(holder).filter(|node| is_variable(node)) else { return false };
        self.0.get(&variable_identity(node)).is_some_and(|indices| indices.iter().any(|index| reach.has_index(*index)))
    }
}
