//! Attributes of nodes that the ops of the TensorFlow at hand do not have.

use std::collections::BTreeSet;
use std::fmt;

use tf_persist_proto::wire::fields;

use super::missing::KnownOps;
use super::ops::is_known_attribute;
use super::{MetaGraph, SavedModel, printable};

/// So many different ones are told.
const TOLD: usize = 100;

/// An attribute that this TensorFlow does not know. It runs the op without, and says so in its log only.
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
    /// The attributes of a meta graph's nodes, functions included, that ops do not have; the first hundred. Those that begin with `_`
    /// are notes of tools, which any node may have. Without `ops`, TensorFlow [`OPS_VERSION`](super::OPS_VERSION) is meant.
    pub(crate) fn unknown_attributes(&self, meta_graph: &MetaGraph, ops: Option<&KnownOps>) -> Vec<UnknownAttribute> {
        let is_unknown = |op: &str, attribute: &str| match ops {
            None => is_known_attribute(op, attribute) == Some(false),
            Some(ops) => ops.get(op).is_some_and(|known| !known.contains(attribute)),
        };
        let bytes = &self.bytes()[meta_graph.range()];
        let (mut seen, mut unknown) = (BTreeSet::new(), Vec::new());
        let graphs = fields(bytes).filter(|(field, _)| *field == 2).filter_map(|(_, graph)| graph.bytes());
        for (field, value) in graphs.flat_map(fields) {
            let Some(bytes) = value.bytes() else { continue };
            match field {
                1 => node(bytes, &is_unknown, &mut seen, &mut unknown),
                // The library, whose functions are field 1, whose nodes are field 3.
                2 => {
                    let functions = fields(bytes).filter(|(field, _)| *field == 1);
                    let nodes = functions.filter_map(|(_, function)| function.bytes()).flat_map(fields);
                    let nodes = nodes.filter(|(field, _)| *field == 3).filter_map(|(_, node)| node.bytes());
                    nodes.for_each(|bytes| node(bytes, &is_unknown, &mut seen, &mut unknown));
                }
                _ => {}
            }
            if unknown.len() >= TOLD {
                break;
            }
        }
        unknown
    }
}

/// `NodeDef`: name, op, and attributes in field 5, a map.
fn node<'a>(
    bytes: &'a [u8],
    is_unknown: &impl Fn(&str, &str) -> bool,
    seen: &mut BTreeSet<(&'a str, &'a str)>,
    unknown: &mut Vec<UnknownAttribute>,
) {
    // To protobuf, a field of another type than its own is not that field.
    let typed = || fields(bytes).filter(|(_, value)| value.bytes().is_some());
    let text = |wanted: u32| typed().filter(|(field, _)| *field == wanted).last().map_or("", |(_, it)| it.text());
    let op = text(2);
    for (_, entry) in typed().filter(|(field, _)| *field == 5) {
        let key = fields(entry.bytes().unwrap_or_default()).find(|(field, _)| *field == 1);
        let key = key.map_or("", |(_, key)| key.text());
        if key.starts_with('_') || !is_unknown(op, key) || unknown.len() >= TOLD || !seen.insert((op, key)) {
            continue;
        }
        unknown.push(UnknownAttribute { op: op.to_owned(), attribute: key.to_owned(), node: text(1).to_owned() });
    }
}
