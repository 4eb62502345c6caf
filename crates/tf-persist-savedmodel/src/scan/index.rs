//! The nodes and functions of a graph and the calls between them.
//!
//! Nothing is decoded or copied: a node takes 64 bytes here, against some thousands decoded.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use crate::graph::view::{ArgumentView, AttrView, FunctionView, GraphView, NodeView};
use crate::ops::effects::effect;
use crate::ops::is_known_op;

/// The number of the body that is the graph's top.
pub(super) const TOP: usize = 0;

/// The graph's top, or a function.
#[derive(Debug, Default)]
pub(super) struct Body<'a> {
    /// The function's name; empty for the top.
    pub(super) name: &'a str,
    pub(super) nodes: Vec<NodeView<'a>>,
    /// The nodes that a scan has something to say of.
    pub(super) interesting_nodes: Vec<usize>,
    /// The functions that its nodes name, with the nodes; those that its own attributes name have none.
    pub(super) calls: Vec<(Option<usize>, usize)>,
    /// Who calls it, from where.
    pub(super) callers: Vec<(usize, usize)>,
    /// Whether it may be called in ways that `callers` does not have.
    pub(super) is_ambiguous: bool,
    pub(super) arguments: Vec<&'a str>,
    pub(super) outputs: Vec<&'a str>,
    /// Whether an argument or an output stands for several tensors, so that their numbers are not those of the names.
    pub(super) has_lists: bool,
    returns: Vec<(&'a str, &'a str)>,
    places: OnceLock<HashMap<&'a str, usize>>,
}

/// A graph.
pub(super) struct Index<'a> {
    /// The top, then the functions.
    pub(super) bodies: Vec<Body<'a>>,
    functions: HashMap<&'a str, Vec<usize>>,
}

/// A function that something names.
struct FunctionRef<'a> {
    body: usize,
    node: Option<usize>,
    name: &'a str,
    /// Whether the function says that this is what it implements.
    implements: bool,
}

impl<'a> FunctionRef<'a> {
    fn by(body: usize, node: usize, name: &'a str) -> Self {
        Self { body, node: Some(node), name, implements: false }
    }
}

impl<'a> Index<'a> {
    /// The graph of a serialized `MetaGraphDef`.
    pub(super) fn of(meta_graph: &'a [u8]) -> Self {
        let mut index = Self { bodies: vec![Body::default()], functions: HashMap::new() };
        let mut function_refs = Vec::new();
        let graph = GraphView::new(meta_graph);
        graph.nodes().for_each(|node| index.bodies[TOP].add(node, TOP, &mut function_refs));
        for function in graph.functions() {
            let body = Body::function(function, index.bodies.len(), &mut function_refs);
            index.bodies.push(body);
        }
        let gradients: Vec<(&str, &str)> = graph.gradients().chain(graph.registered_gradients()).collect();
        for (place, body) in index.bodies.iter().enumerate().skip(1) {
            index.functions.entry(body.name).or_default().push(place);
        }
        index.shadowed(&mut function_refs);
        index.connect(&function_refs, &gradients);
        index
    }

    /// The bodies of this name. TensorFlow keeps one function of a name, and it is not said which.
    pub(super) fn functions(&self, name: &str) -> &[usize] {
        self.functions.get(name).map_or(&[], Vec::as_slice)
    }

    /// Functions that are called like ops of TensorFlow, which refuses them today: their nodes are calls as well.
    fn shadowed(&self, function_refs: &mut Vec<FunctionRef<'a>>) {
        let shadows: HashSet<&str> = self.functions.keys().copied().filter(|name| is_known_op(name)).collect();
        if shadows.is_empty() {
            return;
        }
        for (body, place, node) in self.nodes() {
            if shadows.contains(node.op) {
                function_refs.push(FunctionRef::by(body, place, node.op));
            }
        }
    }

    /// Every node, with its body and its place.
    fn nodes(&self) -> impl Iterator<Item = (usize, usize, &NodeView<'a>)> {
        let bodies = self.bodies.iter().enumerate();
        bodies.flat_map(|(body, it)| it.nodes.iter().enumerate().map(move |(place, node)| (body, place, node)))
    }

    /// Makes calls of references to functions. A name stands for the functions that have it, for their gradients, and for the functions that
    /// declare to implement the same (`api_implements`): grappler's implementation selector puts one in place of another.
    fn connect(&mut self, function_refs: &[FunctionRef<'a>], gradients: &[(&'a str, &'a str)]) {
        let mut meant: HashMap<&str, Vec<usize>> = self.functions.clone();
        for (of, function) in gradients {
            let functions = self.functions.get(function).into_iter().flatten();
            meant.entry(of).or_default().extend(functions);
        }
        for function_ref in function_refs.iter().filter(|function_ref| function_ref.implements) {
            meant.entry(function_ref.name).or_default().push(function_ref.body);
        }
        // Where a name has several meanings, a body between caller and functions keeps the calls few.
        for functions in meant.values_mut().filter(|functions| functions.len() > 1) {
            let between = self.bodies.len();
            let calls = functions.iter().map(|function| (None, *function)).collect();
            self.bodies.push(Body { calls, is_ambiguous: true, ..Body::default() });
            for function in std::mem::replace(functions, vec![between]) {
                self.bodies[function].is_ambiguous = true;
            }
        }
        for function_ref in function_refs {
            let Some(&[callee]) = meant.get(function_ref.name).map(Vec::as_slice) else { continue };
            self.bodies[function_ref.body].calls.push((function_ref.node, callee));
            match function_ref.node {
                Some(node) => self.bodies[callee].callers.push((function_ref.body, node)),
                // The only one of those that implement the same is called in its own place.
                None if function_ref.body == callee => {}
                None => self.bodies[callee].is_ambiguous = true,
            }
        }
    }
}

impl<'a> Body<'a> {
    fn function(function: FunctionView<'a>, place: usize, function_refs: &mut Vec<FunctionRef<'a>>) -> Self {
        let mut body = Self { name: function.name, ..Self::default() };
        for (arguments, names) in [
            (function.inputs().collect::<Vec<_>>(), &mut body.arguments),
            (function.outputs().collect::<Vec<_>>(), &mut body.outputs),
        ] {
            body.has_lists |= arguments.iter().any(ArgumentView::is_list);
            names.extend(arguments.iter().map(|argument| argument.name));
        }
        body.returns.extend(function.returns());
        function.nodes().for_each(|node| body.add(node, place, function_refs));
        for attr in function.attrs() {
            let implements = attr.name == "api_implements";
            let mut function_ref = |name| function_refs.push(FunctionRef { body: place, node: None, name, implements });
            // The functions of its gradient, or what it implements.
            if ["api_implements", "forward_function_name", "backward_function_name"].contains(&attr.name) {
                attr.text().into_iter().for_each(&mut function_ref);
            }
            add_function_refs(attr, function_ref);
        }
        body
    }

    fn add(&mut self, node: NodeView<'a>, body: usize, function_refs: &mut Vec<FunctionRef<'a>>) {
        let place = self.nodes.len();
        for attr in node.attrs() {
            add_function_refs(attr, |name| function_refs.push(FunctionRef::by(body, place, name)));
        }
        // An op that TensorFlow does not have is a function's name or a library's op.
        if effect(node.op).is_some() {
            self.interesting_nodes.push(place);
        } else if !is_known_op(node.op) {
            self.interesting_nodes.push(place);
            function_refs.push(FunctionRef::by(body, place, node.op));
        }
        self.nodes.push(node);
    }

    /// The place of the node of this name.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        let places = self.places.get_or_init(|| {
            let named = self.nodes.iter().enumerate().map(|(place, node)| (node.name, place));
            named.collect()
        });
        places.get(name).copied()
    }

    /// The tensor that a function returns as its output of this number.
    pub(super) fn returned(&self, output: usize) -> Option<&'a str> {
        let name = self.outputs.get(output)?;
        self.returns.iter().rev().find(|(returned, _)| returned == name).map(|(_, tensor)| *tensor)
    }
}

/// Calls `found` with every function that an attribute names, and with the kind of gradient that a node asks for.
fn add_function_refs<'a>(attr: AttrView<'a>, mut found: impl FnMut(&'a str)) {
    // A list of its own instead of recursion: how deep attributes nest is the file's choice.
    let (mut next, mut todo) = (Some(attr), Vec::new());
    while let Some(attr) = next.or_else(|| todo.pop()) {
        next = None;
        if attr.name == "_gradient_op_type" {
            attr.text().into_iter().for_each(&mut found);
        }
        for function in attr.functions() {
            found(function.name);
            todo.extend(function.attrs());
        }
    }
}
