//! `MultiHeadAttention`.

use serde_json::Value;

use super::equations::{Equations, projection};
use super::{Dropout, Inputs, dot_product, mask, positive};
use crate::config::{Config, int, size};
use crate::graph::{Graph, TensorRef};
use crate::layers::activation::Function;
use crate::layers::activation_layers::Softmax;
use crate::layers::{Argument, Arguments, Context, Layer, MaskRule, Masked};
use crate::operations;
use crate::reason::{Result, refuse};

/// Attention of several heads, each with projections of its own.
#[derive(Debug)]
pub(super) struct MultiHeadAttention {
    heads: u64,
    key_dim: u64,
    value_dim: u64,
    use_bias: bool,
    use_gate: bool,
    dropout: Dropout,
    output_shape: Option<Vec<u64>>,
    attention_axes: Option<Vec<i64>>,
    sliding_window: Option<u64>,
    robust_masking: bool,
}

impl MultiHeadAttention {
    pub(super) fn new(config: &Config<'_>) -> Result<Self> {
        config.weight_rules(&["kernel", "bias"]);
        config.without_effect(&["query_shape", "key_shape", "value_shape", "flash_attention"]);
        let key_dim = positive(config, "key_dim")?;
        let output_shape = match config.get("output_shape") {
            Some(Value::Array(items)) => items.iter().map(|it| size("output_shape", it)).collect::<Result<_>>()?,
            Some(value) => vec![size("output_shape", value)?],
            None => Vec::new(),
        };
        let attention_axes = match config.get("attention_axes") {
            Some(Value::Array(items)) => {
                Some(items.iter().map(|it| int("attention_axes", it)).collect::<Result<Vec<_>>>()?)
            }
            Some(value) => Some(vec![int("attention_axes", value)?]),
            None => None,
        };
        Ok(Self {
            heads: positive(config, "num_heads")?,
            key_dim,
            value_dim: config.size_or("value_dim", key_dim)?,
            use_bias: config.bool_or("use_bias", true)?,
            use_gate: config.bool_or("use_gate", false)?,
            dropout: Dropout::of(config)?,
            output_shape: (!output_shape.is_empty()).then_some(output_shape),
            attention_axes,
            sliding_window: config.get("sliding_window").map(|value| size("sliding_window", value)).transpose()?,
            robust_masking: config.bool_or("softmax_robust_masking", false)?,
        })
    }

    /// The axes of the steps among those of projected tensors of this rank.
    fn axes(&self, cx: &Context<'_>, rank: usize) -> Result<Vec<usize>> {
        let Some(axes) = &self.attention_axes else { return Ok((1..rank.saturating_sub(2)).collect()) };
        let rank = if cx.is_keras2() { rank } else { rank - 1 };
        axes.iter().map(|axis| crate::graph::axis_index(*axis, rank)).collect()
    }

    fn project(
        &self,
        cx: &Context<'_>,
        [public, private, name]: [&str; 3],
        x: &TensorRef,
        size: u64,
        activation: Function,
    ) -> Result<TensorRef> {
        if x.rank() < 2 {
            refuse!("an input of shape {} has no steps", x.shape);
        }
        let layer = projection(x.rank() - 1, 1, &[self.heads, size], self.use_bias, activation)?;
        layer.apply(&cx.child(&[public, private], name), x)
    }

    /// The result of the heads, and the scores after the softmax.
    fn attend(
        &self,
        cx: &Context<'_>,
        [query, key, value]: [&TensorRef; 3],
        mask: Option<&TensorRef>,
        return_scores: bool,
    ) -> Result<(TensorRef, Option<TensorRef>)> {
        let g = cx.g;
        let axes = self.axes(cx, value.rank())?;
        let equations = Equations::new(value.rank(), &axes)?;
        let mask_axis = -2 * axes.len() as i64 - 1;
        let scale = super::scale(cx, self.key_dim);
        let fused = !cx.is_keras2() && !self.dropout.is_some() && !return_scores && query.rank() == 4;
        if fused {
            let mask = mask.map(|mask| mask::widened(g, mask, 4, mask_axis)).transpose()?;
            return Ok((dot_product(g, [query, key, value], mask.as_ref(), scale)?, None));
        }
        let query = g.with_scalar(query, scale, Graph::mul)?;
        let contract = |equation: &str, a: &TensorRef, b: &TensorRef| match cx.is_keras2() {
            true => operations::contraction(g, equation, vec![a.clone(), b.clone()]),
            false => operations::einsum(g, equation, &[a.clone(), b.clone()]),
        };
        let scores = contract(&equations.scores, key, &query)?;
        let mask = mask.map(|mask| mask::widened(g, mask, scores.rank(), mask_axis)).transpose()?;
        let first = equations.rank - axes.len();
        let softmax = Softmax::over((first..equations.rank).map(|axis| axis as i64).collect(), self.robust_masking);
        let scores = softmax.apply(cx, &scores, mask.as_ref())?;
        Ok((contract(&equations.result, &self.dropout.apply(cx, &scores)?, value)?, Some(scores)))
    }
}

impl Layer for MultiHeadAttention {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let mut inputs = Inputs::take(cx, arguments)?;
        let g = cx.g;
        let output_mask = inputs.query.mask.clone();
        if !cx.is_keras2() {
            // The layer ignores a mask of the query that is given, and takes the masks away from its inputs.
            inputs.query_mask = output_mask.clone();
            let tensors = [Some(&inputs.query), Some(&inputs.value), inputs.key.as_ref()];
            tensors.into_iter().flatten().for_each(|tensor| cx.shared.unmask(tensor));
        }
        if cx.is_keras2() && inputs.key.is_none() {
            inputs.key_mask.clone_from(&inputs.value_mask);
        }
        let mask = mask::combined(g, &inputs, self.sliding_window)?;
        let source = inputs.key.as_ref().unwrap_or(&inputs.value);
        let query =
            self.project(cx, ["query_dense", "_query_dense", "query"], &inputs.query, self.key_dim, Function::Linear)?;
        let key = self.project(cx, ["key_dense", "_key_dense", "key"], source, self.key_dim, Function::Linear)?;
        let gate = if self.use_gate {
            let names = ["gate_dense", "_gate_dense", "gate"];
            Some(self.project(cx, names, &inputs.query, self.value_dim, Function::Sigmoid)?)
        } else {
            None
        };
        let names = ["value_dense", "_value_dense", "value"];
        let value = self.project(cx, names, &inputs.value, self.value_dim, Function::Linear)?;
        let (mut output, scores) = self.attend(cx, [&query, &key, &value], mask.as_ref(), inputs.return_scores)?;
        if let Some(gate) = &gate {
            output = g.mul(&output, gate)?;
        }
        let shape = match &self.output_shape {
            Some(shape) => shape.clone(),
            None => vec![inputs.query.size(-1)?],
        };
        let dense = projection(inputs.query.rank() - 1, 2, &shape, self.use_bias, Function::Linear)?;
        let output = dense.apply(&cx.child(&["output_dense", "_output_dense"], "attention_output"), &output)?;
        let output: Argument = Masked { tensor: output, mask: output_mask }.into();
        match scores.filter(|_| inputs.return_scores) {
            Some(scores) => Ok(Argument::List(vec![output, scores.into()])),
            None => Ok(output),
        }
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Own
    }

    fn ignores_training(&self) -> bool {
        !self.dropout.is_some()
    }
}
