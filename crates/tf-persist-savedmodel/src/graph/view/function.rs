//! Functions.

use std::ops::Range;

use tf_persist_proto::wire::{Reader, Value, fields};

use super::attr::{self, AttrView};
use super::field::{arg_def, function, op_def};
use super::message::{contents, int32, text, text_entry};
use super::node::NodeView;

/// A `FunctionDef`. The constructor reads the name and finds the nodes; the rest is read on demand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FunctionView<'a> {
    pub(crate) name: &'a str,
    /// The bytes with all its nodes.
    nodes: &'a [u8],
    /// The bytes with all its other fields: before the nodes and after them.
    rest: [&'a [u8]; 2],
}

/// An input or output of a function (`OpDef.ArgDef`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ArgumentView<'a> {
    pub(crate) name: &'a str,
    /// The number of its dtype; 0 if an attribute gives the dtype.
    pub(crate) dtype: i32,
    /// The name of the attribute that gives its dtype; empty if there is none.
    pub(crate) type_attr: &'a str,
    /// The name of the attribute that gives its number of tensors; empty if there is none.
    pub(crate) number_attr: &'a str,
    /// The name of the attribute that lists the dtypes of its tensors; empty if there is none.
    pub(crate) type_list_attr: &'a str,
    pub(crate) is_ref: bool,
}

impl<'a> FunctionView<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        // Nearly all bytes of a function are nodes, one after the other. Finding them once saves every other access a
        // walk over all of them.
        let (mut reader, mut start, mut are_adjacent) = (Reader::new(bytes), 0, true);
        let mut nodes: Option<Range<usize>> = None;
        while let Ok(Some((field, value))) = reader.next() {
            if field == function::NODE_DEF && value.bytes().is_some() {
                let found = nodes.get_or_insert(start..start);
                are_adjacent &= found.end == start;
                found.end = reader.position();
            }
            start = reader.position();
        }
        let nodes = nodes.unwrap_or(bytes.len()..bytes.len());
        let mut view = Self { name: "", nodes: bytes, rest: [bytes, &[]] };
        if are_adjacent {
            view.rest = [&bytes[..nodes.start], &bytes[nodes.end..]];
            view.nodes = &bytes[nodes];
        }
        let name = view.signature().flat_map(|part| contents(part, op_def::NAME)).last();
        Self { name: text(name.unwrap_or_default()), ..view }
    }

    /// The texts, bytes or messages in a field other than that of the nodes.
    fn contents(self, number: u32) -> impl Iterator<Item = &'a [u8]> {
        self.rest.into_iter().flat_map(move |part| contents(part, number))
    }

    /// The parts of its `OpDef`.
    fn signature(self) -> impl Iterator<Item = &'a [u8]> {
        self.contents(function::SIGNATURE)
    }

    pub(crate) fn inputs(self) -> impl Iterator<Item = ArgumentView<'a>> {
        self.signature().flat_map(|part| contents(part, op_def::INPUT_ARG)).map(ArgumentView::new)
    }

    pub(crate) fn outputs(self) -> impl Iterator<Item = ArgumentView<'a>> {
        self.signature().flat_map(|part| contents(part, op_def::OUTPUT_ARG)).map(ArgumentView::new)
    }

    pub(crate) fn nodes(self) -> impl Iterator<Item = NodeView<'a>> {
        contents(self.nodes, function::NODE_DEF).map(NodeView::new)
    }

    /// The outputs with their tensors. A later entry replaces an earlier one with the same name.
    pub(crate) fn returns(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.contents(function::RET).map(text_entry)
    }

    /// The control outputs with their nodes, which always run. A later entry replaces an earlier one with the same
    /// name.
    pub(crate) fn control_returns(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.contents(function::CONTROL_RET).map(text_entry)
    }

    /// Its attributes in the order of the file. A later entry replaces an earlier one with the same name.
    pub(crate) fn attrs(self) -> impl Iterator<Item = AttrView<'a>> {
        self.contents(function::ATTR).map(AttrView::new)
    }

    /// The attribute with this name.
    pub(crate) fn attr(self, name: &str) -> Option<AttrView<'a>> {
        attr::find(self.contents(function::ATTR), name)
    }
}

impl<'a> ArgumentView<'a> {
    fn new(message: &'a [u8]) -> Self {
        let mut view = Self::default();
        for field in fields(message) {
            match field {
                (arg_def::NAME, Value::Bytes(name)) => view.name = text(name),
                (arg_def::TYPE, Value::Varint(dtype)) => view.dtype = int32(dtype),
                (arg_def::TYPE_ATTR, Value::Bytes(name)) => view.type_attr = text(name),
                (arg_def::NUMBER_ATTR, Value::Bytes(name)) => view.number_attr = text(name),
                (arg_def::TYPE_LIST_ATTR, Value::Bytes(name)) => view.type_list_attr = text(name),
                (arg_def::IS_REF, Value::Varint(flag)) => view.is_ref = flag != 0,
                _ => {}
            }
        }
        view
    }

    /// Whether it is a list of tensors.
    pub(crate) fn is_list(&self) -> bool {
        !self.number_attr.is_empty() || !self.type_list_attr.is_empty()
    }
}
