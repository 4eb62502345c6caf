//! Attention: `MultiHeadAttention`, `GroupQueryAttention`, `Attention`, `AdditiveAttention`.

mod dot;
mod equations;
mod grouped;
mod mask;
mod multi_head;

use serde_json::Value;

use super::{Argument, Arguments, Context, Layer, Masked, finished, random};
use crate::config::Config;
use crate::graph::{Graph, TensorRef};
use crate::reason::{Result, refuse};

pub(super) fn build(class: &str, config: &Config<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "MultiHeadAttention" => finished(multi_head::MultiHeadAttention::new(config), config),
        // Files have the name of the class, and code that of its export.
        "GroupedQueryAttention" | "GroupQueryAttention" => {
            finished(grouped::GroupedQueryAttention::new(config), config)
        }
        "Attention" => finished(dot::Attention::new(config, false), config),
        "AdditiveAttention" => finished(dot::Attention::new(config, true), config),
        _ => return None,
    })
}

/// What a layer with queries, keys and values is called with.
struct Inputs {
    query: Masked,
    value: Masked,
    key: Option<Masked>,
    query_mask: Option<TensorRef>,
    value_mask: Option<TensorRef>,
    key_mask: Option<TensorRef>,
    attention_mask: Option<TensorRef>,
    return_scores: bool,
    causal: bool,
}

impl Inputs {
    /// Masks that are not given are those of the tensors.
    fn take(cx: &Context<'_>, arguments: &mut Arguments) -> Result<Self> {
        let given = |argument: Option<Argument>| argument.map(|it| it.tensor().cloned()).transpose();
        let query = match arguments.take(0, "query") {
            Some(query) => query.tensor()?.clone(),
            None => refuse!("it is called without a query"),
        };
        let value = match arguments.take(1, "value") {
            Some(value) => value.tensor()?.clone(),
            None => refuse!("it is called without a value"),
        };
        let key = given(arguments.take(2, "key"))?;
        // Keras 2 has no arguments for masks but one.
        let mut position = 3;
        let mut mask = |name: &str, of: Option<&Masked>| -> Result<Option<TensorRef>> {
            if cx.is_keras2() {
                return Ok(of.and_then(|tensor| tensor.mask.clone()));
            }
            let mask = given(arguments.take(position, name))?.map(|mask| mask.tensor);
            position += 1;
            Ok(mask.or_else(|| of.and_then(|tensor| tensor.mask.clone())))
        };
        let query_mask = mask("query_mask", Some(&query))?;
        let value_mask = mask("value_mask", Some(&value))?;
        let key_mask = mask("key_mask", key.as_ref())?;
        let attention_mask = given(arguments.take(position, "attention_mask"))?.map(|mask| mask.tensor);
        let return_scores = flag(arguments, position + 1, "return_attention_scores")?;
        refuse_training(arguments, position + 2)?;
        let causal = flag(arguments, position + 3, "use_causal_mask")?;
        Ok(Self { query, value, key, query_mask, value_mask, key_mask, attention_mask, return_scores, causal })
    }
}

/// Refuses `training=True` by position.
fn refuse_training(arguments: &mut Arguments, position: usize) -> Result<()> {
    match arguments.take(position, "training") {
        None | Some(Argument::Plain(Value::Bool(false))) => Ok(()),
        Some(_) => refuse!("it is called with training=True, so that it would not be the same as at inference"),
    }
}

fn flag(arguments: &mut Arguments, position: usize, name: &str) -> Result<bool> {
    match arguments.take(position, name) {
        None => Ok(false),
        Some(Argument::Plain(Value::Bool(value))) => Ok(value),
        Some(_) => refuse!("its argument `{name}` should be true or false"),
    }
}

/// Dropout of the scores, in training alone.
#[derive(Debug)]
struct Dropout {
    rate: f64,
    seed: Option<i64>,
}

impl Dropout {
    fn of(config: &Config<'_>) -> Result<Self> {
        let seed = config.get("seed").map(|_| config.int("seed")).transpose()?;
        Ok(Self { rate: config.float_or("dropout", 0.0)?, seed })
    }

    fn is_some(&self) -> bool {
        self.rate > 0.0
    }

    fn apply(&self, cx: &Context<'_>, scores: &TensorRef) -> Result<TensorRef> {
        match cx.training && self.is_some() {
            true => random::dropout(cx, scores, self.rate, None, self.seed),
            false => Ok(scores.clone()),
        }
    }
}

/// A size of at least 1.
fn positive(config: &Config<'_>, key: &str) -> Result<u64> {
    match config.size(key)? {
        0 => refuse!("`{key}` is 0"),
        size => Ok(size),
    }
}

/// The factor of the scores. Keras 3 rounds it to float32 in any dtype.
fn scale(cx: &Context<'_>, size: u64) -> f64 {
    let scale = 1.0 / (size as f64).sqrt();
    if cx.is_keras2() { scale } else { f64::from(scale as f32) }
}

/// Attention of projected tensors `[batch, steps, heads, size]` with the softmax in float32 at least.
fn dot_product(
    g: &Graph,
    [query, key, value]: [&TensorRef; 3],
    mask: Option<&TensorRef>,
    scale: f64,
) -> Result<TensorRef> {
    use tf_persist_savedmodel::DType;
    let wide = if query.dtype == DType::Float64 { DType::Float64 } else { DType::Float32 };
    let logits = g.cast(&g.einsum("BTNH,BSNH->BNTS", &[query, key])?, wide)?;
    let mut logits = g.with_scalar(&logits, scale, Graph::mul)?;
    if let Some(mask) = mask {
        let lowest = g.scalar(3.38953e38 * -0.7, wide)?;
        logits = g.select(mask, &logits, &lowest)?;
    }
    let weights = g.cast(&g.softmax(&logits)?, key.dtype)?;
    g.einsum("BNTS,BSNH->BTNH", &[&weights, value])
}
