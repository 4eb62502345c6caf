//! Scalars with the same value in every run: conditions and branch indices.

use std::collections::{BTreeMap, HashMap, HashSet};

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;

use crate::dtype::DType;
use crate::graph::{attr, is_control, node_of};
use crate::rewrite::effects::may_act_or_calls;
use crate::tensor::proto;

/// The most nodes that are visited for one value. Graphs have a few between a condition and its default.
const MAX_NODES: usize = 200;

/// The known scalars of a body: the top of the graph, or a function. Booleans are 0 or 1.
pub(crate) struct Scalars<'a> {
    nodes: HashMap<&'a str, &'a pb::NodeDef>,
    /// The known arguments of the function.
    arguments: BTreeMap<&'a str, i64>,
    /// The nodes with values from outside.
    fed: &'a HashSet<String>,
    /// Whether a scalar that waits for a node that may do more than compute is known.
    with_waiting: bool,
}

impl<'a> Scalars<'a> {
    pub(crate) fn new(nodes: &'a [pb::NodeDef], arguments: BTreeMap<&'a str, i64>, fed: &'a HashSet<String>) -> Self {
        Self {
            nodes: nodes.iter().map(|node| (node.name.as_str(), node)).collect(),
            arguments,
            fed,
            with_waiting: true,
        }
    }

    /// The same, for a caller that does not keep what computed a value: a scalar that waits for a node that may refuse
    /// the request, such as an assertion, is not known.
    pub(crate) fn without_waiting(self) -> Self {
        Self { with_waiting: false, ..self }
    }

    /// Whether the body has a node of this name.
    pub(crate) fn has_node(&self, name: &str) -> bool {
        self.nodes.contains_key(name)
    }

    /// The value of a tensor, if it is known.
    pub(crate) fn value(&self, tensor: &str) -> Option<i64> {
        if is_control(tensor) {
            return None;
        }
        self.visit(tensor, &mut MAX_NODES.clone())
    }

    /// Whether a control input of a node, or a node that it depends on, may do more than compute.
    fn waits_for_effect(&self, node: &'a pb::NodeDef) -> bool {
        let sources = |node: &'a pb::NodeDef| node.input.iter().filter_map(|input| self.nodes.get(node_of(input)));
        let controls = node.input.iter().filter(|input| is_control(input));
        let mut todo: Vec<&pb::NodeDef> =
            controls.filter_map(|input| self.nodes.get(node_of(input))).copied().collect();
        let mut seen = HashSet::new();
        while let Some(node) = todo.pop() {
            if may_act_or_calls(&node.op) {
                return true;
            }
            if seen.insert(node.name.as_str()) {
                todo.extend(sources(node));
            }
        }
        false
    }

    fn visit(&self, tensor: &str, left: &mut usize) -> Option<i64> {
        if let Some(value) = self.arguments.get(tensor) {
            return Some(*value);
        }
        let node = self.nodes.get(node_of(tensor)).filter(|node| !self.fed.contains(&node.name))?;
        if !self.with_waiting && self.waits_for_effect(node) {
            return None;
        }
        *left = left.checked_sub(1)?;
        let mut input = |index: usize| self.visit(node.input.get(index)?, left);
        let mut compare = |holds: fn(&i64, &i64) -> bool| Some(i64::from(holds(&input(0)?, &input(1)?)));
        match node.op.as_str() {
            "Const" => scalar(attr::constant(node)?),
            "PlaceholderWithDefault" | "Identity" | "StopGradient" | "Snapshot" => input(0),
            "LogicalNot" => input(0).map(|value| i64::from(value == 0)),
            "LogicalAnd" => Some(input(0)? & input(1)?),
            "LogicalOr" => Some(input(0)? | input(1)?),
            "Equal" => compare(i64::eq),
            "NotEqual" => compare(i64::ne),
            "Less" => compare(i64::lt),
            "LessEqual" => compare(i64::le),
            "Greater" => compare(i64::gt),
            "GreaterEqual" => compare(i64::ge),
            "Cast" => cast(input(0)?, node),
            "Add" | "AddV2" => of_dtype(input(0)?.checked_add(input(1)?)?, node),
            "Sub" => of_dtype(input(0)?.checked_sub(input(1)?)?, node),
            "Maximum" => Some(input(0)?.max(input(1)?)),
            "Minimum" => Some(input(0)?.min(input(1)?)),
            // Over the elements of a scalar, whatever the axes.
            "Max" | "Min" | "Sum" | "Prod" => input(0),
            _ => None,
        }
    }
}

/// The value of a scalar constant, if it is a boolean or an integer.
fn scalar(tensor: &pb::TensorProto) -> Option<i64> {
    let tensor = proto::from_proto(tensor, 64).ok()?;
    if !tensor.shape().is_empty() {
        return None;
    }
    match tensor.dtype() {
        DType::Bool => tensor.view::<bool>().ok()?.first().map(|value| i64::from(*value)),
        DType::Int32 => tensor.view::<i32>().ok()?.first().map(|value| i64::from(*value)),
        DType::Int64 => tensor.view::<i64>().ok()?.first().copied(),
        _ => None,
    }
}

/// A result, unless it overflows the dtype of a node.
fn of_dtype(value: i64, node: &pb::NodeDef) -> Option<i64> {
    let Some(Value::Type(dtype)) = node.attr.get("T")?.value else { return None };
    match DType::from_number(dtype.value()) {
        DType::Int32 => i32::try_from(value).ok().map(i64::from),
        DType::Int64 => Some(value),
        _ => None,
    }
}

/// Casts a value as a `Cast` node does.
fn cast(value: i64, node: &pb::NodeDef) -> Option<i64> {
    let Some(Value::Type(dtype)) = node.attr.get("DstT")?.value else { return None };
    match DType::from_number(dtype.value()) {
        DType::Bool => Some(i64::from(value != 0)),
        DType::Int32 => i32::try_from(value).ok().map(i64::from),
        DType::Int64 => Some(value),
        _ => None,
    }
}
