//! Finds variables whose value the init op alone decides.

use std::collections::BTreeSet;

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::meta_graph::collection_def::Kind;

use super::signatures::tensors;
use crate::graph::{Body, Graph, Reachable, node_of, variable_identity, variable_kind};
use crate::saved_model::InitSource;
use crate::saved_model::restored::Restored;

/// Finds the restored variables whose restored value is never used, because the init op assigns them: loaders restore
/// first, then run the init op. They can stay variables of a graph without a checkpoint.
///
/// The init op must not use such a variable otherwise, and must not assign it in a branch.
pub(in crate::rewrite) fn assigned_by_init_op(definition: &pb::MetaGraphDef, kept: &[Restored]) -> BTreeSet<String> {
    let graph = Graph::new(&definition.graph_def);
    let reach = Reachable::new(&graph, init_ops(definition).iter().map(String::as_str));
    let body = Body::top(&graph);
    let is_assigned = |variable: &str| {
        let mut consumers = body.consumers(variable).iter().filter(|(index, _)| reach.has_index(*index));
        let (Some((index, 0)), None) = (consumers.next(), consumers.next()) else { return false };
        let assignment = &graph.nodes[*index];
        let needed = Reachable::new(&graph, [assignment.name.as_str()]);
        let mut needed = graph.nodes.iter().enumerate().filter(|(index, _)| needed.has_index(*index));
        matches!(assignment.op.as_str(), "Assign" | "AssignVariableOp")
            && needed.all(|(_, node)| !matches!(node.op.as_str(), "Switch" | "RefSwitch"))
    };
    // Other nodes may hold the same variable.
    let is_alone = |name: &str| {
        let Some(node) = graph.node(name).filter(|node| variable_kind(node).is_some()) else { return false };
        let holders = graph.nodes.iter().filter(|other| variable_kind(other).is_some());
        holders.filter(|other| variable_identity(other) == variable_identity(node)).count() == 1
    };
    let variables = kept.iter().map(|item| node_of(&item.holder));
    variables.filter(|name| is_assigned(name) && is_alone(name)).map(str::to_owned).collect()
}

/// The ops that run whenever the model is loaded.
pub(in crate::rewrite) fn init_ops(definition: &pb::MetaGraphDef) -> Vec<String> {
    let collections = [InitSource::MainOp.name(), InitSource::LegacyInitOp.name(), "table_initializer"];
    let collections = collections.iter().filter_map(|name| definition.collection_def.get(*name));
    let named = collections.filter_map(|collection| match &collection.kind {
        Some(Kind::NodeList(list)) => Some(list.value.clone()),
        _ => None,
    });
    let signature = definition.signature_def.get(InitSource::Signature.name()).map(tensors);
    named.chain(signature).flatten().collect()
}
