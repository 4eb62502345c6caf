//! Statistics of the numbers of a tensor.

use std::fmt;

use bytemuck::Pod;
use half::{bf16, f16};
use num_complex::Complex;

use super::{Element, Tensor, decimal};
use crate::dtype::DType;

/// Numbers are summed in groups of this size before they are added to the total, which keeps the sum of many numbers
/// exact enough.
const CHUNK: usize = 4096;

/// Statistics of the numbers of a tensor. NaNs and infinities are counted, and left out of the other figures.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// The lowest finite number; `None` if there is none, and for bools and complex numbers.
    pub min: Option<Number>,
    /// The highest finite number; `None` as above.
    pub max: Option<Number>,
    /// The mean of the finite numbers, summed as float64 (integers exactly); `None` as above.
    pub mean: Option<f64>,
    /// The number of NaNs; a complex number counts if either part is NaN.
    pub nans: u64,
    /// The number of infinities; a complex number counts if either part is infinite and none is NaN.
    pub infinities: u64,
    /// The number of true elements; `None` unless they are bools.
    pub trues: Option<u64>,
}

/// A number of any dtype, exactly.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Number {
    /// A number of an integer dtype, or the raw number of a quantised one.
    Integer(i128),
    /// A number of a float dtype.
    Float(f64),
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => number.fmt(f),
            Self::Float(number) => decimal(*number).fmt(f),
        }
    }
}

impl Stats {
    /// Computes the statistics of a tensor; `None` for strings.
    #[must_use]
    pub fn from_tensor(tensor: &Tensor) -> Option<Self> {
        match tensor.dtype() {
            DType::Float32 => floats(tensor, |value: f32| f64::from(value)),
            DType::Float64 => floats(tensor, |value: f64| value),
            DType::Float16 => floats(tensor, |value: f16| value.to_f64()),
            DType::BFloat16 => floats(tensor, |value: bf16| value.to_f64()),
            DType::Int8 | DType::QInt8 => integers::<i8>(tensor),
            DType::Int16 | DType::QInt16 => integers::<i16>(tensor),
            DType::Int32 | DType::QInt32 => integers::<i32>(tensor),
            DType::Int64 => integers::<i64>(tensor),
            DType::UInt8 | DType::QUInt8 => integers::<u8>(tensor),
            DType::UInt16 | DType::QUInt16 => integers::<u16>(tensor),
            DType::UInt32 => integers::<u32>(tensor),
            DType::UInt64 => integers::<u64>(tensor),
            DType::Complex64 => complex(tensor, |value: Complex<f32>| (value.is_nan(), value.is_infinite())),
            DType::Complex128 => complex(tensor, |value: Complex<f64>| (value.is_nan(), value.is_infinite())),
            DType::Bool => {
                let trues = tensor.bytes().ok()?.iter().filter(|byte| **byte != 0).count() as u64;
                Some(Self { trues: Some(trues), ..Self::default() })
            }
            DType::String | DType::Invalid | DType::Resource | DType::Variant | DType::Other(_) => None,
        }
    }
}

fn floats<T: Element + Pod>(tensor: &Tensor, wide: impl Fn(T) -> f64) -> Option<Stats> {
    let values = tensor.view::<T>().ok()?;
    let (mut min, mut max, mut sum) = (f64::INFINITY, f64::NEG_INFINITY, 0.0);
    let (mut nans, mut infinities) = (0_u64, 0_u64);
    for chunk in values.chunks(CHUNK) {
        let mut part = 0.0;
        for value in chunk {
            let value = wide(*value);
            if value.is_finite() {
                min = min.min(value);
                max = max.max(value);
                part += value;
            } else if value.is_nan() {
                nans += 1;
            } else {
                infinities += 1;
            }
        }
        sum += part;
    }
    let finite = values.len() as u64 - nans - infinities;
    if finite == 0 {
        return Some(Stats { nans, infinities, ..Stats::default() });
    }
    let count = finite as f64;
    let mut mean = sum / count;
    if !mean.is_finite() {
        // Numbers so large that their sum is not one.
        mean =
            values.iter().map(|value| wide(*value)).filter(|value| value.is_finite()).map(|value| value / count).sum();
    }
    let (min, max) = (Some(Number::Float(min)), Some(Number::Float(max)));
    Some(Stats { min, max, mean: Some(mean), nans, infinities, trues: None })
}

fn integers<T: Element + Pod + Ord + Into<i128>>(tensor: &Tensor) -> Option<Stats> {
    let values = tensor.view::<T>().ok()?;
    let extreme = |value: Option<&T>| value.map(|value| Number::Integer((*value).into()));
    // Of less than 2^63 numbers of 64 bits, so that it fits.
    let sum: i128 = values.iter().map(|value| -> i128 { (*value).into() }).sum();
    let mean = (!values.is_empty()).then(|| sum as f64 / values.len() as f64);
    Some(Stats { min: extreme(values.iter().min()), max: extreme(values.iter().max()), mean, ..Stats::default() })
}

fn complex<T: Element + Pod>(tensor: &Tensor, kind: impl Fn(T) -> (bool, bool)) -> Option<Stats> {
    let mut stats = Stats::default();
    for value in tensor.view::<T>().ok()? {
        match kind(*value) {
            (true, _) => stats.nans += 1,
            (false, true) => stats.infinities += 1,
            (false, false) => {}
        }
    }
    Some(stats)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compute<T: Element>(values: &[T]) -> Stats {
        Stats::from_tensor(&Tensor::from_slice(&[values.len()], values).unwrap()).unwrap()
    }

    #[test]
    fn floats_count_what_is_not_finite() {
        let stats = compute(&[1.0_f32, f32::NAN, -2.0, f32::INFINITY, f32::NEG_INFINITY, 4.0]);
        assert_eq!((stats.min, stats.max), (Some(Number::Float(-2.0)), Some(Number::Float(4.0))));
        assert_eq!((stats.mean, stats.nans, stats.infinities, stats.trues), (Some(1.0), 1, 2, None));
        assert_eq!(compute(&[f16::from_f32(0.5), f16::NAN]).mean, Some(0.5));
        assert_eq!(compute(&[bf16::from_f32(-3.0)]).max, Some(Number::Float(-3.0)));
        let none = compute(&[f64::NAN]);
        assert_eq!((none.min, none.max, none.mean, none.nans), (None, None, None, 1));
        assert_eq!(compute::<f32>(&[]), Stats::default());
    }

    #[test]
    fn sums_beyond_float64_have_a_mean() {
        assert_eq!(compute(&[f64::MAX, f64::MAX]).mean, Some(f64::MAX));
        assert_eq!(compute(&[f64::MAX, f64::MIN, f64::MAX, f64::MIN]).mean, Some(0.0));
    }

    #[test]
    fn integers_are_exact() {
        let stats = compute(&[u64::MAX, u64::MAX - 2]);
        assert_eq!(stats.min, Some(Number::Integer(i128::from(u64::MAX) - 2)));
        assert_eq!(stats.max.unwrap().to_string(), "18446744073709551615");
        assert_eq!(compute(&[i64::MIN, i64::MAX]).mean, Some(-0.5));
        assert_eq!(compute(&[-3_i8, 5]).mean, Some(1.0));
        assert_eq!(compute::<i32>(&[]), Stats::default());
    }

    #[test]
    fn bools_and_complex_numbers_are_counted() {
        assert_eq!(compute(&[true, false, true]).trues, Some(2));
        let stats =
            compute(&[Complex::new(1.0_f32, f32::NAN), Complex::new(f32::INFINITY, 0.0), Complex::new(1.0, 2.0)]);
        assert_eq!((stats.nans, stats.infinities, stats.min, stats.mean), (1, 1, None, None));
        assert_eq!(Stats::from_tensor(&Tensor::from_strings(&[1], ["a"]).unwrap()), None);
    }
}
