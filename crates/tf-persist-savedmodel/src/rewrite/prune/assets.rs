//! The asset files that a pruned graph needs.

use std::collections::{BTreeSet, HashSet};

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::saved_object_graph::saved_object::Kind;

use crate::graph::{Body, Graph, Reachable, arguments, tensor_of};

/// Ops that read only the file whose path they take.
const READERS: [&str; 3] = ["InitializeTableFromTextFile", "InitializeTableFromTextFileV2", "ReadFile"];

/// Marks all assets as reached, if the path of one may lead to others. Ops of decision forests read the folder of the
/// given file, and string ops may turn a path into another.
pub(super) fn require(definition: &pb::MetaGraphDef, graph: &Graph<'_>, reach: &mut Reachable) -> bool {
    let tensors = || definition.asset_file_def.iter().map(|file| file.tensor_info.name());
    let leads_on = tensors().any(|tensor| reach.has(graph, tensor) && leads_to_others(graph, reach, tensor));
    leads_on && reach.add_nodes(graph, tensors())
}

/// Whether the path of an asset is used in another way than to read this file.
fn leads_to_others(graph: &Graph<'_>, reach: &Reachable, asset: &str) -> bool {
    let top = Body::top(graph);
    // Tensors that hold the path: at the top (`None`), or in a function.
    let mut todo: Vec<(Option<&str>, String)> = vec![(None, tensor_of(asset).to_owned())];
    let mut seen: HashSet<(Option<&str>, String)> = todo.iter().cloned().collect();
    while let Some((function, tensor)) = todo.pop() {
        let inner = function.and_then(|name| graph.function(name)).map(Body::of_function);
        let body = inner.as_ref().unwrap_or(&top);
        let mut found: Vec<(Option<&str>, String)> = Vec::new();
        for &(index, position) in body.consumers(&tensor) {
            if function.is_none() && !reach.has_index(index) {
                continue;
            }
            let node = &body.nodes[index];
            if let Some(call) = arguments(node, graph) {
                let argument = position.checked_sub(call.first).filter(|_| call.are_single(graph));
                let Some(argument) = argument else { return true };
                for callee in call.functions.iter().filter_map(|name| graph.function(name)) {
                    if let Some(given) = callee.signature.input_arg.get(argument) {
                        found.push((Some(callee.signature.name.as_str()), given.name.clone()));
                    }
                }
                continue;
            }
            match (node.op.as_str(), position) {
                ("Identity", _) | ("ReadVariableOp", _) => found.push((function, body.output(node, 0))),
                // Readers of the variable get the path.
                ("AssignVariableOp", 1) => found.extend(node.input.first().map(|input| (function, input.clone()))),
                ("AssignVariableOp" | "VarIsInitializedOp", _) => {}
                (op, _) if READERS.contains(&op) => {}
                _ => return true,
            }
        }
        todo.extend(found.into_iter().filter(|it| seen.insert(it.clone())));
    }
    false
}

/// The asset files whose tensors are reached, the new index of each asset, and the names of files that are no longer
/// read.
pub(super) fn kept(
    definition: &pb::MetaGraphDef,
    graph: &Graph<'_>,
    reach: &Reachable,
) -> (Vec<pb::AssetFileDef>, Vec<Option<i32>>, BTreeSet<String>) {
    let (mut kept, mut indices, mut dropped) = (Vec::new(), Vec::new(), BTreeSet::new());
    let mut unknown = BTreeSet::new();
    for (index, file) in definition.asset_file_def.iter().enumerate() {
        let tensor = file.tensor_info.name();
        let is_there = graph.node_index(tensor).is_some();
        // An asset without a tensor in the graph may belong to the object graph.
        if reach.has(graph, tensor) || !is_there && is_an_object(definition, index) {
            indices.push(i32::try_from(kept.len()).ok());
            kept.push(file.clone());
        } else {
            indices.push(None);
            if is_there {
                dropped.insert(file.filename.clone())
            } else {
                unknown.insert(file.filename.clone())
            };
        }
    }
    dropped
        .retain(|name| !unknown.contains(name) && !kept.iter().any(|file: &pb::AssetFileDef| file.filename == *name));
    (kept, indices, dropped)
}

/// Whether the object graph names the asset of this number.
pub(super) fn is_an_object(definition: &pb::MetaGraphDef, index: usize) -> bool {
    definition.object_graph_def.nodes.iter().any(|object| match &object.kind {
        Some(Kind::Asset(asset)) => usize::try_from(asset.asset_file_def_index) == Ok(index),
        _ => false,
    })
}
