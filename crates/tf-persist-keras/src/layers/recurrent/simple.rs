//! `SimpleRNNCell`.

use super::cell::{self, Cell, Prepared};
use super::dropout::{Dropout, Masks};
use super::{activation, input_size};
use crate::config::Config;
use crate::graph::Shape;
use crate::layers::{Activation, Argument, Arguments, Context, Layer};
use crate::reason::{Result, refuse};

/// An activation of the input and the state, which is the output.
#[derive(Debug)]
pub(super) struct SimpleCell {
    units: u64,
    activation: Activation,
    use_bias: bool,
    dropout: Dropout,
}

impl SimpleCell {
    /// From the config of a cell, or of a layer with such a cell.
    pub(super) fn new(config: &Config<'_>) -> Result<Self> {
        config.weight_rules(&["kernel", "recurrent", "bias"]);
        config.without_effect(&["implementation"]);
        Ok(Self {
            units: config.size("units")?,
            activation: activation(config)?,
            use_bias: config.bool_or("use_bias", true)?,
            dropout: Dropout::of(config, 1)?,
        })
    }
}

impl Cell for SimpleCell {
    fn prepare<'a>(&'a self, cx: &Context<'a>, input: &Shape) -> Result<Prepared<'a>> {
        let kernel = cx.weight("kernel", &[input_size(input)?, self.units])?;
        let recurrent = cx.weight("recurrent_kernel", &[self.units, self.units])?;
        let bias = self.use_bias.then(|| cx.weight("bias", &[self.units])).transpose()?;
        let state = vec![Some(self.units)];
        let (outer, masks) = (cx.clone(), Masks::default());
        let drawn = masks.clone();
        let cell = Prepared::new(cx, vec![state], 0, move |g, x, states| {
            let [h] = states else { refuse!("a simple RNN has one state, and is called with {}", states.len()) };
            let mut y = g.mat_mul(&masks.input(g, 0, x)?, &kernel)?;
            if let Some(bias) = &bias {
                y = g.bias_add(&y, bias)?;
            }
            let y = g.add_v2(&y, &g.mat_mul(&masks.state(g, 0, h)?, &recurrent)?)?;
            let y = self.activation.apply(&outer.in_graph(g), &y)?;
            Ok((y.clone(), vec![y]))
        });
        Ok(cell.with_dropout(cx, self.dropout, drawn))
    }
}

impl Layer for SimpleCell {
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
