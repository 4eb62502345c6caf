//! The initialisers of a pruned graph: those of tables and variables that nothing kept looks at go.

use std::collections::HashSet;

use tf_persist_proto::tensorflow as pb;

use crate::graph::{Graph, Reach, is_control, is_variable, node_of};
use crate::saved_model::{MetaGraph, parse_tensor_name};

/// Takes out of the init ops what only initialises things that are not reached, and gives the ops that stay.
pub(super) fn prune(definition: &mut pb::MetaGraphDef, meta_graph: &MetaGraph, reach: &Reach) -> Vec<String> {
    let graph = Graph::new(&definition.graph_def);
    let is_needed = Needed::of(&graph, reach);
    let mut stay = Vec::new();
    let mut groups = Vec::new();
    for init_op in meta_graph.init_ops() {
        let name = parse_tensor_name(&init_op.operation).map_or(&*init_op.operation, |(op, _)| op);
        let Some(place) = graph.place(name) else { continue };
        stay.push(name.to_owned());
        if is_group(&graph.nodes[place]) {
            let members = members(&graph, place).into_iter().filter(|member| is_needed.has(*member));
            groups.push((place, members.map(|member| format!("^{}", graph.nodes[member].name)).collect::<Vec<_>>()));
        }
    }
    // Where no init op runs them, the loaders of TensorFlow Hub and TensorFlow Transform do.
    let tables = meta_graph.table_initializers().iter();
    let needed = |name: &&String| graph.place(name).is_some_and(|place| is_needed.has(place));
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

/// Which initialisers have to do with a variable or table that is reached, or with none at all.
struct Needed {
    /// For each node, whether a holder that is not reached is behind it.
    behind_others: Vec<bool>,
    behind_reached: Vec<bool>,
}

impl Needed {
    fn of(graph: &Graph<'_>, reach: &Reach) -> Self {
        let mut takers: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
        for (place, node) in graph.nodes.iter().enumerate() {
            for input in node.input.iter().filter_map(|input| graph.place(input)) {
                takers[input].push(place);
            }
        }
        let holds = |node: &pb::NodeDef| is_variable(node) || node.op.contains("HashTable");
        let behind = |is_reached: bool| {
            let mut seen = vec![false; graph.nodes.len()];
            let holders = (0..graph.nodes.len()).filter(|place| holds(&graph.nodes[*place]));
            let mut todo: Vec<usize> = holders.filter(|place| reach.has_place(*place) == is_reached).collect();
            while let Some(place) = todo.pop() {
                if !std::mem::replace(&mut seen[place], true) {
                    todo.extend(&takers[place]);
                }
            }
            seen
        };
        Self { behind_others: behind(false), behind_reached: behind(true) }
    }

    fn has(&self, member: usize) -> bool {
        self.behind_reached[member] || !self.behind_others[member]
    }
}
