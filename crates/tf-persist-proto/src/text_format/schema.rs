//! The parts of a message's descriptor that the reader needs, looked up once per type.

use std::collections::{HashMap, HashSet};
use std::fmt;

use protobuf::reflect::{FieldDescriptor, MessageDescriptor, RuntimeFieldType, RuntimeType, Syntax};

/// A message type.
pub(super) struct Schema {
    pub(super) name: String,
    fields: HashMap<Box<[u8]>, Field>,
    reserved: HashSet<Box<[u8]>>,
}

/// A field of a message type.
pub(super) struct Field {
    pub(super) descriptor: FieldDescriptor,
    pub(super) shape: RuntimeFieldType,
    /// Its index in [`Seen`].
    pub(super) slot: usize,
    /// The index of its oneof in [`Seen`].
    pub(super) oneof: Option<usize>,
    /// Whether the message knows that the field is set even where it is zero.
    pub(super) has_presence: bool,
    /// Whether an enum may only have the values of its schema.
    pub(super) is_closed: bool,
}

impl Schema {
    pub(super) fn new(descriptor: &MessageDescriptor) -> Self {
        let is_proto2 = descriptor.file_descriptor().syntax() == Syntax::Proto2;
        let oneofs: Vec<_> = descriptor.oneofs().collect();
        let fields: Vec<FieldDescriptor> = descriptor.fields().collect();
        let count = fields.len();
        let field = |(slot, field): (usize, FieldDescriptor)| {
            let oneof = field.containing_oneof().and_then(|oneof| oneofs.iter().position(|one| *one == oneof));
            let shape = field.runtime_field_type();
            let is_message = matches!(shape, RuntimeFieldType::Singular(RuntimeType::Message(_)));
            let has_presence =
                is_proto2 || is_message || oneof.is_some() || field.containing_oneof_including_synthetic().is_some();
            let oneof = oneof.map(|index| count + index);
            let name = field.name().as_bytes().into();
            (name, Field { descriptor: field, shape, slot, oneof, has_presence, is_closed: is_proto2 })
        };
        Self {
            name: descriptor.full_name().into(),
            fields: fields.into_iter().enumerate().map(field).collect(),
            reserved: descriptor.proto().reserved_name.iter().map(|name| name.as_bytes().into()).collect(),
        }
    }

    pub(super) fn field(&self, name: &[u8]) -> Option<&Field> {
        self.fields.get(name)
    }

    /// Whether the name is reserved: its value is skipped.
    pub(super) fn is_reserved(&self, name: &[u8]) -> bool {
        self.reserved.contains(name)
    }

    /// The field of a oneof that is set.
    pub(super) fn set_field(&self, oneof: usize, seen: &Seen) -> Option<&Field> {
        self.fields.values().find(|field| field.oneof == Some(oneof) && seen.contains(field.slot))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "field `{}` of `{}`", self.descriptor.name(), self.descriptor.containing_message())
    }
}

/// Which fields and oneofs of a message are set.
#[derive(Default)]
pub(super) struct Seen {
    /// Those of the first 64 slots: enough for most messages.
    low: u64,
    high: Vec<u64>,
}

impl Seen {
    pub(super) fn contains(&self, slot: usize) -> bool {
        let bit = 1 << (slot % 64);
        match (slot / 64).checked_sub(1) {
            None => self.low & bit != 0,
            Some(word) => self.high.get(word).is_some_and(|high| high & bit != 0),
        }
    }

    pub(super) fn insert(&mut self, slot: usize) {
        let bit = 1 << (slot % 64);
        match (slot / 64).checked_sub(1) {
            None => self.low |= bit,
            Some(word) => {
                if self.high.len() <= word {
                    self.high.resize(word + 1, 0);
                }
                self.high[word] |= bit;
            }
        }
    }
}
