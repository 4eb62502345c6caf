//! How a graph restores its variables, and a saver for some of them.
//!
//! A saver is a part of the graph: nodes that read tensors from a checkpoint and assign them. TensorFlow 1 has them at the top of
//! the graph, TensorFlow 2 in a function. Source: `tensorflow/python/training/saver.py` and `checkpoint/functional_saver.py`.

use std::collections::HashMap;

use tf_persist_proto::protobuf::{EnumOrUnknown, Message};
use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::saver::saver_def::CheckpointFormatVersion;

use crate::checkpoint::OBJECT_GRAPH_KEY;
use crate::dtype::DType;
use crate::error::model::{Error, Result};
use crate::graph::attr::{self, ProtoType};
use crate::graph::{Body, Graph, Reachable, arguments, free_name, node_of};
use crate::tensor::{Tensor, proto};

/// Something that a saver restores: a variable, or a table with its keys and values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Restored {
    /// The tensor at the top of the graph that holds the variable or table.
    pub(crate) holder: String,
    /// The op that puts the values there.
    pub(crate) op: String,
    /// What is read for it from the checkpoint: one tensor, or a table's keys and values.
    pub(crate) tensors: Vec<Saved>,
}

/// A tensor in a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Saved {
    /// Its name in the checkpoint.
    pub(crate) key: String,
    /// Which slice of it, as `RestoreV2` has it; empty for all of it.
    pub(crate) slice: String,
    /// Its element type.
    pub(crate) dtype: ProtoType,
}

/// What the saver of a graph restores.
///
/// # Errors
/// A sentence, if it does something that is not known here.
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
        let given = function.signature.input_arg.iter().zip(&node.input);
        let given: HashMap<&str, &str> =
            given.map(|(argument, input)| (argument.name.as_str(), input.as_str())).collect();
        let body = Body::of_function(function);
        return collect(&body, |_| true, |input| given.get(input).map(|outer| (*outer).to_owned()));
    }
    let reach = Reachable::new(graph, [restore_op]);
    collect(&Body::top(graph), |place| reach.has_index(place), |input| Some(input.to_owned()))
}

/// What the nodes of a body restore. `outer` gives the name that a tensor has at the top of the graph.
fn collect(
    body: &Body<'_>,
    counts: impl Fn(usize) -> bool,
    outer: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Restored>, String> {
    let by_name: HashMap<&str, &pb::NodeDef> = body.nodes.iter().map(|node| (node.name.as_str(), node)).collect();
    let mut found: Vec<Restored> = Vec::new();
    // Tables are assigned by one node that takes two tensors.
    let mut by_node: HashMap<usize, usize> = HashMap::new();
    for (_, node) in body.nodes.iter().enumerate().filter(|(place, _)| counts(*place)) {
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
            let tensor = Saved { key, slice, dtype };
            let item = *by_node.entry(taker).or_insert(found.len());
            if item == found.len() {
                let holder = node.input.first().and_then(|input| outer(input));
                let holder = holder.ok_or_else(|| {
                    format!("its saver restores `{}` into what is no variable of the graph", tensor.key)
                })?;
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

/// The node that puts a restored tensor where it belongs, and as which of its inputs it takes it. None if nobody takes it.
fn destination(
    body: &Body<'_>,
    counts: &impl Fn(usize) -> bool,
    mut tensor: String,
    key: &str,
) -> Result<Option<(usize, usize)>, String> {
    // Each step goes on to another node; a graph that goes in circles is left in the end.
    for _ in 0..body.nodes.len() {
        let mut consumers = body.consumers(&tensor).iter().filter(|(place, _)| counts(*place));
        let Some(&(place, position)) = consumers.next() else { return Ok(None) };
        if consumers.next().is_some() {
            return Err(format!("its saver restores `{key}` into several places"));
        }
        let node = &body.nodes[place];
        match (node.op.as_str(), position) {
            ("Assign" | "AssignVariableOp", 1) | ("LookupTableImportV2", 1 | 2) => return Ok(Some((place, position))),
            ("Identity" | "Reshape", 0) => tensor = body.output(node, 0),
            (op, _) => return Err(format!("its saver restores `{key}` by the op `{op}`, which is not known to do so")),
        }
    }
    Err(format!("its saver restores `{key}` in a circle"))
}

/// The nodes of a saver for these, and what a meta graph says of it.
///
/// The tensors are read and written under the keys that they have; the object graph is written with them, as Python does. The names begin with `saver`, or what is free.
///
/// None if there is nothing to save.
pub(crate) fn new_saver(
    graph: &Graph<'_>,
    kept: &[Restored],
    object_graph: Option<&pb::TrackableObjectGraph>,
) -> Result<Option<(Vec<pb::NodeDef>, pb::SaverDef)>> {
    if kept.is_empty() {
        return Ok(None);
    }
    let is_taken = |scope: &str| {
        graph
            .nodes
            .iter()
            .any(|node| node.name.strip_prefix(scope).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    };
    let scope = free_name("saver", is_taken);
    let name = |name: &str| format!("{scope}/{name}");
    let filename = name("filename");
    let tensors: Vec<&Saved> = kept.iter().flat_map(|item| &item.tensors).collect();
    let types: Vec<ProtoType> = tensors.iter().map(|tensor| tensor.dtype).collect();

    let prefix = proto::to_proto(&Tensor::from_strings(&[], [b"model"])?);
    let string = || attr::dtype(DType::String);
    let mut nodes = vec![
        attr::const_node(&name("filename/default"), prefix),
        attr::node(
            &filename,
            "PlaceholderWithDefault",
            &[&*name("filename/default")],
            [("dtype", string()), ("shape", attr::shape(&[]))],
        ),
        strings(&name("restore/keys"), &tensors, |tensor| &tensor.key)?,
        strings(&name("restore/slices"), &tensors, |tensor| &tensor.slice)?,
    ];
    let mut restore = attr::node(name("restore"), "RestoreV2", &[], [("dtypes", attr::dtypes(types.clone()))]);
    restore.input = vec![filename.clone(), name("restore/keys"), name("restore/slices")];

    let object_graph = object_graph.map(Message::write_to_bytes).transpose();
    let object_graph = object_graph.map_err(|error| Error::data("the object graph", error.to_string()))?;
    let graph_key = Saved {
        key: OBJECT_GRAPH_KEY.into(),
        slice: String::new(),
        dtype: EnumOrUnknown::from_i32(DType::String.number()),
    };
    let mut saved_tensors = tensors.clone();
    let mut save_types = types;
    if object_graph.is_some() {
        saved_tensors.push(&graph_key);
        save_types.push(graph_key.dtype);
    }
    nodes.push(strings(&name("save/keys"), &saved_tensors, |tensor| &tensor.key)?);
    nodes.push(strings(&name("save/slices"), &saved_tensors, |tensor| &tensor.slice)?);
    let mut save = attr::node(name("save"), "SaveV2", &[], [("dtypes", attr::dtypes(save_types))]);
    save.input = vec![filename.clone(), name("save/keys"), name("save/slices")];
    let mut all = attr::node(name("restore_all"), "NoOp", &[], []);
    let mut next = 0;
    for (number, item) in kept.iter().enumerate() {
        let mut restored: Vec<String> = Vec::new();
        for _ in &item.tensors {
            restored.push(if next == 0 { name("restore") } else { format!("{}:{next}", name("restore")) });
            next += 1;
        }
        let (read, assign) = (name(&format!("read_{number}")), name(&format!("assign_{number}")));
        let dtype = attr::proto_type(item.tensors[0].dtype);
        let mut node = attr::node(&assign, &item.op, &[&*item.holder], []);
        node.input.extend(restored);
        match item.op.as_str() {
            "Assign" => {
                save.input.push(item.holder.clone());
                node.attr.insert("T".into(), dtype);
                // A partitioned variable's shape is that of its slice, which TensorFlow checks as well.
                node.attr.insert("validate_shape".into(), attr::boolean(true));
                node.attr.insert("use_locking".into(), attr::boolean(true));
            }
            "AssignVariableOp" => {
                nodes.push(attr::node(&read, "ReadVariableOp", &[&*item.holder], [("dtype", dtype.clone())]));
                save.input.push(read);
                node.attr.insert("dtype".into(), dtype);
                node.attr.insert("validate_shape".into(), attr::boolean(false));
            }
            _ => {
                let types =
                    [("Tkeys", dtype), ("Tvalues", attr::proto_type(item.tensors[item.tensors.len() - 1].dtype))];
                nodes.push(attr::node(&read, "LookupTableExportV2", &[&*item.holder], types.clone()));
                save.input.extend([read.clone(), format!("{read}:1")]);
                node.attr.insert("Tin".into(), types[0].1.clone());
                node.attr.insert("Tout".into(), types[1].1.clone());
            }
        }
        nodes.push(node);
        all.input.push(format!("^{assign}"));
    }
    if let Some(bytes) = object_graph {
        let node = attr::const_node(&name("object_graph"), proto::to_proto(&Tensor::from_strings(&[], [bytes])?));
        save.input.push(node.name.clone());
        nodes.push(node);
    }
    let mut saved = attr::node(name("saved"), "Identity", &[&*filename], [("T", string())]);
    saved.input.push(format!("^{}", save.name));
    let definition = pb::SaverDef {
        filename_tensor_name: format!("{filename}:0"),
        save_tensor_name: format!("{}:0", saved.name),
        restore_op_name: all.name.clone(),
        version: EnumOrUnknown::new(CheckpointFormatVersion::V2),
        ..Default::default()
    };
    nodes.extend([save, saved, restore, all]);
    Ok(Some((nodes, definition)))
}

/// A constant with one string of each tensor.
fn strings(name: &str, tensors: &[&Saved], string: impl Fn(&Saved) -> &String) -> Result<pb::NodeDef> {
    let strings: Vec<&String> = tensors.iter().map(|tensor| string(tensor)).collect();
    attr::strings_node(name, &strings)
}
