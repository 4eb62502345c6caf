//! Prunes a meta graph to some of its signatures and what they need.

mod aliases;
mod assets;
mod collections;
mod dead_branches;
mod initialized;
mod initializers;
mod known_branches;
mod objects;
mod saver;
mod signatures;
mod whole;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;

use crate::error::{Error, Hint, Result};
use crate::graph::{Graph, Reachable, node_of};
use crate::rewrite::Rewrite;
use crate::saved_model::objects::Objects;
use crate::saved_model::restored::{Restored, restored};
use crate::saved_model::{MetaGraph, MissingVariable, SavedModel, printable};
use aliases::Aliases;
pub(crate) use collections::{forget_variables, make_local, nodes_of_variables};
pub(super) use initialized::{assigned_by_init_op, init_ops};
use initializers::Initializers;
pub(super) use known_branches::set_called;
#[doc(hidden)]
pub use saver::saver_in_scope;
pub(crate) use signatures::{roots as signature_roots, tensors as signature_tensors};
pub(crate) use whole::check as check_whole;

/// A pruned meta graph.
pub(crate) struct Pruned {
    pub(crate) definition: pb::MetaGraphDef,
    /// The object graph for the checkpoint, if there was one.
    pub(crate) tracked: Option<pb::TrackableObjectGraph>,
    /// The variables and tables that stay in the checkpoint; `None` for all.
    pub(crate) kept: Option<Vec<Restored>>,
    /// The old and new names of the kept signatures.
    pub(crate) signatures: BTreeMap<String, String>,
    /// The files in `assets` that the pruned graph does not read.
    pub(crate) dropped_assets: BTreeSet<String>,
    /// The names of the functions before pruning.
    pub(crate) functions: BTreeSet<String>,
}

/// Prunes a meta graph. `tracked` is the object graph in the checkpoint of the model.
///
/// # Errors
/// If a signature does not exist, or the graph restores its variables in an unknown way.
pub(crate) fn prune(
    source: &SavedModel,
    meta_graph: &MetaGraph,
    tracked: Option<pb::TrackableObjectGraph>,
    options: &Rewrite,
) -> Result<Pruned> {
    let mut definition = source.decode_meta_graph(meta_graph)?;
    let signatures = select_signatures(source, meta_graph, &mut definition, options)?;
    if options.prunes() {
        keep_needed(source, meta_graph, definition, tracked.as_ref(), signatures, options)
    } else {
        keep_all(source, meta_graph, definition, tracked.as_ref(), signatures)
    }
}

/// Selects the signatures to keep. If anything is pruned, branches that they never take are removed from the graph.
fn select_signatures(
    source: &SavedModel,
    meta_graph: &MetaGraph,
    definition: &mut pb::MetaGraphDef,
    options: &Rewrite,
) -> Result<signatures::Kept> {
    // A placeholder that no signature feeds has its default in all of them.
    let before = if options.prunes() { settle(definition, meta_graph, |_| true, true) } else { None };
    let signatures = signatures::select(source, meta_graph, definition, &Graph::new(&definition.graph_def), options)?;
    if options.prunes() {
        if let Some(before) = before.filter(|_| !options.frozen) {
            // Python calls the functions that the object graph names, not their copies.
            definition.graph_def = Some(before).into();
        }
        settle(definition, meta_graph, |name| signatures.contains_key(name), options.frozen);
    }
    Ok(signatures)
}

/// Keeps the whole graph, and only these signatures.
fn keep_all(
    source: &SavedModel,
    meta_graph: &MetaGraph,
    mut definition: pb::MetaGraphDef,
    tracked: Option<&pb::TrackableObjectGraph>,
    signatures: signatures::Kept,
) -> Result<Pruned> {
    let has_objects = !definition.object_graph_def.nodes.is_empty();
    let graphs = match tracked.filter(|_| has_objects) {
        Some(tracked) => {
            let objects = Objects::new(&definition, tracked);
            let objects = objects.map_err(|reason| Error::flawed(source.file(), reason))?;
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
    let functions = function_names(&definition);
    Ok(Pruned { definition, tracked, kept: None, signatures, dropped_assets: BTreeSet::new(), functions })
}

/// Keeps these signatures and what they need.
fn keep_needed(
    source: &SavedModel,
    meta_graph: &MetaGraph,
    mut definition: pb::MetaGraphDef,
    tracked: Option<&pb::TrackableObjectGraph>,
    signatures: signatures::Kept,
    options: &Rewrite,
) -> Result<Pruned> {
    let functions = function_names(&definition);
    let graph = Graph::new(&definition.graph_def);
    let needs = Needs::new(source, meta_graph, &definition, &graph, tracked, &signatures, options)?;
    let Needs { reach, kept, objects, required, groups } = needs;
    let (assets, indices, dropped_assets) = assets::kept(&definition, &graph, &reach);
    let graphs = objects.map(|objects| {
        let nodes = objects.reached(&graph, &kept, &reach, &required);
        objects.keep(&nodes, &signatures, |function| reach.functions().contains(function), &indices)
    });
    let (saved, tracked) = graphs.unzip();
    let saver = if options.frozen { None } else { saver::new_saver(&graph, &kept, tracked.as_ref())? };

    let is_kept = |index: usize| reach.has_index(index) || groups.iter().any(|(group, _)| *group == index);
    let names: BTreeSet<String> =
        (0..graph.nodes.len()).filter(|index| is_kept(*index)).map(|index| graph.nodes[index].name.clone()).collect();
    let nodes = &mut definition.graph_def.mut_or_insert_default().node;
    groups.into_iter().for_each(|(index, inputs)| nodes[index].input = inputs);
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
    Ok(Pruned { definition, tracked, kept: Some(kept), signatures, dropped_assets, functions })
}

/// The names of the functions in the library.
fn function_names(definition: &pb::MetaGraphDef) -> BTreeSet<String> {
    definition.graph_def.library.function.iter().map(|function| function.signature.name.clone()).collect()
}

/// Removes branches that the signatures chosen by `is_kept` never take; with `in_functions` in functions as well.
/// Returns the graph before `If` and `Case` ops were replaced, if any were.
fn settle(
    definition: &mut pb::MetaGraphDef,
    meta_graph: &MetaGraph,
    is_kept: impl Fn(&str) -> bool,
    in_functions: bool,
) -> Option<pb::GraphDef> {
    let kept = || definition.signature_def.iter().filter(|(name, _)| is_kept(name)).map(|(_, signature)| signature);
    let inputs = kept().flat_map(|signature| signatures::tensors_of(&signature.inputs));
    let mut fed: HashSet<String> = inputs.map(|tensor| node_of(&tensor).to_owned()).collect();
    // Loaders feed these.
    fed.extend(meta_graph.saver().map(|saver| node_of(&saver.filename_tensor).to_owned()));
    fed.extend(meta_graph.assets().iter().map(|asset| node_of(&asset.tensor).to_owned()));
    let fetched: Vec<String> = kept().flat_map(|signature| signatures::tensors_of(&signature.outputs)).collect();
    dead_branches::remove(definition, &fed, &fetched);
    known_branches::call(definition, &fed, in_functions)
}

/// The parts of a meta graph that the kept signatures need.
struct Needs<'a> {
    reach: Reachable,
    /// The needed variables and tables of the checkpoint.
    kept: Vec<Restored>,
    objects: Option<Objects<'a>>,
    /// The objects that these need.
    required: BTreeSet<usize>,
    /// The init ops that only have control inputs: the index of each node, and its new inputs.
    groups: Vec<(usize, Vec<String>)>,
}

impl<'a> Needs<'a> {
    fn new(
        source: &SavedModel,
        meta_graph: &MetaGraph,
        definition: &'a pb::MetaGraphDef,
        graph: &Graph<'a>,
        tracked: Option<&'a pb::TrackableObjectGraph>,
        signatures: &signatures::Kept,
        options: &Rewrite,
    ) -> Result<Self> {
        let restored = restored_of(source, meta_graph, graph, signatures)?;
        let has_objects = !definition.object_graph_def.nodes.is_empty();
        let objects = match tracked.filter(|_| has_objects) {
            Some(tracked) => {
                let objects = Objects::new(definition, tracked);
                Some(objects.map_err(|reason| Error::flawed(source.file(), reason))?)
            }
            None => None,
        };
        let roots: Vec<String> =
            signatures.keys().flat_map(|name| signatures::roots(definition, graph, name)).collect();
        let mut reach = Reachable::new(graph, roots.iter().map(String::as_str));
        let initializers = Initializers::new(graph, meta_graph);
        // The loader in Python looks up the initialiser of each variable, which may need another variable.
        let aliases = Aliases::new(graph);
        let initialized = if options.frozen { assigned_by_init_op(definition, &restored) } else { BTreeSet::new() };
        let mut required = BTreeSet::new();
        let mut kept: Vec<Restored>;
        loop {
            let mut is_new = initializers.require(graph, &mut reach);
            if let Some(objects) = &objects {
                let before = required.len();
                required = objects.require(graph, &restored, &mut reach);
                is_new |= required.len() != before;
            }
            is_new |= assets::require(definition, graph, &mut reach);
            let shared: Vec<&str> = restored
                .iter()
                .filter(|item| aliases.is_reached(graph, &reach, &item.holder))
                .map(|item| &*item.holder)
                .collect();
            is_new |= reach.add_nodes(graph, shared);
            kept = restored.iter().filter(|item| reach.has(graph, &item.holder)).cloned().collect();
            // Variables that become constants are not looked up.
            let becomes_constant = |node: &str| {
                options.frozen && !initialized.contains(node) && kept.iter().any(|item| node_of(&item.holder) == node)
            };
            let looked_up = nodes_of_variables(definition, |node| reach.has(graph, node) && !becomes_constant(node));
            is_new |= reach.add_nodes(graph, looked_up.iter().map(String::as_str));
            if !is_new {
                let groups = initializers.groups(graph, &reach);
                return Ok(Self { reach, kept, objects, required, groups });
            }
        }
    }
}

/// The variables and tables that are restored: by the saver, and by us where it leaves them out.
fn restored_of(
    source: &SavedModel,
    meta_graph: &MetaGraph,
    graph: &Graph<'_>,
    signatures: &signatures::Kept,
) -> Result<Vec<Restored>> {
    let saver = meta_graph.saver().cloned().unwrap_or_default();
    let mut restored = restored(graph, &saver.restore_op).map_err(|reason| Error::CannotExport {
        path: source.path().to_path_buf(),
        reason,
        hint: Some(Hint::new("export it with all its variables").unset("inference_only").unset("frozen")),
    })?;
    let unrestored = source.unrestored_variables(meta_graph)?;
    let of_kept = |missing: &&MissingVariable| missing.signatures.iter().any(|name| signatures.contains_key(name));
    if let Some(missing) = unrestored.missing.iter().find(of_kept) {
        let of_kept: Vec<&String> = missing.signatures.iter().filter(|name| signatures.contains_key(*name)).collect();
        let reason = format!(
            "the variable `{}`, which signature `{}` reads, has no value: {}",
            printable(&missing.variable),
            printable(of_kept.first().map_or("", |name| name)),
            missing.reason()
        );
        let others = signatures
            .keys()
            .filter(|name| !unrestored.missing.iter().any(|missing| missing.signatures.contains(name)));
        let others: Vec<&str> = others.map(String::as_str).collect();
        let hint = match others.is_empty() {
            true => Hint::new("save the model again with all its variables, where it was made"),
            false => Hint::new("keep only other signatures").set_to("signatures", others.join(",")),
        };
        return Err(Error::CannotExport { path: source.path().to_path_buf(), reason, hint: Some(hint) });
    }
    restored.extend(unrestored.found.into_iter().map(|found| found.restored));
    Ok(restored)
}

/// Removes colocation constraints (`loc:@other`) with nodes that are gone, which TensorFlow would look up.
pub(crate) fn drop_colocations(node: &mut pb::NodeDef, nodes: &BTreeSet<String>) {
    let Some(Value::List(list)) = node.attr.get_mut("_class").and_then(|class| class.value.as_mut()) else { return };
    list.s.retain(|class| {
        let other = class.strip_prefix(b"loc:@").map(std::str::from_utf8);
        other.is_none_or(|other| other.is_ok_and(|other| nodes.contains(other)))
    });
    if list.s.is_empty() {
        node.attr.remove("_class");
    }
}

/// Keeps these nodes and functions, and the gradients of these functions.
fn keep_nodes(definition: &mut pb::MetaGraphDef, nodes: &BTreeSet<String>, functions: &BTreeSet<String>) {
    let graph = definition.graph_def.mut_or_insert_default();
    graph.node.retain(|node| nodes.contains(&node.name));
    graph.node.iter_mut().for_each(|node| drop_colocations(node, nodes));
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

#[cfg(test)]
mod tests;
