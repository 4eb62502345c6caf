//! Numbers, strings, bools and enums.

use std::fmt;

use protobuf::reflect::{EnumDescriptor, ReflectValueBox, RuntimeType};

use super::Fault;
use super::lexer::{Kind, quoted};
use super::reader::Reader;
use super::schema::Field;

/// The target of a value.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) field: &'a Field,
    pub(super) part: Part,
}

/// The part of a field that a value is for.
#[derive(Clone, Copy)]
pub(super) enum Part {
    /// The field, or an element of it.
    Whole,
    /// The key of a map entry.
    Key,
    /// The value of a map entry.
    Value,
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            Part::Whole => write!(f, "{}", self.field),
            Part::Key => write!(f, "the key of {}", self.field),
            Part::Value => write!(f, "the value of {}", self.field),
        }
    }
}

impl Reader<'_> {
    /// Reads a value that is not a message.
    pub(super) fn scalar(&mut self, target: Target<'_>, of: &RuntimeType) -> Result<ReflectValueBox, Fault> {
        Ok(match of {
            RuntimeType::I32 => ReflectValueBox::I32(self.integer(target, "int32", true)?),
            RuntimeType::I64 => ReflectValueBox::I64(self.integer(target, "int64", true)?),
            RuntimeType::U32 => ReflectValueBox::U32(self.integer(target, "uint32", false)?),
            RuntimeType::U64 => ReflectValueBox::U64(self.integer(target, "uint64", false)?),
            // As in C++, by way of a double.
            RuntimeType::F32 => ReflectValueBox::F32(self.float(target)? as f32),
            RuntimeType::F64 => ReflectValueBox::F64(self.float(target)?),
            RuntimeType::Bool => ReflectValueBox::Bool(self.bool(target)?),
            RuntimeType::String => {
                let start = self.lexer.token.start;
                let text = String::from_utf8(self.bytes(target)?)
                    .map_err(|_| Fault::new(start, format!("{target} is not UTF-8")))?;
                ReflectValueBox::String(text)
            }
            RuntimeType::VecU8 => ReflectValueBox::Bytes(self.bytes(target)?),
            RuntimeType::Enum(descriptor) => {
                let number = self.enumeration(target, descriptor)?;
                ReflectValueBox::Enum(descriptor.clone(), number)
            }
            RuntimeType::Message(descriptor) => ReflectValueBox::Message(self.boxed(descriptor)?),
        })
    }

    fn bytes(&mut self, target: Target<'_>) -> Result<Vec<u8>, Fault> {
        let Kind::Quote(_) = self.lexer.token.kind else { return Err(self.mismatch(target, "a string")) };
        let bytes = self.lexer.string()?;
        self.charge(size_of::<ReflectValueBox>() + bytes.len())?;
        Ok(bytes)
    }

    /// Reads an integer of at most 64 bits. Unsigned ones have no sign, not even `-0`.
    fn integer<T: TryFrom<i128>>(&mut self, target: Target<'_>, name: &str, signed: bool) -> Result<T, Fault> {
        let start = self.lexer.token.start;
        let is_negative = signed && self.lexer.take(b'-')?;
        if self.lexer.token.kind != Kind::Integer {
            return Err(self.mismatch(target, "an integer"));
        }
        let value = magnitude(self.lexer.lexeme_str())
            .map(|value| if is_negative { -i128::from(value) } else { i128::from(value) })
            .and_then(|value| T::try_from(value).ok())
            .ok_or_else(|| {
                let number = quoted(&self.lexer.text[start..self.lexer.token.end]);
                Fault::new(start, format!("{target} is an {name}, which cannot hold {number}"))
            })?;
        self.lexer.advance()?;
        Ok(value)
    }

    fn float(&mut self, target: Target<'_>) -> Result<f64, Fault> {
        let is_negative = self.lexer.take(b'-')?;
        let text = self.lexer.lexeme_str();
        let value = match self.lexer.token.kind {
            Kind::Integer if text.len() > 1 && text.starts_with('0') => None,
            Kind::Integer => text.parse().ok(),
            Kind::Float => text.trim_end_matches(['f', 'F']).parse().ok(),
            Kind::Identifier => infinite_or_nan(text),
            _ => None,
        };
        let value: f64 = value.ok_or_else(|| self.mismatch(target, "a decimal number"))?;
        self.lexer.advance()?;
        Ok(if is_negative { -value } else { value })
    }

    fn bool(&mut self, target: Target<'_>) -> Result<bool, Fault> {
        let text = self.lexer.lexeme_str();
        let value = match self.lexer.token.kind {
            Kind::Integer => magnitude(text).and_then(|value| u8::try_from(value).ok()).and_then(|value| match value {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            }),
            Kind::Identifier => match text {
                "true" | "True" | "t" => Some(true),
                "false" | "False" | "f" => Some(false),
                _ => None,
            },
            _ => None,
        };
        let value = value.ok_or_else(|| self.mismatch(target, "`true` or `false`"))?;
        self.lexer.advance()?;
        Ok(value)
    }

    /// Reads the number of an enum value, given by its name or its number.
    fn enumeration(&mut self, target: Target<'_>, descriptor: &EnumDescriptor) -> Result<i32, Fault> {
        let token = self.lexer.token;
        if token.kind == Kind::Identifier {
            let Some(value) = descriptor.value_by_name(self.lexer.lexeme_str()) else {
                return Err(self.mismatch(target, format_args!("a value of `{descriptor}`")));
            };
            self.lexer.advance()?;
            return Ok(value.value());
        }
        if token.kind != Kind::Integer && !self.lexer.is(b'-') {
            return Err(self.mismatch(target, format_args!("a value of `{descriptor}`")));
        }
        let number = self.integer(target, "int32", true)?;
        if target.field.is_closed && descriptor.value_by_number(number).is_none() {
            let message = format!("{target} takes a value of `{descriptor}`, and {number} is none");
            return Err(Fault::new(token.start, message));
        }
        Ok(number)
    }

    /// "field `size` of `a.B` takes an integer, not `foo`", at the next token.
    #[cold]
    fn mismatch(&self, target: Target<'_>, expected: impl fmt::Display) -> Fault {
        let message = match self.lexer.token.kind {
            Kind::Symbol(b'[') => format!("{target} takes one value, not a list"),
            _ => format!("{target} takes {expected}, not {}", self.lexer.found()),
        };
        Fault::new(self.lexer.token.start, message)
    }
}

/// The value of an integer token, if 64 bits hold it.
fn magnitude(digits: &str) -> Option<u64> {
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (digits.get(2..)?, 16),
        [b'0', _, ..] => (digits, 8),
        _ => (digits, 10),
    };
    u64::from_str_radix(digits, radix).ok()
}

/// The number with this name, in upper or lower case.
pub(super) fn infinite_or_nan(name: &str) -> Option<f64> {
    let is = |other| name.eq_ignore_ascii_case(other);
    if is("inf") || is("infinity") { Some(f64::INFINITY) } else { is("nan").then_some(f64::NAN) }
}

/// Whether a value is the default of a field without presence. Negative zero is not.
pub(super) fn is_zero(value: &ReflectValueBox) -> bool {
    match value {
        ReflectValueBox::I32(value) => *value == 0,
        ReflectValueBox::I64(value) => *value == 0,
        ReflectValueBox::U32(value) => *value == 0,
        ReflectValueBox::U64(value) => *value == 0,
        ReflectValueBox::F32(value) => value.to_bits() == 0,
        ReflectValueBox::F64(value) => value.to_bits() == 0,
        ReflectValueBox::Bool(value) => !value,
        ReflectValueBox::String(value) => value.is_empty(),
        ReflectValueBox::Bytes(value) => value.is_empty(),
        ReflectValueBox::Enum(_, value) => *value == 0,
        ReflectValueBox::Message(_) => false,
    }
}

/// The default of a key or value that a map entry leaves out.
pub(super) fn zero(of: &RuntimeType) -> ReflectValueBox {
    match of {
        RuntimeType::I32 => ReflectValueBox::I32(0),
        RuntimeType::I64 => ReflectValueBox::I64(0),
        RuntimeType::U32 => ReflectValueBox::U32(0),
        RuntimeType::U64 => ReflectValueBox::U64(0),
        RuntimeType::F32 => ReflectValueBox::F32(0.0),
        RuntimeType::F64 => ReflectValueBox::F64(0.0),
        RuntimeType::Bool => ReflectValueBox::Bool(false),
        RuntimeType::String => ReflectValueBox::String(String::new()),
        RuntimeType::VecU8 => ReflectValueBox::Bytes(Vec::new()),
        RuntimeType::Enum(descriptor) => ReflectValueBox::Enum(descriptor.clone(), descriptor.default_value().value()),
        RuntimeType::Message(descriptor) => ReflectValueBox::Message(descriptor.new_instance()),
    }
}
