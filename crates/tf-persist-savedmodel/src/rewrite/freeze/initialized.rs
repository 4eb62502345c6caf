//! Variables whose value is the init op's alone, whatever the checkpoint has.

use std::collections::BTreeSet;

use tf_persist_proto::tensorflow as pb;

use super::init_ops;
use crate::graph::{Body, Graph, Reachable, variable_identity, node_of, variable_kind};
use crate::saved_model::restored::Restored;

/// The restored variables that the init op gives another value: loaders restore first, and run the init op then. They can stay variables
/// of a graph without a checkpoint.
///
/// Only where nothing else that the init op runs looks at the variable, and the assignment is in no branch: then the restored value is
/// seen by nobody.
pub(super) fn assigned_by_init_op(definition: &pb::MetaGraphDef, kept: &[Restored]) -> BTreeSet<String> {
    let graph = Graph::new(&definition.graph_def);
    let reach = Reachable::new(&graph, init_ops(definition).iter().map(String::as_str));
    let body = Body::top(&graph);
    let is_assigned = |variable: &str| {
        let mut consumers = body.consumers(variable).iter().filter(|(place, _)| reach.has_index(*place));
        let (Some((place, 0)), None) = (consumers.next(), consumers.next()) else { return false };
        let assignment = &graph.nodes[*place];
        let needed = Reachable::new(&graph, [assignment.name.as_str()]);
        let mut needed = graph.nodes.iter().enumerate().filter(|(place, _)| needed.has_index(*place));
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
