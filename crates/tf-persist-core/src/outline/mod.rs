//! Graphs as they stand in a model's file, read field by field, without decoding them.
//!
//! Source: `tensorflow/core/framework/graph.proto`, `node_def.proto`, `function.proto` and `op_def.proto`.

mod reached;
mod read;
mod run;

use std::collections::HashMap;

pub(crate) use reached::{node_of, reached};
pub(crate) use read::entry;
pub(crate) use run::find_run;

/// A `GraphDef`.
#[derive(Debug, Default)]
pub(crate) struct Graph<'a> {
    pub(crate) nodes: Vec<Node<'a>>,
    pub(crate) functions: Vec<Function<'a>>,
}

/// A `NodeDef`.
#[derive(Debug, Default)]
pub(crate) struct Node<'a> {
    pub(crate) name: &'a str,
    pub(crate) op: &'a str,
    /// `node`, `node:1`, `node:output:0` in functions, and `^node` for control.
    pub(crate) inputs: Vec<&'a str>,
    pub(crate) device: &'a str,
    /// Serialized `AttrValue`s by name, in the order of the file.
    pub(crate) attrs: Vec<(&'a str, &'a [u8])>,
}

/// A `FunctionDef`.
#[derive(Debug, Default)]
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    pub(crate) inputs: Vec<Argument<'a>>,
    pub(crate) outputs: Vec<Argument<'a>>,
    pub(crate) nodes: Vec<Node<'a>>,
    /// Which tensor of a node each output is.
    pub(crate) returns: HashMap<&'a str, &'a str>,
    /// The nodes that run whatever is asked for.
    pub(crate) control_returns: Vec<&'a str>,
    /// What it implements (`api_implements`), or nothing: grappler may put a function in place of another that implements the same.
    pub(crate) implements: &'a str,
}

/// An input or output of a function (`OpDef.ArgDef`).
#[derive(Debug, Default)]
pub(crate) struct Argument<'a> {
    pub(crate) name: &'a str,
    pub(crate) dtype: i64,
    /// The names of the attributes that say its type or number, and whether it is a reference.
    pub(crate) of: [&'a str; 3],
    pub(crate) is_ref: bool,
}

impl<'a> Graph<'a> {
    /// The graph of a serialized `MetaGraphDef`, which was walked over when its file was opened.
    pub(crate) fn of_meta_graph(message: &'a [u8]) -> Self {
        read::graph(message)
    }
}

impl<'a> Node<'a> {
    /// A serialized `AttrValue`; of two with one name, the later one.
    pub(crate) fn attr(&self, name: &str) -> Option<&'a [u8]> {
        self.attrs.iter().rev().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }

    /// The functions that it calls.
    pub(crate) fn calls(&self) -> Vec<&'a str> {
        let mut names = vec![self.op];
        self.attrs.iter().for_each(|(_, value)| read::functions_in(value, &mut names));
        names
    }
}

/// A node's input: the node's name, and what is taken from it, `None` for control.
pub(crate) fn source(input: &str) -> (&str, Option<&str>) {
    match input.strip_prefix('^') {
        Some(name) => (name, None),
        None => input.split_once(':').map_or((input, Some("0")), |(name, output)| (name, Some(output))),
    }
}
