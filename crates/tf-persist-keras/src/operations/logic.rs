//! Comparisons, conditions and tests of numbers.

use tf_persist_savedmodel::DType;

use super::call::{Call, all_axes};
use super::functions::signbit;
use super::operand::{Operand, promoted};
use super::{Entry, op};
use crate::graph::{Graph, TensorRef};
use crate::layers::Argument;
use crate::reason::{Result, refuse};

pub(super) const TABLE: &[Entry] = &[
    op("Equal", "x1 x2", "", |c| c.both_tensors(promoted, Graph::equal)),
    op("NotEqual", "x1 x2", "", |c| c.both_tensors(promoted, Graph::not_equal)),
    op("Greater", "x1 x2", "", |c| c.both_tensors(promoted, Graph::greater)),
    op("GreaterEqual", "x1 x2", "", |c| c.both_tensors(promoted, Graph::greater_equal)),
    op("Less", "x1 x2", "", |c| c.both_tensors(promoted, Graph::less)),
    op("LessEqual", "x1 x2", "", |c| c.both_tensors(promoted, Graph::less_equal)),
    op("LogicalAnd", "x1 x2", "", |c| c.both_bools(Graph::logical_and)),
    op("LogicalOr", "x1 x2", "", |c| c.both_bools(Graph::logical_or)),
    op("LogicalXor", "x1 x2", "", |c| c.both_bools(logical_xor)),
    op("LogicalNot", "x", "", |c| {
        let x = c.tensor("x")?;
        Ok(c.g.logical_not(&c.g.cast(&x, DType::Bool)?)?.into())
    }),
    op("Where", "condition x1 x2", "", choose),
    op("Select", "condlist choicelist default", "", select),
    op("Isfinite", "x", "", |c| c.unary(|g, x| classify(g, "IsFinite", x, true))),
    op("Isinf", "x", "", |c| c.unary(|g, x| classify(g, "IsInf", x, false))),
    op("Isnan", "x", "", |c| c.unary(|g, x| classify(g, "IsNan", x, false))),
    op("Isneginf", "x", "", |c| c.unary(|g, x| is_infinity(g, x, f64::NEG_INFINITY))),
    op("Isposinf", "x", "", |c| c.unary(|g, x| is_infinity(g, x, f64::INFINITY))),
    op("Isreal", "x", "", |c| c.unary(is_real)),
    op("Signbit", "x", "", |c| c.unary(signbit)),
    op("Isclose", "x1 x2 rtol atol", "equal_nan", is_close),
    op("AllClose", "x1 x2", "rtol atol equal_nan", all_close),
    op("IsIn", "x1 x2", "assume_unique invert", is_in),
];

impl Call<'_> {
    /// A function of `x1` and `x2` as bools.
    fn both_bools(&mut self, emit: fn(&Graph, &TensorRef, &TensorRef) -> Result<TensorRef>) -> Result<Argument> {
        let (a, b) = (self.tensor("x1")?, self.tensor("x2")?);
        let (a, b) = (self.g.cast(&a, DType::Bool)?, self.g.cast(&b, DType::Bool)?);
        Ok(emit(self.g, &a, &b)?.into())
    }
}

fn logical_xor(g: &Graph, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
    g.logical_and(&g.logical_or(a, b)?, &g.logical_not(&g.logical_and(a, b)?)?)
}

fn choose(c: &mut Call<'_>) -> Result<Argument> {
    let condition = c.tensor("condition")?;
    let condition = c.g.cast(&condition, DType::Bool)?;
    match (c.operand_or_none("x1")?, c.operand_or_none("x2")?) {
        (Some(a), Some(b)) => {
            let [a, b] = promoted(c.g, &a, &b)?;
            Ok(c.g.select(&condition, &a, &b)?.into())
        }
        (None, None) => super::indexing::nonzero(c.g, &condition),
        _ => refuse!("it is called with one of `x1` and `x2`"),
    }
}

/// As NumPy's function of this name.
fn select(c: &mut Call<'_>) -> Result<Argument> {
    let (conditions, choices) = (c.operands("condlist")?, c.operands("choicelist")?);
    let default = c.operand_or_none("default")?.unwrap_or(Operand::Int(0));
    if conditions.len() != choices.len() || choices.is_empty() {
        refuse!("it has {} conditions and {} choices", conditions.len(), choices.len());
    }
    let g = c.g;
    let tensors = choices.iter().map(|choice| choice.tensor(g)).collect::<Result<Vec<_>>>()?;
    let dtype = tensors[0].dtype;
    if tensors.iter().any(|tensor| tensor.dtype != dtype) {
        refuse!("its choices have different dtypes");
    }
    let mut y = default.to(g, dtype)?;
    for (condition, choice) in conditions.iter().zip(&tensors).rev() {
        y = g.select(&g.cast(&condition.tensor(g)?, DType::Bool)?, choice, &y)?;
    }
    Ok(y.into())
}

/// A test of floats, and the answer for other dtypes.
fn classify(g: &Graph, op: &'static str, x: &TensorRef, otherwise: bool) -> Result<TensorRef> {
    if x.dtype.is_floating() { g.classify(op, x) } else { same_for_all(g, x, otherwise) }
}

/// A bool for each element.
fn same_for_all(g: &Graph, x: &TensorRef, value: bool) -> Result<TensorRef> {
    let value = g.scalar(f64::from(u8::from(value)), DType::Bool)?;
    match x.shape.sizes() {
        Some(_) if x.rank() == 0 => Ok(value),
        _ => g.fill(&g.shape_of(x)?, &value, x.shape.clone()),
    }
}

fn is_infinity(g: &Graph, x: &TensorRef, infinity: f64) -> Result<TensorRef> {
    if x.dtype.is_floating() { g.equal(x, &g.scalar(infinity, x.dtype)?) } else { same_for_all(g, x, false) }
}

fn is_real(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    match x.dtype {
        DType::Complex64 => {
            let imaginary = g.part("Imag", x)?;
            g.equal(&imaginary, &g.scalar(0.0, imaginary.dtype)?)
        }
        _ => same_for_all(g, x, true),
    }
}

/// Whether the elements differ by at most `atol + rtol · |b|`.
fn within(g: &Graph, a: &TensorRef, b: &TensorRef, rtol: f64, atol: f64) -> Result<TensorRef> {
    let most = g.mul(&g.scalar(rtol, b.dtype)?, &g.abs(b)?)?;
    let most = g.add_v2(&g.scalar(atol, b.dtype)?, &most)?;
    g.less_equal(&g.abs(&g.sub(a, b)?)?, &most)
}

fn both_nan(g: &Graph, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
    g.logical_and(&g.classify("IsNan", a)?, &g.classify("IsNan", b)?)
}

fn is_close(c: &mut Call<'_>) -> Result<Argument> {
    let [a, b] = c.pair(promoted)?;
    let (rtol, atol, equal_nan) =
        (c.float_or("rtol", 1e-5)?, c.float_or("atol", 1e-8)?, c.bool_or("equal_nan", false)?);
    let g = c.g;
    if !a.dtype.is_floating() {
        return Ok(g.equal(&a, &b)?.into());
    }
    let mut y = within(g, &a, &b, rtol, atol)?;
    if equal_nan {
        y = g.logical_or(&y, &both_nan(g, &a, &b)?)?;
    }
    Ok(y.into())
}

fn all_close(c: &mut Call<'_>) -> Result<Argument> {
    let [a, b] = c.pair(promoted)?;
    let (rtol, atol, equal_nan) =
        (c.float_or("rtol", 1e-5)?, c.float_or("atol", 1e-8)?, c.bool_or("equal_nan", false)?);
    let g = c.g;
    let mut y = g.equal(&a, &b)?;
    if a.dtype.is_floating() {
        let finite = g.logical_and(&g.classify("IsFinite", &a)?, &g.classify("IsFinite", &b)?)?;
        y = g.logical_or(&g.logical_and(&finite, &within(g, &a, &b, rtol, atol)?)?, &y)?;
        if equal_nan {
            y = g.logical_or(&y, &both_nan(g, &a, &b)?)?;
        }
    }
    Ok(g.all(&y, &all_axes(y.rank()), false)?.into())
}

fn is_in(c: &mut Call<'_>) -> Result<Argument> {
    let [a, b] = c.pair(promoted)?;
    c.bool_or("assume_unique", false)?;
    let invert = c.bool_or("invert", false)?;
    let g = c.g;
    let flat = g.expand_dims(&g.reshape(&a, &[None])?, 1)?;
    let others = g.expand_dims(&g.reshape(&b, &[None])?, 0)?;
    let mut y = g.any(&g.equal(&flat, &others)?, &[1], false)?;
    if invert {
        y = g.logical_not(&y)?;
    }
    Ok(g.reshape_to(&y, &g.shape_of(&a)?, a.shape.clone())?.into())
}
