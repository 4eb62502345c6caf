//! What a run of a signature runs.

use std::collections::{HashMap, HashSet};

use super::{Graph, Node, source};
use crate::saved_model::{SignatureDef, parse_tensor_name};

/// The first node, of those that the graph would run for the signature's outputs, that is looked for; nodes of functions included.
/// What is fed is not run.
pub(crate) fn find_run<'a, 'g>(
    graph: &'g Graph<'a>,
    signature: &SignatureDef,
    is_wanted: impl Fn(&Node<'a>) -> bool,
) -> Option<&'g Node<'a>> {
    let nodes: HashMap<&str, &Node<'_>> = graph.nodes.iter().map(|node| (node.name, node)).collect();
    let functions: HashMap<&str, &[Node<'_>]> =
        graph.functions.iter().map(|function| (function.name, function.nodes.as_slice())).collect();

    let tensors = |all: &'_ [(String, crate::TensorInfo)]| -> Vec<String> {
        let parts = all.iter().flat_map(|(key, info)| info.parts(key));
        parts.filter_map(|part| parse_tensor_name(part.tensor).ok().map(|(op, _)| op.to_owned())).collect()
    };
    let fed: HashSet<String> = tensors(&signature.inputs).into_iter().collect();
    let fetched = tensors(&signature.outputs);
    let mut todo: Vec<&Node<'_>> = fetched.iter().filter_map(|name| nodes.get(name.as_str()).copied()).collect();
    let mut seen: HashSet<*const Node<'_>> = HashSet::new();
    let mut entered: HashSet<&str> = HashSet::new();
    let is_outer = |node: &Node<'_>| nodes.get(node.name).is_some_and(|known| std::ptr::eq(*known, node));
    while let Some(node) = todo.pop() {
        if !seen.insert(std::ptr::from_ref(node)) || fed.contains(node.name) && is_outer(node) {
            continue;
        }
        if is_wanted(node) {
            return Some(node);
        }
        // Of a function everything is run that has an effect, so it is looked at whole.
        for called in node.calls().into_iter().filter_map(|name| functions.get_key_value(name)) {
            if entered.insert(called.0) {
                todo.extend(called.1.iter());
            }
        }
        if is_outer(node) {
            todo.extend(node.inputs.iter().filter_map(|input| nodes.get(source(input).0).copied()));
        }
    }
    None
}
