//! numpy's .npy form of one array.
//!
//! | numpy | here |
//! |---|---|
//! | `b1`, `i1`–`i8`, `u1`–`u8`, `f2`, `f4`, `f8`, `c8`, `c16`, in either byte order | the dtype of that name |
//! | `V2`, as which numpy saves the bfloat16 of ml_dtypes | `bfloat16` |
//! | `S`: bytes, without the NULs at the end, which numpy cannot tell from filling | `string` |
//! | `U`: text, as UTF-8, likewise | `string` |
//! | objects, dates, records, other raw bytes | refused by name |
//!
//! Fortran order is turned into row-major order. Format:
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

mod descr;
mod header;
mod read;
mod write;

pub use read::{ArrayReader, from_bytes, read, read_file};
pub(super) use read::{Length, read_sized};
pub use write::{Plan, check_strings, write};

use super::Tensor;
use crate::dtype::DType;

/// What makes numpy give an array of this name the dtype that an input takes, as a hint says it.
#[must_use]
pub fn conversion(name: &str, expected: DType) -> String {
    match expected {
        DType::BFloat16 => format!("give its bits: {name}.astype(ml_dtypes.bfloat16).view(\"uint16\")"),
        DType::String => format!("give text: {name}.astype(\"U\")"),
        // A quantised number is given as its raw number.
        _ => {
            let dtype = expected.name();
            let dtype = dtype.strip_prefix('q').unwrap_or(dtype);
            format!("convert it in numpy if that is intended: {name}.astype(\"{dtype}\")")
        }
    }
}

/// The tensor as the dtype that a signature declares, if the elements keep their bits.
///
/// A file has no bfloat16 and no quantised types, so uint16 is taken as the bits of bfloat16, and an integer as the
/// quantised integer of its size. Nothing is converted: float64 for float32 is refused, as TensorFlow does.
///
/// # Errors
/// The tensor's dtype, if it does not match.
pub fn into_dtype(mut tensor: Tensor, expected: DType) -> Result<Tensor, DType> {
    let given = tensor.dtype;
    let same_bits = matches!(
        (given, expected),
        (DType::UInt16, DType::BFloat16 | DType::QUInt16)
            | (DType::Int8, DType::QInt8)
            | (DType::UInt8, DType::QUInt8)
            | (DType::Int16, DType::QInt16)
            | (DType::Int32, DType::QInt32)
    );
    if given != expected && !same_bits {
        return Err(given);
    }
    tensor.dtype = expected;
    Ok(tensor)
}

#[cfg(test)]
pub(super) mod tests;
