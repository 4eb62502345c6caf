//! Floats as TensorFlow Serving writes them (`WriteDecimal` of `util/json_tensor.cc`): `%g` with six digits if that
//! reads back as the same number, else with as many digits as always do. There is always a `.` or an `e`, so that they
//! are not taken for integers.

use super::fast_decimal::{LONG, MIN_PLAIN_EXPONENT, SHORT, fast_digits};
use super::write::{MAX_DIGITS, digits_before_end, push_digits};

/// `max_digits10` of a 64-bit float.
const LONG_F64: usize = 17;

/// Writes a 32-bit float.
#[inline]
pub(super) fn write_f32(value: f32, out: &mut Vec<u8>) {
    if !value.is_finite() {
        return write_special(value.into(), out);
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let value = value.abs();
    match fast_digits(value) {
        Some(nine) => nine.write(out),
        None => slow_f32(value).write(out),
    }
}

#[cold]
#[inline(never)]
fn slow_f32(value: f32) -> Decimal {
    let short = rounded(f64::from(value), SHORT);
    if short.text().parse() == Ok(value) { short } else { rounded(f64::from(value), LONG) }
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
        let mut seed = 1_u32;
        let mut quick = 0;
        for index in 0..600_000_u32 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = match index % 6 {
                0 => f32::from_bits(seed & 0x7fff_ffff),
                1 => f32::from_bits(seed & 0x7f80_0000),
                2 => (seed >> 12) as f32 / 10_f32.powi((seed % 12) as i32),
                3 => (seed >> 8) as f32 / (1 << 24) as f32,
                // Halves of the last digit.
                4 => (seed >> 12) as f32 / 1024.0,
                _ => (seed >> 8) as f32 / 255.0,
            };
            if !value.is_finite() {
                continue;
            }
            quick += usize::from(fast_digits(value).is_some());
            let mut slow = Vec::new();
            slow_f32(value).write(&mut slow);
            assert_eq!(text(value).as_bytes(), slow, "{value:e}");
        }
        assert!(quick > 350_000, "{quick}");
    }
}
