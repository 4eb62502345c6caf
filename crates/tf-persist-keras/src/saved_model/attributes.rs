//! Attributes, shapes and signatures as protobufs.

use std::collections::BTreeMap;

use tf_persist_proto::protobuf::MessageField;
use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::{ListValue, Value};
use tf_persist_proto::tensorflow::struct_::structured_value::Kind;
use tf_persist_proto::tensorflow::tensor_shape::tensor_shape_proto::Dim;
use tf_persist_proto::tensorflow::{
    AttrValue, DictValue, NameAttrList, StructuredValue, TensorShapeProto, TensorSpecProto, TupleValue,
};
use tf_persist_savedmodel::DType;
use tf_persist_savedmodel::internals::attr::proto_dtype;
use tf_persist_savedmodel::tensor::proto::to_proto;

use super::names::library_name;
use crate::graph::{Attr, Attrs, Shape};

/// The attributes of a node.
pub(super) fn attributes(attrs: &Attrs) -> BTreeMap<String, AttrValue> {
    attrs.iter().map(|(name, attr)| ((*name).to_owned(), attribute(attr))).collect()
}

/// A function of the library, by its name in the file.
pub(super) fn function(name: String) -> AttrValue {
    let name = NameAttrList { name, ..NameAttrList::default() };
    AttrValue { value: Some(Value::Func(name)), ..AttrValue::default() }
}

pub(super) fn attribute(attr: &Attr) -> AttrValue {
    let value = match attr {
        Attr::Type(dtype) => Value::Type(proto_dtype(*dtype)),
        Attr::Int(value) => Value::I(*value),
        Attr::Float(value) => Value::F(*value),
        Attr::Bool(value) => Value::B(*value),
        Attr::Text(text) => Value::S(text.clone().into_bytes().into()),
        Attr::Texts(texts) => {
            let texts = texts.iter().map(|text| text.clone().into_bytes().into()).collect();
            Value::List(ListValue { s: texts, ..ListValue::default() })
        }
        Attr::Shape(shape) => Value::Shape(shape_proto(shape)),
        Attr::Tensor(tensor) => Value::Tensor(to_proto(tensor)),
        Attr::Function(name) => return function(library_name(name)),
        Attr::Types(types) => {
            Value::List(ListValue { type_: types.iter().copied().map(proto_dtype).collect(), ..ListValue::default() })
        }
        Attr::Ints(values) => Value::List(ListValue { i: values.clone(), ..ListValue::default() }),
        Attr::Floats(values) => Value::List(ListValue { f: values.clone(), ..ListValue::default() }),
        Attr::Shapes(shapes) => {
            Value::List(ListValue { shape: shapes.iter().map(shape_proto).collect(), ..ListValue::default() })
        }
    };
    AttrValue { value: Some(value), ..AttrValue::default() }
}

/// A shape; unknown sizes are -1.
pub(super) fn shape_proto(shape: &Shape) -> TensorShapeProto {
    let size = |dim: &Option<u64>| dim.and_then(|size| i64::try_from(size).ok()).unwrap_or(-1);
    let dim = shape.dims().iter().map(|dim| Dim { size: size(dim), ..Dim::default() }).collect();
    TensorShapeProto { dim, ..TensorShapeProto::default() }
}

/// The name, dtype and shape of an argument or result, as Python has them.
pub(super) fn tensor_spec(name: &str, dtype: DType, shape: &Shape) -> StructuredValue {
    structured(Kind::TensorSpecValue(TensorSpecProto {
        name: name.to_owned(),
        shape: MessageField::some(shape_proto(shape)),
        dtype: proto_dtype(dtype),
        ..TensorSpecProto::default()
    }))
}

/// A Python dictionary.
pub(super) fn dict(fields: impl IntoIterator<Item = (String, StructuredValue)>) -> StructuredValue {
    structured(Kind::DictValue(DictValue { fields: fields.into_iter().collect(), ..DictValue::default() }))
}

/// A Python list.
pub(super) fn list(values: Vec<StructuredValue>) -> StructuredValue {
    structured(Kind::ListValue(pb::struct_::ListValue { values, ..Default::default() }))
}

/// A Python tuple.
pub(super) fn tuple(values: Vec<StructuredValue>) -> StructuredValue {
    structured(Kind::TupleValue(TupleValue { values, ..TupleValue::default() }))
}

/// The arguments of a Python function: no positional ones, and these by name.
pub(super) fn keyword_arguments(fields: impl IntoIterator<Item = (String, StructuredValue)>) -> StructuredValue {
    tuple(vec![tuple(Vec::new()), dict(fields)])
}

pub(super) fn structured(kind: Kind) -> StructuredValue {
    StructuredValue { kind: Some(kind), ..StructuredValue::default() }
}
