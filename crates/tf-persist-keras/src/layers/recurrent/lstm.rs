//! `LSTMCell`.

use super::cell::{self, Cell, Prepared, Stepped};
use super::dropout::{Dropout, Masks};
use super::{activation, by_gate, input_size, recurrent_activation, times};
use crate::config::Config;
use crate::graph::{Graph, Shape, TensorRef};
use crate::layers::activation::Function;
use crate::layers::{Activation, Argument, Arguments, Context, Layer};
use crate::reason::{Result, refuse};

/// Long short-term memory. Its states are the output and the carry.
#[derive(Debug)]
pub(super) struct LstmCell {
    units: u64,
    activation: Activation,
    recurrent_activation: Activation,
    use_bias: bool,
    /// Whether each gate has products of its own. The sums of a product may be in another order then.
    by_gate: bool,
    dropout: Dropout,
}

impl LstmCell {
    /// From the config of a cell, or of a layer with such a cell.
    pub(super) fn new(config: &Config<'_>, is_layer: bool) -> Result<Self> {
        config.weight_rules(&["kernel", "recurrent", "bias"]);
        config.without_effect(&["unit_forget_bias"]);
        let use_bias = config.bool_or("use_bias", true)?;
        let (activation, recurrent_activation) = (activation(config)?, recurrent_activation(config)?);
        let is_default = activation.is(&Function::Tanh)
            && recurrent_activation.is(&Function::Sigmoid)
            && use_bias
            && !config.bool_or("unroll", false)?;
        let by_gate = by_gate(config, is_layer && is_default)?;
        let by_step = config.is_keras2() && is_layer && is_default && !by_gate;
        Ok(Self {
            units: config.size("units")?,
            activation,
            recurrent_activation,
            use_bias,
            by_gate,
            dropout: Dropout::of(config, if by_gate { 4 } else { 1 })?.of_gates().by_step(by_step),
        })
    }

    /// With the activations that cuDNN has.
    pub(super) fn plain(units: u64) -> Self {
        Self {
            units,
            activation: Function::Tanh.into(),
            recurrent_activation: Function::Sigmoid.into(),
            use_bias: true,
            by_gate: false,
            dropout: Dropout::default(),
        }
    }
}

/// The variables of a cell, as its steps use them.
struct Weights {
    kernel: Vec<TensorRef>,
    recurrent: Vec<TensorRef>,
    bias: Vec<TensorRef>,
    masks: Masks,
}

impl Cell for LstmCell {
    fn prepare<'a>(&'a self, cx: &Context<'a>, input: &Shape) -> Result<Prepared<'a>> {
        let units = self.units;
        let gates = times(units, 4)?;
        let kernel = cx.weight("kernel", &[input_size(input)?, gates])?;
        let recurrent = cx.weight("recurrent_kernel", &[units, gates])?;
        let bias = self.use_bias.then(|| cx.weight("bias", &[gates])).transpose()?;
        self.prepared(cx, kernel, recurrent, bias)
    }
}

impl LstmCell {
    /// The cell with these weights.
    pub(super) fn prepared<'a>(
        &'a self,
        cx: &Context<'a>,
        kernel: TensorRef,
        recurrent: TensorRef,
        bias: Option<TensorRef>,
    ) -> Result<Prepared<'a>> {
        let parts = |weight: TensorRef| if self.by_gate { cx.g.split(&weight, 4, -1) } else { Ok(vec![weight]) };
        let bias = bias.map(parts).transpose()?.unwrap_or_default();
        let masks = Masks::default();
        let weights = Weights { kernel: parts(kernel)?, recurrent: parts(recurrent)?, bias, masks: masks.clone() };
        let state = vec![Some(self.units)];
        let outer = cx.clone();
        let cell = Prepared::new(cx, vec![state; 2], 0, move |g, x, states| {
            let [h, c] = states else { refuse!("an LSTM has two states, and is called with {}", states.len()) };
            self.step(&outer.in_graph(g), &weights, x, h, c)
        });
        Ok(cell.with_dropout(cx, self.dropout, masks))
    }

    fn step(
        &self,
        cx: &Context<'_>,
        weights: &Weights,
        x: &TensorRef,
        h: &TensorRef,
        c: &TensorRef,
    ) -> Result<Stepped> {
        let g = cx.g;
        let gates = if self.by_gate { gates(cx, weights, x, h)? } else { fused_gates(g, weights, x, h)? };
        let [input, forget, carry, output] = gates.as_slice() else { refuse!("an LSTM has four gates") };
        let input = self.recurrent_activation.apply(cx, input)?;
        let forget = self.recurrent_activation.apply(cx, forget)?;
        let kept = g.mul(&forget, c)?;
        let carry = g.add_v2(&kept, &g.mul(&input, &self.activation.apply(cx, carry)?)?)?;
        let output = self.recurrent_activation.apply(cx, output)?;
        let h = g.mul(&output, &self.activation.apply(cx, &carry)?)?;
        Ok((h.clone(), vec![h, carry]))
    }
}

/// What the activations of the gates take, in one product for each matrix.
fn fused_gates(g: &Graph, weights: &Weights, x: &TensorRef, h: &TensorRef) -> Result<Vec<TensorRef>> {
    let x = &weights.masks.input(g, 0, x)?;
    let mut z = g.add_v2(&g.mat_mul(x, &weights.kernel[0])?, &g.mat_mul(h, &weights.recurrent[0])?)?;
    if let Some(bias) = weights.bias.first() {
        z = g.bias_add(&z, bias)?;
    }
    g.split(&z, 4, 1)
}

/// What the activations of the gates take, with products for each gate.
fn gates(cx: &Context<'_>, weights: &Weights, x: &TensorRef, h: &TensorRef) -> Result<Vec<TensorRef>> {
    let g = cx.g;
    let mut gates = Vec::new();
    for (gate, (kernel, recurrent)) in weights.kernel.iter().zip(&weights.recurrent).enumerate() {
        let mut x = g.mat_mul(&weights.masks.input(g, gate, x)?, kernel)?;
        if let Some(bias) = weights.bias.get(gate) {
            x = if cx.is_keras2() { g.bias_add(&x, bias)? } else { g.add_v2(&x, bias)? };
        }
        gates.push(g.add_v2(&x, &g.mat_mul(&weights.masks.state(g, gate, h)?, recurrent)?)?);
    }
    Ok(gates)
}

impl Layer for LstmCell {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        cell::call(self, cx, arguments)
    }

    fn ignores_training(&self) -> bool {
        !self.dropout.is_some()
    }

    fn as_cell(&self) -> Option<&dyn Cell> {
        Some(self)
    }
}
