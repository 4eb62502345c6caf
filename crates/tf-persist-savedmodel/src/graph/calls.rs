//! The functions that a node calls, and their arguments.

use std::collections::BTreeMap;

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;

use super::Graph;
use crate::ops::{CallOp, call_op};

/// The attribute by which a node requests a registered gradient (`tensorflow/python/framework/ops.py`).
const GRADIENT_OP_TYPE: &str = "_gradient_op_type";

/// Calls `found` with every function that a node needs: the one that its op names, those in its attributes, their
/// gradients, and the gradient that is registered for its `_gradient_op_type`.
pub(crate) fn called_functions<'n>(node: &'n pb::NodeDef, graph: &Graph<'n>, mut found: impl FnMut(&'n str)) {
    let mut found = |name: &'n str| {
        found(name);
        if let Some(gradient) = graph.gradients.get(name) {
            found(gradient);
        }
    };
    if graph.function(&node.op).is_some() {
        found(&node.op);
    }
    in_attributes(&node.attr, &mut found);
    if let Some(Value::S(asked)) = node.attr.get(GRADIENT_OP_TYPE).and_then(|asked| asked.value.as_ref())
        && let Some(gradient) = std::str::from_utf8(asked).ok().and_then(|asked| graph.registered_gradients.get(asked))
    {
        found(gradient);
    }
}

/// Calls `found` with the functions that attributes name, including those in attributes of functions.
fn in_attributes<'n>(attributes: &'n BTreeMap<String, pb::AttrValue>, found: &mut impl FnMut(&'n str)) {
    // A list instead of recursion: a hostile file may nest attributes deeply.
    let mut todo: Vec<_> = attributes.values().collect();
    while let Some(value) = todo.pop() {
        let functions = match &value.value {
            Some(Value::Func(function)) => std::slice::from_ref(function),
            Some(Value::List(list)) => &list.func,
            _ => continue,
        };
        for function in functions {
            found(&function.name);
            todo.extend(function.attr.values());
        }
    }
}

/// How the inputs of a node that calls functions become their arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arguments<'n> {
    /// The functions. All of them get the same arguments.
    pub(crate) functions: Vec<&'n str>,
    /// The attributes that name them; empty if the op itself is the function.
    pub(crate) attributes: &'static [&'static str],
    /// The input that is the first argument.
    pub(crate) first: usize,
    /// The attributes that list the arguments' dtypes, one after the other.
    pub(crate) types: &'static [&'static str],
    /// Whether each output is the final value of the argument with the same index, as in a loop.
    pub(crate) is_loop: bool,
}

/// Whether an argument or an output is a list of tensors, so that the tensors of a call have other indices.
fn has_lists(function: &pb::FunctionDef) -> bool {
    let signature = &function.signature;
    let mut arguments = signature.input_arg.iter().chain(&signature.output_arg);
    arguments.any(|argument| !argument.number_attr.is_empty() || !argument.type_list_attr.is_empty())
}

impl Arguments<'_> {
    /// Whether each input is one argument. That is false if a function takes or returns lists of tensors.
    pub(crate) fn are_single(&self, graph: &Graph<'_>) -> bool {
        !self.functions.iter().filter_map(|name| graph.function(name)).any(has_lists)
    }
}

/// The functions that a node calls and how its inputs become their arguments; `None` if it calls none, or in an unknown
/// way.
pub(crate) fn arguments<'n>(node: &'n pb::NodeDef, graph: &Graph<'_>) -> Option<Arguments<'n>> {
    if graph.function(&node.op).is_some() {
        return Some(Arguments { functions: vec![&node.op], attributes: &[], first: 0, types: &[], is_loop: false });
    }
    let CallOp { attributes, first, types, is_loop, .. } = call_op(&node.op)?;
    let mut functions = Vec::new();
    for attribute in attributes {
        match &node.attr.get(*attribute)?.value {
            Some(Value::Func(function)) => functions.push(function.name.as_str()),
            Some(Value::List(list)) => functions.extend(list.func.iter().map(|function| function.name.as_str())),
            _ => return None,
        }
    }
    Some(Arguments { functions, attributes, first, types, is_loop })
}
