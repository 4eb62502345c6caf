//! Comparing tensors with a tolerance.

use std::fmt;

use half::{bf16, f16};
use num_complex::Complex;

use super::{Element, Tensor, decimal};
use crate::dtype::DType;
use crate::error::Result;

/// The largest difference of floating-point numbers that count as the same: `|a - b| <= absolute + relative * |b|`,
/// where `b` is the expected number. Integers, bools and strings must be equal.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Tolerance {
    /// The differences between processors, numbers of threads and builds of TensorFlow; see [`Tolerance::for_dtype`].
    #[default]
    Rounding,
    /// The same absolute and relative tolerance. With 0 only equal numbers match: the same bits, or any two NaNs.
    Within(f64),
    /// A tolerance of each kind.
    Both {
        /// As a part of the expected number.
        relative: f64,
        /// For numbers near zero.
        absolute: f64,
    },
}

impl Tolerance {
    /// Only equal numbers match.
    pub const EXACT: Self = Self::Within(0.0);

    /// The relative and the absolute tolerance for elements of this type; for a complex number, of its modulus.
    #[must_use]
    pub fn for_dtype(self, dtype: DType) -> (f64, f64) {
        match (self, dtype) {
            (Self::Within(both), _) => (both, both),
            (Self::Both { relative, absolute }, _) => (relative, absolute),
            // Some units in the last of 11 and of 8 bits.
            (Self::Rounding, DType::Float16) => (5e-3, 1e-3),
            (Self::Rounding, DType::BFloat16) => (4e-2, 1e-2),
            // Differences of real models' answers by oneDNN and threads are smaller.
            (Self::Rounding, _) => (1e-4, 1e-5),
        }
    }
}

/// The differences of two tensors of the same dtype and shape.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Comparison {
    /// The number of elements.
    pub elements: usize,
    /// The number of unequal elements. Numbers are equal if their bits are, or if both are NaN; so 0.0 is not -0.0.
    pub differing: usize,
    /// The number of elements beyond the tolerance.
    pub outside: usize,
    /// The number of unequal elements with a NaN or an infinity on at least one side.
    pub not_finite: usize,
    /// The largest absolute difference of two unequal finite numbers; `None` if there are none.
    pub largest_absolute: Option<f64>,
    /// The largest relative difference of two unequal finite numbers, relative to the larger modulus: from 0 to 2.
    pub largest_relative: Option<f64>,
    /// The element with the largest difference.
    pub worst: Option<WorstElement>,
}

/// The element with the largest difference: the first with a NaN or an infinity on one side, else that of the largest
/// absolute difference, else the first unequal one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct WorstElement {
    /// Its index in each dimension.
    pub index: Vec<usize>,
    /// The expected element, as text.
    pub expected: String,
    /// The actual element, as text.
    pub found: String,
}

impl Comparison {
    /// Compares a tensor with the expected one; `None` if dtype or shape differ.
    ///
    /// # Errors
    /// If a tensor cannot be read as its dtype.
    pub fn compare(found: &Tensor, expected: &Tensor, tolerance: Tolerance) -> Result<Option<Self>> {
        if found.dtype() != expected.dtype() || found.shape() != expected.shape() {
            return Ok(None);
        }
        if found == expected {
            return Ok(Some(Self { elements: found.len(), ..Self::default() }));
        }
        let tolerated = tolerance.for_dtype(found.dtype());
        let scan = match found.dtype() {
            DType::Float32 => numbers(found, expected, tolerated, |a: f32, b: f32| real(a.into(), b.into())),
            DType::Float64 => numbers(found, expected, tolerated, real),
            DType::Float16 => numbers(found, expected, tolerated, |a: f16, b: f16| real(a.into(), b.into())),
            DType::BFloat16 => numbers(found, expected, tolerated, |a: bf16, b: bf16| real(a.into(), b.into())),
            DType::Complex64 => numbers(found, expected, tolerated, |a: Complex<f32>, b: Complex<f32>| {
                complex([a.re, a.im].map(f64::from), [b.re, b.im].map(f64::from))
            }),
            DType::Complex128 => numbers(found, expected, tolerated, |a: Complex<f64>, b: Complex<f64>| {
                complex([a.re, a.im], [b.re, b.im])
            }),
            DType::Int8 | DType::QInt8 => integers::<i8>(found, expected),
            DType::Int16 | DType::QInt16 => integers::<i16>(found, expected),
            DType::Int32 | DType::QInt32 => integers::<i32>(found, expected),
            DType::Int64 => integers::<i64>(found, expected),
            DType::UInt8 | DType::QUInt8 => integers::<u8>(found, expected),
            DType::UInt16 | DType::QUInt16 => integers::<u16>(found, expected),
            DType::UInt32 => integers::<u32>(found, expected),
            DType::UInt64 => integers::<u64>(found, expected),
            DType::String => {
                let pairs = found.strings()?.iter().zip(expected.strings()?.iter());
                Ok(Scan::new(pairs.map(|(a, b)| if a == b { Pair::Equal } else { Pair::Other }), (0.0, 0.0)))
            }
            // A byte each; those of a bool may be neither 0 nor 1.
            _ => {
                let pairs = found.bytes()?.iter().zip(expected.bytes()?);
                Ok(Scan::new(pairs.map(|(a, b)| if a == b { Pair::Equal } else { Pair::Other }), (0.0, 0.0)))
            }
        }?;
        let worst = scan.worst.map(|offset| WorstElement {
            index: index_of(offset, found.shape()),
            expected: element(expected, offset),
            found: element(found, offset),
        });
        Ok(Some(Self { worst, ..scan.comparison }))
    }

    /// Whether all elements are equal.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.differing == 0
    }

    /// Whether all elements are equal or within the tolerance.
    #[must_use]
    pub fn is_within(&self) -> bool {
        self.outside == 0
    }
}

impl fmt::Display for Comparison {
    /// A predicate: "is equal", or "differs in 3 of 10 elements; …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_equal() {
            return f.write_str("is equal");
        }
        write!(f, "differs in {} of {} elements", self.differing, self.elements)?;
        if self.outside < self.differing {
            write!(f, ", {} of them by more than is tolerated", self.outside)?;
        }
        if self.not_finite > 0 {
            write!(f, "; {} with NaN or infinity on one side", self.not_finite)?;
        }
        if let (Some(absolute), Some(relative)) = (self.largest_absolute, self.largest_relative) {
            write!(f, "; largest absolute difference {}, relative {}", short(absolute), short(relative))?;
        }
        match &self.worst {
            Some(worst) => write!(f, "; at {:?} {} instead of {}", worst.index, worst.found, worst.expected),
            None => Ok(()),
        }
    }
}

/// A difference with four significant digits: `0.25`, `1.5e-9`.
fn short(number: f64) -> String {
    let scientific = format!("{number:.3e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    match exponent.parse::<i32>() {
        Ok(exponent @ -3..4) => trimmed(&format!("{number:.*}", (3 - exponent) as usize)),
        _ => format!("{}e{exponent}", trimmed(digits)),
    }
}

/// Two elements.
enum Pair {
    Equal,
    /// The difference of finite numbers, and the moduli of the actual and the expected one.
    Apart {
        by: f64,
        found: f64,
        expected: f64,
    },
    /// One of them is NaN or infinite.
    NotFinite,
    /// Elements that are not numbers.
    Other,
}

fn real(a: f64, b: f64) -> Pair {
    if a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan() {
        Pair::Equal
    } else if a.is_finite() && b.is_finite() {
        Pair::Apart { by: (a - b).abs(), found: a.abs(), expected: b.abs() }
    } else {
        Pair::NotFinite
    }
}

fn complex(a: [f64; 2], b: [f64; 2]) -> Pair {
    let parts = [real(a[0], b[0]), real(a[1], b[1])];
    if parts.iter().all(|part| matches!(part, Pair::Equal)) {
        Pair::Equal
    } else if parts.iter().any(|part| matches!(part, Pair::NotFinite)) || !a.iter().chain(&b).all(|x| x.is_finite()) {
        Pair::NotFinite
    } else {
        let modulus = |x: [f64; 2]| x[0].hypot(x[1]);
        Pair::Apart { by: modulus([a[0] - b[0], a[1] - b[1]]), found: modulus(a), expected: modulus(b) }
    }
}

/// The sums over all pairs.
#[derive(Default)]
struct Scan {
    comparison: Comparison,
    worst: Option<usize>,
}

impl Scan {
    fn new(pairs: impl Iterator<Item = Pair>, (relative, absolute): (f64, f64)) -> Self {
        let (mut scan, mut worst) = (Comparison::default(), None);
        for (offset, pair) in pairs.enumerate() {
            scan.elements += 1;
            match pair {
                Pair::Equal => continue,
                Pair::Apart { by, found, expected } => {
                    // 0.0 and -0.0 have the difference 0, and are not equal.
                    let exact = relative == 0.0 && absolute == 0.0;
                    scan.outside += usize::from(exact || by > absolute + relative * expected);
                    if scan.largest_absolute.is_none_or(|largest| by > largest) {
                        scan.largest_absolute = Some(by);
                        if scan.not_finite == 0 {
                            worst = Some(offset);
                        }
                    }
                    let largest = found.max(expected);
                    let of = if largest > 0.0 { by / largest } else { 0.0 };
                    scan.largest_relative = Some(scan.largest_relative.map_or(of, |before| before.max(of)));
                }
                Pair::NotFinite => {
                    scan.outside += 1;
                    if scan.not_finite == 0 {
                        worst = Some(offset);
                    }
                    scan.not_finite += 1;
                }
                Pair::Other => {
                    scan.outside += 1;
                    worst = worst.or(Some(offset));
                }
            }
            scan.differing += 1;
        }
        Self { comparison: scan, worst }
    }
}

fn numbers<T: Element>(
    found: &Tensor,
    expected: &Tensor,
    tolerated: (f64, f64),
    pair: impl Fn(T, T) -> Pair,
) -> Result<Scan> {
    let pairs = found.view::<T>()?.iter().zip(expected.view::<T>()?);
    Ok(Scan::new(pairs.map(|(a, b)| pair(*a, *b)), tolerated))
}

fn integers<T: Element + Into<i128>>(found: &Tensor, expected: &Tensor) -> Result<Scan> {
    numbers(found, expected, (0.0, 0.0), |a: T, b: T| match (a.into(), b.into()) {
        (a, b) if a == b => Pair::Equal,
        (a, b) => {
            Pair::Apart { by: a.abs_diff(b) as f64, found: a.unsigned_abs() as f64, expected: b.unsigned_abs() as f64 }
        }
    })
}

/// The index in each dimension of an element in row-major order.
fn index_of(mut offset: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (position, size) in index.iter_mut().zip(shape).rev() {
        *position = offset % size;
        offset /= size;
    }
    index
}

/// An element as text; strings in quotes, long ones cut.
fn element(tensor: &Tensor, offset: usize) -> String {
    fn plain<T: Element + ToString>(tensor: &Tensor, offset: usize) -> String {
        shown(tensor, offset, T::to_string)
    }
    fn shown<T: Element>(tensor: &Tensor, offset: usize, text: impl Fn(&T) -> String) -> String {
        tensor.view::<T>().ok().and_then(|values| values.get(offset)).map(text).unwrap_or_default()
    }
    fn complex<T: Copy>(value: &Complex<T>, text: impl Fn(T) -> String) -> String {
        let (re, im) = (text(value.re), text(value.im));
        format!("{re}{}{im}i", if im.starts_with('-') { "" } else { "+" })
    }
    match tensor.dtype() {
        DType::Float32 => shown(tensor, offset, |value: &f32| decimal(*value)),
        DType::Float64 => shown(tensor, offset, |value: &f64| decimal(*value)),
        DType::Float16 => shown(tensor, offset, |value: &f16| decimal(value.to_f32())),
        DType::BFloat16 => shown(tensor, offset, |value: &bf16| decimal(value.to_f32())),
        DType::Complex64 => shown(tensor, offset, |value: &Complex<f32>| complex(value, decimal)),
        DType::Complex128 => shown(tensor, offset, |value: &Complex<f64>| complex(value, decimal)),
        DType::Int8 | DType::QInt8 => plain::<i8>(tensor, offset),
        DType::Int16 | DType::QInt16 => plain::<i16>(tensor, offset),
        DType::Int32 | DType::QInt32 => plain::<i32>(tensor, offset),
        DType::Int64 => plain::<i64>(tensor, offset),
        DType::UInt8 | DType::QUInt8 => plain::<u8>(tensor, offset),
        DType::UInt16 | DType::QUInt16 => plain::<u16>(tensor, offset),
        DType::UInt32 => plain::<u32>(tensor, offset),
        DType::UInt64 => plain::<u64>(tensor, offset),
        DType::Bool => plain::<bool>(tensor, offset),
        DType::String => {
            /// The most bytes of a string that are shown.
            const SHOWN: usize = 40;
            let bytes = tensor.strings().ok().and_then(|strings| strings.get(offset)).unwrap_or_default();
            let text: String = String::from_utf8_lossy(bytes).chars().take(SHOWN).collect();
            if text.len() < bytes.len() { format!("{text:?}… ({} bytes)", bytes.len()) } else { format!("{text:?}") }
        }
        DType::Invalid | DType::Resource | DType::Variant | DType::Other(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(values: &[f32]) -> Tensor {
        Tensor::from_slice(&[values.len()], values).unwrap()
    }

    fn compare(found: &Tensor, expected: &Tensor, tolerance: Tolerance) -> Comparison {
        Comparison::compare(found, expected, tolerance).unwrap().unwrap()
    }

    #[test]
    fn small_numbers_are_shown_with_an_exponent() {
        let compared = compare(&floats(&[1e-9]), &floats(&[0.0]), Tolerance::EXACT);
        assert!(compared.to_string().ends_with("at [0] 1e-9 instead of 0"), "{compared}");
        let complex = |re, im| Tensor::from_slice(&[], &[Complex::<f64>::new(re, im)]).unwrap();
        let compared = compare(&complex(1.5, -2e-12), &complex(0.0, 0.5), Tolerance::EXACT);
        assert!(compared.to_string().ends_with("1.5-2e-12i instead of 0+0.5i"), "{compared}");
    }

    #[test]
    fn equal_numbers_have_equal_bits_or_are_nan() {
        let other_nan = f32::from_bits(f32::NAN.to_bits() ^ 1);
        let a = floats(&[1.0, f32::NAN, f32::INFINITY, 0.0]);
        let same = compare(&a, &floats(&[1.0, other_nan, f32::INFINITY, 0.0]), Tolerance::EXACT);
        assert!(same.is_equal() && same.is_within() && same.elements == 4 && same.worst.is_none());
        let b = floats(&[1.0, f32::NAN, f32::INFINITY, -0.0]);
        let signed = compare(&a, &b, Tolerance::EXACT);
        assert_eq!((signed.differing, signed.outside, signed.largest_absolute), (1, 1, Some(0.0)));
        assert!(compare(&a, &b, Tolerance::Rounding).is_within());
    }

    #[test]
    fn floats_differ_within_a_tolerance() {
        let (a, b) = (floats(&[1.0, 2.0, 1000.0]), floats(&[1.0, 2.00001, 1000.05]));
        let rounding = compare(&a, &b, Tolerance::Rounding);
        assert_eq!((rounding.elements, rounding.differing, rounding.outside), (3, 2, 0));
        let worst = rounding.worst.unwrap();
        assert_eq!((worst.index, worst.expected.as_str(), worst.found.as_str()), (vec![2], "1000.05", "1000"));
        assert_eq!(compare(&a, &b, Tolerance::Within(1e-5)).outside, 1);
        assert_eq!(compare(&a, &b, Tolerance::EXACT).outside, 2);
        let relative = compare(&floats(&[3.0]), &floats(&[-1.0]), Tolerance::Within(9.0));
        assert_eq!((relative.outside, relative.largest_absolute), (0, Some(4.0)));
        assert!((relative.largest_relative.unwrap() - 4.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_not_finite_is_never_tolerated() {
        let a = floats(&[5.0, 1.0, f32::NAN, f32::INFINITY]);
        let b = floats(&[1.0, f32::NAN, 1.0, f32::NEG_INFINITY]);
        let compared = compare(&a, &b, Tolerance::Within(1e30));
        assert_eq!((compared.differing, compared.outside, compared.not_finite), (4, 3, 3));
        assert_eq!((compared.largest_absolute, compared.worst.unwrap().index), (Some(4.0), vec![1]));
    }

    #[test]
    fn all_else_is_equal_or_not() {
        let integers = |values: &[i64]| Tensor::from_slice(&[1, values.len()], values).unwrap();
        let compared = compare(&integers(&[i64::MIN, 3]), &integers(&[i64::MAX, 3]), Tolerance::Within(1e30));
        assert_eq!((compared.outside, compared.largest_absolute), (1, Some(u64::MAX as f64)));
        assert_eq!(compared.worst.unwrap().index, [0, 0]);
        let bools = |values: &[bool]| Tensor::from_slice(&[2], values).unwrap();
        let compared = compare(&bools(&[true, false]), &bools(&[true, true]), Tolerance::Rounding);
        assert_eq!(
            (compared.outside, compared.largest_absolute, compared.worst.unwrap().found),
            (1, None, "false".into())
        );
        let strings = |values: [&str; 2]| Tensor::from_strings(&[2], values).unwrap();
        let compared = compare(&strings(["a", "b\n"]), &strings(["a", "c"]), Tolerance::Rounding);
        assert_eq!((compared.outside, compared.worst.unwrap().found), (1, "\"b\\n\"".into()));
        let complex = |re: f32| Tensor::from_slice(&[1], &[Complex { re, im: 4.0 }]).unwrap();
        assert_eq!(compare(&complex(3.0), &complex(0.0), Tolerance::EXACT).largest_relative, Some(0.6));
        assert!(!compare(&complex(f32::NAN), &complex(0.0), Tolerance::Rounding).is_within());
    }

    #[test]
    fn what_differs_is_said_in_a_sentence() {
        let compared = compare(&floats(&[1.0, 2.5, f32::NAN]), &floats(&[1.0, 2.0, 0.0]), Tolerance::Within(9.0));
        let said = "differs in 2 of 3 elements, 1 of them by more than is tolerated; 1 with NaN or infinity on one side; \
                    largest absolute difference 0.5, relative 0.2; at [2] NaN instead of 0";
        assert_eq!(compared.to_string(), said);
        assert_eq!(compare(&floats(&[1.0]), &floats(&[1.0]), Tolerance::EXACT).to_string(), "is equal");
        assert_eq!(
            [0.0, 3.0, 1234.5678, 0.001, 1.5e-9, 2e30].map(short),
            ["0", "3", "1235", "0.001", "1.5e-9", "2e30"]
        );
    }

    #[test]
    fn other_shapes_and_dtypes_are_not_compared() {
        let a = floats(&[1.0, 2.0]);
        assert!(Comparison::compare(&a, &a.clone().reshape(&[2, 1]).unwrap(), Tolerance::EXACT).unwrap().is_none());
        assert!(
            Comparison::compare(&a, &Tensor::from_slice(&[2], &[1, 2]).unwrap(), Tolerance::EXACT).unwrap().is_none()
        );
    }

    #[test]
    fn every_dtype_is_compared() {
        for number in 1..=23 {
            let dtype = DType::from_number(number);
            let Some(size) = dtype.size().filter(|_| dtype.is_supported()) else { continue };
            let with = |byte: u8| Tensor::from_bytes(dtype, &[2], &[vec![0; size], vec![byte; size]].concat()).unwrap();
            let compared = compare(&with(1), &with(0), Tolerance::EXACT);
            assert_eq!((compared.elements, compared.differing), (2, 1), "{dtype}");
            assert_eq!(compared.worst.unwrap().index, [1], "{dtype}");
            assert!(compare(&with(1), &with(1), Tolerance::EXACT).is_equal());
        }
    }
}
