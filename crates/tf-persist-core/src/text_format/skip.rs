//! Passing over what the schema does not know.

use super::Fault;
use super::lexer::Kind;
use super::reader::Reader;

impl Reader<'_> {
    /// Passes over what stands behind the name of a field. Without a colon it is a message.
    pub(super) fn skip_field_value(&mut self) -> Result<(), Fault> {
        if self.lexer.take(b':')? && !self.opens() { self.skip_value() } else { self.skip_message() }
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

    /// Passes over a scalar or a list.
    fn skip_value(&mut self) -> Result<(), Fault> {
        if let Kind::Quote(_) = self.lexer.token.kind {
            return self.lexer.string().map(drop);
        }
        if self.lexer.is(b'[') {
            return self.skip_list();
        }
        let is_negative = self.lexer.take(b'-')?;
        match self.lexer.token.kind {
            Kind::Integer | Kind::Float => {}
            Kind::Identifier if !is_negative => {}
            Kind::Identifier
                if ["inf", "infinity", "nan"].iter().any(|name| name.eq_ignore_ascii_case(self.lexer.lexeme_str())) => {
            }
            _ if is_negative => return Err(self.lexer.unexpected("a number")),
            _ => return Err(self.lexer.unexpected("a value")),
        }
        self.lexer.advance()
    }

    fn skip_list(&mut self) -> Result<(), Fault> {
        self.descend()?;
        self.lexer.expect(b'[')?;
        if !self.lexer.take(b']')? {
            loop {
                if self.opens() {
                    self.skip_message()?
                } else {
                    self.skip_value()?
                }
                if self.lexer.take(b']')? {
                    break;
                }
                self.comma_in_list()?;
            }
        }
        self.ascend();
        Ok(())
    }

    fn opens(&self) -> bool {
        self.lexer.is(b'{') || self.lexer.is(b'<')
    }
}
