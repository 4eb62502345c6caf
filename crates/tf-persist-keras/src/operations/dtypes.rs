//! Keras's rules for the dtype of a result of several inputs.

use tf_persist_savedmodel::DType;

use crate::reason::{Result, refuse};

/// The type of an operand: that of a tensor, or of a number of Python, which follows the tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Typed(DType),
    WeakInt,
    WeakFloat,
}

use DType::{
    BFloat16, Bool, Complex64, Complex128, Float16, Float32, Float64, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32,
    UInt64,
};
use Kind::{Typed, WeakFloat, WeakInt};

/// All kinds that are promoted, each before those above it.
const KINDS: [Kind; 17] = [
    Typed(Bool),
    WeakInt,
    Typed(UInt8),
    Typed(UInt16),
    Typed(UInt32),
    Typed(UInt64),
    Typed(Int8),
    Typed(Int16),
    Typed(Int32),
    Typed(Int64),
    WeakFloat,
    Typed(BFloat16),
    Typed(Float16),
    Typed(Float32),
    Typed(Float64),
    Typed(Complex64),
    Typed(Complex128),
];

/// The kinds directly above a kind.
fn above(kind: Kind) -> &'static [Kind] {
    match kind {
        Typed(Bool) => &[WeakInt],
        WeakInt => &[Typed(UInt8), Typed(Int8), Typed(Complex64)],
        Typed(UInt8) => &[Typed(Int16), Typed(UInt16)],
        Typed(UInt16) => &[Typed(Int32), Typed(UInt32)],
        Typed(UInt32) => &[Typed(Int64), Typed(UInt64)],
        Typed(Int8) => &[Typed(Int16)],
        Typed(Int16) => &[Typed(Int32)],
        Typed(Int32) => &[Typed(Int64)],
        Typed(UInt64 | Int64) => &[WeakFloat],
        WeakFloat => &[Typed(BFloat16), Typed(Float16)],
        Typed(BFloat16 | Float16) => &[Typed(Float32)],
        Typed(Float32) => &[Typed(Float64), Typed(Complex64)],
        Typed(Float64 | Complex64) => &[Typed(Complex128)],
        Typed(_) => &[],
    }
}

/// Whether `high` is `low` or above it.
fn reaches(low: Kind, high: Kind) -> bool {
    low == high || above(low).iter().any(|next| reaches(*next, high))
}

/// The dtype of a result of operands of these kinds.
pub(crate) fn result_type(kinds: &[Kind]) -> Result<DType> {
    let bounds = |kind: &Kind| kinds.iter().all(|operand| reaches(*operand, *kind));
    let common = match kinds {
        [first, rest @ ..] if rest.iter().all(|kind| kind == first) => Some(*first),
        _ => KINDS
            .into_iter()
            .filter(bounds)
            .find(|kind| KINDS.iter().filter(|it| bounds(it)).all(|it| reaches(*kind, *it))),
    };
    match common {
        Some(Typed(UInt64)) => Ok(UInt32),
        Some(Typed(Complex128)) => Ok(Complex64),
        Some(Typed(dtype)) => Ok(dtype),
        Some(WeakInt) => Ok(Int32),
        Some(WeakFloat) => Ok(Float32),
        None => {
            let names: Vec<String> = kinds.iter().map(|kind| kind.to_string()).collect();
            refuse!("there is no common dtype of {}", names.join(" and "))
        }
    }
}

/// The dtype of a floating result of a tensor: its own if it is floating, else float32.
pub(crate) fn float_type(dtype: DType) -> Result<DType> {
    result_type(&[Typed(dtype), WeakFloat])
}

/// Whether Keras takes a dtype for an integer: all but bool, floats, complex numbers and strings.
pub(crate) fn is_integer(dtype: DType) -> bool {
    matches!(dtype, UInt8 | UInt16 | UInt32 | UInt64 | Int8 | Int16 | Int32 | Int64)
}

/// Whether a dtype is an integer without sign.
pub(crate) fn is_unsigned(dtype: DType) -> bool {
    matches!(dtype, UInt8 | UInt16 | UInt32 | UInt64)
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Typed(dtype) => dtype.fmt(f),
            WeakInt => f.write_str("an integer"),
            WeakFloat => f.write_str("a number"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promotes_as_keras() {
        let cases: [(&[Kind], DType); 14] = [
            (&[Typed(Float32), WeakInt], Float32),
            (&[Typed(Float16), WeakFloat], Float16),
            (&[Typed(Int32), WeakFloat], Float32),
            (&[Typed(Int8), WeakInt], Int8),
            (&[Typed(Bool), WeakInt], Int32),
            (&[Typed(Int64), Typed(Float16)], Float16),
            (&[Typed(UInt8), Typed(Int8)], Int16),
            (&[Typed(UInt32), Typed(Int32)], Int64),
            (&[Typed(UInt64), Typed(Int64)], Float32),
            (&[Typed(BFloat16), Typed(Float16)], Float32),
            (&[Typed(Int64), WeakFloat], Float32),
            (&[Typed(Bool), Typed(Bool)], Bool),
            (&[WeakInt, WeakInt], Int32),
            (&[Typed(Float64), Typed(Int64), WeakFloat], Float64),
        ];
        for (kinds, dtype) in cases {
            assert_eq!(result_type(kinds), Ok(dtype), "{kinds:?}");
        }
    }

    #[test]
    fn strings_have_no_common_dtype_with_numbers() {
        let error = result_type(&[Typed(DType::String), WeakInt]).unwrap_err().to_string();
        assert_eq!(error, "there is no common dtype of string and an integer");
    }
}
