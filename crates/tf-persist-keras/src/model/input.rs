//! `InputLayer`.

use serde_json::Value;
use tf_persist_savedmodel::DType;

use crate::config::{Config, policy, shown, size};
use crate::graph::{Dim, Shape};
use crate::layers::{Argument, Arguments, Context, Layer};
use crate::reason::{Result, refuse};

/// What an input takes.
#[derive(Debug, Clone)]
pub(crate) struct InputSpec {
    pub(crate) shape: Shape,
    pub(crate) dtype: DType,
}

/// The layer that stands for an input of a model.
#[derive(Debug)]
pub(crate) struct InputLayer(pub(crate) InputSpec);

impl InputLayer {
    pub(crate) fn new(config: &Config<'_>) -> Result<Self> {
        for kind in ["sparse", "ragged", "optional"] {
            if config.bool_or(kind, false)? {
                refuse!("its input is {kind}, which is not supported");
            }
        }
        config.only("input_tensor", &[])?;
        let Some(shape) = config.get("batch_shape").or_else(|| config.get("batch_input_shape")) else {
            refuse!("its config has no `batch_shape`")
        };
        let dtype = match config.get("dtype") {
            None => DType::Float32,
            Some(Value::String(name)) => policy::dtype(name)?,
            other => policy::Policy::parse(other)?.compute,
        };
        Ok(Self(InputSpec { shape: shape_of(shape)?, dtype }))
    }
}

/// The shape in a config, such as `[null, 28, 28]`.
pub(crate) fn shape_of(value: &Value) -> Result<Shape> {
    let Value::Array(items) = value else { refuse!("the shape {} is not a list", shown(value)) };
    let dim = |item: &Value| -> Result<Dim> { if item.is_null() { Ok(None) } else { size("shape", item).map(Some) } };
    let dims = items.iter().map(dim).collect::<Result<Vec<_>>>()?;
    if dims.len() > tf_persist_savedmodel::MAX_RANK {
        refuse!("a shape of rank {} is impossible", dims.len());
    }
    Ok(Shape::new(dims))
}

impl Layer for InputLayer {
    fn call(&self, _cx: &Context<'_>, _arguments: &mut Arguments) -> Result<Argument> {
        refuse!("an input cannot be called")
    }

    fn input(&self) -> Option<&InputSpec> {
        Some(&self.0)
    }
}
