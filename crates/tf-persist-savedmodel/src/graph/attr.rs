//! Reads and makes attributes of decoded nodes.

use tf_persist_proto::protobuf::EnumOrUnknown;
use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::{ListValue, Value};
use tf_persist_proto::tensorflow::types::DataType;

use crate::dtype::DType;
use crate::tensor::{Element, Tensor, proto};

/// A dtype as protobufs have it.
pub type ProtoType = EnumOrUnknown<DataType>;

fn attr(value: Value) -> pb::AttrValue {
    pb::AttrValue { value: Some(value), ..Default::default() }
}

/// A dtype as protobufs have it.
pub fn proto_dtype(dtype: DType) -> ProtoType {
    EnumOrUnknown::from_i32(dtype.number())
}

/// A type.
pub fn dtype(dtype: DType) -> pb::AttrValue {
    proto_type(proto_dtype(dtype))
}

/// A type, as protobuf has it.
pub fn proto_type(dtype: ProtoType) -> pb::AttrValue {
    attr(Value::Type(dtype))
}

/// A list of types.
pub fn dtypes(types: impl IntoIterator<Item = ProtoType>) -> pb::AttrValue {
    attr(Value::List(ListValue { type_: types.into_iter().collect(), ..Default::default() }))
}

/// A boolean.
pub fn boolean(value: bool) -> pb::AttrValue {
    attr(Value::B(value))
}

/// An integer.
pub fn integer(value: i64) -> pb::AttrValue {
    attr(Value::I(value))
}

/// A tensor.
pub fn tensor(tensor: pb::TensorProto) -> pb::AttrValue {
    attr(Value::Tensor(tensor))
}

/// The tensor of a `Const` node.
pub fn constant(node: &pb::NodeDef) -> Option<&pb::TensorProto> {
    match &node.attr.get("value")?.value {
        Some(Value::Tensor(tensor)) if node.op == "Const" => Some(tensor),
        _ => None,
    }
}

/// The strings of a `Const` node, if it holds UTF-8 strings.
pub fn strings(node: &pb::NodeDef) -> Option<Vec<String>> {
    /// More names than any checkpoint has.
    const MAX_BYTES: usize = 64 << 20;
    let tensor = proto::from_proto(constant(node)?, MAX_BYTES).ok()?;
    let strings = tensor.strings().ok()?;
    strings.iter().map(|string| std::str::from_utf8(string).ok().map(str::to_owned)).collect()
}

/// The dtype in an attribute.
pub fn type_of(node: &pb::NodeDef, name: &str) -> Option<DType> {
    match node.attr.get(name)?.value {
        Some(Value::Type(dtype)) => Some(DType::from_number(dtype.value())),
        _ => None,
    }
}

/// The text in an attribute, or this one if the node does not have the attribute.
pub fn text_or<'n>(node: &'n pb::NodeDef, name: &str, default: &'n str) -> &'n str {
    match node.attr.get(name).and_then(|attr| attr.value.as_ref()) {
        Some(Value::S(text)) => std::str::from_utf8(text).unwrap_or_default(),
        _ => default,
    }
}

/// The dtypes in a list attribute; empty if the node has no such attribute.
pub fn list_of_types(node: &pb::NodeDef, name: &str) -> Vec<ProtoType> {
    match node.attr.get(name).and_then(|attr| attr.value.as_ref()) {
        Some(Value::List(list)) => list.type_.clone(),
        _ => Vec::new(),
    }
}

/// A `Const` node.
pub fn const_node(name: &str, value: pb::TensorProto) -> pb::NodeDef {
    let dtype = value.dtype;
    node(name, "Const", &[], [("dtype", proto_type(dtype)), ("value", tensor(value))])
}

/// A `Const` node that holds these values; `None` if the shape has another number of elements.
pub fn values_node<T: Element>(name: &str, shape: &[usize], values: &[T]) -> Option<pb::NodeDef> {
    Some(const_node(name, proto::to_proto(&Tensor::from_slice(shape, values).ok()?)))
}

/// A `Const` node that holds a vector of strings.
pub fn strings_node<S: AsRef<[u8]>>(name: &str, strings: &[S]) -> crate::error::Result<pb::NodeDef> {
    Ok(const_node(name, proto::to_proto(&Tensor::from_strings(&[strings.len()], strings)?)))
}

/// A node with these inputs and attributes.
pub fn node<'n>(
    name: impl Into<String>,
    op: &str,
    inputs: &[&str],
    attributes: impl IntoIterator<Item = (&'n str, pb::AttrValue)>,
) -> pb::NodeDef {
    pb::NodeDef {
        name: name.into(),
        op: op.to_owned(),
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        attr: attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        ..Default::default()
    }
}

/// A function of the library, by its name.
pub fn function(name: impl Into<String>) -> pb::AttrValue {
    attr(Value::Func(pb::NameAttrList { name: name.into(), ..Default::default() }))
}

/// The attribute `_class` that places a node on the device of another.
pub fn beside(other: &str) -> pb::AttrValue {
    attr(Value::List(ListValue { s: vec![format!("loc:@{other}").into_bytes().into()], ..Default::default() }))
}

/// A shape, whose sizes are all known.
pub fn shape(sizes: &[usize]) -> pb::AttrValue {
    attr(Value::Shape(shape_proto(sizes)))
}

/// Converts a shape to its protobuf.
pub fn shape_proto(sizes: &[usize]) -> pb::TensorShapeProto {
    let dim = sizes.iter().map(|size| pb::tensor_shape::tensor_shape_proto::Dim {
        size: i64::try_from(*size).unwrap_or(i64::MAX),
        ..Default::default()
    });
    pb::TensorShapeProto { dim: dim.collect(), ..Default::default() }
}
