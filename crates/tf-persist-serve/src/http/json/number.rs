//! Numbers: RapidJSON's grammar and kinds. Digits are read eight at a time. A decimal of up to about 15 digits becomes
//! a double with one division or multiplication; others are parsed by the standard library. Both round correctly.

use super::cursor::{Cursor, Fault, Parsed, SyntaxError};

/// A number, classified as RapidJSON does: by its token, not by its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    /// An integer token that is not negative. `-0` counts as one, and loses its sign.
    Unsigned(u64),
    /// A negative integer token.
    Negative(i64),
    /// A token with a fraction or an exponent, NaN, an infinity, or an integer token beyond 64 bits.
    Double(f64),
}

impl Number {
    #[inline]
    pub(super) fn as_f64(self) -> f64 {
        match self {
            Self::Unsigned(value) => value as f64,
            Self::Negative(value) => value as f64,
            Self::Double(value) => value,
        }
    }

    #[inline]
    pub(super) fn as_i64(self) -> Option<i64> {
        match self {
            Self::Unsigned(value) => i64::try_from(value).ok(),
            Self::Negative(value) => Some(value),
            Self::Double(_) => None,
        }
    }

    #[inline]
    pub(super) fn as_u64(self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(value),
            _ => None,
        }
    }
}

/// Powers of ten that are exact as doubles.
pub(super) const EXACT: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

pub(super) const INTEGER_POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Every integer up to this one is exact as a double.
pub(super) const EXACT_INTEGER: u64 = 1 << 53;

/// This many decimal digits always fit 64 bits.
pub(super) const SAFE_DIGITS: usize = 19;

/// The largest decimal exponent of a double. RapidJSON reports an error beyond it.
const LARGEST_EXPONENT: i64 = 308;

/// RapidJSON stops counting the digits of a fraction after this many significant ones.
const COUNTED_DIGITS: usize = 17;

impl Cursor<'_> {
    /// Reads the number here. Anything that is not another token counts as a number, and is refused as one.
    #[inline]
    pub(super) fn number(&mut self) -> Parsed<Number> {
        self.number_for::<false>()
    }

    /// Reads the number here as a 32-bit float: rounded to 64 bits first, and then to 32.
    #[inline]
    pub(super) fn float(&mut self) -> Parsed<f32> {
        Ok(self.number_for::<true>()?.as_f64() as f32)
    }

    /// Reads the number here. With `F32`, the double may be wrong in the last bits, which rounding to 32 bits drops.
    #[inline(always)]
    fn number_for<const F32: bool>(&mut self) -> Parsed<Number> {
        let start = self.at;
        let minus = self.eat(b'-');
        let first = self.at;
        let mut mantissa = 0;
        self.digits(&mut mantissa);
        let whole = self.at - first;
        if whole == 0 || (whole > 1 && self.text[first] == b'0') {
            return self.number_slow(start);
        }
        let next = self.peek();
        if next != b'.' && next | 0x20 != b'e' {
            if whole > SAFE_DIGITS {
                return self.number_slow(start);
            }
            return Ok(match (minus, i64::try_from(mantissa)) {
                (false, _) | (true, Ok(0)) => Number::Unsigned(mantissa),
                (true, Ok(value)) => Number::Negative(-value),
                (true, Err(_)) => return self.number_slow(start),
            });
        }
        let mut fraction = 0;
        if next == b'.' {
            self.at += 1;
            let first = self.at;
            self.digits(&mut mantissa);
            fraction = self.at - first;
            if fraction == 0 {
                return self.fault(Fault::MissFraction);
            }
        }
        if !(whole + fraction <= SAFE_DIGITS || self.text[first] == b'0' && fraction <= SAFE_DIGITS) {
            return self.number_slow(start);
        }
        let mut power = -(fraction as i32);
        if self.peek() | 0x20 == b'e' {
            match self.short_exponent() {
                Some(exponent) => power += exponent,
                None => return self.number_slow(start),
            }
        }
        // If both operands are exact, the result is rounded once.
        let value = match EXACT.get(power.unsigned_abs() as usize) {
            Some(exact) if power < 0 => mantissa as f64 / exact,
            Some(exact) => mantissa as f64 * exact,
            None => return self.number_slow(start),
        };
        if mantissa > EXACT_INTEGER && !(F32 && rounds_safely(value)) {
            return self.number_slow(start);
        }
        Ok(Number::Double(if minus { -value } else { value }))
    }

    /// Reads an exponent of one or two digits.
    #[inline]
    fn short_exponent(&mut self) -> Option<i32> {
        self.at += 1;
        let sign = self.peek();
        self.at += usize::from(matches!(sign, b'+' | b'-'));
        let first = self.at;
        let mut exponent = 0;
        while let digit @ b'0'..=b'9' = self.peek() {
            exponent = exponent * 10 + i32::from(digit - b'0');
            self.at += 1;
            if self.at - first > 2 {
                return None;
            }
        }
        (self.at > first).then_some(if sign == b'-' { -exponent } else { exponent })
    }

    /// Reads digits into a mantissa, which wraps around if there are too many.
    #[inline]
    fn digits(&mut self, mantissa: &mut u64) {
        while let Some(eight) = self.text.get(self.at..self.at + 8).and_then(|eight| eight.try_into().ok()) {
            let bytes = u64::from_le_bytes(eight);
            let count = digit_bits(bytes) as usize / 8;
            if count == 0 {
                return;
            }
            // The digits move to the end of the word, with zeros before them.
            let aligned = bytes << (64 - 8 * count);
            *mantissa = mantissa.wrapping_mul(INTEGER_POWERS[count]).wrapping_add(eight_digits(aligned));
            self.at += count;
            if count < 8 {
                return;
            }
        }
        while let Some(digit @ b'0'..=b'9') = self.text.get(self.at) {
            *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
    }

    /// Reads any number from its start, slowly, as RapidJSON does.
    #[cold]
    #[inline(never)]
    fn number_slow(&mut self, start: usize) -> Parsed<Number> {
        self.at = start;
        let minus = self.eat(b'-');
        match self.peek() {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.skip_digits(),
            b'N' => {
                self.word(b"NaN")?;
                return Ok(Number::Double(f64::NAN));
            }
            b'I' => {
                self.word(b"Inf")?;
                if self.peek() == b'i' {
                    self.word(b"inity")?;
                }
                return Ok(Number::Double(if minus { f64::NEG_INFINITY } else { f64::INFINITY }));
            }
            _ => return self.fault(Fault::ValueInvalid),
        }
        let whole_end = self.at;
        let first = start + usize::from(minus);
        let mut significant = whole_end - first - 1;
        let mut counted_fraction = 0;
        if self.eat(b'.') {
            let from = self.at;
            self.skip_digits();
            if self.at == from {
                return self.fault(Fault::MissFraction);
            }
            if self.peek() | 0x20 == b'e' {
                let (whole, fraction) = (&self.text[first..whole_end], &self.text[from..self.at]);
                counted_fraction = counted_digits(whole, fraction, &mut significant);
            }
        }
        let mut exponent: i64 = 0;
        if self.eat(b'e') || self.eat(b'E') {
            let negative = !self.eat(b'+') && self.eat(b'-');
            if !self.peek().is_ascii_digit() {
                return self.fault(Fault::MissExponent);
            }
            while let digit @ b'0'..=b'9' = self.peek() {
                exponent = exponent.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
                self.at += 1;
                if !negative && exponent > LARGEST_EXPONENT + counted_fraction {
                    return Err(SyntaxError { fault: Fault::NumberTooBig, offset: start });
                }
            }
        }
        let token = std::str::from_utf8(&self.text[first..self.at]).unwrap_or_default();
        if self.at == whole_end
            && let Ok(value) = token.parse::<u64>()
        {
            match (minus, 0_i64.checked_sub_unsigned(value)) {
                (false, _) | (true, Some(0)) => return Ok(Number::Unsigned(value)),
                (true, Some(value)) => return Ok(Number::Negative(value)),
                (true, None) => {}
            }
        }
        // The standard library reads exponents of any length.
        let value: f64 = token.parse().unwrap_or(f64::INFINITY);
        if value.is_infinite() {
            return Err(SyntaxError { fault: Fault::NumberTooBig, offset: start });
        }
        Ok(Number::Double(if minus { -value } else { value }))
    }

    fn skip_digits(&mut self) {
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
    }
}

/// Whether a double that is wrong by a few units in its last place rounds to the same 32-bit float as the exact value:
/// it is not close to the middle between two floats, and its float is normal.
#[inline]
pub(super) fn rounds_safely(value: f64) -> bool {
    /// A double that was rounded twice is wrong by less than three units.
    const UNITS: u64 = 8;
    const DROPPED_BITS: u32 = f64::MANTISSA_DIGITS - f32::MANTISSA_DIGITS;
    let dropped = value.to_bits() & ((1 << DROPPED_BITS) - 1);
    dropped.abs_diff(1 << (DROPPED_BITS - 1)) > UNITS && (1e-37..1e38).contains(&value)
}

/// How many digits of a fraction RapidJSON counts. An exponent may be larger by this number. `significant` is the
/// number of digits before the point except the first.
fn counted_digits(whole: &[u8], fraction: &[u8], significant: &mut usize) -> i64 {
    // An integer beyond 64 bits is already a double when the point is reached.
    let whole: Option<u64> = std::str::from_utf8(whole).ok().and_then(|whole| whole.parse().ok());
    let mut digits = fraction.iter();
    let mut counted = 0;
    let mut value = whole;
    if let Some(value) = &mut value {
        while *value < EXACT_INTEGER {
            let Some(digit) = digits.next() else { return counted };
            *value = *value * 10 + u64::from(digit - b'0');
            counted += 1;
            *significant += usize::from(*value != 0);
        }
    }
    // The value is no longer 0, so each digit is significant.
    while *significant < COUNTED_DIGITS && digits.next().is_some() {
        counted += 1;
        *significant += 1;
    }
    counted
}

/// Eight times the number of digits that these eight bytes begin with. The first byte is the lowest.
#[inline]
pub(super) fn digit_bits(bytes: u64) -> u32 {
    // A digit is now 0 to 9, and at most 15 with 6 added. A carry into a byte comes only from an earlier byte that is
    // not a digit.
    let values = bytes ^ 0x3030_3030_3030_3030;
    let other = (values | values.wrapping_add(0x0606_0606_0606_0606)) & 0xf0f0_f0f0_f0f0_f0f0;
    other.trailing_zeros() & !7
}

/// The value of eight digits, the first in the lowest byte. Zero bytes count as the digit 0.
#[inline]
pub(super) fn eight_digits(bytes: u64) -> u64 {
    let digits = bytes & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = digits.wrapping_mul(10 << 8 | 1) >> 8 & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100 << 16 | 1) >> 16 & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000 << 32 | 1) >> 32
}
