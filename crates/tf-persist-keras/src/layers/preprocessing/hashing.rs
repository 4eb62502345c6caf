//! `Hashing`.

use serde_json::Value;
use tf_persist_savedmodel::DType;

use super::encoding::{OutputMode, encode};
use super::lookup::salt;
use crate::config::{Config, int, shown};
use crate::graph::TensorRef;
use crate::layers::{Argument, Arguments, Context, Layer};
use crate::reason::{Result, refuse};

/// Hashes of texts or integers.
#[derive(Debug)]
pub(super) struct Hashing {
    bins: u64,
    mask: Option<Value>,
    salt: Option<[i64; 2]>,
    mode: OutputMode,
}

impl Hashing {
    pub(super) fn new(config: &Config<'_>) -> Result<Self> {
        let modes = [OutputMode::Int, OutputMode::OneHot, OutputMode::MultiHot, OutputMode::Count];
        let bins = config.size("num_bins")?;
        if bins == 0 {
            refuse!("`num_bins` is 0");
        }
        Ok(Self {
            bins,
            mask: config.get("mask_value").cloned(),
            salt: config.get("salt").map(salt).transpose()?,
            mode: OutputMode::of(config, "int", &modes)?,
        })
    }

    /// Where the value is the one that is not hashed.
    fn is_masked(&self, cx: &Context<'_>, x: &TensorRef) -> Result<Option<TensorRef>> {
        let g = cx.g;
        let value = match (&self.mask, x.dtype) {
            (None, _) => return Ok(None),
            (Some(_), _) if self.bins < 2 => return Ok(None),
            (Some(Value::String(text)), DType::String) => g.text(text)?,
            (Some(value), dtype) if dtype != DType::String && value.is_number() => {
                g.scalar(int("mask_value", value)? as f64, dtype)?
            }
            (Some(value), dtype) => refuse!("`mask_value` is {}, and its input is {dtype}", shown(value)),
        };
        Ok(Some(g.equal(x, &value)?))
    }

    fn hash(&self, cx: &Context<'_>, x: &TensorRef) -> Result<TensorRef> {
        let g = cx.g;
        let mask = self.is_masked(cx, x)?;
        let bins = self.bins - u64::from(mask.is_some());
        let x = match x.dtype {
            DType::String => x.clone(),
            dtype if dtype.is_floating() && cx.is_keras2() => {
                refuse!("its input is {dtype}, which Keras 2 does not hash")
            }
            dtype if dtype.is_floating() => g.as_string(&g.cast(x, DType::Int64)?)?,
            _ => g.as_string(x)?,
        };
        let hashed = g.hash_bucket(&x, i64::try_from(bins).unwrap_or(i64::MAX), self.salt)?;
        match mask {
            None => Ok(hashed),
            Some(mask) => {
                let next = g.add_v2(&hashed, &g.ones_like(&hashed)?)?;
                g.select(&mask, &g.zeros_like(&next)?, &next)
            }
        }
    }
}

impl Layer for Hashing {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let mut x = x.tensor;
        if !cx.is_keras2() && self.mode == OutputMode::OneHot && x.rank() > 0 && x.dim(-1)? == Some(1) {
            x = cx.g.squeeze(&x, &[-1])?;
        }
        let dtype = encoded_dtype(cx, self.mode);
        Ok(encode(cx, &self.hash(cx, &x)?, self.mode, self.bins, dtype, None)?.into())
    }

    fn casts_inputs(&self) -> bool {
        false
    }
}

/// The dtype of the result: that of the layer, but an integer for indices, which Keras 2 puts in its place.
pub(super) fn encoded_dtype(cx: &Context<'_>, mode: OutputMode) -> DType {
    let dtype = if cx.is_keras2() { cx.policy.compute } else { cx.policy.variable };
    if mode == OutputMode::Int && dtype.is_floating() { DType::Int64 } else { dtype }
}
