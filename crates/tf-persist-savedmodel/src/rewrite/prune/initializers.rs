//! The initialisers of a pruned graph: those of tables and variables that nothing kept looks at go.

use std::collections::HashSet;

use tf_persist_proto::tensorflow as pb;

use crate::graph::{Graph, Reachable, is_control, is_variable, node_of};
use crate::saved_model::{MetaGraph, parse_tensor_name};

/// The initialisers of a graph: the init ops, and what each of them runs.
pub(super) struct Initializers {
    /// Init ops that only wait for others, and those others, through groups of groups.
    groups: Vec<(usize, Vec<usize>)>,
    /// Init ops that do something themselves. They stay.
    others: Vec<usize>,
    /// Where no init op runs them, the loaders of TensorFlow Hub and TensorFlow Transform do.
    tables: Vec<usize>,
    consumers: Vec<Vec<usize>>,
}

impl Initializers {
    pub(super) fn of(graph: &Graph<'_>, meta_graph: &MetaGraph) -> Self {
        let (mut groups, mut others) = (Vec::new(), Vec::new());
        for init_op in meta_graph.init_ops() {
            let name = parse_tensor_name(&init_op.operation).map_or(&*init_op.operation, |(op, _)| op);
            let Some(place) = graph.place(name) else { continue };
            if is_group(&graph.nodes[place]) { groups.push((place, members(graph, place))) } else { others.push(place) }
        }
        let mut consumers: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
        for (place, node) in graph.nodes.iter().enumerate() {
            for input in node.input.iter().filter_map(|input| graph.place(input)) {
                consumers[input].push(place);
            }
        }
        let tables = meta_graph.table_initializers().iter().filter_map(|name| graph.place(name)).collect();
        Self { groups, others, tables, consumers }
    }

    /// Adds to what is reached the initialisers that have to do with it, or with nothing that an initialiser could fill. Says
    /// whether anything was new.
    pub(super) fn require(&self, graph: &Graph<'_>, reach: &mut Reachable) -> bool {
        let is_needed = Needed::of(graph, reach, &self.consumers);
        let members = self.groups.iter().flat_map(|(_, members)| members).chain(&self.tables);
        let needed = members.filter(|member| is_needed.has(**member)).chain(&self.others);
        reach.add_nodes(graph, needed.map(|place| &*graph.nodes[*place].name))
    }

    /// The groups with what is reached of them: each one's place among the nodes, and its inputs.
    pub(super) fn groups(&self, graph: &Graph<'_>, reach: &Reachable) -> Vec<(usize, Vec<String>)> {
        let inputs = |members: &[usize]| {
            let reached = members.iter().filter(|member| reach.has_index(**member));
            reached.map(|member| format!("^{}", graph.nodes[*member].name)).collect()
        };
        self.groups.iter().map(|(place, members)| (*place, inputs(members))).collect()
    }
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

/// Which initialisers have to do with a variable, a table or another resource that is reached, or with none at all.
struct Needed {
    /// For each node, whether a holder that is not reached is behind it.
    behind_others: Vec<bool>,
    behind_reached: Vec<bool>,
}

impl Needed {
    fn of(graph: &Graph<'_>, reach: &Reachable, consumers: &[Vec<usize>]) -> Self {
        let behind = |is_reached: bool| {
            let mut seen = vec![false; graph.nodes.len()];
            let holders = (0..graph.nodes.len()).filter(|place| holds_state(&graph.nodes[*place]));
            let mut todo: Vec<usize> = holders.filter(|place| reach.has_index(*place) == is_reached).collect();
            while let Some(place) = todo.pop() {
                // Who takes a variable's value does not fill the variable.
                if !std::mem::replace(&mut seen[place], true) && graph.nodes[place].op != "ReadVariableOp" {
                    todo.extend(&consumers[place]);
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

/// Whether a node holds something that an initialiser may fill: a variable, a table, a resource of an op library. Those that share it
/// by name say so in an attribute; others take nothing, and are no constant.
fn holds_state(node: &pb::NodeDef) -> bool {
    let is_plain =
        || matches!(node.op.as_str(), "Const" | "NoOp" | "Placeholder" | "PlaceholderV2" | "PlaceholderWithDefault");
    is_variable(node)
        || node.attr.contains_key("shared_name")
        || node.attr.contains_key("container")
        || node.input.iter().all(|input| is_control(input)) && !is_plain()
}
