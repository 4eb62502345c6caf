//! Operations that are layers without weights.

use serde_json::{Map, Value, json};
use tf_persist_savedmodel::DType;

use super::call::Call;
use super::dtypes::{Kind, result_type};
use super::{Entry, op};
use crate::config::{Config, Dialect, Policy};
use crate::graph::{Padding, TensorRef};
use crate::layers::{self, Argument, Arguments};
use crate::parse::Parser;
use crate::reason::{Result, refuse};

pub(super) const TABLE: &[Entry] = &[
    op("MaxPool", "inputs", "pool_size strides padding data_format", |c| windows(c, "MaxPooling")),
    op("AveragePool", "inputs", "pool_size strides padding data_format", |c| windows(c, "AveragePooling")),
    op("AdaptiveMaxPool", "inputs", "output_size data_format", |c| windows(c, "AdaptiveMaxPooling")),
    op("AdaptiveAveragePool", "inputs", "output_size data_format", |c| windows(c, "AdaptiveAveragePooling")),
    op("Conv", "inputs kernel", "strides padding data_format dilation_rate", convolution),
    op("Correlate", "x1 x2", "mode", correlate),
    op(
        "Resize",
        "images",
        "size interpolation antialias crop_to_aspect_ratio pad_to_aspect_ratio fill_mode fill_value data_format",
        resize,
    ),
];

/// Pooling of one to three dimensions, by the rank of the input.
fn windows(c: &mut Call<'_>, class: &str) -> Result<Argument> {
    let x = c.tensor("inputs")?;
    let Some(rank) = x.rank().checked_sub(2).filter(|rank| (1..=3).contains(rank)) else {
        refuse!("its input has shape {}, and rank 3, 4 or 5 is needed", x.shape)
    };
    by_layer(c, &format!("{class}{rank}D"), c.parameters.clone(), &x)
}

fn resize(c: &mut Call<'_>) -> Result<Argument> {
    let images = c.tensor("images")?;
    let [height, width] = c.ints("size")?[..] else { refuse!("`size` should be a height and a width") };
    let mut config = c.parameters.clone();
    config.remove("size");
    config.insert("height".to_owned(), json!(height));
    config.insert("width".to_owned(), json!(width));
    by_layer(c, "Resizing", config, &images)
}

/// What a layer makes of a tensor, computed in the tensor's dtype.
fn by_layer(c: &Call<'_>, class: &str, config: Map<String, Value>, x: &TensorRef) -> Result<Argument> {
    let mut parser = Parser::new(Dialect::Keras3);
    let config = Config::new(&config, Dialect::Keras3);
    let Some(layer) = layers::build(class, &config, &mut parser) else { refuse!("the layer `{class}` is not known") };
    let mut cx = c.cx.clone();
    cx.policy = Policy { compute: x.dtype, variable: x.dtype, quantization: None };
    layer?.call(&cx, &mut Arguments::new(vec![x.clone().into()], Vec::new()))
}

/// A convolution with a kernel that is not a weight.
fn convolution(c: &mut Call<'_>) -> Result<Argument> {
    let (x, kernel) = (c.tensor("inputs")?, c.tensor("kernel")?);
    let Some(rank) = x.rank().checked_sub(2).filter(|rank| (1..=3).contains(rank) && kernel.rank() == rank + 2) else {
        refuse!("a kernel of shape {} does not fit shape {}", kernel.shape, x.shape)
    };
    let mut sizes = |name: &str| -> Result<Vec<u64>> {
        let sizes = c.ints_or_none(name)?.unwrap_or_else(|| vec![1]);
        let sizes = if sizes.len() == 1 { vec![sizes[0]; rank] } else { sizes };
        let sizes = sizes.iter().map(|size| u64::try_from(*size).ok().filter(|size| *size > 0));
        match sizes.collect::<Option<Vec<_>>>().filter(|sizes| sizes.len() == rank) {
            Some(sizes) => Ok(sizes),
            None => refuse!("`{name}` does not fit {rank} dimensions"),
        }
    };
    let (strides, dilation) = (sizes("strides")?, sizes("dilation_rate")?);
    let padding = match c.text_or("padding", "valid")?.to_ascii_lowercase().as_str() {
        "valid" => Padding::Valid,
        "same" => Padding::Same,
        other => refuse!("`padding` is `{}`, and should be `valid` or `same`", other.escape_debug()),
    };
    let channels_first = c.channels_first()?;
    let moved = |x: &TensorRef, from: i64, to: i64| match channels_first {
        true => super::shapes::move_axes(c.g, x, &[from], &[to]),
        false => Ok(x.clone()),
    };
    let y = layers::convolve(c.cx, &moved(&x, 1, -1)?, &kernel, (strides, dilation), padding)?;
    Ok(moved(&y, -1, 1)?.into())
}

/// The sums of products of two vectors at each shift.
fn correlate(c: &mut Call<'_>) -> Result<Argument> {
    let (a, b) = (c.tensor("x1")?, c.tensor("x2")?);
    let g = c.g;
    let dtype = match result_type(&[Kind::Typed(a.dtype), Kind::Typed(b.dtype)])? {
        DType::Int64 => DType::Float64,
        dtype if dtype.is_floating() => dtype,
        _ => DType::Float32,
    };
    let (a, b) = (g.cast(&a, dtype)?, g.cast(&b, dtype)?);
    if a.rank() != 1 || b.rank() != 1 {
        refuse!("its inputs have shapes {} and {}, and rank 1 is needed", a.shape, b.shape);
    }
    let (n, m) = (a.size(0)?, b.size(0)?);
    let mode = c.text_or("mode", "valid")?;
    let padded = match mode.as_str() {
        "valid" => a,
        "full" | "same" => g.pad(&a, &[(m.saturating_sub(1), m.saturating_sub(1))], None)?,
        other => refuse!("`mode` is `{}`, and should be `full`, `same` or `valid`", other.escape_debug()),
    };
    let x = g.reshape(&padded, &[Some(1), Some(1), padded.dims()[0], Some(1)])?;
    let kernel = g.reshape(&b, &[Some(1), Some(m), Some(1), Some(1)])?;
    let y = g.reshape(&g.conv_2d(&x, &kernel, [1, 1], Padding::Valid)?, &[None])?;
    if mode != "same" {
        return Ok(y.into());
    }
    let length = n.max(m);
    let start = ((n + m).saturating_sub(1) - length) / 2;
    let range = crate::graph::Slice::range(start as i64, (start + length) as i64);
    Ok(g.strided_slice(&y, &[range])?.into())
}
