//! Graphs whose nodes and functions are collected once, for code that visits them many times.

use std::collections::{BTreeMap, HashMap};

use super::{ArgumentView, FunctionView, GraphView, NodeView};

/// The nodes and functions of a graph, in the order of the file.
#[derive(Debug, Default)]
pub(crate) struct IndexedGraph<'a> {
    pub(crate) nodes: Vec<NodeView<'a>>,
    pub(crate) functions: Vec<IndexedFunction<'a>>,
}

/// A function and its nodes.
#[derive(Debug)]
pub(crate) struct IndexedFunction<'a> {
    pub(crate) name: &'a str,
    pub(crate) inputs: Vec<ArgumentView<'a>>,
    pub(crate) outputs: Vec<ArgumentView<'a>>,
    pub(crate) nodes: Vec<NodeView<'a>>,
    /// The tensor of each output.
    pub(crate) returns: HashMap<&'a str, &'a str>,
    /// The nodes that always run.
    pub(crate) control_returns: Vec<&'a str>,
    /// What it implements (`api_implements`); empty if nothing. Grappler may replace it by another function that
    /// implements the same.
    pub(crate) implements: &'a str,
}

impl<'a> IndexedGraph<'a> {
    /// The graph of a serialized `MetaGraphDef`.
    pub(crate) fn new(meta_graph: &'a [u8]) -> Self {
        let graph = GraphView::new(meta_graph);
        Self { nodes: graph.nodes().collect(), functions: graph.functions().map(IndexedFunction::new).collect() }
    }
}

impl<'a> IndexedFunction<'a> {
    fn new(function: FunctionView<'a>) -> Self {
        let control_returns: BTreeMap<&str, &str> = function.control_returns().collect();
        Self {
            name: function.name,
            inputs: function.inputs().collect(),
            outputs: function.outputs().collect(),
            nodes: function.nodes().collect(),
            returns: function.returns().collect(),
            control_returns: control_returns.into_values().collect(),
            implements: function.attr("api_implements").and_then(|attr| attr.text()).unwrap_or_default(),
        }
    }
}
