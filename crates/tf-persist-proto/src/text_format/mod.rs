//! Reads protobuf's text format: `saved_model.pbtxt` and the configuration files of TensorFlow Serving.
//!
//! The grammar is that of <https://protobuf.dev/reference/protobuf/textformat-spec/>. Where it leaves a choice, the
//! choice is that of the C++ parser (`google/protobuf/text_format.cc`), which TensorFlow and TensorFlow Serving read
//! these files with. It is stricter than C++ in three things: octal escapes above `\377` and lone surrogates (`\ud800`)
//! are refused, and so is a `string` that is not UTF-8.
//!
//! `protobuf::text_format` is not used, because files come from strangers: it recurses without a limit, panics on some
//! escapes, and knows only what it prints itself.
//!
//! # Hostile input
//!
//! - Messages nested more than [`MAX_DEPTH`] deep are refused, as in the wire format.
//! - Time is linear in the length of the text, memory too; but a node with an empty attribute is 12 bytes of text and 5
//!   KB of memory. [`Options::memory`] bounds what a text may become.

mod any;
mod lexer;
mod reader;
mod schema;
mod skip;
mod string;
#[cfg(test)]
mod tests;
mod value;

use protobuf::MessageFull;
use protobuf::reflect::MessageDescriptor;

/// The deepest nesting of messages: the limit of the wire format in the C++ implementation and in ours. A map entry and
/// its value count as one.
pub const MAX_DEPTH: usize = 100;

/// How many bytes of memory the messages of one text may take, unless [`Options::memory`] says otherwise.
pub const MAX_MEMORY: u64 = 8 << 30;

/// How many names of skipped fields are remembered.
const MAX_SKIPPED_NAMES: usize = 32;

/// How a text is read.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// What to do about fields that the schema does not know.
    pub unknown_fields: UnknownFields,
    /// Messages that may be written out in a `google.protobuf.Any`, besides those that the schema of the message
    /// imports.
    pub any_types: &'a [MessageDescriptor],
    /// How many bytes of memory the messages may take, by an estimate.
    pub memory: u64,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { unknown_fields: UnknownFields::Refuse, any_types: &[], memory: MAX_MEMORY }
    }
}

/// What to do about fields, extensions and types of `Any` that the schema does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownFields {
    /// They are errors, as in C++: for files that people write.
    Refuse,
    /// They are passed over: for models of newer TensorFlows. What they held is lost when the message is written again.
    Skip,
}

/// A message, and the fields that were skipped.
#[derive(Debug)]
pub struct Parsed<M> {
    /// The message.
    pub message: M,
    /// What was skipped, sorted, each as "field `debug` of `tensorflow.NodeDef`"; no more than the first 32 of them.
    pub skipped: Vec<String>,
}

/// Why a text is not a message, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct TextError {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// An error at an offset, before lines are counted.
#[derive(Debug)]
struct Fault {
    at: usize,
    message: String,
}

impl Fault {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }

    fn locate(self, text: &[u8]) -> TextError {
        let before = text.get(..self.at).unwrap_or(text);
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        TextError {
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            // Bytes 0x80–0xbf continue a character of UTF-8.
            column: before[line_start..].iter().filter(|byte| **byte & 0xc0 != 0x80).count() + 1,
            message: self.message,
        }
    }
}

/// Reads a message; unknown fields are errors.
///
/// # Errors
///
/// If the text is not an `M`, or lacks one of its required fields.
pub fn parse<M: MessageFull>(text: impl AsRef<[u8]>) -> Result<M, TextError> {
    parse_with(text, &Options::default()).map(|parsed| parsed.message)
}

/// Reads a message, with options.
///
/// # Errors
///
/// As [`parse`]; and where the message would take more memory than the options allow.
pub fn parse_with<M: MessageFull>(text: impl AsRef<[u8]>, options: &Options<'_>) -> Result<Parsed<M>, TextError> {
    let text = text.as_ref();
    let mut message = M::new();
    let skipped = reader::read(text, options, &mut message).map_err(|fault| fault.locate(text))?;
    Ok(Parsed { message, skipped })
}
