//! The fast way through lists of plain numbers, which large requests consist of.
//!
//! It takes what it understands at once: lists, finite numbers, white space. Anything else, right or wrong, is left to
//! the reader of all JSON, which also knows what to say of an error. Both give the same numbers.

use super::cell::Cell;
use super::shape_builder::ShapeBuilder;
use crate::tensor::aligned_buf::AlignedBuf;

/// Numbers are moved to the tensor's memory in groups of this size.
const GROUP: usize = 256;

/// Brackets are counted in pieces of this size, with a byte for each count.
const PIECE: usize = 64;

/// The most digits that certainly fit 64 bits.
const MAX_DIGITS: usize = 19;

/// The powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// The powers of ten that a group of digits is moved by.
const INTEGER_POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Reads a value: a number, or nested lists of numbers. Returns the number of bytes that it took. `None` if it is
/// anything else; then nothing has changed.
pub(super) fn read<T: Cell>(bytes: &[u8], shape: &mut ShapeBuilder, memory: &mut AlignedBuf) -> Option<usize> {
    let (shape_before, length_before) = (shape.clone(), memory.len());
    let taken = value::<T>(bytes, shape, memory);
    if taken.is_none() {
        *shape = shape_before;
        memory.truncate(length_before);
    }
    taken
}

/// Follows the lists as [`walk`](super::decode) does.
fn value<T: Cell>(bytes: &[u8], shape: &mut ShapeBuilder, memory: &mut AlignedBuf) -> Option<usize> {
    let mut at = 0;
    let mut group: Vec<T> = Vec::with_capacity(GROUP);
    loop {
        if next(bytes, &mut at)? == b'[' {
            shape.open().ok()?;
            at += 1;
            if next(bytes, &mut at)? != b']' {
                shape.check_not_full().ok()?;
                continue;
            }
            at += 1;
            shape.close().ok()?;
        } else {
            shape.element().ok()?;
            if shape.depth() == 0 {
                memory.push(&T::read_plain(bytes, &mut at)?).ok()?;
                return Some(at);
            }
            let taken = numbers(bytes, &mut at, shape.remaining(), &mut group, memory)?;
            shape.count(taken);
            shape.close().ok()?;
        }
        // The value that just ended was one of the list around it.
        loop {
            if shape.depth() == 0 {
                return Some(at);
            }
            shape.count(1);
            match next(bytes, &mut at)? {
                b',' => {
                    at += 1;
                    shape.check_not_full().ok()?;
                    break;
                }
                b']' => {
                    at += 1;
                    shape.close().ok()?;
                }
                _ => return None,
            }
        }
    }
}

/// Reads the innermost list, from its first number to its end, and returns the number of its numbers. `group` is where
/// numbers wait to be moved to the tensor's memory.
fn numbers<T: Cell>(
    bytes: &[u8],
    at: &mut usize,
    remaining: usize,
    group: &mut Vec<T>,
    memory: &mut AlignedBuf,
) -> Option<usize> {
    group.clear();
    let mut taken = 0;
    loop {
        if taken == remaining {
            return None;
        }
        if group.len() == GROUP {
            memory.extend(group).ok()?;
            group.clear();
        }
        group.push(T::read_plain(bytes, at)?);
        taken += 1;
        match next(bytes, at)? {
            b',' => {
                *at += 1;
                next(bytes, at)?;
            }
            b']' => break,
            _ => return None,
        }
    }
    *at += 1;
    memory.extend(group).ok()?;
    Some(taken)
}

/// The next byte that is no white space.
fn next(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        match *bytes.get(*at)? {
            b' ' | b'\n' | b'\r' | b'\t' => *at += 1,
            byte => return Some(byte),
        }
    }
}

/// The length of a list of nothing but plain numbers and lists, which is not checked further; `None` if there is
/// something else in it.
pub(super) fn list_length(bytes: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    for (number, piece) in bytes.chunks(PIECE).enumerate() {
        // The compiler makes vector instructions of these three.
        let count = |wanted: u8| usize::from(piece.iter().map(|byte| u8::from(*byte == wanted)).sum::<u8>());
        let is_plain = piece.iter().fold(true, |plain, byte| plain & is_plain_byte(*byte));
        let (opened, closed) = (count(b'['), count(b']'));
        if is_plain && closed < depth {
            depth = depth + opened - closed;
            continue;
        }
        for (offset, byte) in piece.iter().enumerate() {
            match byte {
                b'[' => depth += 1,
                b']' => depth = depth.checked_sub(1)?,
                byte if is_plain_byte(*byte) => {}
                _ => return None,
            }
            if depth == 0 {
                return (*byte == b']').then_some(number * PIECE + offset + 1);
            }
        }
    }
    None
}

/// Whether a byte may be in a list of plain numbers.
fn is_plain_byte(byte: u8) -> bool {
    byte.is_ascii_digit()
        | (byte == b'.')
        | (byte == b',')
        | (byte == b' ')
        | (byte == b'-')
        | (byte == b'[')
        | (byte == b']')
        | (byte == b'e')
        | (byte == b'E')
        | (byte == b'+')
        | (byte == b'\n')
        | (byte == b'\r')
        | (byte == b'\t')
}

/// The parts of a number as it is written.
struct Written {
    negative: bool,
    /// Its digits without the point; meaningless if there are more than [`MAX_DIGITS`] after leading zeros.
    digits: u64,
    /// The number of digits after leading zeros.
    count: usize,
    /// The power of ten that the digits are multiplied by.
    exponent: i32,
    is_integer: bool,
}

#[inline]
fn written(bytes: &[u8], at: &mut usize) -> Option<Written> {
    let negative = bytes.get(*at) == Some(&b'-');
    *at += usize::from(negative);
    let (first, mut digits) = (*at, 0);
    take_digits(bytes, at, &mut digits);
    let mut count = *at - first;
    let begins_with_zero = bytes.get(first) == Some(&b'0');
    // JSON has no leading zeros.
    if count == 0 || count > 1 && begins_with_zero {
        return None;
    }
    let (mut fraction, mut exponent) = (0, 0);
    let has_point = bytes.get(*at) == Some(&b'.');
    if has_point {
        *at += 1;
        let first = *at;
        take_digits(bytes, at, &mut digits);
        fraction = *at - first;
        if fraction == 0 {
            return None;
        }
        count += fraction;
        if begins_with_zero && count > MAX_DIGITS {
            count = fraction - bytes[first..*at].iter().take_while(|byte| **byte == b'0').count();
        }
    }
    let has_exponent = matches!(bytes.get(*at), Some(b'e' | b'E'));
    if has_exponent {
        *at += 1;
        let sign = bytes.get(*at).copied();
        *at += usize::from(matches!(sign, Some(b'+' | b'-')));
        let (first, mut number) = (*at, 0);
        take_digits(bytes, at, &mut number);
        if !(1..=4).contains(&(*at - first)) {
            return None;
        }
        exponent = i32::try_from(number).ok()?;
        if sign == Some(b'-') {
            exponent = -exponent;
        }
    }
    let exponent = exponent.checked_sub(i32::try_from(fraction).ok()?)?;
    Some(Written { negative, digits, count, exponent, is_integer: !(has_point || has_exponent) })
}

/// Takes digits as long as there are any, up to eight at a time.
#[inline]
fn take_digits(bytes: &[u8], at: &mut usize, number: &mut u64) {
    while let Some(eight) = bytes.get(*at..).and_then(<[u8]>::first_chunk::<8>) {
        let (digits, count) = leading_digits(*eight);
        *number = number.wrapping_mul(INTEGER_POWERS[count]).wrapping_add(digits);
        *at += count;
        if count < 8 {
            return;
        }
    }
    while let Some(digit) = bytes.get(*at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        *number = number.wrapping_mul(10).wrapping_add(digit.into());
        *at += 1;
    }
}

/// The number of the digits that eight bytes begin with, and how many they are.
#[inline]
fn leading_digits(bytes: [u8; 8]) -> (u64, usize) {
    // A digit becomes 0 to 9: the highest bit of a byte is set if it is more, or if it is after 0x76 is added.
    let values = u64::from_le_bytes(bytes) ^ 0x3030_3030_3030_3030;
    let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    // A carry out of a byte that is no digit reaches only those behind it.
    let count = others.trailing_zeros() as usize / 8;
    if count == 0 {
        return (0, 0);
    }
    // With zeros in front they are eight digits.
    let ones = values << (64 - 8 * count);
    // Neighbours are joined three times: to numbers of two, four and eight digits.
    let twos = (ones.wrapping_mul(10).wrapping_add(ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (twos.wrapping_mul(100).wrapping_add(twos >> 16)) & 0x0000_ffff_0000_ffff;
    ((fours.wrapping_mul(10_000).wrapping_add(fours >> 32)) & 0xffff_ffff, count)
}

/// Reads a number as the nearest double, if it is finite.
#[inline]
pub(super) fn double(bytes: &[u8], at: &mut usize) -> Option<f64> {
    let start = *at;
    let written = written(bytes, at)?;
    written.exact().or_else(|| slow(bytes.get(start..*at)?))
}

/// Reads a number as the nearest double, rounded to the nearest float, if that is finite.
#[inline]
pub(super) fn float(bytes: &[u8], at: &mut usize) -> Option<f32> {
    let start = *at;
    let written = written(bytes, at)?;
    if let Some(float) = written.exact().map(|value| value as f32).or_else(|| written.close()) {
        return Some(float).filter(|float| float.is_finite());
    }
    slow(bytes.get(start..*at)?).map(|value| value as f32).filter(|float| float.is_finite())
}

/// The nearest double of any number, if it is finite.
#[cold]
fn slow(number: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(number).ok()?.parse().ok()?;
    value.is_finite().then_some(value)
}

impl Written {
    /// The nearest double, where digits and power are exact, so that their product or quotient is rounded once
    /// (Clinger's fast path).
    #[inline]
    fn exact(&self) -> Option<f64> {
        (self.digits <= 1 << f64::MANTISSA_DIGITS).then(|| self.product()).flatten()
    }

    /// The float of the nearest double, where a double close to that one is surely rounded to the same float.
    #[inline]
    fn close(&self) -> Option<f32> {
        /// The bits that a normal float has less than a double; in the middle of them lies what separates two floats.
        const LESS: u32 = f64::MANTISSA_DIGITS - f32::MANTISSA_DIGITS;
        /// The product is rounded twice, and the nearest double once: they differ by three units of the last place at
        /// most.
        const UNITS: u64 = 4;
        let value = self.product()?;
        let is_normal = (1e-30..1e30).contains(&value.abs());
        let below = value.to_bits() & ((1 << LESS) - 1);
        (is_normal && below.abs_diff(1 << (LESS - 1)) > UNITS).then_some(value as f32)
    }

    /// Digits times power, each as a double; the power is exact. `None` if there are too many digits or too large a
    /// power.
    #[inline]
    fn product(&self) -> Option<f64> {
        let power = POWERS.get(usize::try_from(self.exponent.unsigned_abs()).ok()?)?;
        let digits = (self.count <= MAX_DIGITS).then_some(self.digits as f64)?;
        let value = if self.exponent < 0 { digits / power } else { digits * power };
        Some(if self.negative { -value } else { value })
    }
}

/// Reads a number that is written as an integer, of at most 18 digits.
pub(super) fn integer(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let written = written(bytes, at)?;
    if !written.is_integer || written.count >= MAX_DIGITS {
        return None;
    }
    let value = i64::try_from(written.digits).ok()?;
    Some(if written.negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use jiter::Jiter;
    use proptest::prelude::*;

    use super::super::decode::Builder;
    use super::*;
    use crate::dtype::DType;

    proptest! {
        /// Whatever it takes, the reader of all JSON takes with the same result, and ends at the same place.
        #[test]
        fn both_readers_agree(text in r"( |\n)?(\[ ?){0,3}(-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,3})?[,\] ]{1,3}\[?){0,12}") {
            for dtype in [DType::Float32, DType::Float64, DType::Float16, DType::Int32, DType::Int64, DType::UInt8] {
                let mut plain = Builder::new("x", dtype).unwrap();
                let Some(taken) = plain.read_plain(text.as_bytes()) else { continue };
                let mut jiter = Jiter::new(text.as_bytes()).with_allow_inf_nan();
                let mut all = Builder::new("x", dtype).unwrap();
                prop_assert!(all.read(&mut jiter).is_ok(), "{}", text);
                prop_assert_eq!(taken, jiter.current_index());
                prop_assert_eq!(plain.finish(false).unwrap(), all.finish(false).unwrap());
            }
        }
    }

    proptest! {
        /// The double in the middle of two floats, and those next to it, decide which of them a number is rounded to.
        #[test]
        fn long_numbers_are_rounded_twice(bits in 0x2000_0000_u32..0x6000_0000, negative: bool, steps in -6..=6_i64) {
            let float = f32::from_bits(bits);
            let middle = f64::midpoint(float.into(), float.next_up().into());
            let value = f64::from_bits(middle.to_bits().checked_add_signed(steps).unwrap());
            for text in [format!("{value}"), format!("{value:.17e}"), format!("{value:e}"), format!("{value:.18}")] {
                let text = format!("{}{text},", if negative { "-" } else { "" });
                let wanted: f64 = text.trim_end_matches(',').parse().unwrap();
                let mut at = 0;
                if let Some(found) = super::float(text.as_bytes(), &mut at) {
                    prop_assert_eq!(found, wanted as f32, "{}", text);
                    prop_assert_eq!(at, text.len() - 1);
                }
                at = 0;
                if let Some(found) = double(text.as_bytes(), &mut at) {
                    prop_assert_eq!(found, wanted, "{}", text);
                }
            }
        }

        #[test]
        fn digits_are_counted(text in "[0-9]{0,8}", rest in "[^0-9]\\PC{0,3}") {
            let mut bytes = [b' '; 8];
            for (place, byte) in bytes.iter_mut().zip(text.bytes().chain(rest.bytes())) {
                *place = byte;
            }
            prop_assert_eq!(leading_digits(bytes), (text.parse().unwrap_or(0), text.len()));
        }
    }

    #[test]
    fn what_is_left_changes_nothing() {
        let mut builder = Builder::new("x", DType::Float32).unwrap();
        assert_eq!(builder.read_plain(b"[[1, 2], [3, 4]] "), Some(16));
        for text in
            ["[[1, 2], [3]]", "[[1, 2], [3, NaN]]", "[1]", "[[1, 2], [3, 4], [5, 6]]", "[[1, 2], [3, 4]", "[[1,, 2]]"]
        {
            assert_eq!(builder.read_plain(text.as_bytes()), None, "{text}");
        }
        assert_eq!(builder.read_plain(b"[[5, 6],\n[7, 8e0]]"), Some(18));
        let numbers: Vec<f32> = (1..=8_u8).map(f32::from).collect();
        assert_eq!(builder.finish(true).unwrap(), crate::Tensor::from_slice(&[2, 2, 2], &numbers).unwrap());
    }

    fn whole<T>(read: impl Fn(&[u8], &mut usize) -> Option<T>, text: &str) -> Option<T> {
        let mut at = 0;
        let value = read(text.as_bytes(), &mut at)?;
        (at == text.len()).then_some(value)
    }

    #[test]
    fn floats_are_those_of_the_standard_library() {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 11
        };
        let mut texts: Vec<String> =
            ["0", "-0", "0.0", "-0.0", "1e0", "1E+5", "12e-4", "9007199254740993", "0.1", "1e22", "1e23"]
                .map(str::to_owned)
                .into();
        texts.extend(
            ["123456789012345678901234567890", "0.00000000000000000000000000001", "1.7976931348623157e308"]
                .map(str::to_owned),
        );
        for _ in 0..200_000 {
            let float = f64::from_bits(next() << 11 ^ next());
            if float.is_finite() {
                texts.push(format!("{float:?}"));
            }
            texts.push(format!("{:?}", (next() as f32) / 16_777_216.0));
            texts.push(format!("{}.{:06}", next() % 1000, next() % 1_000_000));
            texts.push(format!("-{}e{}", next() % 100_000, (next() % 60) as i64 - 30));
        }
        for text in texts {
            let wanted: f64 = text.parse().unwrap();
            assert_eq!(whole(double, &text).map(f64::to_bits), Some(wanted.to_bits()), "{text}");
            let narrow = Some(wanted as f32).filter(|float| float.is_finite());
            assert_eq!(whole(float, &text).map(f32::to_bits), narrow.map(f32::to_bits), "{text}");
        }
    }

    #[test]
    fn what_is_no_plain_number_is_left() {
        for text in [
            "", "-", "+1", "01", "-01", "00", "1.", ".5", "1e", "1e+", "1e99999", "1e400", "NaN", "Infinity", "0x1",
            "1.e5",
        ] {
            assert_eq!(whole(double, text), None, "{text}");
            assert_eq!(whole(float, text), None, "{text}");
        }
        for text in ["1.0", "1e3", "9223372036854775808", "1234567890123456789", "-", "007"] {
            assert_eq!(whole(integer, text), None, "{text}");
        }
        assert_eq!(whole(integer, "-123456789012345678"), Some(-123_456_789_012_345_678));
        assert_eq!(whole(integer, "12345678"), Some(12_345_678));
    }

    #[test]
    fn lengths_of_lists() {
        for text in ["[]", "[1]", "[[1, 2], [3, -4.5e+6]]"] {
            assert_eq!(list_length(text.as_bytes()), Some(text.len()), "{text}");
            assert_eq!(list_length(format!("{text}, \"x\": 1}}").as_bytes()), Some(text.len()), "{text}");
        }
        let row = format!("[{}]", ["0.25"; 100].join(", "));
        let long = format!("[{}]", [row.as_str(); 50].join(", "));
        assert_eq!(list_length(long.as_bytes()), Some(long.len()));
        assert_eq!(list_length(format!("{long}]").as_bytes()), Some(long.len()));
        for text in ["", "1", "]", "[", "[1, \"a\"]", "[NaN]", "[true]", "[[1]", "{}"] {
            assert_eq!(list_length(text.as_bytes()), None, "{text}");
        }
    }
}
