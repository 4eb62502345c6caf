//! Single elements: the JSON form of a number of each dtype.

use std::io::Write;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use half::{bf16, f16};
use jiter::{Jiter, JiterError, Peek};
use num_complex::Complex;

use super::plain;
use crate::error::Error;
use crate::tensor::Element;

/// The only key of an object for a byte string.
pub(super) const B64: &str = "b64";

/// The keys of a complex number.
pub(super) const REAL: &str = "real";
pub(super) const IMAG: &str = "imag";

/// The standard alphabet. Padding is optional when reading, as in TensorFlow Serving, and always written.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why an element was not decoded. Boxed to keep the success path small.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is not JSON.
    Syntax(JiterError),
    /// It does not match the dtype.
    Value(String),
    /// There is no memory.
    Memory(Error),
}

pub(super) type Refused = Box<Refusal>;

impl From<JiterError> for Refused {
    fn from(error: JiterError) -> Self {
        Box::new(Refusal::Syntax(error))
    }
}

impl From<String> for Refused {
    fn from(reason: String) -> Self {
        Box::new(Refusal::Value(reason))
    }
}

/// An element of a numeric tensor, in JSON.
pub(super) trait Cell: Element {
    /// Reads the next value, whose first byte is `peek`.
    fn read(jiter: &mut Jiter<'_>, peek: Peek) -> Result<Self, Refused>;

    /// Reads a plain number at this place of a text, if there is one that surely has this value.
    fn read_plain(_text: &[u8], _at: &mut usize) -> Option<Self> {
        None
    }

    /// Adds the value to a text.
    fn write(&self, text: &mut Vec<u8>);
}

/// A float accepts any number in range. It is read as a double and then rounded, as Python and TensorFlow Serving do.
macro_rules! floats {
    ($($float:ty: $round:expr, $widen:expr, $plain:expr;)+) => {$(
        impl Cell for $float {
            #[inline]
            fn read(jiter: &mut Jiter<'_>, peek: Peek) -> Result<Self, Refused> {
                if !peek.is_num() {
                    return Err(unexpected::<Self>(jiter, peek));
                }
                let start = jiter.current_index();
                let value: Self = $round(jiter.known_float(peek)?);
                if $widen(value).is_infinite() {
                    check_infinity::<Self>(jiter.slice_to_current(start))?;
                }
                Ok(value)
            }

            #[inline]
            fn read_plain(text: &[u8], at: &mut usize) -> Option<Self> {
                let value: Self = $plain(text, at)?;
                (!$widen(value).is_infinite()).then_some(value)
            }

            /// The shortest text that parses to the same number, always with `.` or `e`.
            fn write(&self, text: &mut Vec<u8>) {
                let value = $widen(*self);
                let _ = if value.is_finite() {
                    text.write_all(zmij::Buffer::new().format_finite(value).as_bytes())
                } else if value.is_nan() {
                    write!(text, "NaN")
                } else {
                    write!(text, "{}Infinity", if value < 0.0 { "-" } else { "" })
                };
            }
        }
    )+};
}

floats! {
    f32: |value| value as f32, |value: f32| value, plain::float;
    f64: |value| value, |value: f64| value, plain::double;
    f16: f16::from_f64, f16::to_f32, |text, at| plain::double(text, at).map(f16::from_f64);
    bf16: bf16::from_f64, bf16::to_f32, |text, at| plain::double(text, at).map(bf16::from_f64);
}

macro_rules! integers {
    ($($integer:ty),+) => {$(
        impl Cell for $integer {
            #[inline]
            fn read(jiter: &mut Jiter<'_>, peek: Peek) -> Result<Self, Refused> {
                if !peek.is_num() {
                    return Err(unexpected::<Self>(jiter, peek));
                }
                let token = jiter.known_number_bytes(peek)?;
                let value = integer(token).and_then(|value| Self::try_from(value).ok());
                value.ok_or_else(|| not_in_range::<Self>(token))
            }

            #[inline]
            fn read_plain(text: &[u8], at: &mut usize) -> Option<Self> {
                plain::integer(text, at)?.try_into().ok()
            }

            fn write(&self, text: &mut Vec<u8>) {
                let _ = write!(text, "{self}");
            }
        }
    )+};
}

integers!(i8, i16, i32, i64, u8, u16, u32, u64);

impl Cell for bool {
    #[inline]
    fn read(jiter: &mut Jiter<'_>, peek: Peek) -> Result<Self, Refused> {
        match peek {
            Peek::True | Peek::False => Ok(jiter.known_bool(peek)?),
            _ => Err(found(jiter, peek, "bool (true or false)")),
        }
    }

    fn write(&self, text: &mut Vec<u8>) {
        text.extend_from_slice(if *self { b"true" } else { b"false" });
    }
}

impl<T: Cell> Cell for Complex<T>
where
    Self: Element,
{
    fn read(jiter: &mut Jiter<'_>, peek: Peek) -> Result<Self, Refused> {
        if peek != Peek::Object {
            let expected = format!("{} ({{\"{REAL}\": r, \"{IMAG}\": i}})", Self::DTYPES[0].name());
            return Err(found(jiter, peek, &expected));
        }
        let wrong = || Refused::from(format!("a complex number is {{\"{REAL}\": r, \"{IMAG}\": i}}"));
        let (mut real, mut imag) = (None, None);
        let mut key = jiter.known_object()?;
        while let Some(name) = key {
            let part = match name {
                REAL => &mut real,
                IMAG => &mut imag,
                _ => return Err(wrong()),
            };
            let peek = jiter.peek()?;
            if part.replace(T::read(jiter, peek)?).is_some() {
                return Err(wrong());
            }
            key = jiter.next_key()?;
        }
        Ok(Self { re: real.ok_or_else(wrong)?, im: imag.ok_or_else(wrong)? })
    }

    fn write(&self, text: &mut Vec<u8>) {
        let _ = write!(text, "{{\"{REAL}\": ");
        self.re.write(text);
        let _ = write!(text, ", \"{IMAG}\": ");
        self.im.write(text);
        text.push(b'}');
    }
}

/// The number of a JSON number that is written as an integer.
fn integer(token: &[u8]) -> Option<i128> {
    /// The digits of 2^64; longer numbers are out of range. JSON has no leading zeros.
    const MAX_DIGITS: usize = 20;
    let (negative, digits) = match token.split_first() {
        Some((b'-', digits)) => (true, digits),
        _ => (false, token),
    };
    if digits.is_empty() || digits.len() > MAX_DIGITS {
        return None;
    }
    let mut value = 0_i128;
    // Nineteen digits always fit 64 bits, which are added up faster.
    let (head, tail) = digits.split_at(digits.len().min(MAX_DIGITS - 1));
    let mut fast = 0_u64;
    for digit in head {
        fast = fast * 10 + u64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
    }
    value += i128::from(fast);
    for digit in tail {
        value = value * 10 + i128::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
    }
    Some(if negative { -value } else { value })
}

/// Reads a string, or the bytes of a base64 object, into `bytes`.
pub(super) fn read_string(jiter: &mut Jiter<'_>, peek: Peek, bytes: &mut Vec<u8>) -> Result<(), Refused> {
    bytes.clear();
    match peek {
        Peek::String => bytes.extend_from_slice(jiter.known_str()?.as_bytes()),
        Peek::Object => {
            let wrong =
                || Refused::from(format!("an object other than {{\"{B64}\": \"…\"}} where a string is expected"));
            if jiter.known_object()? != Some(B64) || jiter.peek()? != Peek::String {
                return Err(wrong());
            }
            let coded = jiter.known_str()?;
            BASE64.decode_vec(coded, bytes).map_err(|error| Refused::from(format!("it is not base64: {error}")))?;
            if jiter.next_key()?.is_some() {
                return Err(wrong());
            }
        }
        _ => return Err(found(jiter, peek, "a string")),
    }
    Ok(())
}

/// Adds a string to a text: as a JSON string if it is UTF-8 and may be, in base64 otherwise.
pub(super) fn write_string(bytes: &[u8], may_be_text: bool, text: &mut Vec<u8>) {
    match std::str::from_utf8(bytes) {
        Ok(string) if may_be_text => write_text(string, text),
        _ => {
            let _ = write!(text, "{{\"{B64}\": \"{}\"}}", BASE64.encode(bytes));
        }
    }
}

/// Adds a JSON string to a text.
pub(super) fn write_text(string: &str, text: &mut Vec<u8>) {
    text.push(b'"');
    let mut rest = string.as_bytes();
    while let Some(length) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) {
        let (plain, special) = rest.split_at(length);
        text.extend_from_slice(plain);
        let _ = match special[0] {
            b'"' => text.write_all(b"\\\""),
            b'\\' => text.write_all(b"\\\\"),
            b'\n' => text.write_all(b"\\n"),
            b'\r' => text.write_all(b"\\r"),
            b'\t' => text.write_all(b"\\t"),
            control => write!(text, "\\u{control:04x}"),
        };
        rest = &special[1..];
    }
    text.extend_from_slice(rest);
    text.push(b'"');
}

/// The error for a value of another kind than the dtype accepts.
#[cold]
fn unexpected<T: Element>(jiter: &mut Jiter<'_>, peek: Peek) -> Refused {
    found(jiter, peek, T::DTYPES[0].name())
}

#[cold]
fn found(jiter: &mut Jiter<'_>, peek: Peek, expected: &str) -> Refused {
    match describe(peek) {
        Some(found) => format!("{found} where {expected} is expected").into(),
        // Skipping an invalid value returns its error.
        None => jiter.known_skip(peek).map_or_else(Refused::from, |()| format!("{expected} is expected").into()),
    }
}

/// A description of a value by its first byte.
pub(super) fn describe(peek: Peek) -> Option<&'static str> {
    match peek {
        Peek::Null => Some("null"),
        Peek::True => Some("`true`"),
        Peek::False => Some("`false`"),
        Peek::String => Some("a string"),
        Peek::Array => Some("a list"),
        Peek::Object => Some("an object"),
        number if number.is_num() => Some("a number"),
        _ => None,
    }
}

/// Whether an infinite number is written as such, and is not a number that is too large.
#[cold]
fn check_infinity<T: Element>(token: &[u8]) -> Result<(), Refused> {
    if token.ends_with(b"Infinity") {
        return Ok(());
    }
    let sign = if token.starts_with(b"-") { "-" } else { "" };
    let dtype = T::DTYPES[0].name();
    Err(format!("{} is outside the range of {dtype}; infinity is written {sign}Infinity", shown(token)).into())
}

/// A number as it was written, cut if it is long.
fn shown(token: &[u8]) -> String {
    const SHOWN: usize = 40;
    String::from_utf8_lossy(token).chars().take(SHOWN).collect()
}

#[cold]
fn not_in_range<T: Element>(token: &[u8]) -> Refused {
    let shown = shown(token);
    let dtype = T::DTYPES[0].name();
    if token.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-') {
        format!("{shown} is outside the range of {dtype}").into()
    } else {
        format!("{shown} is not written as an integer, which {dtype} takes").into()
    }
}
