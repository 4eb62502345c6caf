//! The layers that Keras 2 makes of functions of TensorFlow in functional models: `TFOpLambda`, `SlicingOpLambda`.
//!
//! Functions are known by the name that TensorFlow exports, such as `math.reduce_mean`. Numbers take the dtype of the
//! tensors beside them.

mod arguments;
mod arrays;
mod backend;
mod math;
mod nn;
mod node_def;

use serde_json::{Map, Value};

use super::Entry;
use super::call::Call;
use crate::config::Config;
use crate::layers::{Argument, Arguments, Context, Layer, finished};
use crate::reason::{Result, refuse};
pub(super) use nn::move_blocks;

const TABLES: &[&[Entry]] = &[arrays::TABLE, backend::TABLE, math::TABLE, nn::TABLE];

/// The names of the functions.
#[cfg(test)]
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TABLES.iter().flat_map(|table| table.iter()).map(|entry| entry.class)
}

/// Makes an op layer from its config. `None` if the class is another.
pub(crate) fn build(class: &str, config: &Config<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "TFOpLambda" | "SlicingOpLambda" => finished(Function::new(config), config),
        "TensorFlowOpLayer" => finished(node_def::OpLayer::new(config), config),
        _ => return None,
    })
}

/// A call of a function of TensorFlow.
#[derive(Debug)]
struct Function(&'static Entry);

impl Function {
    fn new(config: &Config<'_>) -> Result<Self> {
        let symbol = config.str("function")?;
        let name = symbol.strip_prefix("compat.v1.").unwrap_or(symbol);
        match TABLES.iter().flat_map(|table| table.iter()).find(|entry| entry.class == name) {
            Some(entry) => Ok(Self(entry)),
            None => {
                refuse!("the function `{}` of TensorFlow is not supported", tf_persist_savedmodel::printable(symbol))
            }
        }
    }
}

impl Layer for Function {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        arguments.take_keyword("name");
        let none: Map<String, Value> = Map::new();
        let mut call = Call { g: cx.g, cx, entry: self.0, arguments, parameters: &none };
        (self.0.emit)(&mut call)
    }

    fn casts_inputs(&self) -> bool {
        false
    }
}
