//! String literals and their escapes.

use super::Fault;
use super::lexer::{Kind, Lexer};

impl Lexer<'_> {
    /// Reads adjacent literals as one string. The first one is next.
    pub(super) fn string(&mut self) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::new();
        while let Kind::Quote(quote) = self.token.kind {
            self.literal(quote, &mut out)?;
            self.advance()?;
        }
        out.shrink_to_fit();
        Ok(out)
    }

    /// Appends what a literal means, and lets the token end with it.
    fn literal(&mut self, quote: u8, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut at = self.token.end;
        loop {
            let end = self.run(at, |byte| byte != quote && !matches!(byte, b'\\' | b'\n' | 0));
            out.extend_from_slice(&self.text[at..end]);
            at = match self.byte(end) {
                byte if byte == quote => {
                    self.token.end = end + 1;
                    return Ok(());
                }
                b'\\' => self.escape(end, out)?,
                b'\n' => return Err(Fault::new(end, "the string does not end in its line; is a quote missing?")),
                _ if end < self.text.len() => return Err(Fault::new(end, "a string cannot hold a NUL; write `\\0`")),
                _ => return Err(Fault::new(self.token.start, "the string does not end")),
            };
        }
    }

    /// Appends what the escape at the backslash `start` means; where it ends.
    fn escape(&self, start: usize, out: &mut Vec<u8>) -> Result<usize, Fault> {
        let byte = match self.byte(start + 1) {
            b'a' => 0x07,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            same @ (b'\\' | b'\'' | b'"' | b'?') => same,
            b'0'..=b'7' => {
                let (value, end) = self.digits(start + 1, 3, 8);
                let byte = u8::try_from(value)
                    .map_err(|_| Fault::new(start, "an octal escape cannot be more than `\\377`"))?;
                out.push(byte);
                return Ok(end);
            }
            b'x' | b'X' => {
                let (value, end) = self.digits(start + 2, 2, 16);
                if end == start + 2 {
                    return Err(Fault::new(start, "`\\x` needs hexadecimal digits behind it"));
                }
                // Two digits fit a byte.
                out.push(value as u8);
                return Ok(end);
            }
            b'u' | b'U' => {
                let (character, end) = self.code_point(start)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(end);
            }
            _ => return Err(Fault::new(start, "no such escape; a backslash is written `\\\\`")),
        };
        out.push(byte);
        Ok(start + 2)
    }

    /// The character of a `\u` or `\U`, or of two `\u` that are a surrogate pair; where it ends.
    fn code_point(&self, start: usize) -> Result<(char, usize), Fault> {
        let length = if self.byte(start + 1) == b'u' { 4 } else { 8 };
        let (mut value, mut end) = self.digits(start + 2, length, 16);
        if end != start + 2 + length {
            return Err(Fault::new(start, format!("the escape needs {length} hexadecimal digits")));
        }
        if matches!(value, 0xd800..=0xdbff) && self.byte(end) == b'\\' && self.byte(end + 1) == b'u' {
            let (low, low_end) = self.digits(end + 2, 4, 16);
            if low_end == end + 6 && matches!(low, 0xdc00..=0xdfff) {
                value = 0x10000 + ((value - 0xd800) << 10) + (low - 0xdc00);
                end = low_end;
            }
        }
        let character =
            char::from_u32(value).ok_or_else(|| Fault::new(start, format!("U+{value:04X} is not a character")))?;
        Ok((character, end))
    }

    /// The number of at most `most` digits at `at`, which `most` keeps within 32 bits; where they end.
    fn digits(&self, at: usize, most: usize, radix: u32) -> (u32, usize) {
        let mut value = 0;
        for end in at..at + most {
            let Some(digit) = (self.byte(end) as char).to_digit(radix) else { return (value, end) };
            value = value * radix + digit;
        }
        (value, at + most)
    }
}
