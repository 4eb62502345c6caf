//! Variables that several nodes hold: TensorFlow knows them by their shared name, and not by the nodes'.

use std::collections::HashMap;

use tf_persist_proto::tensorflow as pb;

use crate::graph::{Graph, Reach, is_variable};

/// The nodes that hold each variable.
pub(super) struct Aliases<'a>(HashMap<(&'a [u8], &'a [u8]), Vec<usize>>);

impl<'a> Aliases<'a> {
    pub(super) fn of(graph: &Graph<'a>) -> Self {
        let mut nodes: HashMap<_, Vec<usize>> = HashMap::new();
        for (place, node) in graph.nodes.iter().enumerate().filter(|(_, node)| is_variable(node)) {
            nodes.entry(identity(node)).or_default().push(place);
        }
        Self(nodes)
    }

    /// Whether one of the nodes that hold the same variable is reached.
    pub(super) fn is_reached(&self, graph: &Graph<'a>, reach: &Reach, holder: &str) -> bool {
        let Some(node) = graph.node(holder).filter(|node| is_variable(node)) else { return false };
        self.0.get(&identity(node)).is_some_and(|places| places.iter().any(|place| reach.has_place(*place)))
    }
}

/// Container and shared name; without one it is the node's own.
fn identity(node: &pb::NodeDef) -> (&[u8], &[u8]) {
    let text = |name: &str| node.attr.get(name).map_or(&[][..], |value| value.s());
    let shared = text("shared_name");
    (text("container"), if shared.is_empty() { node.name.as_bytes() } else { shared })
}
