//! The uses of certain ops in a graph: the node, its function, and the signatures that reach it.
//!
//! This reads the serialized graph: decoding 10 MB takes a second.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use super::meta_graph::MetaGraph;
use super::tensor_name::parse_tensor_name;
use crate::error::OpUse;
use crate::graph::node_of;
use crate::graph::view::{FunctionView, GraphView, NodeView};

/// A larger graph is not followed from its signatures; the first node of each op is still found.
const MAX_FOLLOWED: usize = 2_000_000;
/// The most signatures that are followed.
const MAX_SIGNATURES: usize = 256;
/// The most inputs and calls that are kept, which takes 500 MB. Real graphs have a few for each node.
const MAX_EDGES: usize = 20_000_000;
/// The most nodes that are visited for all signatures together: a second of work.
const MAX_VISITS: usize = 50_000_000;

/// The index of something missing.
const NOWHERE: usize = usize::MAX;

/// A node, or a function with all its nodes.
struct Part<'a> {
    /// The nodes that it needs, as a range of `Graph::inputs`.
    inputs: Range<usize>,
    /// The functions that it may call, as a range of `Graph::calls`.
    calls: Range<usize>,
    /// The wanted ops in it, as a range of `Graph::ops`.
    ops: Range<usize>,
    name: &'a str,
}

/// The edges of a graph. Each of 100,000 nodes has a few words in a few large lists.
struct Graph<'a> {
    wanted: &'a BTreeSet<&'a str>,
    /// The functions that nodes call as if they were ops.
    called: &'a BTreeMap<String, u64>,
    nodes: Vec<Part<'a>>,
    functions: Vec<Part<'a>>,
    inputs: Vec<&'a str>,
    calls: Vec<&'a str>,
    ops: Vec<&'a str>,
    /// For each wanted op the first node and its function, and whether a node outside of functions uses it: TensorFlow
    /// looks up all of those.
    first: BTreeMap<&'a str, (&'a str, Option<&'a str>, bool)>,
}

/// The uses of the wanted ops in a serialized `MetaGraphDef` that was surveyed before.
pub(super) fn op_uses<'a>(
    bytes: &'a [u8],
    meta_graph: &'a MetaGraph,
    wanted: &'a BTreeSet<&'a str>,
) -> BTreeMap<&'a str, OpUse> {
    let mut graph = Graph {
        wanted,
        called: meta_graph.calls(),
        nodes: Vec::new(),
        functions: Vec::new(),
        inputs: Vec::new(),
        calls: Vec::new(),
        ops: Vec::new(),
        first: BTreeMap::new(),
    };
    let follow = meta_graph.nodes().max(meta_graph.functions()) as usize <= MAX_FOLLOWED;
    graph.read(GraphView::new(bytes), follow);
    let mut uses: BTreeMap<&str, OpUse> = BTreeMap::new();
    for (op, (node, function, in_graph)) in &graph.first {
        let function = function.map(str::to_owned);
        let reached = *in_graph || !follow;
        uses.insert(op, OpUse { node: (*node).to_owned(), function, reached, ..OpUse::default() });
    }
    if !follow {
        return uses;
    }
    let mut paths = Paths::new(&graph);
    for signature in meta_graph.signatures().iter().take(MAX_SIGNATURES) {
        let parts = signature.outputs.iter().flat_map(|(key, info)| info.parts(key));
        let names: Vec<&str> = parts.filter_map(|part| Some(parse_tensor_name(part.tensor).ok()?.0)).collect();
        for op in paths.reached(&names) {
            if let Some(found) = uses.get_mut(op) {
                found.signatures.push(signature.name.clone());
                found.reached = true;
            }
        }
    }
    let loading = meta_graph.init_ops().iter().map(|init| init.operation.as_str());
    let loading = loading.chain(meta_graph.table_initializers().iter().map(String::as_str));
    let loading = loading.chain(meta_graph.saver().map(|saver| saver.restore_op.as_str()));
    // An init op may be given by the name of its tensor.
    let names: Vec<&str> = loading.map(|name| name.split(':').next().unwrap_or(name)).collect();
    for op in paths.reached(&names) {
        if let Some(found) = uses.get_mut(op) {
            found.at_load = true;
            found.reached = true;
        }
    }
    uses
}

impl<'a> Graph<'a> {
    fn read(&mut self, graph: GraphView<'a>, follow: bool) {
        for node in graph.nodes() {
            let start = self.ends();
            self.node(node, None, follow);
            if follow {
                self.nodes.push(self.part(start, node.name));
            }
        }
        graph.functions().for_each(|function| self.function(function, follow));
    }

    /// The ends of the lists.
    fn ends(&self) -> [usize; 3] {
        [self.inputs.len(), self.calls.len(), self.ops.len()]
    }

    /// The part of the lists since `start`.
    fn part(&self, start: [usize; 3], name: &'a str) -> Part<'a> {
        let [inputs, calls, ops] = self.ends();
        Part { inputs: start[0]..inputs, calls: start[1]..calls, ops: start[2]..ops, name }
    }

    fn function(&mut self, function: FunctionView<'a>, follow: bool) {
        let start = self.ends();
        function.nodes().for_each(|node| self.node(node, Some(function.name), follow));
        if follow {
            // A call may run all of a function, so its edges do not matter.
            self.inputs.truncate(start[0]);
            self.functions.push(self.part(start, function.name));
        }
    }

    /// Adds the inputs and calls of a node to the lists.
    fn node(&mut self, node: NodeView<'a>, function: Option<&'a str>, follow: bool) {
        let op = node.op;
        if follow {
            let mut budget = MAX_EDGES.saturating_sub(self.inputs.len() + self.calls.len());
            let mut add = |list: &mut Vec<&'a str>, name| {
                if budget > 0 {
                    budget -= 1;
                    list.push(name);
                }
            };
            node.inputs().for_each(|input| add(&mut self.inputs, node_of(input)));
            node.functions_in_attrs().for_each(|name| add(&mut self.calls, name));
        }
        if self.wanted.contains(op) {
            self.first.entry(op).or_insert((node.name, function, false)).2 |= function.is_none();
            if follow {
                self.ops.push(op);
            }
        } else if follow && !self.called.is_empty() && self.called.contains_key(op) {
            self.calls.push(op);
        }
    }
}

/// The edges of a graph with names resolved to indices.
struct Paths<'g, 'a> {
    graph: &'g Graph<'a>,
    by_name: HashMap<&'a str, usize>,
    inputs: Vec<usize>,
    calls: Vec<usize>,
    visits: usize,
}

impl<'g, 'a> Paths<'g, 'a> {
    fn new(graph: &'g Graph<'a>) -> Self {
        let numbers = |parts: &[Part<'a>]| -> HashMap<&'a str, usize> {
            parts.iter().enumerate().map(|(number, part)| (part.name, number)).collect()
        };
        let resolve = |names: &[&str], by_name: &HashMap<&str, usize>| -> Vec<usize> {
            names.iter().map(|name| by_name.get(name).copied().unwrap_or(NOWHERE)).collect()
        };
        let by_name = numbers(&graph.nodes);
        let inputs = resolve(&graph.inputs, &by_name);
        let calls = resolve(&graph.calls, &numbers(&graph.functions));
        Self { graph, by_name, inputs, calls, visits: 0 }
    }

    /// The wanted ops that running these nodes reaches.
    fn reached(&mut self, from: &[&str]) -> BTreeSet<&'a str> {
        let mut ops = BTreeSet::new();
        let mut calls = Vec::new();
        let nodes = from.iter().filter_map(|name| self.by_name.get(name).copied()).collect();
        let graph = self.graph;
        self.walk(&graph.nodes, nodes, |paths, part, next| {
            ops.extend(&graph.ops[part.ops.clone()]);
            next.extend(&paths.inputs[part.inputs.clone()]);
            calls.extend(&paths.calls[part.calls.clone()]);
        });
        self.walk(&graph.functions, calls, |paths, part, next| {
            ops.extend(&graph.ops[part.ops.clone()]);
            next.extend(&paths.calls[part.calls.clone()]);
        });
        ops
    }

    /// Visits each part once, from these on; `go` adds the next ones.
    fn walk(
        &mut self,
        parts: &[Part<'a>],
        mut next: Vec<usize>,
        mut go: impl FnMut(&Self, &Part<'a>, &mut Vec<usize>),
    ) {
        let mut seen = vec![false; parts.len()];
        while let Some(number) = next.pop() {
            let Some(seen) = seen.get_mut(number).filter(|seen| !**seen) else { continue };
            *seen = true;
            self.visits += 1;
            if self.visits > MAX_VISITS {
                return;
            }
            go(self, &parts[number], &mut next);
        }
    }
}
