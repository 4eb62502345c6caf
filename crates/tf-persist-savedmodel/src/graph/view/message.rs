//! The fields of a message, by number and type.
//!
//! Protobuf treats a field of another wire type than its own as unknown. The last value of a scalar or text counts.
//! Parts of a message are merged, as if their bytes were concatenated.

use tf_persist_proto::wire::{Reader, Value, fields};

/// The texts, bytes or messages in a field, in the order of the file.
pub(super) fn contents(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    fields(message).filter_map(move |(field, value)| if field == number { value.bytes() } else { None })
}

/// A text; empty if it is not UTF-8, which opening a model refuses.
pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// The text in a field.
pub(super) fn last_text(message: &[u8], number: u32) -> &str {
    text(contents(message, number).last().unwrap_or_default())
}

/// The integer, enum or bool in a field.
pub(super) fn last_varint(message: &[u8], number: u32) -> Option<u64> {
    fields(message).filter_map(|field| varint(field, number)).last()
}

fn varint((field, value): (u32, Value<'_>), number: u32) -> Option<u64> {
    match value {
        Value::Varint(varint) if field == number => Some(varint),
        _ => None,
    }
}

/// The integers in a repeated field, one by one or packed.
pub(super) fn varints(message: &[u8], number: u32) -> impl Iterator<Item = u64> {
    fields(message).filter(move |(field, _)| *field == number).flat_map(|(_, value)| {
        let (single, packed) = match value {
            Value::Varint(varint) => (Some(varint), &[][..]),
            Value::Bytes(packed) => (None, packed),
            _ => (None, &[][..]),
        };
        let mut reader = Reader::new(packed);
        let next = move || if reader.position() < packed.len() { reader.varint().ok() } else { None };
        single.into_iter().chain(std::iter::from_fn(next))
    })
}

/// The bits of the floats in a repeated field, one by one or packed.
pub(super) fn floats(message: &[u8], number: u32) -> impl Iterator<Item = u32> {
    fields(message).filter(move |(field, _)| *field == number).flat_map(|(_, value)| {
        let (single, packed) = match value {
            Value::Fixed32(bits) => (Some(bits), &[][..]),
            Value::Bytes(packed) => (None, packed),
            _ => (None, &[][..]),
        };
        single.into_iter().chain(packed.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)))
    })
}

/// An enum or an `int32`: protobuf truncates larger numbers.
pub(super) fn int32(varint: u64) -> i32 {
    varint as i32
}

/// The key and value of an entry in a map from text to text.
pub(super) fn text_entry(entry: &[u8]) -> (&str, &str) {
    (last_text(entry, super::field::entry::KEY), last_text(entry, super::field::entry::VALUE))
}
