//! `Attention` and `AdditiveAttention`.

use tf_persist_savedmodel::DType;

use super::{Dropout, flag, mask, refuse_training};
use crate::config::Config;
use crate::graph::TensorRef;
use crate::layers::{Argument, Arguments, Context, Layer, MaskRule, Masked};
use crate::reason::{Result, refuse, shown_name};

/// Attention without projections.
#[derive(Debug)]
pub(super) struct Attention {
    score: Score,
    use_scale: bool,
    causal: bool,
    dropout: Dropout,
}

/// How a query and a key are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Score {
    Dot,
    Concat,
    Additive,
}

impl Attention {
    pub(super) fn new(config: &Config<'_>, additive: bool) -> Result<Self> {
        let score = match config.str_or("score_mode", "dot")? {
            _ if additive => Score::Additive,
            "dot" => Score::Dot,
            "concat" => Score::Concat,
            other => refuse!("`score_mode` is `{}`, and should be `dot` or `concat`", shown_name(other)),
        };
        Ok(Self {
            score,
            use_scale: config.bool_or("use_scale", additive)?,
            causal: config.bool_or("causal", false)?,
            dropout: Dropout::of(config)?,
        })
    }

    fn scores(&self, cx: &Context<'_>, query: &TensorRef, key: &TensorRef) -> Result<TensorRef> {
        let g = cx.g;
        let shape = if self.score == Score::Additive { vec![query.size(-1)?] } else { Vec::new() };
        let scale = self.use_scale.then(|| cx.weight("scale", &shape)).transpose()?;
        if self.score == Score::Dot {
            let scores = if cx.is_keras2() {
                g.batch_mat_mul(query, key, false, true)?
            } else {
                let mut order: Vec<usize> = (0..key.rank()).collect();
                order.swap(key.rank() - 2, key.rank() - 1);
                g.batch_mat_mul(query, &g.transpose(key, &order)?, false, false)?
            };
            return match &scale {
                Some(scale) => g.mul(&scores, scale),
                None => Ok(scores),
            };
        }
        let sum = g.add_v2(&g.expand_dims(query, -2)?, &g.expand_dims(key, -3)?)?;
        if self.score == Score::Additive {
            let curved = g.tanh(&sum)?;
            let scale = match scale {
                Some(scale) => scale,
                None => g.scalar(1.0, curved.dtype)?,
            };
            return g.sum(&g.mul(&scale, &curved)?, &[-1], false);
        }
        let weight = cx.weight("concat_score_weight", &[])?;
        let scaled = match &scale {
            Some(scale) => g.mul(scale, &sum)?,
            None => sum,
        };
        g.mul(&weight, &g.sum(&g.tanh(&scaled)?, &[-1], false)?)
    }

    /// Lowers the scores where the mask does not hold.
    fn hidden(cx: &Context<'_>, scores: &TensorRef, mask: &TensorRef) -> Result<TensorRef> {
        let g = cx.g;
        let padding = g.logical_not(mask)?;
        let most = g.scalar(if scores.dtype == DType::Float16 { 65504.0 } else { 1e9 }, scores.dtype)?;
        if cx.is_keras2() {
            return g.sub(scores, &g.mul(&most, &g.cast(&padding, scores.dtype)?)?);
        }
        let padding = if padding.rank() == 2 { g.expand_dims(&padding, -2)? } else { padding };
        g.select(&padding, &g.sub(scores, &most)?, scores)
    }
}

impl Layer for Attention {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let inputs = arguments.inputs()?;
        // After the inputs: mask, training, and two flags.
        refuse_training(arguments, 2)?;
        let return_scores = flag(arguments, 3, "return_attention_scores")?;
        let causal = flag(arguments, 4, "use_causal_mask")? || self.causal;
        let [query, value, rest @ ..] = inputs.as_slice() else {
            refuse!("it is called with {} inputs, and needs query, value and perhaps key", inputs.len())
        };
        if rest.len() > 1 || inputs.iter().any(|input| input.rank() < 2) {
            refuse!("it is called with something else than query, value and key");
        }
        let key = rest.first().unwrap_or(value);
        let g = cx.g;
        let scores = self.scores(cx, query, key)?;
        let mut scores_mask = value.mask.clone();
        if cx.is_keras2() || causal {
            scores_mask = scores_mask.map(|mask| g.expand_dims(&mask, -2)).transpose()?;
        }
        if causal {
            let causal = mask::causal(g, &scores)?;
            scores_mask = Some(match &scores_mask {
                Some(mask) => g.logical_and(mask, &causal)?,
                // As a mask of steps of the value it would have another meaning.
                None => g.expand_dims(&causal, 0)?,
            });
        }
        let hidden = match &scores_mask {
            Some(mask) => Self::hidden(cx, &scores, mask)?,
            None => scores,
        };
        let weights = self.dropout.apply(cx, &g.softmax(&hidden)?)?;
        let mut output = g.batch_mat_mul(&weights, value, false, false)?;
        if let Some(mask) = &query.mask {
            let mask = g.expand_dims(mask, -1)?;
            output = match cx.is_keras2() {
                true => g.mul(&output, &g.cast(&mask, output.dtype)?)?,
                false => g.select(&mask, &output, &g.scalar(0.0, output.dtype)?)?,
            };
        }
        let output: Argument = Masked { tensor: output, mask: query.mask.clone() }.into();
        Ok(if return_scores { Argument::List(vec![output, weights.into()]) } else { output })
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Own
    }

    fn ignores_training(&self) -> bool {
        !self.dropout.is_some()
    }
}
