//! Attributes of nodes that this TensorFlow does not know.

use std::collections::BTreeSet;
use std::fmt;

use super::missing::KnownOps;
use super::{MetaGraph, SavedModel, printable};
use crate::graph::view::{FunctionView, GraphView};
use crate::ops::is_known_attribute;

/// The most different ones that are reported.
const TOLD: usize = 100;

/// An attribute that this TensorFlow does not know. It runs the op without it, and only logs a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownAttribute {
    /// The op.
    pub op: String,
    /// The attribute.
    pub attribute: String,
    /// The first node that has it.
    pub node: String,
}

impl fmt::Display for UnknownAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [attribute, op, node] = [&self.attribute, &self.op, &self.node].map(|text| printable(text));
        write!(f, "the attribute `{attribute}` of the op `{op}` (node `{node}`)")
    }
}

impl SavedModel {
    /// The first hundred attributes of a meta graph's nodes, functions included, that their ops do not have. Attributes
    /// that begin with `_` are notes of tools, which any node may have. Without `ops`, those of TensorFlow
    /// [`OPS_VERSION`](super::OPS_VERSION) are meant.
    #[doc(hidden)]
    pub fn unknown_attributes(&self, meta_graph: &MetaGraph, ops: Option<&KnownOps>) -> Vec<UnknownAttribute> {
        let is_unknown = |op: &str, attribute: &str| match ops {
            None => is_known_attribute(op, attribute) == Some(false),
            Some(ops) => ops.get(op).is_some_and(|known| !known.contains(attribute)),
        };
        let (mut seen, mut unknown) = (BTreeSet::new(), Vec::new());
        let graph = GraphView::new(self.meta_graph_bytes(meta_graph));
        for node in graph.nodes().chain(graph.functions().flat_map(FunctionView::nodes)) {
            for attr in node.attrs() {
                if unknown.len() >= TOLD {
                    return unknown;
                }
                let name = attr.name();
                let is_note = name.starts_with('_');
                if !is_note && is_unknown(node.op, name) && seen.insert((node.op, name)) {
                    let [op, attribute, node] = [node.op, name, node.name].map(str::to_owned);
                    unknown.push(UnknownAttribute { op, attribute, node });
                }
            }
        }
        unknown
    }
}
