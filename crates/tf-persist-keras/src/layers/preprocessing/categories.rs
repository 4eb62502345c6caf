//! `CategoryEncoding`.

use tf_persist_savedmodel::DType;

use super::encoding::{OutputMode, encode};
use crate::config::Config;
use crate::graph::TensorRef;
use crate::layers::{Argument, Arguments, Context, Layer};
use crate::reason::{Result, refuse};

/// Integers as vectors.
#[derive(Debug)]
pub(super) struct CategoryEncoding {
    tokens: u64,
    mode: OutputMode,
}

impl CategoryEncoding {
    pub(super) fn new(config: &Config<'_>) -> Result<Self> {
        let modes = [OutputMode::OneHot, OutputMode::MultiHot, OutputMode::Count];
        let key = if config.has("max_tokens") { "max_tokens" } else { "num_tokens" };
        Ok(Self { tokens: config.size(key)?, mode: OutputMode::of(config, "multi_hot", &modes)? })
    }

    /// Keras 2 fails where an integer is out of range.
    fn checked(&self, cx: &Context<'_>, x: &TensorRef) -> Result<TensorRef> {
        if !cx.is_keras2() {
            return Ok(x.clone());
        }
        let g = cx.g;
        let axes: Vec<i64> = (0..x.rank() as i64).collect();
        let (high, low) = (g.max(x, &axes, false)?, g.min(x, &axes, false)?);
        let below = g.greater(&g.scalar(self.tokens as f64, x.dtype)?, &high)?;
        let holds = g.logical_and(&below, &g.greater_equal(&low, &g.scalar(0.0, x.dtype)?)?)?;
        let tokens = self.tokens;
        let message = format!("Input values must be in the range 0 <= values < num_tokens with num_tokens={tokens}");
        g.asserted(&holds, &g.text(&message)?, x)
    }
}

impl Layer for CategoryEncoding {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let weights = arguments.take(1, "count_weights");
        let weights = match &weights {
            None => None,
            Some(_) if self.mode != OutputMode::Count => {
                refuse!("it has `count_weights`, and `output_mode` is not `count`")
            }
            Some(weights) => Some(cx.g.cast(weights.tensor()?, cx.policy.compute)?),
        };
        if x.dtype == DType::String {
            refuse!("its input is texts, and should be integers");
        }
        let x = self.checked(cx, &x)?;
        let dtype = if cx.is_keras2() { cx.policy.compute } else { cx.policy.variable };
        Ok(encode(cx, &x, self.mode, self.tokens, dtype, weights.as_ref())?.into())
    }

    fn casts_inputs(&self) -> bool {
        false
    }
}
