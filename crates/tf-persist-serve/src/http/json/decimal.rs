//! Floats as TensorFlow Serving writes them (`WriteDecimal` of `util/json_tensor.cc`): `%g` with six digits if that
//! reads back as the same number, else with as many digits as always do. There is always a `.` or an `e`, so that they
//! are not taken for integers.

use super::write::{MAX_DIGITS, digits_before_end, push_digits};

/// Digits of `%g`, tried first.
const SHORT: usize = 6;
/// `max_digits10` of a 32-bit float.
const LONG_F32: usize = 9;
/// `max_digits10` of a 64-bit float.
const LONG_F64: usize = 17;
/// Numbers with an exponent from this one up to the number of digits are written without an `e`.
const MIN_PLAIN_EXPONENT: i32 = -4;

/// Writes a 32-bit float.
#[inline]
pub(super) fn write_f32(value: f32, out: &mut Vec<u8>) {
    if !value.is_finite() {
        return write_special(value.into(), out);
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    match exact_digits(value.abs()) {
        Some(decimal) => decimal.write(out),
        None => {
            let value = value.abs();
            let short = rounded(f64::from(value), SHORT);
            if short.text().parse() == Ok(value) {
                short.write(out)
            } else {
                rounded(f64::from(value), LONG_F32).write(out)
            }
        }
    }
}

/// Writes a 64-bit float.
pub(super) fn write_f64(value: f64, out: &mut Vec<u8>) {
    if !value.is_finite() {
        return write_special(value, out);
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let value = value.abs();
    let short = rounded(value, SHORT);
    if short.text().parse() == Ok(value) { short.write(out) } else { rounded(value, LONG_F64).write(out) }
}

fn write_special(value: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(match value {
        _ if value.is_nan() => b"NaN".as_slice(),
        _ if value < 0.0 => b"-Infinity",
        _ => b"Infinity",
    });
}

/// A decimal number: digits, the first one before the point, times a power of ten.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Decimal {
    digits: u64,
    /// The number of digits; `digits` is less than ten to this power.
    count: usize,
    exponent: i32,
}

impl Decimal {
    /// A text that the standard library can parse.
    fn text(self) -> String {
        format!("{}e{}", self.digits, self.exponent - self.count as i32 + 1)
    }

    /// Writes it as `%g` does.
    fn write(self, out: &mut Vec<u8>) {
        // Every number except 0 has `count` digits.
        let mut buffer = [b'0'; MAX_DIGITS];
        digits_before_end(&mut buffer, self.digits);
        let text = &buffer[MAX_DIGITS - self.count..];
        let mut len = self.count;
        while len > 1 && text[len - 1] == b'0' {
            len -= 1;
        }
        let digits = &text[..len];
        if self.exponent < MIN_PLAIN_EXPONENT || self.exponent >= self.count as i32 {
            out.push(digits[0]);
            if len > 1 {
                out.push(b'.');
                out.extend_from_slice(&digits[1..]);
            }
            out.extend([b'e', if self.exponent < 0 { b'-' } else { b'+' }]);
            if self.exponent.abs() < 10 {
                out.push(b'0');
            }
            push_digits(out, self.exponent.unsigned_abs().into());
        } else if self.exponent < 0 {
            out.extend_from_slice(&b"0.000"[..1 + self.exponent.unsigned_abs() as usize]);
            out.extend_from_slice(digits);
        } else {
            // Trailing zeros that were cut off may belong before the point.
            let whole = self.exponent as usize + 1;
            out.extend_from_slice(&text[..whole]);
            out.push(b'.');
            out.extend_from_slice(if len > whole { &text[whole..len] } else { b"0" });
        }
    }
}

/// A number that is not negative, rounded to this many digits by the standard library: correct for all numbers, and
/// slow.
fn rounded(value: f64, count: usize) -> Decimal {
    let text = format!("{value:.precision$e}", precision = count - 1);
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = digits.bytes().filter(u8::is_ascii_digit).fold(0, |all, digit| all * 10 + u64::from(digit - b'0'));
    Decimal { digits, count, exponent: exponent.parse().unwrap_or(0) }
}

/// Powers of ten, up to the largest that scales a number of [`exact_digits`] to nine digits before the point.
const POWERS: [u128; 28] = {
    let mut powers = [1; 28];
    let mut index = 1;
    while index < powers.len() {
        powers[index] = powers[index - 1] * 10;
        index += 1;
    }
    powers
};

const MANTISSA_BITS: u32 = f32::MANTISSA_DIGITS - 1;
/// The exponent of the mantissa's last bit is the float's exponent field minus this.
const EXPONENT_BIAS: i32 = 127 + MANTISSA_BITS as i32;

/// The digits of a number that is not negative, by integer arithmetic that rounds only once. `None` for numbers that
/// are subnormal, or too small or too large for 128 bits.
#[inline]
fn exact_digits(value: f32) -> Option<Decimal> {
    if value == 0.0 {
        return Some(Decimal { digits: 0, count: 1, exponent: 0 });
    }
    if !(1e-18..1e9).contains(&value) {
        return None;
    }
    let bits = value.to_bits();
    let mantissa = u128::from(bits & ((1 << MANTISSA_BITS) - 1) | 1 << MANTISSA_BITS);
    // value = mantissa * 2^binary
    let binary = (bits >> MANTISSA_BITS) as i32 - EXPONENT_BIAS;
    // floor(log10(2^e)) for these e: the exponent of the value, or one less.
    let leading = binary + MANTISSA_BITS as i32;
    let mut exponent = (leading * 1233) >> 12;
    if exponent < 8 && f64::from(value) >= power_of_ten(exponent + 1) {
        exponent += 1;
    }
    // The value times the power of ten that gives nine digits before the point, in units of 2^-shift.
    let power = POWERS.get(usize::try_from(LONG_F32 as i32 - 1 - exponent).ok()?)?;
    let (scaled, shift) =
        if binary < 0 { (mantissa * power, binary.unsigned_abs()) } else { ((mantissa << binary) * power, 0) };
    let short = round(scaled, shift, 1000);
    // Whether the six digits are closer to this float than half the gap to the next one on that side.
    let candidate = (u128::from(short) * 1000) << shift;
    let gap = power << binary.max(0);
    let (distance, gap) = if candidate >= scaled {
        (candidate - scaled, gap)
    } else if mantissa == 1 << MANTISSA_BITS {
        // Below a power of two, floats are twice as dense.
        (2 * (scaled - candidate), gap)
    } else {
        (scaled - candidate, gap)
    };
    if 2 * distance < gap || 2 * distance == gap && mantissa % 2 == 0 {
        return Some(carried(short, SHORT, exponent));
    }
    Some(carried(round(scaled, shift, 1), LONG_F32, exponent))
}

/// A power of ten. Those with an exponent that is not negative are exact.
fn power_of_ten(exponent: i32) -> f64 {
    const POSITIVE: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
    const NEGATIVE: [f64; 19] = [
        1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14, 1e-15, 1e-16,
        1e-17, 1e-18,
    ];
    let table: &[f64] = if exponent < 0 { &NEGATIVE } else { &POSITIVE };
    table.get(exponent.unsigned_abs() as usize).copied().unwrap_or(f64::INFINITY)
}

/// `scaled / 2^shift / divisor`, rounded half to even.
#[inline]
fn round(scaled: u128, shift: u32, divisor: u64) -> u64 {
    // Nine digits fit 30 bits.
    let whole = (scaled >> shift) as u64;
    let quotient = whole / divisor;
    let lost = scaled - (u128::from(quotient * divisor) << shift);
    let unit = u128::from(divisor) << shift;
    quotient + u64::from(2 * lost > unit || 2 * lost == unit && quotient % 2 == 1)
}

/// Normalizes digits that rounding may have carried to one digit more.
#[inline]
fn carried(digits: u64, count: usize, exponent: i32) -> Decimal {
    if u128::from(digits) == POWERS[count] {
        return Decimal { digits: digits / 10, count, exponent: exponent + 1 };
    }
    Decimal { digits, count, exponent }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: f32) -> String {
        let mut out = Vec::new();
        write_f32(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn text64(value: f64) -> String {
        let mut out = Vec::new();
        write_f64(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn six_digits_where_they_suffice() {
        for (value, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (3.0, "3.0"),
            (2.5, "2.5"),
            (9_000_000.0, "9e+06"),
            (999_999.0, "999999.0"),
            (0.5, "0.5"),
            (0.0003, "0.0003"),
            (0.00003, "3e-05"),
            (555_557.5, "555557.5"),
            (0.1, "0.1"),
            (0.2, "0.2"),
            (1e6, "1e+06"),
            (100_000.0, "100000.0"),
            (0.0001, "0.0001"),
            (1e-7, "1e-07"),
            (1e30, "1e+30"),
            (1.0 / 3.0, "0.333333343"),
            (16_777_216.0, "16777216.0"),
            (33_554_432.0, "33554432.0"),
            (123_456_789.0, "123456792.0"),
            (1_234_567_936.0, "1.23456794e+09"),
            (1e-45, "1.4013e-45"),
            (f32::MIN_POSITIVE, "1.17549435e-38"),
            (f32::MAX, "3.40282347e+38"),
            (999_999_990.0, "1e+09"),
            (-1.5, "-1.5"),
            (0.123_456_7, "0.123456702"),
            (f32::NAN, "NaN"),
            (f32::INFINITY, "Infinity"),
            (f32::NEG_INFINITY, "-Infinity"),
            (1e-4 / 3.0, "3.33333337e-05"),
        ] {
            assert_eq!(text(value), expected);
        }
        for (value, expected) in [
            (0.1, "0.1"),
            (1.0 / 3.0, "0.33333333333333331"),
            (1e300, "1e+300"),
            (3.0, "3.0"),
            (-1e300, "-1e+300"),
            (1_234_567.0, "1234567.0"),
            (1e22, "1e+22"),
            (f64::NAN, "NaN"),
            (-0.0, "-0.0"),
            (5e-324, "4.94066e-324"),
            (123_456_789_012_345_678.0, "1.2345678901234568e+17"),
        ] {
            assert_eq!(text64(value), expected);
        }
    }

    /// On floats of every exponent.
    #[test]
    fn fast_and_slow_paths_agree() {
        let slow = |value: f32| {
            let short = rounded(f64::from(value), SHORT);
            if short.text().parse() == Ok(value) { short } else { rounded(f64::from(value), LONG_F32) }
        };
        let mut seed = 1_u32;
        let mut checked = 0;
        for index in 0..400_000_u32 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = match index % 4 {
                0 => f32::from_bits(seed & 0x7fff_ffff),
                1 => f32::from_bits(seed & 0x7f80_0000),
                2 => (seed >> 12) as f32 / 10_f32.powi((seed % 12) as i32),
                _ => (seed >> 8) as f32 / (1 << 24) as f32,
            };
            if let Some(quick) = exact_digits(value).filter(|_| value > 0.0) {
                checked += 1;
                assert_eq!(quick, slow(value), "{value:e}");
            }
        }
        assert!(checked > 200_000);
    }
}
