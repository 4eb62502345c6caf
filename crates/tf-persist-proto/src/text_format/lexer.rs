//! Tokens of the text format.

use super::Fault;

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The end of the text.
    End,
    /// A name: a letter or `_`, then letters, digits and `_`.
    Identifier,
    /// Digits: decimal, hexadecimal after `0x`, octal after `0`.
    Integer,
    /// A decimal number with a point, an exponent or the suffix `f`.
    Float,
    /// The opening quote of a string; [`Lexer::string`] reads on from there.
    Quote(u8),
    /// Any other ASCII character.
    Symbol(u8),
}

/// A token and the bytes it takes up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A text, and the token that is next in it.
pub(super) struct Lexer<'a> {
    pub(super) text: &'a [u8],
    pub(super) token: Token,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Result<Self, Fault> {
        if text.starts_with(b"\xef\xbb\xbf") {
            return Err(Fault::new(0, "the text begins with a byte order mark; save it as UTF-8 without one"));
        }
        let mut lexer = Self { text, token: Token { kind: Kind::End, start: 0, end: 0 } };
        lexer.advance()?;
        Ok(lexer)
    }

    /// The bytes of the next token.
    pub(super) fn lexeme(&self) -> &'a [u8] {
        &self.text[self.token.start..self.token.end]
    }

    /// The same as text. Names and numbers are ASCII; other tokens that are not UTF-8 are empty.
    pub(super) fn lexeme_str(&self) -> &'a str {
        str::from_utf8(self.lexeme()).unwrap_or_default()
    }

    pub(super) fn is(&self, symbol: u8) -> bool {
        self.token.kind == Kind::Symbol(symbol)
    }

    /// Goes to the token after this one.
    pub(super) fn advance(&mut self) -> Result<(), Fault> {
        let start = self.skip_blanks(self.token.end);
        let one = |kind| Token { kind, start, end: start + 1 };
        self.token = match self.byte(start) {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let end = self.run(start, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
                Token { kind: Kind::Identifier, start, end }
            }
            b'0'..=b'9' => self.number(start)?,
            b'.' if self.byte(start + 1).is_ascii_digit() => self.number(start)?,
            quote @ (b'"' | b'\'') => one(Kind::Quote(quote)),
            symbol @ 0x20..=0x7e => one(Kind::Symbol(symbol)),
            _ if start >= self.text.len() => Token { kind: Kind::End, start, end: start },
            _ => return Err(self.stray(start)),
        };
        Ok(())
    }

    /// Takes the symbol, if it is next.
    pub(super) fn take(&mut self, symbol: u8) -> Result<bool, Fault> {
        let is_next = self.is(symbol);
        if is_next {
            self.advance()?;
        }
        Ok(is_next)
    }

    /// Takes the symbol, which must be next.
    pub(super) fn expect(&mut self, symbol: u8) -> Result<(), Fault> {
        if self.take(symbol)? { Ok(()) } else { Err(self.unexpected(format_args!("`{}`", symbol as char))) }
    }

    /// "expected `{`, found `foo`", at the next token.
    #[cold]
    pub(super) fn unexpected(&self, expected: impl std::fmt::Display) -> Fault {
        Fault::new(self.token.start, format!("expected {expected}, found {}", self.found()))
    }

    /// The next token, for messages.
    #[cold]
    pub(super) fn found(&self) -> String {
        match self.token.kind {
            Kind::End => "the end of the text".into(),
            Kind::Quote(_) => "a string".into(),
            _ => quoted(self.lexeme()),
        }
    }

    /// Reads the name of an extension or the URL of an `Any`, up to and with the closing bracket. The opening one is
    /// next.
    pub(super) fn bracketed(&mut self) -> Result<String, Fault> {
        let mut name = String::new();
        let mut at = self.token.end;
        loop {
            at = self.skip_blanks(at);
            let end = self.run(at, |byte| byte.is_ascii_alphanumeric() || b"_-.~!$&()*+,;=%/".contains(&byte));
            if end == at {
                break;
            }
            name.extend(self.text[at..end].iter().map(|byte| *byte as char));
            at = end;
        }
        self.token = Token { kind: Kind::Symbol(b'['), start: at, end: at };
        self.advance()?;
        if name.is_empty() {
            return Err(self.unexpected("the name of an extension or the URL of a type"));
        }
        self.expect(b']')?;
        Ok(name)
    }

    /// The byte at an offset, 0 after the end.
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    /// The end of the run of such bytes that begins at `at`.
    pub(super) fn run(&self, at: usize, belongs: impl Fn(u8) -> bool) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        at + rest.iter().position(|byte| !belongs(*byte)).unwrap_or(rest.len())
    }

    /// The start of the next token, after white space and comments.
    fn skip_blanks(&self, mut at: usize) -> usize {
        loop {
            at = self.run(at, |byte| matches!(byte, b' ' | b'\t'..=b'\r'));
            if self.byte(at) != b'#' {
                return at;
            }
            // As in C++, a NUL ends a comment, and is refused as what comes next.
            at = self.run(at, |byte| byte != b'\n' && byte != 0);
        }
    }

    fn number(&self, start: usize) -> Result<Token, Fault> {
        let digits = |at| self.run(at, |byte| byte.is_ascii_digit());
        let mut kind = Kind::Integer;
        let mut end;
        if self.byte(start) == b'0' && matches!(self.byte(start + 1), b'x' | b'X') {
            end = self.run(start + 2, |byte| byte.is_ascii_hexdigit());
            if end == start + 2 {
                return Err(Fault::new(start, "`0x` needs hexadecimal digits behind it"));
            }
        } else if self.byte(start) == b'0' && self.byte(start + 1).is_ascii_digit() {
            end = self.run(start, |byte| matches!(byte, b'0'..=b'7'));
            if self.byte(end).is_ascii_digit() {
                let number = quoted(&self.text[start..digits(start)]);
                return Err(Fault::new(start, format!("{number} begins with 0 and is not octal")));
            }
        } else {
            end = digits(start);
            if self.byte(end) == b'.' {
                kind = Kind::Float;
                end = digits(end + 1);
            }
            if matches!(self.byte(end), b'e' | b'E') {
                kind = Kind::Float;
                let sign = usize::from(matches!(self.byte(end + 1), b'+' | b'-'));
                let exponent = end + 1 + sign;
                end = digits(exponent);
                if end == exponent {
                    return Err(Fault::new(start, "the exponent of a number has no digits"));
                }
            }
            if matches!(self.byte(end), b'f' | b'F') {
                kind = Kind::Float;
                end += 1;
            }
        }
        match self.byte(end) {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                Err(Fault::new(end, format!("a space is missing behind {}", quoted(&self.text[start..end]))))
            }
            b'.' => Err(Fault::new(end, format!("{} cannot have a point here", quoted(&self.text[start..end])))),
            _ => Ok(Token { kind, start, end }),
        }
    }

    /// A character that is allowed only in strings and comments.
    #[cold]
    fn stray(&self, at: usize) -> Fault {
        let rest = &self.text[at..];
        let character = String::from_utf8_lossy(&rest[..rest.len().min(4)]).chars().next().unwrap_or_default();
        Fault::new(at, format!("unexpected character `{}`", character.escape_debug()))
    }
}

/// The bytes in back-ticks, printable, and shortened if there are many.
pub(super) fn quoted(bytes: &[u8]) -> String {
    /// A message with longer names than this is not read.
    const SHOWN: usize = 60;
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]);
    let more = if bytes.len() > SHOWN { "…" } else { "" };
    format!("`{}{more}`", shown.escape_debug())
}
