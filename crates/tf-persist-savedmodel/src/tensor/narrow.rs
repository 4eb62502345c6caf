//! Widening numbers of eight bits and fewer that have no Rust type.

use super::Tensor;
use crate::dtype::DType;
use crate::error::{Error, Result, TensorError};
use crate::shape::InvalidShape;

/// A float of at most eight bits: a sign, an exponent, a mantissa.
struct Format {
    exponent_bits: u32,
    mantissa_bits: u32,
    bias: i32,
    special: Special,
}

/// The patterns that are not finite numbers.
enum Special {
    /// All ones in the exponent: infinite if the mantissa is 0, else not a number.
    Ieee,
    /// Not a number where all bits but the sign are ones; no infinities.
    AllOnes,
    /// Not a number where the sign alone is set, which would be minus zero; no infinities.
    MinusZero,
    /// None.
    Nothing,
}

impl Format {
    fn from_dtype(dtype: DType) -> Option<Self> {
        let (exponent_bits, mantissa_bits, bias, special) = match dtype.name() {
            "float8_e5m2" => (5, 2, 15, Special::Ieee),
            "float8_e4m3fn" => (4, 3, 7, Special::AllOnes),
            "float8_e4m3fnuz" => (4, 3, 8, Special::MinusZero),
            "float8_e4m3b11fnuz" => (4, 3, 11, Special::MinusZero),
            "float8_e5m2fnuz" => (5, 2, 16, Special::MinusZero),
            "float4_e2m1fn" => (2, 1, 1, Special::Nothing),
            _ => return None,
        };
        Some(Self { exponent_bits, mantissa_bits, bias, special })
    }

    /// The exact number of a byte. Bits above those of the format are ignored.
    fn value(&self, byte: u8) -> f32 {
        let byte = u32::from(byte);
        let size = self.exponent_bits + self.mantissa_bits;
        let (sign, rest) = (byte >> size & 1, byte & ((1 << size) - 1));
        let (exponent, mantissa) = (rest >> self.mantissa_bits, rest & ((1 << self.mantissa_bits) - 1));
        let modulus = match self.special {
            Special::Ieee if exponent == (1 << self.exponent_bits) - 1 && mantissa == 0 => f32::INFINITY,
            Special::Ieee if exponent == (1 << self.exponent_bits) - 1 => f32::NAN,
            Special::AllOnes if rest == (1 << size) - 1 => f32::NAN,
            Special::MinusZero if sign == 1 && rest == 0 => f32::NAN,
            _ => {
                // Below the smallest normal number there is no hidden one, and the exponent is that of the smallest.
                let significand = if exponent == 0 { mantissa } else { mantissa | 1 << self.mantissa_bits };
                let power = exponent.max(1) as i32 - self.bias - self.mantissa_bits as i32;
                significand as f32 * 2_f32.powi(power)
            }
        };
        if sign == 1 { -modulus } else { modulus }
    }
}

/// Widens numbers of a dtype that [`Tensor`] cannot hold, from the bytes of a checkpoint, one a number: int4 and int2
/// to int8, uint4 and uint2 to uint8, float8 and float4 to float32, all exactly. `None` if TensorFlow 2.21 does not
/// have the dtype.
///
/// Only the lower bits of a byte count for narrower numbers; TensorFlow writes the others as zeros, even for -1.
///
/// # Errors
/// If the number of bytes does not match the shape, or there is no memory.
pub(crate) fn widened(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Option<Tensor>> {
    let signed = |bits: u32| bytes.iter().map(|byte| (byte << (8 - bits)).cast_signed() >> (8 - bits)).collect();
    let unsigned = |bits: u32| bytes.iter().map(|byte| byte & ((1 << bits) - 1)).collect();
    let of_signed = |numbers: Vec<i8>| Tensor::from_slice(shape, &numbers);
    let of_unsigned = |numbers: Vec<u8>| Tensor::from_slice(shape, &numbers);
    let tensor = match dtype.name() {
        "int4" => of_signed(signed(4))?,
        "int2" => of_signed(signed(2))?,
        "uint4" => of_unsigned(unsigned(4))?,
        "uint2" => of_unsigned(unsigned(2))?,
        _ => {
            let Some(format) = Format::from_dtype(dtype) else { return Ok(None) };
            let mut tensor = Tensor::zeros(DType::Float32, shape)?;
            let numbers = tensor.view_mut::<f32>()?;
            if numbers.len() != bytes.len() {
                let reason = format!("it has {} elements, {} were given", numbers.len(), bytes.len());
                return Err(Error::Tensor(TensorError::InvalidShape(InvalidShape { shape: shape.to_vec(), reason })));
            }
            let table: [f32; 256] = std::array::from_fn(|byte| format.value(byte as u8));
            numbers.iter_mut().zip(bytes).for_each(|(number, byte)| *number = table[usize::from(*byte)]);
            tensor
        }
    };
    Ok(Some(tensor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dtype(name: &str) -> DType {
        DType::from_name(name).unwrap()
    }

    fn floats(name: &str, bytes: &[u8]) -> Vec<f32> {
        let tensor = widened(dtype(name), &[bytes.len()], bytes).unwrap().unwrap();
        tensor.view::<f32>().unwrap().to_vec()
    }

    #[test]
    fn integers_have_their_sign_in_the_lower_bits() {
        let signed = |name, bytes: &[u8]| {
            let tensor = widened(dtype(name), &[bytes.len()], bytes).unwrap().unwrap();
            tensor.view::<i8>().unwrap().to_vec()
        };
        // What `tf.saved_model.save` of TensorFlow 2.21 writes of -8, -1, 0, 1, 3, 7; and -1 with its sign carried on.
        assert_eq!(signed("int4", &[0x08, 0x0f, 0, 1, 3, 7, 0xff]), [-8, -1, 0, 1, 3, 7, -1]);
        assert_eq!(signed("int2", &[0x02, 0x03, 0, 1]), [-2, -1, 0, 1]);
        let tensor = widened(dtype("uint4"), &[2, 2], &[0, 1, 3, 15]).unwrap().unwrap();
        assert_eq!((tensor.view::<u8>().unwrap(), tensor.shape()), (&[0, 1, 3, 15][..], &[2, 2][..]));
        let tensor = widened(dtype("uint2"), &[2], &[3, 2]).unwrap().unwrap();
        assert_eq!(tensor.view::<u8>().unwrap(), [3, 2]);
    }

    /// The values of the package ml_dtypes 0.5, which TensorFlow's Python uses.
    #[test]
    fn floats_are_those_of_python() {
        let least = [
            ("float8_e5m2", 2_f32.powi(-16)),
            ("float8_e4m3fn", 2_f32.powi(-9)),
            ("float8_e4m3fnuz", 2_f32.powi(-10)),
            ("float8_e4m3b11fnuz", 2_f32.powi(-13)),
            ("float8_e5m2fnuz", 2_f32.powi(-17)),
            ("float4_e2m1fn", 0.5),
        ];
        for (name, least) in least {
            assert_eq!(floats(name, &[0, 1]), [0.0, least], "{name}");
        }
        for (name, byte, largest) in [
            ("float8_e5m2", 0x7b, 57344.0),
            ("float8_e4m3fn", 0x7e, 448.0),
            ("float8_e4m3fnuz", 0x7f, 240.0),
            ("float8_e4m3b11fnuz", 0x7f, 30.0),
            ("float8_e5m2fnuz", 0x7f, 57344.0),
            ("float4_e2m1fn", 0x07, 6.0),
        ] {
            assert_eq!(floats(name, &[byte, byte | if byte > 7 { 0x80 } else { 8 }]), [largest, -largest], "{name}");
        }
        assert_eq!(floats("float8_e4m3fn", &[0xc0, 0x38, 0x08, 0x5c]), [-2.0, 1.0, 2_f32.powi(-6), 24.0]);
        assert_eq!(floats("float8_e5m2", &[0xc0, 0x3c, 0x24, 0x4e]), [-2.0, 1.0, 2_f32.powi(-6), 24.0]);
        assert_eq!(floats("float8_e4m3fn", &[0x80])[0].to_bits(), (-0.0_f32).to_bits());
    }

    #[test]
    fn what_is_not_finite_is_known() {
        let nans = |name: &str| -> Vec<u8> {
            let bytes: Vec<u8> = (0..=255).collect();
            floats(name, &bytes).iter().zip(bytes).filter(|(value, _)| value.is_nan()).map(|(_, byte)| byte).collect()
        };
        assert_eq!(nans("float8_e5m2"), [0x7d, 0x7e, 0x7f, 0xfd, 0xfe, 0xff]);
        assert_eq!(nans("float8_e4m3fn"), [0x7f, 0xff]);
        for name in ["float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2fnuz"] {
            assert_eq!(nans(name), [0x80], "{name}");
        }
        assert!(nans("float4_e2m1fn").is_empty());
        assert_eq!(floats("float8_e5m2", &[0x7c, 0xfc]), [f32::INFINITY, f32::NEG_INFINITY]);
    }

    #[test]
    fn other_dtypes_and_wrong_lengths_are_no_numbers() {
        assert!(widened(DType::Other(99), &[1], &[0]).unwrap().is_none());
        assert!(widened(dtype("int4"), &[3], &[0]).is_err());
        assert!(widened(dtype("float8_e5m2"), &[3], &[0]).is_err());
    }
}
