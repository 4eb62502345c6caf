//! Freezing: variables become constants, so that TensorFlow can fold them ahead of time.
//!
//! The node of a variable becomes a `Const` of the same name, and its value goes wherever its handle went: through
//! nodes that pass it on, and into functions, which are copied for arguments that were handles and are values now. The
//! copies stay functions: TensorFlow inlines them when it loads the graph.
//!
//! - `body`: rewrites the graph or a function, following each value from node to node.
//! - `functions`: the copies of functions.
//! - `reads`: the nodes that read a variable.
//!
//! In these files, a "frozen" tensor was a handle and is a value now.

mod body;
mod functions;
mod reads;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use tf_persist_proto::tensorflow as pb;

use crate::checkpoint::CheckpointReader;
use crate::error::{Error, Hint, Result};
use crate::graph::attr::{self, ProtoType};
use crate::graph::{
    Graph, HandleKind, Reachable, WrittenVariables, node_of, tensor_of, variable_identity, variable_kind,
};
use crate::rewrite::prune::{assigned_by_init_op, forget_variables, init_ops, make_local, signature_roots};
use crate::rewrite::unreached::drop_unreached;
use crate::saved_model::restored::Restored;
use crate::saved_model::{InitSource, printable};
use crate::tensor::proto;
use functions::Library;

/// A variable whose handle is replaced by its value.
#[derive(Debug, Clone, PartialEq)]
struct Frozen {
    /// The name of its node.
    variable: String,
    dtype: ProtoType,
    kind: HandleKind,
}

/// Turns the restored variables of a pruned meta graph into constants.
///
/// # Errors
/// If a kept signature does something other than read a variable, a table has its contents in the checkpoint, or the
/// constants exceed the limit of protobuf.
pub(crate) fn freeze(
    file: &Path,
    definition: &mut pb::MetaGraphDef,
    kept: &[Restored],
    values: &CheckpointReader,
) -> Result<()> {
    let initialized = assigned_by_init_op(definition, kept);
    {
        let graph = Graph::new(&definition.graph_def);
        let names: BTreeSet<&str> = kept.iter().map(|item| node_of(&item.holder)).collect();
        refuse_written(file, definition, &graph, &names, &initialized)?;
        refuse_other_handles(file, definition, &graph, &names)?;
        refuse_statistics(file, definition, &graph)?;
    }
    let kept: Vec<&Restored> = kept.iter().filter(|item| !initialized.contains(node_of(&item.holder))).collect();
    let graph = definition.graph_def.mut_or_insert_default();
    let total = kept.iter().flat_map(|item| &item.tensors).filter_map(|tensor| values.index().get(&tensor.key));
    let total = total.fold(0_u64, |sum, entry| sum.saturating_add(entry.bytes()));
    if total > crate::saved_model::MAX_FILE_BYTES {
        let reason = format!("its variables have {total} bytes, and a graph with its constants can have 2 GiB");
        return Err(unsupported(file, reason));
    }
    let mut frozen = BTreeMap::new();
    for item in &kept {
        let name = node_of(&item.holder).to_owned();
        let node = graph.node.iter_mut().find(|node| node.name == name);
        let Some((node, kind)) = node.and_then(|node| variable_kind(node).map(|kind| (node, kind))) else {
            let what = "has its contents in the checkpoint and is not a variable, so it cannot become a constant";
            return Err(unsupported(file, format!("`{name}` {what}")));
        };
        let value = item.tensors[0].read(file, values)?;
        let dtype = item.tensors[0].dtype;
        *node = attr::const_node(&name, proto::to_proto(&value));
        frozen.insert(name.clone(), Frozen { variable: name, dtype, kind });
    }
    let names: BTreeSet<String> = frozen.keys().cloned().collect();
    let mut library = Library::new(std::mem::take(&mut graph.library.mut_or_insert_default().function));
    let rewritten =
        body::rewrite(&graph.node, false, frozen, &mut library, 0).map_err(|reason| unsupported(file, reason))?;
    graph.node = rewritten.nodes;
    graph.library.mut_or_insert_default().function = library.into_functions();
    forget_variables(definition, &names);
    make_local(definition);
    remove_init_signature(definition);
    drop_unreached(definition);
    check_others(file, definition)
}

fn unsupported(file: &Path, reason: String) -> Error {
    let hint = Some(
        Hint::new("export it for inference instead, which keeps its variables").set("inference_only").unset("frozen"),
    );
    Error::CannotExport { path: file.to_path_buf(), reason, hint }
}

/// Refuses variables that a signature writes, or the init op, except those that stay variables.
fn refuse_written(
    file: &Path,
    definition: &pb::MetaGraphDef,
    graph: &Graph<'_>,
    names: &BTreeSet<&str>,
    initialized: &BTreeSet<String>,
) -> Result<()> {
    let is_user = |name: &&String| name.as_str() != InitSource::Signature.name();
    let (mut reading, mut written) = (Vec::new(), None);
    for name in definition.signature_def.keys().filter(is_user) {
        let roots = signature_roots(definition, graph, name);
        let writes = WrittenVariables::new(graph, &Reachable::new(graph, roots.iter().map(String::as_str)));
        match names.iter().find_map(|variable| Some((*variable, writes.op(variable)?))) {
            None => reading.push(name.as_str()),
            Some((variable, op)) => drop(written.get_or_insert((name, variable, op.to_owned()))),
        }
    }
    if let Some((name, variable, op)) = written {
        let reason = format!(
            "signature `{}` does something else with the variable `{}` than to read it, by the op `{op}`, so it cannot \
             become a constant",
            printable(name),
            printable(variable)
        );
        let Error::CannotExport { path, reason, hint } = unsupported(file, reason) else { return Ok(()) };
        let others = (!reading.is_empty())
            .then(|| Hint::new("leave that signature out").set_to("signatures", reading.join(",")));
        return Err(Error::CannotExport { path, reason, hint: others.or(hint) });
    }
    let writes = WrittenVariables::new(graph, &Reachable::new(graph, init_ops(definition).iter().map(String::as_str)));
    let mut constants = names.iter().filter(|name| !initialized.contains(**name));
    match constants.find_map(|variable| Some((*variable, writes.op(variable)?))) {
        None => Ok(()),
        Some((variable, op)) => {
            let variable = printable(variable);
            Err(unsupported(
                file,
                format!(
                    "the init op writes the variable `{variable}` whenever the model is loaded, by the op `{op}`, so it \
                     cannot become a constant"
                ),
            ))
        }
    }
}

/// Refuses variables that another node holds as well, by their shared name: what it writes would not be read any more.
fn refuse_other_handles(
    file: &Path,
    definition: &pb::MetaGraphDef,
    graph: &Graph<'_>,
    names: &BTreeSet<&str>,
) -> Result<()> {
    let holders = names.iter().filter_map(|name| graph.node(name));
    let identities: HashMap<_, &str> = holders.map(|node| (variable_identity(node), node.name.as_str())).collect();
    let others = graph.nodes.iter().filter(|node| !names.contains(node.name.as_str()));
    let functions = definition.graph_def.library.function.iter().flat_map(|function| &function.node_def);
    let holds = |node: &&pb::NodeDef| variable_kind(node).is_some();
    let found =
        others.chain(functions).filter(holds).find_map(|node| Some((node, identities.get(&variable_identity(node))?)));
    let Some((node, variable)) = found else { return Ok(()) };
    let (variable, node) = (printable(variable), printable(&node.name));
    let reason = format!("the node `{node}` holds the variable `{variable}` as well, so it cannot become a constant");
    Err(unsupported(file, reason))
}

/// Refuses signatures that give the mean or the variance of a batch normalisation: with constants, TensorFlow makes it
/// an op that has the first output alone, and every run fails.
fn refuse_statistics(file: &Path, definition: &pb::MetaGraphDef, graph: &Graph<'_>) -> Result<()> {
    let is_normalisation = |tensor: &str| graph.node(tensor).is_some_and(|node| node.op.starts_with("FusedBatchNorm"));
    let outputs = definition.signature_def.values().flat_map(|signature| signature.outputs.values());
    let mut tensors = outputs.filter(|info| info.has_name()).map(pb::TensorInfo::name);
    let found = tensors.find(|tensor| tensor_of(tensor).contains(':') && is_normalisation(tensor));
    let Some(tensor) = found else { return Ok(()) };
    let tensor = printable(tensor);
    let reason = format!(
        "`{tensor}`, which a signature gives, is a further output of a batch normalisation, which TensorFlow loses where \
         its parameters are constants"
    );
    Err(unsupported(file, reason))
}

/// Removes the init op from the signatures, where TensorFlow 2 lists it in addition to the collection. Without an
/// object graph, Python would take it for an ordinary signature.
fn remove_init_signature(definition: &mut pb::MetaGraphDef) {
    if definition.collection_def.contains_key(InitSource::MainOp.name()) {
        definition.signature_def.remove(InitSource::Signature.name());
    }
}

/// Checks that an init op fills every variable that is left: there is no checkpoint.
fn check_others(file: &Path, definition: &pb::MetaGraphDef) -> Result<()> {
    let graph = Graph::new(&definition.graph_def);
    let reach = Reachable::new(&graph, graph.nodes.iter().map(|node| node.name.as_str()));
    let writes = WrittenVariables::new(&graph, &reach);
    match graph.nodes.iter().find(|node| variable_kind(node).is_some() && !writes.has(&node.name)) {
        None => Ok(()),
        Some(variable) => {
            let reason = format!(
                "the variable `{}` cannot become a constant: the graph's saver does not restore it, so its value is unknown",
                variable.name
            );
            Err(unsupported(file, reason))
        }
    }
}
