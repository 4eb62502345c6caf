//! Strings: any bytes except `"`, `\` and those below 0x20, and RapidJSON's escapes. UTF-8 is not checked.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::cursor::{Cursor, Fault, Parsed, SyntaxError};

impl<'a> Cursor<'a> {
    /// Skips the bytes of a string up to a quote, a backslash or a control character.
    #[inline]
    fn skip_plain_bytes(&mut self) {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = 0x8080_8080_8080_8080;
        while let Some(eight) = self.text.get(self.at..self.at + 8).and_then(|eight| eight.try_into().ok()) {
            let bytes = u64::from_le_bytes(eight);
            let quote = bytes ^ (ONES * b'"' as u64);
            let slash = bytes ^ (ONES * b'\\' as u64);
            // The lowest set bit is correct; higher ones may be wrong.
            let special = (bytes.wrapping_sub(ONES * 0x20) & !bytes
                | quote.wrapping_sub(ONES) & !quote
                | slash.wrapping_sub(ONES) & !slash)
                & HIGH;
            if special != 0 {
                self.at += (special.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 8;
        }
        while let Some(byte) = self.text.get(self.at) {
            if matches!(byte, b'"' | b'\\' | 0..0x20) {
                return;
            }
            self.at += 1;
        }
    }

    /// Skips the string here.
    pub(super) fn skip_string(&mut self) -> Parsed<()> {
        self.at += 1;
        loop {
            self.skip_plain_bytes();
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => {
                    self.escape()?;
                }
                0 => return self.fault(Fault::MissQuotationMark),
                _ => return self.fault(Fault::ControlCharacter),
            }
        }
    }

    /// Reads the string here. It is copied only if it has escapes.
    pub(super) fn string(&mut self) -> Parsed<Cow<'a, [u8]>> {
        let start = self.at + 1;
        let mut copied: Option<Vec<u8>> = None;
        let mut from = start;
        self.at = start;
        loop {
            self.skip_plain_bytes();
            let plain = &self.text[from..self.at];
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Ok(match copied {
                        None => Cow::Borrowed(plain),
                        Some(mut bytes) => {
                            bytes.extend_from_slice(plain);
                            Cow::Owned(bytes)
                        }
                    });
                }
                b'\\' => {
                    let character = self.escape()?;
                    let bytes = copied.get_or_insert_default();
                    bytes.extend_from_slice(plain);
                    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    from = self.at;
                }
                0 => return self.fault(Fault::MissQuotationMark),
                _ => return self.fault(Fault::ControlCharacter),
            }
        }
    }

    /// Reads the escape here.
    fn escape(&mut self) -> Parsed<char> {
        let offset = self.at;
        self.at += 1;
        let plain = match self.peek() {
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.at += 1;
                return self.unicode(offset);
            }
            _ => return Err(SyntaxError { fault: Fault::Escape, offset }),
        };
        self.at += 1;
        Ok(char::from(plain))
    }

    /// Reads the digits after `\u`. Errors have the offset of the backslash.
    fn unicode(&mut self, offset: usize) -> Parsed<char> {
        let surrogate = SyntaxError { fault: Fault::Surrogate, offset };
        let first = self.hex4(offset)?;
        if !(0xD800..=0xDFFF).contains(&first) {
            return char::from_u32(first).ok_or(surrogate);
        }
        if first > 0xDBFF || !self.eat(b'\\') || !self.eat(b'u') {
            return Err(surrogate);
        }
        let second = self.hex4(offset)?;
        if !(0xDC00..=0xDFFF).contains(&second) {
            return Err(surrogate);
        }
        char::from_u32(((first - 0xD800) << 10 | (second - 0xDC00)) + 0x10000).ok_or(surrogate)
    }

    fn hex4(&mut self, offset: usize) -> Parsed<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = char::from(self.peek()).to_digit(16);
            let digit = digit.ok_or(SyntaxError { fault: Fault::UnicodeEscape, offset })?;
            code = code << 4 | digit;
            self.at += 1;
        }
        Ok(code)
    }

    /// Returns a cursor at the string of a base64 object: an object with one member, a string named `b64`. This cursor
    /// is at the object.
    pub(super) fn base64_object(self) -> Parsed<Option<Self>> {
        let mut inside = self;
        if self.peek() != b'{' || !inside.enter() || inside.peek() != b'"' || inside.string()?.as_ref() != b"b64" {
            return Ok(None);
        }
        inside.colon()?;
        let string = inside;
        if inside.peek() != b'"' {
            return Ok(None);
        }
        inside.skip_string()?;
        inside.skip_space();
        Ok((inside.peek() == b'}').then_some(string))
    }
}

/// A name up to its first zero byte, as TensorFlow Serving reads it.
pub(super) fn c_string(name: &[u8]) -> &[u8] {
    name.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The standard alphabet, padded or not; unused last bits are ignored.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Decodes base64 as `absl::Base64Unescape` does: white space is allowed anywhere, and the padding, of `=` or `.`, may
/// be missing, but not half of it.
pub(super) fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let whole = !text.ends_with(b"=") || text.len().is_multiple_of(4);
    if let Some(bytes) = whole.then(|| LENIENT.decode(text).ok()).flatten() {
        return Some(bytes);
    }
    let is_space = |byte: &u8| matches!(byte, b' ' | 9..=13);
    let mut compact: Vec<u8> = text.iter().copied().filter(|byte| !is_space(byte)).collect();
    let data = compact.iter().position(|byte| matches!(byte, b'=' | b'.')).unwrap_or(compact.len());
    let padding = &compact[data..];
    let wanted = (4 - data % 4) % 4;
    if !padding.iter().all(|byte| matches!(byte, b'=' | b'.')) || !(padding.is_empty() || padding.len() == wanted) {
        return None;
    }
    compact.truncate(data);
    LENIENT.decode(&compact).ok()
}
