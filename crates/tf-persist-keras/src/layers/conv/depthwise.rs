//! Convolutions that keep the channels apart: `DepthwiseConv1D`, `DepthwiseConv2D`, and with a convolution of size 1
//! behind them, `SeparableConv1D`, `SeparableConv2D`.

use super::{Edges, Window, activated, channels_to_last, dilated, with_bias};
use crate::config::Config;
use crate::graph::{Graph, Padding, Slice, TensorRef};
use crate::layers::size::{Size, margins};
use crate::layers::{Activation, Argument, Arguments, Context, Layer, finished};
use crate::parse::Parser;
use crate::reason::{Result, refuse};

pub(super) fn build(class: &str, config: &Config<'_>, _parser: &mut Parser<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "DepthwiseConv1D" => finished(Depthwise::new(config, 1, false), config),
        "DepthwiseConv2D" => finished(Depthwise::new(config, 2, false), config),
        "SeparableConv1D" | "SeparableConvolution1D" => finished(Depthwise::new(config, 1, true), config),
        "SeparableConv2D" | "SeparableConvolution2D" => finished(Depthwise::new(config, 2, true), config),
        _ => return None,
    })
}

#[derive(Debug)]
struct Depthwise {
    multiplier: u64,
    /// The filters of the second convolution of a separable one.
    filters: Option<u64>,
    window: Window,
    use_bias: bool,
    activation: Activation,
}

impl Depthwise {
    fn new(config: &Config<'_>, rank: usize, is_separable: bool) -> Result<Self> {
        config.weight_rules(&["kernel", "depthwise", "pointwise", "bias"]);
        config.only("groups", &[1.into()])?;
        if !is_separable {
            // Keras 2 has the key of its parent class.
            config.without_effect(&["filters"]);
        }
        Ok(Self {
            multiplier: config.size_or("depth_multiplier", 1)?,
            filters: if is_separable { Some(config.size("filters")?) } else { None },
            window: Window::of(config, rank, is_separable && rank == 1 && config.is_keras2())?,
            use_bias: config.bool_or("use_bias", true)?,
            activation: Activation::of(config, "activation")?,
        })
    }
}

impl Layer for Depthwise {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let (g, rank) = (cx.g, self.window.rank());
        if x.rank() != rank + 2 {
            refuse!("its input has shape {}, and rank {} is needed", x.shape, rank + 2);
        }
        let x = channels_to_last(g, &x, rank, self.window.channels_first)?;
        let channels = x.size(-1)?;
        let Some(inner) = channels.checked_mul(self.multiplier) else { refuse!("its kernel is too large") };
        let mut shape = self.window.size.clone();
        shape.extend([channels, self.multiplier]);
        let name = if self.filters.is_some() || cx.is_keras2() { "depthwise_kernel" } else { "kernel" };
        let kernel = cx.weight(name, &shape)?;
        let pointwise = match self.filters {
            None => None,
            Some(filters) => {
                let mut shape = vec![1; rank];
                shape.extend([inner, filters]);
                Some(cx.weight("pointwise_kernel", &shape)?)
            }
        };
        let outer = self.filters.unwrap_or(inner);
        let bias = self.use_bias.then(|| cx.weight("bias", &[outer])).transpose()?;

        let mut y = self.window.pad_causally(g, &x)?;
        let mut kernels = (kernel, pointwise);
        if rank == 1 {
            y = g.expand_dims(&y, 1)?;
            kernels.0 = g.expand_dims(&kernels.0, 0)?;
            kernels.1 = kernels.1.map(|kernel| g.expand_dims(&kernel, 0)).transpose()?;
        }
        y = self.convolve(cx, &y, &kernels.0)?;
        if let Some(pointwise) = &kernels.1 {
            y = g.conv_2d(&y, pointwise, [1, 1], Padding::Valid)?;
        }
        // Keras 2 adds the bias before the extra dimension goes, Keras 3 afterwards: the numbers are the same.
        if rank == 1 {
            y = g.squeeze(&y, &[1])?;
        }
        let y = with_bias(cx, &y, bias.as_ref(), rank, self.window.channels_first)?;
        activated(cx, &self.activation, &y)
    }
}

impl Depthwise {
    /// Of two dimensions, of which the first has size 1 if the layer has one.
    fn convolve(&self, cx: &Context<'_>, x: &TensorRef, kernel: &TensorRef) -> Result<TensorRef> {
        let g = cx.g;
        let planar = |sizes: &[u64], of_row: u64| match *sizes {
            [columns] => Ok([of_row, columns]),
            [rows, columns] => Ok([rows, columns]),
            _ => refuse!("a depthwise convolution over {} dimensions is impossible", sizes.len()),
        };
        let (size, rates) = (planar(&self.window.size, 1)?, planar(&self.window.dilation, 1)?);
        let padding = self.window.edges.padding();
        if !self.window.is_dilated() {
            // The native op wants equal strides, which makes no difference in a dimension of size 1.
            let stride = *self.window.strides.last().unwrap_or(&1);
            return g.depthwise_conv_2d(x, kernel, planar(&self.window.strides, stride)?, padding);
        }
        let plain = |x: &TensorRef| g.depthwise_conv_2d(x, kernel, [1, 1], Padding::Valid);
        if !self.window.is_strided() {
            return dilated(g, x, &size, &rates, padding, plain);
        }
        if cx.is_keras2() {
            refuse!("`strides` and `dilation_rate` are both above 1, which Keras 2 does not compute");
        }
        let strides = planar(&self.window.strides, 1)?;
        let x = if self.window.edges == Edges::Same { pad_same(g, x, &size, &strides, &rates)? } else { x.clone() };
        let y = dilated(g, &x, &size, &rates, Padding::Valid, plain)?;
        let every =
            |stride: u64| Slice::Range { begin: None, end: None, stride: i64::try_from(stride).unwrap_or(i64::MAX) };
        g.strided_slice(&y, &[Slice::ALL, every(strides[0]), every(strides[1])])
    }
}

/// Adds what the padding `SAME` would for a window that is both strided and dilated.
fn pad_same(g: &Graph, x: &TensorRef, size: &[u64], strides: &[u64], rates: &[u64]) -> Result<TensorRef> {
    let none = (Size::from(0), Size::from(0));
    let mut paddings = vec![none.clone()];
    for axis in 0..size.len() {
        let window = (size[axis] - 1).saturating_mul(rates[axis]).saturating_add(1);
        let dim = Size::of(g, x, axis + 1)?;
        let stride = Size::from(strides[axis]);
        let count = dim.plus(g, &stride)?.minus(g, &1.into())?.over(g, &stride)?;
        let full = count.minus(g, &1.into())?.times(g, &stride)?.plus(g, &window.into())?;
        let all = match (&full, &dim) {
            (Size::Known(full), Size::Known(dim)) => Size::from(full.saturating_sub(*dim)),
            _ => Size::Computed(g.maximum(&full.minus(g, &dim)?.scalar(g)?, &g.scalar_i32(0)?)?),
        };
        let before = all.over(g, &2.into())?;
        let after = all.minus(g, &before)?;
        paddings.push((before, after));
    }
    paddings.push(none);
    g.pad_by(x, &margins(g, &paddings)?)
}
