//! What a signature writes: a request that changes the model's state is answered otherwise when it is asked again.

use crate::graph::view::{IndexedGraph, find_reachable};
use crate::saved_model::{MetaGraph, SavedModel, SignatureDef};

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
pub fn first_state_write(
    model: &SavedModel,
    meta_graph: &MetaGraph,
    signature: &SignatureDef,
) -> Option<(String, String)> {
    first_state_write_to(model, meta_graph, signature, Writes::Anything)
}

/// What is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    /// Variables, tables and generators of random numbers.
    Anything,
    /// Variables alone.
    Variables,
}

/// As [`first_state_write`], of some kinds of state.
pub(crate) fn first_state_write_to(
    model: &SavedModel,
    meta_graph: &MetaGraph,
    signature: &SignatureDef,
    what: Writes,
) -> Option<(String, String)> {
    let graph = IndexedGraph::new(model.meta_graph_bytes(meta_graph));
    let is_other = |op: &str| {
        what == Writes::Variables && ["LookupTable", "Rng", "Stateful"].iter().any(|begin| op.starts_with(begin))
    };
    let found = find_reachable(&graph, &signature.fed_nodes(), &signature.fetched_nodes(), |node| {
        writes(node.op) && !is_other(node.op)
    })?;
    Some((found.op.to_owned(), found.name.to_owned()))
}

fn writes(op: &str) -> bool {
    WRITING.iter().any(|begin| op.starts_with(begin)) || WRITING_REFERENCES.contains(&op)
}
