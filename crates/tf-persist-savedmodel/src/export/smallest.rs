//! Graphs that are too small for TensorFlow to be optimised.

use tf_persist_proto::tensorflow as pb;

use crate::graph::{Graph, arguments, attr, free_name};

/// TensorFlow's optimiser leaves graphs of fewer nodes alone (`kDefaultMinGraphNodes` in
/// `tensorflow/core/grappler/optimizers/meta_optimizer.cc`).
const OPTIMISED_FROM: usize = 4;

/// Adds nodes that do nothing to a graph that would not be optimised without them. A call that is not inlined takes twice as long as a
/// small function.
pub(super) fn enlarge(definition: &mut pb::MetaGraphDef) {
    let graph = Graph::new(&definition.graph_def);
    let calls = graph.nodes.iter().any(|node| arguments(node, &graph).is_some());
    let lacking = OPTIMISED_FROM.saturating_sub(graph.nodes.len());
    if !calls || lacking == 0 {
        return;
    }
    let name =
        free_name("enough_to_optimise", |name| (0..lacking).any(|n| graph.node(&format!("{name}_{n}")).is_some()));
    let nodes = (0..lacking).map(|number| attr::node(format!("{name}_{number}"), "NoOp", &[], [])).collect::<Vec<_>>();
    definition.graph_def.mut_or_insert_default().node.extend(nodes);
}
