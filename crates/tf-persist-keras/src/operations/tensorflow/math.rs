//! Functions of `tf.math` and `tf.linalg`.

use tf_persist_savedmodel::DType;

use super::super::call::{Call, all_axes};
use super::super::functions::clip_by_value;
use super::super::reductions::{log_sum_exp, plain_variance};
use super::super::{Entry, einsum, op, products};
use crate::graph::{Graph, TensorRef, axis_index};
use crate::layers::Argument;
use crate::operations::dtypes::is_integer;
use crate::reason::{Result, refuse};

pub(super) const TABLE: &[Entry] = &[
    op("math.add", "x y", "", |c| c.both_of(Graph::add_v2)),
    op("__operators__.add", "x y", "", |c| c.both_of(Graph::add_v2)),
    op("math.subtract", "x y", "", |c| c.both_of(Graph::sub)),
    op("math.multiply", "x y", "", |c| c.both_of(Graph::mul)),
    op("math.divide", "x y", "", |c| c.both_of(true_div)),
    op("math.truediv", "x y", "", |c| c.both_of(true_div)),
    op("math.floordiv", "x y", "", |c| c.both_of(Graph::floor_div)),
    op("floor_div", "x y", "", |c| c.both_of(Graph::floor_div)),
    op("math.floormod", "x y", "", |c| c.both_of(Graph::floor_mod)),
    op("math.mod", "x y", "", |c| c.both_of(Graph::floor_mod)),
    op("math.pow", "x y", "", |c| c.both_of(Graph::pow)),
    op("math.maximum", "x y", "", |c| c.both_of(Graph::maximum)),
    op("math.minimum", "x y", "", |c| c.both_of(Graph::minimum)),
    op("math.squared_difference", "x y", "", |c| c.both_of(Graph::squared_difference)),
    op("math.divide_no_nan", "x y", "", |c| c.both_of(Graph::div_no_nan)),
    op("math.multiply_no_nan", "x y", "", |c| c.both_of(Graph::mul_no_nan)),
    op("math.atan2", "y x", "", |c| {
        let [y, x] = c.two("y", "x")?;
        Ok(c.g.atan2(&y, &x)?.into())
    }),
    op("math.xlogy", "x y", "", |c| c.both_of(Graph::xlogy)),
    op("math.greater", "x y", "", |c| c.both_of(Graph::greater)),
    op("math.greater_equal", "x y", "", |c| c.both_of(Graph::greater_equal)),
    op("math.less", "x y", "", |c| c.both_of(Graph::less)),
    op("math.less_equal", "x y", "", |c| c.both_of(Graph::less_equal)),
    op("math.equal", "x y", "", |c| c.both_of(Graph::equal)),
    op("__operators__.eq", "self other", "", |c| c.compared(Graph::equal)),
    op("math.not_equal", "x y", "", |c| c.both_of(Graph::not_equal)),
    op("__operators__.ne", "self other", "", |c| c.compared(Graph::not_equal)),
    op("math.logical_and", "x y", "", |c| c.both_of(Graph::logical_and)),
    op("math.logical_or", "x y", "", |c| c.both_of(Graph::logical_or)),
    op("math.logical_xor", "x y", "", |c| {
        c.both_of(|g, a, b| g.logical_and(&g.logical_or(a, b)?, &g.logical_not(&g.logical_and(a, b)?)?))
    }),
    op("math.logical_not", "x", "", |c| c.one("x", Graph::logical_not)),
    op("math.negative", "x", "", |c| c.one("x", Graph::neg)),
    op("math.abs", "x", "", |c| c.one("x", Graph::abs)),
    op("math.square", "x", "", |c| c.one("x", Graph::square)),
    op("math.sqrt", "x", "", |c| c.one("x", Graph::sqrt)),
    op("math.rsqrt", "x", "", |c| c.one("x", Graph::rsqrt)),
    op("math.reciprocal", "x", "", |c| c.one("x", Graph::reciprocal)),
    op("math.exp", "x", "", |c| c.one("x", Graph::exp)),
    op("math.expm1", "x", "", |c| c.one("x", Graph::expm1)),
    op("math.log", "x", "", |c| c.one("x", Graph::log)),
    op("math.log1p", "x", "", |c| c.one("x", Graph::log1p)),
    op("math.sin", "x", "", |c| c.one("x", Graph::sin)),
    op("math.cos", "x", "", |c| c.one("x", Graph::cos)),
    op("math.tan", "x", "", |c| c.one("x", Graph::tan)),
    op("math.asin", "x", "", |c| c.one("x", Graph::asin)),
    op("math.acos", "x", "", |c| c.one("x", Graph::acos)),
    op("math.atan", "x", "", |c| c.one("x", Graph::atan)),
    op("math.sinh", "x", "", |c| c.one("x", Graph::sinh)),
    op("math.cosh", "x", "", |c| c.one("x", Graph::cosh)),
    op("math.tanh", "x", "", |c| c.one("x", Graph::tanh)),
    op("math.asinh", "x", "", |c| c.one("x", Graph::asinh)),
    op("math.acosh", "x", "", |c| c.one("x", Graph::acosh)),
    op("math.atanh", "x", "", |c| c.one("x", Graph::atanh)),
    op("math.sigmoid", "x", "", |c| c.one("x", Graph::sigmoid)),
    op("math.log_sigmoid", "x", "", |c| c.one("x", |g, x| g.neg(&g.softplus(&g.neg(x)?)?))),
    op("math.softplus", "features", "", |c| c.one("features", Graph::softplus)),
    op("math.softsign", "features", "", |c| c.one("features", Graph::softsign)),
    op("math.erf", "x", "", |c| c.one("x", Graph::erf)),
    op("math.erfinv", "x", "", |c| c.one("x", Graph::erfinv)),
    op("math.erfc", "x", "", |c| c.one("x", Graph::erfc)),
    op("math.lgamma", "x", "", |c| c.one("x", Graph::lgamma)),
    op("math.digamma", "x", "", |c| c.one("x", Graph::digamma)),
    op("math.sign", "x", "", |c| c.one("x", Graph::sign)),
    op("math.floor", "x", "", |c| c.one("x", Graph::floor)),
    op("math.ceil", "x", "", |c| c.one("x", Graph::ceil)),
    op("math.rint", "x", "", |c| c.one("x", Graph::rint)),
    op("math.round", "x", "", |c| c.one("x", |g, x| if is_integer(x.dtype) { Ok(x.clone()) } else { g.round(x) })),
    op("math.is_nan", "x", "", |c| c.one("x", |g, x| g.classify("IsNan", x))),
    op("math.is_inf", "x", "", |c| c.one("x", |g, x| g.classify("IsInf", x))),
    op("math.is_finite", "x", "", |c| c.one("x", |g, x| g.classify("IsFinite", x))),
    op("math.reduce_sum", "input_tensor axis keepdims", "", |c| c.reduced(Graph::sum)),
    op("math.reduce_mean", "input_tensor axis keepdims", "", |c| c.reduced(Graph::mean)),
    op("math.reduce_max", "input_tensor axis keepdims", "", |c| c.reduced(Graph::max)),
    op("math.reduce_min", "input_tensor axis keepdims", "", |c| c.reduced(Graph::min)),
    op("math.reduce_prod", "input_tensor axis keepdims", "", |c| c.reduced(Graph::prod)),
    op("math.reduce_any", "input_tensor axis keepdims", "", |c| c.reduced(Graph::any)),
    op("math.reduce_all", "input_tensor axis keepdims", "", |c| c.reduced(Graph::all)),
    op("math.reduce_variance", "input_tensor axis keepdims", "", |c| c.reduced(plain_variance)),
    op("math.reduce_std", "input_tensor axis keepdims", "", |c| {
        c.reduced(|g, x, axes, keep| g.sqrt(&plain_variance(g, x, axes, keep)?))
    }),
    op("math.reduce_logsumexp", "input_tensor axis keepdims", "", |c| c.reduced(log_sum_exp)),
    op("math.reduce_euclidean_norm", "input_tensor axis keepdims", "", |c| {
        c.reduced(|g, x, axes, keep| g.reduce("EuclideanNorm", x, axes, keep))
    }),
    op("math.argmax", "input axis output_type", "", |c| index_of(c, "ArgMax")),
    op("math.argmin", "input axis output_type", "", |c| index_of(c, "ArgMin")),
    op("math.cumsum", "x axis exclusive reverse", "", |c| cumulate(c, "Cumsum")),
    op("math.cumprod", "x axis exclusive reverse", "", |c| cumulate(c, "Cumprod")),
    op("math.add_n", "inputs", "", |c| {
        let tensors = c.tensors("inputs")?;
        Ok(c.g.add_n(&tensors.iter().collect::<Vec<_>>())?.into())
    }),
    op("math.l2_normalize", "x axis epsilon", "", |c| {
        let x = c.tensor("x")?;
        let (axes, epsilon) = (c.axes("axis", x.rank())?, c.float_or("epsilon", 1e-12)?);
        Ok(l2_normalize(c.g, &x, &axes, epsilon)?.into())
    }),
    op("math.top_k", "input k sorted", "", |c| {
        let (x, k, sorted) = (c.tensor("input")?, c.int_or("k", 1)?, c.bool_or("sorted", true)?);
        let Ok(count) = i32::try_from(k) else { refuse!("`k` is {k}, which is too large") };
        let found = c.g.top_k(&x, &c.g.scalar_i32(count)?, u64::try_from(k).ok(), sorted)?;
        Ok(Argument::List(found.into_iter().map(Argument::from).collect()))
    }),
    op("math.count_nonzero", "input axis keepdims dtype", "", |c| {
        let (x, keep, dtype) = (c.tensor("input")?, c.bool_or("keepdims", false)?, c.dtype_or_none("dtype")?);
        let axes = c.axes("axis", x.rank())?;
        let g = c.g;
        let counted = if x.dtype == DType::Bool { x } else { g.not_equal(&x, &g.scalar(0.0, x.dtype)?)? };
        let count = g.sum(&g.cast(&counted, DType::Int64)?, &axes, keep)?;
        Ok(g.cast(&count, dtype.unwrap_or(DType::Int64))?.into())
    }),
    op("clip_by_value", "t clip_value_min clip_value_max", "", |c| {
        let x = c.tensor("t")?;
        match (c.typed("clip_value_min", x.dtype)?, c.typed("clip_value_max", x.dtype)?) {
            (Some(low), Some(high)) => Ok(clip_by_value(c.g, &x, &low, &high)?.into()),
            _ => refuse!("it is called without its limits"),
        }
    }),
    op(
        "linalg.matmul",
        "a b transpose_a transpose_b adjoint_a adjoint_b a_is_sparse b_is_sparse output_type",
        "",
        matmul,
    ),
    op("linalg.matvec", "a b transpose_a", "", |c| {
        let [a, b] = c.two("a", "b")?;
        let transposed = c.bool_or("transpose_a", false)?;
        let y = product(c.g, &a, &c.g.expand_dims(&b, -1)?, transposed, false)?;
        Ok(c.g.squeeze(&y, &[-1])?.into())
    }),
    op("linalg.matrix_transpose", "a", "", |c| c.one("a", |g, x| super::super::shapes::swap_axes(g, x, -1, -2))),
    op("linalg.band_part", "input num_lower num_upper", "", |c| {
        let (x, lower, upper) = (c.tensor("input")?, c.int_or("num_lower", -1)?, c.int_or("num_upper", -1)?);
        Ok(c.g.band_part(&x, lower, upper)?.into())
    }),
    op("linalg.diag_part", "input", "", |c| c.one("input", Graph::diagonal)),
    op("linalg.trace", "x", "", |c| c.one("x", |g, x| g.sum(&g.diagonal(x)?, &[-1], false))),
    op("einsum", "equation inputs", "", |c| {
        let equation = c.text_or("equation", "")?;
        let mut tensors = c.tensors("inputs")?;
        tensors.extend(c.rest()?.iter().map(|operand| operand.tensor(c.g)).collect::<Result<Vec<_>>>()?);
        Ok(einsum::contraction(c.g, &equation, tensors)?.into())
    }),
    op("tensordot", "a b axes", "", |c| {
        let [a, b] = c.two("a", "b")?;
        products::tensordot_of(c, &a, &b)
    }),
    op("norm", "tensor ord axis keepdims", "", |c| {
        let (x, keep) = (c.tensor("tensor")?, c.bool_or("keepdims", false)?);
        let axes = c.axes("axis", x.rank())?;
        match c.value("ord")? {
            Some(order) if order != "euclidean" && order.as_f64() != Some(2.0) => {
                refuse!("`ord` is {}, which is not supported", crate::config::shown(&order))
            }
            _ => Ok(c.g.sqrt(&c.g.sum(&c.g.mul(&x, &x)?, &axes, keep)?)?.into()),
        }
    }),
];

impl Call<'_> {
    /// A function of `x` and `y`.
    fn both_of(&mut self, emit: fn(&Graph, &TensorRef, &TensorRef) -> Result<TensorRef>) -> Result<Argument> {
        let [x, y] = self.two("x", "y")?;
        Ok(emit(self.g, &x, &y)?.into())
    }

    /// A comparison by `==` or `!=`.
    fn compared(&mut self, emit: fn(&Graph, &TensorRef, &TensorRef) -> Result<TensorRef>) -> Result<Argument> {
        // Keras 2 cannot load such a file either: it takes `self` for the layer, and counts the arguments without it.
        let (Some(x), Some(y)) = (self.take("self"), self.take("other")) else {
            refuse!("Keras does not write the second operand of `==` and `!=` to a file")
        };
        let dtype = super::arguments::dtype_of(&x).or_else(|| super::arguments::dtype_of(&y));
        let (x, y) = (super::arguments::typed(self.g, &x, dtype)?, super::arguments::typed(self.g, &y, dtype)?);
        Ok(emit(self.g, &x, &y)?.into())
    }

    /// A reduction of `input_tensor`.
    fn reduced(&mut self, emit: fn(&Graph, &TensorRef, &[i64], bool) -> Result<TensorRef>) -> Result<Argument> {
        let (x, keep) = (self.tensor("input_tensor")?, self.bool_or("keepdims", false)?);
        let axes = self.axes("axis", x.rank())?;
        Ok(emit(self.g, &x, &axes, keep)?.into())
    }
}

/// Division of integers gives floats.
fn true_div(g: &Graph, x: &TensorRef, y: &TensorRef) -> Result<TensorRef> {
    let dtype = match x.dtype {
        DType::Int8 | DType::Int16 | DType::UInt8 | DType::UInt16 => DType::Float32,
        DType::Int32 | DType::Int64 | DType::UInt32 | DType::UInt64 => DType::Float64,
        dtype => dtype,
    };
    g.real_div(&g.cast(x, dtype)?, &g.cast(y, dtype)?)
}

fn index_of(c: &mut Call<'_>, op: &'static str) -> Result<Argument> {
    let (x, axis, dtype) = (c.tensor("input")?, c.int_or("axis", 0)?, c.dtype_or_none("output_type")?);
    Ok(c.g.arg_reduce(op, &x, axis, dtype.unwrap_or(DType::Int64))?.into())
}

fn cumulate(c: &mut Call<'_>, op: &'static str) -> Result<Argument> {
    let (x, axis, reverse) = (c.tensor("x")?, c.int_or("axis", 0)?, c.bool_or("reverse", false)?);
    let index = axis_index(axis, x.rank())? as f64;
    let attrs =
        vec![("T", x.dtype.into()), ("exclusive", c.bool_or("exclusive", false)?.into()), ("reverse", reverse.into())];
    Ok(c.g.add(op, &[&x, &c.g.scalar(index, DType::Int32)?], attrs, x.dtype, x.shape.clone())?.into())
}

pub(super) fn l2_normalize(g: &Graph, x: &TensorRef, axes: &[i64], epsilon: f64) -> Result<TensorRef> {
    let squares = g.sum(&g.square(x)?, axes, true)?;
    g.mul(x, &g.rsqrt(&g.with_scalar(&squares, epsilon, Graph::maximum)?)?)
}

/// The product of matrices, as `tf.matmul`.
fn product(g: &Graph, a: &TensorRef, b: &TensorRef, transpose_a: bool, transpose_b: bool) -> Result<TensorRef> {
    match (a.rank(), b.rank()) {
        (2, 2) => g.mat_mul_with(a, b, transpose_a, transpose_b),
        _ => g.batch_mat_mul(a, b, transpose_a, transpose_b),
    }
}

fn matmul(c: &mut Call<'_>) -> Result<Argument> {
    let [a, b] = c.two("a", "b")?;
    let mut flags = [false; 6];
    let names = ["transpose_a", "transpose_b", "adjoint_a", "adjoint_b", "a_is_sparse", "b_is_sparse"];
    for (flag, name) in flags.iter_mut().zip(names) {
        *flag = c.bool_or(name, false)?;
    }
    if let Some(dtype) = c.dtype_or_none("output_type")?.filter(|dtype| *dtype != a.dtype) {
        refuse!("`output_type` is {dtype}, which is not supported");
    }
    Ok(product(c.g, &a, &b, flags[0] || flags[2], flags[1] || flags[3])?.into())
}

/// A reduction over given axes, or all of them, as in `keras.backend`.
pub(super) fn axes_or_all(axes: Option<Vec<i64>>, x: &TensorRef) -> Vec<i64> {
    axes.unwrap_or_else(|| all_axes(x.rank()))
}
