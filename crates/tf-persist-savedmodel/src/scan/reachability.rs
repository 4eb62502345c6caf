//! What each entry point of a model reaches: nodes at the top, and functions with the call path to them.

use std::collections::HashMap;

use super::EntryPoint;
use super::classify::truncated;
use super::index::{Index, TOP};
use crate::graph::node_of;
use crate::saved_model::{MetaGraph, SignatureDef, parse_tensor_name};

/// The steps that a scan may take: a base for small graphs, and more for each node. A graph of a million nodes with ten
/// signatures takes tens of millions. A hostile file can have a hundred thousand signatures that all reach everything.
const BASE_STEPS: u64 = 4 << 20;
const STEPS_PER_NODE: u64 = 64;

/// The cost of following a name through one tensor, in steps from node to node.
const NAME_STEPS: u64 = 8;

/// The value that is fed to a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feed<'a> {
    /// A signature's input.
    Input(&'a str),
    /// The prefix of a checkpoint.
    Prefix,
    /// The path of an asset.
    Asset(&'a str),
}

/// An entry point with the tensors and ops that it runs, and the tensors that it feeds.
#[derive(Debug)]
pub(super) struct Root<'a> {
    pub(super) entry_point: EntryPoint,
    targets: Vec<&'a str>,
    feeds: HashMap<(&'a str, u32), Feed<'a>>,
}

/// The scan used up its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BudgetExceeded;

/// The steps that are left.
#[derive(Debug)]
pub(super) struct Budget(u64);

impl Budget {
    pub(super) fn new(index: &Index<'_>) -> Self {
        let nodes: usize = index.bodies.iter().map(|body| body.nodes.len()).sum();
        Self(BASE_STEPS + STEPS_PER_NODE * nodes as u64)
    }

    pub(super) fn step(&mut self) -> Result<(), BudgetExceeded> {
        self.take(1)
    }

    /// Takes the cost of following a name through this many tensors.
    pub(super) fn followed(&mut self, tensors: usize) -> Result<(), BudgetExceeded> {
        self.take(NAME_STEPS * tensors as u64)
    }

    fn take(&mut self, steps: u64) -> Result<(), BudgetExceeded> {
        self.0 = self.0.checked_sub(steps).ok_or(BudgetExceeded)?;
        Ok(())
    }
}

/// The entry points of a meta graph: saver, init op, signatures.
pub(super) fn roots<'a>(meta_graph: &'a MetaGraph) -> Vec<Root<'a>> {
    let mut roots = Vec::new();
    let mut add = |entry_point, targets: Vec<&'a str>, feeds: Vec<(&'a str, Feed<'a>)>| {
        if targets.iter().any(|target| !target.is_empty()) {
            roots.push(Root::new(entry_point, targets, feeds));
        }
    };
    let assets = || meta_graph.assets().iter().map(|asset| (asset.tensor.as_str(), Feed::Asset(&asset.filename)));
    if let Some(saver) = meta_graph.saver() {
        let prefix = (saver.filename_tensor.as_str(), Feed::Prefix);
        add(EntryPoint::Save, vec![&saver.save_tensor], vec![prefix]);
        add(EntryPoint::Restore, vec![&saver.restore_op], assets().chain([prefix]).collect());
    }
    let operations = meta_graph.init_ops().iter().map(|init| init.operation.as_str());
    let tables = meta_graph.table_initializers().iter().map(String::as_str);
    add(EntryPoint::Init, operations.chain(tables).collect(), assets().collect());
    // Loading runs the init op and feeds it the assets' paths.
    let is_init = |tensor: &&str| meta_graph.init_ops().iter().any(|init| init.operation == *tensor);
    for (signature, is_operation) in entry_points(meta_graph) {
        let outputs = signature.outputs.iter().flat_map(|(_, info)| info.tensor_names());
        let outputs = outputs.filter(|tensor| !(is_operation && is_init(tensor)));
        let inputs = signature.inputs.iter().flat_map(|(key, info)| {
            let input = Feed::Input(key);
            info.tensor_names().into_iter().map(move |tensor| (tensor, input))
        });
        add(EntryPoint::Signature(truncated(signature.name.as_bytes())), outputs.collect(), inputs.collect());
    }
    roots
}

/// A signature without outputs. Python calls it through the object graph, so it may run everything that no other entry
/// point reaches.
pub(super) fn unknown_root(meta_graph: &MetaGraph) -> Option<Root<'_>> {
    let signature = meta_graph.signatures().iter().find(|signature| signature.outputs.is_empty())?;
    Some(Root::new(EntryPoint::Signature(truncated(signature.name.as_bytes())), Vec::new(), Vec::new()))
}

/// The signatures that a client may call by name, and whether each is an operation: TensorFlow Serving and Python run
/// those as well.
fn entry_points(meta_graph: &MetaGraph) -> impl Iterator<Item = (&SignatureDef, bool)> {
    let operations = meta_graph.operations().iter().map(|operation| (operation, true));
    meta_graph.signatures().iter().map(|signature| (signature, false)).chain(operations)
}

impl<'a> Root<'a> {
    fn new(entry_point: EntryPoint, targets: Vec<&'a str>, feeds: Vec<(&'a str, Feed<'a>)>) -> Self {
        let feeds = feeds.into_iter().filter_map(|(tensor, feed)| Some((parse_tensor_name(tensor).ok()?, feed)));
        Self { entry_point, targets, feeds: feeds.collect() }
    }

    /// The value that is fed to an output of a node at the top.
    pub(super) fn feed(&self, node: &str, output: u32) -> Option<Feed<'a>> {
        self.feeds.get(&(node, output)).copied()
    }

    /// Whether an input at the top is always fed, so that its node does not run. A control input `^node` runs its node
    /// regardless.
    ///
    /// Callers may omit a signature's inputs that are not placeholders: then the graph computes them.
    fn is_fed(&self, input: &str) -> bool {
        !matches!(self.entry_point, EntryPoint::Signature(_))
            && !input.starts_with('^')
            && parse_tensor_name(input).is_ok_and(|tensor| self.feeds.contains_key(&tensor))
    }
}

/// What one root reaches. It is reused for each root: clearing it would take longer than filling it.
pub(super) struct Reachable {
    round: u32,
    nodes: Vec<u32>,
    bodies: Vec<u32>,
    /// For each body, the body that reached it first.
    from: Vec<usize>,
    /// The functions reached in this round.
    pub(super) functions: Vec<usize>,
    /// For each node of the top, the functions that it calls.
    calls: HashMap<usize, Vec<usize>>,
}

impl Reachable {
    pub(super) fn new(index: &Index<'_>) -> Self {
        let mut calls: HashMap<usize, Vec<usize>> = HashMap::new();
        for (node, callee) in &index.bodies[TOP].calls {
            calls.entry(node.unwrap_or_default()).or_default().push(*callee);
        }
        Self {
            round: 0,
            nodes: vec![0; index.bodies[TOP].nodes.len()],
            bodies: vec![0; index.bodies.len()],
            from: vec![TOP; index.bodies.len()],
            functions: Vec::new(),
            calls,
        }
    }

    pub(super) fn has_node(&self, node_index: usize) -> bool {
        self.nodes[node_index] == self.round
    }

    /// Whether a body is reached. The top always is.
    pub(super) fn has_body(&self, body: usize) -> bool {
        body == TOP || self.bodies[body] == self.round
    }

    /// The call path to a body, which is its last element.
    pub(super) fn call_path(&self, body: usize) -> Vec<usize> {
        let mut path: Vec<usize> = std::iter::successors(Some(body), |body| Some(self.from[*body]))
            .take_while(|body| *body != TOP)
            .take(self.bodies.len())
            .collect();
        path.reverse();
        path
    }

    /// Walks from the next root.
    pub(super) fn walk(
        &mut self,
        index: &Index<'_>,
        root: &Root<'_>,
        budget: &mut Budget,
    ) -> Result<(), BudgetExceeded> {
        self.round += 1;
        self.functions.clear();
        let top = &index.bodies[TOP];
        let mut todo: Vec<usize> = root
            .targets
            .iter()
            .filter(|target| !root.is_fed(target))
            .filter_map(|it| top.node_index(node_of(it)))
            .collect();
        while let Some(node_index) = todo.pop() {
            if std::mem::replace(&mut self.nodes[node_index], self.round) == self.round {
                continue;
            }
            budget.step()?;
            for input in top.nodes[node_index].inputs() {
                budget.step()?;
                if !root.is_fed(input) {
                    todo.extend(top.node_index(node_of(input)));
                }
            }
            if let Some(callees) = self.calls.get(&node_index) {
                let callees = callees.clone();
                self.enter(index, TOP, callees.into_iter(), budget)?;
            }
        }
        // Breadth first, so that call paths are short.
        let mut next = 0;
        while let Some(body) = self.functions.get(next).copied() {
            next += 1;
            self.enter(index, body, index.bodies[body].calls.iter().map(|(_, callee)| *callee), budget)?;
        }
        Ok(())
    }

    /// Marks everything as reached, as if all nodes of the top ran.
    pub(super) fn everything(&mut self, index: &Index<'_>) {
        self.round += 1;
        self.nodes.fill(self.round);
        self.bodies.fill(self.round);
        self.from.fill(TOP);
        self.functions = (1..index.bodies.len()).collect();
    }

    fn enter(
        &mut self,
        index: &Index<'_>,
        from: usize,
        callees: impl Iterator<Item = usize>,
        budget: &mut Budget,
    ) -> Result<(), BudgetExceeded> {
        debug_assert!(from < index.bodies.len());
        for callee in callees {
            budget.step()?;
            if std::mem::replace(&mut self.bodies[callee], self.round) != self.round {
                self.from[callee] = from;
                self.functions.push(callee);
            }
        }
        Ok(())
    }
}
