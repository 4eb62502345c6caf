//! JSON as RapidJSON's `PrettyWriter` writes it: indented by four spaces per level, lists on one line or with one
//! element per line.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// How lists are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lists {
    /// One element per line.
    Lines,
    /// `kFormatSingleLineArray`.
    OneLine,
}

const INDENT: usize = 4;

#[derive(Debug, Clone, Copy)]
struct Level {
    in_list: bool,
    /// The number of values so far; in an object, names count too.
    values: usize,
}

/// Writes a JSON text. The calls must make a valid one, in order.
pub(super) struct Writer {
    out: Vec<u8>,
    levels: Vec<Level>,
    /// How lists are laid out from now on.
    pub(super) lists: Lists,
}

impl Writer {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes), levels: Vec::with_capacity(8), lists: Lists::Lines }
    }

    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Writes the separator before a value.
    #[inline]
    fn before(&mut self) {
        let Some(level) = self.levels.last_mut() else { return };
        let values = level.values;
        level.values += 1;
        if level.in_list {
            if self.lists == Lists::OneLine {
                if values > 0 {
                    self.out.extend_from_slice(b", ");
                }
            } else {
                if values > 0 {
                    self.out.push(b',');
                }
                self.new_line();
            }
        } else if values % 2 == 1 {
            self.out.extend_from_slice(b": ");
        } else {
            if values > 0 {
                self.out.push(b',');
            }
            self.new_line();
        }
    }

    fn new_line(&mut self) {
        self.out.push(b'\n');
        self.out.resize(self.out.len() + INDENT * self.levels.len(), b' ');
    }

    pub(super) fn begin_list(&mut self) {
        self.before();
        self.levels.push(Level { in_list: true, values: 0 });
        self.out.push(b'[');
    }

    pub(super) fn end_list(&mut self) {
        let empty = self.levels.pop().is_none_or(|level| level.values == 0);
        if !empty && self.lists == Lists::Lines {
            self.new_line();
        }
        self.out.push(b']');
    }

    pub(super) fn begin_object(&mut self) {
        self.before();
        self.levels.push(Level { in_list: false, values: 0 });
        self.out.push(b'{');
    }

    pub(super) fn end_object(&mut self) {
        if self.levels.pop().is_some_and(|level| level.values > 0) {
            self.new_line();
        }
        self.out.push(b'}');
    }

    /// Writes a value that is already JSON.
    pub(super) fn raw(&mut self, json: &[u8]) {
        self.before();
        self.out.extend_from_slice(json);
    }

    /// Begins a value that the caller appends to the returned buffer.
    #[inline]
    pub(super) fn value(&mut self) -> &mut Vec<u8> {
        self.before();
        &mut self.out
    }

    pub(super) fn boolean(&mut self, value: bool) {
        self.raw(if value { b"true" } else { b"false" });
    }

    pub(super) fn signed(&mut self, value: i64) {
        self.before();
        if value < 0 {
            self.out.push(b'-');
        }
        push_digits(&mut self.out, value.unsigned_abs());
    }

    pub(super) fn unsigned(&mut self, value: u64) {
        self.before();
        push_digits(&mut self.out, value);
    }

    /// Writes a string or a name. Bytes that are not UTF-8 are copied unchanged.
    pub(super) fn string(&mut self, bytes: &[u8]) {
        self.before();
        push_string(&mut self.out, bytes);
    }

    /// Writes bytes as a base64 string.
    pub(super) fn base64(&mut self, bytes: &[u8]) {
        self.before();
        self.out.push(b'"');
        let start = self.out.len();
        let len = base64::encoded_len(bytes.len(), true).unwrap_or(0);
        self.out.resize(start + len, 0);
        // Cannot fail: the buffer has the encoded length.
        let _ = STANDARD.encode_slice(bytes, &mut self.out[start..]);
        self.out.push(b'"');
    }
}

/// Appends a string in quotes. Bytes that are not UTF-8 are copied unchanged.
pub(super) fn push_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) {
        out.extend_from_slice(&rest[..at]);
        push_escape(out, rest[at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let short = match byte {
        8 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        12 => b'f',
        b'\r' => b'r',
        b'"' | b'\\' => byte,
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
            return;
        }
    };
    out.extend([b'\\', short]);
}

/// The two digits of each number up to 99.
static PAIRS: [u8; 200] = {
    let mut pairs = [0; 200];
    let mut number = 0;
    while number < 100 {
        pairs[2 * number] = b'0' + (number / 10) as u8;
        pairs[2 * number + 1] = b'0' + (number % 10) as u8;
        number += 1;
    }
    pairs
};

/// The most decimal digits of a 64-bit number.
pub(super) const MAX_DIGITS: usize = 20;

/// Writes the decimal digits of a number to the end of the buffer. Returns the index of the first.
#[inline]
pub(super) fn digits_before_end(buffer: &mut [u8; MAX_DIGITS], mut value: u64) -> usize {
    let mut at = MAX_DIGITS;
    while value >= 10 {
        let pair = 2 * (value % 100) as usize;
        value /= 100;
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if value > 0 || at == MAX_DIGITS {
        at -= 1;
        buffer[at] = b'0' + value as u8;
    }
    at
}

/// Appends the decimal digits of a number.
#[inline]
pub(super) fn push_digits(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0; MAX_DIGITS];
    let at = digits_before_end(&mut digits, value);
    out.extend_from_slice(&digits[at..]);
}
