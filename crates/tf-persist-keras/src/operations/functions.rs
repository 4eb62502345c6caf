//! Functions of one tensor, element by element.

use tf_persist_savedmodel::DType;

use super::arithmetic::wide_float;
use super::call::Call;
use super::dtypes::{float_type, is_integer, is_unsigned};
use super::{Entry, op};
use crate::graph::{Graph, TensorRef};
use crate::layers::Argument;
use crate::reason::{Result, refuse};

pub(super) const TABLE: &[Entry] = &[
    op("Absolute", "x", "", |c| c.unary(absolute)),
    op("Abs", "x", "", |c| c.unary(absolute)),
    op("Fabs", "x", "", |c| c.unary(|g, x| g.abs(&integers_to_float(g, x)?))),
    op("Arccos", "x", "", |c| c.float_unary(Graph::acos)),
    op("Arccosh", "x", "", |c| c.float_unary(Graph::acosh)),
    op("Arcsin", "x", "", |c| c.float_unary(Graph::asin)),
    op("Arcsinh", "x", "", |c| c.float_unary(Graph::asinh)),
    op("Arctan", "x", "", |c| c.float_unary(Graph::atan)),
    op("Arctanh", "x", "", |c| c.float_unary(Graph::atanh)),
    op("Cos", "x", "", |c| c.float_unary(Graph::cos)),
    op("Cosh", "x", "", |c| c.float_unary(Graph::cosh)),
    op("Sin", "x", "", |c| c.float_unary(Graph::sin)),
    op("Sinh", "x", "", |c| c.float_unary(Graph::sinh)),
    op("Tan", "x", "", |c| c.float_unary(Graph::tan)),
    op("Tanh", "x", "", |c| c.float_unary(Graph::tanh)),
    op("Ceil", "x", "", |c| c.float_unary(Graph::ceil)),
    op("Floor", "x", "", |c| c.float_unary(Graph::floor)),
    op("Sqrt", "x", "", |c| c.float_unary(Graph::sqrt)),
    op("Log", "x", "", |c| c.float_unary(Graph::log)),
    op("Log1p", "x", "", |c| c.float_unary(Graph::log1p)),
    op("Log10", "x", "", |c| c.float_unary(|g, x| log_of_base(g, x, 10.0))),
    op("Log2", "x", "", |c| c.float_unary(|g, x| log_of_base(g, x, 2.0))),
    op("Sinc", "x", "", |c| c.float_unary(sinc)),
    op("Exp", "x", "", |c| c.unary(|g, x| g.exp(&integers_to_float(g, x)?))),
    op("Expm1", "x", "", |c| c.unary(|g, x| g.expm1(&integers_to_float(g, x)?))),
    op("Exp2", "x", "", |c| c.unary(exp2)),
    op("Negative", "x", "", |c| c.unary(Graph::neg)),
    op("Sign", "x", "", |c| c.unary(sign)),
    op("Square", "x", "", |c| c.unary(square)),
    op("Rsqrt", "x", "", |c| c.unary(Graph::rsqrt)),
    op("Reciprocal", "x", "", |c| c.unary(Graph::reciprocal)),
    op("Erf", "x", "", |c| c.unary(Graph::erf)),
    op("Erfc", "x", "", |c| c.unary(Graph::erfc)),
    op("Erfinv", "x", "", |c| c.unary(erfinv)),
    op("I0", "x", "", |c| c.unary(i0)),
    op("Cbrt", "x", "", |c| c.unary(cbrt)),
    op("Deg2rad", "x", "", |c| c.unary(deg2rad)),
    op("Rad2deg", "x", "", |c| c.unary(rad2deg)),
    op("Round", "x", "decimals", round),
    op("Trunc", "x", "", |c| c.unary(trunc)),
    op("Clip", "x", "x_min x_max", clip),
    op("NanToNum", "x", "nan posinf neginf", |c| {
        let x = c.tensor("x")?;
        let (nan, high, low) = (c.float_or("nan", 0.0)?, c.float_or_none("posinf")?, c.float_or_none("neginf")?);
        Ok(nan_to_num(c.g, &x, nan, high, low)?.into())
    }),
    op("Conjugate", "x", "", |c| c.unary(conj)),
    op("Conj", "x", "", |c| c.unary(conj)),
    op("Real", "x", "", |c| c.unary(real)),
    op("Imag", "x", "", |c| c.unary(imag)),
    op("Angle", "x", "", angle),
    op("StopGradient", "variable", "", |c| Ok(c.g.stop_gradient(&c.tensor("variable")?)?.into())),
];

type Unary = fn(&Graph, &TensorRef) -> Result<TensorRef>;

impl Call<'_> {
    /// A function of `x`.
    pub(super) fn unary(&mut self, emit: Unary) -> Result<Argument> {
        let x = self.tensor("x")?;
        Ok(emit(self.g, &x)?.into())
    }

    /// A function of `x` in a floating dtype.
    fn float_unary(&mut self, emit: Unary) -> Result<Argument> {
        let x = self.tensor("x")?;
        Ok(emit(self.g, &self.g.cast(&x, float_type(x.dtype)?)?)?.into())
    }
}

/// Integers and bools as float32.
pub(super) fn integers_to_float(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    if is_integer(x.dtype) || x.dtype == DType::Bool { g.cast(x, DType::Float32) } else { Ok(x.clone()) }
}

fn absolute(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    match x.dtype {
        DType::Bool => Ok(x.clone()),
        dtype if is_unsigned(dtype) => Ok(x.clone()),
        DType::Complex64 => g.complex_abs(x),
        _ => g.abs(x),
    }
}

pub(super) fn log_of_base(g: &Graph, x: &TensorRef, base: f64) -> Result<TensorRef> {
    g.real_div(&g.log(x)?, &g.log(&g.scalar(base, x.dtype)?)?)
}

fn sinc(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    let scaled = g.mul(x, &g.scalar(std::f64::consts::PI, x.dtype)?)?;
    let is_zero = g.equal(x, &g.scalar(0.0, x.dtype)?)?;
    g.select(&is_zero, &g.ones_like(x)?, &g.real_div(&g.sin(&scaled)?, &scaled)?)
}

fn exp2(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    let x = integers_to_float(g, x)?;
    g.pow(&g.scalar(2.0, x.dtype)?, &x)
}

fn sign(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    match x.dtype {
        DType::UInt8 | DType::UInt16 | DType::UInt32 => g.cast(&g.sign(&g.cast(x, DType::Int32)?)?, x.dtype),
        _ => g.sign(x),
    }
}

pub(super) fn signbit(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    if x.dtype == DType::Bool {
        return g.logical_and(x, &g.scalar(0.0, DType::Bool)?);
    }
    if is_integer(x.dtype) {
        return g.less(x, &g.scalar(0.0, x.dtype)?);
    }
    let bits = g.bitcast(&g.cast(x, DType::Float32)?, DType::Int32)?;
    let sign = g.bitwise_and(&bits, &g.scalar_i32(i32::MIN)?)?;
    g.less(&sign, &g.scalar_i32(0)?)
}

pub(super) fn square(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    if x.dtype == DType::Bool { g.square(&g.cast(x, DType::Int32)?) } else { g.square(x) }
}

fn erfinv(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    match x.dtype {
        DType::Float16 | DType::BFloat16 => g.cast(&g.erfinv(&g.cast(x, DType::Float32)?)?, x.dtype),
        _ => g.erfinv(x),
    }
}

fn i0(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    let dtype = match x.dtype {
        DType::Int64 | DType::Float64 => DType::Float64,
        DType::BFloat16 | DType::Float16 => x.dtype,
        _ => DType::Float32,
    };
    g.bessel_i0(&g.cast(x, dtype)?)
}

fn cbrt(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    let dtype = match x.dtype {
        DType::Int64 | DType::Float64 => DType::Float64,
        DType::BFloat16 | DType::Float16 => x.dtype,
        _ => DType::Float32,
    };
    let x = g.cast(x, dtype)?;
    g.mul(&g.sign(&x)?, &g.pow(&g.abs(&x)?, &g.scalar(1.0 / 3.0, dtype)?)?)
}

/// A tensor in a floating dtype: float64 for int64, float32 for other integers and bools.
fn angle_float(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    g.cast(x, if x.dtype == DType::Bool { DType::Float32 } else { wide_float(x.dtype) })
}

fn deg2rad(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    let x = angle_float(g, x)?;
    let factor = g.real_div(&g.scalar(std::f64::consts::PI, x.dtype)?, &g.scalar(180.0, x.dtype)?)?;
    g.mul(&x, &factor)
}

fn rad2deg(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    let x = angle_float(g, x)?;
    let factor = g.real_div(&g.scalar(180.0, x.dtype)?, &g.scalar(std::f64::consts::PI, x.dtype)?)?;
    g.mul(&x, &factor)
}

fn round(c: &mut Call<'_>) -> Result<Argument> {
    let (x, decimals) = (c.tensor("x")?, c.int_or("decimals", 0)?);
    let g = c.g;
    if decimals == 0 {
        return Ok(round_half_even(g, &x)?.into());
    }
    let Ok(power) = i32::try_from(decimals) else { refuse!("`decimals` is {decimals}, which is too large") };
    let whole = is_integer(x.dtype);
    if whole && power > 0 {
        return Ok(x.into());
    }
    let dtype = if whole { DType::Float32 } else { x.dtype };
    // Keras computes the power in Python, and casts it from float32.
    let factor = g.cast(&g.scalar(10_f64.powi(power), DType::Float32)?, dtype)?;
    let y = round_half_even(g, &g.mul(&g.cast(&x, dtype)?, &factor)?)?;
    Ok(g.cast(&g.real_div(&y, &factor)?, x.dtype)?.into())
}

/// Integers are whole already.
fn round_half_even(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    if is_integer(x.dtype) { Ok(x.clone()) } else { g.round(x) }
}

fn trunc(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    if x.dtype == DType::Bool || is_integer(x.dtype) {
        return Ok(x.clone());
    }
    g.select(&g.less(x, &g.scalar(0.0, x.dtype)?)?, &g.ceil(x)?, &g.floor(x)?)
}

fn clip(c: &mut Call<'_>) -> Result<Argument> {
    let (mut x, low, high) = (c.tensor("x")?, c.operand("x_min")?, c.operand("x_max")?);
    if x.dtype == DType::Bool {
        x = c.g.cast(&x, DType::Int32)?;
    }
    let (low, high) = (low.to(c.g, x.dtype)?, high.to(c.g, x.dtype)?);
    Ok(clip_by_value(c.g, &x, &low, &high)?.into())
}

/// As TensorFlow's function of this name.
pub(super) fn clip_by_value(g: &Graph, x: &TensorRef, low: &TensorRef, high: &TensorRef) -> Result<TensorRef> {
    g.maximum(&g.minimum(x, high)?, low)
}

/// The largest finite number of a floating dtype.
pub(super) fn largest(dtype: DType) -> Result<f64> {
    match dtype {
        DType::Float16 => Ok(half::f16::MAX.to_f64()),
        DType::BFloat16 => Ok(half::bf16::MAX.to_f64()),
        DType::Float32 => Ok(f64::from(f32::MAX)),
        DType::Float64 => Ok(f64::MAX),
        dtype => refuse!("{dtype} is not a floating dtype"),
    }
}

/// Replaces what is not a finite number.
pub(super) fn nan_to_num(g: &Graph, x: &TensorRef, nan: f64, high: Option<f64>, low: Option<f64>) -> Result<TensorRef> {
    if !x.dtype.is_floating() {
        return Ok(x.clone());
    }
    let most = largest(x.dtype)?;
    let zero = g.scalar(0.0, x.dtype)?;
    let x = g.select(&g.classify("IsNan", x)?, &g.scalar(nan, x.dtype)?, x)?;
    let above = g.logical_and(&g.classify("IsInf", &x)?, &g.greater(&x, &zero)?)?;
    let x = g.select(&above, &g.scalar(high.unwrap_or(most), x.dtype)?, &x)?;
    let below = g.logical_and(&g.classify("IsInf", &x)?, &g.less(&x, &zero)?)?;
    g.select(&below, &g.scalar(low.unwrap_or(-most), x.dtype)?, &x)
}

fn is_complex(x: &TensorRef) -> bool {
    matches!(x.dtype, DType::Complex64 | DType::Complex128)
}

fn conj(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    if is_complex(x) { g.unary("Conj", x) } else { Ok(x.clone()) }
}

fn real(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    if is_complex(x) { g.part("Real", x) } else { Ok(x.clone()) }
}

fn imag(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    if is_complex(x) { g.part("Imag", x) } else { g.zeros_like(x) }
}

fn angle(c: &mut Call<'_>) -> Result<Argument> {
    let x = c.tensor("x")?;
    let g = c.g;
    let x = g.cast(&x, float_type(x.dtype)?)?;
    if is_complex(&x) {
        return Ok(g.part("Angle", &x)?.into());
    }
    let negative = g.less(&x, &g.scalar(0.0, x.dtype)?)?;
    let pi = g.mul(&g.scalar(std::f64::consts::PI, x.dtype)?, &g.ones_like(&x)?)?;
    Ok(g.select(&negative, &pi, &g.zeros_like(&x)?)?.into())
}
