//! Values in another dtype, as Keras assigns the values of a file to its variables.

use half::{bf16, f16};
use tf_persist_savedmodel::{DType, Result, Tensor};

/// A number between two dtypes.
#[derive(Clone, Copy)]
enum Number {
    Integer(i128),
    Float(f64),
}

/// The tensor in another dtype, as numpy's `astype` converts it. `None` if one of the dtypes is not of numbers.
pub(super) fn cast(tensor: &Tensor, dtype: DType) -> Result<Option<Tensor>> {
    macro_rules! numbers {
        ($type:ty, $number:expr) => {
            from_numbers(tensor.shape(), tensor.view::<$type>()?.iter().copied().map($number), dtype)
        };
    }
    match tensor.dtype() {
        DType::Float64 => numbers!(f64, Number::Float),
        DType::Float32 => numbers!(f32, |it| Number::Float(it.into())),
        DType::Float16 => numbers!(f16, |it| Number::Float(it.into())),
        DType::BFloat16 => numbers!(bf16, |it| Number::Float(it.into())),
        DType::Int64 => numbers!(i64, |it| Number::Integer(it.into())),
        DType::Int32 => numbers!(i32, |it| Number::Integer(it.into())),
        DType::Int16 => numbers!(i16, |it| Number::Integer(it.into())),
        DType::Int8 => numbers!(i8, |it| Number::Integer(it.into())),
        DType::UInt64 => numbers!(u64, |it| Number::Integer(it.into())),
        DType::UInt32 => numbers!(u32, |it| Number::Integer(it.into())),
        DType::UInt16 => numbers!(u16, |it| Number::Integer(it.into())),
        DType::UInt8 => numbers!(u8, |it| Number::Integer(it.into())),
        DType::Bool => numbers!(bool, |it| Number::Integer(it.into())),
        _ => Ok(None),
    }
}

fn from_numbers(shape: &[usize], numbers: impl Iterator<Item = Number>, dtype: DType) -> Result<Option<Tensor>> {
    let mut tensor = match dtype {
        DType::Complex64 | DType::Complex128 | DType::String => return Ok(None),
        _ => Tensor::zeros(dtype, shape)?,
    };
    macro_rules! fill {
        ($type:ty, $convert:expr) => {{
            for (element, number) in tensor.view_mut::<$type>()?.iter_mut().zip(numbers) {
                *element = $convert(number);
            }
        }};
    }
    match dtype {
        DType::Float64 => fill!(f64, Number::float),
        DType::Float32 => fill!(f32, |it: Number| it.float() as f32),
        DType::Float16 => fill!(f16, |it: Number| f16::from_f64(it.float())),
        DType::BFloat16 => fill!(bf16, |it: Number| bf16::from_f32(it.float() as f32)),
        DType::Int64 => fill!(i64, |it: Number| it.integer() as i64),
        DType::Int32 => fill!(i32, |it: Number| it.integer() as i32),
        DType::Int16 => fill!(i16, |it: Number| it.integer() as i16),
        DType::Int8 => fill!(i8, |it: Number| it.integer() as i8),
        DType::UInt64 => fill!(u64, |it: Number| it.integer() as u64),
        DType::UInt32 => fill!(u32, |it: Number| it.integer() as u32),
        DType::UInt16 => fill!(u16, |it: Number| it.integer() as u16),
        DType::UInt8 => fill!(u8, |it: Number| it.integer() as u8),
        DType::Bool => fill!(bool, |it: Number| it.float() != 0.0),
        _ => return Ok(None),
    }
    Ok(Some(tensor))
}

impl Number {
    fn float(self) -> f64 {
        match self {
            Self::Integer(number) => number as f64,
            Self::Float(number) => number,
        }
    }

    /// Truncated; the caller's conversion drops the high bits, as C's and numpy's do.
    fn integer(self) -> i128 {
        match self {
            Self::Integer(number) => number,
            Self::Float(number) => number as i128,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_as_numpy_does() {
        let floats = Tensor::from_slice(&[2], &[1.75_f64, -3.2]).unwrap();
        let to = |dtype| cast(&floats, dtype).unwrap().unwrap();
        assert_eq!(to(DType::Float32).view::<f32>().unwrap(), [1.75, -3.2]);
        assert_eq!(to(DType::BFloat16).view::<bf16>().unwrap()[1].to_f32(), -3.203_125);
        assert_eq!(to(DType::Int64).view::<i64>().unwrap(), [1, -3]);
        assert_eq!(to(DType::UInt8).view::<u8>().unwrap(), [1, 253]);
        assert_eq!(to(DType::Bool).view::<bool>().unwrap(), [true, true]);
        let bools = Tensor::from_slice(&[2], &[true, false]).unwrap();
        assert_eq!(cast(&bools, DType::Float16).unwrap().unwrap().view::<f16>().unwrap(), [f16::ONE, f16::ZERO]);
        let texts = Tensor::from_strings(&[1], ["a"]).unwrap();
        assert!(cast(&texts, DType::Float32).unwrap().is_none());
    }
}
