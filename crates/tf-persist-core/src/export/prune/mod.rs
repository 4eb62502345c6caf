//! A meta graph with some of its signatures, and with what they need alone.

mod aliases;
mod collections;
mod initializers;
mod objects;
mod saver;
mod signatures;

use std::collections::{BTreeMap, BTreeSet};

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;

use super::SaveOptions;
use crate::error::{Error, Result};
use crate::graph::{Graph, Reach, is_variable, node_of};
use crate::saved_model::{MetaGraph, SavedModel};
use aliases::Aliases;
pub(super) use collections::{forget_variables, make_local, nodes_of_variables};
use objects::Objects;
pub(super) use saver::Restored;
use saver::restored;
pub(super) use signatures::tensors as signature_tensors;

/// A meta graph made smaller.
pub(super) struct Pruned {
    pub(super) definition: pb::MetaGraphDef,
    /// The object graph for the checkpoint, if it had one.
    pub(super) tracked: Option<pb::TrackableObjectGraph>,
    /// What the graph restores from the checkpoint, of which nothing else stays; `None` if all of it does.
    pub(super) kept: Option<Vec<Restored>>,
    /// The signatures that stay, and the names they have now.
    pub(super) signatures: BTreeMap<String, String>,
    /// The files in `assets` that no kept part of the graph reads.
    pub(super) dropped_assets: BTreeSet<String>,
}

/// Prunes a meta graph after the options. `tracked` is the object graph that stands in the model's checkpoint.
///
/// # Errors
/// If a signature is not there, or the graph restores its variables in a way that is not known here.
pub(super) fn prune(
    source: &SavedModel,
    meta_graph: &MetaGraph,
    tracked: Option<pb::TrackableObjectGraph>,
    options: &SaveOptions,
) -> Result<Pruned> {
    let mut definition = source.decode_meta_graph(meta_graph)?;
    let damaged = |reason: String| Error::flawed(source.file(), reason);
    let graph = Graph::new(&definition.graph_def);
    let signatures = signatures::select(source, meta_graph, &definition, &graph, options)?;
    let has_objects = !definition.object_graph_def.nodes.is_empty();
    if !options.prunes() {
        let objects = tracked.as_ref().filter(|_| has_objects);
        let graphs = match objects {
            Some(tracked) => {
                let objects = Objects::new(&definition, tracked).map_err(damaged)?;
                let kept = objects.all_but_signatures(&signatures);
                let assets: Vec<Option<i32>> = (0_i32..).take(definition.asset_file_def.len()).map(Some).collect();
                Some(objects.keep(&kept, &signatures, |_| true, &assets))
            }
            None => None,
        };
        signatures::apply(&mut definition, meta_graph, &signatures, |_| true);
        let tracked = graphs.map(|(saved, tracked)| {
            definition.object_graph_def = Some(saved).into();
            tracked
        });
        return Ok(Pruned { definition, tracked, kept: None, signatures, dropped_assets: BTreeSet::new() });
    }

    let saver = meta_graph.saver().cloned().unwrap_or_default();
    let restored = restored(&graph, &saver.restore_op).map_err(|reason| Error::Unsupported {
        path: source.file().to_path_buf(),
        reason,
        hint: Some("export it with all its variables, without --inference-only and --frozen".into()),
    })?;
    let roots: Vec<String> =
        signatures.keys().filter_map(|name| definition.signature_def.get(name)).flat_map(signatures::tensors).collect();
    let mut reach = Reach::of(&graph, roots.iter().map(String::as_str));
    // It takes nodes out of init ops, and leaves every node at its place.
    let initializers = initializers::prune(&mut definition, meta_graph, &reach);

    let graph = Graph::new(&definition.graph_def);
    reach.add_nodes(&graph, initializers.iter().map(String::as_str));
    let objects = match tracked.as_ref().filter(|_| has_objects) {
        Some(tracked) => Some(Objects::new(&definition, tracked).map_err(damaged)?),
        None => None,
    };
    let required = objects.as_ref().map(|objects| objects.require(&graph, &restored, &mut reach)).unwrap_or_default();
    // A variable that Python's loader looks up brings what initialises it, and that may be another variable.
    let aliases = Aliases::of(&graph);
    let mut kept: Vec<Restored>;
    loop {
        let shared: Vec<&str> = restored
            .iter()
            .filter(|item| aliases.is_reached(&graph, &reach, &item.holder))
            .map(|item| &*item.holder)
            .collect();
        let mut is_new = reach.add_nodes(&graph, shared);
        kept = restored.iter().filter(|item| reach.has(&graph, &item.holder)).cloned().collect();
        // Those of variables that become constants are not looked up any more.
        let becomes_constant =
            |node: &str| options.is_frozen() && kept.iter().any(|item| node_of(&item.holder) == node);
        let looked_up = nodes_of_variables(&definition, |node| reach.has(&graph, node) && !becomes_constant(node));
        is_new |= reach.add_nodes(&graph, looked_up.iter().map(String::as_str));
        if !is_new {
            break;
        }
    }
    if saver.restore_op.is_empty() && !source.variables()?.all.is_empty() {
        let reached = graph.nodes.iter().enumerate().find(|(place, node)| reach.has_place(*place) && is_variable(node));
        if let Some((_, variable)) = reached {
            let reason =
                format!("the graph has no saver that says which variable of the checkpoint `{}` is", variable.name);
            let hint = Some("export it with all its variables, without --inference-only and --frozen".to_owned());
            return Err(Error::Unsupported { path: source.file().to_path_buf(), reason, hint });
        }
    }
    let (assets, places, dropped_assets) = assets(&definition, &graph, &reach);
    let graphs = objects.map(|objects| {
        let nodes = objects.reached(&graph, &restored, &reach, &required);
        objects.keep(&nodes, &signatures, |function| reach.functions().contains(function), &places)
    });
    let (saved, tracked) = graphs.unzip();
    let saver = if options.is_frozen() { None } else { saver::new_saver(&graph, &kept, tracked.as_ref())? };

    let names: BTreeSet<String> = graph
        .nodes
        .iter()
        .enumerate()
        .filter(|(place, _)| reach.has_place(*place))
        .map(|(_, node)| node.name.clone())
        .collect();
    signatures::apply(&mut definition, meta_graph, &signatures, |node| names.contains(node));
    definition.object_graph_def = saved.into();
    definition.asset_file_def = assets;
    keep_nodes(&mut definition, &names, reach.functions());
    let (nodes, saver) = saver.unzip();
    definition.graph_def.mut_or_insert_default().node.extend(nodes.unwrap_or_default());
    definition.saver_def = saver.into();
    collections::prune(&mut definition, |node| names.contains(node));
    if definition.saver_def.is_none() {
        make_local(&mut definition);
    }
    Ok(Pruned { definition, tracked, kept: Some(kept), signatures, dropped_assets })
}

/// The asset files whose tensors are reached, where each of them now stands in the list, and the names of files that nothing reads
/// any more.
fn assets(
    definition: &pb::MetaGraphDef,
    graph: &Graph<'_>,
    reach: &Reach,
) -> (Vec<pb::AssetFileDef>, Vec<Option<i32>>, BTreeSet<String>) {
    let (mut kept, mut places, mut dropped) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (file, number) in definition.asset_file_def.iter().zip(0..) {
        // An asset whose tensor is not in the graph was nobody's before, and nothing is known of it.
        let tensor = file.tensor_info.name();
        if reach.has(graph, tensor) || graph.place(tensor).is_none() {
            places.push(i32::try_from(kept.len()).ok().or(Some(number)));
            kept.push(file.clone());
        } else {
            places.push(None);
            dropped.insert(file.filename.clone());
        }
    }
    dropped.retain(|name| !kept.iter().any(|file: &pb::AssetFileDef| file.filename == *name));
    (kept, places, dropped)
}

/// A node may be told to stand on the device of another (`loc:@other`), which TensorFlow then looks for.
fn forget_neighbours(node: &mut pb::NodeDef, nodes: &BTreeSet<String>) {
    let Some(Value::List(list)) = node.attr.get_mut("_class").and_then(|class| class.value.as_mut()) else { return };
    list.s.retain(|class| {
        let other = class.strip_prefix(b"loc:@").map(std::str::from_utf8);
        other.is_none_or(|other| other.is_ok_and(|other| nodes.contains(other)))
    });
    if list.s.is_empty() {
        node.attr.remove("_class");
    }
}

/// Leaves these nodes and functions in the graph, and of what belongs to functions that which belongs to those.
fn keep_nodes(definition: &mut pb::MetaGraphDef, nodes: &BTreeSet<String>, functions: &BTreeSet<String>) {
    let graph = definition.graph_def.mut_or_insert_default();
    graph.node.retain(|node| nodes.contains(&node.name));
    graph.node.iter_mut().for_each(|node| forget_neighbours(node, nodes));
    if let Some(library) = graph.library.as_mut() {
        library.function.retain(|function| functions.contains(&function.signature.name));
        library.gradient.retain(|gradient| {
            functions.contains(&gradient.function_name) && functions.contains(&gradient.gradient_func)
        });
        library.registered_gradients.retain(|gradient| functions.contains(&gradient.gradient_func));
    }
    if let Some(info) = definition.meta_info_def.as_mut() {
        info.function_aliases.retain(|function, _| functions.contains(function));
    }
    graph.debug_info = None.into();
}
