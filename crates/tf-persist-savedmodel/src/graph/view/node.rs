//! Nodes.

use tf_persist_proto::wire::{Reader, Value};

use super::attr::{self, AttrView, TensorView};
use super::field::node;
use super::message::{contents, last_text, text};

/// A `NodeDef`. The constructor reads name and op; the rest is read on demand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NodeView<'a> {
    pub(crate) name: &'a str,
    pub(crate) op: &'a str,
    bytes: &'a [u8],
    /// The bytes from the first attribute on.
    attrs: &'a [u8],
}

impl<'a> NodeView<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let mut view = Self { name: "", op: "", bytes, attrs: &[] };
        let mut reader = Reader::new(bytes);
        let mut start = 0;
        while let Ok(Some((field, value))) = reader.next() {
            match (field, value) {
                (node::NAME, Value::Bytes(name)) => view.name = text(name),
                (node::OP, Value::Bytes(op)) => view.op = text(op),
                (node::ATTR, _) if view.attrs.is_empty() => view.attrs = &bytes[start..],
                _ => {}
            }
            start = reader.position();
        }
        view
    }

    /// Whether both are the same node of a file.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.address() == other.address()
    }

    /// The length of its message: that of its value, if it is a large constant.
    pub(crate) fn encoded_len(&self) -> usize {
        self.bytes.len()
    }

    /// Its address, which identifies it among the nodes of a file.
    pub(crate) fn address(&self) -> *const u8 {
        self.bytes.as_ptr()
    }

    /// Its inputs: `node`, `node:1`, in functions `node:output:0`, and `^node` for control.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        contents(self.bytes, node::INPUT).map(text)
    }

    /// Its inputs without control inputs.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.inputs().filter(|input| !input.starts_with('^'))
    }

    pub(crate) fn device(&self) -> &'a str {
        last_text(self.bytes, node::DEVICE)
    }

    /// Its attributes in the order of the file. A later entry replaces an earlier one with the same name.
    pub(crate) fn attrs(&self) -> impl Iterator<Item = AttrView<'a>> + use<'a> {
        contents(self.attrs, node::ATTR).map(AttrView::new)
    }

    /// The attribute with this name.
    pub(crate) fn attr(&self, name: &str) -> Option<AttrView<'a>> {
        attr::find(contents(self.attrs, node::ATTR), name)
    }

    /// Whether an attribute is a placeholder, whose value the caller of the node's function gives.
    pub(crate) fn is_placeholder(&self, name: &str) -> bool {
        self.attr(name).is_some_and(|attr| attr.is_placeholder())
    }

    /// The text or bytes in an attribute.
    pub(crate) fn bytes_attr(&self, name: &str) -> Option<&'a [u8]> {
        self.attr(name)?.bytes()
    }

    /// The number of the dtype in an attribute.
    pub(crate) fn type_attr(&self, name: &str) -> Option<i32> {
        self.attr(name)?.dtype()
    }

    /// The tensor in an attribute.
    pub(crate) fn tensor_attr(&self, name: &str) -> Option<TensorView<'a>> {
        self.attr(name)?.tensor()
    }

    /// The functions that an attribute names: one, or a list.
    pub(crate) fn functions(&self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.attr(name).into_iter().flat_map(|attr| attr.functions()).map(|function| function.name)
    }

    /// The functions that it may call: its op, which may be a function, and the functions that its attributes name.
    pub(crate) fn calls(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        std::iter::once(self.op).chain(self.functions_in_attrs())
    }

    /// The functions that its attributes name.
    pub(crate) fn functions_in_attrs(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.attrs().flat_map(|attr| attr.functions()).map(|function| function.name)
    }
}
