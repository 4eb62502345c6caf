//! State that a signature writes: a request that changes the model's state may get another answer when it is repeated.

use crate::graph::view::{IndexedGraph, find_reachable};
use crate::ops::{State, state_written};
use crate::saved_model::{MetaGraph, SavedModel, SignatureDef};

/// The first operation by which a signature writes the model's state, and its node; `None` if there is none.
///
/// Follows the nodes that a run of the signature's outputs would run, functions included, without TensorFlow.
#[must_use]
pub fn first_state_write(
    model: &SavedModel,
    meta_graph: &MetaGraph,
    signature: &SignatureDef,
) -> Option<(String, String)> {
    first_state_write_to(model, meta_graph, signature, Writes::Anything)
}

/// Kinds of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    /// Variables, tables and generators of random numbers.
    Anything,
    /// Variables alone.
    Variables,
}

/// As [`first_state_write`], for some kinds of state.
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
