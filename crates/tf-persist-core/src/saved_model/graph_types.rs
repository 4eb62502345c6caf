//! The dtypes that the graph gives the tensors of signatures. Signatures are known to declare others, or none.

use std::collections::HashMap;

use tf_persist_proto::wire::{Reader, Value, fields};

use super::signature::{SignatureDef, TensorInfo, TensorKind};
use super::tensor_name::parse_tensor_name;
use crate::dtype::DType;

/// The dtypes of a node's outputs.
enum Types {
    /// Of its only output.
    One(DType),
    /// Of each.
    Each(Vec<DType>),
}

/// Where a node says what its outputs are.
enum Place {
    /// An attribute that is a dtype.
    Attr(&'static str),
    /// An attribute that lists dtypes.
    List(&'static str),
}

/// Gives the tensors of signatures the dtypes that the nodes of a serialized `MetaGraphDef` say they have. Nodes of other ops than
/// those that signatures commonly name say nothing here: of their tensors the signature is believed.
pub(super) fn settle<'s>(meta_graph: &[u8], signatures: impl Iterator<Item = &'s mut SignatureDef>) {
    let mut infos: Vec<&mut TensorInfo> = signatures
        .flat_map(|signature| signature.inputs.iter_mut().chain(&mut signature.outputs))
        .map(|(_, info)| info)
        .collect();
    let mut known: HashMap<String, Option<Types>> = HashMap::new();
    for name in infos.iter().flat_map(|info| info.tensor_names()) {
        if let Ok((node, _)) = parse_tensor_name(name) {
            known.insert(node.to_owned(), None);
        }
    }
    let graphs = fields(meta_graph).filter(|(field, _)| *field == 2).filter_map(|(_, graph)| graph.bytes());
    for node in graphs.flat_map(fields).filter(|(field, _)| *field == 1).filter_map(|(_, node)| node.bytes()) {
        let names = fields(node).filter(|(field, value)| *field == 1 && value.bytes().is_some());
        let name = names.last().map_or("", |(_, name)| name.text());
        if let Some(types) = known.get_mut(name) {
            *types = types_of(node);
        }
    }
    infos.iter_mut().for_each(|info| apply(info, &known));
}

/// Gives a tensor and what it is made of their dtypes.
fn apply(info: &mut TensorInfo, known: &HashMap<String, Option<Types>>) {
    let tensor = match &mut info.kind {
        TensorKind::Dense { name } => name,
        TensorKind::CooSparse { values, .. } => values,
        TensorKind::Composite { components, .. } => return components.iter_mut().for_each(|part| apply(part, known)),
    };
    let Ok((node, output)) = parse_tensor_name(tensor) else { return };
    let dtype = match known.get(node) {
        Some(Some(Types::One(dtype))) if output == 0 => Some(*dtype),
        Some(Some(Types::Each(dtypes))) => dtypes.get(output as usize).copied(),
        _ => None,
    };
    info.dtype = dtype.unwrap_or(info.dtype);
}

/// What a `NodeDef` says of its outputs: the op is field 2, and an entry of its attributes field 5.
fn types_of(node: &[u8]) -> Option<Types> {
    let op = fields(node).filter(|(field, value)| *field == 2 && value.bytes().is_some()).last()?.1.text();
    let place = match op {
        "Placeholder"
        | "PlaceholderV2"
        | "PlaceholderWithDefault"
        | "Const"
        | "ReadVariableOp"
        | "Variable"
        | "VariableV2" => Place::Attr("dtype"),
        "Identity" | "StopGradient" | "PreventGradient" | "EnsureShape" | "Snapshot" => Place::Attr("T"),
        "Cast" => Place::Attr("DstT"),
        "IdentityN" | "While" | "StatelessWhile" => Place::List("T"),
        "PartitionedCall" | "StatefulPartitionedCall" | "If" | "StatelessIf" | "Case" | "StatelessCase" => {
            Place::List("Tout")
        }
        _ => return None,
    };
    let (Place::Attr(name) | Place::List(name)) = place;
    let entries = fields(node).filter(|(field, _)| *field == 5);
    let entry = entries.map(|(_, entry)| crate::outline::entry(entry)).filter(|(key, _)| *key == name).last();
    let (_, value) = entry?;
    match place {
        // `AttrValue.type` is field 6.
        Place::Attr(_) => {
            let number = fields(value).filter(|(field, _)| *field == 6).last()?.1.int()?;
            Some(Types::One(DType::from_number(i32::try_from(number).ok()?)))
        }
        Place::List(_) => Some(Types::Each(listed(value))),
    }
}

/// The dtypes of an `AttrValue` that lists them: field 1 is the list, and field 6 of that are the numbers, packed or not.
fn listed(value: &[u8]) -> Vec<DType> {
    let mut numbers = Vec::new();
    let lists = fields(value).filter(|(field, _)| *field == 1).filter_map(|(_, list)| list.bytes());
    for (_, value) in lists.flat_map(fields).filter(|(field, _)| *field == 6) {
        match value {
            Value::Varint(number) => numbers.push(number),
            Value::Bytes(packed) => {
                let mut reader = Reader::new(packed);
                while let (true, Ok(number)) = (reader.position() < packed.len(), reader.varint()) {
                    numbers.push(number);
                }
            }
            _ => {}
        }
    }
    numbers.into_iter().map(|number| DType::from_number(i32::try_from(number).unwrap_or(-1))).collect()
}
