//! `dot_product_attention`.

use tf_persist_savedmodel::DType;

use super::call::Call;
use super::dtypes::{Kind, result_type};
use super::einsum::node as contraction;
use super::shapes::repeat;
use super::{Entry, op};
use crate::graph::{Graph, Shape, Slice, TensorRef};
use crate::layers::Argument;
use crate::reason::{Result, refuse};

pub(super) const TABLE: &[Entry] = &[op(
    "DotProductAttention",
    "query key value bias mask scale",
    "is_causal flash_attention attn_logits_soft_cap",
    attention,
)];

fn attention(c: &mut Call<'_>) -> Result<Argument> {
    let (query, key, value) = (c.tensor("query")?, c.tensor("key")?, c.tensor("value")?);
    let (bias, mask, scale) = (c.tensor_or_none("bias")?, c.tensor_or_none("mask")?, c.operand_or_none("scale")?);
    let is_causal = c.bool_or("is_causal", false)?;
    if c.bool_or("flash_attention", false)? {
        refuse!("`flash_attention` is true, which Keras does not support in TensorFlow");
    }
    // Keras does not read it in TensorFlow.
    c.value("attn_logits_soft_cap")?;
    let g = c.g;
    if [&query, &key, &value].iter().any(|tensor| tensor.rank() != 4) {
        refuse!("its inputs have shapes {}, {} and {}, and rank 4 is needed", query.shape, key.shape, value.shape);
    }
    let dtype = result_type(&[query.dtype, key.dtype, value.dtype].map(Kind::Typed))?;
    let (query, mut key, mut value) = (g.cast(&query, dtype)?, g.cast(&key, dtype)?, g.cast(&value, dtype)?);
    if let (Some(heads), Some(key_heads)) = (query.dims()[2], key.dims()[2])
        && heads > key_heads
        && key_heads > 1
    {
        let groups = i64::try_from(heads / key_heads).unwrap_or(i64::MAX);
        (key, value) = (repeat(g, &key, &[groups], Some(2))?, repeat(g, &value, &[groups], Some(2))?);
    }
    let scale = match scale {
        Some(scale) => scale.tensor(g)?,
        None => {
            let size = g.sqrt(&g.cast(&g.dim_of(&key, -1)?, DType::Float32)?)?;
            g.real_div(&g.scalar(1.0, DType::Float32)?, &size)?
        }
    };
    let wide = result_type(&[Kind::Typed(dtype), Kind::Typed(DType::Float32)])?;
    let scores = g.cast(&contraction(g, &[&query, &key], &["BTNH", "BSNH"], "BNTS")?, wide)?;
    let mut scores = g.mul(&scores, &g.cast(&scale, wide)?)?;
    if let Some(bias) = bias {
        scores = g.add_v2(&scores, &g.cast(&g.cast(&bias, dtype)?, wide)?)?;
    }
    let scores = masked(g, &scores, mask.as_ref(), is_causal)?;
    let weights = g.cast(&g.softmax(&scores)?, dtype)?;
    Ok(contraction(g, &[&weights, &value], &["BNTS", "BSNH"], "BTNH")?.into())
}

/// Large negative scores where a mask is false.
fn masked(g: &Graph, scores: &TensorRef, mask: Option<&TensorRef>, is_causal: bool) -> Result<TensorRef> {
    if mask.is_none() && !is_causal {
        return Ok(scores.clone());
    }
    let yes = g.scalar(1.0, DType::Bool)?;
    let mut all = g.fill(&g.shape_of(scores)?, &yes, scores.shape.clone())?;
    if let Some(mask) = mask {
        all = g.logical_and(&all, &g.cast(mask, DType::Bool)?)?;
    }
    if is_causal {
        let dims = &scores.dims()[2..];
        let sizes = g.strided_slice(&g.shape_of(scores)?, &[Slice::range(2, 4)])?;
        let square = g.band_part(&g.fill(&sizes, &yes, Shape::new(dims))?, -1, 0)?;
        all = g.logical_and(&all, &g.expand_dims(&g.expand_dims(&square, 0)?, 0)?)?;
    }
    let least = if scores.dtype == DType::Float16 { 65500.0 } else { 3.389_53e38 } * -0.7;
    g.select(&all, scores, &g.scalar(least, scores.dtype)?)
}
