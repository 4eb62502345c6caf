//! The Rust types of tensor elements.

use bytemuck::{NoUninit, Pod};
use half::{bf16, f16};
use num_complex::Complex;

use crate::dtype::DType;

/// A Rust type of tensor elements.
///
/// Implemented for `f32`, `f64`, [`half::f16`], [`half::bf16`], `i8` to `i64`, `u8` to `u64`, `bool`, and
/// [`num_complex::Complex`] of `f32` and `f64`. Strings are not elements of one size: see
/// [`Tensor::strings`](crate::Tensor::strings).
#[diagnostic::on_unimplemented(
    message = "a tensor has no elements of the type `{Self}`",
    label = "not the type of a tensor's elements",
    note = "strings go in by `Tensor::from_strings(&[2], [\"a\", \"b\"])` and come out by `tensor.strings()?`",
    note = "numbers are f32, f64, half::f16, half::bf16, i8 to i64, u8 to u64, bool, and num_complex::Complex"
)]
pub trait Element: NoUninit + private::Sealed {
    /// The dtypes that can be viewed as this type: its own first, then the quantised one with the same raw number.
    const DTYPES: &'static [DType];

    /// These bytes as elements; `None` if a byte pattern is invalid for the type.
    #[doc(hidden)]
    fn view(bytes: &[u8]) -> Option<&[Self]>;

    /// These bytes as mutable elements; `None` if a byte pattern is invalid for the type.
    #[doc(hidden)]
    fn view_mut(bytes: &mut [u8]) -> Option<&mut [Self]>;
}

mod private {
    pub trait Sealed {}
}

fn cast<T: Pod>(bytes: &[u8]) -> Option<&[T]> {
    // An empty tensor has no memory whose alignment could be relied on.
    if bytes.is_empty() { Some(&[]) } else { bytemuck::try_cast_slice(bytes).ok() }
}

fn cast_mut<T: Pod>(bytes: &mut [u8]) -> Option<&mut [T]> {
    if bytes.is_empty() { Some(&mut []) } else { bytemuck::try_cast_slice_mut(bytes).ok() }
}

macro_rules! pod_elements {
    ($($rust:ty => [$($dtype:ident),+];)+) => {$(
        impl private::Sealed for $rust {}
        impl Element for $rust {
            const DTYPES: &'static [DType] = &[$(DType::$dtype),+];
            fn view(bytes: &[u8]) -> Option<&[Self]> {
                cast(bytes)
            }
            fn view_mut(bytes: &mut [u8]) -> Option<&mut [Self]> {
                cast_mut(bytes)
            }
        }
    )+};
}

pod_elements! {
    f32 => [Float32];
    f64 => [Float64];
    f16 => [Float16];
    bf16 => [BFloat16];
    i8 => [Int8, QInt8];
    i16 => [Int16, QInt16];
    i32 => [Int32, QInt32];
    i64 => [Int64];
    u8 => [UInt8, QUInt8];
    u16 => [UInt16, QUInt16];
    u32 => [UInt32];
    u64 => [UInt64];
    Complex<f32> => [Complex64];
    Complex<f64> => [Complex128];
}

impl private::Sealed for bool {}
impl Element for bool {
    const DTYPES: &'static [DType] = &[DType::Bool];

    fn view(bytes: &[u8]) -> Option<&[Self]> {
        bytemuck::checked::try_cast_slice(bytes).ok()
    }

    fn view_mut(bytes: &mut [u8]) -> Option<&mut [Self]> {
        bytemuck::checked::try_cast_slice_mut(bytes).ok()
    }
}
