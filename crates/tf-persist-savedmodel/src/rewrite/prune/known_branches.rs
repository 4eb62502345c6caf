//! Replaces `If` and `Case` ops whose branch is the same in every run by calls of that branch. In functions, the
//! condition may be an argument.

use std::collections::{BTreeMap, HashMap, HashSet};

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;

use crate::graph::{Arguments, Graph, arguments, free_name, is_control, node_of};
use crate::rewrite::scalars::Scalars;

/// The deepest nesting of calls that is followed. Real models nest a few.
const MAX_DEPTH: usize = 100;
/// The most visits per function, on average. Real models need one or two.
const MAX_PER_FUNCTION: usize = 20;

/// The suffix of copies of functions.
const SUFFIX: &str = "_settled";

/// Replaces `If` and `Case` ops whose branch is known. `fed` are the nodes at the top of the graph with values from
/// outside. With `in_functions`, functions are copied for known arguments, and the originals stay. Returns the previous
/// graph, if anything was replaced.
pub(super) fn call(
    definition: &mut pb::MetaGraphDef,
    fed: &HashSet<String>,
    in_functions: bool,
) -> Option<pb::GraphDef> {
    let (nodes, made) = {
        let graph = Graph::new(&definition.graph_def);
        let library = &definition.graph_def.library.function;
        let mut rewriter = Rewriter {
            graph: &graph,
            in_functions,
            left: library.len() * MAX_PER_FUNCTION,
            names: library.iter().map(|function| function.signature.name.clone()).collect(),
            known: HashMap::new(),
            made: Vec::new(),
        };
        let nodes = rewriter.body(&Scalars::new(graph.nodes, BTreeMap::new(), fed), graph.nodes, 0)?;
        (nodes, rewriter.made)
    };
    let mut changed = definition.graph_def.as_ref().cloned().unwrap_or_default();
    changed.node = nodes;
    changed.library.mut_or_insert_default().function.extend(made);
    std::mem::replace(&mut definition.graph_def, Some(changed).into()).0.map(|graph| *graph)
}

struct Rewriter<'a> {
    graph: &'a Graph<'a>,
    in_functions: bool,
    /// The visits that are left.
    left: usize,
    names: HashSet<String>,
    /// The copy of a function for known arguments; `None` if it would be the function itself.
    known: HashMap<(&'a str, BTreeMap<usize, i64>), Option<String>>,
    made: Vec<pb::FunctionDef>,
}

impl<'a> Rewriter<'a> {
    /// Rewrites the nodes of a body; `None` if nothing changes.
    fn body(&mut self, scalars: &Scalars<'_>, nodes: &'a [pb::NodeDef], depth: usize) -> Option<Vec<pb::NodeDef>> {
        let mut changed: HashMap<usize, pb::NodeDef> = HashMap::new();
        for (index, original) in nodes.iter().enumerate() {
            let mut node = call_of_branch(original, scalars);
            if self.in_functions
                && let Some(called) = arguments(original, self.graph)
            {
                let called =
                    node.as_ref().and_then(|_| branch_taken(original, scalars, called.clone())).unwrap_or(called);
                if let Some(names) = self.copies(original, &called, scalars, depth) {
                    let node = node.get_or_insert_with(|| original.clone());
                    let attributes = if node.op == original.op { called.attributes } else { &["f"] };
                    set_called(node, attributes, names);
                }
            }
            changed.extend(node.map(|node| (index, node)));
        }
        if changed.is_empty() {
            return None;
        }
        let node = |(index, node): (usize, &pb::NodeDef)| changed.remove(&index).unwrap_or_else(|| node.clone());
        Some(nodes.iter().enumerate().map(node).collect())
    }

    /// The functions that a node calls, with copies for known arguments; `None` if nothing changes.
    fn copies(
        &mut self,
        node: &pb::NodeDef,
        called: &Arguments<'a>,
        scalars: &Scalars<'_>,
        depth: usize,
    ) -> Option<Vec<String>> {
        if !called.are_single(self.graph) {
            return None;
        }
        let data = node.input.iter().filter(|input| !is_control(input)).skip(called.first).enumerate();
        let known: BTreeMap<usize, i64> = data
            .filter(|(argument, _)| !called.is_loop || self.is_invariant(called, *argument))
            .filter_map(|(argument, input)| Some((argument, scalars.value(input)?)))
            .collect();
        let copies: Vec<Option<String>> =
            called.functions.iter().map(|name| self.copy(name, &known, depth + 1)).collect();
        if copies.iter().all(Option::is_none) {
            return None;
        }
        let names = copies.into_iter().zip(&called.functions);
        Some(names.map(|(copy, original)| copy.unwrap_or_else(|| (*original).to_owned())).collect())
    }

    /// Copies a function for known arguments; `None` if the copy would be the same.
    fn copy(&mut self, name: &'a str, known: &BTreeMap<usize, i64>, depth: usize) -> Option<String> {
        let key = (name, known.clone());
        if let Some(copy) = self.known.get(&key) {
            return copy.clone();
        }
        self.left = self.left.checked_sub(1).filter(|_| depth <= MAX_DEPTH)?;
        // A recursive call keeps the original.
        self.known.insert(key.clone(), None);
        let original = self.graph.function(name)?;
        let argument =
            |(index, value): (&usize, &i64)| Some((original.signature.input_arg.get(*index)?.name.as_str(), *value));
        let nothing = HashSet::new();
        let scalars = Scalars::new(&original.node_def, known.iter().filter_map(argument).collect(), &nothing);
        let nodes = self.body(&scalars, &original.node_def, depth)?;
        let wanted = format!("{}{SUFFIX}", name.strip_suffix(SUFFIX).unwrap_or(name));
        let copy = free_name(&wanted, |name| self.names.contains(name));
        let mut function = original.clone();
        function.node_def = nodes;
        function.signature.mut_or_insert_default().name.clone_from(&copy);
        self.names.insert(copy.clone());
        self.made.push(function);
        self.known.insert(key, Some(copy.clone()));
        Some(copy)
    }

    /// Whether the body of a loop passes an argument on unchanged.
    fn is_invariant(&self, called: &Arguments<'_>, argument: usize) -> bool {
        const MAX_STEPS: usize = 10;
        let Some(body) = called.functions.get(1).and_then(|name| self.graph.function(name)) else { return false };
        let (signature, nodes) = (&body.signature, &body.node_def);
        let (Some(given), Some(returned)) = (signature.input_arg.get(argument), signature.output_arg.get(argument))
        else {
            return false;
        };
        let mut tensor = body.ret.get(&returned.name);
        for _ in 0..MAX_STEPS {
            match tensor {
                Some(name) if *name == given.name => return true,
                Some(name) => {
                    let node = nodes.iter().find(|node| node.name == node_of(name) && node.op == "Identity");
                    tensor = node.and_then(|node| node.input.first());
                }
                None => return false,
            }
        }
        false
    }
}

/// The index of the branch that an `If` (0: then) or a `Case` takes, if it is known.
fn index_of_branch(node: &pb::NodeDef, scalars: &Scalars<'_>) -> Option<usize> {
    let value = scalars.value(node.input.first()?)?;
    match node.op.as_str() {
        "If" | "StatelessIf" => Some(usize::from(value == 0)),
        "Case" | "StatelessCase" => {
            let Some(Value::List(branches)) = &node.attr.get("branches")?.value else { return None };
            let last = branches.func.len().checked_sub(1)?;
            // Other indices select the last branch (`tensorflow/core/kernels/functional_ops.cc`).
            Some(usize::try_from(value).map_or(last, |value| value.min(last)))
        }
        _ => None,
    }
}

/// The call of the branch that a node takes.
fn branch_taken<'n>(node: &pb::NodeDef, scalars: &Scalars<'_>, called: Arguments<'n>) -> Option<Arguments<'n>> {
    let function = *called.functions.get(index_of_branch(node, scalars)?)?;
    Some(Arguments { functions: vec![function], ..called })
}

/// Turns an `If` or a `Case` into a call of the branch that it takes.
fn call_of_branch(node: &pb::NodeDef, scalars: &Scalars<'_>) -> Option<pb::NodeDef> {
    let index = index_of_branch(node, scalars)?;
    let branch = match node.op.as_str() {
        "If" | "StatelessIf" => node.attr.get(["then_branch", "else_branch"][index])?.clone(),
        _ => match &node.attr.get("branches")?.value {
            Some(Value::List(branches)) => {
                let function = Value::Func(branches.func.get(index)?.clone());
                pb::AttrValue { value: Some(function), ..Default::default() }
            }
            _ => return None,
        },
    };
    let mut node = node.clone();
    node.op = if node.op.starts_with("Stateless") { "PartitionedCall" } else { "StatefulPartitionedCall" }.to_owned();
    let condition = node.input.remove(0);
    // Arguments of functions cannot be control inputs.
    if scalars.has_node(node_of(&condition)) {
        node.input.push(format!("^{}", node_of(&condition)));
    }
    let of_branches = ["Tcond", "then_branch", "else_branch", "branches", "output_shapes"];
    for name in of_branches.into_iter().chain(["_lower_using_switch_merge", "_read_only_resource_inputs"]) {
        node.attr.remove(name);
    }
    node.attr.insert("f".to_owned(), branch);
    Some(node)
}

/// Replaces the functions that a node calls, in these attributes or as its op.
pub(crate) fn set_called(node: &mut pb::NodeDef, attributes: &[&str], names: impl IntoIterator<Item = String>) {
    let mut names = names.into_iter();
    if attributes.is_empty() {
        node.op = names.next().unwrap_or_default();
        return;
    }
    for attribute in attributes {
        match node.attr.get_mut(*attribute).and_then(|attribute| attribute.value.as_mut()) {
            Some(Value::Func(function)) => function.name = names.next().unwrap_or_default(),
            Some(Value::List(list)) => {
                list.func.iter_mut().for_each(|function| function.name = names.next().unwrap_or_default());
            }
            _ => {}
        }
    }
}
