//! Attributes of nodes, by their fields (`tensorflow/core/framework/attr_value.proto`, `tensor.proto`, `tensor_shape.proto`).

use tf_persist_proto::bytes::Bytes;
use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::wire::{self, fields};

use super::size::Size;
use super::value::Value;
use crate::dtype::DType;
use crate::outline::Node;
use crate::tensor::proto;

/// Constants of integers of so many elements are read; larger ones are no sizes, axes or the like.
const MAX_INTS: i64 = 64;

/// The value of an attribute, if the node has it. Of two the last counts, as in a protobuf's map.
pub(super) fn attribute<'a>(node: &Node<'a>, name: &str) -> Option<&'a [u8]> {
    node.attrs.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

/// Whether each attribute is one value that stands there: not one that who calls the function gives (`AttrValue.placeholder`), which
/// would look as if it were not there, nor several values, which protobuf lays together.
pub(super) fn are_given(node: &Node<'_>) -> bool {
    node.attrs.iter().all(|(_, value)| {
        let mut all = fields(value);
        matches!(all.next(), None | Some((1..=8 | 10, _))) && all.next().is_none()
    })
}

fn field<'a>(message: &'a [u8], wanted: u32) -> Option<wire::Value<'a>> {
    fields(message).filter(|(field, _)| *field == wanted).last().map(|(_, value)| value)
}

/// `AttrValue.i`.
pub(super) fn int(node: &Node<'_>, name: &str) -> Option<i64> {
    field(attribute(node, name)?, 3)?.int()
}

/// `AttrValue.b`, or what it is where the attribute is not there.
pub(super) fn boolean(node: &Node<'_>, name: &str, default: bool) -> bool {
    let Some(value) = attribute(node, name) else { return default };
    // A field of a map's value that is not there is 0.
    field(value, 5).and_then(wire::Value::int).is_some_and(|value| value != 0)
}

/// `AttrValue.s`.
pub(super) fn text<'a>(node: &Node<'a>, name: &str) -> Option<&'a str> {
    Some(field(attribute(node, name)?, 2)?.text())
}

/// `AttrValue.func.name`.
pub(super) fn function<'a>(node: &Node<'a>, name: &str) -> Option<&'a str> {
    Some(field(field(attribute(node, name)?, 10)?.bytes()?, 1)?.text())
}

/// `AttrValue.list.i`, packed or not.
pub(super) fn ints(node: &Node<'_>, name: &str) -> Option<Vec<i64>> {
    let list = field(attribute(node, name)?, 1).map_or(Some(&[][..]), wire::Value::bytes)?;
    let mut all = Vec::new();
    for (number, value) in fields(list) {
        match (number, value) {
            (3, wire::Value::Bytes(packed)) => {
                let mut reader = wire::Reader::new(packed);
                while reader.position() < packed.len() && all.len() < 64 {
                    all.push(reader.varint().ok()?.cast_signed());
                }
            }
            (3, value) => all.push(value.int()?),
            _ => return None,
        }
    }
    Some(all)
}

/// The sizes of a serialized `TensorShapeProto`, each `None` if unknown; `None` if the rank is.
fn shape(message: &[u8]) -> Option<Vec<Option<i64>>> {
    let mut sizes = Vec::new();
    for (number, value) in fields(message) {
        match number {
            2 => {
                let size = field(value.bytes()?, 1).map_or(Some(0), wire::Value::int)?;
                sizes.push((size >= 0).then_some(size));
            }
            3 if value.int()? != 0 => return None,
            _ => {}
        }
    }
    Some(sizes)
}

/// `AttrValue.shape`.
pub(super) fn shape_of(node: &Node<'_>, name: &str) -> Option<Vec<Option<i64>>> {
    shape(field(attribute(node, name)?, 7)?.bytes()?)
}

/// What is known of the tensor of a `Const`.
pub(super) fn constant(node: &Node<'_>) -> Option<Value> {
    let tensor = field(attribute(node, "value")?, 8)?.bytes()?;
    let sizes = field(tensor, 2).map_or(Some(&[][..]), wire::Value::bytes)?;
    let sizes: Vec<i64> = shape(sizes)?.into_iter().collect::<Option<_>>()?;
    let dims = || Value::Fixed(Some(sizes.iter().map(|size| Size::known(*size)).collect()));
    let count = sizes.iter().try_fold(1_i64, |count, size| count.checked_mul(*size));
    let dtype = field(tensor, 1).and_then(wire::Value::int).and_then(|number| i32::try_from(number).ok());
    let is_int = [DType::Int32, DType::Int64].iter().any(|int| dtype == Some(int.number()));
    if !is_int || count.is_none_or(|count| count > MAX_INTS) || tensor.len() > 4096 {
        return Some(dims());
    }
    let message: pb::TensorProto = tf_persist_proto::parse(&Bytes::copy_from_slice(tensor)).ok()?;
    let tensor = proto::from_proto(&message, 4096).ok()?;
    let items = match tensor.dtype() {
        DType::Int32 => tensor.view::<i32>().ok()?.iter().map(|item| Size::known((*item).into())).collect(),
        _ => tensor.view::<i64>().ok()?.iter().map(|item| Size::known(*item)).collect(),
    };
    Some(Value::Ints { shape: sizes, items })
}
