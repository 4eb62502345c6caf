//! Analysis of graphs: [`view`] reads them from bytes; the rest works on decoded ones: reachable nodes and functions,
//! uses of a variable's handle.
//!
//! A `GraphDef` has nodes at its top and functions in its library. The nodes in a function's body name tensors in
//! another way. Source: `tensorflow/core/framework/{graph,function,node_def}.proto`.

#[cfg(test)]
mod agreement;
pub mod attr;
mod calls;
mod flow;
mod reachability;
pub(crate) mod view;

use std::collections::{BTreeMap, HashMap};

use tf_persist_proto::tensorflow as pb;

pub(crate) use crate::ops::HandleKind;
pub(crate) use calls::{Arguments, arguments, called_functions};
pub(crate) use flow::{Body, HandleUse, is_variable, variable_identity, variable_kind};
pub(crate) use reachability::{Reachable, WrittenVariables};

/// Nodes and functions of a graph by name.
pub(crate) struct Graph<'a> {
    pub(crate) nodes: &'a [pb::NodeDef],
    by_name: HashMap<&'a str, usize>,
    functions: BTreeMap<&'a str, &'a pb::FunctionDef>,
    /// The gradients of functions that have one.
    gradients: HashMap<&'a str, &'a str>,
    /// The gradient functions that nodes request by `_gradient_op_type` (`tf.custom_gradient`).
    registered_gradients: HashMap<&'a str, &'a str>,
}

impl<'a> Graph<'a> {
    pub(crate) fn new(graph: &'a pb::GraphDef) -> Self {
        let named = |(index, node): (usize, &'a pb::NodeDef)| (node.name.as_str(), index);
        let library = &graph.library;
        let functions = library.function.iter().map(|function| (function.signature.name.as_str(), function));
        Self {
            nodes: &graph.node,
            by_name: graph.node.iter().enumerate().map(named).collect(),
            functions: functions.collect(),
            gradients: library.gradient.iter().map(|it| (&*it.function_name, &*it.gradient_func)).collect(),
            registered_gradients: library
                .registered_gradients
                .iter()
                .map(|it| (&*it.registered_op_type, &*it.gradient_func))
                .collect(),
        }
    }

    /// The index of the node with this name or of the node that gives the tensor with this name.
    pub(crate) fn node_index(&self, input: &str) -> Option<usize> {
        self.by_name.get(node_of(input)).copied()
    }

    pub(crate) fn node(&self, input: &str) -> Option<&'a pb::NodeDef> {
        self.node_index(input).map(|index| &self.nodes[index])
    }

    pub(crate) fn function(&self, name: &str) -> Option<&'a pb::FunctionDef> {
        self.functions.get(name).copied()
    }
}

/// The node of an input: `^node`, `node`, `node:1`, and in functions `node:output:0` or an argument's name.
pub(crate) fn node_of(input: &str) -> &str {
    let input = input.strip_prefix('^').unwrap_or(input);
    input.split_once(':').map_or(input, |(node, _)| node)
}

/// A tensor's name without the optional `:0` at the top of a graph.
pub(crate) fn tensor_of(input: &str) -> &str {
    input.strip_suffix(":0").filter(|node| !node.contains(':')).unwrap_or(input)
}

/// Whether an input is a control input: its node only runs first.
pub(crate) fn is_control(input: &str) -> bool {
    input.starts_with('^')
}

/// A name that is not taken: `base`, or else `base_1`, `base_2`, ….
pub fn free_name(base: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut names = (0_u64..).map(|number| if number == 0 { base.to_owned() } else { format!("{base}_{number}") });
    names.find(|name| !taken(name)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_give_nodes_and_tensors() {
        assert_eq!(["a", "^a", "a:1", "a:output:0"].map(node_of), ["a"; 4]);
        assert_eq!(["a", "a:0", "a:1", "a:output:0"].map(tensor_of), ["a", "a", "a:1", "a:output:0"]);
    }

    #[test]
    fn free_names_are_numbered() {
        assert_eq!(free_name("save", |name| name == "save" || name == "save_1"), "save_2");
    }
}
