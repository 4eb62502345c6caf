//! The initialisers of a pruned graph: those of tables and variables that nothing kept looks at go.

use std::collections::HashSet;

use tf_persist_proto::tensorflow as pb;

use crate::graph::{Graph, Reach, is_control, is_variable, node_of};
use crate::saved_model::{MetaGraph, parse_tensor_name};

/// Takes out of the init ops what only initialises things that are not reached, and gives the ops that stay.
pub(super) fn prune(definition: &mut pb::MetaGraphDef, meta_graph: &MetaGraph, reach: &Reach) -> Vec<String> {
    let graph = Graph::new(&definition.graph_def);
    let mut stay = Vec::new();
    let mut groups = Vec::new();
    for init_op in meta_graph.init_ops() {
        let name = parse_tensor_name(&init_op.operation).map_or(&*init_op.operation, |(op, _)| op);
        let Some(place) = graph.place(name) else { continue };
        stay.push(name.to_owned());
        if is_group(&graph.nodes[place]) {
            let members = members(&graph, place).into_iter().filter(|member| is_needed(&graph, *member, reach));
            groups.push((place, members.map(|member| format!("^{}", graph.nodes[member].name)).collect::<Vec<_>>()));
        }
    }
    // Where no init op runs them, the loaders of TensorFlow Hub and TensorFlow Transform do.
    let tables = meta_graph.table_initializers().iter();
    let needed = |name: &&String| graph.place(name).is_some_and(|place| is_needed(&graph, place, reach));
    stay.extend(tables.filter(needed).cloned());
    let nodes = &mut definition.graph_def.mut_or_insert_default().node;
    for (place, inputs) in groups {
        nodes[place].input = inputs;
    }
    stay
}

/// A node that does nothing but wait for others.
fn is_group(node: &pb::NodeDef) -> bool {
    node.op == "NoOp" && node.input.iter().all(|input| is_control(input))
}

/// The nodes that a group waits for, through groups of groups.
fn members(graph: &Graph<'_>, group: usize) -> Vec<usize> {
    let mut found = Vec::new();
    let mut seen = HashSet::from([group]);
    let mut todo = vec![group];
    while let Some(place) = todo.pop() {
        for member in graph.nodes[place].input.iter().filter_map(|input| graph.place(node_of(input))) {
            if seen.insert(member) {
                if is_group(&graph.nodes[member]) { todo.push(member) } else { found.push(member) }
            }
        }
    }
    found.sort_unstable();
    found
}

/// Whether an initialiser has to do with a variable or table that is reached, or with none at all.
fn is_needed(graph: &Graph<'_>, member: usize, reach: &Reach) -> bool {
    let own = Reach::of(graph, [&*graph.nodes[member].name]);
    let holds = |node: &pb::NodeDef| is_variable(node) || node.op.contains("HashTable");
    let mut holders =
        (0..graph.nodes.len()).filter(|place| own.has_place(*place) && holds(&graph.nodes[*place])).peekable();
    holders.peek().is_none() || holders.any(|place| reach.has_place(place))
}
