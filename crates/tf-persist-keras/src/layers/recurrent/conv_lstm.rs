//! `ConvLSTM1D`, `ConvLSTM2D`, `ConvLSTM3D`.

use super::cell::{Cell, Prepared, Stepped};
use super::dropout::{Dropout, Masks};
use super::{activation, times};
use crate::config::Config;
use crate::graph::{Dim, Graph, Shape, TensorRef};
use crate::layers::activation::Function;
use crate::layers::conv::{Convolution, Edges, Window, channels_to_first, channels_to_last};
use crate::layers::{Activation, Context};
use crate::reason::{Result, refuse};

/// An LSTM with convolutions instead of products.
#[derive(Debug)]
pub(super) struct ConvLstmCell {
    filters: u64,
    window: Window,
    /// The convolution of the input, and that of the output before.
    input: Convolution,
    recurrent: Convolution,
    activation: Activation,
    recurrent_activation: Activation,
    use_bias: bool,
    dropout: Dropout,
}

impl ConvLstmCell {
    /// From the config of a layer over this many spatial dimensions.
    pub(super) fn new(config: &Config<'_>, rank: usize) -> Result<Self> {
        config.weight_rules(&["kernel", "recurrent", "bias"]);
        config.without_effect(&["unit_forget_bias"]);
        let window = Window::of(config, rank, false)?;
        if window.is_dilated() && window.is_strided() {
            refuse!("`strides` and `dilation_rate` are both above 1, which is impossible");
        }
        let filters = config.size("filters")?;
        let ones = vec![1; rank];
        let inner = Window { strides: ones.clone(), dilation: ones, edges: Edges::Same, ..window.clone() };
        let default = if config.is_keras2() { Function::HardSigmoid } else { Function::Sigmoid };
        Ok(Self {
            filters,
            input: Convolution::plain(filters, window.clone()),
            recurrent: Convolution::plain(filters, inner),
            window,
            activation: activation(config)?,
            recurrent_activation: match config.has("recurrent_activation") {
                true => Activation::of(config, "recurrent_activation")?,
                false => default.into(),
            },
            use_bias: config.bool_or("use_bias", true)?,
            dropout: Dropout::of(config, 4)?.of_gates(),
        })
    }

    /// The shape of the states for one step of this shape, without the batch, and the number of the input's channels.
    fn state(&self, input: &Shape) -> Result<(Vec<Dim>, u64)> {
        let rank = self.window.rank();
        let [_, rest @ ..] = input.dims() else { refuse!("its input has no batch") };
        if rest.len() != rank + 1 {
            refuse!("the steps of its input have shape {input}, and rank {} is needed", rank + 2);
        }
        let (channels, spatial) = match self.window.channels_first {
            true => (rest[0], &rest[1..]),
            false => (rest[rank], &rest[..rank]),
        };
        let Some(channels) = channels else { refuse!("the number of channels of its input is unknown") };
        let mut state = Vec::new();
        for (index, dim) in spatial.iter().enumerate() {
            let (size, stride) = (self.window.size[index], self.window.strides[index]);
            state.push(self.window.edges.padding().windows(*dim, size, stride, self.window.dilation[index])?);
        }
        state.insert(if self.window.channels_first { 0 } else { rank }, Some(self.filters));
        Ok((state, channels))
    }

    /// States of zeros as Keras 2 makes them: the convolution of zeros with zeros.
    fn zeros(&self, cx: &Context<'_>, x: &TensorRef, channels: u64) -> Result<TensorRef> {
        let g = cx.g;
        let x = g.sum(&g.zeros_like(x)?, &[1], false)?;
        let shape = Shape::new(
            [self.window.size.as_slice(), &[channels, self.filters]].concat().into_iter().map(Some).collect::<Vec<_>>(),
        );
        let sizes = g.pack_dims(shape.dims(), |_| refuse!("a kernel has an unknown size"))?;
        let kernel = g.fill(&sizes, &g.scalar(0.0, x.dtype)?, shape)?;
        let y = self.input.of_batch(cx, &self.channels_last(g, &x)?, &kernel)?;
        self.channels_back(g, &y)
    }

    fn channels_last(&self, g: &Graph, x: &TensorRef) -> Result<TensorRef> {
        channels_to_last(g, x, self.window.rank(), self.window.channels_first)
    }

    fn channels_back(&self, g: &Graph, x: &TensorRef) -> Result<TensorRef> {
        channels_to_first(g, x, self.window.rank(), self.window.channels_first)
    }
}

/// The weights of one gate.
struct Gate {
    kernel: TensorRef,
    recurrent: TensorRef,
    bias: Option<TensorRef>,
}

impl Cell for ConvLstmCell {
    fn prepare<'a>(&'a self, cx: &Context<'a>, input: &Shape) -> Result<Prepared<'a>> {
        let (g, all) = (cx.g, times(self.filters, 4)?);
        let (state, channels) = self.state(input)?;
        let shape = |channels: u64| [self.window.size.as_slice(), &[channels, all]].concat();
        let kernel = cx.weight("kernel", &shape(channels))?;
        let recurrent = cx.weight("recurrent_kernel", &shape(self.filters))?;
        let bias = self.use_bias.then(|| cx.weight("bias", &[all])).transpose()?;
        let biases = bias.map(|bias| g.split(&bias, 4, 0)).transpose()?;
        let kernels = g.split(&kernel, 4, -1)?.into_iter().zip(g.split(&recurrent, 4, -1)?);
        let mut gates = Vec::new();
        for (index, (kernel, recurrent)) in kernels.enumerate() {
            let bias = biases.as_ref().map(|biases| biases[index].clone());
            gates.push(Gate { kernel, recurrent, bias });
        }
        let (outer, masks) = (cx.clone(), Masks::default());
        let drawn = masks.clone();
        let prepared = Prepared::new(cx, vec![state; 2], 0, move |g, x, states| {
            let [h, c] = states else { refuse!("an LSTM has two states, and is called with {}", states.len()) };
            self.step(&outer.in_graph(g), &gates, &masks, x, [h, c])
        });
        let prepared = prepared.with_dropout(cx, self.dropout, drawn);
        if !cx.is_keras2() {
            return Ok(prepared);
        }
        let outer = cx.clone();
        Ok(prepared.with_zeros(move |g, x| self.zeros(&outer.in_graph(g), &g.cast(x, outer.policy.compute)?, channels)))
    }
}

impl ConvLstmCell {
    fn step(
        &self,
        cx: &Context<'_>,
        gates: &[Gate],
        masks: &Masks,
        x: &TensorRef,
        [h, c]: [&TensorRef; 2],
    ) -> Result<Stepped> {
        let g = cx.g;
        let c = self.channels_last(g, c)?;
        let mut sums = Vec::new();
        for (index, gate) in gates.iter().enumerate() {
            let x = self.channels_last(g, &masks.input(g, index, x)?)?;
            let h = self.channels_last(g, &masks.state(g, index, h)?)?;
            let mut input = self.input.of_batch(cx, &x, &gate.kernel)?;
            if let Some(bias) = &gate.bias {
                input = self.with_bias(cx, &input, bias)?;
            }
            sums.push(g.add_v2(&input, &self.recurrent.of_batch(cx, &h, &gate.recurrent)?)?);
        }
        let [input, forget, carry, output] = sums.as_slice() else { refuse!("an LSTM has four gates") };
        let input = self.recurrent_activation.apply(cx, input)?;
        let forget = self.recurrent_activation.apply(cx, forget)?;
        let kept = g.mul(&forget, &c)?;
        let carry = g.add_v2(&kept, &g.mul(&input, &self.activation.apply(cx, carry)?)?)?;
        let output = self.recurrent_activation.apply(cx, output)?;
        let h = self.channels_back(g, &g.mul(&output, &self.activation.apply(cx, &carry)?)?)?;
        let carry = self.channels_back(g, &carry)?;
        Ok((h.clone(), vec![h, carry]))
    }

    fn with_bias(&self, cx: &Context<'_>, x: &TensorRef, bias: &TensorRef) -> Result<TensorRef> {
        if cx.is_keras2() {
            return cx.g.bias_add(x, bias);
        }
        let mut shape = vec![Some(1); x.rank()];
        if let Some(last) = shape.last_mut() {
            *last = Some(self.filters);
        }
        cx.g.add_v2(x, &cx.g.reshape(bias, &shape)?)
    }
}
