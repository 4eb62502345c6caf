//! Layers that move elements: `Flatten`, `Reshape`, `Permute`, `RepeatVector`, cropping and padding.

use serde_json::Value;

use super::conv::spatial_axes;
use super::{Argument, Arguments, Context, Layer, finished};
use crate::config::{Config, int, shown, size};
use crate::graph::shape::element_count;
use crate::graph::{Dim, Graph, Shape, Slice, TensorRef};
use crate::reason::{Result, refuse};

pub(super) fn build(class: &str, config: &Config<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "Flatten" => finished(Flatten::new(config), config),
        "Reshape" => finished(Reshape::new(config), config),
        "Permute" => finished(Permute::new(config), config),
        "RepeatVector" => finished(RepeatVector::new(config), config),
        "Cropping1D" => finished(Cropping::new(config, 1), config),
        "Cropping2D" => finished(Cropping::new(config, 2), config),
        "Cropping3D" => finished(Cropping::new(config, 3), config),
        "ZeroPadding1D" => finished(ZeroPadding::new(config, 1), config),
        "ZeroPadding2D" => finished(ZeroPadding::new(config, 2), config),
        "ZeroPadding3D" => finished(ZeroPadding::new(config, 3), config),
        _ => return None,
    })
}

/// Reshapes what is behind the batch. At most one of `dims` is unknown.
fn reshape_rest(g: &Graph, x: &TensorRef, dims: &[Dim]) -> Result<TensorRef> {
    let batch = x.dims()[0];
    let all: Vec<Dim> = [batch].into_iter().chain(dims.iter().copied()).collect();
    if all.iter().filter(|dim| dim.is_none()).count() <= 1 {
        return g.reshape(x, &all);
    }
    let sizes = g.pack_dims(&all, |axis| if axis == 0 { g.dim_of(x, 0) } else { g.scalar_i32(-1) })?;
    g.reshape_to(x, &sizes, Shape::new(all))
}

#[derive(Debug)]
struct Flatten {
    channels_first: bool,
}

impl Flatten {
    fn new(config: &Config<'_>) -> Result<Self> {
        Ok(Self { channels_first: config.channels_first()? })
    }
}

impl Layer for Flatten {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let (g, rank) = (cx.g, x.rank());
        if rank == 0 {
            refuse!("it is called with a scalar");
        }
        if rank == 1 {
            return Ok(g.expand_dims(&x, -1)?.into());
        }
        let mut y = x.tensor.clone();
        if self.channels_first && rank > 2 {
            let order: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
            y = g.transpose(&y, &order)?;
        }
        let count = element_count(&y.dims()[1..]);
        Ok(reshape_rest(g, &y, &[count])?.into())
    }
}

#[derive(Debug)]
struct Reshape {
    /// One may be unknown.
    target: Vec<Dim>,
}

impl Reshape {
    fn new(config: &Config<'_>) -> Result<Self> {
        let dim = |value: &Value| -> Result<Dim> {
            match value {
                Value::Null => Ok(None),
                value if int("target_shape", value)? == -1 => Ok(None),
                value => size("target_shape", value).map(Some),
            }
        };
        let target = match config.required("target_shape")? {
            Value::Array(items) => items.iter().map(dim).collect::<Result<Vec<_>>>()?,
            value => vec![dim(value)?],
        };
        if target.len() >= tf_persist_savedmodel::MAX_RANK {
            refuse!("`target_shape` has {} dimensions", target.len());
        }
        if target.iter().filter(|dim| dim.is_none()).count() > 1 {
            refuse!("`target_shape` leaves two sizes open");
        }
        Ok(Self { target })
    }
}

impl Layer for Reshape {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let Some(rest) = x.dims().get(1..) else { refuse!("it is called with a scalar") };
        let mut target = self.target.clone();
        let known: Vec<Dim> = target.iter().copied().filter(Option::is_some).collect();
        if let (Some(all), Some(known)) = (element_count(rest), element_count(&known)) {
            match target.iter_mut().find(|dim| dim.is_none()) {
                Some(open) if known > 0 && all % known == 0 => *open = Some(all / known),
                None if all == known => {}
                _ => refuse!("an input of shape {} cannot be reshaped to {}", x.shape, Shape::new(target.as_slice())),
            }
        }
        Ok(reshape_rest(cx.g, &x, &target)?.into())
    }
}

#[derive(Debug)]
struct Permute {
    /// The axes from 1 on.
    dims: Vec<usize>,
}

impl Permute {
    fn new(config: &Config<'_>) -> Result<Self> {
        let dims = config.ints("dims")?;
        let dims: Vec<usize> = dims.into_iter().map(|axis| usize::try_from(axis).unwrap_or(0)).collect();
        Ok(Self { dims })
    }
}

impl Layer for Permute {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let order: Vec<usize> = [0].into_iter().chain(self.dims.iter().copied()).collect();
        Ok(cx.g.transpose(&x, &order)?.into())
    }
}

#[derive(Debug)]
struct RepeatVector {
    count: u64,
}

impl RepeatVector {
    fn new(config: &Config<'_>) -> Result<Self> {
        Ok(Self { count: config.size("n")? })
    }
}

impl Layer for RepeatVector {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        if x.rank() != 2 {
            refuse!("its input has shape {}, and rank 2 is needed", x.shape);
        }
        Ok(cx.g.tile(&cx.g.expand_dims(&x, 1)?, &[1, self.count, 1])?.into())
    }
}

/// How much each spatial dimension loses or gains at its beginning and end.
fn sides(config: &Config<'_>, key: &str, rank: usize, default: u64) -> Result<Vec<(u64, u64)>> {
    let pair = |value: &Value| -> Result<(u64, u64)> {
        match value {
            Value::Array(items) => match items.as_slice() {
                [before, after] => Ok((size(key, before)?, size(key, after)?)),
                _ => refuse!("`{key}` has {}, and should have pairs", shown(value)),
            },
            value => size(key, value).map(|both| (both, both)),
        }
    };
    match (config.get(key), rank) {
        (None, _) => Ok(vec![(default, default); rank]),
        (Some(value), 1) => Ok(vec![match value {
            // Some versions nest the pair.
            Value::Array(items) if items.len() == 1 => pair(&items[0])?,
            value => pair(value)?,
        }]),
        (Some(Value::Array(items)), _) if items.len() == rank => items.iter().map(pair).collect(),
        (Some(value @ Value::Array(_)), _) => refuse!("`{key}` is {}, and should have {rank} entries", shown(value)),
        (Some(value), _) => Ok(vec![pair(value)?; rank]),
    }
}

#[derive(Debug)]
struct Cropping {
    sides: Vec<(u64, u64)>,
    channels_first: bool,
}

impl Cropping {
    fn new(config: &Config<'_>, rank: usize) -> Result<Self> {
        let default = if rank == 2 { 0 } else { 1 };
        Ok(Self { sides: sides(config, "cropping", rank, default)?, channels_first: config.channels_first()? })
    }
}

impl Layer for Cropping {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let axes = spatial_axes(&x, self.sides.len(), self.channels_first)?;
        let mut slices = vec![Slice::ALL; axes.start];
        for (axis, (before, after)) in axes.zip(&self.sides) {
            if let Some(size) = x.dims()[axis]
                && before.saturating_add(*after) >= size
            {
                refuse!("`cropping` leaves nothing of axis {axis}, which has size {size}");
            }
            let bound = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
            slices.push(Slice::range(bound(*before), (*after > 0).then(|| -bound(*after))));
        }
        Ok(cx.g.strided_slice(&x, &slices)?.into())
    }
}

#[derive(Debug)]
struct ZeroPadding {
    sides: Vec<(u64, u64)>,
    channels_first: bool,
}

impl ZeroPadding {
    fn new(config: &Config<'_>, rank: usize) -> Result<Self> {
        Ok(Self { sides: sides(config, "padding", rank, 1)?, channels_first: config.channels_first()? })
    }
}

impl Layer for ZeroPadding {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let axes = spatial_axes(&x, self.sides.len(), self.channels_first)?;
        let mut paddings = vec![(0, 0); x.rank()];
        paddings[axes].copy_from_slice(&self.sides);
        Ok(cx.g.pad(&x, &paddings, None)?.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::layers::emitted::Call;

    #[test]
    fn shapes_follow_the_config() {
        let shape = |class, input: &[i64], config| Call::new(class, input).shape(config);
        assert_eq!(shape("Flatten", &[-1, 4, 5], json!({})), "[?,20]");
        assert_eq!(shape("Flatten", &[-1, -1, 5], json!({})), "[?,?]");
        assert_eq!(shape("Flatten", &[-1], json!({})), "[?,1]");
        assert_eq!(shape("Reshape", &[-1, 4, 6], json!({"target_shape": [3, -1, 2]})), "[?,3,4,2]");
        assert_eq!(shape("Reshape", &[-1, -1, 6], json!({"target_shape": [-1, 2]})), "[?,?,2]");
        let reason = "an input of shape [?,4,6] cannot be reshaped to [5,?]";
        assert_eq!(shape("Reshape", &[-1, 4, 6], json!({"target_shape": [5, -1]})), reason);
        assert_eq!(shape("Permute", &[-1, 4, 6], json!({"dims": [2, 1]})), "[?,6,4]");
        let reason = "[0, 2, 2] does not permute the 3 dimensions of its input";
        assert_eq!(shape("Permute", &[-1, 4, 6], json!({"dims": [2, 2]})), reason);
        assert_eq!(shape("RepeatVector", &[-1, 4], json!({"n": 3})), "[?,3,4]");
        assert_eq!(shape("Cropping2D", &[-1, 9, -1, 3], json!({"cropping": [[1, 0], [2, 3]]})), "[?,8,?,3]");
        let reason = "`cropping` leaves nothing of axis 1, which has size 3";
        assert_eq!(shape("Cropping1D", &[-1, 3, 2], json!({"cropping": [1, 2]})), reason);
        let config = json!({"padding": [1, 2, 3], "data_format": "channels_first"});
        assert_eq!(shape("ZeroPadding3D", &[-1, 2, 4, 5, 6], config), "[?,2,6,9,12]");
        assert_eq!(shape("UpSampling1D", &[-1, 4, 3], json!({"size": 2})), "[?,8,3]");
        assert_eq!(shape("UpSampling2D", &[-1, -1, 5, 3], json!({"size": [2, 3]})), "[?,?,15,3]");
        let config = json!({"size": 2, "interpolation": "bicubic"});
        assert_eq!(shape("UpSampling2D", &[-1, 4, -1, 3], config), "[?,8,?,3]");
    }
}
