//! Selects the signatures that an export keeps, and their names.

use std::collections::BTreeMap;

use tf_persist_proto::tensorflow as pb;

use super::objects;
use crate::error::{Error, Hint, Result};
use crate::graph::{Graph, Reachable, WrittenVariables, arguments, node_of};
use crate::rewrite::Rewrite;
use crate::saved_model::{MetaGraph, SavedModel, is_called_after_training, printable};

/// The old and new names of the kept signatures.
pub(super) type Kept = BTreeMap<String, String>;

/// Selects the signatures to keep.
///
/// If the graph is pruned and no list of signatures is given: the default one, and those that are not named after
/// training and write no variable. A frozen model has no object graph, by which Python calls signatures without
/// outputs, so it has none of them.
///
/// # Errors
/// If a named signature does not exist, two would get the same name, or none is left.
pub(super) fn select(
    source: &SavedModel,
    meta_graph: &MetaGraph,
    definition: &pb::MetaGraphDef,
    graph: &Graph<'_>,
    options: &Rewrite,
) -> Result<Kept> {
    let default = meta_graph.default_signature().ok().map(|signature| signature.name.clone());
    let mut names: Vec<String> = match &options.signatures {
        Some(names) => {
            names.iter().try_for_each(|name| meta_graph.signature(name).map(drop))?;
            if let Some(name) = names.iter().find(|name| options.frozen && !has_outputs(definition, name)) {
                let name = printable(name);
                let what = "has no outputs: only Python can call it, by the object graph, which a frozen model lacks";
                return Err(refusal(source, format!("signature `{name}` {what}")));
            }
            names.to_vec()
        }
        None if options.prunes() => {
            let infers = |name: &str| {
                let can_stay = !options.frozen || has_outputs(definition, name);
                let reads = default.as_deref() == Some(name) || !writes(definition, graph, name);
                !is_called_after_training(name) && can_stay && reads
            };
            let names = meta_graph.signatures().iter().map(|signature| signature.name.clone());
            names.filter(|name| infers(name)).collect()
        }
        None => meta_graph.signatures().iter().map(|signature| signature.name.clone()).collect(),
    };
    for (index, (old, _)) in options.renamed.iter().enumerate() {
        meta_graph.signature(old)?;
        if options.renamed[..index].iter().any(|(other, _)| other == old) {
            return Err(refusal(source, format!("signature `{}` would get two names", printable(old))));
        }
        // A renamed signature must be kept.
        if !names.contains(old) {
            return Err(refusal(source, format!("signature `{}` is renamed but not kept", printable(old))));
        }
    }
    names.sort();
    names.dedup();
    if names.is_empty() && (options.prunes() || !meta_graph.signatures().is_empty()) {
        let (reason, hint) = if meta_graph.signatures().is_empty() {
            ("it has no signatures, so nothing would be left", None)
        } else if options.frozen && !meta_graph.signatures().iter().any(|it| has_outputs(definition, &it.name)) {
            let hint = Hint::new("export it for inference instead, which keeps them for Python")
                .set("inference_only")
                .unset("frozen");
            (
                "none of its signatures has outputs, and Python calls such by the object graph, which a frozen model lacks",
                Some(hint),
            )
        } else {
            let hint = Hint::new("name the signatures to keep").set("signatures");
            ("each of its signatures trains or writes variables, so none would be left", Some(hint))
        };
        return Err(Error::CannotExport { path: source.path().to_path_buf(), reason: reason.into(), hint });
    }
    let mut kept = Kept::new();
    for name in names {
        let new = options.renamed.iter().find(|(old, _)| *old == name);
        let new = new.map_or_else(|| name.clone(), |(_, new)| new.clone());
        if new.is_empty() || new.starts_with("__saved_model") {
            return Err(refusal(source, format!("`{}` is not allowed as the name of a signature", printable(&new))));
        }
        if let Some((other, _)) = kept.iter().find(|(_, taken)| **taken == new) {
            let (name, new) = (printable(&name), printable(&new));
            return Err(refusal(
                source,
                format!("the signatures `{}` and `{name}` would both be called `{new}`", printable(other)),
            ));
        }
        kept.insert(name, new);
    }
    Ok(kept)
}

fn refusal(source: &SavedModel, reason: String) -> Error {
    Error::CannotExport { path: source.path().to_path_buf(), reason, hint: None }
}

/// Whether a signature writes to variables.
fn writes(definition: &pb::MetaGraphDef, graph: &Graph<'_>, name: &str) -> bool {
    let roots = roots(definition, graph, name);
    !WrittenVariables::new(graph, &Reachable::new(graph, roots.iter().map(String::as_str))).is_empty()
}

fn has_outputs(definition: &pb::MetaGraphDef, name: &str) -> bool {
    definition.signature_def.get(name).is_some_and(|signature| !signature.outputs.is_empty())
}

/// The nodes at the top of the graph that a signature needs: its tensors. For a signature without outputs these are
/// calls of its function in the object graph.
pub(crate) fn roots(definition: &pb::MetaGraphDef, graph: &Graph<'_>, name: &str) -> Vec<String> {
    let Some(signature) = definition.signature_def.get(name) else { return Vec::new() };
    let mut roots = tensors(signature);
    if signature.outputs.is_empty()
        && let Some(function) = objects::function_of(&definition.object_graph_def, name)
    {
        let calls = |node: &&pb::NodeDef| arguments(node, graph).is_some_and(|call| call.functions == [function]);
        roots.extend(graph.nodes.iter().filter(calls).map(|node| node.name.clone()));
    }
    roots
}

/// The names of all tensors that a signature feeds and fetches.
pub(crate) fn tensors(signature: &pb::SignatureDef) -> Vec<String> {
    tensors_of(&signature.inputs).into_iter().chain(tensors_of(&signature.outputs)).collect()
}

/// The names of the tensors that inputs or outputs are made of.
pub(super) fn tensors_of(infos: &BTreeMap<String, pb::TensorInfo>) -> Vec<String> {
    use tf_persist_proto::tensorflow::meta_graph::tensor_info::Encoding;
    let mut names = Vec::new();
    let mut todo: Vec<&pb::TensorInfo> = infos.values().collect();
    while let Some(info) = todo.pop() {
        match &info.encoding {
            Some(Encoding::Name(name)) => names.push(name.clone()),
            Some(Encoding::CooSparse(sparse)) => names.extend([
                sparse.indices_tensor_name.clone(),
                sparse.values_tensor_name.clone(),
                sparse.dense_shape_tensor_name.clone(),
            ]),
            Some(Encoding::CompositeTensor(composite)) => todo.extend(&composite.components),
            _ => {}
        }
    }
    names
}

/// Keeps these signatures in the meta graph, under their new names, and the operations whose nodes are all kept.
pub(super) fn apply(
    definition: &mut pb::MetaGraphDef,
    meta_graph: &MetaGraph,
    kept: &Kept,
    stays: impl Fn(&str) -> bool,
) {
    let is_for_users = |name: &str| meta_graph.signatures().iter().any(|signature| signature.name == name);
    for (name, signature) in std::mem::take(&mut definition.signature_def) {
        match kept.get(&name) {
            Some(new) => drop(definition.signature_def.insert(new.clone(), signature)),
            None if is_for_users(&name) => {}
            None if !tensors(&signature).iter().all(|tensor| stays(node_of(tensor))) => {}
            None => drop(definition.signature_def.insert(name, signature)),
        }
    }
}
