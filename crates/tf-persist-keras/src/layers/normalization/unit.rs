//! `UnitNormalization`.

use super::batch::axes;
use crate::config::Config;
use crate::graph::Graph;
use crate::layers::{Argument, Arguments, Context, Layer, MaskRule, finished};
use crate::parse::Parser;
use crate::reason::Result;

pub(super) fn build(class: &str, config: &Config<'_>, _parser: &mut Parser<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "UnitNormalization" => finished(UnitNormalization::new(config), config),
        _ => return None,
    })
}

/// Divides by the L2 norm.
#[derive(Debug)]
struct UnitNormalization {
    axes: Vec<i64>,
}

impl UnitNormalization {
    fn new(config: &Config<'_>) -> Result<Self> {
        Ok(Self { axes: axes(config, &[-1])? })
    }
}

impl Layer for UnitNormalization {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let g = cx.g;
        let sum = g.sum(&g.square(&x)?, &self.axes, true)?;
        let inverse = if cx.is_keras2() {
            g.rsqrt(&g.with_scalar(&sum, 1e-12, Graph::maximum)?)?
        } else {
            g.with_scalar(&g.rsqrt(&sum)?, 1.0 / 1e-12, Graph::minimum)?
        };
        Ok(g.mul(&x, &inverse)?.into())
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Pass
    }
}
