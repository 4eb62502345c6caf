//! A position in a JSON text, and how to advance it: RapidJSON's iterative parser with the flags that TensorFlow
//! Serving sets (`NaN` and `Inf`, stop when done, no check of UTF-8).

use super::number::Number;
use crate::status::Status;

/// A syntax error, in RapidJSON's words (`error/en.h`), since clients see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    DocumentEmpty,
    ValueInvalid,
    ObjectMissName,
    ObjectMissColon,
    ObjectMissComma,
    ArrayMissComma,
    UnicodeEscape,
    Surrogate,
    Escape,
    MissQuotationMark,
    ControlCharacter,
    NumberTooBig,
    MissFraction,
    MissExponent,
}

impl Fault {
    fn text(self) -> &'static str {
        match self {
            Self::DocumentEmpty => "The document is empty.",
            Self::ValueInvalid => "Invalid value.",
            Self::ObjectMissName => "Missing a name for object member.",
            Self::ObjectMissColon => "Missing a colon after a name of object member.",
            Self::ObjectMissComma => "Missing a comma or '}' after an object member.",
            Self::ArrayMissComma => "Missing a comma or ']' after an array element.",
            Self::UnicodeEscape => "Incorrect hex digit after \\u escape in string.",
            Self::Surrogate => "The surrogate pair in string is invalid.",
            Self::Escape => "Invalid escape character in string.",
            Self::MissQuotationMark => "Missing a closing quotation mark in string.",
            Self::ControlCharacter => "Invalid encoding in string.",
            Self::NumberTooBig => "Number too big to be stored in double.",
            Self::MissFraction => "Miss fraction part in number.",
            Self::MissExponent => "Miss exponent in number.",
        }
    }
}

/// A syntax error and its byte offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) fault: Fault,
    pub(super) offset: usize,
}

impl From<SyntaxError> for Status {
    fn from(error: SyntaxError) -> Self {
        Self::invalid_argument(format!("JSON Parse error: {} at offset: {}", error.fault.text(), error.offset))
    }
}

pub(super) type Parsed<T> = Result<T, SyntaxError>;

/// A position in a JSON text. A copy keeps the position.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub(super) text: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    /// The byte here; 0 at the end of the text. A zero byte in the text counts as its end.
    #[inline]
    pub(super) fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    /// Skips this byte, if it is here.
    #[inline]
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let here = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(here);
        here
    }

    #[inline]
    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    pub(super) fn fault<T>(&self, fault: Fault) -> Parsed<T> {
        Err(SyntaxError { fault, offset: self.at })
    }

    /// Skips a word.
    pub(super) fn word(&mut self, word: &[u8]) -> Parsed<()> {
        for byte in word {
            if !self.eat(*byte) {
                return self.fault(Fault::ValueInvalid);
            }
        }
        Ok(())
    }

    /// Skips a value that is neither a list nor an object.
    #[inline]
    pub(super) fn skip_plain(&mut self) -> Parsed<()> {
        match self.peek() {
            b'"' => self.skip_string(),
            b'n' => self.word(b"null"),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            _ => self.number().map(|_: Number| ()),
        }
    }

    /// Skips any value, however deeply nested: each open list or object takes one bit of memory.
    pub(super) fn skip_value(&mut self) -> Parsed<()> {
        let mut open = Nesting::default();
        loop {
            // A value begins.
            match self.peek() {
                b'[' => {
                    self.at += 1;
                    self.skip_space();
                    if !self.eat(b']') {
                        open.push(false);
                        continue;
                    }
                }
                b'{' => {
                    self.at += 1;
                    self.skip_space();
                    if !self.eat(b'}') {
                        open.push(true);
                        self.skip_name()?;
                        continue;
                    }
                }
                b']' | b'}' | b',' | b':' => return self.fault(Fault::ValueInvalid),
                _ => self.skip_plain()?,
            }
            // A value has ended, and perhaps the lists and objects around it.
            loop {
                let Some(in_object) = open.last() else { return Ok(()) };
                self.skip_space();
                match (self.peek(), in_object) {
                    (b',', false) => {
                        self.at += 1;
                        self.skip_space();
                        break;
                    }
                    (b',', true) => {
                        self.at += 1;
                        self.skip_space();
                        self.skip_name()?;
                        break;
                    }
                    (b']', false) | (b'}', true) => {
                        self.at += 1;
                        open.pop();
                    }
                    (_, false) => return self.fault(Fault::ArrayMissComma),
                    (_, true) => return self.fault(Fault::ObjectMissComma),
                }
            }
        }
    }

    /// Skips a member's name and the colon.
    fn skip_name(&mut self) -> Parsed<()> {
        if self.peek() != b'"' {
            return self.fault(Fault::ObjectMissName);
        }
        self.skip_string()?;
        self.colon()
    }

    /// Steps from the end of a member's name to its value.
    pub(super) fn colon(&mut self) -> Parsed<()> {
        self.skip_space();
        if !self.eat(b':') {
            return self.fault(Fault::ObjectMissColon);
        }
        self.skip_space();
        Ok(())
    }

    /// Steps from a member's value to the next member's name. Returns whether there is one.
    pub(super) fn next_member(&mut self) -> Parsed<bool> {
        self.next(b'}', Fault::ObjectMissComma)
    }

    /// Steps from an element of a list to the next. Returns whether there is one.
    #[inline]
    pub(super) fn next_element(&mut self) -> Parsed<bool> {
        self.next(b']', Fault::ArrayMissComma)
    }

    /// Skips a comma, or the closing bracket.
    #[inline]
    fn next(&mut self, close: u8, neither: Fault) -> Parsed<bool> {
        self.skip_space();
        let found = self.peek();
        if found != b',' && found != close {
            return self.fault(neither);
        }
        self.at += 1;
        if found == close {
            return Ok(false);
        }
        self.skip_space();
        Ok(true)
    }

    /// Steps into the list or object here. Returns `false` for an empty one, which is skipped.
    #[inline]
    pub(super) fn enter(&mut self) -> bool {
        let close = self.peek() + 2; // `]` after `[`, `}` after `{`, each with one character between.
        self.at += 1;
        self.skip_space();
        !self.eat(close)
    }
}

/// Which of the open lists and objects are objects, one bit each.
#[derive(Default)]
struct Nesting {
    bits: Vec<u64>,
    len: usize,
}

impl Nesting {
    fn push(&mut self, object: bool) {
        let bit = self.len % 64;
        if bit == 0 {
            self.bits.push(0);
        }
        if let Some(last) = self.bits.last_mut() {
            *last = *last & !(1 << bit) | u64::from(object) << bit;
        }
        self.len += 1;
    }

    fn last(&self) -> Option<bool> {
        let index = self.len.checked_sub(1)?;
        self.bits.last().map(|bits| bits >> (index % 64) & 1 == 1)
    }

    fn pop(&mut self) {
        self.len -= 1;
        if self.len.is_multiple_of(64) {
            self.bits.pop();
        }
    }
}
