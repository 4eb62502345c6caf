//! Which nodes do more than compute, and which belong to the control flow of TensorFlow 1.

use std::collections::{HashMap, HashSet};

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;

use crate::ops::{call_op, is_known_op, is_stateful};

/// Ops without state that refuse values. Nodes may wait for them, so that a refused value has no answer.
const CHECKS: [&str; 3] = ["CheckNumerics", "CheckNumericsV2", "EnsureShape"];

/// Control flow of TensorFlow 1.
const CONTROL_FLOW: [&str; 11] = [
    "Enter",
    "Exit",
    "LoopCond",
    "Merge",
    "NextIteration",
    "RefEnter",
    "RefExit",
    "RefMerge",
    "RefNextIteration",
    "RefSwitch",
    "Switch",
];

/// Whether a graph or a function has control flow of TensorFlow 1.
///
/// Inputs, control inputs included, decide there whether a node runs, how often and in which loop. A new node without
/// inputs is outside every loop and every branch, and a control edge is more than an order.
pub(super) fn has_control_flow(nodes: &[pb::NodeDef]) -> bool {
    nodes.iter().any(|node| CONTROL_FLOW.contains(&node.op.as_str()))
}

/// Whether an op may do more than compute: it has state, refuses values, or is not known.
fn may_act(op: &str) -> bool {
    !is_known_op(op) || is_stateful(op) || CHECKS.contains(&op)
}

/// The functions that a node names in its attributes.
pub(super) fn named_functions(node: &pb::NodeDef) -> impl Iterator<Item = &str> {
    let functions = node.attr.values().flat_map(|value| match &value.value {
        Some(Value::Func(function)) => std::slice::from_ref(function),
        Some(Value::List(list)) => list.func.as_slice(),
        _ => &[],
    });
    functions.map(|function| function.name.as_str())
}

/// The functions of a graph that may do more than compute.
pub(super) struct ActingFunctions<'g> {
    names: HashSet<&'g str>,
    /// The functions that are there at all.
    known: HashSet<&'g str>,
}

impl<'g> ActingFunctions<'g> {
    pub(super) fn new(functions: &'g [pb::FunctionDef]) -> Self {
        let known: HashSet<&str> = functions.iter().map(|function| function.signature.name.as_str()).collect();
        let mut callers: HashMap<&str, Vec<&str>> = HashMap::new();
        let mut todo = Vec::new();
        for function in functions {
            let name = function.signature.name.as_str();
            if function.node_def.iter().any(|node| acts_itself(node, &known)) {
                todo.push(name);
            }
            for called in function.node_def.iter().flat_map(named_functions) {
                callers.entry(called).or_default().push(name);
            }
        }
        let mut names = HashSet::new();
        while let Some(name) = todo.pop() {
            if names.insert(name) {
                todo.extend(callers.get(name).into_iter().flatten());
            }
        }
        Self { names, known }
    }

    /// Whether a node may do more than compute, by itself or by a function that it calls.
    pub(super) fn acts(&self, node: &pb::NodeDef) -> bool {
        acts_itself(node, &self.known) || named_functions(node).any(|name| self.names.contains(name))
    }
}

/// Whether a node may do more than compute, apart from the functions that it calls. A call has their effects alone,
/// even one that TensorFlow takes for stateful.
fn acts_itself(node: &pb::NodeDef, known: &HashSet<&str>) -> bool {
    match call_op(&node.op) {
        Some(_) => named_functions(node).any(|name| !known.contains(name)),
        None => may_act(&node.op),
    }
}

/// Whether an op may do more than compute, where the functions are not at hand: a call may.
pub(super) fn may_act_or_calls(op: &str) -> bool {
    may_act(op) || call_op(op).is_some()
}
