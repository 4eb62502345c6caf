//! Variables that the graph's saver does not restore, and their values in the checkpoint.
//!
//! TensorFlow restores the variables of the graph's saver. TensorFlow Hub's modules of TensorFlow 1 and models that
//! were saved with `experimental_skip_saver` have no saver. The saver that `tf.saved_model.save` writes for a Keras 3
//! model restores copies of the variables that the signatures read. Python finds the values by the object graph, or by
//! the variables' names.

use std::collections::{BTreeMap, BTreeSet};

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;

use super::objects::{Objects, VARIABLE_VALUE};
use super::restored::{Restored, SavedTensor, restored};
use super::variable_defs::variable_definitions;
use super::{MetaGraph, SavedModel, parse_tensor_name};
use crate::checkpoint::restore::{names_a_variable, tracked_objects};
use crate::checkpoint::{CheckpointIndex, CheckpointReader, Slice};
use crate::dtype::DType;
use crate::error::{MissingVariable, MissingVariables, Result, SavedModelError};
use crate::graph::view::{GraphView, reachable_nodes};
use crate::graph::{
    Body, Graph, HandleKind, HandleUse, Reachable, WrittenVariables, attr, node_of, variable_identity, variable_kind,
};
use crate::tensor::proto::partial_shape;

/// The variables that signatures read and that neither the graph's saver nor its init op sets.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Unrestored {
    /// Those whose values are in the checkpoint all the same, sorted by name: loading restores them.
    pub found: Vec<FoundVariable>,
    /// Those without a value, sorted by name. A model with such variables is not loaded.
    pub missing: Vec<MissingVariable>,
}

/// A variable that is restored from the checkpoint.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FoundVariable {
    /// The name of its node.
    pub variable: String,
    /// Its key in the checkpoint.
    pub key: String,
    /// How it was found.
    pub by: FoundBy,
    #[doc(hidden)]
    pub restored: Restored,
}

/// How the value of a variable was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FoundBy {
    /// By the object graph.
    Objects,
    /// By its name.
    Name,
}

impl SavedModel {
    /// The variables of a meta graph that signatures read and that neither its saver nor its init op sets: those whose
    /// values are found by the object graph or by name, and those without a value. Does not need TensorFlow.
    ///
    /// A variable is missing only if a signature always reads it, and no signature writes it.
    ///
    /// # Errors
    /// If the object graph in the checkpoint is damaged.
    pub fn unrestored_variables(&self, meta_graph: &MetaGraph) -> Result<Unrestored> {
        if meta_graph.variable_nodes().is_empty() {
            return Ok(Unrestored::default());
        }
        let index = self.variables()?.index.as_ref();
        // Usually the saver reaches every variable, and checking that takes less time than decoding the graph.
        let restore_op = meta_graph.saver().filter(|_| index.is_some()).map_or("", |saver| &*saver.restore_op);
        let inits = meta_graph.init_ops().iter().map(|init| &*init.operation);
        let roots = inits.chain(meta_graph.table_initializers().iter().map(String::as_str)).chain([restore_op]);
        let reached = reachable_nodes(GraphView::new(self.meta_graph_bytes(meta_graph)), roots.clone());
        if meta_graph.variable_nodes().iter().all(|variable| reached.contains(&*variable.name)) {
            return Ok(Unrestored::default());
        }
        // TensorFlow handles a graph that is too large to be decoded.
        let Ok(definition) = self.decode_meta_graph(meta_graph) else { return Ok(Unrestored::default()) };
        let graph = Graph::new(&definition.graph_def);
        // A saver of an unknown form may restore any variable.
        let Ok(by_saver) = restored(&graph, restore_op) else { return Ok(Unrestored::default()) };
        let mut done: BTreeSet<_> =
            by_saver.iter().filter_map(|item| graph.node(&item.holder)).map(variable_identity).collect();
        let names = roots.map(|root| parse_tensor_name(root).map_or(root, |(op, _)| op));
        let at_start = WrittenVariables::new(&graph, &Reachable::new(&graph, names));
        let open: Vec<&pb::NodeDef> = graph
            .nodes
            .iter()
            .filter(|node| {
                variable_kind(node).is_some() && !at_start.has(&node.name) && !done.contains(&variable_identity(node))
            })
            .collect();
        let signatures: Vec<Reached> = meta_graph.signatures().iter().map(|it| Reached::new(&graph, it)).collect();
        let keys = match index {
            Some(index) => Keys::read(&definition, &graph, &CheckpointReader::new(index.clone()))?,
            None => Keys::default(),
        };
        let mut found = Unrestored::default();
        for node in open {
            if !signatures.iter().any(|it| it.reach.has(&graph, &node.name)) || !done.insert(variable_identity(node)) {
                continue;
            }
            match index.and_then(|index| keys.find(node, index)) {
                Some(variable) => found.found.push(variable),
                None if signatures.iter().any(|it| it.writes.has(&node.name)) => {}
                None => {
                    let readers = meta_graph.signatures().iter().zip(&signatures);
                    let readers = readers.filter(|(_, reached)| reads(&graph, &reached.reach, node));
                    let readers: Vec<String> = readers.map(|(signature, _)| signature.name.clone()).collect();
                    if !readers.is_empty() {
                        let (variable, has_checkpoint) = (node.name.clone(), index.is_some());
                        found.missing.push(MissingVariable { variable, signatures: readers, has_checkpoint });
                    }
                }
            }
        }
        found.found.sort_by(|a, b| a.variable.cmp(&b.variable));
        found.missing.sort_by(|a, b| a.variable.cmp(&b.variable));
        Ok(found)
    }

    /// Refuses a model with variables without a value.
    #[doc(hidden)]
    pub fn refuse_missing(&self, unrestored: &Unrestored) -> Result<()> {
        if unrestored.missing.is_empty() {
            return Ok(());
        }
        let variables = unrestored.missing.clone();
        Err(SavedModelError::from(Box::new(MissingVariables { path: self.path().to_path_buf(), variables })).into())
    }
}

/// The nodes that a signature reaches, and the variables that it writes.
struct Reached {
    reach: Reachable,
    writes: WrittenVariables,
}

impl Reached {
    fn new(graph: &Graph<'_>, signature: &super::SignatureDef) -> Self {
        let tensors = signature.outputs.iter().flat_map(|(_, info)| info.tensor_names());
        let reach = Reachable::new(graph, tensors);
        let writes = WrittenVariables::new(graph, &reach);
        Self { reach, writes }
    }
}

/// Whether every run reads a variable: not only in a branch or a loop, and not only to test whether it has a value.
fn reads(graph: &Graph<'_>, reach: &Reachable, variable: &pb::NodeDef) -> bool {
    let Some(kind) = variable_kind(variable) else { return false };
    let top = Body::top(graph);
    let mut todo: Vec<(Option<&str>, String)> = vec![(None, variable.name.clone())];
    let mut seen: BTreeSet<(Option<&str>, String)> = todo.iter().cloned().collect();
    while let Some((function, tensor)) = todo.pop() {
        let body = function.and_then(|name| graph.function(name));
        let needed = body.map(needed_nodes);
        let body = body.map(Body::of_function);
        let body = body.as_ref().unwrap_or(&top);
        for &(index, position) in body.consumers(&tensor) {
            let node = &body.nodes[index];
            let runs = needed.as_ref().map_or_else(|| reach.has_index(index), |needed| needed.contains(&*node.name));
            if !runs {
                continue;
            }
            match HandleUse::new(node, position, kind, graph) {
                HandleUse::Read
                    if matches!(node.op.as_str(), "ReadVariableOp" | "ResourceGather" | "ResourceGatherNd") =>
                {
                    return true;
                }
                HandleUse::Read if kind == HandleKind::Reference => {
                    let asks = ["IsVariableInitialized", "Switch", "Merge"].contains(&&*node.op);
                    if !asks && function.is_none() {
                        return true;
                    }
                }
                HandleUse::Pass(outputs) if matches!(node.op.as_str(), "Identity" | "RefIdentity" | "IdentityN") => {
                    todo.extend(outputs.into_iter().map(|index| (function, body.output(node, index))));
                }
                HandleUse::Call(call, argument)
                    if node.op.ends_with("PartitionedCall") || call.attributes.is_empty() =>
                {
                    for callee in call.functions.iter().filter_map(|name| graph.function(name)) {
                        let Some(given) = callee.signature.input_arg.get(argument) else { continue };
                        let next = (Some(callee.signature.name.as_str()), given.name.clone());
                        if seen.insert(next.clone()) {
                            todo.push(next);
                        }
                    }
                }
                _ => {}
            }
        }
    }
    false
}

/// The nodes of a function that every call runs: those of its results, and those with effects.
fn needed_nodes(function: &pb::FunctionDef) -> BTreeSet<&str> {
    let nodes: BTreeMap<&str, &pb::NodeDef> = function.node_def.iter().map(|node| (&*node.name, node)).collect();
    let mut todo: Vec<&str> =
        function.ret.values().chain(function.control_ret.values()).map(|tensor| node_of(tensor)).collect();
    let mut needed = BTreeSet::new();
    while let Some(name) = todo.pop() {
        if let Some(node) = nodes.get(name)
            && needed.insert(name)
        {
            todo.extend(node.input.iter().map(|input| node_of(input)));
        }
    }
    needed
}

/// The keys of the checkpoint for the nodes of variables; `None` if several match.
#[derive(Default)]
struct Keys {
    /// By the functions that captured the variable.
    captured: BTreeMap<String, Option<String>>,
    /// By the name of the variable in the object graph; `None` without an object graph, when keys are names.
    named: Option<BTreeMap<String, Option<String>>>,
    /// The slices of partitioned variables of TensorFlow 1, by node: the whole variable's name, and the slice as
    /// `RestoreV2` has it.
    slices: BTreeMap<String, (String, String)>,
}

impl Keys {
    fn read(definition: &pb::MetaGraphDef, graph: &Graph<'_>, checkpoint: &CheckpointReader) -> Result<Self> {
        let mut keys = Self::default();
        let Some(tracked) = tracked_objects(checkpoint)? else {
            keys.slices = slices(definition);
            return Ok(keys);
        };
        let mut named = BTreeMap::new();
        let attributes = tracked.nodes.iter().flat_map(|node| &node.attributes);
        for attribute in attributes.filter(|it| it.name == VARIABLE_VALUE && names_a_variable(&it.full_name)) {
            insert(&mut named, &attribute.full_name, &attribute.checkpoint_key);
        }
        keys.named = Some(named);
        if !definition.object_graph_def.nodes.is_empty()
            && let Ok(objects) = Objects::new(definition, &tracked)
        {
            objects.captured(graph).into_iter().for_each(|(node, key)| insert(&mut keys.captured, node, key));
        }
        Ok(keys)
    }

    /// The tensor of a variable in the checkpoint, if its dtype and shape match.
    fn find(&self, node: &pb::NodeDef, index: &CheckpointIndex) -> Option<FoundVariable> {
        let shared = node.attr.get("shared_name").and_then(|name| std::str::from_utf8(name.s()).ok()).unwrap_or("");
        let names = || [node.name.as_str(), shared].into_iter().filter(|name| !name.is_empty());
        let captured = self.captured.get(&node.name).cloned().flatten().map(|key| (key, String::new()));
        let by = if captured.is_some() { FoundBy::Objects } else { FoundBy::Name };
        let (key, slice) = captured.or_else(|| match &self.named {
            Some(named) => names().find_map(|name| named.get(name)?.clone()).map(|key| (key, String::new())),
            None => names()
                .find_map(|name| index.get(name).map(|_| (name.to_owned(), String::new())))
                .or_else(|| self.slices.get(&node.name).cloned()),
        })?;
        let entry = index.get(&key)?;
        let shape = match slice.as_str() {
            "" => entry.shape.clone(),
            slice => Slice::parse(slice)?.shape_in(&entry.shape)?,
        };
        let Some(Value::Type(dtype)) = node.attr.get("dtype")?.value else { return None };
        let dtype = DType::from_number(dtype.value());
        let declared = node.attr.get("shape").map(|shape| partial_shape(shape.shape()));
        if entry.dtype != dtype || declared.is_some_and(|declared| !declared.accepts(&shape)) {
            return None;
        }
        let op = variable_kind(node)?.assign_op();
        let tensors = vec![SavedTensor { key: key.clone(), slice, dtype: attr::proto_dtype(dtype) }];
        let restored = Restored { holder: node.name.clone(), op: op.to_owned(), tensors };
        Some(FoundVariable { variable: node.name.clone(), key, by, restored })
    }
}

fn insert(keys: &mut BTreeMap<String, Option<String>>, name: &str, key: &str) {
    let known = keys.entry(name.to_owned()).or_insert_with(|| Some(key.to_owned()));
    if known.as_deref() != Some(key) {
        *known = None;
    }
}

/// The slices of partitioned variables in TensorFlow 1's collections.
fn slices(definition: &pb::MetaGraphDef) -> BTreeMap<String, (String, String)> {
    let of = |variable: pb::VariableDef| {
        let slice = variable.save_slice_info_def.as_ref()?;
        let shape: Vec<String> = slice.full_shape.iter().map(ToString::to_string).collect();
        let ranges = slice.var_offset.iter().zip(&slice.var_shape).map(|(start, length)| format!("{start},{length}"));
        let ranges: Vec<String> = ranges.collect();
        let spec = format!("{} {}", shape.join(" "), ranges.join(":"));
        Some((node_of(&variable.variable_name).to_owned(), (slice.full_name.clone(), spec)))
    };
    variable_definitions(definition).into_iter().filter_map(of).collect()
}
