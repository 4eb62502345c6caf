//! The collections of a pruned graph, which may name only existing nodes.

use std::collections::{BTreeSet, HashSet};

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::meta_graph::collection_def::{BytesList, Kind};

use crate::graph::node_of;
use crate::saved_model::variable_defs::{VARIABLE_COLLECTIONS, variable_definitions};

/// Collections that only training and the bookkeeping of Python use.
const DROPPED: [&str; 5] = ["cond_context", "while_context", "queue_runners", "savers", "train_op"];

/// The nodes that the loader in Python looks up for the variables chosen by `is_kept`.
pub(crate) fn nodes_of_variables(definition: &pb::MetaGraphDef, is_kept: impl Fn(&str) -> bool) -> Vec<String> {
    let mut nodes = Vec::new();
    for variable in variable_definitions(definition) {
        if is_kept(node_of(&variable.variable_name)) {
            let names = [
                variable.variable_name,
                variable.initializer_name,
                variable.snapshot_name,
                variable.initial_value_name,
            ];
            nodes.extend(names.into_iter().filter(|name| !name.is_empty()));
        }
    }
    nodes
}

/// Removes entries that name missing nodes.
pub(super) fn prune(definition: &mut pb::MetaGraphDef, has: impl Fn(&str) -> bool) {
    for name in DROPPED {
        definition.collection_def.remove(name);
    }
    definition.collection_def.retain(|name, collection| match &mut collection.kind {
        Some(Kind::NodeList(list)) => {
            list.value.retain(|node| has(node_of(node)));
            !list.value.is_empty()
        }
        Some(Kind::BytesList(list)) if VARIABLE_COLLECTIONS.contains(&name.as_str()) => {
            list.value.retain(|bytes| {
                let variable = tf_persist_proto::parse::<pb::VariableDef>(bytes);
                variable.is_ok_and(|variable| has(node_of(&variable.variable_name)))
            });
            !list.value.is_empty()
        }
        Some(Kind::AnyList(list)) => {
            list.value.retain(|any| {
                let asset = tf_persist_proto::parse::<pb::AssetFileDef>(&any.value.clone().into());
                !any.type_url.ends_with("AssetFileDef")
                    || asset.is_ok_and(|asset| has(node_of(asset.tensor_info.name())))
            });
            !list.value.is_empty()
        }
        _ => true,
    });
    // The definitions of ops that the graph no longer uses.
    if let Some(list) = definition.meta_info_def.as_mut().and_then(|info| info.stripped_op_list.as_mut()) {
        let mut used: HashSet<&str> = definition.graph_def.node.iter().map(|node| node.op.as_str()).collect();
        let functions = definition.graph_def.library.function.iter();
        used.extend(functions.flat_map(|function| &function.node_def).map(|node| node.op.as_str()));
        list.op.retain(|op| used.contains(op.name.as_str()));
    }
}

/// Removes variables from the collections, by the names of their nodes.
pub(crate) fn forget_variables(definition: &mut pb::MetaGraphDef, names: &BTreeSet<String>) {
    definition.collection_def.retain(|name, collection| match &mut collection.kind {
        Some(Kind::BytesList(list)) if VARIABLE_COLLECTIONS.contains(&name.as_str()) => {
            list.value.retain(|bytes| {
                let variable = tf_persist_proto::parse::<pb::VariableDef>(bytes);
                variable.is_ok_and(|variable| !names.contains(node_of(&variable.variable_name)))
            });
            !list.value.is_empty()
        }
        _ => true,
    });
}

/// Moves all variables to the collection of local variables. For others, Python creates a saver where there is none,
/// and looks for their values.
pub(crate) fn make_local(definition: &mut pb::MetaGraphDef) {
    let mut moved = Vec::new();
    for name in ["variables", "trainable_variables", "model_variables"] {
        if let Some(Kind::BytesList(list)) =
            definition.collection_def.remove(name).and_then(|collection| collection.kind)
        {
            moved.extend(list.value);
        }
    }
    let local = definition.collection_def.entry("local_variables".into()).or_default();
    let mut list = match local.kind.take() {
        Some(Kind::BytesList(list)) => list,
        _ => BytesList::default(),
    };
    for value in moved {
        if !list.value.contains(&value) {
            list.value.push(value);
        }
    }
    if list.value.is_empty() {
        definition.collection_def.remove("local_variables");
    } else {
        local.kind = Some(Kind::BytesList(list));
    }
}
