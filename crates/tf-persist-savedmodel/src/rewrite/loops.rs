//! Loops whose number of steps is the same in every run become their steps, one after the other.
//!
//! TensorFlow runs a loop as a frame: five ops for each loop variable and step, besides those of the body.

use std::collections::{BTreeMap, HashMap, HashSet};

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;

use crate::dtype::DType;
use crate::graph::{attr, is_control};
use crate::ops::{call_op, is_known_op, is_stateful};
use crate::rewrite::effects::{has_control_flow, named_functions};
use crate::rewrite::scalars::Scalars;
use crate::tensor::{Tensor, proto};

/// The most steps that are unrolled, and the most nodes that a graph may get by this.
const MAX_STEPS: usize = 256;
const MAX_NODES: usize = 20_000;

/// The functions of a graph by name.
type Functions<'f> = HashMap<&'f str, &'f pb::FunctionDef>;

/// Replaces the loops at the top of a graph by calls of their bodies, which [`inline`](super::inline) replaces. These
/// nodes are asked for by their names. Returns the nodes that took the places of loops.
pub(crate) fn unroll(graph: &mut pb::GraphDef, asked: &HashSet<String>) -> HashSet<String> {
    // The constants of a loop within a loop of TensorFlow 1 would be outside of both.
    if has_control_flow(&graph.node) {
        return HashSet::new();
    }
    let mut made: HashMap<usize, Vec<pb::NodeDef>> = HashMap::new();
    {
        let library = &graph.library.function;
        let functions: Functions<'_> =
            library.iter().map(|function| (function.signature.name.as_str(), function)).collect();
        let scalars = Scalars::new(&graph.node, BTreeMap::new(), asked).without_waiting();
        let names: HashSet<&str> = graph.node.iter().map(|node| node.name.as_str()).collect();
        let mut left = MAX_NODES;
        for (index, node) in graph.node.iter().enumerate() {
            let Some(plan) = Plan::new(node, &functions, &scalars) else { continue };
            let Some(rest) = left.checked_sub(plan.steps.len() * plan.body.node_def.len()) else { continue };
            let nodes = plan.nodes(node);
            if nodes.iter().skip(1).all(|made| !names.contains(made.name.as_str())) {
                left = rest;
                made.insert(index, nodes);
            }
        }
    }
    let replaced = made.values().map(|nodes| nodes[0].name.clone()).collect();
    for (index, mut nodes) in made {
        graph.node[index] = nodes.remove(0);
        graph.node.extend(nodes);
    }
    replaced
}

/// The known loop variables before each step.
type Known = Vec<Option<i64>>;

struct Plan<'f> {
    body: &'f pb::FunctionDef,
    steps: Vec<Known>,
}

impl<'f> Plan<'f> {
    /// How a node is unrolled; `None` if it is no loop, or its number of steps is not known.
    fn new(node: &pb::NodeDef, functions: &Functions<'f>, scalars: &Scalars<'_>) -> Option<Self> {
        if !matches!(node.op.as_str(), "While" | "StatelessWhile") {
            return None;
        }
        let function = |name: &str| match &node.attr.get(name)?.value {
            Some(Value::Func(function)) => {
                functions.get(function.name.as_str()).copied().filter(|_| function.attr.is_empty())
            }
            _ => None,
        };
        let (condition, body) = (function("cond")?, function("body")?);
        if !is_pure(condition, functions) || !is_pure(body, functions) {
            return None;
        }
        // The calls of such a body would stay calls.
        if has_control_flow(&body.node_def) {
            return None;
        }
        let mut known: Known =
            node.input.iter().filter(|input| !is_control(input)).map(|input| scalars.value(input)).collect();
        let nothing = HashSet::new();
        let mut steps = Vec::new();
        loop {
            let goes_on = *returned(condition, &known, &nothing)?.first()?;
            if goes_on? == 0 {
                break;
            }
            if steps.len() == MAX_STEPS {
                return None;
            }
            let next = returned(body, &known, &nothing)?;
            steps.push(std::mem::replace(&mut known, next));
        }
        (!steps.is_empty()).then_some(Self { body, steps })
    }

    /// The calls of the body, one for each step. The first node has the name of the loop, and its outputs.
    fn nodes(&self, node: &pb::NodeDef) -> Vec<pb::NodeDef> {
        let types = attr::list_of_types(node, "T");
        let list = || attr::dtypes(types.iter().copied());
        let (controls, mut tensors): (Vec<String>, Vec<String>) =
            node.input.iter().cloned().partition(|input| is_control(input));
        let mut constants: BTreeMap<String, pb::NodeDef> = BTreeMap::new();
        let mut nodes = vec![attr::node(node.name.as_str(), "IdentityN", &[], [("T", list())])];
        for (number, known) in self.steps.iter().enumerate() {
            // Known numbers are constants, so that TensorFlow computes with them once.
            for ((tensor, value), dtype) in tensors.iter_mut().zip(known).zip(&types).filter(|_| number > 0) {
                let Some((value, constant)) = value.and_then(|value| Some((value, scalar(value, *dtype)?))) else {
                    continue;
                };
                *tensor = format!("{}/known_{}_{value}", node.name, dtype.value());
                let constant = || attr::const_node(tensor, proto::to_proto(&constant));
                constants.entry(tensor.clone()).or_insert_with(constant);
            }
            let name = format!("{}/step_{number}", node.name);
            let attributes = [("f", attr::function(&self.body.signature.name)), ("Tin", list()), ("Tout", list())];
            let mut call = attr::node(name.as_str(), "PartitionedCall", &[], attributes);
            call.input = tensors.iter().chain(&controls).cloned().collect();
            nodes.push(call);
            let output = |index: usize| if index == 0 { name.clone() } else { format!("{name}:{index}") };
            tensors = (0..types.len()).map(output).collect();
        }
        nodes[0].input = tensors;
        nodes.extend(constants.into_values());
        nodes.iter_mut().for_each(|made| made.device.clone_from(&node.device));
        nodes
    }
}

/// The known values that a function returns for known arguments.
fn returned(function: &pb::FunctionDef, known: &Known, nothing: &HashSet<String>) -> Option<Known> {
    let names = function.signature.input_arg.iter().map(|argument| argument.name.as_str());
    let arguments = names.zip(known).filter_map(|(name, value)| Some((name, (*value)?))).collect();
    let scalars = Scalars::new(&function.node_def, arguments, nothing).without_waiting();
    function
        .signature
        .output_arg
        .iter()
        .map(|output| function.ret.get(&output.name).map(|tensor| scalars.value(tensor)))
        .collect()
}

fn scalar(value: i64, dtype: attr::ProtoType) -> Option<Tensor> {
    match DType::from_number(dtype.value()) {
        DType::Int32 => Tensor::scalar(i32::try_from(value).ok()?).ok(),
        DType::Int64 => Tensor::scalar(value).ok(),
        DType::Bool => Tensor::scalar(value != 0).ok(),
        _ => None,
    }
}

/// Whether a function has no state and no effect.
fn is_pure(function: &pb::FunctionDef, functions: &Functions<'_>) -> bool {
    let mut seen = HashSet::new();
    let mut todo = vec![function];
    while let Some(function) = todo.pop() {
        for node in &function.node_def {
            let called = named_functions(node).chain([node.op.as_str()]);
            let called: Vec<&pb::FunctionDef> = called.filter_map(|name| functions.get(name).copied()).collect();
            // Such an op has the effects of its functions.
            let calls = call_op(&node.op).is_some();
            if !calls && (is_stateful(&node.op) || !is_known_op(&node.op)) {
                return false;
            }
            todo.extend(called.into_iter().filter(|it| seen.insert(it.signature.name.clone())));
        }
    }
    true
}
