//! Where a graph uses certain ops: in which node of which function, and for which signatures.
//!
//! Read off the serialized graph, which stays as it is: to decode 10 MB of it takes a second.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::meta_graph::MetaGraph;
use super::tensor_name::parse_tensor_name;
use crate::wire::fields;

/// A place where an op is used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OpUse {
    /// The first node that uses it.
    pub node: String,
    /// The function that this node stands in; `None` if it is the graph itself.
    pub function: Option<String>,
    /// The signatures that reach one of its nodes, sorted.
    pub signatures: Vec<String>,
    /// Whether it runs when the model is loaded: an init op or the restoring of variables reaches it.
    pub at_load: bool,
}

/// A graph of more nodes is not followed from its signatures; the first node of each op is found all the same.
const MAX_FOLLOWED: usize = 2_000_000;
/// So many signatures are followed.
const MAX_SIGNATURES: usize = 256;

/// What there is to know of a node, or of a function's nodes together.
#[derive(Default)]
struct Part<'a> {
    /// The nodes whose values or whose running it needs.
    inputs: Vec<&'a str>,
    /// The functions that it may call.
    calls: Vec<&'a str>,
    /// The wanted ops in it.
    ops: Vec<&'a str>,
}

struct Graph<'a> {
    wanted: &'a BTreeSet<&'a str>,
    nodes: HashMap<&'a str, Part<'a>>,
    functions: HashMap<&'a str, Part<'a>>,
    /// The first place of each wanted op: node and function.
    first: BTreeMap<&'a str, (&'a str, Option<&'a str>)>,
}

/// Where the wanted ops are used in a serialized `MetaGraphDef` that was surveyed before.
pub(super) fn op_uses<'a>(
    bytes: &'a [u8],
    meta_graph: &'a MetaGraph,
    wanted: &'a BTreeSet<&'a str>,
) -> BTreeMap<&'a str, OpUse> {
    let mut graph = Graph { wanted, nodes: HashMap::new(), functions: HashMap::new(), first: BTreeMap::new() };
    let follow = meta_graph.nodes() as usize <= MAX_FOLLOWED;
    for (_, graph_def) in fields(bytes).filter(|(field, _)| *field == 2) {
        graph.read(graph_def.bytes().unwrap_or_default(), follow);
    }
    let mut uses: BTreeMap<&str, OpUse> = BTreeMap::new();
    for (op, (node, function)) in &graph.first {
        let function = function.map(str::to_owned);
        uses.insert(op, OpUse { node: (*node).to_owned(), function, ..OpUse::default() });
    }
    if !follow {
        return uses;
    }
    for signature in meta_graph.signatures().iter().take(MAX_SIGNATURES) {
        let parts = signature.outputs.iter().flat_map(|(key, info)| info.parts(key));
        let names: Vec<&str> = parts.filter_map(|part| Some(parse_tensor_name(part.tensor).ok()?.0)).collect();
        for op in graph.reached(names) {
            if let Some(found) = uses.get_mut(op) {
                found.signatures.push(signature.name.clone());
            }
        }
    }
    let loading = meta_graph.init_ops().iter().map(|init| init.operation.as_str());
    let loading = loading.chain(meta_graph.table_initializers().iter().map(String::as_str));
    let loading = loading.chain(meta_graph.saver().map(|saver| saver.restore_op.as_str()));
    // An init op may be given by the name of its tensor.
    let names: Vec<&str> = loading.map(|name| name.split(':').next().unwrap_or(name)).collect();
    for op in graph.reached(names) {
        if let Some(found) = uses.get_mut(op) {
            found.at_load = true;
        }
    }
    uses
}

impl<'a> Graph<'a> {
    /// `GraphDef`: nodes are field 1; field 2 is the library, whose functions are field 1.
    fn read(&mut self, graph_def: &'a [u8], follow: bool) {
        for (field, value) in fields(graph_def) {
            let Some(bytes) = value.bytes() else { continue };
            match field {
                1 => {
                    let mut part = Part::default();
                    let name = self.node(bytes, None, follow, &mut part);
                    if follow {
                        self.nodes.insert(name, part);
                    }
                }
                2 => {
                    let functions = fields(bytes).filter(|(field, _)| *field == 1);
                    functions.filter_map(|(_, function)| function.bytes()).for_each(|bytes| self.function(bytes));
                }
                _ => {}
            }
        }
    }

    /// `FunctionDef`: its name is that of the `OpDef` in field 1; nodes are field 3.
    fn function(&mut self, bytes: &'a [u8]) {
        let signature = fields(bytes).find(|(field, _)| *field == 1).and_then(|(_, signature)| signature.bytes());
        let name = fields(signature.unwrap_or_default()).find(|(field, _)| *field == 1);
        let name = name.map_or("", |(_, name)| name.text());
        let mut part = Part::default();
        for (_, node) in fields(bytes).filter(|(field, _)| *field == 3) {
            self.node(node.bytes().unwrap_or_default(), Some(name), false, &mut part);
        }
        part.calls.sort_unstable();
        part.calls.dedup();
        part.ops.sort_unstable();
        part.ops.dedup();
        self.functions.insert(name, part);
    }

    /// `NodeDef`: name, op, inputs, and attributes in field 5. Gives its name.
    fn node(&mut self, bytes: &'a [u8], function: Option<&'a str>, inputs: bool, part: &mut Part<'a>) -> &'a str {
        let (mut name, mut op) = ("", "");
        for (field, value) in fields(bytes) {
            match field {
                1 => name = value.text(),
                2 => op = value.text(),
                3 if inputs => {
                    let text = value.text().trim_start_matches('^');
                    part.inputs.push(text.split(':').next().unwrap_or(text));
                }
                5 => attribute(value.bytes().unwrap_or_default(), &mut part.calls),
                _ => {}
            }
        }
        if self.wanted.contains(op) {
            part.ops.push(op);
            self.first.entry(op).or_insert((name, function));
        } else if !op.is_empty() {
            // A function may be called by a node that has its name for an op.
            part.calls.push(op);
        }
        name
    }

    /// The wanted ops that running these nodes reaches.
    fn reached(&self, from: Vec<&'a str>) -> BTreeSet<&'a str> {
        let mut ops = BTreeSet::new();
        let (mut seen, mut called) = (HashSet::new(), HashSet::new());
        let (mut nodes, mut calls): (Vec<&str>, Vec<&str>) = (from, Vec::new());
        while let Some(name) = nodes.pop() {
            let Some(part) = self.nodes.get(name).filter(|_| seen.insert(name)) else { continue };
            ops.extend(&part.ops);
            nodes.extend(&part.inputs);
            calls.extend(&part.calls);
        }
        while let Some(name) = calls.pop() {
            let Some(part) = self.functions.get(name).filter(|_| called.insert(name)) else { continue };
            ops.extend(&part.ops);
            calls.extend(&part.calls);
        }
        ops
    }
}

/// An entry of a node's attributes: the value is field 2. `AttrValue.func` is field 10, and `AttrValue.list` field 1, whose `func`
/// is field 9; a function's name is field 1 of either.
fn attribute<'a>(entry: &'a [u8], calls: &mut Vec<&'a str>) {
    let mut function = |message: &'a [u8]| {
        calls.extend(fields(message).filter(|(field, _)| *field == 1).map(|(_, name)| name.text()));
    };
    for (_, value) in fields(entry).filter(|(field, _)| *field == 2) {
        for (field, value) in fields(value.bytes().unwrap_or_default()) {
            match (field, value.bytes()) {
                (10, Some(bytes)) => function(bytes),
                (1, Some(list)) => {
                    let functions = fields(list).filter(|(field, _)| *field == 9);
                    functions.filter_map(|(_, value)| value.bytes()).for_each(&mut function);
                }
                _ => {}
            }
        }
    }
}
