//! Layers that change nothing.

use super::{Argument, Arguments, Context, Layer, MaskRule, finished};
use crate::config::Config;
use crate::reason::{Result, refuse};

pub(super) fn build(class: &str, config: &Config<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "Identity" => finished(Ok(Identity), config),
        "ActivityRegularization" => {
            config.without_effect(&["l1", "l2"]);
            finished(Ok(Unchanged), config)
        }
        _ => return None,
    })
}

/// Any nest of tensors, as it is.
#[derive(Debug)]
struct Identity;

impl Layer for Identity {
    fn call(&self, _cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        match arguments.take_first() {
            Some(inputs) => Ok(inputs),
            None => refuse!("it is called without an input"),
        }
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Own
    }
}

/// One tensor, as it is, and its mask. What it adds to the loss is computed where the loss is.
#[derive(Debug)]
struct Unchanged;

impl Layer for Unchanged {
    fn call(&self, _cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        Ok(arguments.input()?.into())
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Pass
    }
}
