//! The nodes that take the handle of a variable, in the graph and in bodies of functions.

use std::collections::HashMap;

use tf_persist_proto::tensorflow as pb;

use super::{Arguments, Graph, arguments, is_control, tensor_of};
use crate::ops::{self, HandleKind, State, state_written};

/// The kind of a node that holds a variable; `None` for all others.
pub(crate) fn variable_kind(node: &pb::NodeDef) -> Option<HandleKind> {
    ops::variable_kind(&node.op)
}

/// Whether a node holds a variable.
pub(crate) fn is_variable(node: &pb::NodeDef) -> bool {
    variable_kind(node).is_some()
}

/// The identity of a variable in a session: the container and the shared name, which defaults to the node's name.
pub(crate) fn variable_identity(node: &pb::NodeDef) -> (&[u8], &[u8]) {
    let text = |name: &str| node.attr.get(name).map_or(&[][..], |value| value.s());
    let shared = text("shared_name");
    (text("container"), if shared.is_empty() { node.name.as_bytes() } else { shared })
}

/// The nodes of a graph or of a function, with the consumers of each tensor.
pub(crate) struct Body<'a> {
    pub(crate) nodes: &'a [pb::NodeDef],
    is_function: bool,
    consumers: HashMap<&'a str, Vec<(usize, usize)>>,
}

/// What a node does with the handle it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HandleUse<'n> {
    /// It reads the value.
    Read,
    /// It passes the handle on, at these outputs.
    Pass(Vec<usize>),
    /// It calls functions, with the handle as the argument with this index.
    Call(Arguments<'n>, usize),
    /// Anything else: it may write.
    Other,
}

impl<'a> Body<'a> {
    /// The top of a graph.
    pub(crate) fn top(graph: &Graph<'a>) -> Self {
        Self::new(graph.nodes, false)
    }

    /// A function's body.
    pub(crate) fn of_function(function: &'a pb::FunctionDef) -> Self {
        Self::new(&function.node_def, true)
    }

    pub(crate) fn new(nodes: &'a [pb::NodeDef], is_function: bool) -> Self {
        let mut consumers: HashMap<&str, Vec<(usize, usize)>> = HashMap::new();
        for (index, node) in nodes.iter().enumerate() {
            for (position, input) in node.input.iter().enumerate().filter(|(_, input)| !is_control(input)) {
                let tensor = if is_function { input.as_str() } else { tensor_of(input) };
                consumers.entry(tensor).or_default().push((index, position));
            }
        }
        Self { nodes, is_function, consumers }
    }

    pub(crate) fn is_function(&self) -> bool {
        self.is_function
    }

    /// The consumers of a tensor: indices of nodes and of their inputs.
    pub(crate) fn consumers(&self, tensor: &str) -> &[(usize, usize)] {
        let tensor = if self.is_function { tensor } else { tensor_of(tensor) };
        self.consumers.get(tensor).map_or(&[], Vec::as_slice)
    }

    /// The name of a node's output. In functions the name contains that of the output in the op's definition.
    pub(crate) fn output(&self, node: &pb::NodeDef, index: usize) -> String {
        if !self.is_function {
            return if index == 0 { node.name.clone() } else { format!("{}:{index}", node.name) };
        }
        let (argument, index) = match (node.op.as_str(), index) {
            ("Switch" | "RefSwitch", 0) => ("output_false", 0),
            ("Switch" | "RefSwitch", _) => ("output_true", 0),
            ("RestoreV2", index) => ("tensors", index),
            ("LookupTableExportV2", 0) => ("keys", 0),
            ("LookupTableExportV2", _) => ("values", 0),
            ("ReadVariableOp", _) => ("value", 0),
            ("BatchFunction", index) => ("out_tensors", index),
            (_, index) => ("output", index),
        };
        format!("{}:{argument}:{index}", node.name)
    }
}

impl<'n> HandleUse<'n> {
    /// What a node does with a handle that is its input with this index.
    pub(crate) fn new(node: &'n pb::NodeDef, position: usize, kind: HandleKind, graph: &Graph<'_>) -> Self {
        if let Some(arguments) = arguments(node, graph) {
            return match position.checked_sub(arguments.first).filter(|_| arguments.are_single(graph)) {
                Some(argument) => Self::Call(arguments, argument),
                None => Self::Other,
            };
        }
        match kind {
            HandleKind::Resource => Self::of_resource(node, position),
            HandleKind::Reference => Self::of_reference(node),
        }
    }

    fn of_resource(node: &pb::NodeDef, position: usize) -> Self {
        match node.op.as_str() {
            "ReadVariableOp" | "ResourceGather" | "ResourceGatherNd" | "VariableShape" | "VarIsInitializedOp"
            | "DisableCopyOnRead" => Self::Read,
            "Identity" | "Enter" | "NextIteration" | "Exit" => Self::Pass(vec![0]),
            "Switch" => Self::Pass(vec![0, 1]),
            "IdentityN" => Self::Pass(vec![position]),
            _ => Self::Other,
        }
    }

    fn of_reference(node: &pb::NodeDef) -> Self {
        match node.op.as_str() {
            "RefIdentity" | "RefEnter" | "RefNextIteration" | "RefExit" => Self::Pass(vec![0]),
            "RefSwitch" => Self::Pass(vec![0, 1]),
            // The values of other inputs decide which variable comes out.
            "RefMerge" | "RefSelect" => Self::Other,
            op if state_written(op) == Some(State::Variable) => Self::Other,
            _ => Self::Read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attr;

    /// The second input of a call is not the second argument if the first argument is a list.
    #[test]
    fn handles_in_calls_with_lists_are_not_followed() {
        let argument = |name: &str| pb::op_def::op_def::ArgDef { name: name.into(), ..Default::default() };
        let mut definition =
            pb::GraphDef { node: vec![attr::node("call", "f", &["a", "b"], [])], ..Default::default() };
        for (number_attr, is_followed) in [("", true), ("N", false)] {
            let mut function = pb::FunctionDef::new();
            let signature = function.signature.mut_or_insert_default();
            signature.name = "f".into();
            signature.input_arg = vec![argument("first"), argument("second")];
            signature.input_arg[0].number_attr = number_attr.into();
            definition.library.mut_or_insert_default().function = vec![function];
            let graph = Graph::new(&definition);
            let found = HandleUse::new(&definition.node[0], 1, HandleKind::Resource, &graph);
            assert_eq!(matches!(found, HandleUse::Call(_, 1)), is_followed);
            assert_eq!(matches!(found, HandleUse::Other), !is_followed);
        }
    }
}
