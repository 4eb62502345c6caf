//! Sums, products and other functions of two tensors.

use tf_persist_savedmodel::DType;

use super::call::Call;
use super::dtypes::{Kind, is_integer, is_unsigned, result_type};
use super::operand::{Operand, promoted, promoted_float};
use super::{Entry, op};
use crate::graph::{Graph, TensorRef};
use crate::layers::Argument;
use crate::reason::{Result, refuse};

pub(super) const TABLE: &[Entry] = &[
    op("Add", "x1 x2", "", |c| c.both(promoted, add)),
    op("Subtract", "x1 x2", "", |c| c.both(promoted, Graph::sub)),
    op("Multiply", "x1 x2", "", |c| c.both(promoted, Graph::mul)),
    op("Divide", "x1 x2", "", |c| c.both(promoted_float, Graph::real_div)),
    op("TrueDivide", "x1 x2", "", |c| c.both(promoted_float, Graph::real_div)),
    op("DivideNoNan", "x1 x2", "", |c| c.both(promoted_float, Graph::div_no_nan)),
    op("FloorDivide", "x1 x2", "", |c| c.both(promoted, Graph::floor_div)),
    op("Power", "x1 x2", "", power),
    op("Mod", "x1 x2", "", modulo),
    op("Fmod", "x1 x2", "", fmod),
    op("Maximum", "x1 x2", "", |c| c.both(promoted, Graph::maximum)),
    op("Minimum", "x1 x2", "", |c| c.both(promoted, Graph::minimum)),
    op("Fmax", "x1 x2", "", |c| fmax(c, Graph::maximum)),
    op("Fmin", "x1 x2", "", |c| fmax(c, Graph::minimum)),
    op("Arctan2", "x1 x2", "", |c| c.both_tensors(promoted_float, Graph::atan2)),
    op("Hypot", "x1 x2", "", hypot),
    op("Heaviside", "x1 x2", "", heaviside),
    op("Logaddexp", "x1 x2", "", |c| logaddexp(c, false)),
    op("Logaddexp2", "x1 x2", "", |c| logaddexp(c, true)),
    op("Nextafter", "x1 x2", "", nextafter),
    op("Ldexp", "x1 x2", "", ldexp),
    op("Gcd", "x1 x2", "", |c| {
        let [a, b] = integers(c)?;
        Ok(gcd(c.g, &a, &b)?.into())
    }),
    op("Lcm", "x1 x2", "", lcm),
    op("BitwiseAnd", "x y", "", |c| c.bitwise(Graph::bitwise_and)),
    op("BitwiseOr", "x y", "", |c| c.bitwise(Graph::bitwise_or)),
    op("BitwiseXor", "x y", "", |c| c.bitwise(Graph::bitwise_xor)),
    op("BitwiseLeftShift", "x y", "", |c| c.shift(Graph::left_shift)),
    op("LeftShift", "x y", "", |c| c.shift(Graph::left_shift)),
    op("BitwiseRightShift", "x y", "", |c| c.shift(Graph::right_shift)),
    op("RightShift", "x y", "", |c| c.shift(Graph::right_shift)),
    op("BitwiseInvert", "x", "", |c| Ok(c.g.invert(&c.tensor("x")?)?.into())),
    op("BitwiseNot", "x", "", |c| Ok(c.g.invert(&c.tensor("x")?)?.into())),
];

/// How two operands get their common dtype.
type Promote = fn(&Graph, &Operand, &Operand) -> Result<[TensorRef; 2]>;
/// A function of two tensors.
type Binary = fn(&Graph, &TensorRef, &TensorRef) -> Result<TensorRef>;

impl Call<'_> {
    /// A function of `x1` and `x2`, of which numbers take the dtype of the other.
    fn both(&mut self, promote: Promote, emit: Binary) -> Result<Argument> {
        let (a, b) = (self.operand("x1")?, self.operand("x2")?);
        let [a, b] = promote(self.g, &a, &b)?;
        Ok(emit(self.g, &a, &b)?.into())
    }

    /// A function of `x1` and `x2`, of which numbers become int32 or float32 before both are promoted.
    pub(super) fn both_tensors(&mut self, promote: Promote, emit: Binary) -> Result<Argument> {
        let [a, b] = self.pair(promote)?;
        Ok(emit(self.g, &a, &b)?.into())
    }

    /// `x1` and `x2` as tensors of one dtype.
    pub(super) fn pair(&mut self, promote: Promote) -> Result<[TensorRef; 2]> {
        let (a, b) = (self.tensor("x1")?, self.tensor("x2")?);
        promote(self.g, &a.into(), &b.into())
    }

    fn bitwise(&mut self, emit: Binary) -> Result<Argument> {
        let (a, b) = (self.tensor("x")?, self.tensor("y")?);
        let [a, b] = promoted(self.g, &a.into(), &b.into())?;
        Ok(emit(self.g, &a, &b)?.into())
    }

    fn shift(&mut self, emit: Binary) -> Result<Argument> {
        let (a, b) = (self.tensor("x")?, self.operand("y")?);
        let [a, b] = match b {
            Operand::Int(_) => {
                let b = b.to(self.g, a.dtype)?;
                [a, b]
            }
            b => promoted(self.g, &a.into(), &b.tensor(self.g)?.into())?,
        };
        Ok(emit(self.g, &a, &b)?.into())
    }
}

/// A sum. Keras adds what looks like a bias by `BiasAdd`, which has the shape of the first tensor.
pub(crate) fn add(g: &Graph, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
    let mut wide = b.dims().iter().filter(|dim| **dim != Some(1) && **dim != Some(0));
    if let (Some(Some(size)), None, true) = (wide.next(), wide.next(), a.rank() > 1) {
        let (is_last, is_second) = (a.dim(-1)? == Some(*size), a.dim(1)? == Some(*size));
        if is_last || is_second {
            let axes: Vec<i64> = (0..b.rank() as i64).filter(|axis| b.dims()[*axis as usize] == Some(1)).collect();
            let bias = if b.rank() > 1 { g.squeeze(b, &axes)? } else { b.clone() };
            if bias.rank() == 1 {
                return if is_last { g.bias_add(a, &bias) } else { g.bias_add_second(a, &bias) };
            }
        }
    }
    g.add_v2(a, b)
}

fn power(c: &mut Call<'_>) -> Result<Argument> {
    let (a, b) = (c.operand("x1")?, c.operand("x2")?);
    let dtype = result_type(&[a.kind(), b.kind()])?;
    let inner = if is_unsigned(dtype) { DType::Int32 } else { dtype };
    let y = c.g.pow(&a.to(c.g, inner)?, &b.to(c.g, inner)?)?;
    Ok(c.g.cast(&y, dtype)?.into())
}

/// `x1` and `x2` in their common dtype, int32 if both are bools.
fn numbers(c: &mut Call<'_>) -> Result<[TensorRef; 2]> {
    let [a, b] = c.pair(promoted)?;
    match a.dtype {
        DType::Bool => Ok([c.g.cast(&a, DType::Int32)?, c.g.cast(&b, DType::Int32)?]),
        _ => Ok([a, b]),
    }
}

fn modulo(c: &mut Call<'_>) -> Result<Argument> {
    let [a, b] = numbers(c)?;
    Ok(c.g.floor_mod(&a, &b)?.into())
}

fn fmod(c: &mut Call<'_>) -> Result<Argument> {
    let [a, b] = numbers(c)?;
    let (g, dtype) = (c.g, a.dtype);
    let inner = if matches!(dtype, DType::UInt8 | DType::UInt16 | DType::UInt32) { DType::Int32 } else { dtype };
    let (a, b) = (g.cast(&a, inner)?, g.cast(&b, inner)?);
    let y = g.mul(&g.sign(&a)?, &g.floor_mod(&g.abs(&a)?, &g.abs(&b)?)?)?;
    Ok(g.cast(&y, dtype)?.into())
}

/// The larger or smaller, and the other where one is not a number.
fn fmax(c: &mut Call<'_>, emit: Binary) -> Result<Argument> {
    let (a, b) = (c.operand("x1")?, c.operand("x2")?);
    let g = c.g;
    let [a, b] = promoted(g, &a, &b)?;
    let y = emit(g, &a, &b)?;
    if !a.dtype.is_floating() {
        return Ok(y.into());
    }
    let (nan_a, nan_b) = (g.classify("IsNan", &a)?, g.classify("IsNan", &b)?);
    let y = g.select(&g.logical_and(&nan_a, &g.logical_not(&nan_b)?)?, &b, &y)?;
    Ok(g.select(&g.logical_and(&nan_b, &g.logical_not(&nan_a)?)?, &a, &y)?.into())
}

/// `x1` and `x2` in a floating dtype: float64 for int64, float32 for other integers.
fn floats(c: &mut Call<'_>) -> Result<[TensorRef; 2]> {
    let [a, b] = c.pair(promoted)?;
    let dtype = wide_float(a.dtype);
    Ok([c.g.cast(&a, dtype)?, c.g.cast(&b, dtype)?])
}

/// Float64 for int64, float32 for other integers.
pub(super) fn wide_float(dtype: DType) -> DType {
    match dtype {
        DType::Int64 => DType::Float64,
        DType::Int8 | DType::Int16 | DType::Int32 | DType::UInt8 | DType::UInt16 | DType::UInt32 => DType::Float32,
        dtype => dtype,
    }
}

fn hypot(c: &mut Call<'_>) -> Result<Argument> {
    let [a, b] = floats(c)?;
    let g = c.g;
    let (a, b) = (g.abs(&a)?, g.abs(&b)?);
    let (high, low) = (g.maximum(&a, &b)?, g.minimum(&a, &b)?);
    let squared = g.square(&g.div_no_nan(&low, &high)?)?;
    let sum = g.add_v2(&g.scalar(1.0, squared.dtype)?, &squared)?;
    Ok(g.mul(&high, &g.sqrt(&sum)?)?.into())
}

fn heaviside(c: &mut Call<'_>) -> Result<Argument> {
    let [a, b] = floats(c)?;
    let g = c.g;
    let zero = g.scalar(0.0, a.dtype)?;
    let inner = g.select(&g.greater(&a, &zero)?, &g.ones_like(&a)?, &b)?;
    Ok(g.select(&g.less(&a, &zero)?, &g.zeros_like(&a)?, &inner)?.into())
}

fn logaddexp(c: &mut Call<'_>, base_two: bool) -> Result<Argument> {
    let [a, b] = c.pair(promoted_float)?;
    let g = c.g;
    let delta = g.sub(&a, &b)?;
    let log_two = g.cast(&g.log(&g.scalar(2.0, DType::Float32)?)?, a.dtype)?;
    let mut below = g.neg(&g.abs(&delta)?)?;
    if base_two {
        below = g.mul(&below, &log_two)?;
    }
    let mut rest = g.log1p(&g.exp(&below)?)?;
    if base_two {
        rest = g.real_div(&rest, &log_two)?;
    }
    let sum = g.add_v2(&g.maximum(&a, &b)?, &rest)?;
    Ok(g.select(&g.classify("IsNan", &delta)?, &g.add_v2(&a, &b)?, &sum)?.into())
}

fn nextafter(c: &mut Call<'_>) -> Result<Argument> {
    let (a, b) = (c.tensor("x1")?, c.tensor("x2")?);
    let dtype = result_type(&[Kind::Typed(a.dtype), Kind::Typed(b.dtype), Kind::WeakFloat])?;
    let y = c.g.next_after(&c.g.cast(&a, DType::Float64)?, &c.g.cast(&b, DType::Float64)?)?;
    Ok(c.g.cast(&y, dtype)?.into())
}

fn ldexp(c: &mut Call<'_>) -> Result<Argument> {
    let (a, b) = (c.tensor("x1")?, c.tensor("x2")?);
    let g = c.g;
    if !is_integer(b.dtype) {
        refuse!("its exponents are {}, and should be integers", b.dtype);
    }
    let [a, b] = promoted_float(g, &a.into(), &b.into())?;
    let y = g.mul(&a, &g.pow(&g.scalar(2.0, a.dtype)?, &b)?)?;
    let is_zero = g.equal(&a, &g.scalar(0.0, a.dtype)?)?;
    let stays = g.logical_or(&g.classify("IsInf", &a)?, &is_zero)?;
    Ok(g.select(&stays, &a, &y)?.into())
}

/// `x1` and `x2` as integers of one dtype.
fn integers(c: &mut Call<'_>) -> Result<[TensorRef; 2]> {
    let [a, b] = c.pair(promoted)?;
    if !is_integer(a.dtype) {
        refuse!("its arguments are {}, and should be integers", a.dtype);
    }
    Ok([a, b])
}

fn gcd(g: &Graph, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
    let shape = a.shape.broadcast(&b.shape)?;
    let [mut a, mut b] = [a.clone(), b.clone()];
    if shape != a.shape || shape != b.shape {
        let Some(sizes) = shape.sizes() else { refuse!("the sizes of its arguments are unknown, and must be known") };
        let sizes = g.vector_i32(&sizes.into_iter().map(|size| size as i64).collect::<Vec<_>>())?;
        a = g.broadcast_to(&a, &sizes, shape.clone())?;
        b = g.broadcast_to(&b, &sizes, shape)?;
    }
    if !is_unsigned(a.dtype) {
        (a, b) = (g.abs(&a)?, g.abs(&b)?);
    }
    let zero = g.scalar(0.0, a.dtype)?;
    let result = g.while_loop(
        "gcd",
        &[a, b],
        None,
        |g, pair| {
            let more = g.not_equal(&pair[1], &zero)?;
            g.any(&more, &super::call::all_axes(more.rank()), false)
        },
        |g, pair| {
            let (a, b) = (&pair[0], &pair[1]);
            let more = g.not_equal(b, &zero)?;
            let divisor = g.select(&g.equal(b, &zero)?, &g.ones_like(b)?, b)?;
            let rest = g.select(&more, &g.floor_mod(a, &divisor)?, &g.zeros_like(b)?)?;
            Ok(vec![g.select(&more, b, a)?, rest])
        },
    )?;
    Ok(result[0].clone())
}

fn lcm(c: &mut Call<'_>) -> Result<Argument> {
    let [mut a, mut b] = integers(c)?;
    let g = c.g;
    if !is_unsigned(a.dtype) {
        (a, b) = (g.abs(&a)?, g.abs(&b)?);
    }
    let divisor = gcd(g, &a, &b)?;
    let is_zero = g.equal(&divisor, &g.scalar(0.0, divisor.dtype)?)?;
    let safe = g.select(&is_zero, &g.scalar(1.0, divisor.dtype)?, &divisor)?;
    let y = g.mul(&a, &g.floor_div(&b, &safe)?)?;
    Ok(g.select(&is_zero, &g.zeros_like(&y)?, &y)?.into())
}
