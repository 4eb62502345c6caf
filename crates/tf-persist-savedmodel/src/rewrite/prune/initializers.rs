//! The initialisers of a pruned graph, without those of tables and variables that it no longer uses.

use std::collections::HashSet;

use tf_persist_proto::tensorflow as pb;

use crate::graph::{Graph, Reachable, is_control, is_variable, node_of};
use crate::saved_model::{MetaGraph, parse_tensor_name};

/// The init ops of a graph, and the initialisers that each of them runs.
pub(super) struct Initializers {
    /// Init ops that only have control inputs, and the initialisers behind these, through nested groups.
    groups: Vec<(usize, Vec<usize>)>,
    /// Other init ops, which are kept.
    others: Vec<usize>,
    /// Initialisers that the loaders of TensorFlow Hub and TensorFlow Transform run.
    tables: Vec<usize>,
    consumers: Vec<Vec<usize>>,
}

impl Initializers {
    pub(super) fn new(graph: &Graph<'_>, meta_graph: &MetaGraph) -> Self {
        let (mut groups, mut others) = (Vec::new(), Vec::new());
        for init_op in meta_graph.init_ops() {
            let name = parse_tensor_name(&init_op.operation).map_or(&*init_op.operation, |(op, _)| op);
            let Some(index) = graph.node_index(name) else { continue };
            if is_group(&graph.nodes[index]) { groups.push((index, members(graph, index))) } else { others.push(index) }
        }
        let mut consumers: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
        for (index, node) in graph.nodes.iter().enumerate() {
            for input in node.input.iter().filter_map(|input| graph.node_index(input)) {
                consumers[input].push(index);
            }
        }
        let tables = meta_graph.table_initializers().iter().filter_map(|name| graph.node_index(name)).collect();
        Self { groups, others, tables, consumers }
    }

    /// Adds to `reach` the initialisers of reached resources, and those without a resource. Returns whether any was
    /// new.
    pub(super) fn require(&self, graph: &Graph<'_>, reach: &mut Reachable) -> bool {
        let is_needed = Needed::new(graph, reach, &self.consumers);
        let members = self.groups.iter().flat_map(|(_, members)| members).chain(&self.tables);
        let needed = members.filter(|member| is_needed.has(**member)).chain(&self.others);
        reach.add_nodes(graph, needed.map(|index| &*graph.nodes[*index].name))
    }

    /// The index of each group, and its inputs that are reached.
    pub(super) fn groups(&self, graph: &Graph<'_>, reach: &Reachable) -> Vec<(usize, Vec<String>)> {
        let inputs = |members: &[usize]| {
            let reached = members.iter().filter(|member| reach.has_index(**member));
            reached.map(|member| format!("^{}", graph.nodes[*member].name)).collect()
        };
        self.groups.iter().map(|(index, members)| (*index, inputs(members))).collect()
    }
}

/// Whether a node only has control inputs.
fn is_group(node: &pb::NodeDef) -> bool {
    node.op == "NoOp" && node.input.iter().all(|input| is_control(input))
}

/// The nodes behind the control inputs of a group, through nested groups.
fn members(graph: &Graph<'_>, group: usize) -> Vec<usize> {
    let mut found = Vec::new();
    let mut seen = HashSet::from([group]);
    let mut todo = vec![group];
    while let Some(index) = todo.pop() {
        for member in graph.nodes[index].input.iter().filter_map(|input| graph.node_index(node_of(input))) {
            if seen.insert(member) {
                if is_group(&graph.nodes[member]) { todo.push(member) } else { found.push(member) }
            }
        }
    }
    found.sort_unstable();
    found
}

/// The nodes behind variables, tables and other resources.
struct Needed {
    /// For each node, whether it depends on a resource that is not reached.
    behind_others: Vec<bool>,
    /// For each node, whether it depends on a resource that is reached.
    behind_reached: Vec<bool>,
}

impl Needed {
    fn new(graph: &Graph<'_>, reach: &Reachable, consumers: &[Vec<usize>]) -> Self {
        let behind = |is_reached: bool| {
            let mut seen = vec![false; graph.nodes.len()];
            let holders = (0..graph.nodes.len()).filter(|index| holds_state(&graph.nodes[*index]));
            let mut todo: Vec<usize> = holders.filter(|index| reach.has_index(*index) == is_reached).collect();
            while let Some(index) = todo.pop() {
                // Readers of a variable do not fill it.
                if !std::mem::replace(&mut seen[index], true) && graph.nodes[index].op != "ReadVariableOp" {
                    todo.extend(&consumers[index]);
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

/// Whether a node holds something that an initialiser may fill: a variable, a table, or a resource of an op library.
/// Such nodes have an attribute for a shared name, or no inputs without being a constant.
fn holds_state(node: &pb::NodeDef) -> bool {
    let is_plain =
        || matches!(node.op.as_str(), "Const" | "NoOp" | "Placeholder" | "PlaceholderV2" | "PlaceholderWithDefault");
    is_variable(node)
        || node.attr.contains_key("shared_name")
        || node.attr.contains_key("container")
        || node.input.iter().all(|input| is_control(input)) && !is_plain()
}
