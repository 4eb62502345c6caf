//! `GroupQueryAttention`.

use super::equations::projection;
use super::{Dropout, Inputs, dot_product, mask, positive};
use crate::config::{Config, size};
use crate::graph::{Graph, Shape, TensorRef};
use crate::layers::activation::Function;
use crate::layers::activation_layers::Softmax;
use crate::layers::{Argument, Arguments, Context, Layer, MaskRule, Masked};
use crate::operations;
use crate::reason::{Result, refuse};

/// Attention of several heads, of which groups share keys and values.
#[derive(Debug)]
pub(super) struct GroupedQueryAttention {
    head_dim: u64,
    query_heads: u64,
    key_heads: u64,
    use_bias: bool,
    use_gate: bool,
    dropout: Dropout,
    sliding_window: Option<u64>,
}

impl GroupedQueryAttention {
    pub(super) fn new(config: &Config<'_>) -> Result<Self> {
        config.weight_rules(&["kernel", "bias"]);
        config.without_effect(&["flash_attention"]);
        let layer = Self {
            head_dim: positive(config, "head_dim")?,
            query_heads: positive(config, "num_query_heads")?,
            key_heads: positive(config, "num_key_value_heads")?,
            use_bias: config.bool_or("use_bias", true)?,
            use_gate: config.bool_or("use_gate", false)?,
            dropout: Dropout::of(config)?,
            sliding_window: config.get("sliding_window").map(|value| size("sliding_window", value)).transpose()?,
        };
        if !layer.query_heads.is_multiple_of(layer.key_heads) {
            refuse!("`num_query_heads` {} is no multiple of {}", layer.query_heads, layer.key_heads);
        }
        Ok(layer)
    }

    fn project(
        &self,
        cx: &Context<'_>,
        [private, name]: [&str; 2],
        x: &TensorRef,
        heads: u64,
        activation: Function,
    ) -> Result<TensorRef> {
        if x.rank() != 3 {
            refuse!("an input has shape {}, and rank 3 is needed", x.shape);
        }
        let layer = projection(2, 1, &[heads, self.head_dim], self.use_bias, activation)?;
        layer.apply(&cx.child(&[private, &private[1..]], name), x)
    }

    /// Keys or values, each once for every head of its group.
    fn repeat(&self, g: &Graph, x: &TensorRef) -> Result<TensorRef> {
        let repeats = self.query_heads / self.key_heads;
        if repeats == 1 {
            return Ok(x.clone());
        }
        let tiled = g.tile(&g.expand_dims(x, 3)?, &[1, 1, 1, repeats, 1])?;
        let dims = [x.dims()[0], x.dims()[1], Some(self.query_heads), Some(self.head_dim)];
        if dims.iter().filter(|dim| dim.is_none()).count() <= 1 {
            return g.reshape(&tiled, &dims);
        }
        let sizes = g.pack_dims(&dims, |axis| g.dim_of(x, axis as i64))?;
        g.reshape_to(&tiled, &sizes, Shape::new(dims))
    }

    fn attend(
        &self,
        cx: &Context<'_>,
        [query, key, value]: [&TensorRef; 3],
        mask: Option<&TensorRef>,
        return_scores: bool,
    ) -> Result<(TensorRef, Option<TensorRef>)> {
        let g = cx.g;
        let scale = super::scale(cx, self.head_dim);
        let mask = mask.map(|mask| mask::widened(g, mask, 4, -3)).transpose()?;
        if !self.dropout.is_some() && !return_scores {
            return Ok((dot_product(g, [query, key, value], mask.as_ref(), scale)?, None));
        }
        let query = g.with_scalar(query, scale, Graph::mul)?;
        let scores = operations::einsum(g, "bquh,bkuh->buqk", &[query, key.clone()])?;
        let scores = Softmax::over(vec![-1], false).apply(cx, &scores, mask.as_ref())?;
        let output = operations::einsum(g, "buqk,bkuh->bquh", &[self.dropout.apply(cx, &scores)?, value.clone()])?;
        Ok((output, Some(scores)))
    }
}

impl Layer for GroupedQueryAttention {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let inputs = Inputs::take(cx, arguments)?;
        let g = cx.g;
        let mask = mask::combined(g, &inputs, self.sliding_window)?;
        let source = inputs.key.as_ref().unwrap_or(&inputs.value);
        let query = self.project(cx, ["_query_dense", "query"], &inputs.query, self.query_heads, Function::Linear)?;
        let key = self.project(cx, ["_key_dense", "key"], source, self.key_heads, Function::Linear)?;
        let gate = if self.use_gate {
            let names = ["_gate_dense", "gate"];
            Some(self.project(cx, names, &inputs.query, self.query_heads, Function::Sigmoid)?)
        } else {
            None
        };
        let value = self.project(cx, ["_value_dense", "value"], &inputs.value, self.key_heads, Function::Linear)?;
        let (key, value) = (self.repeat(g, &key)?, self.repeat(g, &value)?);
        let (mut output, scores) = self.attend(cx, [&query, &key, &value], mask.as_ref(), inputs.return_scores)?;
        if let Some(gate) = &gate {
            output = g.mul(&output, gate)?;
        }
        let dense = projection(2, 2, &[inputs.query.size(-1)?], self.use_bias, Function::Linear)?;
        let output = dense.apply(&cx.child(&["_output_dense", "output_dense"], "attention_output"), &output)?;
        let output: Argument = Masked { tensor: output, mask: inputs.query.mask.clone() }.into();
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
