//! The nodes and functions of a graph and the calls between them.
//!
//! Nothing is decoded or copied: a node takes 64 bytes here, and thousands when it is decoded.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use crate::graph::view::{ArgumentView, AttrView, FunctionView, GraphView, NodeView};
use crate::ops::effects::effect;
use crate::ops::is_known_op;

/// The index of the body that is the graph's top.
pub(super) const TOP: usize = 0;

/// The graph's top, or a function.
#[derive(Debug, Default)]
pub(super) struct Body<'a> {
    /// The function's name; empty for the top.
    pub(super) name: &'a str,
    pub(super) nodes: Vec<NodeView<'a>>,
    /// The nodes whose ops may be reported.
    pub(super) interesting_nodes: Vec<usize>,
    /// The calls: the calling node and the function. Functions that attributes of this function name have no node.
    pub(super) calls: Vec<(Option<usize>, usize)>,
    /// The callers: body and node.
    pub(super) callers: Vec<(usize, usize)>,
    /// Whether it may have callers that are not in `callers`.
    pub(super) is_ambiguous: bool,
    pub(super) arguments: Vec<&'a str>,
    pub(super) outputs: Vec<&'a str>,
    /// Whether an argument or an output is a list of tensors, so that indices of tensors differ from those of names.
    pub(super) has_lists: bool,
    returns: Vec<(&'a str, &'a str)>,
    indices: OnceLock<HashMap<&'a str, usize>>,
}

/// A graph.
pub(super) struct Index<'a> {
    /// The top, then the functions.
    pub(super) bodies: Vec<Body<'a>>,
    functions: HashMap<&'a str, Vec<usize>>,
}

/// A reference to a function, by name.
struct FunctionRef<'a> {
    body: usize,
    node: Option<usize>,
    name: &'a str,
    /// Whether it names what the body implements (`api_implements`).
    implements: bool,
}

impl<'a> FunctionRef<'a> {
    fn by(body: usize, node: usize, name: &'a str) -> Self {
        Self { body, node: Some(node), name, implements: false }
    }
}

/// What the index needs to know of an op.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OpKind {
    /// An op of TensorFlow that only computes.
    Computes,
    HasEffect,
    /// An op that TensorFlow does not have: a function, or an op of a library.
    Unknown,
}

/// What is collected while nodes are added.
#[derive(Default)]
struct Found<'a> {
    function_refs: Vec<FunctionRef<'a>>,
    /// The ops so far. A graph has thousands of nodes of a few ops, and a look-up in the catalogue takes longer.
    ops: HashMap<&'a str, OpKind>,
}

impl<'a> Found<'a> {
    fn op(&mut self, op: &'a str) -> OpKind {
        *self.ops.entry(op).or_insert_with(|| match effect(op) {
            Some(_) => OpKind::HasEffect,
            None if is_known_op(op) => OpKind::Computes,
            None => OpKind::Unknown,
        })
    }
}

impl<'a> Index<'a> {
    /// The graph of a serialized `MetaGraphDef`.
    pub(super) fn new(meta_graph: &'a [u8]) -> Self {
        let mut index = Self { bodies: vec![Body::default()], functions: HashMap::new() };
        let mut found = Found::default();
        let graph = GraphView::new(meta_graph);
        graph.nodes().for_each(|node| index.bodies[TOP].add(node, TOP, &mut found));
        for function in graph.functions() {
            let body = Body::function(function, index.bodies.len(), &mut found);
            index.bodies.push(body);
        }
        let mut function_refs = found.function_refs;
        let gradients: Vec<(&str, &str)> = graph.gradients().chain(graph.registered_gradients()).collect();
        for (number, body) in index.bodies.iter().enumerate().skip(1) {
            index.functions.entry(body.name).or_default().push(number);
        }
        index.shadowed(&mut function_refs);
        index.connect(&function_refs, &gradients);
        index
    }

    /// The bodies with this name. TensorFlow keeps one function of each name; which one is unspecified.
    pub(super) fn functions(&self, name: &str) -> &[usize] {
        self.functions.get(name).map_or(&[], Vec::as_slice)
    }

    /// Adds references from nodes whose op is the name of both a function and an op of TensorFlow. TensorFlow 2.21
    /// refuses such functions.
    fn shadowed(&self, function_refs: &mut Vec<FunctionRef<'a>>) {
        let shadows: HashSet<&str> = self.functions.keys().copied().filter(|name| is_known_op(name)).collect();
        if shadows.is_empty() {
            return;
        }
        for (body, index, node) in self.nodes() {
            if shadows.contains(node.op) {
                function_refs.push(FunctionRef::by(body, index, node.op));
            }
        }
    }

    /// Every node, with the index of its body and its own.
    fn nodes(&self) -> impl Iterator<Item = (usize, usize, &NodeView<'a>)> {
        let bodies = self.bodies.iter().enumerate();
        bodies.flat_map(|(body, it)| it.nodes.iter().enumerate().map(move |(index, node)| (body, index, node)))
    }

    /// Turns references into calls. A name refers to the functions that have it, to their gradients, and to the
    /// functions that implement the same (`api_implements`): grappler's implementation selector replaces one by
    /// another.
    fn connect(&mut self, function_refs: &[FunctionRef<'a>], gradients: &[(&'a str, &'a str)]) {
        let mut referents: HashMap<&str, Vec<usize>> = self.functions.clone();
        for (of, function) in gradients {
            let functions = self.functions.get(function).into_iter().flatten();
            referents.entry(of).or_default().extend(functions);
        }
        for function_ref in function_refs.iter().filter(|function_ref| function_ref.implements) {
            referents.entry(function_ref.name).or_default().push(function_ref.body);
        }
        // If a name refers to several functions, an extra body between them and their callers keeps the number of calls
        // small.
        for functions in referents.values_mut().filter(|functions| functions.len() > 1) {
            let between = self.bodies.len();
            let calls = functions.iter().map(|function| (None, *function)).collect();
            self.bodies.push(Body { calls, is_ambiguous: true, ..Body::default() });
            for function in std::mem::replace(functions, vec![between]) {
                self.bodies[function].is_ambiguous = true;
            }
        }
        for function_ref in function_refs {
            let Some(&[callee]) = referents.get(function_ref.name).map(Vec::as_slice) else { continue };
            self.bodies[function_ref.body].calls.push((function_ref.node, callee));
            match function_ref.node {
                Some(node) => self.bodies[callee].callers.push((function_ref.body, node)),
                // A function that alone implements something replaces only itself.
                None if function_ref.body == callee => {}
                None => self.bodies[callee].is_ambiguous = true,
            }
        }
    }
}

impl<'a> Body<'a> {
    fn function(function: FunctionView<'a>, index: usize, found: &mut Found<'a>) -> Self {
        let mut body = Self { name: function.name, ..Self::default() };
        let mut has_lists = false;
        let mut name = |argument: ArgumentView<'a>| {
            has_lists |= argument.is_list();
            argument.name
        };
        body.arguments.extend(function.inputs().map(&mut name));
        body.outputs.extend(function.outputs().map(&mut name));
        body.has_lists = has_lists;
        body.returns.extend(function.returns());
        function.nodes().for_each(|node| body.add(node, index, found));
        for attr in function.attrs() {
            let implements = attr.is_named("api_implements");
            let mut function_ref =
                |name| found.function_refs.push(FunctionRef { body: index, node: None, name, implements });
            // The functions of its gradient, or what it implements.
            if implements || attr.is_named("forward_function_name") || attr.is_named("backward_function_name") {
                attr.text().into_iter().for_each(&mut function_ref);
            }
            add_function_refs(attr, function_ref);
        }
        body
    }

    fn add(&mut self, node: NodeView<'a>, body: usize, found: &mut Found<'a>) {
        let index = self.nodes.len();
        for attr in node.attrs() {
            add_function_refs(attr, |name| found.function_refs.push(FunctionRef::by(body, index, name)));
        }
        let kind = found.op(node.op);
        if kind != OpKind::Computes {
            self.interesting_nodes.push(index);
        }
        if kind == OpKind::Unknown {
            found.function_refs.push(FunctionRef::by(body, index, node.op));
        }
        self.nodes.push(node);
    }

    /// The index of the node with this name.
    pub(super) fn node_index(&self, name: &str) -> Option<usize> {
        let indices = self.indices.get_or_init(|| {
            let named = self.nodes.iter().enumerate().map(|(index, node)| (node.name, index));
            named.collect()
        });
        indices.get(name).copied()
    }

    /// The tensor that a function returns as the output of this index.
    pub(super) fn returned(&self, output: usize) -> Option<&'a str> {
        let name = self.outputs.get(output)?;
        self.returns.iter().rev().find(|(returned, _)| returned == name).map(|(_, tensor)| *tensor)
    }
}

/// Calls `found` with every function that an attribute names, and with the type of gradient that a node requests.
fn add_function_refs<'a>(attr: AttrView<'a>, mut found: impl FnMut(&'a str)) {
    // A list instead of recursion: a hostile file may nest attributes deeply.
    let (mut next, mut todo) = (Some(attr), Vec::new());
    while let Some(attr) = next.or_else(|| todo.pop()) {
        next = None;
        if attr.is_named("_gradient_op_type") {
            attr.text().into_iter().for_each(&mut found);
        }
        for function in attr.functions() {
            found(function.name);
            todo.extend(function.attrs());
        }
    }
}
