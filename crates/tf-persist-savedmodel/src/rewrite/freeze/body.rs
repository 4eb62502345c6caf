//! Rewrites a body: the top of the graph, or a function.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tf_persist_proto::tensorflow as pb;

use super::super::prune::set_called;
use super::functions::{Library, Specialised};
use super::{Frozen, reads};
use crate::graph::{Arguments, Body, Graph, HandleKind, HandleUse, is_control, node_of};
use crate::rewrite::effects::has_control_flow;

/// The deepest nesting of calls. Real models nest a few.
const MAX_DEPTH: usize = 100;

/// A rewritten body, with values instead of handles.
pub(super) struct Rewritten {
    pub(super) nodes: Vec<pb::NodeDef>,
    /// The tensors that are values now, by their old names.
    pub(super) frozen: BTreeMap<String, Frozen>,
    /// Old and new names of tensors.
    pub(super) renamed: HashMap<String, String>,
}

/// A call, and its arguments that are values now.
struct Call<'n> {
    call: Arguments<'n>,
    arguments: BTreeMap<usize, Frozen>,
    /// The functions made for them.
    functions: Vec<Specialised>,
}

/// Rewrites the nodes of a body in which these tensors are values now.
///
/// # Errors
/// A sentence with the name of the variable, if a node does something other than read it.
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
    let mut flow = Flow {
        nodes,
        body: Body::new(nodes, is_function),
        tensors: BTreeMap::new(),
        todo: Vec::new(),
        reading: BTreeMap::new(),
        passing: BTreeMap::new(),
        calls: BTreeMap::new(),
        changed: BTreeSet::new(),
    };
    flow.add(frozen);
    flow.follow(&graph, library, depth)?;
    Ok(flow.into_rewritten())
}

/// Follows values through a body.
struct Flow<'n> {
    nodes: &'n [pb::NodeDef],
    body: Body<'n>,
    /// The tensors that are values now.
    tensors: BTreeMap<String, Frozen>,
    /// Those of them that are still to be followed.
    todo: Vec<(String, Frozen)>,
    /// The nodes that read a value, by index.
    reading: BTreeMap<usize, Frozen>,
    /// The nodes that pass a value on, with the input that takes it.
    passing: BTreeMap<usize, Vec<(usize, Frozen)>>,
    calls: BTreeMap<usize, Call<'n>>,
    /// The calls with new arguments.
    changed: BTreeSet<usize>,
}

impl Flow<'_> {
    /// Adds tensors that are values now.
    fn add(&mut self, found: impl IntoIterator<Item = (String, Frozen)>) {
        for (tensor, frozen) in found {
            if self.tensors.insert(tensor.clone(), frozen.clone()).is_none() {
                self.todo.push((tensor, frozen));
            }
        }
    }

    fn follow(&mut self, graph: &Graph<'_>, library: &mut Library, depth: usize) -> Result<(), String> {
        while let Some((tensor, frozen)) = self.todo.pop() {
            let mut found = self.visit(graph, &tensor, &frozen)?;
            // Functions are made as late as possible, when most of their arguments are known.
            if self.todo.is_empty() && found.is_empty() {
                found = self.specialise(library, depth)?;
            }
            self.add(found);
        }
        Ok(())
    }

    /// Visits the nodes that take a tensor. Returns the tensors that they pass its value to.
    fn visit(&mut self, graph: &Graph<'_>, tensor: &str, frozen: &Frozen) -> Result<Vec<(String, Frozen)>, String> {
        let mut found = Vec::new();
        for &(index, position) in self.body.consumers(tensor) {
            let node = &self.nodes[index];
            match HandleUse::new(node, position, frozen.kind, graph) {
                HandleUse::Read => drop(self.reading.insert(index, frozen.clone())),
                HandleUse::Pass(outputs) => {
                    self.passing.entry(index).or_default().push((position, frozen.clone()));
                    found.extend(outputs.into_iter().map(|output| (self.body.output(node, output), frozen.clone())));
                }
                // A reference is read where it becomes an argument, so the function gets a value already.
                HandleUse::Call(..) if frozen.kind == HandleKind::Reference => {}
                HandleUse::Call(call, argument) => {
                    let new = Call { call, arguments: BTreeMap::new(), functions: Vec::new() };
                    self.calls.entry(index).or_insert(new).arguments.insert(argument, frozen.clone());
                    self.changed.insert(index);
                }
                HandleUse::Other => {
                    return Err(format!(
                        "the variable `{}` cannot become a constant: the op `{}` does something else with it than to read it",
                        frozen.variable, node.op
                    ));
                }
            }
        }
        Ok(found)
    }

    /// Makes the functions of the changed calls. Returns the outputs of the calls that are values now.
    fn specialise(&mut self, library: &mut Library, depth: usize) -> Result<Vec<(String, Frozen)>, String> {
        let mut found = Vec::new();
        for index in std::mem::take(&mut self.changed) {
            let Some(call) = self.calls.get_mut(&index) else { continue };
            let made = call.call.functions.iter().map(|name| library.specialise(name, &call.arguments, depth));
            call.functions = made.collect::<Result<_, _>>()?;
            for (output, frozen) in call.functions.iter().flat_map(|function| &function.returned) {
                let name = output_name(&self.body, &self.nodes[index], &call.call, *output, &call.functions);
                found.push((name, frozen.clone()));
            }
        }
        Ok(found)
    }

    /// Rewrites the nodes that take values.
    fn into_rewritten(self) -> Rewritten {
        let is_function = self.body.is_function();
        let in_frames = has_control_flow(self.nodes);
        let names: HashSet<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
        let mut renamed = HashMap::new();
        let mut result = Vec::with_capacity(self.nodes.len());
        for (index, node) in self.nodes.iter().enumerate() {
            let mut node = node.clone();
            for (position, frozen) in self.passing.get(&index).into_iter().flatten() {
                reads::pass(&mut node, frozen, *position);
            }
            if let Some(call) = self.calls.get(&index) {
                rewrite_call(&mut node, call);
            }
            if let Some(frozen) = self.reading.get(&index) {
                let mut rewritten = reads::rewrite(&mut node, frozen, is_function);
                if in_frames {
                    let made = rewritten.before.iter_mut().chain([&mut node]);
                    made.for_each(|made| stay_beside(made, &self.nodes[index], &names));
                }
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
        Rewritten { nodes: result, frozen: self.tensors, renamed }
    }
}

/// Makes a node without inputs wait for one that the original takes: it would be outside of a loop of TensorFlow 1.
fn stay_beside(node: &mut pb::NodeDef, original: &pb::NodeDef, names: &HashSet<&str>) {
    // The last input is the index of a gather, or the handle where it is the only one.
    let mut taken = original.input.iter().filter(|input| !is_control(input)).map(|input| node_of(input));
    if node.input.is_empty()
        && let Some(beside) = taken.rfind(|name| names.contains(name))
    {
        node.input.push(format!("^{beside}"));
    }
}

/// The name of an output of a call.
fn output_name(
    body: &Body<'_>,
    node: &pb::NodeDef,
    call: &Arguments<'_>,
    index: usize,
    functions: &[Specialised],
) -> String {
    // If the op is the function itself, the outputs have the names of the function.
    match (
        call.attributes.is_empty() && body.is_function(),
        functions.first().and_then(|function| function.outputs.get(index)),
    ) {
        (true, Some(name)) => format!("{}:{name}:0", node.name),
        _ => body.output(node, index),
    }
}

/// Rewrites a call for the functions that were made for its arguments.
fn rewrite_call(node: &mut pb::NodeDef, call: &Call<'_>) {
    reads::forget_shapes(node);
    for (argument, frozen) in &call.arguments {
        let mut index = *argument;
        for types in call.call.types {
            let count = crate::graph::attr::list_of_types(node, types).len();
            if index < count {
                reads::set_type(node, types, index, frozen);
                break;
            }
            index -= count;
        }
    }
    // The outputs of a loop are its arguments.
    let mut outputs: Vec<usize> = call.arguments.keys().copied().filter(|_| call.call.is_loop).collect();
    if !call.call.is_loop {
        for (index, frozen) in call.functions.iter().flat_map(|function| &function.returned) {
            reads::set_type(node, "Tout", *index, frozen);
            outputs.push(*index);
        }
    }
    reads::forget_output_shapes(node, &outputs);
    set_called(node, call.call.attributes, call.functions.iter().map(|function| function.name.clone()));
}
