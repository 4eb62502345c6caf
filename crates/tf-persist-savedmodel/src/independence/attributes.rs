//! Attributes of nodes.

use tf_persist_proto::bytes::Bytes;
use tf_persist_proto::tensorflow as pb;

use super::size::Size;
use super::value::Value;
use crate::dtype::DType;
use crate::graph::view::NodeView;
use crate::tensor::proto;

/// The largest constant of integers that is read, in elements. Larger ones are not sizes or axes.
const MAX_INTS: i64 = 64;

/// Whether no attribute is a placeholder, whose value the caller of the node's function gives.
pub(super) fn are_given(node: &NodeView<'_>) -> bool {
    node.attrs().all(|attr| !attr.is_placeholder())
}

/// `AttrValue.i`.
pub(super) fn int(node: &NodeView<'_>, name: &str) -> Option<i64> {
    node.attr(name)?.int()
}

/// `AttrValue.b`; `default` where the node does not have the attribute.
pub(super) fn boolean(node: &NodeView<'_>, name: &str, default: bool) -> bool {
    node.attr(name).map_or(default, |attr| attr.bool().unwrap_or(false))
}

/// `AttrValue.s`.
pub(super) fn text<'a>(node: &NodeView<'a>, name: &str) -> Option<&'a str> {
    node.attr(name)?.text()
}

/// The function that an attribute names.
pub(super) fn function<'a>(node: &NodeView<'a>, name: &str) -> Option<&'a str> {
    node.functions(name).next()
}

/// `AttrValue.list.i`.
pub(super) fn ints(node: &NodeView<'_>, name: &str) -> Option<Vec<i64>> {
    let attr = node.attr(name).filter(|attr| attr.is_list())?;
    Some(attr.ints().take(MAX_INTS as usize).collect())
}

/// `AttrValue.shape`; `None` if the rank is unknown.
pub(super) fn shape_of(node: &NodeView<'_>, name: &str) -> Option<Vec<Option<i64>>> {
    node.attr(name)?.shape()?
}

/// The value of a `Const`, as far as it matters.
pub(super) fn constant(node: &NodeView<'_>) -> Option<Value> {
    let tensor = node.tensor_attr("value")?;
    let sizes: Vec<i64> = tensor.shape()?.into_iter().collect::<Option<_>>()?;
    let dims = || Value::Fixed(Some(sizes.iter().map(|size| Size::known(*size)).collect()));
    let count = sizes.iter().try_fold(1_i64, |count, size| count.checked_mul(*size));
    let is_int = [DType::Int32, DType::Int64].iter().any(|int| tensor.dtype() == int.number());
    if !is_int || count.is_none_or(|count| count > MAX_INTS) || tensor.len() > 4096 {
        return Some(dims());
    }
    let message: pb::TensorProto = tf_persist_proto::parse(&Bytes::from(tensor.message().into_owned())).ok()?;
    let tensor = proto::from_proto(&message, 4096).ok()?;
    let items = match tensor.dtype() {
        DType::Int32 => tensor.view::<i32>().ok()?.iter().map(|item| Size::known((*item).into())).collect(),
        _ => tensor.view::<i64>().ok()?.iter().map(|item| Size::known(*item)).collect(),
    };
    Some(Value::Ints { shape: sizes, items })
}
