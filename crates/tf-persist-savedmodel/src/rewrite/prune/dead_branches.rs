//! Branches of TensorFlow 1's control flow that are never taken, because their condition has a default that no
//! signature feeds.
//!
//! `tf.cond(is_training, …)` of a `placeholder_with_default(False)` is one, with the moving averages of a batch
//! normalisation assigned in the branch that is left out. A branch that is not taken is dead: a `Switch` sends nothing
//! to one of its outputs, and a node without one of its inputs sends nothing either, until a `Merge` takes the other
//! side (`tensorflow/core/kernels/control_flow_ops.cc`).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use tf_persist_proto::tensorflow as pb;

use crate::graph::{Graph, attr, free_name, is_control, node_of, tensor_of};
use crate::rewrite::scalars::Scalars;
use crate::tensor::{Tensor, proto};

/// Removes branches at the top of a graph that are never taken. `fed` are the nodes with values from outside, `fetched`
/// the requested tensors.
pub(super) fn remove(definition: &mut pb::MetaGraphDef, fed: &HashSet<String>, fetched: &[String]) {
    let rewritten = {
        let graph = Graph::new(&definition.graph_def);
        Settled::find(&graph, fed).and_then(|settled| settled.rewrite(&graph, fetched))
    };
    if let Some(nodes) = rewritten {
        definition.graph_def.mut_or_insert_default().node = nodes;
    }
}

/// Known conditions, and the nodes that are dead because of them.
struct Settled {
    /// The known condition of each `Switch`, by index.
    conditions: BTreeMap<usize, bool>,
    /// The nodes that never run.
    dead: BTreeSet<usize>,
}

impl Settled {
    /// `None` if no condition is known, or a `Merge` would keep several inputs next to dead ones.
    fn find(graph: &Graph<'_>, fed: &HashSet<String>) -> Option<Self> {
        let scalars = Scalars::new(graph.nodes, BTreeMap::new(), fed);
        let switches = graph.nodes.iter().enumerate().filter(|(_, node)| is_switch(node));
        let condition = |node: &pb::NodeDef| scalars.value(node.input.get(1)?).map(|value| value != 0);
        let conditions: BTreeMap<usize, bool> =
            switches.filter_map(|(index, node)| Some((index, condition(node)?))).collect();
        if conditions.is_empty() {
            return None;
        }
        let mut settled = Self { conditions, dead: BTreeSet::new() };
        settled.spread(graph);
        let is_split = |node: &pb::NodeDef| {
            let alive = data(node).filter(|input| !settled.gives_nothing(graph, input)).count();
            is_merge(node) && alive > 1 && alive < data(node).count()
        };
        let mut alive = graph.nodes.iter().enumerate().filter(|(index, _)| !settled.dead.contains(index));
        if alive.any(|(_, node)| is_split(node)) { None } else { Some(settled) }
    }

    /// Whether a tensor is never computed, or a control input never runs.
    fn gives_nothing(&self, graph: &Graph<'_>, input: &str) -> bool {
        let Some(index) = graph.node_index(input) else { return false };
        if self.dead.contains(&index) {
            return true;
        }
        let condition = self.conditions.get(&index).filter(|_| !is_control(input));
        condition.is_some_and(|value| tensor_of(input).ends_with(":1") != *value)
    }

    /// Marks nodes with dead inputs as dead.
    fn spread(&mut self, graph: &Graph<'_>) {
        let mut consumers: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
        for (index, node) in graph.nodes.iter().enumerate() {
            node.input
                .iter()
                .filter_map(|input| graph.node_index(input))
                .for_each(|input| consumers[input].push(index));
        }
        let switches = self.conditions.keys().copied();
        let mut todo: Vec<usize> = switches.flat_map(|index| consumers[index].clone()).collect();
        while let Some(index) = todo.pop() {
            let node = &graph.nodes[index];
            let is_dead = if is_merge(node) {
                // A loop that is never entered never iterates.
                let mut entries = data(node)
                    .filter(|input| graph.node(input).is_none_or(|from| !from.op.ends_with("NextIteration")))
                    .peekable();
                entries.peek().is_some() && entries.all(|input| self.gives_nothing(graph, input))
            } else {
                node.input.iter().any(|input| self.gives_nothing(graph, input))
            };
            if is_dead && self.dead.insert(index) {
                todo.extend(&consumers[index]);
            }
        }
    }

    /// The nodes that are alive; a `Switch` or `Merge` becomes an `Identity` of the side that is alive. `None` if a
    /// dead tensor is fetched.
    fn rewrite(&self, graph: &Graph<'_>, fetched: &[String]) -> Option<Vec<pb::NodeDef>> {
        if fetched.iter().any(|tensor| self.gives_nothing(graph, tensor)) {
            return None;
        }
        let mut nodes = Vec::with_capacity(graph.nodes.len());
        for (index, node) in graph.nodes.iter().enumerate().filter(|(index, _)| !self.dead.contains(index)) {
            let mut node = node.clone();
            for input in &mut node.input {
                // An `Identity` has one output.
                let is_settled = graph.node_index(input).is_some_and(|source| self.conditions.contains_key(&source));
                if is_settled && !is_control(input) {
                    *input = node_of(input).to_owned();
                }
            }
            let original = &graph.nodes[index];
            let dead_sides = is_merge(original) && data(original).any(|input| self.gives_nothing(graph, input));
            if self.conditions.contains_key(&index) {
                let condition = node.input.remove(1);
                node.input.push(format!("^{}", node_of(&condition)));
                become_identity(&mut node);
            } else if dead_sides {
                let taken = data(original).position(|input| !self.gives_nothing(graph, input))?;
                let input = data(&node).nth(taken)?.clone();
                let control = node.input.iter().filter(|input| is_control(input)).cloned();
                node.input = std::iter::once(input).chain(control).collect();
                become_identity(&mut node);
                nodes.extend(self.index_of(graph, index, taken));
            }
            nodes.push(node);
        }
        self.rename_indices(graph, &mut nodes);
        Some(nodes)
    }

    /// The number of the side that a `Merge` takes is its second output.
    fn index_of(&self, graph: &Graph<'_>, merge: usize, taken: usize) -> Option<pb::NodeDef> {
        let index = i32::try_from(taken).ok().and_then(|taken| Tensor::scalar(taken).ok())?;
        Some(attr::const_node(&index_name(graph, &graph.nodes[merge].name), proto::to_proto(&index)))
    }

    fn rename_indices(&self, graph: &Graph<'_>, nodes: &mut [pb::NodeDef]) {
        let is_settled = |input: &str| {
            let merge = input.strip_suffix(":1").and_then(|name| graph.node(name)).filter(|node| is_merge(node));
            merge.is_some_and(|merge| data(merge).any(|input| self.gives_nothing(graph, input)))
        };
        for input in nodes.iter_mut().flat_map(|node| &mut node.input).filter(|input| is_settled(input)) {
            *input = index_name(graph, node_of(input));
        }
    }
}

fn index_name(graph: &Graph<'_>, merge: &str) -> String {
    free_name(&format!("{merge}/value_index"), |name| graph.node(name).is_some())
}

fn is_switch(node: &pb::NodeDef) -> bool {
    matches!(node.op.as_str(), "Switch" | "RefSwitch")
}

fn is_merge(node: &pb::NodeDef) -> bool {
    matches!(node.op.as_str(), "Merge" | "RefMerge")
}

fn data(node: &pb::NodeDef) -> impl Iterator<Item = &String> {
    node.input.iter().filter(|input| !is_control(input))
}

/// Turns a node into an `Identity` of its first input.
fn become_identity(node: &mut pb::NodeDef) {
    node.op = if node.op.starts_with("Ref") { "RefIdentity" } else { "Identity" }.to_owned();
    for name in ["N", "_output_shapes"] {
        node.attr.remove(name);
    }
}
