//! Functions of `tf.keras.backend`.

use tf_persist_savedmodel::DType;

use super::super::call::Call;
use super::super::functions::clip_by_value;
use super::super::products::mat_mul;
use super::super::reductions::plain_variance;
use super::super::{Entry, op};
use super::arrays::{like, reshaped, squeezed};
use super::math::{axes_or_all, l2_normalize};
use super::nn::relu;
use crate::graph::{Graph, Shape, TensorRef, axis_index};
use crate::layers::Argument;
use crate::layers::activation::Function;
use crate::reason::{Result, refuse};

pub(super) const TABLE: &[Entry] = &[
    op("keras.backend.mean", "x axis keepdims", "", |c| {
        c.reduced_of(|g, x, axes, keep| g.mean(&floats(g, x)?, axes, keep))
    }),
    op("keras.backend.sum", "x axis keepdims", "", |c| c.reduced_of(Graph::sum)),
    op("keras.backend.max", "x axis keepdims", "", |c| c.reduced_of(Graph::max)),
    op("keras.backend.min", "x axis keepdims", "", |c| c.reduced_of(Graph::min)),
    op("keras.backend.prod", "x axis keepdims", "", |c| c.reduced_of(Graph::prod)),
    op("keras.backend.any", "x axis keepdims", "", |c| {
        c.reduced_of(|g, x, axes, keep| g.any(&g.cast(x, DType::Bool)?, axes, keep))
    }),
    op("keras.backend.all", "x axis keepdims", "", |c| {
        c.reduced_of(|g, x, axes, keep| g.all(&g.cast(x, DType::Bool)?, axes, keep))
    }),
    op("keras.backend.var", "x axis keepdims", "", |c| {
        c.reduced_of(|g, x, axes, keep| plain_variance(g, &floats(g, x)?, axes, keep))
    }),
    op("keras.backend.std", "x axis keepdims", "", |c| {
        c.reduced_of(|g, x, axes, keep| g.sqrt(&plain_variance(g, &floats(g, x)?, axes, keep)?))
    }),
    op("keras.backend.argmax", "x axis", "", |c| index_of(c, "ArgMax")),
    op("keras.backend.argmin", "x axis", "", |c| index_of(c, "ArgMin")),
    op("keras.backend.abs", "x", "", |c| c.one("x", Graph::abs)),
    op("keras.backend.square", "x", "", |c| c.one("x", Graph::square)),
    op("keras.backend.sqrt", "x", "", |c| {
        // Numbers below zero have the root of zero.
        c.one("x", |g, x| g.sqrt(&clip_by_value(g, x, &g.scalar(0.0, x.dtype)?, &g.scalar(f64::INFINITY, x.dtype)?)?))
    }),
    op("keras.backend.exp", "x", "", |c| c.one("x", Graph::exp)),
    op("keras.backend.log", "x", "", |c| c.one("x", Graph::log)),
    op("keras.backend.sign", "x", "", |c| c.one("x", Graph::sign)),
    op("keras.backend.round", "x", "", |c| c.one("x", Graph::round)),
    op("keras.backend.sin", "x", "", |c| c.one("x", Graph::sin)),
    op("keras.backend.cos", "x", "", |c| c.one("x", Graph::cos)),
    op("keras.backend.pow", "x a", "", |c| {
        let [x, a] = c.two("x", "a")?;
        Ok(c.g.pow(&x, &a)?.into())
    }),
    op("keras.backend.clip", "x min_value max_value", "", |c| {
        let x = c.tensor("x")?;
        let low = c.typed("min_value", x.dtype)?;
        let high = c.typed("max_value", x.dtype)?;
        let low = low.map_or_else(|| c.g.scalar(f64::NEG_INFINITY, x.dtype), Ok)?;
        let high = high.map_or_else(|| c.g.scalar(f64::INFINITY, x.dtype), Ok)?;
        Ok(clip_by_value(c.g, &x, &low, &high)?.into())
    }),
    op("keras.backend.maximum", "x y", "", |c| c.both_in(Graph::maximum)),
    op("keras.backend.minimum", "x y", "", |c| c.both_in(Graph::minimum)),
    op("keras.backend.equal", "x y", "", |c| c.both_in(Graph::equal)),
    op("keras.backend.not_equal", "x y", "", |c| c.both_in(Graph::not_equal)),
    op("keras.backend.greater", "x y", "", |c| c.both_in(Graph::greater)),
    op("keras.backend.greater_equal", "x y", "", |c| c.both_in(Graph::greater_equal)),
    op("keras.backend.less", "x y", "", |c| c.both_in(Graph::less)),
    op("keras.backend.less_equal", "x y", "", |c| c.both_in(Graph::less_equal)),
    op("keras.backend.relu", "x alpha max_value threshold", "", relu),
    op("keras.backend.elu", "x alpha", "", |c| {
        let alpha = c.float_or("alpha", 1.0)?;
        c.one("x", |g, x| Function::Elu { alpha }.apply(g, crate::config::Dialect::Keras2, x))
    }),
    op("keras.backend.sigmoid", "x", "", |c| c.one("x", Graph::sigmoid)),
    op("keras.backend.hard_sigmoid", "x", "", |c| {
        c.one("x", |g, x| Function::HardSigmoid.apply(g, crate::config::Dialect::Keras2, x))
    }),
    op("keras.backend.tanh", "x", "", |c| c.one("x", Graph::tanh)),
    op("keras.backend.softplus", "x", "", |c| c.one("x", Graph::softplus)),
    op("keras.backend.softsign", "x", "", |c| c.one("x", Graph::softsign)),
    op("keras.backend.softmax", "x axis", "", |c| {
        let axis = Some(c.int_or("axis", -1)?);
        c.one("x", |g, x| Function::Softmax { axis }.apply(g, crate::config::Dialect::Keras2, x))
    }),
    op("keras.backend.l2_normalize", "x axis", "", |c| {
        let x = c.tensor("x")?;
        let axes = axes_or_all(c.ints_or_none("axis")?, &x);
        Ok(l2_normalize(c.g, &x, &axes, 1e-12)?.into())
    }),
    op("keras.backend.cast", "x dtype", "", |c| {
        let (x, dtype) = (c.tensor("x")?, c.dtype_or_none("dtype")?);
        Ok(c.g.cast(&x, dtype.unwrap_or(x.dtype))?.into())
    }),
    op("keras.backend.concatenate", "tensors axis", "", |c| {
        let (tensors, axis) = (c.tensors("tensors")?, c.int_or("axis", -1)?);
        Ok(c.g.concat(&tensors.iter().collect::<Vec<_>>(), axis)?.into())
    }),
    op("keras.backend.stack", "x axis", "", |c| {
        let (tensors, axis) = (c.tensors("x")?, c.int_or("axis", 0)?);
        Ok(c.g.pack(&tensors.iter().collect::<Vec<_>>(), axis)?.into())
    }),
    op("keras.backend.reshape", "x shape", "", |c| {
        let x = c.tensor("x")?;
        let (sizes, shape) = c.sizes("shape")?;
        Ok(reshaped(c.g, &x, &sizes, &shape)?.into())
    }),
    op("keras.backend.permute_dimensions", "x pattern", "", |c| {
        let (x, order) = (c.tensor("x")?, c.ints("pattern")?);
        Ok(c.g.transpose(&x, &super::super::shapes::indices(&order, x.rank())?)?.into())
    }),
    op("keras.backend.transpose", "x", "", |c| {
        c.one("x", |g, x| g.transpose(x, &(0..x.rank()).rev().collect::<Vec<_>>()))
    }),
    op("keras.backend.expand_dims", "x axis", "", |c| {
        let axis = c.int_or("axis", -1)?;
        c.one("x", |g, x| g.expand_dims(x, axis))
    }),
    op("keras.backend.squeeze", "x axis", "", |c| {
        let axis = c.int_or("axis", 0)?;
        c.one("x", |g, x| squeezed(g, x, Some(vec![axis])))
    }),
    op("keras.backend.flatten", "x", "", |c| c.one("x", |g, x| g.reshape(x, &[None]))),
    op("keras.backend.batch_flatten", "x", "", |c| c.one("x", batch_flatten)),
    op("keras.backend.repeat", "x n", "", |c| {
        let times = c.size("n")?;
        c.one("x", |g, x| g.tile(&g.expand_dims(x, 1)?, &[1, times, 1]))
    }),
    op("keras.backend.repeat_elements", "x rep axis", "", |c| {
        let (times, axis) = (c.int_or("rep", 1)?, c.int_or("axis", 0)?);
        c.one("x", |g, x| super::super::shapes::repeat(g, x, &[times], Some(axis)))
    }),
    op("keras.backend.tile", "x n", "", |c| {
        let times = c.ints("n")?;
        c.one("x", |g, x| super::super::shapes::tile(g, x, &times))
    }),
    op("keras.backend.reverse", "x axes", "", |c| {
        let axes = c.ints("axes")?;
        c.one("x", |g, x| g.reverse(x, &axes))
    }),
    op("keras.backend.gather", "reference indices", "", |c| {
        let (x, at) = (c.tensor("reference")?, c.tensor("indices")?);
        Ok(c.g.gather(&x, &at, 0)?.into())
    }),
    op("keras.backend.dot", "x y", "", |c| {
        let [x, y] = c.two("x", "y")?;
        if x.rank() > 3 || y.rank() != 2 {
            refuse!("a product of shapes {} and {} is not supported", x.shape, y.shape);
        }
        Ok(mat_mul(c.g, &x, &y)?.into())
    }),
    op("keras.backend.zeros_like", "x dtype", "", |c| like(c, "x", 0.0)),
    op("keras.backend.ones_like", "x dtype", "", |c| like(c, "x", 1.0)),
    op("keras.backend.shape", "x", "", |c| c.one("x", Graph::shape_of)),
    op("keras.backend.stop_gradient", "variables", "", |c| c.one("variables", Graph::stop_gradient)),
    op("keras.backend.one_hot", "indices num_classes", "", |c| {
        let (at, classes) = (c.tensor("indices")?, c.size("num_classes")?);
        Ok(c.g.one_hot(&at, classes, -1, DType::Float32)?.into())
    }),
];

impl Call<'_> {
    /// A reduction of `x`.
    fn reduced_of(&mut self, emit: fn(&Graph, &TensorRef, &[i64], bool) -> Result<TensorRef>) -> Result<Argument> {
        let (x, keep) = (self.tensor("x")?, self.bool_or("keepdims", false)?);
        let axes = axes_or_all(self.ints_or_none("axis")?, &x);
        Ok(emit(self.g, &x, &axes, keep)?.into())
    }

    fn both_in(&mut self, emit: fn(&Graph, &TensorRef, &TensorRef) -> Result<TensorRef>) -> Result<Argument> {
        let [x, y] = self.two("x", "y")?;
        Ok(emit(self.g, &x, &y)?.into())
    }
}

/// Bools as float32.
fn floats(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    if x.dtype == DType::Bool { g.cast(x, DType::Float32) } else { Ok(x.clone()) }
}

fn index_of(c: &mut Call<'_>, op: &'static str) -> Result<Argument> {
    let axis = c.int_or("axis", -1)?;
    c.one("x", |g, x| g.arg_reduce(op, x, axis_index(axis, x.rank())? as i64, DType::Int64))
}

/// All dimensions but the first in one.
fn batch_flatten(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    let Some((batch, rest)) = x.dims().split_first() else { refuse!("a scalar has no batch") };
    match Shape::new(rest).element_count() {
        Some(count) => g.reshape(x, &[None, Some(count)]),
        None => match batch {
            Some(batch) => g.reshape(x, &[Some(*batch), None]),
            None => refuse!("the sizes of shape {} are unknown", x.shape),
        },
    }
}
