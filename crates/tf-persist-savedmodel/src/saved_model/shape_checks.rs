//! Which signatures may be fed any shape, and which answers are compared with their declaration.
//!
//! TensorFlow's session does not check the shapes of inputs: its ops do. Most refuse wrong shapes; some, such as
//! oneDNN's convolutions, end the process. Python's session therefore compares inputs with the placeholders' shapes, as
//! `Signature::run` of tf-persist-core does. TensorFlow Serving does not, and has clients that rely on it.

use std::collections::HashSet;

use crate::graph::view::{AttrView, IndexedGraph, NodeView, find_reachable};
use crate::ops::{checks_shapes, checks_sizes};
use crate::saved_model::{MetaGraph, SavedModel, SignatureDef, TensorInfo, TensorKind, parse_tensor_name};

/// Whether every op that a run of the signature reaches, functions included, is known to check shapes itself.
pub fn are_checked_by_ops(model: &SavedModel, meta_graph: &MetaGraph, signature: &SignatureDef) -> bool {
    reaches_only(model, meta_graph, signature, checks_shapes)
}

/// Whether the signature may be fed any sizes where its inputs declare none, with the ranks that they declare: every op
/// that a run reaches is known to check sizes itself.
pub fn are_sizes_checked_by_ops(model: &SavedModel, meta_graph: &MetaGraph, signature: &SignatureDef) -> bool {
    reaches_only(model, meta_graph, signature, checks_sizes)
}

fn reaches_only(
    model: &SavedModel,
    meta_graph: &MetaGraph,
    signature: &SignatureDef,
    is_known: impl Fn(&str) -> bool,
) -> bool {
    let graph = IndexedGraph::new(model.meta_graph_bytes(meta_graph));
    // The ops of functions that are called by name of their own are looked at when they are reached.
    let functions: HashSet<&str> = graph.functions.iter().map(|function| function.name).collect();
    let is_unknown = |op: &str| !is_known(op) && !functions.contains(op);
    find_reachable(&graph, &signature.fed_nodes(), &signature.fetched_nodes(), |node| is_unknown(node.op)).is_none()
}

/// Whether an output of the signature depends on a convolution whose result may be smaller than its input, in functions
/// too.
///
/// Where it would be empty, oneDNN gives it the shape of the input, and memory that nobody wrote.
pub fn has_shrinking_convolution(
    model: &SavedModel,
    meta_graph: &MetaGraph,
    signature: &SignatureDef,
    output: &TensorInfo,
) -> bool {
    const CONVOLUTIONS: [&str; 4] = ["Conv2D", "Conv3D", "DepthwiseConv2dNative", "_FusedConv2D"];
    let graph = IndexedGraph::new(model.meta_graph_bytes(meta_graph));
    let is_padded = |node: &NodeView<'_>| node.attr("padding").and_then(AttrView::bytes) == Some(b"SAME");
    let shrinks = |node: &NodeView<'_>| CONVOLUTIONS.contains(&node.op) && !is_padded(node);
    let TensorKind::Dense { name } = &output.kind else { return false };
    let Ok((node, _)) = parse_tensor_name(name) else { return false };
    find_reachable(&graph, &signature.fed_nodes(), &[node], shrinks).is_some()
}
