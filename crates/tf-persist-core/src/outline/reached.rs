//! What an op needs at the top of a graph.

use std::collections::{HashMap, HashSet};

use tf_persist_proto::wire::fields;

/// The nodes of a serialized `MetaGraphDef` that these need, they among them; calls of functions are not followed.
pub(crate) fn reached<'b>(bytes: &'b [u8], from: impl IntoIterator<Item = &'b str>) -> HashSet<&'b str> {
    let mut inputs: HashMap<&str, Vec<&str>> = HashMap::new();
    // The graph is field 2 and its nodes field 1, each with its name in field 1 and an input in each field 3.
    let graphs = fields(bytes).filter(|(field, _)| *field == 2).filter_map(|(_, graph)| graph.bytes());
    let nodes = graphs.flat_map(fields).filter(|(field, _)| *field == 1).filter_map(|(_, node)| node.bytes());
    for node in nodes {
        let typed =
            |wanted: u32| fields(node).filter(move |(field, value)| *field == wanted && value.bytes().is_some());
        let texts = |wanted: u32| typed(wanted).map(|(_, text)| text.text());
        inputs.insert(texts(1).last().unwrap_or_default(), texts(3).map(node_of).collect());
    }
    let mut next: Vec<&str> = from.into_iter().map(node_of).collect();
    let mut seen = HashSet::new();
    while let Some(name) = next.pop() {
        if seen.insert(name) {
            next.extend(inputs.get(name).into_iter().flatten());
        }
    }
    seen
}

/// The node of an input, a tensor or an op.
pub(crate) fn node_of(name: &str) -> &str {
    let name = name.trim_start_matches('^');
    name.split(':').next().unwrap_or(name)
}
