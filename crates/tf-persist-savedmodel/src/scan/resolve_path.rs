//! Where the name of a file comes from: a constant, an asset, the saver's prefix, a signature's input, or a
//! computation.
//!
//! A name is followed backwards through ops that pass texts on: identities, joins, selections, variables that are
//! assigned once, and the arguments and results of functions. Any other op makes it a computed name, and so does a path
//! that is too long. A computed name counts as the worst case.

use std::collections::BTreeSet;

use super::index::{Body, Index, TOP};
use super::reachability::{Feed, Reachable, Root};
use super::variables::TextVariables;
use crate::graph::view::{NodeView, TensorView};
use crate::ops::call_op;
use crate::saved_model::parse_tensor_name;

/// The longest path along which a name is followed. TensorFlow's own savers and initialisers take less than ten steps.
const MAX_DEPTH: usize = 48;

/// All steps for one name: joins of joins double them.
const MAX_STEPS: usize = 1_000;

/// The number of names that are followed for an op, and of callers for a function.
const MAX_NAMES: usize = 64;

/// The longest name: `PATH_MAX` of Linux.
const MAX_LENGTH: usize = 4_096;

/// Where a name comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathSource<'a> {
    /// A constant of the graph.
    Constant(Vec<u8>),
    /// The path of one of the model's assets.
    Asset(&'a str),
    /// The prefix of the checkpoint, which the saver's caller gives.
    Prefix,
    /// An input of the signature.
    Input(&'a str),
    /// The handle of a variable, whose value counts.
    Variable(usize),
    /// Anything else.
    Computed,
}

type PathSources<'a> = BTreeSet<PathSource<'a>>;

/// Follows names in the part of the graph that one root reaches.
pub(super) struct PathResolver<'r, 'a> {
    pub(super) index: &'r Index<'a>,
    pub(super) reach: &'r Reachable,
    pub(super) root: Option<&'r Root<'a>>,
    pub(super) variables: &'r TextVariables<'r, 'a>,
    visiting: Vec<(usize, &'a str)>,
    steps: usize,
    /// The number of steps taken so far.
    pub(super) taken: usize,
    /// Whether the value being followed was assigned to a variable, perhaps by the init op.
    assigned: bool,
}

/// How a node calls functions.
struct Call<'a> {
    functions: Vec<&'a str>,
    /// The functions whose results are its outputs.
    results: Vec<&'a str>,
    /// The input that is the first argument.
    first: usize,
    is_loop: bool,
}

impl<'a> Call<'a> {
    /// `None` if it calls no functions, or some that are unknown: batches and datasets pass other arguments as well,
    /// and the caller chooses the function that a placeholder names.
    fn new(node: &NodeView<'a>, index: &Index<'_>) -> Option<Self> {
        const ATTRIBUTES: [&str; 6] = ["f", "then_branch", "else_branch", "branches", "cond", "body"];
        if ATTRIBUTES.iter().any(|attribute| node.is_placeholder(attribute)) {
            return None;
        }
        let named = |attributes: &[&str]| attributes.iter().flat_map(|it| node.functions(it)).collect::<Vec<_>>();
        // A batch contains tensors of other runs.
        if let Some(call) = call_op(node.op).filter(|call| !call.is_batched) {
            let functions = named(call.attributes);
            let results = if call.is_loop { named(&["body"]) } else { functions.clone() };
            return Some(Self { functions, results, first: call.first, is_loop: call.is_loop });
        }
        let is_function = !index.functions(node.op).is_empty();
        is_function.then(|| Self { functions: vec![node.op], results: vec![node.op], first: 0, is_loop: false })
    }
}

impl<'r, 'a> PathResolver<'r, 'a> {
    pub(super) fn new(
        index: &'r Index<'a>,
        reach: &'r Reachable,
        root: Option<&'r Root<'a>>,
        variables: &'r TextVariables<'r, 'a>,
    ) -> Self {
        Self { index, reach, root, variables, visiting: Vec::new(), steps: MAX_STEPS, taken: 0, assigned: false }
    }

    /// Where the text in a node's input comes from: at least one source.
    pub(super) fn input(&mut self, body: usize, node: &NodeView<'a>, input: usize) -> PathSources<'a> {
        (self.steps, self.assigned) = (MAX_STEPS, false);
        let names = node.tensors().nth(input).map(|tensor| self.tensor(body, tensor)).unwrap_or_default();
        let known = |name: &PathSource<'_>| !matches!(name, PathSource::Variable(_));
        if names.is_empty() || names.len() > MAX_NAMES || !names.iter().all(known) { computed() } else { names }
    }

    fn tensor(&mut self, body: usize, tensor: &'a str) -> PathSources<'a> {
        if self.steps == 0 || self.visiting.len() > MAX_DEPTH {
            return computed();
        }
        self.steps -= 1;
        self.taken += 1;
        // A loop passes on only what entered it.
        if self.visiting.contains(&(body, tensor)) {
            return PathSources::new();
        }
        self.visiting.push((body, tensor));
        let names = if body == TOP { self.at_top(tensor) } else { self.in_function(body, tensor) };
        self.visiting.pop();
        names
    }

    fn at_top(&mut self, tensor: &'a str) -> PathSources<'a> {
        let Ok((name, output)) = parse_tensor_name(tensor) else { return computed() };
        match self.root.and_then(|root| root.feed(name, output)) {
            Some(Feed::Input(key)) => return PathSources::from([PathSource::Input(key)]),
            Some(Feed::Prefix) => return PathSources::from([PathSource::Prefix]),
            Some(Feed::Asset(file)) => return PathSources::from([PathSource::Asset(file)]),
            None => {}
        }
        let top = &self.index.bodies[TOP];
        let Some(node) = top.node_index(name).map(|node_index| &top.nodes[node_index]) else { return computed() };
        // Another entry point may have assigned the variable: a signature that is fed this tensor, or the init op,
        // which is fed assets. Otherwise the node computes it.
        let mut names = PathSources::new();
        if self.assigned {
            names.extend(self.variables.feed(name, output));
            names.extend(self.variables.asset(name, output).map(PathSource::Asset));
            if !names.is_empty() && node.op == "Placeholder" {
                return names;
            }
        }
        names.extend(self.node(TOP, node, "", output as usize));
        names
    }

    /// In a function a tensor is named `argument` or `node:output:0`.
    fn in_function(&mut self, body: usize, tensor: &'a str) -> PathSources<'a> {
        let function = &self.index.bodies[body];
        let mut parts = tensor.splitn(3, ':');
        let (Some(name), Some(output)) = (parts.next(), parts.next()) else {
            let argument = function.arguments.iter().position(|argument| *argument == tensor);
            return argument.map_or_else(computed, |argument| self.argument(body, argument));
        };
        let number = parts.next().and_then(|number| number.parse().ok()).unwrap_or_default();
        let Some(node_index) = function.node_index(name) else { return computed() };
        self.node(body, &function.nodes[node_index], output, number)
    }

    fn node(&mut self, body: usize, node: &NodeView<'a>, output: &str, number: usize) -> PathSources<'a> {
        let tensors = || node.tensors().collect::<Vec<_>>();
        match node.op {
            "Const" => constants(node),
            "Identity"
            | "PlaceholderWithDefault"
            | "Enter"
            | "Exit"
            | "NextIteration"
            | "Switch"
            | "StopGradient"
            | "Snapshot"
            | "GuaranteeConst"
            | "EnsureShape"
            | "Reshape"
            | "ExpandDims"
            | "Squeeze"
            | "Unpack"
            | "StridedSlice"
            | "Gather"
            | "GatherV2" => self.any(body, node.tensors().take(1)),
            "ShardedFilename" | "ShardedFilespec" => {
                // It names a file even if the prefix is empty.
                let of_shard = |name| match name {
                    PathSource::Constant(text) => PathSource::Constant([text.as_slice(), b"-?????-of-?????"].concat()),
                    other => other,
                };
                self.any(body, node.tensors().take(1)).into_iter().map(of_shard).collect()
            }
            "IdentityN" => self.any(body, node.tensors().skip(number).take(1)),
            "Merge" | "Pack" => self.any(body, tensors()),
            "Select" | "SelectV2" => self.any(body, node.tensors().skip(1)),
            "ConcatV2" => self.any(body, node.tensors().take(tensors().len().saturating_sub(1))),
            "Concat" => self.any(body, node.tensors().skip(1)),
            "StringJoin" => self.join(body, node),
            "VarHandleOp" if body == TOP => {
                self.index.bodies[TOP].node_index(node.name).map(PathSource::Variable).into_iter().collect()
            }
            "ReadVariableOp" => self.variable(body, node),
            _ => match Call::new(node, self.index) {
                Some(call) => self.result(body, node, &call, output, number),
                None => computed(),
            },
        }
    }

    /// The sources of any of these tensors.
    fn any(&mut self, body: usize, tensors: impl IntoIterator<Item = &'a str>) -> PathSources<'a> {
        let mut names = PathSources::new();
        for tensor in tensors {
            names.extend(self.tensor(body, tensor));
            if names.len() > MAX_NAMES {
                return computed();
            }
        }
        names
    }

    /// Joined texts: a constant if all are constants, and the saver's prefix if only constants follow it.
    fn join(&mut self, body: usize, node: &NodeView<'a>) -> PathSources<'a> {
        if node.is_placeholder("separator") {
            return computed();
        }
        let separator = node.bytes_attr("separator").unwrap_or_default();
        let parts: Vec<PathSources<'a>> = node.tensors().map(|tensor| self.tensor(body, tensor)).collect();
        let Some((first, rest)) = parts.split_first() else { return computed() };
        // A dot at the end and one at the start of the next part would join to `..`.
        let stays = |text: &[u8]| !text.windows(2).any(|two| two == b"..") && !text.ends_with(b".");
        let own = |name: &PathSource<'_>| matches!(name, PathSource::Constant(text) if stays(text));
        let prefix = PathSources::from([PathSource::Prefix]);
        if *first == prefix && rest.iter().all(|part| !part.is_empty() && part.iter().all(own)) && stays(separator) {
            return prefix;
        }
        let only = |part: &PathSources<'a>| match part.first() {
            Some(PathSource::Constant(text)) if part.len() == 1 => Some(text.clone()),
            _ => None,
        };
        if let Some(texts) = parts.iter().map(only).collect::<Option<Vec<_>>>() {
            let joined = texts.join(separator);
            return if joined.len() > MAX_LENGTH {
                computed()
            } else {
                PathSources::from([PathSource::Constant(joined)])
            };
        }
        let input = parts.iter().flatten().find(|name| matches!(name, PathSource::Input(_)));
        input.cloned().map_or_else(computed, |input| PathSources::from([input]))
    }

    /// The value of a variable, if everything that assigns to it is known.
    fn variable(&mut self, body: usize, node: &NodeView<'a>) -> PathSources<'a> {
        let mut names = PathSources::new();
        for handle in self.any(body, node.tensors().take(1)) {
            let assigned = match handle {
                PathSource::Variable(node_index) => self.variables.assigned(node_index),
                _ => None,
            };
            let Some(values) = assigned.filter(|values| !values.is_empty()) else { return computed() };
            let before = std::mem::replace(&mut self.assigned, true);
            names.extend(self.any(TOP, values.iter().copied()));
            self.assigned = before;
        }
        names
    }

    /// The sources of an output of a call.
    fn result(
        &mut self,
        body: usize,
        node: &NodeView<'a>,
        call: &Call<'a>,
        output: &str,
        number: usize,
    ) -> PathSources<'a> {
        let mut names = PathSources::new();
        if call.is_loop {
            names.extend(self.any(body, node.tensors().skip(number).take(1)));
        }
        let known = |name: &&str| !self.index.functions(name).is_empty();
        if call.results.is_empty() || !call.results.iter().all(known) {
            return computed();
        }
        for function in call.results.iter().flat_map(|name| self.index.functions(name)) {
            let callee = &self.index.bodies[*function];
            if callee.is_ambiguous || callee.has_lists {
                return computed();
            }
            let named = || callee.outputs.iter().position(|name| *name == output);
            let number = if callee.name == node.op && body != TOP { named().unwrap_or(number) } else { number };
            match callee.returned(number) {
                Some(tensor) => names.extend(self.tensor(*function, tensor)),
                None => return computed(),
            }
        }
        names
    }

    /// The sources of a function's argument, from all of its callers.
    fn argument(&mut self, body: usize, argument: usize) -> PathSources<'a> {
        let index = self.index;
        let function: &Body<'a> = &index.bodies[body];
        if function.is_ambiguous || function.has_lists || function.callers.len() > MAX_NAMES {
            return computed();
        }
        let mut names = PathSources::new();
        for &(caller, node_index) in &function.callers {
            // Another entry point may have assigned the variable.
            let is_reached = self.reach.has_body(caller) && (caller != TOP || self.reach.has_node(node_index));
            if !is_reached && !self.assigned {
                continue;
            }
            let node = &index.bodies[caller].nodes[node_index];
            let call = Call::new(node, index).filter(|call| call.functions.contains(&function.name));
            let Some(call) = call else { return computed() };
            let Some(tensor) = node.tensors().nth(argument + call.first) else { return computed() };
            names.extend(self.tensor(caller, tensor));
            if call.is_loop {
                for &results in call.results.iter().flat_map(|name| index.functions(name)) {
                    let Some(tensor) = index.bodies[results].returned(argument) else { return computed() };
                    names.extend(self.tensor(results, tensor));
                }
            }
        }
        names
    }
}

fn computed<'a>() -> PathSources<'a> {
    PathSources::from([PathSource::Computed])
}

/// The texts of a `Const` node.
fn constants<'a>(node: &NodeView<'a>) -> PathSources<'a> {
    // Texts are never written as the bytes of a whole tensor.
    let tensor = node.tensor_attr("value");
    if node.is_placeholder("value") || tensor.is_some_and(TensorView::has_content) {
        return computed();
    }
    let mut names = PathSources::new();
    for text in tensor.into_iter().flat_map(TensorView::strings) {
        if text.len() > MAX_LENGTH || names.len() == MAX_NAMES {
            return computed();
        }
        names.insert(PathSource::Constant(text.to_vec()));
    }
    if names.is_empty() { PathSources::from([PathSource::Constant(Vec::new())]) } else { names }
}

/// Whether a path contains `..`.
fn climbs(path: &[u8]) -> bool {
    path.split(|byte| matches!(byte, b'/' | b'\\')).any(|part| part == b"..")
}

/// Whether a path stays below the working directory: it is not absolute, has no `..`, and names no file system.
pub(super) fn is_relative(path: &[u8]) -> bool {
    !path.is_empty() && !climbs(path) && !matches!(path[0], b'/' | b'\\' | b'~') && !path.contains(&b':')
}
