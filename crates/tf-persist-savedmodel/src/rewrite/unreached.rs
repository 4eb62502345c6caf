//! Nodes and functions that nothing needs any longer.

use std::collections::BTreeSet;

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::meta_graph::collection_def::Kind;

use crate::graph::{Graph, Reachable, node_of};
use crate::rewrite::outputs;
use crate::rewrite::prune::{drop_colocations, nodes_of_variables, signature_tensors};

/// The tensors and nodes that are asked for by name: by signatures, assets and collections.
pub(crate) fn asked(definition: &pb::MetaGraphDef) -> Vec<String> {
    let mut asked: Vec<String> = definition.signature_def.values().flat_map(signature_tensors).collect();
    asked.extend(nodes_of_variables(definition, |_| true));
    asked.extend(definition.asset_file_def.iter().map(|file| file.tensor_info.name().to_owned()));
    for collection in definition.collection_def.values() {
        if let Some(Kind::NodeList(list)) = &collection.kind {
            asked.extend(list.value.iter().cloned());
        }
    }
    asked
}

/// Removes nodes and functions that are no longer needed: savers, initialisers and original functions.
pub(crate) fn drop_unreached(definition: &mut pb::MetaGraphDef) {
    let (nodes, functions) = {
        let graph = Graph::new(&definition.graph_def);
        let asked = asked(definition);
        let reach = Reachable::new(&graph, asked.iter().map(String::as_str));
        (
            graph.nodes.iter().enumerate().map(|(index, _)| reach.has_index(index)).collect::<Vec<_>>(),
            reach.functions().clone(),
        )
    };
    let graph = definition.graph_def.mut_or_insert_default();
    let mut nodes = nodes.into_iter();
    let before = graph.node.len();
    graph.node.retain(|_| nodes.next().unwrap_or(true));
    if graph.node.len() < before {
        let left: BTreeSet<String> = graph.node.iter().map(|node| node.name.clone()).collect();
        graph.node.iter_mut().for_each(|node| drop_colocations(node, &left));
    }
    if let Some(library) = graph.library.as_mut() {
        library.function.retain(|function| functions.contains(&function.signature.name));
    }
}

/// Whether a tensor that is asked for is in one graph, and no longer in another.
pub(super) fn loses_outputs(before: &pb::MetaGraphDef, after: &pb::MetaGraphDef) -> bool {
    let (graph_before, graph_after) = (Graph::new(&before.graph_def), Graph::new(&after.graph_def));
    asked(before).iter().any(|tensor| has_tensor(&graph_before, tensor) && !has_tensor(&graph_after, tensor))
}

/// Whether a graph has a tensor or a node of this name. An op that is not known has every output.
fn has_tensor(graph: &Graph<'_>, tensor: &str) -> bool {
    let Some(node) = graph.node(tensor) else { return false };
    let index = tensor.strip_prefix(node_of(tensor)).and_then(|rest| rest.strip_prefix(':')?.parse::<usize>().ok());
    index.is_none_or(|index| outputs::count(node).is_none_or(|count| index < count))
}
