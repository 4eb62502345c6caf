//! What a signature writes: a request that changes the model's state is answered otherwise when it is asked again.

use std::collections::{HashMap, HashSet};

use crate::outline::{Graph, Node, source};
use crate::saved_model::{MetaGraph, SavedModel, SignatureDef, parse_tensor_name};

/// Operations that write to variables, tables and generators of random numbers, by how their names begin
/// (`tensorflow/core/ops/state_ops.cc`, `resource_variable_ops.cc`, `training_ops.cc`, `lookup_ops.cc`,
/// `stateful_random_ops.cc`).
const WRITING: [&str; 20] = [
    "Apply",
    "Assign",
    "CountUpTo",
    "LookupTableImport",
    "LookupTableInsert",
    "LookupTableRemove",
    "ResourceAccumulator",
    "ResourceApply",
    "ResourceCountUpTo",
    "ResourceScatter",
    "ResourceSparseApply",
    "ResourceStridedSliceAssign",
    "RngReadAndSkip",
    "RngSkip",
    "SparseApply",
    "StatefulRandomBinomial",
    "StatefulStandardNormal",
    "StatefulTruncatedNormal",
    "StatefulUniform",
    "StridedSliceAssign",
];

/// Operations that write to TensorFlow 1's reference variables. Others have names that begin like these.
const WRITING_REFERENCES: [&str; 10] = [
    "ScatterAdd",
    "ScatterDiv",
    "ScatterMax",
    "ScatterMin",
    "ScatterMul",
    "ScatterNdAdd",
    "ScatterNdSub",
    "ScatterNdUpdate",
    "ScatterSub",
    "ScatterUpdate",
];

/// The operation with which a signature writes to the model's state, and the node that it is; `None` if there is none.
///
/// It looks at what the graph would run for the signature's outputs, functions included, without TensorFlow.
#[must_use]
pub fn what_it_writes(
    model: &SavedModel,
    meta_graph: &MetaGraph,
    signature: &SignatureDef,
) -> Option<(String, String)> {
    let graph = Graph::of_meta_graph(model.meta_graph_bytes(meta_graph));
    let nodes: HashMap<&str, &Node<'_>> = graph.nodes.iter().map(|node| (node.name, node)).collect();
    let functions: HashMap<&str, &[Node<'_>]> =
        graph.functions.iter().map(|function| (function.name, function.nodes.as_slice())).collect();

    // What is fed is not run.
    let tensors = |all: &'_ [(String, crate::TensorInfo)]| -> Vec<String> {
        let parts = all.iter().flat_map(|(key, info)| info.parts(key));
        parts.filter_map(|part| parse_tensor_name(part.tensor).ok().map(|(op, _)| op.to_owned())).collect()
    };
    let fed: HashSet<String> = tensors(&signature.inputs).into_iter().collect();
    let fetched = tensors(&signature.outputs);
    let mut todo: Vec<&Node<'_>> = fetched.iter().filter_map(|name| nodes.get(name.as_str()).copied()).collect();
    let mut seen: HashSet<*const Node<'_>> = HashSet::new();
    let mut entered: HashSet<&str> = HashSet::new();
    let is_outer = |node: &Node<'_>| nodes.get(node.name).is_some_and(|known| std::ptr::eq(*known, node));
    while let Some(node) = todo.pop() {
        if !seen.insert(std::ptr::from_ref(node)) || fed.contains(node.name) && is_outer(node) {
            continue;
        }
        if writes(node.op) {
            return Some((node.op.to_owned(), node.name.to_owned()));
        }
        // Of a function everything is run that has an effect, so it is looked at whole.
        for called in node.calls().into_iter().filter_map(|name| functions.get_key_value(name)) {
            if entered.insert(called.0) {
                todo.extend(called.1.iter());
            }
        }
        if is_outer(node) {
            todo.extend(node.inputs.iter().filter_map(|input| nodes.get(source(input).0).copied()));
        }
    }
    None
}

fn writes(op: &str) -> bool {
    WRITING.iter().any(|begin| op.starts_with(begin)) || WRITING_REFERENCES.contains(&op)
}
