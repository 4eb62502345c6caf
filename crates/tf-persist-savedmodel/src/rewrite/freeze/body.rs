//! The rewriting of a body: the graph's top, or a function's.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tf_persist_proto::tensorflow as pb;

use super::super::prune::set_called;
use super::functions::{Library, Specialised};
use super::{Frozen, reads};
use crate::graph::{Arguments, Body, HandleKind, HandleUse, is_control};

/// Functions that call each other deeper than this are not followed. Real models nest a few.
const MAX_DEPTH: usize = 100;

/// A body with values for handles.
pub(super) struct Rewritten {
    pub(super) nodes: Vec<pb::NodeDef>,
    /// The tensors that are values now, under their old names.
    pub(super) frozen: BTreeMap<String, Frozen>,
    /// The tensors that have other names now.
    pub(super) renamed: HashMap<String, String>,
}

/// A call, and which of its arguments are values now.
struct Call<'n> {
    call: Arguments<'n>,
    arguments: BTreeMap<usize, Frozen>,
    /// The functions made for them.
    functions: Vec<Specialised>,
}

/// Rewrites the nodes of a body in which these tensors are values now.
///
/// # Errors
/// A sentence with the variable's name, if something else is done with it than to read it.
pub(super) fn rewrite(
    nodes: &[pb::NodeDef],
    is_function: bool,
    frozen: BTreeMap<String, Frozen>,
    library: &mut Library,
    depth: usize,
) -> Result<Rewritten, String> {
    if depth > MAX_DEPTH {
        return Err(format!("its functions call each other more than {MAX_DEPTH} deep"));
    }
    let originals = library.originals();
    let graph = originals.graph();
    let body = Body::new(nodes, is_function);
    let mut todo: Vec<(String, Frozen)> =
        frozen.iter().map(|(tensor, frozen)| (tensor.clone(), frozen.clone())).collect();
    let mut tensors = frozen;
    let mut reading: BTreeMap<usize, Frozen> = BTreeMap::new();
    let mut passing: BTreeMap<usize, Vec<(usize, Frozen)>> = BTreeMap::new();
    let mut calls: BTreeMap<usize, Call<'_>> = BTreeMap::new();
    let mut changed: BTreeSet<usize> = BTreeSet::new();
    while let Some((tensor, frozen)) = todo.pop() {
        let mut found: Vec<(String, Frozen)> = Vec::new();
        for &(place, position) in body.consumers(&tensor) {
            let node = &nodes[place];
            match HandleUse::new(node, position, frozen.kind, &graph) {
                HandleUse::Read => drop(reading.insert(place, frozen.clone())),
                HandleUse::Pass(outputs) => {
                    passing.entry(place).or_default().push((position, frozen.clone()));
                    found.extend(outputs.into_iter().map(|index| (body.output(node, index), frozen.clone())));
                }
                HandleUse::Call(call, argument) => {
                    // A reference is read where it becomes an argument; what a function gets is a value already.
                    if frozen.kind == HandleKind::Reference {
                        continue;
                    }
                    let call = calls.entry(place).or_insert_with(|| Call {
                        call,
                        arguments: BTreeMap::new(),
                        functions: Vec::new(),
                    });
                    call.arguments.insert(argument, frozen.clone());
                    changed.insert(place);
                }
                HandleUse::Other => {
                    return Err(format!(
                        "the variable `{}` cannot become a constant: the op `{}` does something else with it than to read it",
                        frozen.variable, node.op
                    ));
                }
            }
        }
        // Functions are made once all their arguments are known, as far as they can be.
        if todo.is_empty() && found.is_empty() {
            for place in std::mem::take(&mut changed) {
                let Some(call) = calls.get_mut(&place) else { continue };
                let made = call.call.functions.iter().map(|name| library.specialise(name, &call.arguments, depth));
                call.functions = made.collect::<Result<_, _>>()?;
                for (index, frozen) in call.functions.iter().flat_map(|function| &function.returned) {
                    found.push((output(&body, &nodes[place], &call.call, *index, &call.functions), frozen.clone()));
                }
            }
        }
        for (tensor, frozen) in found {
            if tensors.insert(tensor.clone(), frozen.clone()).is_none() {
                todo.push((tensor, frozen));
            }
        }
    }

    let mut renamed = HashMap::new();
    let mut result = Vec::with_capacity(nodes.len());
    for (place, node) in nodes.iter().enumerate() {
        let mut node = node.clone();
        for (position, frozen) in passing.get(&place).into_iter().flatten() {
            reads::pass(&mut node, frozen, *position);
        }
        if let Some(call) = calls.get(&place) {
            rewrite_call(&mut node, call);
        }
        if let Some(frozen) = reading.get(&place) {
            let rewritten = reads::rewrite(&mut node, frozen, is_function);
            result.extend(rewritten.before);
            if let (true, Some((old, new))) = (is_function, rewritten.output) {
                renamed.insert(format!("{}:{old}:0", node.name), format!("{}:{new}:0", node.name));
            }
        }
        result.push(node);
    }
    if !renamed.is_empty() {
        for input in result.iter_mut().flat_map(|node| &mut node.input).filter(|input| !is_control(input)) {
            if let Some(new) = renamed.get(input) {
                input.clone_from(new);
            }
        }
    }
    Ok(Rewritten { nodes: result, frozen: tensors, renamed })
}

/// The name of a call's output.
fn output(
    body: &Body<'_>,
    node: &pb::NodeDef,
    call: &Arguments<'_>,
    index: usize,
    functions: &[Specialised],
) -> String {
    // Where the op is the function itself, its outputs are named as the function's are.
    match (
        call.attributes.is_empty() && body.is_function(),
        functions.first().and_then(|function| function.outputs.get(index)),
    ) {
        (true, Some(name)) => format!("{}:{name}:0", node.name),
        _ => body.output(node, index),
    }
}

/// A call of the functions that were made for its arguments.
fn rewrite_call(node: &mut pb::NodeDef, call: &Call<'_>) {
    reads::forget_shapes(node);
    // For each argument, the shape that a loop declares for it.
    node.attr.remove("output_shapes");
    for (argument, frozen) in &call.arguments {
        let mut place = *argument;
        for types in call.call.types {
            let count = crate::graph::attr::list_of_types(node, types).len();
            if place < count {
                reads::set_type(node, types, place, frozen);
                break;
            }
            place -= count;
        }
    }
    if !call.call.is_loop {
        for (index, frozen) in call.functions.iter().flat_map(|function| &function.returned) {
            reads::set_type(node, "Tout", *index, frozen);
        }
    }
    set_called(node, call.call.attributes, call.functions.iter().map(|function| function.name.clone()));
}
