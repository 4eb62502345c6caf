//! `ContrastLimitedAdaptiveHistogramEqualization`.

use tf_persist_savedmodel::{DType, Tensor};

use super::{Batch, clip, converted, to_range, value_range};
use crate::config::Config;
use crate::graph::{Dim, Graph, Shape, Slice, TensorRef};
use crate::layers::{Argument, Arguments, Context, Layer, finished};
use crate::reason::{Result, refuse};

pub(super) fn build(class: &str, config: &Config<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "ContrastLimitedAdaptiveHistogramEqualization" => finished(Equalization::new(config), config),
        _ => return None,
    })
}

/// The number of values of a histogram.
const BINS: u64 = 256;

/// Maps values so that each tile of an image uses the whole range, and interpolates between tiles.
#[derive(Debug)]
struct Equalization {
    range: [f64; 2],
    clip_limit: f64,
    grid: [u64; 2],
    channels_first: bool,
}

impl Equalization {
    fn new(config: &Config<'_>) -> Result<Self> {
        config.without_effect(&["bounding_box_format", "factor"]);
        let grid: [u64; 2] = config.sizes("tile_grid_size", 8)?;
        if grid.iter().any(|count| *count == 0 || *count > 1 << 12) {
            refuse!("`tile_grid_size` is {grid:?}, which is not supported");
        }
        Ok(Self {
            range: value_range(config)?,
            clip_limit: config.float_or("clip_limit", 4.0)?,
            grid,
            channels_first: config.channels_first()?,
        })
    }
}

impl Layer for Equalization {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let g = cx.g;
        let batch = Batch::new(g, &converted(cx, &x)?, self.channels_first)?;
        let dtype = batch.images.dtype;
        // Keras casts to float32 only where the range changes.
        let mut images = batch.images.clone();
        if self.range != [0.0, 255.0] {
            images = to_range(g, &g.cast(&images, DType::Float32)?, self.range, [0.0, 255.0])?;
        }
        let y = Tiles::new(self.grid, &images)?.equalized(g, &images, self.clip_limit)?;
        let y = g.cast(&to_range(g, &y, [0.0, 255.0], self.range)?, dtype)?;
        Ok(batch.undo(g, &y)?.into())
    }

    fn casts_inputs(&self) -> bool {
        false
    }
}

/// The tiles of an image.
struct Tiles {
    grid: [u64; 2],
    /// Height and width of an image.
    size: [u64; 2],
    /// Height and width of a tile.
    tile: [u64; 2],
    channels: u64,
    batch: Dim,
}

impl Tiles {
    fn new(grid: [u64; 2], images: &TensorRef) -> Result<Self> {
        let size = [images.size(1)?, images.size(2)?];
        let tile = [size[0].div_ceil(grid[0]), size[1].div_ceil(grid[1])];
        let channels = images.size(3)?;
        let fits = (0..2).all(|axis| tile[axis] > 0 && tile[axis] * grid[axis] - size[axis] <= size[axis]);
        if !fits || size.iter().any(|size| *size > 1 << 16) || channels > 1 << 16 {
            refuse!("images of {} by {} pixels cannot be in {} by {} tiles", size[0], size[1], grid[0], grid[1]);
        }
        Ok(Self { grid, size, tile, channels, batch: images.dims()[0] })
    }

    /// The size of an axis in whole tiles.
    fn padded(&self, axis: usize) -> u64 {
        self.tile[axis] * self.grid[axis]
    }

    fn equalized(&self, g: &Graph, images: &TensorRef, clip_limit: f64) -> Result<TensorRef> {
        let images = self.filled(g, images)?;
        let table = self.table(g, &self.histograms(g, &images)?, clip_limit)?;
        let y = self.looked_up(g, &images, &table)?;
        let bound = |axis: usize| Slice::range(None, self.size[axis] as i64);
        g.strided_slice(&y, &[Slice::ALL, bound(0), bound(1)])
    }

    /// Adds mirrored rows and columns to whole tiles.
    fn filled(&self, g: &Graph, images: &TensorRef) -> Result<TensorRef> {
        let added = |axis: usize| (0, self.padded(axis) - self.size[axis]);
        if added(0).1 == 0 && added(1).1 == 0 {
            return Ok(images.clone());
        }
        g.mirror_pad(images, &[(0, 0), added(0), added(1), (0, 0)], "SYMMETRIC")
    }

    /// How often each value is in each tile: `[batch, rows, columns, channels, bins]`.
    fn histograms(&self, g: &Graph, images: &TensorRef) -> Result<TensorRef> {
        let [rows, columns] = self.grid.map(Some);
        let [height, width] = self.tile.map(Some);
        let channels = Some(self.channels);
        let tiles = g.reshape(images, &[self.batch, rows, height, columns, width, channels])?;
        let tiles = g.transpose(&tiles, &[0, 1, 3, 5, 2, 4])?;
        let pixels = Some(self.tile[0] * self.tile[1]);
        let values = g.cast(&g.reshape(&tiles, &[self.batch, rows, columns, channels, pixels])?, DType::Int32)?;
        let values = clip(g, &values, 0.0, 255.0)?;
        let marks = g.one_hot(&g.cast(&values, DType::Int64)?, BINS, -1, DType::Float32)?;
        g.sum(&marks, &[-2], false)
    }

    /// What each value becomes in each tile, with a border of copied tiles, flat.
    fn table(&self, g: &Graph, histograms: &TensorRef, clip_limit: f64) -> Result<TensorRef> {
        let pixels = (self.tile[0] * self.tile[1]) as f64;
        let mut counts = histograms.clone();
        if clip_limit > 0.0 {
            let clipped = clip(g, &counts, 0.0, clip_limit * pixels / 256.0)?;
            let excess = g.sum(&g.sub(&counts, &clipped)?, &[-1], true)?;
            counts = g.add_v2(&clipped, &g.with_scalar(&excess, 256.0, Graph::real_div)?)?;
        }
        let sums = g.cumulate("Cumsum", &counts, -1, false)?;
        let least = g.min(&sums, &[-1], true)?;
        let above = g.with_scalar(&g.sub(&sums, &least)?, 255.0, Graph::mul)?;
        let all = g.sub(&g.scalar(pixels, DType::Float32)?, &least)?;
        let is_zero = g.with_scalar(&all, 0.0, Graph::equal)?;
        let all = g.select(&is_zero, &g.ones_like(&all)?, &all)?;
        let mut table = clip(g, &g.real_div(&above, &all)?, 0.0, 255.0)?;
        for axis in 1..3 {
            let mut slices = vec![Slice::ALL; axis];
            slices.push(Slice::range(0, 1));
            let first = g.strided_slice(&table, &slices)?;
            slices[axis] = Slice::range(-1, None);
            let last = g.strided_slice(&table, &slices)?;
            table = g.concat(&[&first, &table, &last], axis as i64)?;
        }
        g.reshape(&table, &[None])
    }

    /// What each pixel becomes: the four tiles around it, weighted.
    fn looked_up(&self, g: &Graph, images: &TensorRef, table: &TensorRef) -> Result<TensorRef> {
        let of_column = BINS * self.channels;
        let of_row = of_column * (self.grid[1] + 2);
        let of_image = of_row * (self.grid[0] + 2);
        if i32::try_from(of_image).is_err() {
            refuse!("{:?} tiles of {} channels are too many", self.grid, self.channels);
        }
        let pixels = g.cast(&clip(g, images, 0.0, 255.0)?, DType::Int32)?;
        let (zero, one) = (g.scalar_i32(0)?, g.scalar_i32(1)?);
        let numbers = g.range(&zero, &g.dim_of(images, 0)?, &one, self.batch)?;
        let mut numbers = numbers;
        for _ in 0..3 {
            numbers = g.expand_dims(&numbers, -1)?;
        }
        let scale = |x: &TensorRef, by: u64| g.mul(x, &g.scalar_i32(i32::try_from(by).unwrap_or(i32::MAX))?);
        let channels: Vec<i64> = (0..self.channels).map(|channel| (channel * BINS) as i64).collect();
        let base = g.add_v2(&g.add_v2(&scale(&numbers, of_image)?, &g.vector_i32(&channels)?)?, &pixels)?;

        let rows = self.weights(g, 0, of_row)?;
        let columns = self.weights(g, 1, of_column)?;
        let value = |row: usize, column: usize| {
            let index = g.add_v2(&g.add_v2(&base, &rows.offsets[row])?, &columns.offsets[column])?;
            g.gather(table, &index, 0)
        };
        let mix = |a: &TensorRef, b: &TensorRef, weight: &TensorRef| {
            let rest = g.sub(&g.scalar(1.0, weight.dtype)?, weight)?;
            g.add_v2(&g.mul(a, &rest)?, &g.mul(b, weight)?)
        };
        let top = mix(&value(0, 0)?, &value(0, 1)?, &columns.weight)?;
        let bottom = mix(&value(1, 0)?, &value(1, 1)?, &columns.weight)?;
        mix(&top, &bottom, &rows.weight)
    }

    /// The tiles before and behind each row or column of pixels.
    fn weights(&self, g: &Graph, axis: usize, stride: u64) -> Result<Neighbors> {
        let count = self.padded(axis);
        let size = self.tile[axis] as f32;
        let mut offsets = [Vec::new(), Vec::new()];
        let mut weights = Vec::new();
        for pixel in 0..count {
            let at = (pixel as f32 - size / 2.0) / size + 1.0;
            let before = at.floor();
            weights.push(at - before);
            for (offsets, tile) in offsets.iter_mut().zip([before, before + 1.0]) {
                offsets.push(tile.clamp(0.0, (self.grid[axis] + 1) as f32) as i64 * stride as i64);
            }
        }
        let shape: [usize; 3] = if axis == 0 { [weights.len(), 1, 1] } else { [1, weights.len(), 1] };
        let dims: Vec<Dim> = Shape::of_sizes(&shape).dims().to_vec();
        let placed = |values: &[i64]| g.reshape(&g.vector_i32(values)?, &dims);
        Ok(Neighbors {
            offsets: [placed(&offsets[0])?, placed(&offsets[1])?],
            weight: g.constant(Tensor::from_slice(&shape, &weights)?)?,
        })
    }
}

/// The two tiles around each row or column of pixels.
struct Neighbors {
    /// Where their tables begin.
    offsets: [TensorRef; 2],
    /// How much the second counts.
    weight: TensorRef,
}
