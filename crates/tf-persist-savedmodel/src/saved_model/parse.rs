//! Reading a serialized `MetaGraphDef` without decoding its graph.

use std::collections::BTreeMap;

use tf_persist_proto::bytes::Bytes;
use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::wire::{Value, fields};

use super::graph_types;
use super::meta_graph::{AssetFile, Contents, InitOp, InitSource, Saver, VariableNode};
use super::op_counter::Counter;
use super::signature::{SignatureDef, is_operation};
use crate::graph::view::GraphView;
use crate::ops::variable_kind;

/// The collection of TensorFlow 1 for assets, today `asset_file_def`.
const ASSETS_COLLECTION: &str = "saved_model_assets";

/// The collection of operations that fill tables.
const TABLE_INITIALIZER: &str = "table_initializer";

/// The most tags, collections, init ops, tables and assets of TensorFlow 1, each. Real models have tens; a hostile file
/// could have one every two bytes.
const MAX_NAMES: usize = 100_000;

/// Reads a `MetaGraphDef` that was surveyed before. As in protobuf, the later one of a repeated scalar counts, and
/// repeated messages are merged.
///
/// # Errors
/// If a signature cannot be decoded, or the model has far more of something than any real model.
pub(super) fn parse_contents(file: &Bytes, budget: &mut usize) -> Result<Contents, String> {
    let mut contents = Contents::default();
    let mut counter = Counter::default();
    let mut collections = Vec::new();
    let mut signatures = BTreeMap::new();
    let mut init_signature = None;
    for (field, value) in fields(file) {
        let Some(bytes) = value.bytes() else { continue };
        match field {
            1 => meta_info(bytes, &mut contents)?,
            3 => saver(bytes, contents.saver.get_or_insert_default()),
            4 => {
                collections.push(entry(bytes));
                check_count("collections", collections.len())?;
            }
            5 => {
                let (name, message) = signature(file, bytes);
                if name == InitSource::Signature.name() {
                    init_signature = init_operation(&message);
                }
                let proto = decode_signature(name, &message)?;
                signatures.insert(name, proto);
            }
            6 => contents.assets.push(asset(bytes)),
            7 => object_graph(bytes, &mut contents),
            _ => {}
        }
    }
    graph(GraphView::new(file), &mut contents, &mut counter)?;
    (contents.ops, contents.calls) = counter.finish();
    for (name, proto) in signatures {
        let signature = SignatureDef::from_proto(name, &proto, budget);
        let kind = if is_operation(name, &proto) { &mut contents.operations } else { &mut contents.signatures };
        kind.push(signature);
    }
    graph_types::settle(file, contents.signatures.iter_mut().chain(&mut contents.operations));
    if let Some(operation) = init_signature {
        contents.init_ops.push(InitOp { source: InitSource::Signature, operation });
    }
    for (name, parts) in collections {
        contents.collections.push(name.to_owned());
        let source = [InitSource::MainOp, InitSource::LegacyInitOp].into_iter().find(|source| source.name() == name);
        // One more than allowed, so that the count exceeds the limit.
        let names = node_list(&parts).take(MAX_NAMES + 1);
        if let Some(source) = source {
            contents.init_ops.extend(names.map(|operation| InitOp { source, operation }));
        } else if name == TABLE_INITIALIZER {
            contents.table_initializers = names.collect();
        } else if name == ASSETS_COLLECTION && contents.assets.is_empty() {
            contents.assets = any_list(&parts).map(asset).take(MAX_NAMES + 1).collect();
        }
        check_count("init ops", contents.init_ops.len())?;
        check_count("tables", contents.table_initializers.len())?;
    }
    check_count("assets", contents.assets.len())?;
    contents.init_ops.sort_by_key(|init| init.source);
    contents.collections.sort();
    contents.collections.dedup();
    Ok(contents)
}

/// The signatures of a `MetaGraphDef` that was surveyed before.
pub(super) fn signature_defs(file: &Bytes) -> Result<BTreeMap<String, pb::SignatureDef>, String> {
    let entries = fields(file).filter(|(field, _)| *field == 5).filter_map(|(_, value)| value.bytes());
    let decode = |entry| {
        let (name, message) = signature(file, entry);
        decode_signature(name, &message).map(|proto| (name.to_owned(), proto))
    };
    entries.map(decode).collect()
}

/// An entry of the map of signatures: its name, and its message in one piece.
fn signature<'a>(file: &Bytes, entry: &'a [u8]) -> (&'a str, Bytes) {
    let (name, parts) = self::entry(entry);
    let message = match *parts {
        [part] => file.slice_ref(part),
        _ => parts.concat().into(),
    };
    (name, message)
}

fn decode_signature(name: &str, message: &Bytes) -> Result<pb::SignatureDef, String> {
    tf_persist_proto::parse(message).map_err(|error| format!("signature `{}`: {error}", name.escape_debug()))
}

/// `MetaInfoDef`.
fn meta_info(message: &[u8], contents: &mut Contents) -> Result<(), String> {
    for (field, value) in fields(message) {
        match (field, value) {
            // As in protobuf, a field of another wire type is not that field: TensorFlow would see other tags.
            (4, Value::Bytes(_)) => {
                contents.tags.push(value.text().to_owned());
                check_count("tags", contents.tags.len())?;
            }
            (5, Value::Bytes(_)) => contents.tensorflow_version = value.text().to_owned(),
            (6, Value::Bytes(_)) => contents.git_version = value.text().to_owned(),
            (7, Value::Varint(_)) => contents.stripped_default_attrs = value.int().unwrap_or_default() != 0,
            _ => {}
        }
    }
    Ok(())
}

/// Checks a count against the limit.
fn check_count(what: &str, count: usize) -> Result<(), String> {
    if count <= MAX_NAMES { Ok(()) } else { Err(format!("it has more than {MAX_NAMES} {what}")) }
}

fn graph<'a>(graph: GraphView<'a>, contents: &mut Contents, counter: &mut Counter<'a>) -> Result<(), String> {
    for node in graph.nodes() {
        contents.nodes += 1;
        counter.node(node.op)?;
        if variable_kind(node.op).is_some() {
            contents.variable_nodes.push(VariableNode { name: node.name.to_owned(), op: node.op.to_owned() });
        }
    }
    for function in graph.functions() {
        contents.functions += 1;
        counter.function(function.name);
        for node in function.nodes() {
            contents.function_nodes += 1;
            counter.node(node.op)?;
        }
    }
    contents.producer = graph.producer().into();
    Ok(())
}

/// `SaverDef`.
fn saver(message: &[u8], saver: &mut Saver) {
    for (field, value) in fields(message) {
        match (field, value) {
            (1, Value::Bytes(_)) => saver.filename_tensor = value.text().to_owned(),
            (2, Value::Bytes(_)) => saver.save_tensor = value.text().to_owned(),
            (3, Value::Bytes(_)) => saver.restore_op = value.text().to_owned(),
            (5, Value::Varint(sharded)) => saver.sharded = sharded != 0,
            (7, Value::Varint(version)) => saver.version = version.cast_signed(),
            _ => {}
        }
    }
}

/// `AssetFileDef`: `tensor_info` is field 1, whose name is field 1, and the file's name is field 2.
fn asset(message: &[u8]) -> AssetFile {
    let mut asset = AssetFile { tensor: String::new(), filename: String::new() };
    for (field, value) in fields(message) {
        match (field, value) {
            (1, Value::Bytes(info)) => {
                let names = fields(info).filter(|(field, name)| *field == 1 && name.bytes().is_some());
                if let Some((_, name)) = names.last() {
                    asset.tensor = name.text().to_owned();
                }
            }
            (2, Value::Bytes(_)) => asset.filename = value.text().to_owned(),
            _ => {}
        }
    }
    asset
}

/// `SavedObjectGraph`: objects are field 1, and an object's slot variables field 3.
fn object_graph(message: &[u8], contents: &mut Contents) {
    let objects = fields(message).filter(|(field, _)| *field == 1).filter_map(|(_, value)| value.bytes());
    let (mut nodes, mut slots) = (0, 0);
    for object in objects {
        nodes += 1;
        slots += fields(object).filter(|(field, _)| *field == 3).count() as u64;
    }
    *contents.object_graph_nodes.get_or_insert_default() += nodes;
    contents.slot_variables += slots;
}

/// An entry of a map from text to a message, whose parts, one after the other, are the message.
fn entry(message: &[u8]) -> (&str, Vec<&[u8]>) {
    let (mut key, mut parts): (&str, Vec<&[u8]>) = ("", Vec::new());
    for (field, value) in fields(message) {
        match (field, value) {
            (1, Value::Bytes(_)) => key = value.text(),
            (2, Value::Bytes(bytes)) => parts.push(bytes),
            _ => {}
        }
    }
    (key, parts)
}

/// The operation that TensorFlow runs for the `SignatureDef` `__saved_model_init_op`: the name (field 1) of the output
/// (field 2) with the same key, else of the first one, which TensorFlow refuses. It ignores the rest of the signature.
fn init_operation(signature: &[u8]) -> Option<String> {
    let mut outputs = BTreeMap::new();
    for (_, value) in fields(signature).filter(|(field, _)| *field == 2) {
        let (key, parts) = entry(value.bytes().unwrap_or_default());
        let names = parts.into_iter().flat_map(fields).filter(|(field, name)| *field == 1 && name.bytes().is_some());
        outputs.insert(key, names.last().map_or("", |(_, name)| name.text()));
    }
    let named = outputs.get(InitSource::Signature.name()).or_else(|| outputs.values().next());
    named.map(|operation| (*operation).to_owned())
}

/// The names in a `CollectionDef` that is a `NodeList`: field 1, whose names are field 1.
fn node_list(parts: &[&[u8]]) -> impl Iterator<Item = String> {
    list(parts, 1).map(|value| value.text().to_owned())
}

/// The messages in a `CollectionDef` that is an `AnyList`: field 5, whose `Any`s are field 1, whose content is field 2.
fn any_list<'a>(parts: &[&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
    list(parts, 5).filter_map(|value| {
        let content = fields(value.bytes()?).filter(|(field, _)| *field == 2).last();
        content.and_then(|(_, content)| content.bytes())
    })
}

fn list<'a>(parts: &[&'a [u8]], kind: u32) -> impl Iterator<Item = Value<'a>> {
    let lists = parts
        .iter()
        .copied()
        .flat_map(fields)
        .filter(move |(field, _)| *field == kind)
        .filter_map(|(_, list)| list.bytes());
    lists.flat_map(fields).filter(|(field, value)| *field == 1 && value.bytes().is_some()).map(|(_, value)| value)
}
