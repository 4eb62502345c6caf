//! Messages and their fields.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use protobuf::MessageDyn;
use protobuf::reflect::{MessageDescriptor, ReflectValueBox, RuntimeFieldType, RuntimeType};

use super::lexer::{Kind, Lexer, quoted};
use super::schema::{Field, Schema, Seen};
use super::value::{Part, Target, is_zero, zero};
use super::{Fault, MAX_DEPTH, MAX_SKIPPED_NAMES, Options, UnknownFields};

/// A text that is being read into a message.
pub(super) struct Reader<'a> {
    pub(super) lexer: Lexer<'a>,
    pub(super) options: &'a Options<'a>,
    pub(super) root: MessageDescriptor,
    /// The types of `Any` that were looked for, by their full names.
    pub(super) any_types: HashMap<String, Option<MessageDescriptor>>,
    schemas: HashMap<MessageDescriptor, Rc<Schema>>,
    depth: usize,
    /// How many bytes the messages take.
    memory: u64,
    skipped: BTreeSet<String>,
}

/// Reads the whole text into an empty message; the names of fields that were skipped.
pub(super) fn read(text: &[u8], options: &Options<'_>, message: &mut dyn MessageDyn) -> Result<Vec<String>, Fault> {
    let root = message.descriptor_dyn();
    let mut reader = Reader {
        lexer: Lexer::new(text)?,
        options,
        root: root.clone(),
        any_types: HashMap::new(),
        schemas: HashMap::new(),
        depth: 0,
        memory: 0,
        skipped: BTreeSet::new(),
    };
    let schema = reader.schema(&root);
    let mut seen = Seen::default();
    while reader.lexer.token.kind != Kind::End {
        reader.field(message, &schema, &mut seen)?;
    }
    if !message.is_initialized_dyn() {
        return Err(Fault::new(text.len(), format!("a required field is missing in `{root}` or in a message in it")));
    }
    Ok(reader.skipped.into_iter().collect())
}

impl<'a> Reader<'a> {
    /// Reads a field into the message it belongs to.
    fn field(&mut self, message: &mut dyn MessageDyn, schema: &Schema, seen: &mut Seen) -> Result<(), Fault> {
        if self.lexer.is(b'[') {
            self.bracketed_field(message, schema, seen)?;
            return self.separator();
        }
        let start = self.lexer.token.start;
        let name = self.field_name()?;
        let Some(field) = schema.field(name) else {
            if !schema.is_reserved(name) {
                self.skip_unknown(start, "field", name, &format!("`{}`", schema.name))?;
            }
            self.skip_field_value()?;
            return self.separator();
        };
        check_first(field, schema, seen, start)?;
        match &field.shape {
            RuntimeFieldType::Singular(RuntimeType::Message(descriptor)) => {
                self.lexer.take(b':')?;
                self.mark(field, seen);
                let inner = field.descriptor.mut_message(message);
                self.charge(size_of_val(inner))?;
                let schema = self.schema(descriptor);
                self.message(inner, &schema)?;
            }
            RuntimeFieldType::Singular(of) => {
                self.lexer.expect(b':')?;
                let value = self.scalar(Target { field, part: Part::Whole }, of)?;
                if field.has_presence || !is_zero(&value) {
                    self.mark(field, seen);
                }
                field.descriptor.set_singular_field(message, value);
            }
            RuntimeFieldType::Repeated(of) => {
                self.colon(of)?;
                let mut list = field.descriptor.mut_repeated(message);
                self.each(|reader| {
                    reader.charge(size_of::<u64>())?;
                    list.push(reader.value(Target { field, part: Part::Whole }, of)?);
                    Ok(())
                })?;
            }
            RuntimeFieldType::Map(key_type, value_type) => {
                self.lexer.take(b':')?;
                let mut map = field.descriptor.mut_map(message);
                self.each(|reader| {
                    let (key, value) = reader.entry(field, key_type, value_type)?;
                    let size = match &value {
                        ReflectValueBox::Message(value) => size_of_val(&**value),
                        _ => size_of::<ReflectValueBox>(),
                    };
                    // The nodes of a B-tree have room for 11 entries, and are half full or more, except for the first.
                    let entries = if map.is_empty() { 11 } else { 1 };
                    reader.charge(entries * (size + size_of::<String>()))?;
                    map.insert(key, value);
                    Ok(())
                })?;
            }
        }
        self.separator()
    }

    /// Takes the name of a field.
    pub(super) fn field_name(&mut self) -> Result<&'a [u8], Fault> {
        let name = self.lexer.lexeme();
        match self.lexer.token.kind {
            Kind::Identifier => {}
            // Unknown fields of the wire format are printed with their numbers.
            Kind::Integer if self.skips() => {}
            _ if self.depth == 0 => return Err(self.lexer.unexpected("the name of a field")),
            _ => return Err(self.lexer.unexpected("the name of a field or the end of the message")),
        }
        self.lexer.advance()?;
        Ok(name)
    }

    /// Takes the colon after the name of a field, which is optional before a message.
    fn colon(&mut self, of: &RuntimeType) -> Result<(), Fault> {
        match of {
            RuntimeType::Message(_) => self.lexer.take(b':').map(drop),
            _ => self.lexer.expect(b':'),
        }
    }

    /// Takes the comma or semicolon that may follow a field.
    pub(super) fn separator(&mut self) -> Result<(), Fault> {
        if !self.lexer.take(b',')? {
            self.lexer.take(b';')?;
        }
        Ok(())
    }

    /// Reads one value of a repeated field, or a list of them in brackets.
    pub(super) fn each(&mut self, mut one: impl FnMut(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        if !self.lexer.take(b'[')? {
            return one(self);
        }
        if self.lexer.take(b']')? {
            return Ok(());
        }
        loop {
            one(self)?;
            if self.lexer.take(b']')? {
                return Ok(());
            }
            if !self.lexer.take(b',')? {
                return Err(self.lexer.unexpected("`,` or `]`"));
            }
        }
    }

    /// Reads one value of any type, in a list or in a map.
    fn value(&mut self, target: Target<'_>, of: &RuntimeType) -> Result<ReflectValueBox, Fault> {
        match of {
            RuntimeType::Message(descriptor) => self.boxed(descriptor).map(ReflectValueBox::Message),
            _ => self.scalar(target, of),
        }
    }

    /// Reads a nested message.
    pub(super) fn boxed(&mut self, descriptor: &MessageDescriptor) -> Result<Box<dyn MessageDyn>, Fault> {
        let mut message = descriptor.new_instance();
        self.charge(size_of_val(&*message))?;
        let schema = self.schema(descriptor);
        self.message(&mut *message, &schema)?;
        Ok(message)
    }

    /// Reads the fields of a message, with the brackets around them.
    fn message(&mut self, message: &mut dyn MessageDyn, schema: &Schema) -> Result<(), Fault> {
        self.descend()?;
        let close = self.open()?;
        let mut seen = Seen::default();
        while !self.closes() {
            self.field(message, schema, &mut seen)?;
        }
        self.ascend();
        self.lexer.expect(close)
    }

    /// Reads an entry of a map: a message of a key and a value, each of which may be left out.
    fn entry(
        &mut self,
        field: &Field,
        key_type: &RuntimeType,
        value_type: &RuntimeType,
    ) -> Result<(ReflectValueBox, ReflectValueBox), Fault> {
        let close = self.open()?;
        let (mut key, mut value) = (None, None);
        while !self.closes() {
            let start = self.lexer.token.start;
            let (slot, target, of) = match self.entry_field_name(field)? {
                Some(Part::Key) => (&mut key, Target { field, part: Part::Key }, key_type),
                Some(part) => (&mut value, Target { field, part }, value_type),
                None => continue,
            };
            if slot.as_ref().is_some_and(|first| field.has_presence || !is_zero(first)) {
                return Err(Fault::new(start, format!("{target} is specified multiple times")));
            }
            self.colon(of)?;
            *slot = Some(self.value(target, of)?);
            self.separator()?;
        }
        self.lexer.expect(close)?;
        Ok((key.unwrap_or_else(|| zero(key_type)), value.unwrap_or_else(|| zero(value_type))))
    }

    /// Takes the name of a field of a map entry; `None` where it was an unknown one, which is skipped.
    fn entry_field_name(&mut self, field: &Field) -> Result<Option<Part>, Fault> {
        let start = self.lexer.token.start;
        let of = || format!("an entry of {field}");
        if self.lexer.is(b'[') {
            let name = self.lexer.bracketed()?;
            self.skip_unknown(start, "extension", name.as_bytes(), &of())?;
        } else {
            match self.field_name()? {
                b"key" => return Ok(Some(Part::Key)),
                b"value" => return Ok(Some(Part::Value)),
                name => self.skip_unknown(start, "field", name, &of())?,
            }
        }
        self.skip_field_value()?;
        self.separator()?;
        Ok(None)
    }

    /// Opens a message; the bracket that closes it.
    pub(super) fn open(&mut self) -> Result<u8, Fault> {
        let close = match self.lexer.token.kind {
            Kind::Symbol(b'{') => b'}',
            Kind::Symbol(b'<') => b'>',
            _ => return Err(self.lexer.unexpected("`{`")),
        };
        self.lexer.advance()?;
        Ok(close)
    }

    /// Whether a message ends here, rightly or wrongly.
    pub(super) fn closes(&self) -> bool {
        self.lexer.is(b'}') || self.lexer.is(b'>')
    }

    /// Goes into a message, or a list that is skipped.
    pub(super) fn descend(&mut self) -> Result<(), Fault> {
        if self.depth == MAX_DEPTH {
            let message = format!("messages are nested more than {MAX_DEPTH} deep");
            return Err(Fault::new(self.lexer.token.start, message));
        }
        self.depth += 1;
        Ok(())
    }

    /// Leaves it.
    pub(super) fn ascend(&mut self) {
        self.depth -= 1;
    }

    /// The description of a message type.
    pub(super) fn schema(&mut self, descriptor: &MessageDescriptor) -> Rc<Schema> {
        if let Some(schema) = self.schemas.get(descriptor) {
            return Rc::clone(schema);
        }
        let schema = Rc::new(Schema::new(descriptor));
        self.schemas.insert(descriptor.clone(), Rc::clone(&schema));
        schema
    }

    /// Counts memory that was taken.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), Fault> {
        self.memory = self.memory.saturating_add(bytes as u64);
        if self.memory > self.options.memory {
            let message = format!("the messages take more than {} bytes of memory", self.options.memory);
            return Err(Fault::new(self.lexer.token.start, message));
        }
        Ok(())
    }

    /// Remembers that the field is set.
    pub(super) fn mark(&self, field: &Field, seen: &mut Seen) {
        seen.insert(field.slot);
        if let Some(oneof) = field.oneof {
            seen.insert(oneof);
        }
    }

    pub(super) fn skips(&self) -> bool {
        self.options.unknown_fields == UnknownFields::Skip
    }

    /// Remembers what is unknown and skipped, or refuses it.
    #[cold]
    pub(super) fn skip_unknown(&mut self, start: usize, what: &str, name: &[u8], of: &str) -> Result<(), Fault> {
        if !self.skips() {
            return Err(Fault::new(start, format!("unknown {what} {} of {of}", quoted(name))));
        }
        if self.skipped.len() < MAX_SKIPPED_NAMES {
            self.skipped.insert(format!("{what} {} of {of}", quoted(name)));
        }
        Ok(())
    }
}

/// Refuses what is set already: a field that is not repeated, or another one of its oneof.
fn check_first(field: &Field, schema: &Schema, seen: &Seen, start: usize) -> Result<(), Fault> {
    if seen.contains(field.slot) {
        return Err(Fault::new(start, format!("{field} is specified multiple times")));
    }
    let Some(oneof) = field.oneof.filter(|oneof| seen.contains(*oneof)) else { return Ok(()) };
    let other = schema.set_field(oneof, seen).map_or("", |other| other.descriptor.name());
    Err(Fault::new(start, format!("{field} is specified along with `{other}`, and only one of them can be")))
}
