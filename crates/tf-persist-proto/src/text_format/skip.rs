//! Skips fields that the schema does not know.

use super::Fault;
use super::lexer::Kind;
use super::reader::Reader;
use super::value::infinite_or_nan;

impl Reader<'_> {
    /// Skips the value after the name of a field. Without a colon it is a message.
    pub(super) fn skip_field_value(&mut self) -> Result<(), Fault> {
        if self.lexer.take(b':')? { self.skip_value() } else { self.skip_message() }
    }

    fn skip_value(&mut self) -> Result<(), Fault> {
        match self.lexer.token.kind {
            Kind::Symbol(b'{' | b'<') => self.skip_message(),
            Kind::Symbol(b'[') => {
                self.descend()?;
                self.each(Self::skip_value)?;
                self.ascend();
                Ok(())
            }
            Kind::Quote(_) => self.lexer.string().map(drop),
            _ => self.skip_word(),
        }
    }

    /// Skips a number, or the name of a value.
    fn skip_word(&mut self) -> Result<(), Fault> {
        let is_negative = self.lexer.take(b'-')?;
        match self.lexer.token.kind {
            Kind::Integer | Kind::Float => {}
            Kind::Identifier if !is_negative || infinite_or_nan(self.lexer.lexeme_str()).is_some() => {}
            _ if is_negative => return Err(self.lexer.unexpected("a number")),
            _ => return Err(self.lexer.unexpected("a value")),
        }
        self.lexer.advance()
    }

    fn skip_message(&mut self) -> Result<(), Fault> {
        self.descend()?;
        let close = self.open()?;
        while !self.closes() {
            if self.lexer.is(b'[') {
                self.lexer.bracketed()?;
            } else {
                self.field_name()?;
            }
            self.skip_field_value()?;
            self.separator()?;
        }
        self.ascend();
        self.lexer.expect(close)
    }
}
