//! Compares graphs: ops by count, functions and nodes by what they compute.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::canonical::{Hash, Parts, own, whole};
use super::functions::{self, base, contents, reached};
use super::signatures::SignatureDiff;
use crate::graph::view::{IndexedGraph, NodeView, source};
use crate::ops::variable_kind;
use crate::saved_model::{MetaGraph, SavedModel, parse_tensor_name, printable};

/// The differences between the graphs of two meta graphs.
///
/// Nodes and functions are compared by what they compute: op, attributes, device and inputs. Names do not count, except
/// those of variables and placeholders. Also ignored are the order, attributes that do not affect the computation,
/// attributes of functions, the paths of assets, and nodes that only save and restore variables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct GraphDiff {
    /// Ops whose counts differ, including those in functions, sorted by name.
    pub ops: Vec<OpDiff>,
    /// The functions.
    pub functions: FunctionsDiff,
    /// The nodes of the graph itself.
    pub nodes: NodesDiff,
}

/// An op and its counts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpDiff {
    /// The op.
    pub op: String,
    /// Its count in the first model and in the second.
    pub counts: [u64; 2],
}

/// The functions that differ, by their names in the models.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FunctionsDiff {
    /// The number of functions that are equal in both.
    pub common: usize,
    /// Functions that only the second model has.
    pub added: Vec<String>,
    /// Functions that only the first model has.
    pub removed: Vec<String>,
    /// Functions that have one name in both, without numbers at its end, and differ; by their names in the first model.
    pub changed: Vec<String>,
    /// The number of further functions that are equal themselves but call others that are not.
    pub callers: usize,
}

/// The nodes at the graph's top that differ, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct NodesDiff {
    /// Nodes that only the second model has, as `NAME (OP)`.
    pub added: Vec<String>,
    /// Nodes that only the first model has.
    pub removed: Vec<String>,
    /// Nodes that both have and that differ themselves.
    pub changed: Vec<String>,
    /// The number of further nodes that are equal themselves but depend on others that are not.
    pub dependent: usize,
}

impl GraphDiff {
    pub(super) fn is_same(&self) -> bool {
        self.ops.is_empty() && self.functions.is_same() && self.nodes.is_same()
    }
}

impl FunctionsDiff {
    pub(super) fn is_same(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty() && self.callers == 0
    }
}

impl NodesDiff {
    pub(super) fn is_same(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty() && self.dependent == 0
    }
}

/// Compares two graphs. If they are equal, outputs of signatures that come from other tensors are added to the changes
/// of signatures.
pub(super) fn diff(
    (a, of_a): (&SavedModel, &MetaGraph),
    (b, of_b): (&SavedModel, &MetaGraph),
    signatures: &mut Vec<SignatureDiff>,
) -> GraphDiff {
    let mut all = GraphDiff::default();
    let bytes = (a.meta_graph_bytes(of_a), b.meta_graph_bytes(of_b));
    if bytes.0 == bytes.1 {
        return all;
    }
    let names: BTreeSet<&String> = of_a.ops().keys().chain(of_b.ops().keys()).collect();
    for op in names {
        let counts = [of_a, of_b].map(|meta_graph| meta_graph.ops().get(op).copied().unwrap_or(0));
        if counts[0] != counts[1] {
            all.ops.push(OpDiff { op: op.clone(), counts });
        }
    }
    let inputs = (inputs(of_a), inputs(of_b));
    let first = Side::new(of_a, bytes.0, &given(&inputs.0, &inputs.1));
    let second = Side::new(of_b, bytes.1, &given(&inputs.1, &inputs.0));
    all.functions = functions::diff(
        [&first.graph, &second.graph],
        [&first.functions, &second.functions],
        [&first.saving_functions, &second.saving_functions],
    );
    all.nodes = nodes(&first, &second);
    if all.is_same() {
        note_rewired(&first, &second, of_a, of_b, signatures);
    }
    all
}

/// A graph with its hashes.
struct Side<'a> {
    graph: IndexedGraph<'a>,
    functions: HashMap<&'a str, Hash>,
    /// The hash of each node with everything that it depends on.
    nodes: Vec<Hash>,
    /// Nodes and functions that only save and restore variables.
    saving: HashSet<&'a str>,
    saving_functions: HashSet<&'a str>,
}

impl<'a> Side<'a> {
    fn new(meta_graph: &MetaGraph, bytes: &'a [u8], given: &HashMap<&str, Hash>) -> Self {
        let graph = IndexedGraph::new(bytes);
        let functions = contents(&graph);
        let saving = saving(&graph, meta_graph);
        let calls = |saves: bool| {
            let nodes = graph.nodes.iter().filter(|node| saving.contains(node.name) == saves);
            let called = nodes.flat_map(NodeView::calls).collect::<Vec<_>>();
            reached(&graph, called.into_iter())
        };
        let used = calls(false);
        let mut saving_functions = calls(true);
        saving_functions.retain(|name| !used.contains(name));
        let nodes = hashes(&graph, &functions, &saving, meta_graph, given);
        Self { graph, functions, nodes, saving, saving_functions }
    }

    /// The nodes that are compared, with their hashes.
    fn counted(&self) -> impl Iterator<Item = (&NodeView<'a>, Hash)> {
        let all = self.graph.nodes.iter().zip(self.nodes.iter().copied());
        all.filter(|(node, _)| !self.saving.contains(node.name))
    }

    /// The hash of a node by itself. Functions count by their names without numbers.
    fn alone(&self, node: &NodeView<'_>) -> Hash {
        own(node, &|name| self.functions.contains_key(name).then(|| base(name).into()))
    }
}

/// The nodes that serve only saving and restoring.
fn saving<'a>(graph: &IndexedGraph<'a>, meta_graph: &MetaGraph) -> HashSet<&'a str> {
    let Some(saver) = meta_graph.saver() else { return HashSet::new() };
    let names: HashMap<&str, &NodeView<'a>> = graph.nodes.iter().map(|node| (node.name, node)).collect();
    let above = |todo: Vec<&str>| {
        let mut todo: Vec<&NodeView<'a>> = todo.iter().filter_map(|name| names.get(name).copied()).collect();
        let mut above = HashSet::new();
        while let Some(node) = todo.pop() {
            if above.insert(node.name) {
                todo.extend(node.inputs().filter_map(|input| names.get(source(input).0).copied()));
            }
        }
        above
    };
    let ends = [&saver.filename_tensor, &saver.save_tensor, &saver.restore_op];
    let mut saving = above(ends.iter().filter_map(|name| parse_tensor_name(name).ok()).map(|(op, _)| op).collect());
    let others = above(graph.nodes.iter().map(|node| node.name).filter(|name| !saving.contains(name)).collect());
    saving.retain(|name| !others.contains(name));
    saving
}

/// The hash of each node with everything that it depends on.
fn hashes(
    graph: &IndexedGraph<'_>,
    functions: &HashMap<&str, Hash>,
    saving: &HashSet<&str>,
    meta_graph: &MetaGraph,
    given: &HashMap<&str, Hash>,
) -> Vec<Hash> {
    let mut own: Vec<Hash> =
        graph.nodes.iter().map(|node| own(node, &|name| functions.get(name).map(|hash| hash.to_vec()))).collect();
    let indices: HashMap<&str, usize> =
        graph.nodes.iter().enumerate().map(|(index, node)| (node.name, index)).collect();
    // Loading feeds the path of an asset. The path in the graph is that on the machine that wrote the model.
    for asset in meta_graph.assets() {
        let index = parse_tensor_name(&asset.tensor).ok().and_then(|(op, _)| indices.get(op));
        if let Some(index) = index {
            own[*index] = Parts::new("asset").and(asset.filename.as_bytes()).hash();
        }
    }
    let hashes = whole(&graph.nodes, &own, given);
    // Tables that differ only in generated names are identified by their consumers.
    let nameless: HashSet<&str> = graph
        .nodes
        .iter()
        .filter(|node| node.inputs().next().is_none() && node.attr("shared_name").is_some())
        .filter(|node| variable_kind(node.op).is_none())
        .map(|node| node.name)
        .collect();
    if nameless.is_empty() {
        return hashes;
    }
    let mut users: HashMap<&str, Vec<Hash>> = HashMap::new();
    for (node, hash) in graph.nodes.iter().zip(&hashes).filter(|(node, _)| !saving.contains(node.name)) {
        for name in node.inputs().map(|input| source(input).0).filter(|name| nameless.contains(name)) {
            users.entry(name).or_default().push(*hash);
        }
    }
    for (name, users) in users {
        if let Some(index) = indices.get(name) {
            own[*index] = Parts::new("used").and(&own[*index]).and_all(users).hash();
        }
    }
    whole(&graph.nodes, &own, given)
}

/// The inputs of all signatures, each as one text, with the nodes that are fed.
fn inputs(meta_graph: &MetaGraph) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for signature in meta_graph.signatures() {
        for part in signature.inputs.iter().flat_map(|(key, info)| info.parts(key)) {
            if let Ok((op, _)) = parse_tensor_name(part.tensor) {
                all.insert(format!("{}\0{}", signature.name, part.name), op.to_owned());
            }
        }
    }
    all
}

/// Hashes for the nodes that signatures feed: of the names of the inputs that both models have. Other nodes keep their
/// own names.
fn given<'i>(inputs: &'i BTreeMap<String, String>, other: &BTreeMap<String, String>) -> HashMap<&'i str, Hash> {
    let mut names: BTreeMap<&str, Parts> = BTreeMap::new();
    for (input, node) in inputs.iter().filter(|(input, _)| other.contains_key(*input)) {
        let parts = names.remove(node.as_str()).unwrap_or_else(|| Parts::new("input"));
        names.insert(node, parts.and(input.as_bytes()));
    }
    names.into_iter().map(|(node, parts)| (node, parts.hash())).collect()
}

fn nodes(a: &Side<'_>, b: &Side<'_>) -> NodesDiff {
    let mut pool: HashMap<Hash, usize> = HashMap::new();
    b.counted().for_each(|(_, hash)| *pool.entry(hash).or_default() += 1);
    let mut only_a: Vec<&NodeView<'_>> = Vec::new();
    for (node, hash) in a.counted() {
        match pool.get_mut(&hash).filter(|left| **left > 0) {
            Some(left) => *left -= 1,
            None => only_a.push(node),
        }
    }
    let mut only_b: HashMap<&str, &NodeView<'_>> = HashMap::new();
    let mut order = Vec::new();
    for (node, hash) in b.counted() {
        if let Some(left) = pool.get_mut(&hash).filter(|left| **left > 0) {
            *left -= 1;
            only_b.insert(node.name, node);
            order.push(node.name);
        }
    }
    let shown = |node: &NodeView<'_>| format!("{} ({})", printable(node.name), printable(node.op));
    let mut all = NodesDiff::default();
    for node in only_a {
        match only_b.remove(node.name) {
            Some(other) if a.alone(node) == b.alone(other) => all.dependent += 1,
            Some(_) => all.changed.push(shown(node)),
            None => all.removed.push(shown(node)),
        }
    }
    all.added.extend(order.iter().filter_map(|name| only_b.get(name)).map(|node| shown(node)));
    all
}

/// Adds outputs that come from another tensor than before, although the graph has the same nodes.
fn note_rewired(a: &Side<'_>, b: &Side<'_>, of_a: &MetaGraph, of_b: &MetaGraph, signatures: &mut Vec<SignatureDiff>) {
    let tensors = |side: &Side<'_>, meta_graph: &MetaGraph| {
        let hashes: HashMap<&str, Hash> =
            side.graph.nodes.iter().map(|node| node.name).zip(side.nodes.iter().copied()).collect();
        let mut all = HashMap::new();
        for signature in meta_graph.signatures() {
            for part in signature.outputs.iter().flat_map(|(key, info)| info.parts(key)) {
                let tensor = parse_tensor_name(part.tensor).ok();
                let tensor = tensor.map(|(op, index)| (hashes.get(op).copied(), index));
                all.insert((signature.name.clone(), part.name), tensor);
            }
        }
        all
    };
    let (before, after) = (tensors(a, of_a), tensors(b, of_b));
    let mut rewired: Vec<_> =
        before.iter().filter(|(key, tensor)| after.get(*key).is_some_and(|other| other != *tensor)).collect();
    rewired.sort_by_key(|(key, _)| *key);
    for ((signature, output), _) in rewired {
        let change = format!("output `{}` is another tensor of the graph", printable(output));
        match signatures.iter_mut().find(|it| it.name == *signature) {
            Some(found) => found.changes.push(change),
            None => signatures.push(SignatureDiff { name: signature.clone(), added: None, changes: vec![change] }),
        }
    }
    signatures.sort_by(|a, b| a.name.cmp(&b.name));
}
