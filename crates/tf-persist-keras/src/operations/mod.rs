//! The nodes of `keras.ops` in functional models.

use crate::config::Config;
use crate::layers::{Argument, Arguments, Context, Layer, finished};
use crate::reason::Result;

/// Makes the operation of a class from its config. `None` if it is unknown.
pub(crate) fn build(class: &str, _module: Option<&str>, config: &Config<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "Relu" => finished(Ok(Relu), config),
        _ => return None,
    })
}

#[derive(Debug)]
struct Relu;

impl Layer for Relu {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        Ok(cx.g.relu(&x)?.into())
    }
}
