//! The wire format of protocol buffers, read field by field, without copying and without recursion.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>. The library reads the parts of a model that it needs in
//! this way: decoding a whole graph takes forty times the memory of the file. It is public for code that reads other
//! hostile messages, such as a server's requests.

/// Why bytes are not a message, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireError {
    /// The offset of the byte.
    pub offset: usize,
    /// The reason, without the offset.
    pub reason: &'static str,
}

impl std::error::Error for WireError {}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at byte {}", self.reason, self.offset)
    }
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// An integer, enum or bool.
    Varint(u64),
    /// Eight bytes, such as a double.
    Fixed64(u64),
    /// Four bytes, such as a float.
    Fixed32(u32),
    /// A string, bytes, a message, or packed numbers.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The bytes of a length-delimited field.
    #[must_use]
    #[inline]
    pub fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text of a string field; empty if it is not one.
    #[must_use]
    #[inline]
    pub fn text(self) -> &'a str {
        self.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// The number of an integer, enum or bool field. Protobuf truncates numbers that do not fit, as an `as` cast does.
    #[must_use]
    #[inline]
    pub fn int(self) -> Option<i64> {
        match self {
            Self::Varint(value) => Some(value.cast_signed()),
            _ => None,
        }
    }
}

/// Reads the fields of one message in turn.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the beginning of a message.
    #[must_use]
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Where the next field begins.
    #[must_use]
    #[inline]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Moves to a position, at most the end of the bytes.
    #[inline]
    pub fn seek(&mut self, position: usize) {
        self.position = position.min(self.bytes.len());
    }

    /// The next field, which must end by this position, the end of its message.
    ///
    /// # Errors
    /// If no whole field ends by this position.
    #[inline]
    pub fn next_until(&mut self, end: usize) -> Result<(u32, Value<'a>), WireError> {
        let mut inner = Self { bytes: &self.bytes[..end.min(self.bytes.len())], position: self.position };
        let next = inner.next()?;
        self.position = inner.position;
        next.ok_or_else(|| self.error(end, "the data ends before a field"))
    }

    #[inline]
    fn error(&self, offset: usize, reason: &'static str) -> WireError {
        WireError { offset, reason }
    }

    /// The next field's number and value, or `None` at the end.
    ///
    /// # Errors
    /// If the bytes are not a field.
    #[expect(clippy::should_implement_trait, reason = "an iterator would go on after an error")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, WireError> {
        // Nearly every field of a graph has a tag of one byte and a number or length of one byte.
        if let Some([tag @ 8..0x80, number @ ..0x80, rest @ ..]) = self.bytes.get(self.position..) {
            let value = match tag & 7 {
                0 => Some((Value::Varint(u64::from(*number)), 0)),
                2 => rest.get(..usize::from(*number)).map(|bytes| (Value::Bytes(bytes), bytes.len())),
                _ => None,
            };
            if let Some((value, length)) = value {
                self.position += 2 + length;
                return Ok(Some((u32::from(tag >> 3), value)));
            }
        }
        self.next_of_any_length()
    }

    fn next_of_any_length(&mut self) -> Result<Option<(u32, Value<'a>)>, WireError> {
        let start = self.position;
        if start >= self.bytes.len() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let field = u32::try_from(tag >> 3).ok().filter(|field| (1..1 << 29).contains(field));
        let Some(field) = field else { return Err(self.error(start, "an invalid field number")) };
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.fixed(start)?)),
            2 => Value::Bytes(self.delimited()?),
            5 => Value::Fixed32(u32::from_le_bytes(self.fixed(start)?)),
            // Groups went out of use before TensorFlow was written, and the protobuf crate would lose them on rewrite.
            3 | 4 => return Err(self.error(start, "a group, which no TensorFlow message has")),
            _ => return Err(self.error(start, "an invalid field type")),
        };
        Ok(Some((field, value)))
    }

    /// A number of 7 bits a byte, lowest first.
    ///
    /// # Errors
    /// If the bytes end inside it, or it has more than 64 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, WireError> {
        // Nearly every number of a graph, tags and lengths among them, has one byte.
        if let Some(byte) = self.bytes.get(self.position).filter(|byte| **byte < 0x80) {
            self.position += 1;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let start = self.position;
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let Some(byte) = self.bytes.get(self.position) else {
                return Err(self.error(start, "the data ends inside a number"));
            };
            self.position += 1;
            // The tenth byte has room for the 64th bit alone.
            if shift == 63 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error(start, "a number of more than 64 bits"))
    }

    #[inline]
    fn fixed<const N: usize>(&mut self, start: usize) -> Result<[u8; N], WireError> {
        let Some(bytes) = self.bytes[self.position..].first_chunk() else {
            return Err(self.error(start, "the data ends inside a number"));
        };
        self.position += N;
        Ok(*bytes)
    }

    #[inline]
    fn delimited(&mut self) -> Result<&'a [u8], WireError> {
        let start = self.position;
        let length = self.varint()?;
        let rest = &self.bytes[self.position..];
        let bytes = usize::try_from(length).ok().and_then(|length| rest.get(..length));
        let Some(bytes) = bytes else {
            return Err(self.error(start, "a length that goes beyond the end of the data"));
        };
        self.position += bytes.len();
        Ok(bytes)
    }
}

/// The fields of a message, and the error that ends it if there is one.
#[inline]
pub fn try_fields(bytes: &[u8]) -> impl Iterator<Item = Result<(u32, Value<'_>), WireError>> {
    let mut reader = Reader::new(bytes);
    std::iter::from_fn(move || {
        let next = reader.next();
        if next.is_err() {
            reader.seek(usize::MAX);
        }
        next.transpose()
    })
}

/// The fields of a message that was checked before: an error ends it.
#[inline]
pub fn fields(bytes: &[u8]) -> impl Iterator<Item = (u32, Value<'_>)> {
    let mut reader = Reader::new(bytes);
    std::iter::from_fn(move || reader.next().ok().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(bytes: &[u8]) -> &'static str {
        let mut reader = Reader::new(bytes);
        loop {
            match reader.next() {
                Ok(Some(_)) => {}
                Ok(None) => return "whole",
                Err(error) => return error.reason,
            }
        }
    }

    #[test]
    fn reads_each_type() {
        let bytes = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 1, 0, 0, 0, 0x21, 2, 0, 0, 0, 0, 0, 0, 0];
        let all: Vec<_> = fields(&bytes).collect();
        let expected =
            [(1, Value::Varint(150)), (2, Value::Bytes(b"hi")), (3, Value::Fixed32(1)), (4, Value::Fixed64(2))];
        assert_eq!(all, expected);
    }

    #[test]
    fn short_fields_are_read_like_any_other() {
        for (first, second) in (0..=u8::MAX).flat_map(|first| (0..=u8::MAX).map(move |second| (first, second))) {
            for length in [0, 1, 3, 127, 128] {
                let bytes = [&[first, second][..], &vec![1; length]].concat();
                let (mut reader, mut general) = (Reader::new(&bytes), Reader::new(&bytes));
                assert_eq!(reader.next(), general.next_of_any_length(), "{first:#x} {second:#x}");
                assert_eq!(reader.position(), general.position(), "{first:#x} {second:#x}");
            }
        }
    }

    #[test]
    fn refuses_what_cannot_be() {
        assert_eq!(reason(&[]), "whole");
        assert_eq!(reason(&[0x80]), "the data ends inside a number");
        assert_eq!(reason(&[0x0d, 1, 2]), "the data ends inside a number");
        assert_eq!(reason(&[0x08; 1]), "the data ends inside a number");
        assert_eq!(reason(&[0x00, 1]), "an invalid field number");
        assert_eq!(reason(&[0x0b]), "a group, which no TensorFlow message has");
        assert_eq!(reason(&[0x0e]), "an invalid field type");
        assert_eq!(reason(&[0x12, 5, 1]), "a length that goes beyond the end of the data");
        // A length of 2^60.
        let huge = [0x12, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10];
        assert_eq!(reason(&huge), "a length that goes beyond the end of the data");
        let endless = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(reason(&endless), "a number of more than 64 bits");
    }
}
