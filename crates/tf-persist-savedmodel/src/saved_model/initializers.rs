//! Tables that the init op of a meta graph does not fill.

use super::{InitSource, MetaGraph, SavedModel};
use crate::graph::node_of;
use crate::graph::view::{GraphView, reachable_nodes};

/// Larger graphs are not searched for initializers that the init op leaves out.
const MAX_FOLLOWED: u64 = 2_000_000;

/// The initializers of tables that the init op does not run.
pub fn left_out_initializers<'m>(model: &'m SavedModel, meta_graph: &'m MetaGraph) -> Vec<&'m str> {
    let all: Vec<&str> = meta_graph.table_initializers().iter().map(String::as_str).collect();
    match meta_graph.init_op() {
        _ if all.is_empty() => all,
        None => all,
        // TensorFlow 2 fills tables in functions, not by the collections of TensorFlow 1.
        Some(init) if init.source == InitSource::Signature || meta_graph.nodes() > MAX_FOLLOWED => Vec::new(),
        Some(init) => {
            let reached = reachable_nodes(GraphView::new(model.meta_graph_bytes(meta_graph)), [&*init.operation]);
            all.into_iter().filter(|name| !reached.contains(node_of(name))).collect()
        }
    }
}
