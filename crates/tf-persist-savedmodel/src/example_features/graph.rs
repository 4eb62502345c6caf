//! The ops that parse `tf.Example`s, in a graph and in functions that it calls.
//!
//! Source: `tensorflow/core/ops/parsing_ops.cc`.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use super::FeatureKind;
use crate::dtype::DType;
use crate::graph::view::{AttrView, IndexedFunction, IndexedGraph, NodeView, source};
use crate::ops::is_known_op;
use crate::saved_model::{SignatureDef, parse_tensor_name};
use crate::tensor::serialized;

/// The features that one op parses.
pub(super) struct Parsed {
    /// The signature's input whose strings it parses, if it is known.
    pub(super) input: Option<String>,
    /// The features; `None` if they cannot be read.
    pub(super) features: Option<Vec<(String, FeatureKind)>>,
    /// Whether it takes `tf.SequenceExample`s.
    pub(super) is_sequence: bool,
}

/// The number of nodes through which a tensor is followed to a constant or an input.
const MAX_STEPS: usize = 1000;

/// The memory that the keys of one op may take.
const MAX_KEY_BYTES: usize = 1 << 20;

/// The memory that the keys of all ops together may take. Many ops may share a constant, which each of them decodes.
const MAX_ALL_BYTES: usize = 64 << 20;

/// The graph, or a function as called by a node.
struct Scope<'g, 'a> {
    nodes: HashMap<&'a str, &'g NodeView<'a>>,
    function: Option<&'g IndexedFunction<'a>>,
    /// The scope and the node of the call.
    caller: Option<(usize, &'g NodeView<'a>)>,
}

struct Walk<'g, 'a> {
    functions: HashMap<&'a str, &'g IndexedFunction<'a>>,
    scopes: Vec<Scope<'g, 'a>>,
    /// The signature's inputs by the nodes that are fed.
    fed: HashMap<String, String>,
    /// The rest of [`MAX_ALL_BYTES`].
    budget: Cell<usize>,
}

/// The features that ops parse in a run of the signature.
pub(super) fn parsed(meta_graph: &[u8], signature: &SignatureDef) -> Vec<Parsed> {
    let graph = IndexedGraph::new(meta_graph);
    let functions = graph.functions.iter().map(|function| (function.name, function)).collect();
    let node_of = |tensor: &str| parse_tensor_name(tensor).ok().map(|(node, _)| node.to_owned());
    let inputs = signature.inputs.iter().flat_map(|(key, info)| info.parts(key));
    let fed = inputs.filter_map(|part| Some((node_of(part.tensor)?, part.name.clone()))).collect();
    let top = Scope { nodes: by_name(&graph.nodes), function: None, caller: None };
    let mut walk = Walk { functions, scopes: vec![top], fed, budget: Cell::new(MAX_ALL_BYTES) };

    let outputs = signature.outputs.iter().flat_map(|(key, info)| info.parts(key));
    let fetched = outputs.filter_map(|part| node_of(part.tensor));
    let mut todo: Vec<(usize, &NodeView<'_>)> =
        fetched.filter_map(|name| Some((0, *walk.scopes[0].nodes.get(name.as_str())?))).collect();
    let mut seen: HashSet<*const u8> = HashSet::new();
    let mut entered: HashSet<&str> = HashSet::new();
    let mut all = Vec::new();
    while let Some((scope, node)) = todo.pop() {
        if !seen.insert(node.address()) || scope == 0 && walk.fed.contains_key(node.name) {
            continue;
        }
        all.extend(walk.parsed(scope, node));
        // TensorFlow runs all nodes of a function that have an effect.
        let called: Vec<&IndexedFunction<'_>> =
            node.calls().filter_map(|name| walk.functions.get(name).copied()).collect();
        for function in called {
            if entered.insert(function.name) {
                let nodes = by_name(&function.nodes);
                walk.scopes.push(Scope { nodes, function: Some(function), caller: Some((scope, node)) });
                let inner = walk.scopes.len() - 1;
                todo.extend(function.nodes.iter().map(|node| (inner, node)));
            }
        }
        if scope == 0 {
            let inputs = node.inputs().filter_map(|input| walk.scopes[0].nodes.get(source(input).0));
            todo.extend(inputs.map(|node| (0, *node)));
        }
    }
    all
}

fn by_name<'g, 'a>(nodes: &'g [NodeView<'a>]) -> HashMap<&'a str, &'g NodeView<'a>> {
    nodes.iter().map(|node| (node.name, node)).collect()
}

impl<'g, 'a> Walk<'g, 'a> {
    /// The features that a node parses; `None` if it parses nothing.
    fn parsed(&self, scope: usize, node: &'g NodeView<'a>) -> Option<Parsed> {
        let features = match node.op {
            "ParseExample" => self.of_single_keys(scope, node),
            "ParseExampleV2" => self.of_lists_of_keys(scope, node),
            "ParseSingleExample" => of_attributes(node),
            op if op.contains("Example") || op.starts_with("DecodeProto") || !is_known_op(op) => None,
            _ => return None,
        };
        // The nodes of the called function are visited instead.
        if self.is_call(node) {
            return None;
        }
        let is_sequence = node.op.contains("SequenceExample");
        Some(Parsed { input: self.input_of(scope, node.inputs().next()?), features, is_sequence })
    }

    fn is_call(&self, node: &NodeView<'a>) -> bool {
        node.calls().any(|name| self.functions.contains_key(name))
    }

    /// `ParseExample`: serialized, names, a key for each sparse feature, a key for each dense one, defaults.
    fn of_single_keys(&self, scope: usize, node: &NodeView<'a>) -> Option<Vec<(String, FeatureKind)>> {
        let types = [types(node, "sparse_types"), types(node, "Tdense")].concat();
        let inputs: Vec<&str> = node.inputs().collect();
        let keys = inputs.get(2..2 + types.len())?;
        let keys = keys.iter().map(|key| self.constant(scope, key)?.into_iter().next());
        with_kinds(&keys.collect::<Option<Vec<_>>>()?, &types)
    }

    /// `ParseExampleV2`: serialized, names, the keys of the sparse, the dense and the ragged features, defaults.
    fn of_lists_of_keys(&self, scope: usize, node: &NodeView<'a>) -> Option<Vec<(String, FeatureKind)>> {
        let mut all = Vec::new();
        for (index, attribute) in [(2, "sparse_types"), (3, "Tdense"), (4, "ragged_value_types")] {
            let keys = self.constant(scope, node.inputs().nth(index)?)?;
            all.extend(with_kinds(&keys, &types(node, attribute))?);
        }
        Some(all)
    }

    /// The strings of a constant, through nodes that pass it on and through calls of functions.
    fn constant(&self, scope: usize, input: &'a str) -> Option<Vec<Vec<u8>>> {
        let node = self.follow(scope, input, |_, node| node.op == "Const")?;
        let value = node.tensor_attr("value")?;
        self.budget.set(self.budget.get().checked_sub(value.len())?);
        let strings = serialized::decode(&value.message(), MAX_KEY_BYTES).ok()?;
        self.budget.set(self.budget.get().saturating_sub(strings.len() * size_of::<Vec<u8>>()));
        Some(strings.strings().ok()?.iter().map(<[u8]>::to_vec).collect())
    }

    /// The signature's input that a tensor comes from.
    fn input_of(&self, scope: usize, input: &'a str) -> Option<String> {
        let node = self.follow(scope, input, |scope, node| scope == 0 && self.fed.contains_key(node.name))?;
        self.fed.get(node.name).cloned()
    }

    /// The first node with `is_wanted` on the path backwards from a tensor along first inputs.
    fn follow(
        &self,
        mut scope: usize,
        mut input: &'a str,
        is_wanted: impl Fn(usize, &NodeView<'a>) -> bool,
    ) -> Option<&'g NodeView<'a>> {
        for _ in 0..MAX_STEPS {
            let name = source(input).0;
            let here = &self.scopes[scope];
            if let Some(node) = here.nodes.get(name) {
                if is_wanted(scope, node) {
                    return Some(node);
                }
                // The output of a function is not its first input.
                if self.is_call(node) {
                    return None;
                }
                input = node.inputs().next().filter(|input| source(input).1.is_some())?;
            } else {
                let index = here.function?.inputs.iter().position(|argument| argument.name == name)?;
                let (outer, call) = here.caller?;
                // Calls pass their inputs on unchanged; loops and branches do not.
                if !call.op.ends_with("PartitionedCall") && !self.functions.contains_key(call.op) {
                    return None;
                }
                (scope, input) = (outer, call.inputs().nth(index)?);
            }
        }
        None
    }
}

/// `ParseSingleExample`, whose keys are attributes.
fn of_attributes(node: &NodeView<'_>) -> Option<Vec<(String, FeatureKind)>> {
    let keys = |name: &str| -> Vec<Vec<u8>> {
        node.attr(name).into_iter().flat_map(AttrView::byte_list).map(<[u8]>::to_vec).collect()
    };
    let mut all = with_kinds(&keys("sparse_keys"), &types(node, "sparse_types"))?;
    all.extend(with_kinds(&keys("dense_keys"), &types(node, "Tdense"))?);
    Some(all)
}

/// The dtypes in an attribute that lists them.
fn types(node: &NodeView<'_>, name: &str) -> Vec<DType> {
    node.attr(name).into_iter().flat_map(AttrView::dtypes).map(DType::from_number).collect()
}

fn with_kinds(keys: &[Vec<u8>], types: &[DType]) -> Option<Vec<(String, FeatureKind)>> {
    if keys.len() != types.len() {
        return None;
    }
    let pairs = keys.iter().zip(types);
    pairs.map(|(key, dtype)| Some((String::from_utf8(key.clone()).ok()?, FeatureKind::from_dtype(*dtype)?))).collect()
}
