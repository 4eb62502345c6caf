//! How a graph restores its variables.
//!
//! A saver is a part of the graph: nodes that read tensors from a checkpoint and assign them. TensorFlow 1 has them at
//! the top of the graph, TensorFlow 2 in a function. Source: `tensorflow/python/training/saver.py` and
//! `checkpoint/functional_saver.py`.

use std::collections::HashMap;
use std::path::Path;

use tf_persist_proto::tensorflow as pb;

use crate::checkpoint::{CheckpointReader, Slice};
use crate::error::{Error, Result};
use crate::graph::attr::{self, ProtoType};
use crate::graph::{Body, Graph, Reachable, arguments, node_of};
use crate::tensor::Tensor;

/// Something that a saver restores: a variable, or a table with its keys and values.
#[derive(Debug, Clone, PartialEq)]
pub struct Restored {
    /// The tensor at the top of the graph that holds the variable or table.
    pub holder: String,
    /// The op that puts the values there.
    pub op: String,
    /// The tensors of the checkpoint: one, or a table's keys and values.
    pub tensors: Vec<SavedTensor>,
}

/// A tensor in a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedTensor {
    /// Its name in the checkpoint.
    pub key: String,
    /// The slice in the form of `RestoreV2`; empty for the whole tensor.
    pub slice: String,
    /// Its element type.
    pub dtype: ProtoType,
}

/// The variables and tables that the saver of a graph restores.
///
/// # Errors
/// A sentence, if the saver has an unknown form.
pub(crate) fn restored(graph: &Graph<'_>, restore_op: &str) -> Result<Vec<Restored>, String> {
    if restore_op.is_empty() {
        return Ok(Vec::new());
    }
    let node = graph
        .node(restore_op)
        .ok_or_else(|| format!("its saver names the op `{restore_op}`, which the graph lacks"))?;
    if let Some(call) = arguments(node, graph) {
        let function = call.functions.first().and_then(|name| graph.function(name));
        let function =
            function.ok_or_else(|| format!("its saver calls a function, by `{restore_op}`, that the graph lacks"))?;
        if !call.are_single(graph) {
            return Err(format!(
                "its saver calls a function, by `{restore_op}`, that takes or returns lists of tensors"
            ));
        }
        let given = function.signature.input_arg.iter().zip(&node.input);
        let given: HashMap<&str, &str> =
            given.map(|(argument, input)| (argument.name.as_str(), input.as_str())).collect();
        let body = Body::of_function(function);
        return collect(&body, |_| true, |input| given.get(input).map(|outer| (*outer).to_owned()));
    }
    let reach = Reachable::new(graph, [restore_op]);
    collect(&Body::top(graph), |index| reach.has_index(index), |input| Some(input.to_owned()))
}

/// The variables and tables that the nodes of a body restore. `outer` maps a tensor to its name at the top of the
/// graph.
fn collect(
    body: &Body<'_>,
    counts: impl Fn(usize) -> bool,
    outer: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Restored>, String> {
    let by_name: HashMap<&str, &pb::NodeDef> = body.nodes.iter().map(|node| (node.name.as_str(), node)).collect();
    let mut found: Vec<Restored> = Vec::new();
    // Tables are assigned by one node that takes two tensors.
    let mut by_node: HashMap<usize, usize> = HashMap::new();
    for (_, node) in body.nodes.iter().enumerate().filter(|(index, _)| counts(*index)) {
        match node.op.as_str() {
            "RestoreV2" => {}
            "Restore" | "RestoreSlice" => {
                return Err(format!("its saver reads checkpoints of before TensorFlow 0.12, by the op `{}`", node.op));
            }
            _ => continue,
        }
        let list = |position: usize| {
            let source = node.input.get(position).and_then(|input| by_name.get(node_of(input)));
            source.and_then(|source| attr::strings(source))
        };
        let (Some(keys), Some(slices)) = (list(1), list(2)) else {
            return Err(format!("its saver's `{}` reads tensors whose names are no constants", node.name));
        };
        let dtypes = attr::list_of_types(node, "dtypes");
        if keys.len() != slices.len() || keys.len() != dtypes.len() {
            return Err(format!("its saver's `{}` does not have a slice and a dtype for each tensor", node.name));
        }
        for (index, ((key, slice), dtype)) in keys.into_iter().zip(slices).zip(dtypes).enumerate() {
            let Some((taker, position)) = destination(body, &counts, body.output(node, index), &key)? else { continue };
            let node = &body.nodes[taker];
            let tensor = SavedTensor { key, slice, dtype };
            let item = *by_node.entry(taker).or_insert(found.len());
            if item == found.len() {
                let holder = node.input.first().and_then(|input| outer(input));
                let holder = holder
                    .ok_or_else(|| format!("its saver restores `{}` into a node that is not a variable", tensor.key))?;
                found.push(Restored { holder, op: node.op.clone(), tensors: vec![tensor] });
            } else if position == 1 {
                found[item].tensors.insert(0, tensor);
            } else {
                found[item].tensors.push(tensor);
            }
        }
    }
    Ok(found)
}

/// The node that assigns a restored tensor, and the index of its input; `None` if no node uses the tensor.
fn destination(
    body: &Body<'_>,
    counts: &impl Fn(usize) -> bool,
    mut tensor: String,
    key: &str,
) -> Result<Option<(usize, usize)>, String> {
    // Each step visits another node, so a cycle ends after as many steps.
    for _ in 0..body.nodes.len() {
        let mut consumers = body.consumers(&tensor).iter().filter(|(index, _)| counts(*index));
        let Some(&(index, position)) = consumers.next() else { return Ok(None) };
        if consumers.next().is_some() {
            return Err(format!("its saver restores `{key}` into several places"));
        }
        let node = &body.nodes[index];
        match (node.op.as_str(), position) {
            ("Assign" | "AssignVariableOp", 1) | ("LookupTableImportV2", 1 | 2) => return Ok(Some((index, position))),
            ("Identity" | "Reshape", 0) => tensor = body.output(node, 0),
            (op, _) => return Err(format!("its saver restores `{key}` by the op `{op}`, which is not known to do so")),
        }
    }
    Err(format!("its saver restores `{key}` in a circle"))
}

impl SavedTensor {
    /// Reads the value of the variable, or of the slice of it. Errors name `file`.
    #[doc(hidden)]
    pub fn read(&self, file: &Path, values: &CheckpointReader) -> Result<Tensor> {
        let whole = values.read(&self.key)?;
        if self.slice.is_empty() {
            return Ok(whole);
        }
        let cut = Slice::parse(&self.slice).and_then(|slice| slice.cut(&whole));
        cut.ok_or_else(|| {
            let reason =
                format!("its saver reads `{}` of the variable `{}`, which has no such slice", self.slice, self.key);
            Error::flawed(file, reason)
        })
    }
}
