//! Names in brackets: messages written out in a `google.protobuf.Any`, and extensions.

use std::collections::HashSet;

use protobuf::MessageDyn;
use protobuf::reflect::{FileDescriptor, MessageDescriptor, ReflectValueBox};

use super::Fault;
use super::lexer::quoted;
use super::reader::Reader;
use super::schema::{Schema, Seen};

/// The message that holds another one, of a type that its URL names.
const ANY: &str = "google.protobuf.Any";

impl Reader<'_> {
    /// Reads a field whose name is in brackets. No message of ours has extensions.
    pub(super) fn bracketed_field(
        &mut self,
        message: &mut dyn MessageDyn,
        schema: &Schema,
        seen: &mut Seen,
    ) -> Result<(), Fault> {
        let start = self.lexer.token.start;
        let name = self.lexer.bracketed()?;
        if schema.name != ANY {
            self.skip_unknown(start, "extension", name.as_bytes(), &format!("`{}`", schema.name))?;
            return self.skip_field_value();
        }
        let type_name = type_name(&name).ok_or_else(|| {
            let message =
                format!("{} is no type of an `{ANY}`, such as `type.googleapis.com/a.B`", quoted(name.as_bytes()));
            Fault::new(start, message)
        })?;
        let Some(descriptor) = self.any_type(type_name) else {
            self.skip_unknown(start, "type", name.as_bytes(), &format!("`{ANY}`"))?;
            return self.skip_field_value();
        };
        let (Some(url_field), Some(value_field)) = (schema.field(b"type_url"), schema.field(b"value")) else {
            return Err(Fault::new(start, format!("`{ANY}` lacks its fields")));
        };
        if seen.contains(url_field.slot) || seen.contains(value_field.slot) {
            return Err(Fault::new(start, format!("the contents of an `{ANY}` are specified multiple times")));
        }
        self.lexer.take(b':')?;
        let bytes = self.boxed(&descriptor)?.write_to_bytes_dyn().map_err(|error| {
            let message = format!("{} cannot be put into an `{ANY}`: {error}", quoted(name.as_bytes()));
            Fault::new(start, message)
        })?;
        self.charge(name.len() + bytes.len())?;
        self.mark(url_field, seen);
        if !bytes.is_empty() {
            self.mark(value_field, seen);
        }
        url_field.descriptor.set_singular_field(message, ReflectValueBox::String(name));
        value_field.descriptor.set_singular_field(message, ReflectValueBox::Bytes(bytes));
        Ok(())
    }

    /// The message type of a full name: of those in the options, and of those that the schema of the whole text
    /// imports.
    fn any_type(&mut self, name: &str) -> Option<MessageDescriptor> {
        if let Some(known) = self.any_types.get(name) {
            return known.clone();
        }
        let given = self.options.any_types.iter().find(|descriptor| descriptor.full_name() == name).cloned();
        let found = given.or_else(|| imported(self.root.file_descriptor(), name));
        self.any_types.insert(name.into(), found.clone());
        found
    }
}

/// The name behind the last slash of a URL, if both are what they must be.
fn type_name(url: &str) -> Option<&str> {
    let (prefix, name) = url.rsplit_once('/')?;
    let is_identifier = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    (!prefix.is_empty() && !prefix.starts_with('/') && name.split('.').all(is_identifier)).then_some(name)
}

/// The message type of a full name in a file of a schema, or in one that it imports.
fn imported(file: &FileDescriptor, name: &str) -> Option<MessageDescriptor> {
    let absolute = format!(".{name}");
    let mut visited = HashSet::new();
    let mut files = vec![file];
    while let Some(file) = files.pop() {
        if !visited.insert(file.name()) {
            continue;
        }
        // Map entries are messages in the schema only; they cannot be made.
        let found = file.message_by_full_name(&absolute).filter(|found| !found.is_map_entry());
        if found.is_some() {
            return found;
        }
        files.extend(file.deps());
    }
    None
}
