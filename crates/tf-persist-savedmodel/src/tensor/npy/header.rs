//! The header of a .npy file: a magic number, a version, and a Python dict literal.
//!
//! The format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>. The literal is read with a
//! cursor and without recursion; only the three keys that numpy writes are allowed, as in numpy.

use super::descr::{Descr, Refusal};
use crate::shape::MAX_RANK;

/// The first bytes of every .npy file.
pub(super) const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The longest header. numpy's own limit is 10,000 characters; a header of version 1.0 cannot exceed this.
pub(super) const MAX_HEADER: usize = 64 * 1024;

/// numpy pads the header so that data begin at a multiple of this.
const HEADER_ALIGNMENT: usize = 64;

/// numpy pads for the first size to grow to this many digits (`GROWTH_AXIS_MAX_DIGITS`). Doing the same makes files
/// equal to numpy's byte for byte.
const GROWTH_DIGITS: usize = 21;

/// The contents of a header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) descr: Descr,
    pub(super) fortran_order: bool,
    pub(super) shape: Vec<usize>,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self { reason, hint: None }
    }
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        reason.to_owned().into()
    }
}

impl Header {
    /// Reads the dict literal.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Refusal> {
        let mut cursor = Cursor { text, at: 0 };
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        cursor.expect(b'{')?;
        while !cursor.skip(b'}') {
            let key = cursor.string()?;
            cursor.expect(b':')?;
            let again = match key {
                "descr" => descr.replace(cursor.descr()?).is_some(),
                "fortran_order" => fortran_order.replace(cursor.boolean()?).is_some(),
                "shape" => shape.replace(cursor.shape()?).is_some(),
                _ => return Err("its header has a key other than `descr`, `fortran_order` and `shape`".into()),
            };
            if again {
                return Err(format!("its header has `{key}` twice").into());
            }
            if !cursor.skip(b',') {
                cursor.expect(b'}')?;
                break;
            }
        }
        if cursor.peek().is_some() {
            return Err("its header goes on after the dict".into());
        }
        let missing = |key| Refusal::from(format!("its header has no `{key}`"));
        Ok(Self {
            descr: descr.ok_or_else(|| missing("descr"))?,
            fortran_order: fortran_order.ok_or_else(|| missing("fortran_order"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
        })
    }

    /// Everything before the data in version 1.0, as numpy writes it; `None` if it does not fit that version.
    pub(super) fn write(descr: &str, shape: &[usize]) -> Option<Vec<u8>> {
        let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
        let tuple = if let [only] = &sizes[..] { format!("({only},)") } else { format!("({})", sizes.join(", ")) };
        let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {tuple}, }}");
        if let Some(first) = sizes.first() {
            text.extend(std::iter::repeat_n(' ', GROWTH_DIGITS.saturating_sub(first.len())));
        }
        // Magic, two bytes of version, two of length; the newline belongs to the header.
        let prefix = MAGIC.len() + 4;
        let total = (prefix + text.len() + 1).next_multiple_of(HEADER_ALIGNMENT);
        let len = u16::try_from(total - prefix).ok()?;
        let mut bytes = Vec::with_capacity(total);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[1, 0]);
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
        bytes.resize(total - 1, b' ');
        bytes.push(b'\n');
        Some(bytes)
    }
}

/// A cursor in a literal.
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The next byte that is not white space, without consuming it.
    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    /// Consumes a byte if it is the next one.
    fn skip(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    fn expect(&mut self, byte: u8) -> Result<(), Refusal> {
        if self.skip(byte) {
            return Ok(());
        }
        Err(format!("its header is not a Python dict: byte {} should be `{}`", self.at, byte as char).into())
    }

    /// Consumes bytes of a kind.
    fn run(&mut self, belongs: impl Fn(&u8) -> bool) -> &'a [u8] {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let run = &rest[..rest.iter().take_while(|byte| belongs(byte)).count()];
        self.at += run.len();
        run
    }

    /// A string in quotes of either kind. Escapes are refused: no key and no `descr` needs one.
    fn string(&mut self) -> Result<&'a str, Refusal> {
        let quote = match self.peek() {
            Some(quote @ (b'\'' | b'"')) => quote,
            _ => return Err(format!("its header is not a Python dict: byte {} should begin a string", self.at).into()),
        };
        self.at += 1;
        let run = self.run(|byte| *byte != quote && *byte != b'\\');
        self.expect(quote)?;
        std::str::from_utf8(run).map_err(|_| "its header has a string that is not text".into())
    }

    fn descr(&mut self) -> Result<Descr, Refusal> {
        match self.peek() {
            // A list of fields, or a type with a shape of its own.
            Some(b'[' | b'(') => Err(Refusal::structured()),
            _ => Descr::parse(self.string()?),
        }
    }

    fn boolean(&mut self) -> Result<bool, Refusal> {
        self.peek();
        match self.run(u8::is_ascii_alphabetic) {
            b"True" => Ok(true),
            b"False" => Ok(false),
            _ => Err("`fortran_order` in its header is neither True nor False".into()),
        }
    }

    fn shape(&mut self) -> Result<Vec<usize>, Refusal> {
        let mut shape = Vec::new();
        self.expect(b'(')?;
        while !self.skip(b')') {
            self.peek();
            let digits = self.run(u8::is_ascii_digit);
            let size = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            shape.push(size.ok_or("`shape` in its header is not a tuple of sizes")?);
            if shape.len() > MAX_RANK {
                return Err(format!("it has more than {MAX_RANK} dimensions, TensorFlow's limit").into());
            }
            // Python 2's suffix of a long integer.
            self.skip(b'L');
            if !self.skip(b',') {
                self.expect(b')')?;
                break;
            }
        }
        Ok(shape)
    }
}
