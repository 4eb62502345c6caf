//! Pooling: over windows, over everything, and to a given size.

use super::conv::{Edges, channels_to_first, channels_to_last, spatial};
use super::normalization::at_least_float32;
use super::{Argument, Arguments, Context, Layer, Masked, finished};
use crate::config::Config;
use crate::graph::{Graph, Padding, TensorRef};
use crate::parse::Parser;
use crate::reason::{Result, refuse};

pub(super) fn build(class: &str, config: &Config<'_>, _parser: &mut Parser<'_>) -> Option<Result<Box<dyn Layer>>> {
    let (name, rank) = match class.as_bytes() {
        [.., rank @ b'1'..=b'3', b'D'] => (&class[..class.len() - 2], usize::from(rank - b'0')),
        _ => return None,
    };
    let kind = if name.contains("Max") { Kind::Max } else { Kind::Average };
    Some(match name {
        "MaxPooling" | "MaxPool" | "AveragePooling" | "AvgPool" => finished(Pooling::new(config, rank, kind), config),
        "GlobalMaxPooling" | "GlobalMaxPool" | "GlobalAveragePooling" | "GlobalAvgPool" => {
            finished(Global::new(config, rank, kind), config)
        }
        "AdaptiveAveragePooling" | "AdaptiveMaxPooling" => finished(Adaptive::new(config, rank, kind), config),
        _ => return None,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Max,
    Average,
}

/// Pooling over windows.
#[derive(Debug)]
struct Pooling {
    kind: Kind,
    size: Vec<u64>,
    strides: Vec<u64>,
    padding: Padding,
    channels_first: bool,
}

impl Pooling {
    fn new(config: &Config<'_>, rank: usize, kind: Kind) -> Result<Self> {
        let size = spatial(config, "pool_size", rank, &[2])?;
        Ok(Self {
            kind,
            strides: spatial(config, "strides", rank, &size)?,
            size,
            padding: Edges::of(config, false)?.padding(),
            channels_first: config.channels_first()?,
        })
    }
}

impl Layer for Pooling {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let (g, rank) = (cx.g, self.size.len());
        check_rank(&x, rank)?;
        let x = channels_to_last(g, &x, rank, self.channels_first)?;
        let y = pool(g, &x, self.kind, (&self.size, &self.strides), self.padding)?;
        Ok(channels_to_first(g, &y, rank, self.channels_first)?.into())
    }
}

/// `MaxPool`, `AvgPool` and their kin of an input whose channels are last.
fn pool(
    g: &Graph,
    x: &TensorRef,
    kind: Kind,
    (size, strides): (&[u64], &[u64]),
    padding: Padding,
) -> Result<TensorRef> {
    let (planar, spatial) = match kind {
        Kind::Max => ("MaxPool", "MaxPool3D"),
        Kind::Average => ("AvgPool", "AvgPool3D"),
    };
    match (size, strides) {
        (&[size], &[stride]) => {
            let y = g.pool_2d(planar, &g.expand_dims(x, 1)?, [1, size], [1, stride], padding)?;
            g.squeeze(&y, &[1])
        }
        (&[rows, columns], &[down, right]) => g.pool_2d(planar, x, [rows, columns], [down, right], padding),
        (&[a, b, c], &[d, e, f]) => g.pool_3d(spatial, x, [a, b, c], [d, e, f], padding),
        _ => refuse!("pooling over {} dimensions is impossible", size.len()),
    }
}

fn check_rank(x: &TensorRef, rank: usize) -> Result<()> {
    if x.rank() != rank + 2 {
        refuse!("its input has shape {}, and rank {} is needed", x.shape, rank + 2);
    }
    Ok(())
}

/// Pooling over all of the spatial dimensions.
#[derive(Debug)]
struct Global {
    kind: Kind,
    rank: usize,
    keep_dims: bool,
    channels_first: bool,
}

impl Global {
    fn new(config: &Config<'_>, rank: usize, kind: Kind) -> Result<Self> {
        Ok(Self { kind, rank, keep_dims: config.bool_or("keepdims", false)?, channels_first: config.channels_first()? })
    }

    /// The average of the steps that the mask keeps.
    fn masked(&self, cx: &Context<'_>, x: &TensorRef, mask: &TensorRef, axes: &[i64]) -> Result<TensorRef> {
        let g = cx.g;
        let mask = g.expand_dims(mask, if self.channels_first { 1 } else { 2 })?;
        let weights = g.cast(&mask, x.dtype)?;
        let kept = if cx.is_keras2() { g.mul(x, &weights)? } else { g.select(&mask, x, &g.scalar(0.0, x.dtype)?)? };
        g.real_div(&g.sum(&kept, axes, self.keep_dims)?, &g.sum(&weights, axes, self.keep_dims)?)
    }
}

impl Layer for Global {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x: Masked = arguments.input()?;
        let g = cx.g;
        check_rank(&x, self.rank)?;
        let first = if self.channels_first { 2 } else { 1 };
        let axes: Vec<i64> = (first..first + self.rank).map(|axis| axis as i64).collect();
        let y = match (self.kind, &x.mask) {
            (Kind::Max, _) => g.max(&x, &axes, self.keep_dims)?,
            (Kind::Average, Some(mask)) if self.rank == 1 => self.masked(cx, &x, mask, &axes)?,
            (Kind::Average, _) => mean(cx, &x, &axes, self.keep_dims)?,
        };
        Ok(y.into())
    }
}

/// The mean, which Keras 3 computes in float32 at least.
fn mean(cx: &Context<'_>, x: &TensorRef, axes: &[i64], keep_dims: bool) -> Result<TensorRef> {
    let g = cx.g;
    let wide = if cx.is_keras2() { x.dtype } else { at_least_float32(x.dtype) };
    let y = g.mean(&g.cast(x, wide)?, axes, keep_dims)?;
    if x.dtype.is_floating() { g.cast(&y, x.dtype) } else { Ok(y) }
}

/// Pooling to a given size.
#[derive(Debug)]
struct Adaptive {
    kind: Kind,
    output: Vec<u64>,
    channels_first: bool,
}

impl Adaptive {
    fn new(config: &Config<'_>, rank: usize, kind: Kind) -> Result<Self> {
        config.required("output_size")?;
        Ok(Self { kind, output: spatial(config, "output_size", rank, &[1])?, channels_first: config.channels_first()? })
    }
}

impl Layer for Adaptive {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let (g, rank) = (cx.g, self.output.len());
        check_rank(&x, rank)?;
        let mut y = channels_to_last(g, &x, rank, self.channels_first)?;
        for (axis, output) in self.output.iter().enumerate() {
            let windows = Windows::new(y.size(axis as i64 + 1)?, *output)?;
            // One pooling for each of the two sizes of windows, of which the wanted ones are taken.
            let pooled = |window: u64| {
                let mut size = vec![1; rank];
                size[axis] = window;
                pool(g, &y, self.kind, (&size, &vec![1; rank]), Padding::Valid)
            };
            let mut both = pooled(windows.small)?;
            if windows.has_big {
                both = g.concat(&[&both, &pooled(windows.small + 1)?], axis as i64 + 1)?;
            }
            y = g.gather(&both, &g.vector_i32(&windows.indices)?, axis as i64 + 1)?;
        }
        Ok(channels_to_first(g, &y, rank, self.channels_first)?.into())
    }
}

/// The windows of adaptive pooling along a dimension.
struct Windows {
    /// The smaller of the two sizes.
    small: u64,
    /// Whether a window of the larger size fits.
    has_big: bool,
    /// Where the results stand among those of the small windows and then the larger ones.
    indices: Vec<i64>,
}

impl Windows {
    fn new(input: u64, output: u64) -> Result<Self> {
        let small = input.div_ceil(output);
        if small == 0 || output > 1 << 20 || input > 1 << 24 {
            refuse!("its input of size {input} cannot be pooled to size {output}");
        }
        let has_big = small < input;
        let of_small = (input - small + 1).max(1);
        // In float32, as Keras computes them.
        let bound = |index: u64| index as f32 * input as f32 / output as f32;
        let indices = (0..output).map(|index| {
            let begin = (bound(index).floor() as u64).min(input - 1);
            let end = (bound(index + 1).ceil() as u64).min(input);
            let is_big = has_big && end.saturating_sub(begin) == small + 1;
            (begin + if is_big { of_small } else { 0 }) as i64
        });
        Ok(Self { small, has_big, indices: indices.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::Windows;

    #[test]
    fn adaptive_windows_cover_the_input() {
        let windows = Windows::new(7, 3).unwrap();
        // [0, 3), [2, 5), [4, 7): all of size 3.
        assert_eq!((windows.small, windows.indices.as_slice()), (3, [0, 2, 4].as_slice()));
        let windows = Windows::new(8, 3).unwrap();
        // [0, 3), [2, 6), [5, 8): the second has size 4, behind 6 windows of size 3.
        assert_eq!((windows.small, windows.indices.as_slice()), (3, [0, 8, 5].as_slice()));
        let windows = Windows::new(4, 1).unwrap();
        assert_eq!((windows.small, windows.has_big, windows.indices.as_slice()), (4, false, [0].as_slice()));
    }
}
