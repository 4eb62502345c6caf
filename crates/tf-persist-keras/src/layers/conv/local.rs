//! `LocallyConnected1D` and `LocallyConnected2D` of Keras 2: convolutions with a kernel of its own for each window.

use tf_persist_savedmodel::{DType, Tensor};

use super::{Edges, activated, channels_to_first, spatial};
use crate::config::Config;
use crate::graph::{Dim, Graph, Shape, TensorRef};
use crate::layers::{Activation, Argument, Arguments, Context, Layer, finished};
use crate::parse::Parser;
use crate::reason::{Result, refuse};

/// The most elements of a table that a layer makes.
const MAX_ELEMENTS: u64 = 1 << 26;

pub(super) fn build(class: &str, config: &Config<'_>, _parser: &mut Parser<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "LocallyConnected1D" => finished(Local::new(config, 1), config),
        "LocallyConnected2D" => finished(Local::new(config, 2), config),
        _ => return None,
    })
}

#[derive(Debug)]
struct Local {
    filters: u64,
    size: Vec<u64>,
    strides: Vec<u64>,
    edges: Edges,
    channels_first: bool,
    implementation: i64,
    use_bias: bool,
    activation: Activation,
}

/// The sizes of a layer's input and output.
struct Sizes {
    input: Vec<u64>,
    output: Vec<u64>,
    channels: u64,
}

impl Local {
    fn new(config: &Config<'_>, rank: usize) -> Result<Self> {
        config.weight_rules(&["kernel", "bias"]);
        config.required("kernel_size")?;
        let layer = Self {
            filters: config.size("filters")?,
            size: spatial(config, "kernel_size", rank, &[1])?,
            strides: spatial(config, "strides", rank, &[1])?,
            edges: Edges::of(config, false)?,
            channels_first: config.channels_first()?,
            implementation: config.int_or("implementation", 1)?,
            use_bias: config.bool_or("use_bias", true)?,
            activation: Activation::of(config, "activation")?,
        };
        match (layer.implementation, layer.edges) {
            (1, Edges::Valid) | (2 | 3, _) => Ok(layer),
            (1, _) => refuse!("`padding` must be `valid` where `implementation` is 1"),
            (other, _) => refuse!("`implementation` is {other}, and should be 1, 2 or 3"),
        }
    }

    fn sizes(&self, x: &TensorRef) -> Result<Sizes> {
        let rank = self.size.len();
        if x.rank() != rank + 2 {
            refuse!("its input has shape {}, and rank {} is needed", x.shape, rank + 2);
        }
        let (first, channels) = if self.channels_first { (2, 1) } else { (1, rank + 1) };
        let (mut input, mut output) = (Vec::new(), Vec::new());
        for axis in 0..rank {
            let size = x.size((first + axis) as i64)?;
            let windows = self.edges.padding().windows(Some(size), self.size[axis], self.strides[axis], 1)?;
            input.push(size);
            output.extend(windows);
        }
        Ok(Sizes { input, output, channels: x.size(channels as i64)? })
    }
}

impl Layer for Local {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let (g, rank) = (cx.g, self.size.len());
        let sizes = self.sizes(&x)?;
        let y = match self.implementation {
            1 => self.by_window(cx, &x, &sizes)?,
            2 => self.by_mask(cx, &x, &sizes)?,
            _ => self.by_indices(cx, &x, &sizes)?,
        };
        if !self.use_bias {
            return activated(cx, &self.activation, &y);
        }
        let mut shape = sizes.output.clone();
        shape.push(self.filters);
        let bias = cx.weight("bias", &shape)?;
        // Keras reshapes the bias where the channels come first, and does not transpose it.
        let dims: Vec<Dim> = [Some(1)].into_iter().chain(y.dims()[1..].iter().copied()).collect();
        debug_assert_eq!(dims.len(), rank + 2);
        let y = g.add_v2(&y, &g.reshape(&bias, &dims)?)?;
        activated(cx, &self.activation, &y)
    }
}

impl Local {
    /// The shape of the output.
    fn shape(&self, x: &TensorRef, sizes: &Sizes) -> Vec<Dim> {
        let spatial = sizes.output.iter().map(|size| Some(*size));
        let batch = x.dims()[0];
        match self.channels_first {
            true => [batch, Some(self.filters)].into_iter().chain(spatial).collect(),
            false => [batch].into_iter().chain(spatial).chain([Some(self.filters)]).collect(),
        }
    }

    /// `implementation` 1: a product of each window with its matrix.
    fn by_window(&self, cx: &Context<'_>, x: &TensorRef, sizes: &Sizes) -> Result<TensorRef> {
        let (g, rank) = (cx.g, self.size.len());
        let (windows, area) = (product(&sizes.output)?, product(&self.size)?);
        let features = product(&[area, sizes.channels])?;
        let kernel = cx.weight("kernel", &[windows, features, self.filters])?;
        let count = product(&[windows, features])?;
        g.program.afford(count.saturating_mul(8))?;
        let mut indices = Vec::with_capacity(count as usize);
        for window in positions(&sizes.output) {
            let corner: Vec<u64> = window.iter().zip(&self.strides).map(|(at, stride)| at * stride).collect();
            for feature in 0..features {
                let (offset, channel) = match self.channels_first {
                    true => (feature % area, feature / area),
                    false => (feature / sizes.channels, feature % sizes.channels),
                };
                let offset = position(&self.size, offset);
                let at: Vec<u64> = corner.iter().zip(&offset).map(|(corner, offset)| corner + offset).collect();
                indices.push(self.index(&sizes.input, &at, sizes.channels, channel) as i64);
            }
        }
        let flat = g.reshape(x, &[None, Some(product(&[product(&sizes.input)?, sizes.channels])?)])?;
        let parts = g.gather(&flat, &g.vector_i32(&indices)?, 1)?;
        let parts = g.reshape(&parts, &[None, Some(windows), Some(features)])?;
        let y = g.batch_mat_mul(&g.transpose(&parts, &[1, 0, 2])?, &kernel, false, false)?;
        let y = g.transpose(&y, &[1, 0, 2])?;
        let dims: Vec<Dim> =
            [None].into_iter().chain(sizes.output.iter().chain([&self.filters]).map(|size| Some(*size))).collect();
        let y = g.reshape(&y, &dims)?;
        channels_to_first(g, &y, rank, self.channels_first)
    }

    /// `implementation` 2: a product with a dense matrix, most of which is zero.
    fn by_mask(&self, cx: &Context<'_>, x: &TensorRef, sizes: &Sizes) -> Result<TensorRef> {
        let g = cx.g;
        let (inputs, outputs) = (product(&sizes.input)?, product(&sizes.output)?);
        let count = product(&[inputs, outputs])?;
        g.program.afford(count)?;
        let mut mask = vec![false; count as usize];
        for (output, window) in positions(&sizes.output).enumerate() {
            for input in self.connected(&sizes.input, &window) {
                mask[(index(&sizes.input, &input) * outputs) as usize + output] = true;
            }
        }
        let (kernel_shape, mask_shape) = match self.channels_first {
            true => (
                [&[sizes.channels][..], &sizes.input, &[self.filters], &sizes.output].concat(),
                [&[1][..], &sizes.input, &[1], &sizes.output].concat(),
            ),
            false => (
                [&sizes.input[..], &[sizes.channels], &sizes.output, &[self.filters]].concat(),
                [&sizes.input[..], &[1], &sizes.output, &[1]].concat(),
            ),
        };
        let kernel = cx.weight("kernel", &kernel_shape)?;
        let mask_shape: Vec<usize> = mask_shape.into_iter().map(|size| size as usize).collect();
        let mask = g.cast(&g.constant(Tensor::from_slice(&mask_shape, &mask)?)?, kernel.dtype)?;
        let inner = product(&[inputs, sizes.channels])?;
        let outer = product(&[outputs, self.filters])?;
        let kernel = g.reshape(&g.mul(&mask, &kernel)?, &[Some(inner), Some(outer)])?;
        let y = g.mat_mul(&g.reshape(x, &[None, Some(inner)])?, &kernel)?;
        self.unflatten(g, x, &y, sizes)
    }

    /// `implementation` 3: a product with a sparse matrix, of which the kernel has the values.
    fn by_indices(&self, cx: &Context<'_>, x: &TensorRef, sizes: &Sizes) -> Result<TensorRef> {
        let g = cx.g;
        let (inputs, outputs) = (product(&sizes.input)?, product(&sizes.output)?);
        let inner = product(&[inputs, sizes.channels])?;
        let outer = product(&[outputs, self.filters])?;
        g.program.afford(product(&[outer, product(&self.size)?, sizes.channels])?.saturating_mul(16))?;
        let mut pairs: Vec<[i64; 2]> = Vec::new();
        for window in positions(&sizes.output) {
            for input in self.connected(&sizes.input, &window) {
                for channel in 0..sizes.channels {
                    let input = self.index(&sizes.input, &input, sizes.channels, channel);
                    for filter in 0..self.filters {
                        let output = self.index(&sizes.output, &window, self.filters, filter);
                        pairs.push([output as i64, input as i64]);
                    }
                }
            }
        }
        pairs.sort_unstable();
        let kernel = cx.weight("kernel", &[pairs.len() as u64])?;
        let indices = g.constant(Tensor::from_slice(&[pairs.len(), 2], pairs.as_flattened())?)?;
        let shape = g.constant(Tensor::from_slice(&[2], &[outer as i64, inner as i64])?)?;
        let flat = g.reshape(x, &[None, Some(inner)])?;
        let attrs = vec![("T", x.dtype.into()), ("Tindices", DType::Int64.into()), ("adjoint_b", true.into())];
        let shape_of_y = Shape::new([Some(outer), flat.dims()[0]]);
        let y = g.add("SparseTensorDenseMatMul", &[&indices, &kernel, &shape, &flat], attrs, x.dtype, shape_of_y)?;
        self.unflatten(g, x, &g.transpose(&y, &[1, 0])?, sizes)
    }

    fn unflatten(&self, g: &Graph, x: &TensorRef, y: &TensorRef, sizes: &Sizes) -> Result<TensorRef> {
        let mut dims = self.shape(x, sizes);
        dims[0] = None;
        g.reshape(y, &dims)
    }

    /// The inputs of a window, which at the edges are fewer.
    fn connected(&self, input: &[u64], window: &[u64]) -> Vec<Vec<u64>> {
        let mut found = vec![Vec::new()];
        for (axis, at) in window.iter().enumerate() {
            let before = self.size[axis] / 2;
            let center = at * self.strides[axis] + if self.edges == Edges::Valid { before } else { 0 };
            let range = center.saturating_sub(before)..(center + self.size[axis] - before).min(input[axis]);
            let next = |begin: Vec<u64>| range.clone().map(move |at| [&begin[..], &[at]].concat());
            found = found.into_iter().flat_map(next).collect();
        }
        found
    }

    /// The index of an element in the flat input or output.
    fn index(&self, sizes: &[u64], at: &[u64], channels: u64, channel: u64) -> u64 {
        match self.channels_first {
            true => channel * sizes.iter().product::<u64>() + index(sizes, at),
            false => index(sizes, at) * channels + channel,
        }
    }
}

/// The product of sizes, within a limit.
fn product(sizes: &[u64]) -> Result<u64> {
    let product = sizes.iter().try_fold(1_u64, |product, size| product.checked_mul(*size));
    match product.filter(|product| *product <= MAX_ELEMENTS) {
        Some(product) => Ok(product),
        None => refuse!("a kernel for each of its windows is too large"),
    }
}

/// All positions in these sizes, the last dimension fastest.
fn positions(sizes: &[u64]) -> impl Iterator<Item = Vec<u64>> + '_ {
    (0..sizes.iter().product()).map(|index| position(sizes, index))
}

/// The position of a flat index.
fn position(sizes: &[u64], mut index: u64) -> Vec<u64> {
    let mut at: Vec<u64> = sizes
        .iter()
        .rev()
        .map(|size| {
            let here = index % size;
            index /= size;
            here
        })
        .collect();
    at.reverse();
    at
}

/// The flat index of a position.
fn index(sizes: &[u64], at: &[u64]) -> u64 {
    sizes.iter().zip(at).fold(0, |index, (size, at)| index * size + at)
}

#[cfg(test)]
mod tests {
    use super::{index, position, positions};

    #[test]
    fn positions_are_in_row_order() {
        let all: Vec<Vec<u64>> = positions(&[2, 3]).collect();
        assert_eq!(all, [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]);
        assert_eq!((index(&[2, 3], &[1, 2]), position(&[2, 3], 5)), (5, vec![1, 2]));
    }
}
