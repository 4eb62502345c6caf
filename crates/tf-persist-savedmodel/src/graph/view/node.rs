//! Nodes.

use tf_persist_proto::wire::{Reader, Value};

use super::attr::{self, AttrView, TensorView};
use super::field::node;
use super::message::{contents, last_text, text};

/// A `NodeDef`. Name and op are found when it is made, the rest when it is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NodeView<'a> {
    pub(crate) name: &'a str,
    pub(crate) op: &'a str,
    bytes: &'a [u8],
    /// From the first attribute on.
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

    /// Whether both are the same place in a file.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.place() == other.place()
    }

    /// Where it is in memory: no two nodes of a file have one place.
    pub(crate) fn place(&self) -> *const u8 {
        self.bytes.as_ptr()
    }

    /// `node`, `node:1`, `node:output:0` in functions, and `^node` for control.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        contents(self.bytes, node::INPUT).map(text)
    }

    /// The tensors it takes: its inputs without those for control.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.inputs().filter(|input| !input.starts_with('^'))
    }

    pub(crate) fn device(&self) -> &'a str {
        last_text(self.bytes, node::DEVICE)
    }

    /// The entries of its attributes, in the order of the file. Of two with one key the later one counts.
    pub(crate) fn attrs(&self) -> impl Iterator<Item = AttrView<'a>> + use<'a> {
        contents(self.attrs, node::ATTR).map(AttrView::new)
    }

    /// The attribute of this name.
    pub(crate) fn attr(&self, name: &str) -> Option<AttrView<'a>> {
        attr::find(contents(self.attrs, node::ATTR), name)
    }

    /// Whether an attribute is a placeholder: TensorFlow replaces it by what the caller of the node's function gives.
    pub(crate) fn is_placeholder(&self, name: &str) -> bool {
        self.attr(name).is_some_and(|attr| attr.is_placeholder())
    }

    /// The text or bytes of an attribute.
    pub(crate) fn bytes_attr(&self, name: &str) -> Option<&'a [u8]> {
        self.attr(name)?.bytes()
    }

    /// The dtype of an attribute, by number.
    pub(crate) fn type_attr(&self, name: &str) -> Option<i32> {
        self.attr(name)?.dtype()
    }

    /// The tensor of an attribute.
    pub(crate) fn tensor_attr(&self, name: &str) -> Option<TensorView<'a>> {
        self.attr(name)?.tensor()
    }

    /// The functions that an attribute names: one, or a list.
    pub(crate) fn functions(&self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.attr(name).into_iter().flat_map(|attr| attr.functions()).map(|function| function.name)
    }

    /// What it may call: its op, which may be a function's name, and the functions that its attributes name.
    pub(crate) fn calls(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        std::iter::once(self.op).chain(self.functions_in_attrs())
    }

    /// The functions that its attributes name.
    pub(crate) fn functions_in_attrs(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.attrs().flat_map(|attr| attr.functions()).map(|function| function.name)
    }
}
