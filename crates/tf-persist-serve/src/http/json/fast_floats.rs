//! A fast path for 32-bit floats, which are most of the text of most large requests. Common decimals are read from a
//! few words of eight bytes with few branches, all others by [`Cursor::float`].

use super::cursor::{Cursor, Parsed};
use super::number::{EXACT, EXACT_INTEGER, INTEGER_POWERS, SAFE_DIGITS, digit_bits, eight_digits, rounds_safely};

/// How much text must be left for the fast path: a sign, up to eight digits, a point, three words of eight bytes.
const WINDOW: usize = 40;
const UNSIGNED: usize = WINDOW - 1;

impl Cursor<'_> {
    /// Reads the number here as [`Cursor::float`] does, faster if it is a common decimal.
    #[inline(always)]
    pub(super) fn float_fast(&mut self) -> Parsed<f32> {
        if let Some((value, length)) = decimal(self.text, self.at) {
            self.at += length;
            return Ok(value);
        }
        // A copy can be kept in registers.
        let mut cursor = *self;
        let value = cursor.float();
        *self = cursor;
        value
    }
}

/// The number at this offset, as [`Cursor::float`] would read it, and its length in bytes. `None` if it has an exponent
/// or more digits than are surely exact, or is near the end of the text.
#[inline(always)]
fn decimal(text: &[u8], at: usize) -> Option<(f32, usize)> {
    let window: &[u8; WINDOW] = text.get(at..at.wrapping_add(WINDOW))?.try_into().ok()?;
    let minus = window[0] == b'-';
    let rest: &[u8; UNSIGNED] = if minus { window.last_chunk() } else { window.first_chunk() }?;
    // Not `or_else`: that is not inlined here, and each number would be a call.
    let (value, length) = match short(rest) {
        Some(found) => found,
        None => long(rest, minus)?,
    };
    let sign = u32::from(minus) << (u32::BITS - 1);
    Some((f32::from_bits(value.to_bits() | sign), length + usize::from(minus)))
}

/// A number without a sign that has one digit before the point and up to 19 digits in all.
#[inline(always)]
fn short(rest: &[u8; UNSIGNED]) -> Option<(f32, usize)> {
    let whole = rest[0].wrapping_sub(b'0');
    let eight = word(rest, 2);
    let bits = digit_bits(eight);
    if whole > 9 || rest[1] != b'.' || bits == 0 {
        return None;
    }
    if bits == u64::BITS {
        return sixteen(rest, u64::from(whole) * 100_000_000 + eight_digits(eight));
    }
    let (digits, next) = (bits as usize / 8, (eight >> bits) as u8);
    if next | 0x20 == b'e' {
        return None;
    }
    let mantissa = u64::from(whole) * INTEGER_POWERS[digits] + eight_digits(eight << (u64::BITS - bits));
    // Both operands are exact, so the result is rounded once.
    let value = mantissa.cast_signed() as f64 / EXACT[digits];
    Some((value as f32, 2 + digits))
}

/// The same with eight digits after the point, which are in the mantissa, and up to ten more.
#[inline(never)]
fn sixteen(rest: &[u8; UNSIGNED], before: u64) -> Option<(f32, usize)> {
    let eight = word(rest, 10);
    let bits = digit_bits(eight);
    let fraction = if bits < u64::BITS {
        Fraction::end(before, 8, eight, bits)
    } else {
        let last = word(rest, 18);
        let bits = digit_bits(last);
        if bits > 16 {
            return None;
        }
        Fraction::end(before * 100_000_000 + eight_digits(eight), 16, last, bits)
    };
    let value = fraction.mantissa as f64 / EXACT[fraction.digits];
    if fraction.next | 0x20 == b'e' || fraction.mantissa > EXACT_INTEGER && !rounds_safely(value) {
        return None;
    }
    Some((value as f32, 2 + fraction.digits))
}

/// A number without a sign that has up to seven digits before the point, if there is one, and up to 19 after it.
#[inline(never)]
fn long(rest: &[u8; UNSIGNED], minus: bool) -> Option<(f32, usize)> {
    let eight = word(rest, 0);
    let bits = digit_bits(eight);
    let leads_with_zero = rest[0] == b'0';
    if bits == 0 || bits == u64::BITS || bits > 8 && leads_with_zero {
        return None;
    }
    let (whole, length) = (eight_digits(eight << (u64::BITS - bits)), bits as usize / 8);
    let next = (eight >> bits) as u8;
    if next != b'.' {
        // An integer's zero has no sign.
        return (next | 0x20 != b'e' && !(minus && whole == 0)).then_some((whole as f32, length));
    }
    let fraction = Fraction::read(rest, length + 1, whole)?;
    if fraction.next | 0x20 == b'e' || fraction.digits > SAFE_DIGITS - length && !leads_with_zero {
        return None;
    }
    let value = fraction.mantissa as f64 / EXACT.get(fraction.digits)?;
    if fraction.mantissa > EXACT_INTEGER && !rounds_safely(value) {
        return None;
    }
    Some((value as f32, length + 1 + fraction.digits))
}

/// The digits after a point.
struct Fraction {
    /// All digits of the number, as an integer.
    mantissa: u64,
    digits: usize,
    /// The byte after the last digit.
    next: u8,
}

impl Fraction {
    /// Reads up to 19 digits; `None` if there are more, or none.
    #[inline]
    fn read(rest: &[u8; UNSIGNED], start: usize, whole: u64) -> Option<Self> {
        let eight = word(rest, start);
        let bits = digit_bits(eight);
        if bits < u64::BITS {
            let digits = bits as usize / 8;
            return (digits > 0).then(|| Self::end(whole, 0, eight, bits));
        }
        let mantissa = whole * 100_000_000 + eight_digits(eight);
        let eight = word(rest, start + 8);
        let bits = digit_bits(eight);
        if bits < u64::BITS {
            return Some(Self::end(mantissa, 8, eight, bits));
        }
        let mantissa = mantissa.wrapping_mul(100_000_000).wrapping_add(eight_digits(eight));
        let eight = word(rest, start + 16);
        let bits = digit_bits(eight);
        (bits <= 24).then(|| Self::end(mantissa, 16, eight, bits))
    }

    /// Adds the last digits, fewer than eight: the lowest `bits` of this word.
    #[inline]
    fn end(mantissa: u64, before: usize, eight: u64, bits: u32) -> Self {
        let digits = bits as usize / 8;
        // In two steps, since a shift by all 64 bits is not defined.
        let aligned = eight << (u64::BITS / 2 - bits / 2) << (u64::BITS / 2 - bits / 2);
        let mantissa = mantissa.wrapping_mul(INTEGER_POWERS[digits]).wrapping_add(eight_digits(aligned));
        Self { mantissa, digits: before + digits, next: (eight >> bits) as u8 }
    }
}

/// Eight bytes, the first in the lowest one.
#[inline(always)]
fn word(bytes: &[u8; UNSIGNED], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |eight| u64::from_le_bytes(*eight))
}
