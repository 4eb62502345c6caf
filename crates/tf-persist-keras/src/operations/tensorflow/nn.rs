//! Functions of `tf.nn`, `tf.image` and `tf.keras.activations`.

use super::super::call::Call;
use super::super::reductions::moments;
use super::super::{Entry, op};
use crate::graph::{Dim, Graph, Shape, TensorRef};
use crate::layers::Argument;
use crate::layers::activation::Function;
use crate::reason::{Result, refuse};

pub(super) const TABLE: &[Entry] = &[
    op("nn.relu", "features", "", |c| c.one("features", Graph::relu)),
    op("nn.relu6", "features", "", |c| c.one("features", Graph::relu6)),
    op("nn.elu", "features", "", |c| c.one("features", Graph::elu)),
    op("nn.selu", "features", "", |c| c.one("features", Graph::selu)),
    op("nn.softsign", "features", "", |c| c.one("features", Graph::softsign)),
    op("nn.softplus", "features", "", |c| c.one("features", Graph::softplus)),
    op("nn.sigmoid", "x", "", |c| c.one("x", Graph::sigmoid)),
    op("nn.tanh", "x", "", |c| c.one("x", Graph::tanh)),
    op("nn.leaky_relu", "features alpha", "", |c| {
        let alpha = c.float_or("alpha", 0.2)?;
        c.one("features", |g, x| g.leaky_relu(x, alpha as f32))
    }),
    op("nn.gelu", "features approximate", "", |c| {
        let approximate = c.bool_or("approximate", false)?;
        c.activated("features", Function::Gelu { approximate })
    }),
    op("nn.silu", "features beta", "", silu),
    op("nn.swish", "features beta", "", silu),
    op("nn.softmax", "logits axis", "", |c| {
        let axis = Some(c.int_or("axis", -1)?);
        c.activated("logits", Function::Softmax { axis })
    }),
    op("nn.log_softmax", "logits axis", "", |c| {
        let axis = Some(c.int_or("axis", -1)?);
        c.activated("logits", Function::LogSoftmax { axis })
    }),
    op("nn.bias_add", "value bias data_format", "", |c| {
        let x = c.tensor("value")?;
        let Some(bias) = c.typed("bias", x.dtype)? else { refuse!("it is called without `bias`") };
        match c.text_or("data_format", "NHWC")?.as_str() {
            format if format.starts_with("NC") => Ok(c.g.bias_add_second(&x, &bias)?.into()),
            _ => Ok(c.g.bias_add(&x, &bias)?.into()),
        }
    }),
    op("nn.moments", "x axes shift keepdims", "", |c| {
        let (x, keep) = (c.tensor("x")?, c.bool_or("keepdims", false)?);
        let axes = c.axes("axes", x.rank())?;
        c.value("shift")?;
        let (mean, variance) = moments(c.g, &x, &axes, keep)?;
        Ok(Argument::List(vec![mean.into(), variance.into()]))
    }),
    op("nn.batch_normalization", "x mean variance offset scale variance_epsilon", "", batch_normalization),
    op("nn.depth_to_space", "input block_size data_format", "", |c| blocks(c, "DepthToSpace")),
    op("nn.space_to_depth", "input block_size data_format", "", |c| blocks(c, "SpaceToDepth")),
    op("nn.dropout", "x rate noise_shape seed", "", |c| {
        // A call of TensorFlow's function drops elements always.
        match c.float_or_none("rate")? {
            Some(0.0) => c.one("x", Graph::identity),
            _ => refuse!("it drops elements at random"),
        }
    }),
    op("image.flip_left_right", "image", "", |c| c.one("image", |g, x| g.reverse(x, &[x.rank() as i64 - 2]))),
    op("image.flip_up_down", "image", "", |c| c.one("image", |g, x| g.reverse(x, &[x.rank() as i64 - 3]))),
    op("keras.activations.relu", "x alpha max_value threshold", "", relu),
    op("keras.activations.elu", "x alpha", "", |c| {
        let alpha = c.float_or("alpha", 1.0)?;
        c.activated("x", Function::Elu { alpha })
    }),
    op("keras.activations.softmax", "x axis", "", |c| {
        let axis = Some(c.int_or("axis", -1)?);
        c.activated("x", Function::Softmax { axis })
    }),
    op("keras.activations.gelu", "x approximate", "", |c| {
        let approximate = c.bool_or("approximate", false)?;
        c.activated("x", Function::Gelu { approximate })
    }),
    op("keras.activations.sigmoid", "x", "", |c| c.activated("x", Function::Sigmoid)),
    op("keras.activations.tanh", "x", "", |c| c.activated("x", Function::Tanh)),
    op("keras.activations.swish", "x", "", |c| c.activated("x", Function::Silu)),
    op("keras.activations.selu", "x", "", |c| c.activated("x", Function::Selu)),
    op("keras.activations.softplus", "x", "", |c| c.activated("x", Function::Softplus)),
    op("keras.activations.softsign", "x", "", |c| c.activated("x", Function::Softsign)),
    op("keras.activations.exponential", "x", "", |c| c.activated("x", Function::Exponential)),
    op("keras.activations.hard_sigmoid", "x", "", |c| c.activated("x", Function::HardSigmoid)),
    op("keras.activations.linear", "x", "", |c| c.activated("x", Function::Linear)),
    op("keras.activations.mish", "x", "", |c| c.activated("x", Function::Mish)),
];

impl Call<'_> {
    fn activated(&mut self, name: &str, function: Function) -> Result<Argument> {
        let x = self.tensor(name)?;
        Ok(function.apply(self.g, self.cx.dialect, &x)?.into())
    }
}

fn silu(c: &mut Call<'_>) -> Result<Argument> {
    match c.float_or("beta", 1.0)? {
        1.0 => c.activated("features", Function::Silu),
        beta => refuse!("`beta` is {beta}, and only 1 is supported"),
    }
}

pub(super) fn relu(c: &mut Call<'_>) -> Result<Argument> {
    let (negative_slope, threshold) = (c.float_or("alpha", 0.0)?, c.float_or("threshold", 0.0)?);
    let max_value = c.float_or_none("max_value")?;
    c.activated("x", Function::Relu { negative_slope, max_value, threshold })
}

fn batch_normalization(c: &mut Call<'_>) -> Result<Argument> {
    let x = c.tensor("x")?;
    let (mean, variance) = (c.typed("mean", x.dtype)?, c.typed("variance", x.dtype)?);
    let (offset, scale) = (c.typed("offset", x.dtype)?, c.typed("scale", x.dtype)?);
    let epsilon = c.float_or("variance_epsilon", 0.0)?;
    let (Some(mean), Some(variance)) = (mean, variance) else { refuse!("it is called without mean or variance") };
    let g = c.g;
    let mut inverse = g.rsqrt(&g.with_scalar(&variance, epsilon, Graph::add_v2)?)?;
    if let Some(scale) = scale {
        inverse = g.mul(&inverse, &scale)?;
    }
    let rest = match offset {
        Some(offset) => g.sub(&offset, &g.mul(&mean, &inverse)?)?,
        None => g.mul(&g.neg(&mean)?, &inverse)?,
    };
    Ok(g.add_v2(&g.mul(&x, &inverse)?, &rest)?.into())
}

/// Moves blocks of elements between space and channels.
fn blocks(c: &mut Call<'_>, op: &'static str) -> Result<Argument> {
    let (x, size) = (c.tensor("input")?, c.size("block_size")?);
    match c.text_or("data_format", "NHWC")?.as_str() {
        "NHWC" => Ok(move_blocks(c.g, op, &x, size)?.into()),
        other => refuse!("`data_format` is `{}`, and only `NHWC` is supported", other.escape_debug()),
    }
}

/// `DepthToSpace` or `SpaceToDepth` of `[batch, height, width, channels]`.
pub(in crate::operations) fn move_blocks(g: &Graph, op: &'static str, x: &TensorRef, block: u64) -> Result<TensorRef> {
    let [batch, height, width, channels] = *x.dims() else {
        refuse!("its input has shape {}, and rank 4 is needed", x.shape)
    };
    let Some(area) = block.checked_mul(block).filter(|area| *area > 1) else {
        refuse!("a block of size {block} is impossible")
    };
    let times = |dim: Dim, factor: u64| dim.and_then(|size| size.checked_mul(factor));
    let parts = |dim: Dim, factor: u64| match dim {
        Some(size) if size % factor != 0 => refuse!("shape {} does not split into blocks of {block}", x.shape),
        dim => Ok(dim.map(|size| size / factor)),
    };
    let dims = match op {
        "DepthToSpace" => [batch, times(height, block), times(width, block), parts(channels, area)?],
        _ => [batch, parts(height, block)?, parts(width, block)?, times(channels, area)],
    };
    let attrs = vec![("T", x.dtype.into()), ("block_size", i64::try_from(block).unwrap_or(i64::MAX).into())];
    g.add(op, &[x], attrs, x.dtype, Shape::new(dims))
}
