//! A fast path for 32-bit floats in answers: their decimal digits by one multiplication of doubles. Where its rounding
//! could matter, the standard library decides.

/// Digits of a decimal number that is not negative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Nine {
    /// Nine digits; those after the first `count` are zeros.
    pub(super) digits: u32,
    /// How many digits were asked for.
    pub(super) count: usize,
    /// The first digit is before the point, times ten to this power.
    pub(super) exponent: i32,
}

/// Digits of `%g`, tried first.
pub(super) const SHORT: usize = 6;
/// `max_digits10` of a 32-bit float.
pub(super) const LONG: usize = 9;
/// Numbers with an exponent from this one up to the number of digits are written without an `e`.
pub(super) const MIN_PLAIN_EXPONENT: i32 = -4;

/// Ten to the power of the index minus one. From 10^23 on, they are wrong by half a unit at the most.
const POWERS: [f64; 48] = [
    1e-1, 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
    1e20, 1e21, 1e22, 1e23, 1e24, 1e25, 1e26, 1e27, 1e28, 1e29, 1e30, 1e31, 1e32, 1e33, 1e34, 1e35, 1e36, 1e37, 1e38,
    1e39, 1e40, 1e41, 1e42, 1e43, 1e44, 1e45, 1e46,
];

const MANTISSA_BITS: u32 = f32::MANTISSA_DIGITS - 1;
const DOUBLE_MANTISSA_BITS: u32 = f64::MANTISSA_DIGITS - 1;
const BIAS: u32 = 127;
const DOUBLE_BIAS: u32 = 1023;

/// The digits of a number that is not negative: six if they read back as the same number, else nine. `None` for numbers
/// that are subnormal or from 10^10 on, and where a rounding error could decide.
#[inline(always)]
pub(super) fn fast_digits(value: f32) -> Option<Nine> {
    /// The digits are units here, below 10^9, and a double of that size is wrong by less than 10^-6.
    const DOUBT: f64 = 1e-5;
    let bits = value.to_bits();
    if !(f32::MIN_POSITIVE..1e10).contains(&value) {
        return (bits == 0).then_some(Nine { digits: 0, count: 1, exponent: 0 });
    }
    let biased = bits >> MANTISSA_BITS;
    // floor(log10(2^e)) for these e: the exponent of the value, or one less.
    let mut exponent = ((biased as i32 - BIAS as i32) * 1233) >> 12;
    let (mut power, mut scaled) = scale(value, exponent)?;
    if scaled >= 1e9 - DOUBT {
        exponent += 1;
        (power, scaled) = scale(value, exponent)?;
    }
    let whole = scaled as u32;
    let rest = scaled - f64::from(whole);
    let lost = f64::from(whole % 1000) + rest;
    let (short, distance) = if lost > 500.0 {
        (whole / 1000 + 1, 1000.0 - lost)
    } else if bits & ((1 << MANTISSA_BITS) - 1) == 0 {
        // Below a power of two, floats are twice as dense.
        (whole / 1000, 2.0 * lost)
    } else {
        (whole / 1000, lost)
    };
    // The six digits read back as this float if they are closer than half the gap to the next one on that side.
    let last_bit = biased + DOUBLE_BIAS - BIAS - MANTISSA_BITS;
    let gap = f64::from_bits(u64::from(last_bit) << DOUBLE_MANTISSA_BITS) * power;
    let over = 2.0 * distance - gap;
    if (lost - 500.0).abs() < DOUBT || over.abs() < DOUBT || (rest - 0.5).abs() < DOUBT {
        return None;
    }
    let (digits, count) = if over < 0.0 { (short * 1000, SHORT) } else { (whole + u32::from(rest > 0.5), LONG) };
    if digits >= 1_000_000_000 {
        // Rounding has carried to one digit more.
        return Some(Nine { digits: 100_000_000, count, exponent: exponent + 1 });
    }
    Some(Nine { digits, count, exponent })
}

/// The power of ten that gives a number with this exponent nine digits before the point, and the number times it.
#[inline(always)]
fn scale(value: f32, exponent: i32) -> Option<(f64, f64)> {
    let power = *POWERS.get(usize::try_from(LONG as i32 - exponent).ok()?)?;
    Some((power, f64::from(value) * power))
}

impl Nine {
    /// Writes it as `%g` does, in steps of a fixed size where the digits do not decide it.
    #[inline(always)]
    pub(super) fn write(self, out: &mut Vec<u8>) {
        /// The longest text is `d.dddddddde+dd`; copies of a fixed size go beyond it.
        const LINE: usize = 32;
        let Self { digits, count, exponent } = self;
        let others = spread(digits % 100_000_000);
        let zeros = others.leading_zeros() as usize / 8;
        let len = 9 - zeros;
        let mut text = [b'0'; 24];
        text[0] += (digits / 100_000_000) as u8;
        text[1..9].copy_from_slice(&(others | 0x3030_3030_3030_3030).to_le_bytes());
        let mut line = [b'0'; LINE];
        let end = if exponent < MIN_PLAIN_EXPONENT || exponent >= count as i32 {
            line[0] = text[0];
            line[1] = b'.';
            line[2..10].copy_from_slice(&text[1..9]);
            let at = if len > 1 { len + 1 } else { 1 };
            let size = exponent.unsigned_abs() as u8;
            let sign = if exponent < 0 { b'-' } else { b'+' };
            line[at..at + 4].copy_from_slice(&[b'e', sign, b'0' + size / 10, b'0' + size % 10]);
            at + 4
        } else if exponent < 0 {
            line[1] = b'.';
            let at = 1 + exponent.unsigned_abs() as usize;
            line[at..at + 16].copy_from_slice(&text[..16]);
            at + len
        } else {
            // Zeros at the end may belong before the point, and one follows it at the least.
            let at = exponent as usize + 1;
            line[..16].copy_from_slice(&text[..16]);
            line[at] = b'.';
            line[at + 1..at + 9].copy_from_slice(&text[at..at + 8]);
            1 + len.max(at + 1)
        };
        let start = out.len();
        out.extend_from_slice(&line);
        out.truncate(start + end);
    }
}

/// The eight digits of a number below 10^8, as values, the first in the lowest byte.
#[inline(always)]
fn spread(value: u32) -> u64 {
    let fours = u64::from(value / 10_000) | u64::from(value % 10_000) << 32;
    // Divisions by 100 and by 10, exact for four and for two digits.
    let hundreds = (fours * 10_486) >> 20 & 0x0000_007f_0000_007f;
    let pairs = hundreds | (fours - hundreds * 100) << 16;
    let tens = (pairs * 103) >> 10 & 0x000f_000f_000f_000f;
    tens | (pairs - tens * 10) << 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_spread() {
        for value in (0..100_000_000).step_by(997).chain([1, 9, 10, 99_999_999, 90_000_009]) {
            let digits = spread(value).to_le_bytes();
            let read = digits.iter().fold(0, |all, digit| all * 10 + u32::from(*digit));
            assert_eq!(read, value);
            assert!(digits.iter().all(|digit| *digit < 10));
        }
    }
}
