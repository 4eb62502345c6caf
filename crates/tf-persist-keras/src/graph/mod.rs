//! Builds graphs: typed tensors in, nodes out.
//!
//! A [`Graph`] is the body of one function. Its methods add nodes and infer dtype and shape of their outputs, so that a
//! layer knows the static shapes of what it computes. A tensor of an outer graph may be used in an inner one, such as
//! the body of a loop: it becomes an argument of the inner function.

mod assign;
pub(crate) mod attr;
mod capture;
mod control;
pub(crate) mod op_outputs;
mod ops;
pub(crate) mod program;
pub(crate) mod shape;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use tf_persist_savedmodel::DType;

pub(crate) use attr::{Attr, Attrs};
pub(crate) use control::Loop;
pub(crate) use ops::conv::Margins;
pub(crate) use ops::nn::Padding;
pub(crate) use ops::slice::Slice;
pub(crate) use ops::strings::Ragged;
pub(crate) use program::{Function, Program, Resource, Signature, Table, Variable};
pub(crate) use shape::{Dim, Shape, axis_index};

use crate::reason::{Result, refuse};
use assign::Uses;
use program::CONSTANT_PER_NODE;

/// The inputs and outputs, and the bytes of a name, that take as much memory as a node.
const TENSORS_PER_NODE: usize = 8;
const NAME_PER_NODE: usize = 256;

/// An output of a node: a tensor that is computed when the graph runs.
#[derive(Clone)]
pub(crate) struct TensorRef {
    graph: u32,
    /// The index of the node.
    pub(crate) node: usize,
    /// The index of the output.
    pub(crate) output: usize,
    pub(crate) dtype: DType,
    pub(crate) shape: Shape,
}

impl TensorRef {
    pub(crate) fn dims(&self) -> &[Dim] {
        self.shape.dims()
    }

    pub(crate) fn rank(&self) -> usize {
        self.shape.rank()
    }

    /// The size of a dimension, which may count from the end.
    pub(crate) fn dim(&self, axis: i64) -> Result<Dim> {
        Ok(self.dims()[axis_index(axis, self.rank())?])
    }

    /// The size of a dimension that must be known when the model is converted.
    pub(crate) fn size(&self, axis: i64) -> Result<u64> {
        match self.dim(axis)? {
            Some(size) => Ok(size),
            None => refuse!("the size of axis {axis} of its input is unknown, and must be known"),
        }
    }

    /// Whether both are the same output of the same node.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.key() == other.key()
    }

    /// What identifies it among the tensors of a program.
    pub(crate) fn key(&self) -> (u32, usize, usize) {
        (self.graph, self.node, self.output)
    }
}

impl fmt::Debug for TensorRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}.{}:{} {}{}", self.graph, self.node, self.output, self.dtype, self.shape)
    }
}

/// The op of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// An op of TensorFlow.
    Named(&'static str),
    /// An argument of the function, by its index among them.
    Argument(usize),
    /// The handle of a variable or table, which its signature passes to the function.
    Handle(Resource),
}

/// A node of a graph.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) op: Op,
    pub(crate) inputs: Vec<TensorRef>,
    /// The nodes that run before it.
    pub(crate) control: Vec<usize>,
    pub(crate) attrs: Attrs,
    pub(crate) outputs: Vec<(DType, Shape)>,
}

/// The body of a function.
pub(crate) struct Graph {
    number: u32,
    pub(crate) program: Rc<Program>,
    inner: RefCell<Inner>,
}

#[derive(Default)]
struct Inner {
    nodes: Vec<Node>,
    arguments: Vec<TensorRef>,
    /// The tensors of outer graphs that it uses, each with the argument that it is here.
    captures: Vec<(TensorRef, TensorRef)>,
    handles: HashMap<Resource, TensorRef>,
    /// The nodes of the arguments that are handles.
    passed: Vec<(usize, Resource)>,
    uses: HashMap<Resource, Uses>,
    /// The values of variables, as read at the beginning.
    reads: HashMap<Resource, TensorRef>,
    scopes: Vec<String>,
    names: HashMap<String, usize>,
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph").field("nodes", &self.inner.borrow().nodes.len()).finish_non_exhaustive()
    }
}

impl Graph {
    pub(crate) fn new(program: &Rc<Program>) -> Self {
        Self { number: program.next_graph(), program: Rc::clone(program), inner: RefCell::default() }
    }

    /// Adds an argument to the function.
    pub(crate) fn argument(&self, name: &str, dtype: DType, shape: Shape) -> Result<TensorRef> {
        let index = self.inner.borrow().arguments.len();
        let argument = self.push(name, Op::Argument(index), &[], Vec::new(), vec![(dtype, shape)])?.remove(0);
        self.inner.borrow_mut().arguments.push(argument.clone());
        Ok(argument)
    }

    /// The arguments, without handles.
    pub(crate) fn arguments(&self) -> Vec<TensorRef> {
        self.inner.borrow().arguments.clone()
    }

    /// A copy of the nodes, in an order in which each comes after its inputs.
    pub(crate) fn nodes(&self) -> Vec<Node> {
        self.inner.borrow().nodes.clone()
    }

    /// The name of the node of a tensor.
    pub(crate) fn node_name(&self, tensor: &TensorRef) -> String {
        self.inner.borrow().nodes.get(tensor.node).map(|node| node.name.clone()).unwrap_or_default()
    }

    /// Calls `read` with the nodes.
    pub(crate) fn with_nodes<T>(&self, read: impl FnOnce(&[Node]) -> T) -> T {
        read(&self.inner.borrow().nodes)
    }

    /// An output of a node of this graph.
    pub(crate) fn output(&self, node: usize, output: usize) -> Result<TensorRef> {
        let inner = self.inner.borrow();
        match inner.nodes.get(node).and_then(|node| node.outputs.get(output)) {
            Some((dtype, shape)) => {
                Ok(TensorRef { graph: self.number, node, output, dtype: *dtype, shape: shape.clone() })
            }
            None => refuse!("there is no output {output} of node {node}"),
        }
    }

    /// The variables and tables that a caller passes, with the nodes of the arguments.
    pub(crate) fn passed_resources(&self) -> Vec<(usize, Resource)> {
        self.inner.borrow().passed.clone()
    }

    /// Adds a node with one output.
    pub(crate) fn add(
        &self,
        op: &'static str,
        inputs: &[&TensorRef],
        attrs: Attrs,
        dtype: DType,
        shape: Shape,
    ) -> Result<TensorRef> {
        Ok(self.add_many(op, inputs, attrs, vec![(dtype, shape)])?.remove(0))
    }

    /// Adds a node with these outputs.
    pub(crate) fn add_many(
        &self,
        op: &'static str,
        inputs: &[&TensorRef],
        attrs: Attrs,
        outputs: Vec<(DType, Shape)>,
    ) -> Result<Vec<TensorRef>> {
        self.push(op, Op::Named(op), inputs, attrs, outputs)
    }

    fn push(
        &self,
        name: &str,
        op: Op,
        inputs: &[&TensorRef],
        attrs: Attrs,
        outputs: Vec<(DType, Shape)>,
    ) -> Result<Vec<TensorRef>> {
        let inputs = inputs.iter().map(|input| self.here(input)).collect::<Result<Vec<_>>>()?;
        let mut inner = self.inner.borrow_mut();
        let name = inner.free_name(name);
        let node = inner.nodes.len();
        self.program.spend(work(&name, inputs.len() + outputs.len(), &attrs))?;
        let made = outputs.iter().enumerate();
        let made = made.map(|(output, (dtype, shape))| TensorRef {
            graph: self.number,
            node,
            output,
            dtype: *dtype,
            shape: shape.clone(),
        });
        let made = made.collect();
        let new = Node { name, op, inputs, control: Vec::new(), attrs, outputs };
        let has_effects = self.program.has_effects(&new);
        inner.nodes.push(new);
        inner.order(node, has_effects);
        Ok(made)
    }

    /// Makes the node of a tensor run after other nodes of this graph.
    pub(crate) fn run_after(&self, tensor: &TensorRef, before: &[usize]) {
        if let Some(node) = self.inner.borrow_mut().nodes.get_mut(tensor.node) {
            node.control.extend(before.iter().filter(|before| **before < tensor.node));
        }
    }

    /// Makes the nodes that `build` adds run after that of a tensor, as Python's `control_dependencies` does:
    /// TensorFlow computes some of them in another order otherwise, with other roundings.
    pub(crate) fn after<T>(&self, tensor: &TensorRef, build: impl FnOnce() -> Result<T>) -> Result<T> {
        let first = self.inner.borrow().nodes.len();
        let result = build()?;
        let mut inner = self.inner.borrow_mut();
        let added = inner.nodes.iter_mut().skip(first).filter(|node| matches!(node.op, Op::Named(_)));
        for node in added.filter(|_| tensor.node < first) {
            if !node.inputs.iter().any(|input| input.node == tensor.node || input.node >= first) {
                node.control.push(tensor.node);
            }
        }
        Ok(result)
    }

    /// Puts the nodes that `build` adds under a name, such as that of a layer.
    pub(crate) fn scoped<T>(&self, name: &str, build: impl FnOnce() -> T) -> T {
        self.inner.borrow_mut().scopes.push(valid_name(name));
        let result = build();
        self.inner.borrow_mut().scopes.pop();
        result
    }

    /// The handle of a variable or table.
    pub(crate) fn handle(&self, resource: Resource) -> Result<TensorRef> {
        if let Some(handle) = self.inner.borrow().handles.get(&resource) {
            return Ok(handle.clone());
        }
        let outputs = vec![(DType::Resource, Shape::scalar())];
        let handle = self.push("handle", Op::Handle(resource), &[], Vec::new(), outputs)?.remove(0);
        self.inner.borrow_mut().handles.insert(resource, handle.clone());
        Ok(handle)
    }

    /// The value of a variable at the beginning of the function.
    pub(crate) fn read(&self, variable: Resource) -> Result<TensorRef> {
        if let Some(value) = self.inner.borrow().reads.get(&variable) {
            return Ok(value.clone());
        }
        let value = self.read_again(variable)?;
        let mut inner = self.inner.borrow_mut();
        inner.read_first(value.node, variable);
        inner.reads.insert(variable, value.clone());
        Ok(value)
    }

    /// The value of a variable after the assignments so far, read by a node of its own.
    pub(crate) fn read_again(&self, variable: Resource) -> Result<TensorRef> {
        let Resource::Variable(index) = variable else { refuse!("a table has no value") };
        let (dtype, shape) = {
            let variables = self.program.variables.borrow();
            (variables[index].dtype, Shape::of_sizes(&variables[index].shape))
        };
        let handle = self.handle(variable)?;
        self.add("ReadVariableOp", &[&handle], vec![("dtype", dtype.into())], dtype, shape)
    }
}

impl Inner {
    /// A free name under the current scope. Names differ in more than case, which the function library ignores in
    /// places.
    fn free_name(&mut self, name: &str) -> String {
        let mut wanted = self.scopes.join("/");
        if !wanted.is_empty() {
            wanted.push('/');
        }
        wanted.push_str(&valid_name(name));
        loop {
            let count = self.names.entry(wanted.to_ascii_lowercase()).or_default();
            *count += 1;
            if *count == 1 {
                return wanted;
            }
            wanted = format!("{wanted}_{}", *count - 1);
        }
    }
}

/// What a node takes, in nodes.
fn work(name: &str, tensors: usize, attrs: &Attrs) -> usize {
    let constants = attrs.iter().map(|(_, attr)| match attr {
        Attr::Tensor(tensor) => tensor.memory(),
        _ => 0,
    });
    1 + tensors / TENSORS_PER_NODE + name.len() / NAME_PER_NODE + constants.sum::<usize>() / CONSTANT_PER_NODE
}

/// A name with the characters that TensorFlow allows in names of nodes.
fn valid_name(name: &str) -> String {
    let allowed = |it: char| it.is_ascii_alphanumeric() || "_.-".contains(it);
    let mut valid: String = name.chars().map(|it| if allowed(it) { it } else { '_' }).collect();
    if !valid.starts_with(|it: char| it.is_ascii_alphanumeric()) {
        valid.insert(0, 'n');
    }
    valid
}
