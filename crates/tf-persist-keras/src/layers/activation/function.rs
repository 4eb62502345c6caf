//! Activation functions of Keras, each by the ops that Keras uses.

use crate::config::Dialect;
use crate::graph::{Attr, Graph, TensorRef};
use crate::layers::activation::softmax;
use crate::reason::Result;

/// An activation function with its parameters.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Function {
    Celu { alpha: f64 },
    Elu { alpha: f64 },
    Exponential,
    Gelu { approximate: bool },
    Glu { axis: i64 },
    HardShrink { threshold: f64 },
    HardSigmoid,
    HardSilu,
    HardTanh,
    LeakyRelu { negative_slope: f64 },
    Linear,
    LogSigmoid,
    LogSoftmax { axis: Option<i64> },
    Mish,
    Relu { negative_slope: f64, max_value: Option<f64>, threshold: f64 },
    Relu6,
    Selu,
    Sigmoid,
    Silu,
    SoftShrink { threshold: f64 },
    Softmax { axis: Option<i64> },
    Softplus,
    Softsign,
    SparsePlus,
    SparseSigmoid,
    Sparsemax { axis: i64 },
    Squareplus { b: f64 },
    Tanh,
    TanhShrink,
    Threshold { threshold: f64, default: f64 },
}

impl Function {
    pub(crate) const RELU: Self = Self::Relu { negative_slope: 0.0, max_value: None, threshold: 0.0 };

    /// The function with this name, with Keras's defaults.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "celu" => Self::Celu { alpha: 1.0 },
            "elu" => Self::Elu { alpha: 1.0 },
            "exponential" => Self::Exponential,
            "gelu" => Self::Gelu { approximate: false },
            "glu" => Self::Glu { axis: -1 },
            "hard_shrink" => Self::HardShrink { threshold: 0.5 },
            "hard_sigmoid" => Self::HardSigmoid,
            "hard_silu" | "hard_swish" => Self::HardSilu,
            "hard_tanh" => Self::HardTanh,
            "leaky_relu" => Self::LeakyRelu { negative_slope: 0.2 },
            "linear" => Self::Linear,
            "log_sigmoid" => Self::LogSigmoid,
            // The names with `_v2` are those of TensorFlow's functions.
            "log_softmax" | "log_softmax_v2" => Self::LogSoftmax { axis: Some(-1) },
            "mish" => Self::Mish,
            "relu" => Self::RELU,
            "relu6" => Self::Relu6,
            "selu" => Self::Selu,
            "sigmoid" => Self::Sigmoid,
            "silu" | "swish" => Self::Silu,
            "soft_shrink" => Self::SoftShrink { threshold: 0.5 },
            "softmax" | "softmax_v2" => Self::Softmax { axis: Some(-1) },
            "softplus" => Self::Softplus,
            "softsign" => Self::Softsign,
            "sparse_plus" => Self::SparsePlus,
            "sparse_sigmoid" => Self::SparseSigmoid,
            "sparsemax" => Self::Sparsemax { axis: -1 },
            "squareplus" => Self::Squareplus { b: 4.0 },
            "tanh" => Self::Tanh,
            "tanh_shrink" => Self::TanhShrink,
            _ => return None,
        })
    }

    pub(crate) fn apply(&self, g: &Graph, dialect: Dialect, x: &TensorRef) -> Result<TensorRef> {
        match *self {
            Self::Celu { alpha } => celu(g, x, alpha),
            Self::Elu { alpha } => elu(g, x, alpha),
            Self::Exponential => g.exp(x),
            Self::Gelu { approximate: false } => gelu(g, x),
            Self::Gelu { approximate: true } => gelu_by_tanh(g, x),
            Self::Glu { axis } => {
                let halves = g.split(x, 2, axis)?;
                g.mul(&halves[0], &g.sigmoid(&halves[1])?)
            }
            Self::HardShrink { threshold } => {
                let keep = g.with_scalar(&g.abs(x)?, threshold, Graph::greater)?;
                g.select(&keep, x, &g.zeros_like(x)?)
            }
            Self::HardSigmoid if dialect == Dialect::Keras2 => {
                let scaled = g.with_scalar(x, 0.2, Graph::mul)?;
                g.clip(&g.with_scalar(&scaled, 0.5, Graph::add_v2)?, 0.0, 1.0)
            }
            Self::HardSigmoid => hard_sigmoid(g, x),
            Self::HardSilu => g.mul(x, &hard_sigmoid(g, x)?),
            Self::HardTanh => g.clip(x, -1.0, 1.0),
            Self::LeakyRelu { negative_slope } => g.leaky_relu(x, negative_slope as f32),
            Self::Linear => Ok(x.clone()),
            Self::LogSigmoid => g.neg(&g.softplus(&g.neg(x)?)?),
            Self::LogSoftmax { axis } => softmax::along(g, x, axis, Graph::log_softmax),
            Self::Mish => g.mul(x, &g.tanh(&g.softplus(x)?)?),
            Self::Relu { negative_slope, max_value, threshold } => {
                relu(g, dialect, x, [negative_slope, threshold], max_value)
            }
            Self::Relu6 => g.relu6(x),
            Self::Selu => g.selu(x),
            Self::Sigmoid => g.sigmoid(x),
            Self::Silu => silu(g, x),
            Self::SoftShrink { threshold } => soft_shrink(g, x, threshold),
            Self::Softmax { axis } => softmax::along(g, x, axis, Graph::softmax),
            Self::Softplus => g.softplus(x),
            Self::Softsign => g.softsign(x),
            Self::SparsePlus => sparse_plus(g, x),
            Self::SparseSigmoid => sparse_sigmoid(g, x),
            Self::Sparsemax { axis } => softmax::sparsemax(g, x, axis),
            Self::Squareplus { b } => {
                let root = g.sqrt(&g.with_scalar(&g.square(x)?, b, Graph::add_v2)?)?;
                g.with_scalar(&g.add_v2(x, &root)?, 2.0, Graph::real_div)
            }
            Self::Tanh => g.tanh(x),
            Self::TanhShrink => g.sub(x, &g.tanh(x)?),
            Self::Threshold { threshold, default } => {
                let above = g.with_scalar(x, threshold, Graph::greater)?;
                g.select(&above, x, &g.scalar(default, x.dtype)?)
            }
        }
    }
}

fn celu(g: &Graph, x: &TensorRef, alpha: f64) -> Result<TensorRef> {
    let positive = g.with_scalar(x, 0.0, Graph::maximum)?;
    let negative = g.with_scalar(x, 0.0, Graph::minimum)?;
    let negative = g.expm1(&g.with_scalar(&negative, alpha, Graph::real_div)?)?;
    g.add_v2(&positive, &g.mul(&g.scalar(alpha, x.dtype)?, &negative)?)
}

fn elu(g: &Graph, x: &TensorRef, alpha: f64) -> Result<TensorRef> {
    let y = g.elu(x)?;
    if alpha == 1.0 {
        return Ok(y);
    }
    let above = g.with_scalar(x, 0.0, Graph::greater)?;
    g.select(&above, &y, &g.mul(&g.scalar(alpha, x.dtype)?, &y)?)
}

/// A constant that TensorFlow rounds to float32 before it casts it.
fn rounded(g: &Graph, value: f64, x: &TensorRef) -> Result<TensorRef> {
    g.scalar(f64::from(value as f32), x.dtype)
}

fn gelu(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    let half = g.mul(&g.scalar(0.5, x.dtype)?, x)?;
    let inner = g.mul(&g.neg(x)?, &rounded(g, std::f64::consts::FRAC_1_SQRT_2, x)?)?;
    g.mul(&half, &g.erfc(&inner)?)
}

fn gelu_by_tanh(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    let half = g.mul(&g.scalar(0.5, x.dtype)?, x)?;
    let cubic = g.mul(&rounded(g, 0.044_715, x)?, &g.with_scalar(x, 3.0, Graph::pow)?)?;
    let inner = g.mul(&g.scalar(0.797_884_560_802_865_4, x.dtype)?, &g.add_v2(x, &cubic)?)?;
    g.mul(&half, &g.add_v2(&g.scalar(1.0, x.dtype)?, &g.tanh(&inner)?)?)
}

/// That of Keras 3.
fn hard_sigmoid(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    let clipped = g.relu6(&g.with_scalar(x, 3.0, Graph::add_v2)?)?;
    g.with_scalar(&clipped, 6.0, Graph::real_div)
}

fn relu(
    g: &Graph,
    dialect: Dialect,
    x: &TensorRef,
    [negative_slope, threshold]: [f64; 2],
    max_value: Option<f64>,
) -> Result<TensorRef> {
    if negative_slope != 0.0 && threshold == 0.0 && max_value.is_none() {
        return g.leaky_relu(x, negative_slope as f32);
    }
    let negative = if negative_slope == 0.0 {
        None
    } else if threshold == 0.0 {
        Some(g.relu(&g.neg(x)?)?)
    } else {
        Some(g.relu(&g.with_scalar(&g.neg(x)?, threshold, Graph::add_v2)?)?)
    };
    let mut y = if threshold != 0.0 {
        let above = g.with_scalar(x, threshold, Graph::greater)?;
        match dialect {
            Dialect::Keras2 => g.mul(x, &g.cast(&above, x.dtype)?)?,
            Dialect::Keras3 => g.select(&above, x, &g.scalar(0.0, x.dtype)?)?,
        }
    } else if max_value == Some(6.0) {
        g.relu6(x)?
    } else {
        g.relu(x)?
    };
    if let Some(max_value) = max_value
        && (threshold != 0.0 || max_value != 6.0)
    {
        y = g.clip(&y, 0.0, max_value)?;
    }
    match negative {
        Some(negative) => g.sub(&y, &g.mul(&g.scalar(negative_slope, x.dtype)?, &negative)?),
        None => Ok(y),
    }
}

/// Keras's function has a gradient of its own, for which it returns through `IdentityN`. Grappler fuses what has none,
/// and gives other bits then.
fn silu(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    let beta = g.scalar(1.0, x.dtype)?;
    let y = g.mul(x, &g.sigmoid(&g.mul(&beta, x)?)?)?;
    let types = vec![("T", Attr::Types(vec![x.dtype; 3]))];
    let outputs = [&y, x, &beta].map(|it| (it.dtype, it.shape.clone())).to_vec();
    Ok(g.add_many("IdentityN", &[&y, x, &beta], types, outputs)?.remove(0))
}

fn soft_shrink(g: &Graph, x: &TensorRef, threshold: f64) -> Result<TensorRef> {
    let above = g.with_scalar(x, threshold, Graph::greater)?;
    let less = g.with_scalar(x, threshold, Graph::sub)?;
    let below = g.with_scalar(x, -threshold, Graph::less)?;
    let more = g.with_scalar(x, threshold, Graph::add_v2)?;
    let inner = g.select(&below, &more, &g.zeros_like(x)?)?;
    g.select(&above, &less, &inner)
}

fn sparse_plus(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    let below = g.with_scalar(x, -1.0, Graph::less_equal)?;
    let zeros = g.zeros_like(x)?;
    let inside = g.with_scalar(x, 1.0, Graph::less)?;
    let square = g.with_scalar(&g.with_scalar(x, 1.0, Graph::add_v2)?, 2.0, Graph::pow)?;
    let curve = g.mul(&g.scalar(0.25, x.dtype)?, &square)?;
    g.select(&below, &zeros, &g.select(&inside, &curve, x)?)
}

fn sparse_sigmoid(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    let below = g.with_scalar(x, -1.0, Graph::less_equal)?;
    let above = g.with_scalar(x, 1.0, Graph::greater_equal)?;
    let line = g.mul(&g.scalar(0.5, x.dtype)?, &g.with_scalar(x, 1.0, Graph::add_v2)?)?;
    let inner = g.select(&above, &g.scalar(1.0, x.dtype)?, &line)?;
    g.select(&below, &g.scalar(0.0, x.dtype)?, &inner)
}
