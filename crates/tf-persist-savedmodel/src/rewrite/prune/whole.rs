//! Checks that a pruned meta graph is complete: every name in it is that of an existing node, function or object.

use std::collections::{BTreeSet, HashSet};

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::meta_graph::collection_def::Kind;
use tf_persist_proto::tensorflow::saved_object_graph::saved_object::Kind as ObjectKind;

use super::assets::is_an_object;
use super::collections::nodes_of_variables;
use super::signatures::tensors;
use crate::graph::{Graph, called_functions, node_of};
use crate::saved_model::printable;

/// `had` are the functions of the original: calls of functions that it lacked are not errors.
///
/// # Errors
/// A sentence, if something is missing.
pub(crate) fn check(definition: &pb::MetaGraphDef, had: &BTreeSet<String>) -> Result<(), String> {
    let graph = Graph::new(&definition.graph_def);
    let lacks = |needer: String, what: &str| {
        Err(format!("{needer} needs `{}`, which would not be in the result", printable(what)))
    };
    for node in graph.nodes {
        if let Some(input) = node.input.iter().find(|input| graph.node_index(input).is_none()) {
            return lacks(format!("the op `{}`", printable(&node.name)), input);
        }
    }
    for (name, signature) in &definition.signature_def {
        if let Some(tensor) = tensors(signature).iter().find(|tensor| graph.node_index(tensor).is_none()) {
            return lacks(format!("the signature `{}`", printable(name)), tensor);
        }
    }
    for (index, file) in definition.asset_file_def.iter().enumerate() {
        let tensor = file.tensor_info.name();
        if graph.node_index(tensor).is_none() && !is_an_object(definition, index) {
            return lacks(format!("the asset `{}`", printable(&file.filename)), tensor);
        }
    }
    let saver = &definition.saver_def;
    let of_saver = [&saver.filename_tensor_name, &saver.save_tensor_name, &saver.restore_op_name];
    if let Some(name) = of_saver.into_iter().find(|name| !name.is_empty() && graph.node_index(name).is_none()) {
        return lacks("the saver".into(), name);
    }
    for (name, collection) in &definition.collection_def {
        let Some(Kind::NodeList(list)) = &collection.kind else { continue };
        if let Some(node) = list.value.iter().find(|node| graph.node_index(node).is_none()) {
            return lacks(format!("the collection `{}`", printable(name)), node);
        }
    }
    if let Some(name) = nodes_of_variables(definition, |_| true).iter().find(|name| graph.node_index(name).is_none()) {
        return lacks("a variable of its collections".into(), name);
    }
    functions(definition, &graph, had)?;
    objects(definition, &graph)
}

/// Checks the functions that nodes call.
fn functions(definition: &pb::MetaGraphDef, graph: &Graph<'_>, had: &BTreeSet<String>) -> Result<(), String> {
    let bodies = definition.graph_def.library.function.iter().map(|function| &*function.node_def);
    let mut missing = None;
    for node in bodies.chain([graph.nodes]).flatten() {
        called_functions(node, graph, |name| {
            if missing.is_none() && had.contains(name) && graph.function(name).is_none() {
                missing = Some((&node.name, name));
            }
        });
    }
    match missing {
        None => Ok(()),
        Some((node, name)) => Err(format!(
            "the op `{}` calls the function `{}`, which would not be in the result",
            printable(node),
            printable(name)
        )),
    }
}

/// Checks the functions and assets that the object graph names.
fn objects(definition: &pb::MetaGraphDef, graph: &Graph<'_>) -> Result<(), String> {
    let objects = &definition.object_graph_def;
    let known: HashSet<&str> = objects.concrete_functions.keys().map(String::as_str).collect();
    let named = objects.nodes.iter().flat_map(|object| match &object.kind {
        Some(ObjectKind::Function(function)) => function.concrete_functions.as_slice(),
        Some(ObjectKind::BareConcreteFunction(function)) => std::slice::from_ref(&function.concrete_function_name),
        _ => &[],
    });
    let gone = |name: &&str| !known.contains(*name) || graph.function(name).is_none();
    if let Some(name) = named.map(String::as_str).chain(known.iter().copied()).find(gone) {
        let name = printable(name);
        return Err(format!("its object graph names the function `{name}`, which would not be in the result"));
    }
    let assets = definition.asset_file_def.len();
    let is_there = |index: i32| usize::try_from(index).is_ok_and(|index| index < assets);
    let constants = objects.nodes.iter().filter_map(|object| match &object.kind {
        Some(ObjectKind::Constant(constant)) => Some(constant.operation.as_str()),
        _ => None,
    });
    if let Some(name) = constants.into_iter().find(|name| graph.node_index(node_of(name)).is_none()) {
        return Err(format!("its object graph names the op `{}`, which would not be in the result", printable(name)));
    }
    let lost = objects
        .nodes
        .iter()
        .any(|object| matches!(&object.kind, Some(ObjectKind::Asset(asset)) if !is_there(asset.asset_file_def_index)));
    if lost { Err("its object graph names an asset that would not be in the result".into()) } else { Ok(()) }
}
