//! `Conv1DTranspose`, `Conv2DTranspose`, `Conv3DTranspose`.

use super::{Window, activated, base_padding, channels_to_last, with_bias};
use crate::config::Config;
use crate::graph::{Dim, Graph, Padding, Shape, TensorRef};
use crate::layers::size::{Size, margins, vector};
use crate::layers::{Activation, Argument, Arguments, Context, Layer, finished};
use crate::parse::Parser;
use crate::reason::{Result, refuse};

pub(super) fn build(class: &str, config: &Config<'_>, _parser: &mut Parser<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "Conv1DTranspose" | "Convolution1DTranspose" => finished(Transposed::new(config, 1), config),
        "Conv2DTranspose" | "Convolution2DTranspose" => finished(Transposed::new(config, 2), config),
        "Conv3DTranspose" | "Convolution3DTranspose" => finished(Transposed::new(config, 3), config),
        _ => return None,
    })
}

/// The gradient of a convolution by its input, as a layer.
#[derive(Debug)]
struct Transposed {
    filters: u64,
    window: Window,
    output_padding: Option<Vec<u64>>,
    use_bias: bool,
    activation: Activation,
}

impl Transposed {
    fn new(config: &Config<'_>, rank: usize) -> Result<Self> {
        config.weight_rules(&["kernel", "bias"]);
        config.only("groups", &[1.into()])?;
        let window = Window::of(config, rank, false)?;
        if window.is_dilated() && window.is_strided() {
            refuse!("`strides` and `dilation_rate` are both above 1, which is impossible");
        }
        let output_padding = match config.get("output_padding") {
            None => None,
            Some(_) => Some(output_padding(config, rank)?),
        };
        Ok(Self {
            filters: config.size("filters")?,
            window,
            output_padding,
            use_bias: config.bool_or("use_bias", true)?,
            activation: Activation::of(config, "activation")?,
        })
    }
}

/// `output_padding`.
fn output_padding(config: &Config<'_>, rank: usize) -> Result<Vec<u64>> {
    let sizes = config.ints("output_padding")?;
    let sizes: Vec<u64> = sizes.into_iter().map(u64::try_from).collect::<Result<_, _>>().unwrap_or_default();
    match sizes.as_slice() {
        [one] => Ok(vec![*one; rank]),
        sizes if sizes.len() == rank => Ok(sizes.to_vec()),
        _ => refuse!("`output_padding` should be {rank} sizes"),
    }
}

impl Layer for Transposed {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let (g, rank) = (cx.g, self.window.rank());
        if x.rank() != rank + 2 {
            refuse!("its input has shape {}, and rank {} is needed", x.shape, rank + 2);
        }
        let x = channels_to_last(g, &x, rank, self.window.channels_first)?;
        let mut shape = self.window.size.clone();
        shape.extend([self.filters, x.size(-1)?]);
        let kernel = cx.weight("kernel", &shape)?;
        let bias = self.use_bias.then(|| cx.weight("bias", &[self.filters])).transpose()?;
        let y = self.transposed(cx, &x, &kernel)?;
        let y = with_bias(cx, &y, bias.as_ref(), rank, self.window.channels_first)?;
        activated(cx, &self.activation, &y)
    }
}

impl Transposed {
    /// Of an input whose channels are last.
    fn transposed(&self, cx: &Context<'_>, x: &TensorRef, kernel: &TensorRef) -> Result<TensorRef> {
        let (g, rank) = (cx.g, self.window.rank());
        // Keras 2 ignores the dilation of `Conv3DTranspose`.
        let ones = vec![1; rank];
        let rates = if rank == 3 && cx.is_keras2() { &ones } else { &self.window.dilation };
        let mut sizes = vec![Size::of(g, x, 0)?];
        for (axis, rate) in rates.iter().enumerate() {
            let size = self.length(g, &Size::of(g, x, axis + 1)?, axis, *rate)?;
            let dim = self.window.edges.padding().windows(
                size.dim(),
                self.window.size[axis],
                self.window.strides[axis],
                *rate,
            )?;
            if dim.zip(x.dims()[axis + 1]).is_some_and(|(windows, size)| windows != size) {
                refuse!("its `output_padding` does not fit the strides");
            }
            sizes.push(size);
        }
        sizes.push(self.filters.into());
        let padding = self.window.edges.padding();
        // In training, ops that have gradients. The 2-D layer of Keras 2 always dilates so.
        let splits = rates.iter().any(|rate| *rate != 1) && (cx.training || (cx.is_keras2() && rank == 2));
        if !splits {
            return plain(g, x, kernel, &sizes, (&self.window.strides, rates), padding);
        }
        dilated_transpose(g, x, kernel, &sizes, (&self.window.size, rates), padding)
    }

    /// The size of the result along a spatial dimension.
    fn length(&self, g: &Graph, size: &Size, axis: usize, rate: u64) -> Result<Size> {
        let (kernel, stride) = (self.window.size[axis], self.window.strides[axis]);
        let window = Size::from(kernel.saturating_sub(1)).times(g, &rate.into())?.plus(g, &1.into())?;
        let window = window.dim().unwrap_or(u64::MAX);
        let is_same = self.window.edges.padding() == Padding::Same;
        let steps = |added: u64| {
            let moved = size.minus(g, &1.into())?.times(g, &stride.into())?;
            moved.plus(g, &added.into())
        };
        match (&self.output_padding, is_same) {
            (None, true) => size.times(g, &stride.into()),
            (None, false) => steps(window.max(stride)),
            (Some(padding), true) => steps((window % 2).saturating_add(padding[axis])),
            (Some(padding), false) => steps(window.saturating_add(padding[axis])),
        }
    }
}

/// By one op, to the sizes `[batch, .., channels]`.
fn plain(
    g: &Graph,
    x: &TensorRef,
    kernel: &TensorRef,
    sizes: &[Size],
    (strides, rates): (&[u64], &[u64]),
    padding: Padding,
) -> Result<TensorRef> {
    let shape = |sizes: &[Size]| Shape::new(sizes.iter().map(Size::dim).collect::<Vec<Dim>>());
    let [stride] = *strides else {
        return g.conv_transpose(x, kernel, (&vector(g, sizes)?, shape(sizes)), strides, rates, padding);
    };
    // TensorFlow chooses its algorithm by what it knows of the sizes, which Keras concatenates.
    let [batch, rest @ ..] = sizes else { refuse!("a transposed convolution has no sizes") };
    let batch = [batch.clone()];
    let parts = [vector(g, &batch)?, vector(g, &[Size::from(1)])?, vector(g, rest)?];
    let vector = g.concat(&parts.iter().collect::<Vec<_>>(), 0)?;
    let planar: Vec<Size> = batch.into_iter().chain([Size::from(1)]).chain(rest.iter().cloned()).collect();
    let (x, kernel) = (g.expand_dims(x, 1)?, g.expand_dims(kernel, 0)?);
    let rates = [&[1], rates].concat();
    let y = g.conv_transpose(&x, &kernel, (&vector, shape(&planar)), &[1, stride], &rates, padding)?;
    g.squeeze(&y, &[1])
}

/// The transpose of [`super::dilated`].
fn dilated_transpose(
    g: &Graph,
    x: &TensorRef,
    kernel: &TensorRef,
    sizes: &[Size],
    (window, rates): (&[u64], &[u64]),
    padding: Padding,
) -> Result<TensorRef> {
    let (mut paddings, mut crops) = (Vec::new(), Vec::new());
    let mut inner = vec![sizes[0].clone()];
    for (axis, rate) in rates.iter().enumerate() {
        let (before, after) = base_padding(window[axis], *rate, padding);
        let (before, after) = (Size::from(before), Size::from(after));
        let full = sizes[axis + 1].plus(g, &before)?.plus(g, &after)?;
        let extra = full.fill(g, *rate)?;
        inner[0] = inner[0].times(g, &(*rate).into())?;
        inner.push(full.plus(g, &extra)?.over(g, &(*rate).into())?);
        paddings.push((Size::from(0), extra.clone()));
        crops.push((before, after.plus(g, &extra)?));
    }
    inner.extend(sizes.last().cloned());
    let ones = vec![1; rates.len()];
    let blocks = g.space_to_batch(x, rates, &margins(g, &paddings)?)?;
    let blocks = plain(g, &blocks, kernel, &inner, (&ones, &ones), Padding::Valid)?;
    g.batch_to_space(&blocks, rates, &margins(g, &crops)?)
}
