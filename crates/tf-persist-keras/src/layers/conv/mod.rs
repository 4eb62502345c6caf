//! Convolutions.

mod convolution;
mod depthwise;
mod local;
#[cfg(test)]
mod tests;
mod transposed;

use super::size::{Size, margins};
use super::{Argument, Context, Layer};
use crate::config::Config;
use crate::graph::{Graph, Padding, TensorRef};
use crate::parse::Parser;
use crate::reason::{Result, refuse, shown_name};
pub(super) use convolution::Convolution;

pub(super) fn build(class: &str, config: &Config<'_>, parser: &mut Parser<'_>) -> Option<Result<Box<dyn Layer>>> {
    convolution::build(class, config, parser)
        .or_else(|| transposed::build(class, config, parser))
        .or_else(|| depthwise::build(class, config, parser))
        .or_else(|| local::build(class, config, parser))
}

/// A convolution with a kernel that is not a weight. The channels are last; strides and dilation have an entry for each
/// spatial dimension.
pub(crate) fn convolve(
    cx: &Context<'_>,
    x: &TensorRef,
    kernel: &TensorRef,
    (strides, dilation): (Vec<u64>, Vec<u64>),
    padding: Padding,
) -> Result<TensorRef> {
    let size = (0..strides.len()).map(|axis| kernel.size(axis as i64)).collect::<Result<Vec<_>>>()?;
    let edges = if padding == Padding::Same { Edges::Same } else { Edges::Valid };
    let window = Window { size, strides, dilation, edges, channels_first: false };
    Convolution::plain(kernel.size(-1)?, window).of_batch(cx, x, kernel)
}

/// How a window treats the edges of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edges {
    Same,
    Valid,
    /// Padded at the beginning only, so that no step sees a later one.
    Causal,
}

impl Edges {
    /// The key `padding`.
    pub(super) fn of(config: &Config<'_>, allow_causal: bool) -> Result<Self> {
        let name = config.str_or("padding", "valid")?;
        match name.to_ascii_lowercase().as_str() {
            "same" => Ok(Self::Same),
            "valid" => Ok(Self::Valid),
            "causal" if allow_causal => Ok(Self::Causal),
            _ => refuse!("`padding` is `{}`, which is not supported", shown_name(name)),
        }
    }

    /// The padding of the op, once causal padding is applied.
    pub(super) fn padding(self) -> Padding {
        match self {
            Self::Same => Padding::Same,
            Self::Valid | Self::Causal => Padding::Valid,
        }
    }
}

/// The window of a convolution. Each list has an entry for each spatial dimension.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub(super) size: Vec<u64>,
    pub(super) strides: Vec<u64>,
    pub(super) dilation: Vec<u64>,
    pub(super) edges: Edges,
    pub(super) channels_first: bool,
}

impl Window {
    /// Reads `kernel_size`, `strides`, `dilation_rate`, `padding` and `data_format`.
    pub(super) fn of(config: &Config<'_>, rank: usize, allow_causal: bool) -> Result<Self> {
        config.required("kernel_size")?;
        Ok(Self {
            size: spatial(config, "kernel_size", rank, &[1])?,
            strides: spatial(config, "strides", rank, &[1])?,
            dilation: spatial(config, "dilation_rate", rank, &[1])?,
            edges: Edges::of(config, allow_causal)?,
            channels_first: config.channels_first()?,
        })
    }

    pub(super) fn rank(&self) -> usize {
        self.size.len()
    }

    pub(super) fn is_dilated(&self) -> bool {
        self.dilation.iter().any(|rate| *rate > 1)
    }

    pub(super) fn is_strided(&self) -> bool {
        self.strides.iter().any(|stride| *stride > 1)
    }

    /// Pads the beginning if the window is causal. The channels are last.
    pub(super) fn pad_causally(&self, g: &Graph, x: &TensorRef) -> Result<TensorRef> {
        if self.edges != Edges::Causal {
            return Ok(x.clone());
        }
        let mut paddings = vec![(0, 0); x.rank()];
        if let Some(time) = x.rank().checked_sub(2) {
            paddings[time] = (self.dilation[0].saturating_mul(self.size[0].saturating_sub(1)), 0);
        }
        g.pad(x, &paddings, None)
    }
}

/// Sizes of the spatial dimensions, of which none is zero: one for all, or one for each.
pub(super) fn spatial(config: &Config<'_>, key: &str, rank: usize, default: &[u64]) -> Result<Vec<u64>> {
    let sizes = match config.get(key) {
        None => default.to_vec(),
        Some(_) => config.ints(key)?.into_iter().map(|size| u64::try_from(size).unwrap_or(0)).collect(),
    };
    let sizes = match sizes.as_slice() {
        [one] => vec![*one; rank],
        _ => sizes,
    };
    // Keras itself counts elements in 32 bits.
    if sizes.len() != rank || sizes.iter().any(|size| *size == 0 || *size > u64::from(u32::MAX)) {
        refuse!("`{key}` is {sizes:?}, and should be {rank} sizes");
    }
    Ok(sizes)
}

/// The axes of the spatial dimensions.
pub(super) fn spatial_axes(x: &TensorRef, rank: usize, channels_first: bool) -> Result<std::ops::Range<usize>> {
    if x.rank() != rank + 2 {
        refuse!("its input has shape {}, and rank {} is needed", x.shape, rank + 2);
    }
    let first = if channels_first { 2 } else { 1 };
    Ok(first..first + rank)
}

/// The same tensor with the channels behind the spatial dimensions.
pub(super) fn channels_to_last(g: &Graph, x: &TensorRef, rank: usize, channels_first: bool) -> Result<TensorRef> {
    if !channels_first {
        return Ok(x.clone());
    }
    let Some(axis) = x.rank().checked_sub(rank + 1).filter(|axis| *axis > 0) else {
        refuse!("its input has shape {}, and rank {} is needed", x.shape, rank + 2)
    };
    let order: Vec<usize> = (0..axis).chain(axis + 1..x.rank()).chain([axis]).collect();
    g.transpose(x, &order)
}

/// Undoes [`channels_to_last`].
pub(super) fn channels_to_first(g: &Graph, x: &TensorRef, rank: usize, channels_first: bool) -> Result<TensorRef> {
    if !channels_first {
        return Ok(x.clone());
    }
    let Some(axis) = x.rank().checked_sub(rank + 1).filter(|axis| *axis > 0) else {
        refuse!("its input has shape {}, and rank {} is needed", x.shape, rank + 2)
    };
    let order: Vec<usize> = (0..axis).chain([x.rank() - 1]).chain(axis..x.rank() - 1).collect();
    g.transpose(x, &order)
}

/// Adds a bias to the channels, which are last, and moves them to the front if they are to be there.
///
/// Keras 3 recognizes a bias by its shape and takes the last dimension where it has as many elements as there are
/// channels, even if the channels are the second.
pub(super) fn with_bias(
    cx: &Context<'_>,
    y: &TensorRef,
    bias: Option<&TensorRef>,
    rank: usize,
    channels_first: bool,
) -> Result<TensorRef> {
    let g = cx.g;
    let Some(bias) = bias else { return channels_to_first(g, y, rank, channels_first) };
    let channels = bias.size(0)?;
    if channels == 1 && !cx.is_keras2() {
        let bias = g.reshape(bias, &vec![Some(1); y.rank()])?;
        return channels_to_first(g, &g.add_v2(y, &bias)?, rank, channels_first);
    }
    let takes_last = channels_first && !cx.is_keras2() && y.dim(-2)? == Some(channels);
    if takes_last {
        return g.bias_add(&channels_to_first(g, y, rank, channels_first)?, bias);
    }
    channels_to_first(g, &g.bias_add(y, bias)?, rank, channels_first)
}

/// Emits `op`, a convolution with stride 1, on every `rate`th element of its input by moving the others to the batch,
/// as TensorFlow does for dilated convolutions. The channels are last.
pub(super) fn dilated(
    g: &Graph,
    x: &TensorRef,
    size: &[u64],
    rates: &[u64],
    padding: Padding,
    op: impl FnOnce(&TensorRef) -> Result<TensorRef>,
) -> Result<TensorRef> {
    let (mut paddings, mut crops) = (Vec::new(), Vec::new());
    for (index, (size, rate)) in size.iter().zip(rates).enumerate() {
        let (before, after) = base_padding(*size, *rate, padding);
        let (before, after) = (Size::from(before), Size::from(after));
        let extra = Size::of(g, x, index + 1)?.plus(g, &before)?.plus(g, &after)?.fill(g, *rate)?;
        paddings.push((before, after.plus(g, &extra)?));
        crops.push((Size::from(0), extra));
    }
    let (paddings, crops) = (margins(g, &paddings)?, margins(g, &crops)?);
    let blocks = g.space_to_batch(x, rates, &paddings)?;
    g.batch_to_space(&op(&blocks)?, rates, &crops)
}

/// What the padding `SAME` adds for a dilated window, before the input is filled up to whole blocks.
fn base_padding(size: u64, rate: u64, padding: Padding) -> (u64, u64) {
    match padding {
        Padding::Valid => (0, 0),
        Padding::Same => {
            let all = size.saturating_sub(1).saturating_mul(rate);
            (all / 2, all - all / 2)
        }
    }
}

/// The activation at the end of a layer.
fn activated(cx: &Context<'_>, activation: &super::Activation, y: &TensorRef) -> Result<Argument> {
    Ok(activation.apply(cx, y)?.into())
}
