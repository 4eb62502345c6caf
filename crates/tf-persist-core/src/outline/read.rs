//! The fields of graphs, nodes and functions.

use tf_persist_proto::wire::{Value, fields};

use super::{Argument, Function, Graph, Node};

/// `MetaGraphDef.graph_def`. A message that comes twice is one.
pub(super) fn graph(meta_graph: &[u8]) -> Graph<'_> {
    let mut graph = Graph::default();
    for message in messages(meta_graph, 2) {
        for (field, value) in fields(message) {
            match (field, value) {
                (1, Value::Bytes(bytes)) => graph.nodes.push(node(bytes)),
                (2, Value::Bytes(library)) => graph.functions.extend(messages(library, 1).map(function)),
                _ => {}
            }
        }
    }
    graph
}

/// `NodeDef`.
fn node(message: &[u8]) -> Node<'_> {
    let mut node = Node::default();
    // To protobuf, a field of another type than its own is not that field.
    for (field, value) in fields(message).filter(|(_, value)| value.bytes().is_some()) {
        match field {
            1 => node.name = value.text(),
            2 => node.op = value.text(),
            3 => node.inputs.push(value.text()),
            4 => node.device = value.text(),
            5 => node.attrs.push(entry(value)),
            _ => {}
        }
    }
    node
}

/// `FunctionDef`.
fn function(message: &[u8]) -> Function<'_> {
    let mut function = Function::default();
    for (field, value) in fields(message) {
        match field {
            1 => {
                for (field, value) in fields(value.bytes().unwrap_or_default()) {
                    match field {
                        1 => function.name = value.text(),
                        2 => function.inputs.push(argument(value)),
                        3 => function.outputs.push(argument(value)),
                        _ => {}
                    }
                }
            }
            3 => function.nodes.push(node(value.bytes().unwrap_or_default())),
            4 => {
                let (name, tensor) = entry(value);
                function.returns.insert(name, std::str::from_utf8(tensor).unwrap_or_default());
            }
            5 => {
                if let ("api_implements", what) = entry(value) {
                    let text = fields(what).filter(|(field, _)| *field == 2).last();
                    function.implements = text.map_or("", |(_, text)| text.text());
                }
            }
            6 => function.control_returns.push(std::str::from_utf8(entry(value).1).unwrap_or_default()),
            _ => {}
        }
    }
    function
}

/// `OpDef.ArgDef`.
fn argument(value: Value<'_>) -> Argument<'_> {
    let mut argument = Argument::default();
    for (field, value) in fields(value.bytes().unwrap_or_default()) {
        match field {
            1 => argument.name = value.text(),
            3 => argument.dtype = value.int().unwrap_or_default(),
            4..=6 => argument.of[field as usize - 4] = value.text(),
            16 => argument.is_ref = value.int().unwrap_or_default() != 0,
            _ => {}
        }
    }
    argument
}

/// An entry of a map with texts for keys.
pub(crate) fn entry(value: Value<'_>) -> (&str, &[u8]) {
    let (mut key, mut content): (&str, &[u8]) = ("", &[]);
    for (field, value) in fields(value.bytes().unwrap_or_default()) {
        match field {
            1 => key = value.text(),
            2 => content = value.bytes().unwrap_or_default(),
            _ => {}
        }
    }
    (key, content)
}

/// The names of functions in an `AttrValue`: of `func`, which is field 10, and of `list.func`, field 9 of field 1. What stands in
/// their attributes is theirs.
pub(super) fn functions_in<'a>(attr: &'a [u8], names: &mut Vec<&'a str>) {
    let mut name = |function: &'a [u8]| {
        let name = fields(function).filter(|(field, _)| *field == 1).last();
        names.extend(name.map(|(_, name)| name.text()));
    };
    messages(attr, 10).for_each(&mut name);
    messages(attr, 1).flat_map(|list| messages(list, 9)).for_each(name);
}

/// The messages in a field.
pub(super) fn messages(message: &[u8], wanted: u32) -> impl Iterator<Item = &[u8]> {
    fields(message).filter(move |(field, _)| *field == wanted).filter_map(|(_, value)| value.bytes())
}
