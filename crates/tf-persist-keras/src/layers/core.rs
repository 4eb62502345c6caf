//! `Flatten`.

use super::{Argument, Arguments, Context, Layer, finished};
use crate::config::Config;
use crate::parse::Parser;
use crate::reason::Result;

pub(super) fn build(class: &str, config: &Config<'_>, _parser: &mut Parser<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "Flatten" => finished(Flatten::new(config), config),
        _ => return None,
    })
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
        let g = cx.g;
        let rank = x.rank();
        let mut y = x.tensor.clone();
        if self.channels_first && rank > 2 {
            let order: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
            y = g.transpose(&y, &order)?;
        }
        if rank <= 1 {
            return Ok(g.expand_dims(&y, -1)?.into());
        }
        let count = crate::graph::shape::element_count(&y.dims()[1..]);
        let batch = if count.is_some() { None } else { y.dims()[0] };
        Ok(g.reshape(&y, &[batch, count])?.into())
    }
}
