//! Enlarges graphs that are too small for the optimiser of TensorFlow.

use tf_persist_proto::tensorflow as pb;

use crate::graph::{Graph, arguments, attr, free_name};

/// The optimiser of TensorFlow skips graphs with fewer nodes (`kDefaultMinGraphNodes` in
/// `tensorflow/core/grappler/optimizers/meta_optimizer.cc`).
const OPTIMISED_FROM: usize = 4;

/// Adds unused nodes to a graph that is too small to be optimised: a call that is not inlined takes longer than a small
/// function.
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
