//! State that a signature writes: a request that changes the model's state may get another answer when it is repeated.

use std::collections::HashSet;

use crate::graph::view::{IndexedGraph, find_reachable};
use crate::ops::{self, State, is_known_op, state_written};
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

/// Prefixes of ops that take from a place or put into it what the next run finds there or misses.
const QUEUES: [&str; 9] =
    ["Barrier", "Iterator", "MapStage", "MapUnstage", "OrderedMap", "Queue", "Reader", "Stage", "Unstage"];

/// The first operation by which a signature does more than compute, and its node: it writes the model's state, reaches
/// outside the model, or is not an op of TensorFlow, so that nobody knows. `None` if a run can be repeated at will.
#[must_use]
pub fn first_effect(model: &SavedModel, meta_graph: &MetaGraph, signature: &SignatureDef) -> Option<(String, String)> {
    let graph = IndexedGraph::new(model.meta_graph_bytes(meta_graph));
    let functions: HashSet<&str> = graph.functions.iter().map(|function| function.name).collect();
    let has_effect = |op: &str| {
        state_written(op).is_some()
            || ops::effects::effect(op).is_some_and(|effect| effect.op != "Assert")
            || QUEUES.iter().any(|prefix| op.starts_with(prefix))
            || !(is_known_op(op) || functions.contains(op))
    };
    let found = find_reachable(&graph, &signature.fed_nodes(), &signature.fetched_nodes(), |node| has_effect(node.op))?;
    Some((found.op.to_owned(), found.name.to_owned()))
}
