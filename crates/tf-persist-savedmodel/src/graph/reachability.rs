//! The nodes and functions that are reachable from given nodes, and the variables they write.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::dtype::DType;

use super::{Body, Graph, HandleKind, HandleUse, called_functions, variable_kind};

/// The nodes of the graph's top and the functions that are reachable.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reachable {
    /// For each node, whether it is reached. Empty if none is.
    nodes: Vec<bool>,
    functions: BTreeSet<String>,
}

impl Reachable {
    /// Everything reachable from these nodes or tensors.
    pub(crate) fn new<'r>(graph: &Graph<'_>, roots: impl IntoIterator<Item = &'r str>) -> Self {
        let mut reach = Self { nodes: vec![false; graph.nodes.len()], functions: BTreeSet::new() };
        reach.add_nodes(graph, roots);
        reach
    }

    /// Whether the node with this name or tensor is reachable.
    pub(crate) fn has(&self, graph: &Graph<'_>, input: &str) -> bool {
        graph.node_index(input).is_some_and(|index| self.nodes[index])
    }

    /// Whether the node with this index is reachable.
    pub(crate) fn has_index(&self, index: usize) -> bool {
        self.nodes.get(index).copied().unwrap_or(false)
    }

    /// The reachable functions.
    pub(crate) fn functions(&self) -> &BTreeSet<String> {
        &self.functions
    }

    /// Adds nodes and everything they need. Returns whether anything was new.
    pub(crate) fn add_nodes<'r>(&mut self, graph: &Graph<'_>, roots: impl IntoIterator<Item = &'r str>) -> bool {
        let mut todo: Vec<usize> = roots.into_iter().filter_map(|root| graph.node_index(root)).collect();
        let mut is_new = false;
        while let Some(index) = todo.pop() {
            if std::mem::replace(&mut self.nodes[index], true) {
                continue;
            }
            is_new = true;
            let node = &graph.nodes[index];
            todo.extend(node.input.iter().filter_map(|input| graph.node_index(input)));
            let mut called = Vec::new();
            called_functions(node, graph, |function| called.push(function));
            for function in called {
                self.add_function(graph, function);
            }
        }
        is_new
    }

    /// Adds a function and everything it calls. Returns whether it was new.
    pub(crate) fn add_function<'n>(&mut self, graph: &Graph<'n>, name: &'n str) -> bool {
        let mut todo = vec![name];
        let mut is_new = false;
        while let Some(name) = todo.pop() {
            let Some(function) = graph.function(name) else { continue };
            if self.functions.insert(name.to_owned()) {
                is_new = true;
                function.node_def.iter().for_each(|node| called_functions(node, graph, |called| todo.push(called)));
            }
        }
        is_new
    }
}

/// The variables that are written, each with an op that writes it.
#[derive(Debug, Default)]
pub(crate) struct WrittenVariables(BTreeMap<String, String>);

impl WrittenVariables {
    /// The variables of the graph's top that reachable nodes write: by any op that is not known to only read, in the
    /// graph or in a function.
    pub(crate) fn new(graph: &Graph<'_>, reach: &Reachable) -> Self {
        let mut writes = Self::default();
        let top = Body::top(graph);
        let mut bodies = Bodies::default();
        for (index, node) in graph.nodes.iter().enumerate() {
            let Some(kind) = variable_kind(node).filter(|_| reach.has_index(index)) else { continue };
            if let Some(op) = writer(graph, &top, reach, &mut bodies, &node.name, kind) {
                writes.0.insert(node.name.clone(), op);
            }
        }
        writes
    }

    /// Whether this variable is written.
    pub(crate) fn has(&self, variable: &str) -> bool {
        self.0.contains_key(variable)
    }

    /// An op that writes this variable.
    pub(crate) fn op(&self, variable: &str) -> Option<&str> {
        self.0.get(variable).map(String::as_str)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The bodies of functions, each indexed once.
type Bodies<'a> = HashMap<&'a str, Option<Body<'a>>>;

/// Finds an op that may write a variable.
fn writer<'a>(
    graph: &Graph<'a>,
    top: &Body<'a>,
    reach: &Reachable,
    bodies: &mut Bodies<'a>,
    variable: &str,
    kind: HandleKind,
) -> Option<String> {
    // Tensors that hold the handle: at the top (no function), or in one.
    let mut todo: Vec<(Option<&'a str>, String)> = vec![(None, variable.to_owned())];
    let mut seen: HashSet<(Option<&'a str>, String)> = todo.iter().cloned().collect();
    while let Some((function, tensor)) = todo.pop() {
        let body = match function {
            None => top,
            Some(name) => {
                let body = bodies.entry(name).or_insert_with(|| graph.function(name).map(Body::of_function));
                let Some(body) = body else { continue };
                body
            }
        };
        let mut found: Vec<(Option<&'a str>, String)> = Vec::new();
        for &(index, position) in body.consumers(&tensor) {
            if function.is_none() && !reach.has_index(index) {
                continue;
            }
            let node = &body.nodes[index];
            match HandleUse::new(node, position, kind, graph) {
                HandleUse::Read => {}
                HandleUse::Other => return Some(node.op.clone()),
                HandleUse::Pass(outputs) => {
                    found.extend(outputs.into_iter().map(|index| (function, body.output(node, index))));
                }
                HandleUse::Call(call, argument) => {
                    if call.is_loop {
                        found.push((function, body.output(node, argument)));
                    }
                    for callee in call.functions.iter().filter_map(|name| graph.function(name)) {
                        let Some(given) = callee.signature.input_arg.get(argument) else { continue };
                        found.push((Some(callee.signature.name.as_str()), given.name.clone()));
                        // A returned handle may be this one.
                        let returned = callee.signature.output_arg.iter().enumerate();
                        let handles = returned.filter(|(_, output)| output.type_.value() == DType::Resource.number());
                        found.extend(handles.map(|(index, _)| (function, body.output(node, index))));
                    }
                }
            }
        }
        todo.extend(found.into_iter().filter(|it| seen.insert(it.clone())));
    }
    None
}
