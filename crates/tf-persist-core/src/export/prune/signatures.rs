//! Which signatures an export keeps, and under which names.

use std::collections::BTreeMap;

use tf_persist_proto::tensorflow as pb;

use crate::error::{Error, Result};
use crate::export::SaveOptions;
use crate::graph::{Graph, Reach, Writes, node_of};
use crate::saved_model::{MetaGraph, SavedModel, is_called_after_training, printable};

/// The signatures that are kept: the name each has, and the name it gets.
pub(super) type Kept = BTreeMap<String, String>;

/// The signatures to keep, after the options.
///
/// With [`SaveOptions::inference_only`] and no list of signatures: the default one, and those that are not called after training
/// and write no variable.
///
/// # Errors
/// If a named one is not there, two would get the same name, or none is left.
pub(super) fn select(
    source: &SavedModel,
    meta_graph: &MetaGraph,
    definition: &pb::MetaGraphDef,
    graph: &Graph<'_>,
    options: &SaveOptions,
) -> Result<Kept> {
    let default = meta_graph.default_signature().ok().map(|signature| signature.name.clone());
    let mut names: Vec<String> = match options.kept_signatures() {
        Some(names) => {
            names.iter().try_for_each(|name| meta_graph.signature(name).map(drop))?;
            names.to_vec()
        }
        None if options.is_inference_only() => {
            let infers = |name: &str| {
                !is_called_after_training(name)
                    && (default.as_deref() == Some(name) || !writes(definition, graph, name))
            };
            let names = meta_graph.signatures().iter().map(|signature| signature.name.clone());
            names.filter(|name| infers(name)).collect()
        }
        None => meta_graph.signatures().iter().map(|signature| signature.name.clone()).collect(),
    };
    for (place, (old, _)) in options.renamed_signatures().iter().enumerate() {
        meta_graph.signature(old)?;
        if options.renamed_signatures()[..place].iter().any(|(other, _)| other == old) {
            return Err(refusal(source, format!("signature `{}` is to get two names", printable(old))));
        }
        // What is renamed is kept.
        if !names.contains(old) {
            return Err(refusal(source, format!("signature `{}` is to be renamed, and is not kept", printable(old))));
        }
    }
    names.sort();
    names.dedup();
    if names.is_empty() && (options.prunes() || !meta_graph.signatures().is_empty()) {
        let (reason, hint) = if meta_graph.signatures().is_empty() {
            ("it has no signatures, so nothing would be left", None)
        } else {
            let hint = "name those to keep with --signatures".to_owned();
            ("each of its signatures trains or writes variables, so none would be left", Some(hint))
        };
        return Err(Error::Unsupported { path: source.path().to_path_buf(), reason: reason.into(), hint });
    }
    let mut kept = Kept::new();
    for name in names {
        let new = options.renamed_signatures().iter().find(|(old, _)| *old == name);
        let new = new.map_or_else(|| name.clone(), |(_, new)| new.clone());
        if new.is_empty() || new.starts_with("__saved_model") {
            return Err(refusal(source, format!("`{}` is no name for a signature", printable(&new))));
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
    Error::Unsupported { path: source.path().to_path_buf(), reason, hint: None }
}

/// Whether a signature writes to variables.
fn writes(definition: &pb::MetaGraphDef, graph: &Graph<'_>, name: &str) -> bool {
    let Some(signature) = definition.signature_def.get(name) else { return false };
    let tensors = tensors(signature);
    !Writes::of(graph, &Reach::of(graph, tensors.iter().map(String::as_str))).is_empty()
}

/// The names of all tensors that a signature feeds and fetches.
pub(crate) fn tensors(signature: &pb::SignatureDef) -> Vec<String> {
    use tf_persist_proto::tensorflow::meta_graph::tensor_info::Encoding;
    let mut names = Vec::new();
    let mut todo: Vec<&pb::TensorInfo> = signature.inputs.values().chain(signature.outputs.values()).collect();
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

/// Leaves the kept signatures in the meta graph, under their new names. Of the operations among them those stay of which all
/// nodes do.
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
