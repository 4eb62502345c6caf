//! `GRUCell`.

use super::cell::{self, Cell, Prepared, Stepped};
use super::dropout::{Dropout, Masks};
use super::{activation, by_gate, input_size, recurrent_activation, times};
use crate::config::Config;
use crate::graph::{Graph, Shape, TensorRef};
use crate::layers::activation::Function;
use crate::layers::{Activation, Argument, Arguments, Context, Layer};
use crate::reason::{Result, refuse};

/// A gated recurrent unit. Its state is the output.
#[derive(Debug)]
pub(super) struct GruCell {
    units: u64,
    activation: Activation,
    recurrent_activation: Activation,
    use_bias: bool,
    /// Whether the reset gate acts on the product of the state, instead of the state. Only then has that product a
    /// bias.
    reset_after: bool,
    /// Whether each gate has products of its own. The sums of a product may be in another order then.
    by_gate: bool,
    dropout: Dropout,
}

impl GruCell {
    /// From the config of a cell, or of a layer with such a cell.
    pub(super) fn new(config: &Config<'_>, is_layer: bool) -> Result<Self> {
        config.weight_rules(&["kernel", "recurrent", "bias"]);
        let use_bias = config.bool_or("use_bias", true)?;
        // Keras 2.0 and 2.1 did not have the key.
        let reset_after = config.bool_or("reset_after", !config.is_keras2())?;
        let (activation, recurrent_activation) = (activation(config)?, recurrent_activation(config)?);
        let is_default = activation.is(&Function::Tanh)
            && recurrent_activation.is(&Function::Sigmoid)
            && use_bias
            && reset_after
            && !config.bool_or("unroll", false)?;
        let by_gate = by_gate(config, is_layer && is_default)?;
        let by_step = config.is_keras2() && is_layer && is_default && !by_gate;
        Ok(Self {
            units: config.size("units")?,
            activation,
            recurrent_activation,
            use_bias,
            reset_after,
            by_gate,
            dropout: Dropout::of(config, if by_gate { 3 } else { 1 })?.of_gates().by_step(by_step),
        })
    }

    /// With the activations that cuDNN has.
    pub(super) fn plain(units: u64) -> Self {
        Self {
            units,
            activation: Function::Tanh.into(),
            recurrent_activation: Function::Sigmoid.into(),
            use_bias: true,
            reset_after: true,
            by_gate: false,
            dropout: Dropout::default(),
        }
    }
}

/// The variables of a cell, as its steps use them: for each gate, or those of several gates in one.
struct Weights {
    kernel: Vec<TensorRef>,
    recurrent: Vec<TensorRef>,
    bias: Vec<TensorRef>,
    recurrent_bias: Vec<TensorRef>,
    masks: Masks,
}

impl Cell for GruCell {
    fn prepare<'a>(&'a self, cx: &Context<'a>, input: &Shape) -> Result<Prepared<'a>> {
        let gates = times(self.units, 3)?;
        let kernel = cx.weight("kernel", &[input_size(input)?, gates])?;
        let recurrent = cx.weight("recurrent_kernel", &[self.units, gates])?;
        let bias = match (self.use_bias, self.reset_after) {
            (false, _) => None,
            (true, true) => Some(cx.weight("bias", &[2, gates])?),
            (true, false) => Some(cx.weight("bias", &[gates])?),
        };
        self.prepared(cx, kernel, recurrent, bias)
    }
}

impl GruCell {
    /// The cell with these weights.
    pub(super) fn prepared<'a>(
        &'a self,
        cx: &Context<'a>,
        kernel: TensorRef,
        recurrent: TensorRef,
        bias: Option<TensorRef>,
    ) -> Result<Prepared<'a>> {
        let g = cx.g;
        let biases = match bias {
            Some(bias) if self.reset_after => g.unpack(&bias, 0)?,
            bias => bias.into_iter().collect(),
        };
        let parts = |weight: &TensorRef| if self.by_gate { g.split(weight, 3, -1) } else { Ok(vec![weight.clone()]) };
        let recurrent = match (self.by_gate, self.reset_after) {
            (false, false) => g.split_sizes(&recurrent, &[times(self.units, 2)?, self.units], 1)?,
            _ => parts(&recurrent)?,
        };
        let masks = Masks::default();
        let weights = Weights {
            kernel: parts(&kernel)?,
            recurrent,
            bias: biases.first().map(parts).transpose()?.unwrap_or_default(),
            recurrent_bias: biases.get(1).map(parts).transpose()?.unwrap_or_default(),
            masks: masks.clone(),
        };
        let state = vec![Some(self.units)];
        let outer = cx.clone();
        let cell = Prepared::new(cx, vec![state], 0, move |g, x, states| {
            let [h] = states else { refuse!("a GRU has one state, and is called with {}", states.len()) };
            self.step(&outer.in_graph(g), &weights, x, h)
        });
        Ok(cell.with_dropout(cx, self.dropout, masks))
    }

    fn step(&self, cx: &Context<'_>, weights: &Weights, x: &TensorRef, h: &TensorRef) -> Result<Stepped> {
        let g = cx.g;
        let inputs = self.inputs(cx, weights, x)?;
        let [update_x, reset_x, candidate_x] = inputs.as_slice() else { refuse!("a GRU has three gates") };
        let inner = self.inner(cx, weights, h)?;
        let [update_h, reset_h, ..] = inner.as_slice() else { refuse!("a GRU has two gates for its state") };
        let update = self.recurrent_activation.apply(cx, &g.add_v2(update_x, update_h)?)?;
        let reset = self.recurrent_activation.apply(cx, &g.add_v2(reset_x, reset_h)?)?;
        let candidate_h = match (inner.get(2), weights.recurrent.last()) {
            (Some(candidate_h), _) => g.mul(&reset, candidate_h)?,
            (None, Some(recurrent)) => g.mat_mul(&g.mul(&reset, &weights.masks.state(g, 2, h)?)?, recurrent)?,
            (None, None) => refuse!("a GRU has a recurrent kernel"),
        };
        let candidate = self.activation.apply(cx, &g.add_v2(candidate_x, &candidate_h)?)?;
        let rest = g.sub(&g.scalar(1.0, update.dtype)?, &update)?;
        let next = g.add_v2(&g.mul(&update, h)?, &g.mul(&rest, &candidate)?)?;
        Ok((next.clone(), vec![next]))
    }

    /// The input's part of each gate.
    fn inputs(&self, cx: &Context<'_>, weights: &Weights, x: &TensorRef) -> Result<Vec<TensorRef>> {
        let g = cx.g;
        let mut parts = Vec::new();
        for (gate, kernel) in weights.kernel.iter().enumerate() {
            let product = g.mat_mul(&weights.masks.input(g, gate, x)?, kernel)?;
            parts.push(match weights.bias.get(gate) {
                Some(bias) if self.by_gate && !cx.is_keras2() => g.add_v2(&product, bias)?,
                Some(bias) => g.bias_add(&product, bias)?,
                None => product,
            });
        }
        separate(g, parts, 3)
    }

    /// The state's part of each gate: three if the reset gate acts after the product, else two.
    fn inner(&self, cx: &Context<'_>, weights: &Weights, h: &TensorRef) -> Result<Vec<TensorRef>> {
        let g = cx.g;
        let kernels = match weights.recurrent.split_last() {
            Some((_, kernels)) if !self.reset_after => kernels,
            _ => &weights.recurrent,
        };
        let mut parts = Vec::new();
        for (gate, kernel) in kernels.iter().enumerate() {
            let product = g.mat_mul(&weights.masks.state(g, gate, h)?, kernel)?;
            parts.push(match weights.recurrent_bias.get(gate) {
                Some(bias) if cx.is_keras2() => g.bias_add(&product, bias)?,
                Some(bias) => g.add_v2(&product, bias)?,
                None => product,
            });
        }
        separate(g, parts, if self.reset_after { 3 } else { 2 })
    }
}

/// The gates, which may be in one tensor.
fn separate(g: &Graph, parts: Vec<TensorRef>, gates: usize) -> Result<Vec<TensorRef>> {
    match parts.as_slice() {
        [all] if gates > 1 => g.split(all, gates, 1),
        _ => Ok(parts),
    }
}

impl Layer for GruCell {
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
