//! A graph's nodes and functions, found in its serialized form: names, ops, and who calls whom.
//!
//! Nothing is decoded or copied: a graph takes about fifty bytes a node here, against some thousands decoded. What else a scan
//! asks of a node, it reads in the node's bytes.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use tf_persist_proto::wire::{Value, fields};

use super::table;
use crate::saved_model::is_known_op;

/// The number of the body that is the graph's top.
pub(super) const TOP: usize = 0;

/// A node in its serialized form.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'a> {
    pub(super) name: &'a str,
    pub(super) op: &'a str,
    bytes: &'a [u8],
}

/// The graph's top, or a function.
#[derive(Debug, Default)]
pub(super) struct Body<'a> {
    /// The function's name; empty for the top.
    pub(super) name: &'a str,
    pub(super) nodes: Vec<Node<'a>>,
    /// The nodes that a scan has something to say of.
    pub(super) suspects: Vec<usize>,
    /// The functions that its nodes name, with the nodes; those that its own attributes name have none.
    pub(super) calls: Vec<(Option<usize>, usize)>,
    /// Who calls it, from where.
    pub(super) callers: Vec<(usize, usize)>,
    /// Whether it may be called in ways that `callers` does not have.
    pub(super) is_ambiguous: bool,
    pub(super) arguments: Vec<&'a str>,
    pub(super) outputs: Vec<&'a str>,
    /// Whether an argument or an output stands for several tensors, so that their numbers are not those of the names.
    pub(super) has_lists: bool,
    returns: Vec<(&'a str, &'a str)>,
    places: OnceLock<HashMap<&'a str, usize>>,
}

/// A graph.
pub(super) struct Index<'a> {
    /// The top, then the functions.
    pub(super) bodies: Vec<Body<'a>>,
    functions: HashMap<&'a str, Vec<usize>>,
}

/// A function that something names.
struct Mention<'a> {
    body: usize,
    node: Option<usize>,
    name: &'a str,
    /// Whether the function says that this is what it implements.
    implements: bool,
}

impl<'a> Mention<'a> {
    fn by(body: usize, node: usize, name: &'a str) -> Self {
        Self { body, node: Some(node), name, implements: false }
    }
}

impl<'a> Index<'a> {
    /// Reads a `MetaGraphDef` that was surveyed before: its graph is field 2.
    pub(super) fn of(meta_graph: &'a [u8]) -> Self {
        let mut index = Self { bodies: vec![Body::default()], functions: HashMap::new() };
        let mut mentions = Vec::new();
        let mut gradients = Vec::new();
        for graph in messages(meta_graph, 2) {
            for (field, value) in fields(graph) {
                let Some(bytes) = value.bytes() else { continue };
                match field {
                    1 => index.bodies[TOP].add(bytes, TOP, &mut mentions),
                    2 => index.library(bytes, &mut mentions, &mut gradients),
                    _ => {}
                }
            }
        }
        for (place, body) in index.bodies.iter().enumerate().skip(1) {
            index.functions.entry(body.name).or_default().push(place);
        }
        index.shadowed(&mut mentions);
        index.connect(&mentions, &gradients);
        index
    }

    /// The bodies of this name. TensorFlow keeps one function of a name, and it is not said which.
    pub(super) fn functions(&self, name: &str) -> &[usize] {
        self.functions.get(name).map_or(&[], Vec::as_slice)
    }

    /// `FunctionDefLibrary`.
    fn library(&mut self, message: &'a [u8], mentions: &mut Vec<Mention<'a>>, gradients: &mut Vec<(&'a str, &'a str)>) {
        for (field, value) in fields(message) {
            let Some(bytes) = value.bytes() else { continue };
            match field {
                1 => {
                    let function = Body::function(bytes, self.bodies.len(), mentions);
                    self.bodies.push(function);
                }
                // `GradientDef`: whose gradient, which function.
                2 => gradients.push((text(bytes, 1), text(bytes, 2))),
                // `RegisteredGradient`: of which `_gradient_op_type`, which function.
                3 => gradients.push((text(bytes, 2), text(bytes, 1))),
                _ => {}
            }
        }
    }

    /// Functions that are called like ops of TensorFlow, which refuses them today: their nodes are calls as well.
    fn shadowed(&self, mentions: &mut Vec<Mention<'a>>) {
        let shadows: HashSet<&str> = self.functions.keys().copied().filter(|name| is_known_op(name)).collect();
        if shadows.is_empty() {
            return;
        }
        for (body, place, node) in self.nodes() {
            if shadows.contains(node.op) {
                mentions.push(Mention::by(body, place, node.op));
            }
        }
    }

    /// Every node, with its body and its place.
    fn nodes(&self) -> impl Iterator<Item = (usize, usize, &Node<'a>)> {
        let bodies = self.bodies.iter().enumerate();
        bodies.flat_map(|(body, it)| it.nodes.iter().enumerate().map(move |(place, node)| (body, place, node)))
    }

    /// Makes calls of mentions. A name stands for the functions that have it, for their gradients, and for the functions that
    /// declare to implement the same (`api_implements`): grappler's implementation selector puts one in place of another.
    fn connect(&mut self, mentions: &[Mention<'a>], gradients: &[(&'a str, &'a str)]) {
        let mut meant: HashMap<&str, Vec<usize>> = self.functions.clone();
        for (of, function) in gradients {
            let functions = self.functions.get(function).into_iter().flatten();
            meant.entry(of).or_default().extend(functions);
        }
        for mention in mentions.iter().filter(|mention| mention.implements) {
            meant.entry(mention.name).or_default().push(mention.body);
        }
        // Where a name has several meanings, a body between caller and functions keeps the calls few.
        for functions in meant.values_mut().filter(|functions| functions.len() > 1) {
            let between = self.bodies.len();
            let calls = functions.iter().map(|function| (None, *function)).collect();
            self.bodies.push(Body { calls, is_ambiguous: true, ..Body::default() });
            for function in std::mem::replace(functions, vec![between]) {
                self.bodies[function].is_ambiguous = true;
            }
        }
        for mention in mentions {
            let Some(&[callee]) = meant.get(mention.name).map(Vec::as_slice) else { continue };
            self.bodies[mention.body].calls.push((mention.node, callee));
            match mention.node {
                Some(node) => self.bodies[callee].callers.push((mention.body, node)),
                // The only one of those that implement the same is called in its own place.
                None if mention.body == callee => {}
                None => self.bodies[callee].is_ambiguous = true,
            }
        }
    }
}

impl<'a> Body<'a> {
    /// `FunctionDef`.
    fn function(message: &'a [u8], place: usize, mentions: &mut Vec<Mention<'a>>) -> Self {
        let mut body = Self::default();
        for (field, value) in fields(message) {
            let Some(bytes) = value.bytes() else { continue };
            match field {
                1 => body.signature(bytes),
                3 => body.add(bytes, place, mentions),
                4 => body.returns.push((text(bytes, 1), text(bytes, 2))),
                5 => {
                    let implements = text(bytes, 1) == "api_implements";
                    mention_texts(bytes, |name| mentions.push(Mention { body: place, node: None, name, implements }));
                }
                _ => {}
            }
        }
        body
    }

    /// `OpDef`.
    fn signature(&mut self, message: &'a [u8]) {
        for (field, value) in fields(message) {
            match (field, value) {
                (1, Value::Bytes(_)) => self.name = value.text(),
                (2 | 3, Value::Bytes(argument)) => {
                    // `number_attr` and `type_list_attr` of `ArgDef`.
                    self.has_lists |= !last(argument, 5).is_empty() || !last(argument, 6).is_empty();
                    let names = if field == 2 { &mut self.arguments } else { &mut self.outputs };
                    names.push(text(argument, 1));
                }
                _ => {}
            }
        }
    }

    /// Adds a `NodeDef`.
    fn add(&mut self, bytes: &'a [u8], body: usize, mentions: &mut Vec<Mention<'a>>) {
        let mut node = Node { name: "", op: "", bytes };
        let place = self.nodes.len();
        for (field, value) in fields(bytes) {
            match (field, value) {
                // A field of another type than its own is not that field, to protobuf neither.
                (1, Value::Bytes(_)) => node.name = value.text(),
                (2, Value::Bytes(_)) => node.op = value.text(),
                (5, Value::Bytes(entry)) => {
                    mention_functions(entry, |name| mentions.push(Mention::by(body, place, name)));
                }
                _ => {}
            }
        }
        // An op that TensorFlow does not have is a function's name or a library's op.
        if table::entry(node.op).is_some() {
            self.suspects.push(place);
        } else if !is_known_op(node.op) {
            self.suspects.push(place);
            mentions.push(Mention::by(body, place, node.op));
        }
        self.nodes.push(node);
    }

    /// The place of the node of this name.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        let places = self.places.get_or_init(|| {
            let named = self.nodes.iter().enumerate().map(|(place, node)| (node.name, place));
            named.collect()
        });
        places.get(name).copied()
    }

    /// The tensor that a function returns as its output of this number.
    pub(super) fn returned(&self, output: usize) -> Option<&'a str> {
        let name = self.outputs.get(output)?;
        self.returns.iter().rev().find(|(returned, _)| returned == name).map(|(_, tensor)| *tensor)
    }
}

impl<'a> Node<'a> {
    /// Its inputs, control inputs among them.
    pub(super) fn inputs(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        // What is no text is not an input, to protobuf neither, and must not move those behind it.
        fields(self.bytes)
            .filter(|(field, value)| *field == 3 && value.bytes().is_some())
            .map(|(_, value)| value.text())
    }

    /// The tensors it takes.
    pub(super) fn tensors(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.inputs().filter(|input| !input.starts_with('^'))
    }

    /// The `AttrValue` of this name: of several entries the last, and its parts, which protobuf makes one of.
    pub(super) fn attr(&self, name: &str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let entry = messages(self.bytes, 5).filter(|entry| text(entry, 1) == name).last().unwrap_or_default();
        messages(entry, 2)
    }

    /// Whether an attribute is a placeholder: TensorFlow puts in its place what the caller of the node's function says.
    pub(super) fn is_open(&self, name: &str) -> bool {
        self.attr(name).flat_map(fields).any(|(field, _)| field == 9)
    }

    /// The number of an attribute that is a type.
    pub(super) fn type_attr(&self, name: &str) -> Option<i64> {
        self.attr(name).flat_map(fields).filter(|(field, _)| *field == 6).last()?.1.int()
    }

    /// A text attribute.
    pub(super) fn text_attr(&self, name: &str) -> Option<&'a [u8]> {
        self.attr(name).flat_map(|value| messages(value, 2)).last()
    }

    /// An attribute that lists texts.
    pub(super) fn text_list(&self, name: &str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.attr(name).flat_map(|value| messages(value, 1)).flat_map(|list| messages(list, 2))
    }

    /// An attribute that is a tensor, in its parts.
    pub(super) fn tensor_attr(&self, name: &str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.attr(name).flat_map(|value| messages(value, 8))
    }

    /// The functions that an attribute names: one, or a list of them.
    pub(super) fn functions(&self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.attr(name).flat_map(|value| {
            let listed = messages(value, 1).flat_map(|list| messages(list, 9));
            messages(value, 10).chain(listed).map(|function| text(function, 1))
        })
    }
}

/// Calls `found` with every function that an attribute's map entry names, and with the kind of gradient a node asks for.
fn mention_functions<'a>(entry: &'a [u8], mut found: impl FnMut(&'a str)) {
    // The key may stand behind the value.
    let key = text(entry, 1);
    // How deep functions are given as attributes of functions is the file's choice.
    let mut todo: Vec<&[u8]> = messages(entry, 2).collect();
    while let Some(attr) = todo.pop() {
        for (field, value) in fields(attr) {
            match (field, value) {
                (1, Value::Bytes(list)) => {
                    messages(list, 9).for_each(|function| mention(function, &mut found, &mut todo));
                }
                (2, Value::Bytes(_)) if key == "_gradient_op_type" => found(value.text()),
                (10, Value::Bytes(function)) => mention(function, &mut found, &mut todo),
                _ => {}
            }
        }
    }
}

/// `NameAttrList`: a function's name, and attributes for it.
fn mention<'a>(function: &'a [u8], found: &mut impl FnMut(&'a str), todo: &mut Vec<&'a [u8]>) {
    found(text(function, 1));
    todo.extend(messages(function, 2).flat_map(|entry| messages(entry, 2)));
}

/// Calls `found` with what a function's own attribute names: the functions of its gradient, or what it implements.
fn mention_texts<'a>(entry: &'a [u8], mut found: impl FnMut(&'a str)) {
    if ["api_implements", "forward_function_name", "backward_function_name"].contains(&text(entry, 1)) {
        messages(entry, 2).flat_map(fields).filter(|(field, _)| *field == 2).for_each(|(_, value)| found(value.text()));
    }
    mention_functions(entry, found);
}

/// The messages, texts or bytes in a field.
pub(super) fn messages(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    fields(message).filter(move |(field, _)| *field == number).filter_map(|(_, value)| value.bytes())
}

/// The last content of a field.
fn last(message: &[u8], number: u32) -> &[u8] {
    messages(message, number).last().unwrap_or_default()
}

/// The last text of a field.
fn text(message: &[u8], number: u32) -> &str {
    std::str::from_utf8(last(message, number)).unwrap_or_default()
}
