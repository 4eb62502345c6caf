//! `Conv1D`, `Conv2D`, `Conv3D`.

use super::{Window, activated, channels_to_last, dilated, with_bias};
use crate::config::Config;
use crate::graph::{Dim, Graph, Padding, Shape, TensorRef};
use crate::layers::activation::Function;
use crate::layers::{Activation, Argument, Arguments, Context, Layer, finished};
use crate::parse::Parser;
use crate::reason::{Result, refuse};

pub(super) fn build(class: &str, config: &Config<'_>, _parser: &mut Parser<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "Conv1D" | "Convolution1D" => finished(Convolution::new(config, 1), config),
        "Conv2D" | "Convolution2D" => finished(Convolution::new(config, 2), config),
        "Conv3D" | "Convolution3D" => finished(Convolution::new(config, 3), config),
        _ => return None,
    })
}

/// A convolution over one to three dimensions.
#[derive(Debug)]
pub(in crate::layers) struct Convolution {
    filters: u64,
    window: Window,
    groups: u64,
    use_bias: bool,
    activation: Activation,
}

impl Convolution {
    /// In one group, without bias and activation.
    pub(in crate::layers) fn plain(filters: u64, window: Window) -> Self {
        Self { filters, window, groups: 1, use_bias: false, activation: Function::Linear.into() }
    }

    fn new(config: &Config<'_>, rank: usize) -> Result<Self> {
        config.weight_rules(&["kernel", "bias"]);
        // Keras adds the product of the two to the kernel when it saves.
        config.without_effect(&["lora_rank", "lora_alpha"]);
        let window = Window::of(config, rank, rank == 1)?;
        if window.is_dilated() && window.is_strided() {
            refuse!("`strides` and `dilation_rate` are both above 1, which is impossible");
        }
        let (filters, groups) = (config.size("filters")?, config.size_or("groups", 1)?);
        if groups == 0 || filters == 0 || filters % groups != 0 {
            refuse!("{filters} filters cannot be in {groups} groups");
        }
        Ok(Self {
            filters,
            window,
            groups,
            use_bias: config.bool_or("use_bias", true)?,
            activation: Activation::of(config, "activation")?,
        })
    }
}

impl Layer for Convolution {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let (g, rank) = (cx.g, self.window.rank());
        let x = channels_to_last(g, &x, rank, self.window.channels_first)?;
        let channels = x.size(-1)?;
        if channels % self.groups != 0 {
            refuse!("{channels} channels cannot be in {} groups", self.groups);
        }
        let mut shape = self.window.size.clone();
        shape.extend([channels / self.groups, self.filters]);
        let kernel = cx.weight("kernel", &shape)?;
        let bias = self.use_bias.then(|| cx.weight("bias", &[self.filters])).transpose()?;

        let x = self.window.pad_causally(g, &x)?;
        let y = self.convolve(cx, &x, &kernel)?;
        let y = with_bias(cx, &y, bias.as_ref(), rank, self.window.channels_first)?;
        activated(cx, &self.activation, &y)
    }
}

impl Convolution {
    /// The convolution of any number of batch dimensions.
    fn convolve(&self, cx: &Context<'_>, x: &TensorRef, kernel: &TensorRef) -> Result<TensorRef> {
        let (g, inner) = (cx.g, self.window.rank() + 1);
        let Some(outer) = x.rank().checked_sub(inner).filter(|outer| *outer > 0) else {
            refuse!("its input has shape {}, and rank {} is needed", x.shape, inner + 1)
        };
        if outer == 1 {
            return self.of_batch(cx, x, kernel);
        }
        let split = |tensor: &TensorRef| -> Vec<Dim> { tensor.dims()[tensor.rank() - inner..].to_vec() };
        let flat = merge_batch(g, x, &split(x))?;
        let y = self.of_batch(cx, &flat, kernel)?;
        let dims: Vec<Dim> = x.dims()[..outer].iter().copied().chain(split(&y)).collect();
        let sizes = g.pack_dims(&dims, |axis| match axis.checked_sub(outer) {
            None => g.dim_of(x, axis as i64),
            Some(axis) => g.dim_of(&y, axis as i64 + 1),
        })?;
        g.reshape_to(&y, &sizes, Shape::new(dims))
    }

    /// The convolution of one batch dimension. The channels are last.
    pub(in crate::layers) fn of_batch(&self, cx: &Context<'_>, x: &TensorRef, kernel: &TensorRef) -> Result<TensorRef> {
        let padding = self.window.edges.padding();
        if !self.window.is_dilated() {
            return self.undilated(cx, x, kernel, padding);
        }
        dilated(cx.g, x, &self.window.size, &self.window.dilation, padding, |x| {
            self.undilated(cx, x, kernel, Padding::Valid)
        })
    }

    /// Without dilation.
    fn undilated(&self, cx: &Context<'_>, x: &TensorRef, kernel: &TensorRef, padding: Padding) -> Result<TensorRef> {
        let g = cx.g;
        match *self.window.strides.as_slice() {
            [stride] => {
                let (x, kernel) = (g.expand_dims(x, 1)?, g.expand_dims(kernel, 0)?);
                let y = self.planar(cx, &x, &kernel, [1, stride], padding)?;
                g.squeeze(&y, &[1])
            }
            [rows, columns] => self.planar(cx, x, kernel, [rows, columns], padding),
            [depth, rows, columns] => {
                in_groups(g, x, kernel, self.groups, |x, kernel| g.conv_3d(x, kernel, [depth, rows, columns], padding))
            }
            _ => refuse!("a convolution over {} dimensions is impossible", self.window.rank()),
        }
    }

    /// Over two dimensions. Conv2D computes groups, but has no gradient for them on a CPU.
    fn planar(
        &self,
        cx: &Context<'_>,
        x: &TensorRef,
        kernel: &TensorRef,
        strides: [u64; 2],
        padding: Padding,
    ) -> Result<TensorRef> {
        let g = cx.g;
        if self.groups == 1 || !cx.training {
            return g.conv_2d(x, kernel, strides, padding);
        }
        if x.dim(-1)? == Some(self.groups) && strides[0] == strides[1] {
            let [rows, columns, ..] = *kernel.dims() else { refuse!("a kernel has shape {}", kernel.shape) };
            let shape = [rows, columns, Some(self.groups), Some(self.filters / self.groups)];
            return g.depthwise_conv_2d(x, &g.reshape(kernel, &shape)?, strides, padding);
        }
        in_groups(g, x, kernel, self.groups, |x, kernel| g.conv_2d(x, kernel, strides, padding))
    }
}

/// All batch dimensions as one.
fn merge_batch(g: &Graph, x: &TensorRef, inner: &[Dim]) -> Result<TensorRef> {
    let outer = x.rank() - inner.len();
    let mut dims = vec![crate::graph::shape::element_count(&x.dims()[..outer])];
    dims.extend(inner);
    if inner.iter().all(Option::is_some) {
        return g.reshape(x, &dims);
    }
    let sizes = g.pack_dims(&dims, |axis| match axis {
        0 => g.scalar_i32(-1),
        _ => g.dim_of(x, (axis + outer - 1) as i64),
    })?;
    g.reshape_to(x, &sizes, Shape::new(dims))
}

/// A convolution for each group of channels.
fn in_groups(
    g: &Graph,
    x: &TensorRef,
    kernel: &TensorRef,
    groups: u64,
    convolve: impl Fn(&TensorRef, &TensorRef) -> Result<TensorRef>,
) -> Result<TensorRef> {
    if groups == 1 {
        return convolve(x, kernel);
    }
    let count = usize::try_from(groups).unwrap_or(usize::MAX);
    let (inputs, kernels) = (g.split(x, count, -1)?, g.split(kernel, count, -1)?);
    let outputs = inputs.iter().zip(&kernels).map(|(x, kernel)| convolve(x, kernel)).collect::<Result<Vec<_>>>()?;
    g.concat(&outputs.iter().collect::<Vec<_>>(), -1)
}
