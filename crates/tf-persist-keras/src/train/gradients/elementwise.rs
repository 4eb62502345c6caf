//! Ops that compute each element by itself.

use std::f64::consts::PI;

use super::broadcast::{broadcast_axes, reshape_like, sum_over};
use super::step::{Gradients, Step};
use super::{Gradient, Slices};
use crate::graph::{Graph, TensorRef};
use crate::reason::Result;

/// The gradient of the only input, from the node's input `x`, output `y` and the output's gradient `dy`.
fn unary(
    step: &Step<'_>,
    build: impl FnOnce(&Graph, &TensorRef, &TensorRef, &TensorRef) -> Result<TensorRef>,
) -> Gradients {
    step.first(|| build(step.g, step.x(0)?, &step.y(0)?, &step.dy()?))
}

/// The same, with nodes that run after that of the output's gradient, where TensorFlow's rule has them so.
fn later(
    step: &Step<'_>,
    build: impl FnOnce(&Graph, &TensorRef, &TensorRef, &TensorRef) -> Result<TensorRef>,
) -> Gradients {
    unary(step, |g, x, y, dy| g.after(dy, || build(g, x, y, dy)))
}

/// An op such as `ReluGrad`, which computes the gradient.
fn grad_op(g: &Graph, op: &'static str, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
    g.add(op, &[a, b], vec![("T", a.dtype.into())], a.dtype, a.shape.clone())
}

/// The gradient passes through.
pub(super) fn pass(step: &Step<'_>) -> Gradients {
    Ok(vec![step.outputs.first().cloned().flatten()])
}

/// No input has a gradient.
pub(super) fn none(_step: &Step<'_>) -> Gradients {
    Ok(Vec::new())
}

pub(super) fn zero(step: &Step<'_>) -> Gradients {
    unary(step, |g, x, _, _| g.zeros_like(x))
}

pub(super) fn cast(step: &Step<'_>) -> Gradients {
    let (g, source) = (step.g, step.x(0)?.dtype);
    if !step.needs(0) {
        return Ok(Vec::new());
    }
    Ok(vec![match step.outputs.first().cloned().flatten() {
        Some(Gradient::Sparse(slices)) => {
            let values = g.cast(&slices.values, source)?;
            Some(Gradient::Sparse(Slices { of: step.x(0)?.clone(), ..slices.with_values(values) }))
        }
        Some(Gradient::Dense(dy)) => Some(g.cast(&dy, source)?.into()),
        None => None,
    }])
}

pub(super) fn abs(step: &Step<'_>) -> Gradients {
    unary(step, |g, x, _, dy| g.mul(dy, &g.sign(x)?))
}

pub(super) fn neg(step: &Step<'_>) -> Gradients {
    unary(step, |g, _, _, dy| g.neg(dy))
}

pub(super) fn square(step: &Step<'_>) -> Gradients {
    later(step, |g, x, _, dy| g.mul(dy, &g.with_scalar(x, 2.0, Graph::mul)?))
}

pub(super) fn exp(step: &Step<'_>) -> Gradients {
    later(step, |g, _, y, dy| g.mul(dy, y))
}

pub(super) fn expm1(step: &Step<'_>) -> Gradients {
    later(step, |g, x, _, dy| g.mul(dy, &g.exp(x)?))
}

pub(super) fn log(step: &Step<'_>) -> Gradients {
    later(step, |g, x, _, dy| g.mul(dy, &g.reciprocal(x)?))
}

pub(super) fn log1p(step: &Step<'_>) -> Gradients {
    later(step, |g, x, _, dy| g.mul(dy, &g.reciprocal(&g.add_v2(&g.scalar(1.0, x.dtype)?, x)?)?))
}

/// Ops with an op for their gradient, of the output and its gradient.
pub(super) fn of_output(step: &Step<'_>, op: &'static str) -> Gradients {
    unary(step, |g, _, y, dy| grad_op(g, op, y, dy))
}

/// Ops with an op for their gradient, of the gradient and the output.
pub(super) fn of_gradient_and_output(step: &Step<'_>, op: &'static str) -> Gradients {
    unary(step, |g, _, y, dy| grad_op(g, op, dy, y))
}

pub(super) fn softsign(step: &Step<'_>) -> Gradients {
    unary(step, |g, x, _, dy| grad_op(g, "SoftsignGrad", dy, x))
}

pub(super) fn leaky_relu(step: &Step<'_>) -> Gradients {
    let alpha = step.float("alpha", 0.2);
    unary(step, |g, x, _, dy| {
        let attrs = vec![("T", x.dtype.into()), ("alpha", alpha.into())];
        g.add("LeakyReluGrad", &[dy, x], attrs, x.dtype, x.shape.clone())
    })
}

pub(super) fn softplus(step: &Step<'_>) -> Gradients {
    unary(step, |g, x, _, dy| g.mul(dy, &g.sigmoid(x)?))
}

pub(super) fn sin(step: &Step<'_>) -> Gradients {
    later(step, |g, x, _, dy| g.mul(dy, &g.cos(x)?))
}

pub(super) fn cos(step: &Step<'_>) -> Gradients {
    later(step, |g, x, _, dy| g.mul(&g.neg(dy)?, &g.sin(x)?))
}

pub(super) fn tan(step: &Step<'_>) -> Gradients {
    later(step, |g, x, _, dy| g.mul(&g.square(&g.reciprocal(&g.cos(x)?)?)?, dy))
}

pub(super) fn sinh(step: &Step<'_>) -> Gradients {
    later(step, |g, x, _, dy| g.mul(dy, &g.cosh(x)?))
}

pub(super) fn cosh(step: &Step<'_>) -> Gradients {
    later(step, |g, x, _, dy| g.mul(dy, &g.sinh(x)?))
}

/// 1 / sqrt(1 - x²).
fn arc_factor(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    let one = g.scalar(1.0, x.dtype)?;
    g.reciprocal(&g.sqrt(&g.sub(&one, &g.square(x)?)?)?)
}

pub(super) fn asin(step: &Step<'_>) -> Gradients {
    later(step, |g, x, _, dy| g.mul(dy, &arc_factor(g, x)?))
}

pub(super) fn acos(step: &Step<'_>) -> Gradients {
    later(step, |g, x, _, dy| g.mul(&g.neg(dy)?, &arc_factor(g, x)?))
}

pub(super) fn atan(step: &Step<'_>) -> Gradients {
    later(step, |g, x, _, dy| g.mul(dy, &g.reciprocal(&g.add_v2(&g.scalar(1.0, x.dtype)?, &g.square(x)?)?)?))
}

pub(super) fn asinh(step: &Step<'_>) -> Gradients {
    later(step, |g, _, y, dy| g.real_div(dy, &g.cosh(y)?))
}

pub(super) fn acosh(step: &Step<'_>) -> Gradients {
    later(step, |g, _, y, dy| g.real_div(dy, &g.sinh(y)?))
}

pub(super) fn atanh(step: &Step<'_>) -> Gradients {
    later(step, |g, x, _, dy| g.mul(dy, &g.reciprocal(&g.sub(&g.scalar(1.0, x.dtype)?, &g.square(x)?)?)?))
}

/// dy · factor · exp(-x²).
fn gaussian(step: &Step<'_>, factor: f64) -> Gradients {
    unary(step, |g, x, _, dy| {
        let scaled = g.with_scalar(dy, factor, Graph::mul)?;
        g.after(dy, || g.mul(&scaled, &g.exp(&g.neg(&g.square(x)?)?)?))
    })
}

pub(super) fn erf(step: &Step<'_>) -> Gradients {
    gaussian(step, 2.0 / PI.sqrt())
}

pub(super) fn erfc(step: &Step<'_>) -> Gradients {
    gaussian(step, -2.0 / PI.sqrt())
}

pub(super) fn erfinv(step: &Step<'_>) -> Gradients {
    unary(step, |g, _, y, dy| {
        let scaled = g.with_scalar(dy, PI.sqrt() / 2.0, Graph::mul)?;
        g.after(dy, || g.mul(&scaled, &g.exp(&g.square(y)?)?))
    })
}

pub(super) fn lgamma(step: &Step<'_>) -> Gradients {
    later(step, |g, x, _, dy| g.mul(dy, &g.digamma(x)?))
}

pub(super) fn add(step: &Step<'_>) -> Gradients {
    step.broadcast(|| step.dy(), || step.dy())
}

pub(super) fn sub(step: &Step<'_>) -> Gradients {
    step.broadcast(|| step.dy(), || step.g.neg(&step.dy()?))
}

pub(super) fn mul(step: &Step<'_>) -> Gradients {
    let g = step.g;
    let (x, y) = (step.x(0)?, step.x(1)?);
    step.broadcast(|| g.mul(&step.dy()?, y), || g.mul(x, &step.dy()?))
}

pub(super) fn mul_no_nan(step: &Step<'_>) -> Gradients {
    let g = step.g;
    let (x, y) = (step.x(0)?, step.x(1)?);
    step.broadcast(|| g.mul_no_nan(&step.dy()?, y), || g.mul_no_nan(x, &step.dy()?))
}

/// `RealDiv` and `DivNoNan`, by the division that is theirs.
pub(super) fn div(step: &Step<'_>, divide: fn(&Graph, &TensorRef, &TensorRef) -> Result<TensorRef>) -> Gradients {
    let g = step.g;
    let (x, y) = (step.x(0)?, step.x(1)?);
    step.broadcast(|| divide(g, &step.dy()?, y), || g.mul(&step.dy()?, &divide(g, &divide(g, &g.neg(x)?, y)?, y)?))
}

pub(super) fn floor_mod(step: &Step<'_>) -> Gradients {
    let g = step.g;
    let (x, y) = (step.x(0)?, step.x(1)?);
    step.broadcast(|| step.dy(), || g.mul(&step.dy()?, &g.neg(&g.floor_div(x, y)?)?))
}

pub(super) fn pow(step: &Step<'_>) -> Gradients {
    let g = step.g;
    let (x, y) = (step.x(0)?, step.x(1)?);
    step.broadcast(
        || {
            let less = g.with_scalar(y, 1.0, Graph::sub)?;
            g.mul(&g.mul(&step.dy()?, y)?, &g.pow(x, &less)?)
        },
        || {
            let mask = g.greater(x, &g.scalar(0.0, x.dtype)?)?;
            let safe = g.select(&mask, x, &g.ones_like(x)?)?;
            let log = g.select(&mask, &g.log(&safe)?, &g.zeros_like(x)?)?;
            g.mul(&g.mul(&step.dy()?, &step.y(0)?)?, &log)
        },
    )
}

/// `Maximum` and `Minimum`, by the comparison that holds where the first input counts.
pub(super) fn extreme(step: &Step<'_>, compare: fn(&Graph, &TensorRef, &TensorRef) -> Result<TensorRef>) -> Gradients {
    let g = step.g;
    let dy = step.dy()?;
    let zeros = g.zeros_like(&dy)?;
    let mask = compare(g, step.x(0)?, step.x(1)?)?;
    step.broadcast(|| g.select(&mask, &dy, &zeros), || g.select(&mask, &zeros, &dy))
}

pub(super) fn squared_difference(step: &Step<'_>) -> Gradients {
    let g = step.g;
    let dy = step.dy()?;
    let double = || g.mul(&g.scalar(2.0, dy.dtype)?, &dy);
    let gx = g.after(&dy, || g.mul(&double()?, &g.sub(step.x(0)?, step.x(1)?)?))?;
    step.broadcast(|| Ok(gx.clone()), || g.neg(&gx))
}

pub(super) fn atan2(step: &Step<'_>) -> Gradients {
    let g = step.g;
    let (y, x) = (step.x(0)?, step.x(1)?);
    let dy = step.dy()?;
    let scaled = g.after(&dy, || g.real_div(&dy, &g.add_v2(&g.square(y)?, &g.square(x)?)?))?;
    step.broadcast(|| g.mul(x, &scaled), || g.mul(&g.neg(y)?, &scaled))
}

/// `Xlogy` and `Xdivy`: always summed over the axes that the graph computes.
fn with_zero(
    step: &Step<'_>,
    x_part: impl FnOnce(&Graph, &TensorRef, &TensorRef) -> Result<TensorRef>,
    y_part: impl FnOnce(&Graph, &TensorRef, &TensorRef) -> Result<TensorRef>,
) -> Gradients {
    let g = step.g;
    let (x, y, dy) = (step.x(0)?, step.x(1)?, step.dy()?);
    let [x_axes, y_axes] = broadcast_axes(g, &g.shape_of(x)?, &g.shape_of(y)?)?;
    let not_zero = g.cast(&g.not_equal(x, &g.scalar(0.0, x.dtype)?)?, x.dtype)?;
    let reduce = |part: TensorRef, axes: &TensorRef, of: &TensorRef| {
        reshape_like(g, &sum_over(g, &g.mul(&part, &dy)?, axes, true)?, of)
    };
    Ok(vec![
        step.if_needed(0, || reduce(x_part(g, &not_zero, y)?, &x_axes, x))?,
        step.if_needed(1, || reduce(y_part(g, x, y)?, &y_axes, y))?,
    ])
}

pub(super) fn xlogy(step: &Step<'_>) -> Gradients {
    with_zero(step, |g, not_zero, y| g.xlogy(not_zero, y), |g, x, y| g.xdivy(x, y))
}

pub(super) fn xdivy(step: &Step<'_>) -> Gradients {
    with_zero(step, |g, not_zero, y| g.xdivy(not_zero, y), |g, x, y| g.xdivy(&g.neg(x)?, &g.square(y)?))
}

pub(super) fn select(step: &Step<'_>) -> Gradients {
    let g = step.g;
    let (condition, dy, z) = (step.x(0)?, step.dy()?, step.y(0)?);
    let zero = g.scalar(0.0, dy.dtype)?;
    let part = |input: usize, a: &TensorRef, b: &TensorRef| -> Result<Option<Gradient>> {
        if !step.needs(input) {
            return Ok(None);
        }
        let part = g.select(condition, a, b)?;
        let [part, _] = super::broadcast::reduced(g, step.x(input)?, &z, [Some(part), None])?;
        Ok(part.map(Into::into))
    };
    Ok(vec![None, part(1, &dy, &zero)?, part(2, &zero, &dy)?])
}

pub(super) fn add_n(step: &Step<'_>) -> Gradients {
    Ok(vec![step.outputs.first().cloned().flatten(); step.node.inputs.len()])
}

/// `IdentityN`: each gradient passes, except those of `silu`, which has its own in Keras.
pub(super) fn identity_n(step: &Step<'_>) -> Gradients {
    match silu_parts(step)? {
        Some((x, scaled)) => silu(step, &x, &scaled),
        None => Ok(step.outputs.clone()),
    }
}

/// `x` and `beta·x`, if the first input is `x · Sigmoid(beta·x)`.
fn silu_parts(step: &Step<'_>) -> Result<Option<(TensorRef, TensorRef)>> {
    let product = step.x(0)?;
    Ok(step.g.with_nodes(|nodes| {
        let of = |tensor: &TensorRef, op: &'static str| {
            nodes.get(tensor.node).filter(|node| node.op == crate::graph::Op::Named(op)).map(|node| node.inputs.clone())
        };
        let [x, sigmoid] = <[TensorRef; 2]>::try_from(of(product, "Mul")?).ok()?;
        let scaled = of(&sigmoid, "Sigmoid")?.first()?.clone();
        let [_, scaled_x] = <[TensorRef; 2]>::try_from(of(&scaled, "Mul")?).ok()?;
        scaled_x.is(&x).then_some((x, scaled))
    }))
}

/// The gradient that TensorFlow's `silu` gives itself. It goes to `x` where the node has it as an input of its own,
/// else to the product, whose gradient is then bypassed.
fn silu(step: &Step<'_>, x: &TensorRef, scaled: &TensorRef) -> Gradients {
    let g = step.g;
    let dy = step.dy()?;
    let sigmoid = g.sigmoid(scaled)?;
    let one = g.scalar(1.0, x.dtype)?;
    let inner = g.add_v2(&one, &g.mul(scaled, &g.sub(&one, &sigmoid)?)?)?;
    let gradient = g.mul(&dy, &g.mul(&sigmoid, &inner)?)?;
    let place = step.node.inputs.iter().position(|input| input.is(x));
    let mut gradients = vec![None; step.node.inputs.len()];
    match place {
        Some(place) => gradients[place] = Some(gradient.into()),
        None => return Ok(step.outputs.clone()),
    }
    Ok(gradients)
}
