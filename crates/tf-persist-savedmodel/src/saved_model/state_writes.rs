//! What a signature writes: a request that changes the model's state is answered otherwise when it is asked again.

use crate::graph::view::{IndexedGraph, find_reachable};
use crate::ops::{State, state_written};
use crate::saved_model::{MetaGraph, SavedModel, SignatureDef};

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
    let is_written = |op: &str| match state_written(op) {
        Some(State::Variable) => true,
        Some(State::Table | State::Generator) => what == Writes::Anything,
        None => false,
    };
    let found = find_reachable(&graph, &signature.fed_nodes(), &signature.fetched_nodes(), |node| is_written(node.op))?;
    Some((found.op.to_owned(), found.name.to_owned()))
}
