//! Attributes of nodes and functions.

use std::borrow::Cow;

use tf_persist_proto::wire::{Value, fields};

use super::field::{attr, dim, entry, func, list, shape, tensor};
use super::message::{contents, floats, int32, last_varint, text, varints};

/// An entry of a map from names to `AttrValue`s.
///
/// Only one member of an `AttrValue` is set: the last one in the file. If it is a message, its parts are merged, back
/// to the last other member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttrView<'a> {
    name: &'a [u8],
    entry: &'a [u8],
    /// The field number of the member; 0 if none is set.
    member: u32,
    /// The number of members before its first part, which it replaces.
    replaced: usize,
}

/// The content of an attribute of any type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content<'a> {
    /// An integer, bool, enum or the bits of a float.
    Number(u64),
    /// A text, bytes or a message.
    Bytes(Cow<'a, [u8]>),
}

impl<'a> AttrView<'a> {
    pub(super) fn new(entry: &'a [u8]) -> Self {
        let mut view = Self { name: &[], entry, member: 0, replaced: 0 };
        let mut count = 0;
        for (field, value) in fields(entry) {
            match (field, value) {
                (entry::KEY, Value::Bytes(name)) => view.name = name,
                (entry::VALUE, Value::Bytes(value)) => {
                    for (member, _) in members(value) {
                        if member != view.member {
                            (view.member, view.replaced) = (member, count);
                        }
                        count += 1;
                    }
                }
                _ => {}
            }
        }
        view
    }

    pub(crate) fn name(self) -> &'a str {
        text(self.name)
    }

    /// Whether this is its name. Faster than reading the name, which checks its encoding.
    pub(crate) fn is_named(self, name: &str) -> bool {
        self.name == name.as_bytes()
    }

    /// The parts of the member.
    fn parts(self) -> impl Iterator<Item = Value<'a>> {
        contents(self.entry, entry::VALUE).flat_map(members).skip(self.replaced).map(|(_, value)| value)
    }

    /// The parts of the member, if this member is set and is a text, bytes or a message.
    fn messages(self, member: u32) -> impl Iterator<Item = &'a [u8]> {
        let view = Some(self).filter(|view| view.member == member);
        view.into_iter().flat_map(|view| view.parts()).filter_map(Value::bytes)
    }

    fn number(self, member: u32) -> Option<u64> {
        let last = Some(self).filter(|view| view.member == member)?.parts().last()?;
        last.int().map(i64::cast_unsigned)
    }

    /// The field number of the member that is set and its content; `None` if none is.
    pub(crate) fn content(self) -> Option<(u32, Content<'a>)> {
        let content = match self.parts().last()? {
            Value::Varint(number) | Value::Fixed64(number) => Content::Number(number),
            Value::Fixed32(bits) => Content::Number(bits.into()),
            Value::Bytes(bytes) if matches!(self.member, attr::S | attr::PLACEHOLDER) => Content::Bytes(bytes.into()),
            Value::Bytes(_) => Content::Bytes(joined(self.messages(self.member))),
        };
        Some((self.member, content))
    }

    /// Whether it is a placeholder (`AttrValue.placeholder`).
    pub(crate) fn is_placeholder(self) -> bool {
        self.member == attr::PLACEHOLDER
    }

    /// `AttrValue.s`.
    pub(crate) fn bytes(self) -> Option<&'a [u8]> {
        self.messages(attr::S).last()
    }

    /// `AttrValue.s`, as text.
    pub(crate) fn text(self) -> Option<&'a str> {
        self.bytes().map(text)
    }

    /// `AttrValue.i`.
    pub(crate) fn int(self) -> Option<i64> {
        self.number(attr::I).map(u64::cast_signed)
    }

    /// `AttrValue.b`.
    pub(crate) fn bool(self) -> Option<bool> {
        self.number(attr::B).map(|number| number != 0)
    }

    /// `AttrValue.type`, by number.
    pub(crate) fn dtype(self) -> Option<i32> {
        self.number(attr::TYPE).map(int32)
    }

    /// `AttrValue.shape`.
    pub(crate) fn shape(self) -> Option<Sizes> {
        (self.member == attr::SHAPE).then(|| sizes(self.messages(attr::SHAPE)))
    }

    /// `AttrValue.tensor`.
    pub(crate) fn tensor(self) -> Option<TensorView<'a>> {
        (self.member == attr::TENSOR).then_some(TensorView(self))
    }

    /// Whether it is one function.
    pub(crate) fn is_function(self) -> bool {
        self.member == attr::FUNC
    }

    /// Whether it is a list.
    pub(crate) fn is_list(self) -> bool {
        self.member == attr::LIST
    }

    /// The elements of a list without the functions, each with its field number. Packed numbers are unpacked.
    pub(crate) fn elements(self) -> impl Iterator<Item = (u32, Content<'a>)> {
        let in_part = |part: &'a [u8]| {
            let texts = [list::S, list::SHAPE, list::TENSOR].into_iter();
            let texts = texts.flat_map(move |number| contents(part, number).map(move |bytes| (number, bytes)));
            let numbers = [list::I, list::B, list::TYPE].into_iter();
            let numbers = numbers.flat_map(move |number| varints(part, number).map(move |value| (number, value)));
            let floats = floats(part, list::F).map(|bits| (list::F, bits.into()));
            let texts = texts.map(|(number, bytes)| (number, Content::Bytes(bytes.into())));
            texts.chain(numbers.chain(floats).map(|(number, value)| (number, Content::Number(value))))
        };
        self.messages(attr::LIST).flat_map(in_part)
    }

    /// `AttrValue.list.s`.
    pub(crate) fn byte_list(self) -> impl Iterator<Item = &'a [u8]> {
        self.messages(attr::LIST).flat_map(|message| contents(message, list::S))
    }

    /// `AttrValue.list.i`.
    pub(crate) fn ints(self) -> impl Iterator<Item = i64> {
        self.messages(attr::LIST).flat_map(|message| varints(message, list::I)).map(u64::cast_signed)
    }

    /// `AttrValue.list.type`, by number.
    pub(crate) fn dtypes(self) -> impl Iterator<Item = i32> {
        self.messages(attr::LIST).flat_map(|message| varints(message, list::TYPE)).map(int32)
    }

    /// The functions that it names (`AttrValue.func`, `AttrValue.list.func`), without those that their attributes name.
    pub(crate) fn functions(self) -> impl Iterator<Item = NamedFunction<'a>> {
        // Few attributes can name functions.
        let view = matches!(self.member, attr::FUNC | attr::LIST).then_some(self);
        view.into_iter().flat_map(|view| {
            let one = (view.member == attr::FUNC).then(|| NamedFunction::new(Source::Attr(view)));
            let listed = view.messages(attr::LIST).flat_map(|message| contents(message, list::FUNC));
            one.into_iter().chain(listed.map(|message| NamedFunction::new(Source::Message(message))))
        })
    }
}

/// The members of an `AttrValue` that have the wire type of their field.
fn members(value: &[u8]) -> impl Iterator<Item = (u32, Value<'_>)> {
    fields(value).filter(|field| {
        matches!(
            field,
            (attr::LIST | attr::S | attr::SHAPE | attr::TENSOR | attr::PLACEHOLDER | attr::FUNC, Value::Bytes(_))
                | (attr::I | attr::B | attr::TYPE, Value::Varint(_))
                | (attr::F, Value::Fixed32(_))
        )
    })
}

/// Merges the parts of a message: concatenating them does.
fn joined<'a>(mut parts: impl Iterator<Item = &'a [u8]>) -> Cow<'a, [u8]> {
    let mut all = Cow::Borrowed(parts.next().unwrap_or_default());
    parts.for_each(|part| all.to_mut().extend(part));
    all
}

/// A function that an attribute names, with attributes for it (`NameAttrList`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct NamedFunction<'a> {
    pub(crate) name: &'a str,
    source: Source<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Source<'a> {
    /// `AttrValue.func`.
    Attr(AttrView<'a>),
    /// One of `AttrValue.list.func`.
    Message(&'a [u8]),
}

impl<'a> NamedFunction<'a> {
    fn new(source: Source<'a>) -> Self {
        let name = source.parts().flat_map(|part| contents(part, func::NAME)).last();
        Self { name: text(name.unwrap_or_default()), source }
    }

    /// The attributes for the function.
    pub(crate) fn attrs(self) -> impl Iterator<Item = AttrView<'a>> {
        self.source.parts().flat_map(|part| contents(part, func::ATTR)).map(AttrView::new)
    }
}

impl<'a> Source<'a> {
    fn parts(self) -> impl Iterator<Item = &'a [u8]> {
        let (attr, message) = match self {
            Self::Attr(attr) => (Some(attr), None),
            Self::Message(message) => (None, Some(message)),
        };
        attr.into_iter().flat_map(|attr| attr.messages(attr::FUNC)).chain(message)
    }
}

/// A `TensorProto`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TensorView<'a>(AttrView<'a>);

/// The sizes of dimensions, each `None` if unknown. `None` if the rank is unknown.
pub(crate) type Sizes = Option<Vec<Option<i64>>>;

impl<'a> TensorView<'a> {
    fn parts(self) -> impl Iterator<Item = &'a [u8]> {
        self.0.messages(attr::TENSOR)
    }

    /// Its dtype, by number.
    pub(crate) fn dtype(self) -> i32 {
        let dtype = self.parts().filter_map(|part| last_varint(part, tensor::DTYPE)).last();
        dtype.map_or(0, int32)
    }

    pub(crate) fn shape(self) -> Sizes {
        sizes(self.parts().flat_map(|part| contents(part, tensor::TENSOR_SHAPE)))
    }

    /// Whether its elements are bytes in `tensor_content`.
    pub(crate) fn has_content(self) -> bool {
        self.parts().flat_map(|part| contents(part, tensor::TENSOR_CONTENT)).last().is_some_and(|it| !it.is_empty())
    }

    /// `string_val`.
    pub(crate) fn strings(self) -> impl Iterator<Item = &'a [u8]> {
        self.parts().flat_map(|part| contents(part, tensor::STRING_VAL))
    }

    /// The length of the message in bytes.
    pub(crate) fn len(self) -> usize {
        self.parts().map(<[u8]>::len).sum()
    }

    /// The message in one piece.
    pub(crate) fn message(self) -> Cow<'a, [u8]> {
        joined(self.parts())
    }
}

/// The sizes of a `TensorShapeProto` that consists of these parts.
fn sizes<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Sizes {
    let (mut is_unknown, mut sizes) = (0, Vec::new());
    for part in parts {
        is_unknown = last_varint(part, shape::UNKNOWN_RANK).unwrap_or(is_unknown);
        let size = |dim: &[u8]| last_varint(dim, dim::SIZE).unwrap_or(0).cast_signed();
        sizes.extend(contents(part, shape::DIM).map(size).map(|size| (size >= 0).then_some(size)));
    }
    (is_unknown == 0).then_some(sizes)
}

/// Finds the attribute with this name among the entries of a map. Only keys are read on the way.
pub(super) fn find<'a>(entries: impl Iterator<Item = &'a [u8]>, name: &str) -> Option<AttrView<'a>> {
    let is_named = |bytes: &&[u8]| contents(bytes, entry::KEY).last().unwrap_or_default() == name.as_bytes();
    entries.filter(is_named).last().map(AttrView::new)
}
