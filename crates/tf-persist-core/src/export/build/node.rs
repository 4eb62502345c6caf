//! Nodes to be added to a graph.

use tf_persist_proto::protobuf::EnumOrUnknown;
use tf_persist_proto::tensorflow::attr_value::attr_value::{ListValue, Value};
use tf_persist_proto::tensorflow::{AttrValue, NodeDef};

use crate::dtype::DType;
use crate::error::Result;
use crate::tensor::Tensor;
use crate::tensor::proto::to_proto;

/// A node of this name and operation with these inputs.
pub(super) fn node(name: impl Into<String>, op: &str, inputs: &[&str]) -> NodeDef {
    let input = inputs.iter().map(|input| (*input).to_owned()).collect();
    NodeDef { name: name.into(), op: op.into(), input, ..NodeDef::default() }
}

/// The same node with one attribute more.
pub(super) fn with(mut node: NodeDef, attribute: &str, value: Value) -> NodeDef {
    node.attr.insert(attribute.to_owned(), AttrValue { value: Some(value), ..AttrValue::default() });
    node
}

/// A constant of strings.
pub(super) fn strings(name: impl Into<String>, shape: &[usize], values: &[&str]) -> Result<NodeDef> {
    let value = Value::Tensor(to_proto(&Tensor::from_strings(shape, values)?));
    Ok(with(with(node(name, "Const", &[]), "dtype", dtype(DType::String)), "value", value))
}

/// The value of an attribute that is a dtype.
pub(super) fn dtype(dtype: DType) -> Value {
    Value::Type(EnumOrUnknown::from_i32(dtype.number()))
}

/// The value of an attribute that is a list of dtypes.
pub(super) fn dtypes(all: impl IntoIterator<Item = DType>) -> Value {
    let type_ = all.into_iter().map(|dtype| EnumOrUnknown::from_i32(dtype.number())).collect();
    Value::List(ListValue { type_, ..ListValue::default() })
}

/// The attribute `_class` that keeps a node where a variable is.
pub(super) fn beside(variable: &str) -> Value {
    let place = format!("loc:@{variable}").into_bytes().into();
    Value::List(ListValue { s: vec![place], ..ListValue::default() })
}
