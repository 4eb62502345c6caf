//! Ops on the parts and bits of numbers.

use tf_persist_savedmodel::DType;

use super::super::{Graph, TensorRef};
use crate::reason::{Result, refuse};

impl Graph {
    /// `Real`, `Imag` or `Angle` of complex numbers.
    pub(crate) fn part(&self, op: &'static str, x: &TensorRef) -> Result<TensorRef> {
        let dtype = real_dtype(x.dtype)?;
        self.add(op, &[x], vec![("T", x.dtype.into()), ("Tout", dtype.into())], dtype, x.shape.clone())
    }

    pub(crate) fn complex_abs(&self, x: &TensorRef) -> Result<TensorRef> {
        self.part("ComplexAbs", x)
    }

    /// Complex numbers of real and imaginary parts.
    pub(crate) fn complex(&self, real: &TensorRef, imaginary: &TensorRef) -> Result<TensorRef> {
        let dtype = match (real.dtype, imaginary.dtype) {
            (DType::Float32, DType::Float32) => DType::Complex64,
            (DType::Float64, DType::Float64) => DType::Complex128,
            (a, b) => refuse!("there are no complex numbers of {a} and {b}"),
        };
        let attrs = vec![("T", real.dtype.into()), ("Tout", dtype.into())];
        self.add("Complex", &[real, imaginary], attrs, dtype, real.shape.broadcast(&imaginary.shape)?)
    }

    /// The same bits as elements of another dtype of the same size.
    pub(crate) fn bitcast(&self, x: &TensorRef, dtype: DType) -> Result<TensorRef> {
        let attrs = vec![("T", x.dtype.into()), ("type", dtype.into())];
        self.add("Bitcast", &[x], attrs, dtype, x.shape.clone())
    }

    pub(crate) fn bessel_i0(&self, x: &TensorRef) -> Result<TensorRef> {
        self.unary("BesselI0", x)
    }
}

/// The dtype of the parts of complex numbers.
fn real_dtype(dtype: DType) -> Result<DType> {
    match dtype {
        DType::Complex64 => Ok(DType::Float32),
        DType::Complex128 => Ok(DType::Float64),
        dtype => refuse!("{dtype} is not a complex dtype"),
    }
}
