//! Calls of functions are replaced by the nodes of the function, so that constants meet the ops that take them.
//!
//! A call keeps its name, as an `IdentityN` of what the function returns: signatures and other nodes go on to find its
//! outputs. Calls are left that TensorFlow would run in another way than their nodes one by one: with state, with ops
//! that are unknown, with control flow of TensorFlow 1 around or in them, or marked to stay calls. Nothing of an answer
//! changes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;

use super::effects::{ActingFunctions, has_control_flow, may_act_or_calls};
use super::outputs;
use crate::graph::{attr, free_name, is_control, node_of, tensor_of};
use crate::ops::{is_known_op, is_stateful};

/// The deepest nesting of calls. Real models nest a few.
const MAX_DEPTH: usize = 20;

/// The most nodes that a graph may get by this.
const MAX_NODES: usize = 200_000;

/// Ops with state that may leave their function.
const STAND_ALONE: [&str; 5] = ["Assert", "LookupTableFindV2", "LookupTableSizeV2", "StatefulPartitionedCall", "While"];

/// Those of them that a function runs even if nothing takes what they give: a loop may have assertions.
const ALWAYS_RUN: [&str; 2] = ["Assert", "While"];

/// Attributes of calls and functions that must stay as they are.
const KEPT_CALLS: [&str; 3] = ["_noinline", "_XlaMustCompile", "_XlaScope"];

/// What a function implements. Grappler chooses among those that implement the same: for a layer of Keras 2, by whether
/// there is a GPU. Where variables became constants, those that no call names are gone, and nothing is left to choose.
const IMPLEMENTS: &str = "api_implements";

/// Replaces calls at the top of a graph by the nodes of their functions. Returns how many.
///
/// `asked` are the nodes that somebody asks for by their names.
pub(crate) fn inline(graph: &mut pb::GraphDef, asked: &HashSet<String>) -> usize {
    inline_beside(graph, asked, HashSet::new())
}

/// As [`inline`]; the nodes `results_of` pass on what was replaced before.
pub(crate) fn inline_beside(
    graph: &mut pb::GraphDef,
    asked: &HashSet<String>,
    mut results_of: HashSet<String>,
) -> usize {
    // The nodes of a function would run in branches that are not taken, and its constants outside of loops.
    if has_control_flow(&graph.node) {
        return 0;
    }
    let replaced_before = results_of.len();
    let library = std::mem::take(&mut graph.library.mut_or_insert_default().function);
    let functions: HashMap<&str, &pb::FunctionDef> =
        library.iter().map(|function| (function.signature.name.as_str(), function)).collect();
    let acting = ActingFunctions::new(&library);
    let mut names: HashSet<String> = graph.node.iter().map(|node| node.name.clone()).collect();
    let mut done: Vec<pb::NodeDef> = Vec::with_capacity(graph.node.len());
    let mut todo: Vec<(pb::NodeDef, usize)> =
        std::mem::take(&mut graph.node).into_iter().map(|node| (node, 0)).collect();
    while let Some((node, depth)) = todo.pop() {
        let room = MAX_NODES.saturating_sub(done.len() + todo.len());
        let body = called(&node, &functions)
            .filter(|function| depth < MAX_DEPTH && function.node_def.len() < room)
            .and_then(|function| Call::new(&node, function, &names)?.body(&acting));
        match body {
            None => done.push(node),
            Some((nodes, results)) => {
                names.extend(nodes.iter().map(|node| node.name.clone()));
                results_of.insert(results.name.clone());
                todo.extend(nodes.into_iter().map(|node| (node, depth + 1)));
                done.push(results);
            }
        }
    }
    skip_results(&mut done, &results_of, asked);
    // The order of before is of no use to TensorFlow, but to people.
    done.reverse();
    graph.node = done;
    graph.library.mut_or_insert_default().function = library;
    results_of.len() - replaced_before
}

/// Lets nodes take what a replaced call returned from where it comes, if nothing has to run before.
fn skip_results(nodes: &mut [pb::NodeDef], results_of: &HashSet<String>, asked: &HashSet<String>) {
    let mut sources = HashMap::new();
    // A request may give what a call returns.
    for node in nodes.iter().filter(|node| results_of.contains(&node.name) && !asked.contains(&node.name)) {
        if node.input.iter().any(|input| is_control(input)) {
            continue;
        }
        for (index, input) in node.input.iter().enumerate() {
            let name = if index == 0 { node.name.clone() } else { format!("{}:{index}", node.name) };
            sources.insert(name, tensor_of(input).to_owned());
        }
    }
    for input in nodes.iter_mut().flat_map(|node| &mut node.input).filter(|input| !is_control(input)) {
        let mut source = tensor_of(input);
        for _ in 0..=MAX_DEPTH {
            source = sources.get(source).map_or(source, |source| source.as_str());
        }
        if source != tensor_of(input) {
            *input = source.to_owned();
        }
    }
}

/// The function of a call that may be replaced.
fn called<'l>(node: &pb::NodeDef, functions: &HashMap<&str, &'l pb::FunctionDef>) -> Option<&'l pb::FunctionDef> {
    let is_call = matches!(node.op.as_str(), "PartitionedCall" | "StatefulPartitionedCall");
    if !is_call || is_kept(&node.attr) || attribute(&node.attr, IMPLEMENTS).is_some() {
        return None;
    }
    let Some(Value::Func(called)) = node.attr.get("f").and_then(|attr| attr.value.as_ref()) else { return None };
    let function = functions.get(called.name.as_str()).copied().filter(|_| called.attr.is_empty())?;
    let is_single = |arg: &pb::op_def::op_def::ArgDef| arg.number_attr.is_empty() && arg.type_list_attr.is_empty();
    let signature = &function.signature;
    let are_single = signature.input_arg.iter().chain(&signature.output_arg).all(is_single);
    let is_chosen = attribute(&function.attr, IMPLEMENTS).is_some_and(|what| {
        functions.values().filter(|other| attribute(&other.attr, IMPLEMENTS) == Some(what)).count() > 1
    });
    (are_single && signature.attr.is_empty() && !is_kept(&function.attr) && !is_chosen).then_some(function)
}

fn is_kept(attributes: &BTreeMap<String, pb::AttrValue>) -> bool {
    KEPT_CALLS.iter().any(|name| attribute(attributes, name).is_some())
}

/// An attribute that is a text with content, or is set.
fn attribute<'a>(attributes: &'a BTreeMap<String, pb::AttrValue>, name: &str) -> Option<&'a pb::AttrValue> {
    attributes.get(name).filter(|attr| attr.has_s() && !attr.s().is_empty() || attr.b())
}

/// A call that is being replaced.
struct Call<'c> {
    node: &'c pb::NodeDef,
    function: &'c pb::FunctionDef,
    /// What stands before the names of the function's nodes, with `/` between.
    prefix: String,
    /// The tensors that the function's arguments are.
    arguments: HashMap<&'c str, &'c str>,
    nodes: HashMap<&'c str, &'c pb::NodeDef>,
}

impl<'c> Call<'c> {
    /// `None` if the function does more than compute, or the call does not fit it.
    fn new(node: &'c pb::NodeDef, function: &'c pb::FunctionDef, taken: &HashSet<String>) -> Option<Self> {
        let given: Vec<&str> = node.input.iter().map(String::as_str).filter(|input| !is_control(input)).collect();
        let signature = &function.signature;
        let may_stand_alone = |node: &pb::NodeDef| {
            is_known_op(&node.op)
                && (!is_stateful(&node.op)
                    // Calls are looked at when it is their turn; loops stay what they are.
                    || STAND_ALONE.contains(&node.op.as_str()))
        };
        if given.len() != signature.input_arg.len() || !function.node_def.iter().all(may_stand_alone) {
            return None;
        }
        // A second copy of a loop would have the same frame, and calls in it could no longer be replaced.
        if has_control_flow(&function.node_def) {
            return None;
        }
        let is_taken =
            |prefix: &str| function.node_def.iter().any(|node| taken.contains(&format!("{prefix}/{}", node.name)));
        let arguments = signature.input_arg.iter().map(|argument| argument.name.as_str()).zip(given).collect();
        let nodes = function.node_def.iter().map(|node| (node.name.as_str(), node)).collect();
        Some(Self { node, function, prefix: free_name(&node.name, is_taken), arguments, nodes })
    }

    /// The nodes of the function, and the one that takes the place of the call.
    fn body(&self, acting: &ActingFunctions<'_>) -> Option<(Vec<pb::NodeDef>, pb::NodeDef)> {
        let mut nodes = self.function.node_def.iter().map(|node| self.renamed(node)).collect::<Option<Vec<_>>>()?;
        // A call begins when all that it takes and waits for is there. What has an effect still does.
        for node in nodes.iter_mut().filter(|node| acting.acts(node)) {
            let waits = self.node.input.iter().map(|input| format!("^{}", node_of(input)));
            let new: BTreeSet<String> = waits.filter(|wait| !node.input.contains(wait)).collect();
            node.input.extend(new);
        }
        let mut results = Vec::new();
        let mut dtypes = Vec::new();
        for output in &self.function.signature.output_arg {
            results.push(self.tensor(self.function.ret.get(&output.name)?)?);
            dtypes.push(output.type_);
        }
        // What would have run with the call still runs with it.
        let controls = self.node.input.iter().filter(|input| is_control(input)).cloned();
        let always = self.function.node_def.iter().filter(|node| ALWAYS_RUN.contains(&node.op.as_str()));
        // What was the read of a variable need not run for itself.
        let returned = self.function.control_ret.values().filter(|name| self.may_have_effect(name));
        let own: HashSet<&String> = returned.chain(always.map(|node| &node.name)).collect();
        let mut own: Vec<String> = own.into_iter().map(|name| format!("^{}", self.name(name))).collect();
        own.sort_unstable();
        let op = if results.is_empty() { "NoOp" } else { "IdentityN" };
        let mut node = attr::node(self.node.name.as_str(), op, &[], []);
        node.device.clone_from(&self.node.device);
        if !results.is_empty() {
            node.attr.insert("T".into(), attr::dtypes(dtypes));
        }
        node.input = results.into_iter().chain(controls).chain(own).collect();
        Some((nodes, node))
    }

    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }

    /// Whether a node of the function has an effect, or waits for one that may have.
    fn may_have_effect(&self, name: &str) -> bool {
        let node = self.nodes.get(name);
        node.is_some_and(|node| may_act_or_calls(&node.op) || node.input.iter().any(|input| is_control(input)))
    }

    /// A node of the function at the top of the graph.
    fn renamed(&self, node: &pb::NodeDef) -> Option<pb::NodeDef> {
        let mut renamed = node.clone();
        renamed.name = self.name(&node.name);
        // The nodes that it names have other names now.
        renamed.attr.remove("_class");
        if renamed.device.is_empty() {
            renamed.device.clone_from(&self.node.device);
        }
        // An attribute of the function.
        if renamed.attr.values().any(|attr| matches!(attr.value, Some(Value::Placeholder(_)))) {
            return None;
        }
        for input in &mut renamed.input {
            *input = match input.strip_prefix('^') {
                // An argument is there before anything runs.
                Some(name) if self.arguments.contains_key(name) => return None,
                Some(name) => format!("^{}", self.name(name)),
                None => self.tensor(input)?,
            };
        }
        Some(renamed)
    }

    /// The name at the top of the graph of a tensor in the function: an argument, or `node:output:index`.
    fn tensor(&self, name: &str) -> Option<String> {
        let mut parts = name.split(':');
        let first = parts.next()?;
        let (Some(output), Some(index)) = (parts.next(), parts.next()) else {
            return self.arguments.get(first).map(|tensor| (*tensor).to_owned());
        };
        let index = outputs::before(self.nodes.get(first)?, output)? + index.parse::<usize>().ok()?;
        let node = self.name(first);
        Some(if index == 0 { node } else { format!("{node}:{index}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;

    fn argument(name: &str) -> pb::op_def::op_def::ArgDef {
        pb::op_def::op_def::ArgDef { name: name.into(), type_: attr::proto_dtype(DType::Float32), ..Default::default() }
    }

    /// A function of one argument, `x`, and one result, `y`.
    fn function(name: &str, nodes: Vec<pb::NodeDef>, result: &str) -> pb::FunctionDef {
        let mut function = pb::FunctionDef { node_def: nodes, ..Default::default() };
        let signature = function.signature.mut_or_insert_default();
        signature.name = name.into();
        signature.input_arg.push(argument("x"));
        signature.output_arg.push(argument("y"));
        function.ret.insert("y".into(), result.into());
        function
    }

    fn call(name: &str, called: &str, input: &[&str]) -> pb::NodeDef {
        let called = pb::attr_value::NameAttrList { name: called.into(), ..Default::default() };
        let f = pb::AttrValue { value: Some(Value::Func(called)), ..Default::default() };
        attr::node(name, "PartitionedCall", input, [("f", f)])
    }

    fn graph(nodes: Vec<pb::NodeDef>, functions: Vec<pb::FunctionDef>) -> pb::GraphDef {
        let library = pb::FunctionDefLibrary { function: functions, ..Default::default() };
        pb::GraphDef { node: nodes, library: Some(library).into(), ..Default::default() }
    }

    fn inlined(graph: pb::GraphDef) -> BTreeMap<String, (String, Vec<String>)> {
        inlined_but(graph, &[])
    }

    fn inlined_but(mut graph: pb::GraphDef, asked: &[&str]) -> BTreeMap<String, (String, Vec<String>)> {
        inline(&mut graph, &asked.iter().map(|name| (*name).to_owned()).collect());
        graph.node.into_iter().map(|node| (node.name, (node.op, node.input))).collect()
    }

    fn node(op: &str, input: &[&str]) -> (String, Vec<String>) {
        (op.to_owned(), input.iter().map(|input| (*input).to_owned()).collect())
    }

    #[test]
    fn nested_calls_become_nodes() {
        let number = pb::AttrValue { value: Some(Value::I(2)), ..Default::default() };
        let split = attr::node("split", "Split", &["axis:output:0", "x"], [("num_split", number)]);
        let inner = function(
            "inner",
            vec![
                attr::node("axis", "Const", &[], []),
                split,
                attr::node("top", "TopKV2", &["split:output:1", "axis:output:0"], []),
            ],
            "top:indices:0",
        );
        let outer = function(
            "outer",
            vec![call("in", "inner", &["x"]), attr::node("e", "Exp", &["in:output:0", "^in"], [])],
            "e:y:0",
        );
        let nodes = vec![
            attr::node("input", "Placeholder", &[], []),
            attr::node("check", "NoOp", &[], []),
            // A name that the first choice would take.
            attr::node("call/e", "NoOp", &[], []),
            call("call", "outer", &["input:0", "^check"]),
        ];
        let found = inlined(graph(nodes, vec![outer, inner]));
        assert_eq!(found["call"], node("IdentityN", &["call_1/e", "^check"]));
        assert_eq!(found["call_1/e"], node("Exp", &["call_1/in/top:1", "^call_1/in"]));
        assert_eq!(found["call_1/in"], node("IdentityN", &["call_1/in/top:1"]));
        assert_eq!(found["call_1/in/top"], node("TopKV2", &["call_1/in/split:1", "call_1/in/axis"]));
        assert_eq!(found["call_1/in/split"], node("Split", &["call_1/in/axis", "input:0"]));
    }

    /// What a call returns may be given by a request instead.
    #[test]
    fn results_that_are_asked_for_are_taken_by_name() {
        let body = vec![attr::node("i", "Identity", &["x"], [])];
        let made = || {
            graph(
                vec![call("call", "f", &["in"]), attr::node("y", "Exp", &["call:0"], [])],
                vec![function("f", body.clone(), "i:output:0")],
            )
        };
        assert_eq!(inlined_but(made(), &["call"])["y"], node("Exp", &["call:0"]));
        assert_eq!(inlined(made())["y"], node("Exp", &["call/i"]));
    }

    #[test]
    fn asserts_still_run() {
        let nodes = vec![attr::node("a", "Assert", &["x"], []), attr::node("i", "Identity", &["x"], [])];
        let found = inlined(graph(vec![call("call", "f", &["in"])], vec![function("f", nodes, "i:output:0")]));
        assert_eq!(found["call"], node("IdentityN", &["call/i", "^call/a"]));
    }

    /// A call begins when all is there; nodes that only compute need not wait for it.
    #[test]
    fn effects_wait_for_what_the_call_waits_for() {
        let acting = function(
            "acting",
            vec![attr::node("a", "Assert", &["x"], []), attr::node("i", "Identity", &["x"], [])],
            "i:output:0",
        );
        let computing = function("computing", vec![attr::node("e", "Exp", &["x"], [])], "e:y:0");
        let outer = function("outer", vec![call("c", "computing", &["x"]), call("d", "acting", &["x"])], "d:output:0");
        let nodes = vec![call("call", "outer", &["in:1", "^check"])];
        let found = inlined(graph(nodes, vec![outer, acting, computing]));
        assert_eq!(found["call/c/e"], node("Exp", &["in:1"]));
        assert_eq!(found["call/d/a"], node("Assert", &["in:1", "^check", "^in"]));
        assert_eq!(found["call/d/i"], node("Identity", &["in:1"]));
    }

    /// Functions with state, with unknown ops, and functions that call themselves stay calls.
    #[test]
    fn other_calls_are_left() {
        for op in ["RandomUniform", "VarHandleOp", "MyOp", "If"] {
            let body = vec![attr::node("a", op, &[], []), attr::node("i", "Identity", &["x"], [])];
            let found = inlined(graph(vec![call("call", "f", &["in"])], vec![function("f", body, "i:output:0")]));
            assert_eq!(found["call"].0, "PartitionedCall", "{op}");
        }
        let mut marked = call("call", "f", &["in"]);
        marked.attr.insert("_noinline".into(), attr::boolean(true));
        let body = || vec![attr::node("i", "Identity", &["x"], [])];
        assert_eq!(
            inlined(graph(vec![marked], vec![function("f", body(), "i:output:0")]))["call"].0,
            "PartitionedCall"
        );
        let found = inlined(graph(
            vec![call("call", "f", &["in"])],
            vec![function("f", vec![call("c", "f", &["x"])], "c:output:0")],
        ));
        assert_eq!(found.len(), MAX_DEPTH + 1);
        for (input, result) in [(vec![], "i:output:0"), (vec!["in"], "nothing:output:0"), (vec!["in"], "i:other:0")] {
            let found = inlined(graph(vec![call("call", "f", &input)], vec![function("f", body(), result)]));
            assert_eq!(found["call"].0, "PartitionedCall", "{result}");
        }
    }

    /// TensorFlow chooses among functions that implement the same.
    #[test]
    fn calls_are_left_where_there_is_a_choice() {
        let implementing = |name: &str, what: &[u8]| {
            let mut function = function(name, vec![attr::node("e", "Exp", &["x"], [])], "e:y:0");
            let what = pb::AttrValue { value: Some(Value::S(what.to_vec().into())), ..Default::default() };
            function.attr.insert(IMPLEMENTS.into(), what);
            function
        };
        for (other, op) in [(&b"lstm_1"[..], "PartitionedCall"), (b"lstm_2", "IdentityN"), (b"", "IdentityN")] {
            let functions = vec![implementing("f", b"lstm_1"), implementing("g", other)];
            assert_eq!(inlined(graph(vec![call("call", "f", &["in"])], functions))["call"].0, op);
        }
    }

    /// Inputs decide there what runs, and how often; and a second copy of a loop would have the same frame.
    #[test]
    fn calls_around_and_in_control_flow_of_tensorflow_1_are_left() {
        for op in ["Enter", "RefEnter", "Switch"] {
            let body = vec![attr::node("a", op, &["x"], []), attr::node("i", "Identity", &["x"], [])];
            let found = inlined(graph(vec![call("call", "f", &["in"])], vec![function("f", body, "i:output:0")]));
            assert_eq!(found["call"].0, "PartitionedCall", "{op}");
            let body = vec![attr::node("i", "Identity", &["x"], [])];
            let nodes = vec![attr::node("a", op, &["in"], []), call("call", "f", &["a"])];
            assert_eq!(inlined(graph(nodes, vec![function("f", body, "i:output:0")]))["call"].0, "PartitionedCall");
        }
    }

    /// A function that gives something after a check.
    #[test]
    fn checks_still_run() {
        let body = vec![attr::node("c", "EnsureShape", &["x"], []), attr::node("i", "Identity", &["x"], [])];
        let mut checked = function("f", body, "i:output:0");
        checked.control_ret.insert("c".into(), "c".into());
        assert_eq!(
            inlined(graph(vec![call("call", "f", &["in"])], vec![checked]))["call"],
            node("IdentityN", &["call/i", "^call/c"])
        );
    }
}
