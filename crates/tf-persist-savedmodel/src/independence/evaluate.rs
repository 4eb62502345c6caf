//! Evaluates a graph: each node once, functions with their arguments, loops until nothing changes.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::rules::{self, Call, Refusal};
use super::size::Size;
use super::value::Value;
use super::{Dependence, attributes};
use crate::graph::view::{ArgumentView, IndexedFunction, IndexedGraph, NodeView, source};

/// The number of nodes that are evaluated. Nodes of functions count once per call.
const MAX_NODES: usize = 200_000;

/// The depth of nested calls. Each takes some of the thread's stack.
const MAX_DEPTH: usize = 32;

/// The number of times that a loop's body is evaluated before the proof is given up.
const MAX_ROUNDS: usize = 8;

/// The outputs of a node.
#[derive(Debug, Clone)]
pub(super) enum Outputs {
    Each(Vec<Value>),
    /// Any number of outputs, all with this value.
    All(Value),
}

impl Outputs {
    fn get(&self, index: usize) -> Option<Value> {
        match self {
            Self::Each(values) => values.get(index).cloned(),
            Self::All(value) => Some(value.clone()),
        }
    }
}

pub(super) struct Evaluator<'g, 'a> {
    nodes: HashMap<&'a str, &'g NodeView<'a>>,
    functions: HashMap<&'a str, &'g IndexedFunction<'a>>,
    symbols: u32,
    evaluated: usize,
}

/// A graph's top, or the body of a function that is called.
struct Scope<'g, 'a, 'f> {
    nodes: HashMap<&'a str, &'g NodeView<'a>>,
    is_function: bool,
    /// The arguments of the function, by name.
    arguments: HashMap<&'a str, Value>,
    /// The values that are fed, by node and output.
    fed: Option<&'f HashMap<(String, usize), Value>>,
    outputs: HashMap<&'a str, Outputs>,
    depth: usize,
}

impl<'g, 'a> Evaluator<'g, 'a> {
    pub(super) fn new(graph: &'g IndexedGraph<'a>) -> Self {
        Self {
            nodes: graph.nodes.iter().map(|node| (node.name, node)).collect(),
            functions: graph.functions.iter().map(|function| (function.name, function)).collect(),
            symbols: 0,
            evaluated: 0,
        }
    }

    /// A new unknown size.
    pub(super) fn symbol(&mut self) -> Size {
        self.symbols += 1;
        Size::symbol(self.symbols)
    }

    /// Evaluates tensors at the graph's top.
    pub(super) fn top(
        &mut self,
        fed: &HashMap<(String, usize), Value>,
        wanted: &[(String, usize)],
    ) -> Result<Vec<Value>, Dependence> {
        let mut scope = Scope {
            nodes: self.nodes.clone(),
            is_function: false,
            arguments: HashMap::new(),
            fed: Some(fed),
            outputs: HashMap::new(),
            depth: 0,
        };
        let mut values = Vec::new();
        for (node, output) in wanted {
            if let Some(value) = fed.get(&(node.clone(), *output)) {
                values.push(value.clone());
                continue;
            }
            self.evaluate(&mut scope, node)?;
            let value = scope.outputs.get(node.as_str()).and_then(|outputs| outputs.get(*output));
            values.push(value.ok_or_else(|| refuse("", "", format!("the graph has no tensor `{node}:{output}`")))?);
        }
        Ok(values)
    }

    /// Evaluates a node and all it needs, without recursion.
    fn evaluate(&mut self, scope: &mut Scope<'g, 'a, '_>, root: &str) -> Result<(), Dependence> {
        let Some(root) = scope.nodes.get(root).copied() else {
            return Err(refuse("", "", format!("the graph has no node `{root}`")));
        };
        let mut open: HashSet<&str> = HashSet::new();
        let mut todo = vec![(root, false)];
        while let Some((node, are_inputs_done)) = todo.pop() {
            if scope.outputs.contains_key(node.name) {
                continue;
            }
            if are_inputs_done {
                open.remove(node.name);
                let outputs = self.node(scope, node)?;
                scope.outputs.insert(node.name, outputs);
                continue;
            }
            if !open.insert(node.name) {
                return Err(refuse(node.name, node.op, "it is part of a loop of nodes"));
            }
            self.count(1)?;
            todo.push((node, true));
            for input in node.inputs() {
                match scope.node_of(input) {
                    Ok(Some(needed)) if !scope.outputs.contains_key(needed.name) => todo.push((needed, false)),
                    Ok(_) => {}
                    Err(()) => return Err(refuse(node.name, node.op, "it takes a tensor that does not exist")),
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize) -> Result<(), Dependence> {
        self.evaluated += nodes;
        if self.evaluated > MAX_NODES {
            return Err(refuse("", "", "the graph is too large to analyze"));
        }
        Ok(())
    }

    fn node(&mut self, scope: &Scope<'g, 'a, '_>, node: &'g NodeView<'a>) -> Result<Outputs, Dependence> {
        if !attributes::are_given(node) {
            return Err(refuse(node.name, node.op, "the caller of the function gives one of its attributes"));
        }
        let inputs = node.tensors().map(|input| self.input(scope, input)).collect::<Option<Vec<Value>>>();
        let inputs = inputs.ok_or_else(|| refuse(node.name, node.op, "it takes a tensor that does not exist"))?;
        if self.functions.contains_key(node.op) {
            return self.call(node, node.op, inputs, scope.depth).map(Outputs::Each);
        }
        match node.op {
            "StatefulPartitionedCall" | "PartitionedCall" => {
                let name = attributes::function(node, "f").unwrap_or_default();
                self.call(node, name, inputs, scope.depth).map(Outputs::Each)
            }
            "While" | "StatelessWhile" => self.run_loop(node, inputs, scope.depth),
            "If" | "StatelessIf" => self.branch(node, inputs, scope.depth),
            _ => {
                let mut call = Call { node, inputs: &inputs, symbols: &mut self.symbols };
                rules::apply(&mut call).or_else(|refusal| match refusal {
                    Refusal::Unknown => Err(refuse(node.name, node.op, "there is no rule for this op")),
                    Refusal::Mixed(reason) => Ok(mixed(node, reason)),
                })
            }
        }
    }

    /// The value of a node's input.
    fn input(&self, scope: &Scope<'g, 'a, '_>, input: &str) -> Option<Value> {
        if scope.is_function && !input.contains(':') {
            return scope.arguments.get(input).cloned();
        }
        let (node, output) = source(input);
        let output = if scope.is_function {
            let node = scope.nodes.get(node)?;
            self.output_number(node, output?)?
        } else {
            output?.parse().ok()?
        };
        if let Some(value) = scope.fed.and_then(|fed| fed.get(&(node.to_owned(), output))) {
            return Some(value.clone());
        }
        scope.outputs.get(node)?.get(output)
    }

    /// The index of a node's output that is named `argument:index` in a function's body.
    fn output_number(&self, node: &NodeView<'a>, name: &str) -> Option<usize> {
        let (argument, index) = name.split_once(':')?;
        let index: usize = index.parse().ok()?;
        if let Some(function) = self.functions.get(node.op) {
            let first = function.outputs.iter().position(|output| output.name == argument)?;
            return (index == 0).then_some(first);
        }
        match (node.op, argument) {
            ("TopKV2", "values") | ("FusedBatchNormV3" | "FusedBatchNormV2" | "FusedBatchNorm", "y") => Some(0),
            ("TopKV2" | "FusedBatchNormV3" | "FusedBatchNormV2" | "FusedBatchNorm", _) => Some(1),
            _ => Some(index),
        }
    }

    /// Evaluates a call of a function.
    fn call(
        &mut self,
        node: &NodeView<'a>,
        name: &str,
        arguments: Vec<Value>,
        depth: usize,
    ) -> Result<Vec<Value>, Dependence> {
        let refuse = |reason: &str| refuse(node.name, node.op, reason);
        let Some(function) = self.functions.get(name).copied() else {
            return Err(refuse("it calls a function that does not exist"));
        };
        let is_like = |other: &&&IndexedFunction<'_>| other.implements == function.implements;
        if !function.implements.is_empty() && self.functions.values().filter(is_like).count() > 1 {
            return Err(refuse("TensorFlow may run another function instead, which implements the same"));
        }
        self.count(function.nodes.len())?;
        if depth >= MAX_DEPTH {
            return Err(refuse("its functions call each other too deeply"));
        }
        let has_lists = function.inputs.iter().chain(&function.outputs).any(ArgumentView::is_list);
        if function.inputs.len() != arguments.len() || has_lists {
            return Err(refuse("it calls a function with other arguments than that has"));
        }
        let names = function.inputs.iter().map(|input| input.name);
        let mut scope = Scope {
            nodes: function.nodes.iter().map(|node| (node.name, node)).collect(),
            is_function: true,
            arguments: names.zip(arguments).collect(),
            fed: None,
            outputs: HashMap::new(),
            depth: depth + 1,
        };
        let returned = function.outputs.iter().map(|output| function.returns.get(output.name).copied());
        let returned: Vec<&str> =
            returned.collect::<Option<_>>().ok_or_else(|| refuse("it calls a function that gives no such output"))?;
        for tensor in returned.iter().filter(|tensor| tensor.contains(':')) {
            self.evaluate(&mut scope, source(tensor).0)?;
        }
        for control in &function.control_returns {
            self.evaluate(&mut scope, control)?;
        }
        // TensorFlow also runs nodes with effects that nothing depends on.
        for unused in &function.nodes {
            let is_call = self.functions.contains_key(unused.op) || unused.functions_in_attrs().next().is_some();
            if is_call || !rules::is_known(unused.op) {
                self.evaluate(&mut scope, unused.name)?;
            }
        }
        let values = returned.iter().map(|tensor| self.input(&scope, tensor));
        values.collect::<Option<_>>().ok_or_else(|| refuse("it calls a function that gives no such output"))
    }

    fn run_loop(&mut self, node: &'g NodeView<'a>, mut state: Vec<Value>, depth: usize) -> Result<Outputs, Dependence> {
        let name = |attribute| attributes::function(node, attribute).unwrap_or_default();
        let (condition, body) = (name("cond"), name("body"));
        for _ in 0..MAX_ROUNDS {
            let goes_on = self.call(node, condition, state.clone(), depth)?;
            if !matches!(goes_on.as_slice(), [value] if value.is_fixed()) {
                return Ok(mixed(node, "how often the loop runs depends on the inputs".to_owned()));
            }
            let next = self.call(node, body, state.clone(), depth)?;
            if next.len() != state.len() {
                return Err(refuse(node.name, node.op, "the loop gives back other values than it takes"));
            }
            let joined: Vec<Value> = state.iter().zip(next).map(|(a, b)| join(node, a.clone(), b)).collect();
            if joined == state {
                return Ok(Outputs::Each(state));
            }
            state = joined;
        }
        Err(refuse(node.name, node.op, "the values of the loop do not converge"))
    }

    fn branch(&mut self, node: &'g NodeView<'a>, mut inputs: Vec<Value>, depth: usize) -> Result<Outputs, Dependence> {
        if inputs.is_empty() {
            return Err(refuse(node.name, node.op, "it has no condition"));
        }
        let is_fixed = inputs.remove(0).is_fixed();
        let name = |attribute| attributes::function(node, attribute).unwrap_or_default();
        let one = self.call(node, name("then_branch"), inputs.clone(), depth)?;
        let other = self.call(node, name("else_branch"), inputs, depth)?;
        if !is_fixed {
            return Ok(mixed(node, "which branch is taken depends on the inputs".to_owned()));
        }
        if one.len() != other.len() {
            return Err(refuse(node.name, node.op, "its branches give different values"));
        }
        Ok(Outputs::Each(one.into_iter().zip(other).map(|(a, b)| join(node, a, b)).collect()))
    }
}

impl<'g, 'a> Scope<'g, 'a, '_> {
    /// The node that gives an input; none if it is fed or an argument.
    fn node_of(&self, input: &str) -> Result<Option<&'g NodeView<'a>>, ()> {
        let (name, output) = source(input);
        if self.is_function && !input.contains(':') && output.is_some() {
            return if self.arguments.contains_key(name) { Ok(None) } else { Err(()) };
        }
        let number = output.and_then(|output| output.parse().ok());
        if let (Some(fed), Some(number)) = (self.fed, number)
            && fed.contains_key(&(name.to_owned(), number))
        {
            return Ok(None);
        }
        self.nodes.get(name).copied().map(Some).ok_or(())
    }
}

fn join(node: &NodeView<'_>, a: Value, b: Value) -> Value {
    let why = || Dependence {
        node: node.name.to_owned(),
        op: node.op.to_owned(),
        reason: "a value does not have the same form on all paths".to_owned(),
    };
    match (a, b) {
        (Value::Mixed(why), _) | (_, Value::Mixed(why)) => Value::Mixed(why),
        (a, b) => a.join(b).unwrap_or_else(|| Value::Mixed(Rc::new(why()))),
    }
}

fn mixed(node: &NodeView<'_>, reason: String) -> Outputs {
    Outputs::All(Value::Mixed(Rc::new(refuse(node.name, node.op, reason))))
}

fn refuse(node: &str, op: &str, reason: impl Into<String>) -> Dependence {
    Dependence { node: node.to_owned(), op: op.to_owned(), reason: reason.into() }
}
