//! Integers as vectors: which of them occur, or how often.

use tf_persist_savedmodel::DType;

use crate::config::Config;
use crate::graph::{Ragged, TensorRef};
use crate::layers::Context;
use crate::operations::multi_hot;
use crate::reason::{Result, refuse};

/// What a layer makes of the integers that it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputMode {
    Int,
    OneHot,
    MultiHot,
    Count,
    TfIdf,
}

impl OutputMode {
    /// The mode in a config, which must be one of those given. Sparse results are refused.
    pub(super) fn of(config: &Config<'_>, default: &'static str, allowed: &[Self]) -> Result<Self> {
        if config.bool_or("sparse", false)? {
            refuse!("its result is sparse (`sparse` is true), which is not supported");
        }
        let name = config.str_or("output_mode", default)?;
        let mode = match name {
            "int" => Self::Int,
            "one_hot" => Self::OneHot,
            "multi_hot" | "binary" => Self::MultiHot,
            "count" => Self::Count,
            "tf_idf" | "tf-idf" => Self::TfIdf,
            _ => refuse!("`output_mode` is `{}`, which is unknown", name.escape_debug()),
        };
        if !allowed.contains(&mode) {
            refuse!("`output_mode` is `{name}`, which this class does not have");
        }
        Ok(mode)
    }
}

/// Encodes integers below `depth`. With weights, counts are sums of them.
pub(super) fn encode(
    cx: &Context<'_>,
    x: &TensorRef,
    mode: OutputMode,
    depth: u64,
    dtype: DType,
    weights: Option<&TensorRef>,
) -> Result<TensorRef> {
    let g = cx.g;
    if mode == OutputMode::Int {
        return g.cast(x, dtype);
    }
    let x = if x.rank() == 0 { g.expand_dims(x, -1)? } else { x.clone() };
    if cx.is_keras2() {
        return encode_keras2(cx, &x, mode, depth, dtype, weights);
    }
    let counts = matches!(dtype, DType::Int32 | DType::Int64 | DType::Float32 | DType::Float64);
    if x.rank() <= 2 && counts && matches!(mode, OutputMode::MultiHot | OutputMode::Count) {
        return g.cast(&bincount(cx, &x, depth, mode == OutputMode::MultiHot, dtype, weights)?, dtype);
    }
    match mode {
        OutputMode::MultiHot => multi_hot(g, &x, depth, -1, dtype),
        OutputMode::OneHot => {
            let x = if x.rank() > 1 && x.dim(-1)? == Some(1) { g.squeeze(&x, &[-1])? } else { x };
            g.one_hot(&g.cast(&x, DType::Int64)?, depth, -1, dtype)
        }
        _ => {
            let axis = i64::from(x.rank() > 1);
            let mut hot = g.one_hot(&g.cast(&x, DType::Int64)?, depth, -1, weights.map_or(dtype, |it| it.dtype))?;
            if let Some(weights) = weights {
                hot = g.mul(&hot, &g.expand_dims(weights, -1)?)?;
            }
            g.sum(&hot, &[axis], false)
        }
    }
}

/// Keras 2 counts for one hot as well.
fn encode_keras2(
    cx: &Context<'_>,
    x: &TensorRef,
    mode: OutputMode,
    depth: u64,
    dtype: DType,
    weights: Option<&TensorRef>,
) -> Result<TensorRef> {
    let one_hot = mode == OutputMode::OneHot;
    let x = if one_hot && x.dim(-1)? != Some(1) { cx.g.expand_dims(x, -1)? } else { x.clone() };
    if x.rank() > 2 {
        refuse!("its input has shape {}, and Keras 2 encodes rank 2 at most", x.shape);
    }
    bincount(cx, &x, depth, one_hot || mode == OutputMode::MultiHot, dtype, weights)
}

fn bincount(
    cx: &Context<'_>,
    x: &TensorRef,
    depth: u64,
    only_whether: bool,
    dtype: DType,
    weights: Option<&TensorRef>,
) -> Result<TensorRef> {
    let g = cx.g;
    let x = if x.dtype == DType::Int64 { x.clone() } else { g.cast(x, DType::Int32)? };
    let size = g.scalar(depth as f64, x.dtype)?;
    let weights = match weights {
        Some(weights) => weights.clone(),
        None => g.constant(tf_persist_savedmodel::Tensor::zeros(dtype, &[0])?)?,
    };
    g.dense_bincount(&x, &size, &weights, only_whether, Some(depth))
}

/// Encodes the integers of each row.
pub(super) fn encode_rows(
    cx: &Context<'_>,
    x: &Ragged,
    mode: OutputMode,
    depth: u64,
    dtype: DType,
) -> Result<TensorRef> {
    match mode {
        OutputMode::MultiHot => cx.g.ragged_bincount(x, depth, true, dtype),
        OutputMode::Count | OutputMode::TfIdf => cx.g.ragged_bincount(x, depth, false, dtype),
        OutputMode::Int | OutputMode::OneHot => {
            refuse!("rows of different lengths cannot be encoded one hot: the result would be ragged")
        }
    }
}
