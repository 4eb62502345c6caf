//! `AutoContrast`.

use super::{Batch, clip, converted, to_range, value_range};
use crate::config::Config;
use crate::layers::{Argument, Arguments, Context, Layer, finished};
use crate::reason::Result;

pub(super) fn build(class: &str, config: &Config<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "AutoContrast" => finished(AutoContrast::new(config), config),
        _ => return None,
    })
}

/// Stretches the values of each image to the whole range.
#[derive(Debug)]
struct AutoContrast {
    range: [f64; 2],
}

impl AutoContrast {
    fn new(config: &Config<'_>) -> Result<Self> {
        // The axes of height and width do not follow the format.
        config.without_effect(&["data_format", "bounding_box_format", "factor"]);
        let [a, b] = value_range(config)?;
        Ok(Self { range: [a.min(b), a.max(b)] })
    }
}

impl Layer for AutoContrast {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let g = cx.g;
        let batch = Batch::new(g, &converted(cx, &x)?, false)?;
        let x = to_range(g, &batch.images, self.range, [0.0, 255.0])?;
        let (low, high) = (g.min(&x, &[1, 2], true)?, g.max(&x, &[1, 2], true)?);
        let scale = g.real_div(&g.scalar(255.0, x.dtype)?, &g.sub(&high, &low)?)?;
        let offset = g.mul(&g.neg(&low)?, &scale)?;
        let y = clip(g, &g.add_v2(&g.mul(&x, &scale)?, &offset)?, 0.0, 255.0)?;
        let y = to_range(g, &y, [0.0, 255.0], self.range)?;
        // An image of one value has no contrast.
        let y = g.select(&g.classify("IsNan", &y)?, &batch.images, &y)?;
        Ok(batch.undo(g, &y)?.into())
    }

    fn casts_inputs(&self) -> bool {
        false
    }
}
