//! Layers that change nothing at inference: dropout, noise, identities.

use super::{Argument, Arguments, Context, Layer, MaskRule, finished};
use crate::config::Config;
use crate::reason::{Result, refuse};

pub(super) fn build(class: &str, config: &Config<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "Identity" => finished(Ok(Identity), config),
        "ActivityRegularization" => finished(Noise::new(config, &["l1", "l2"], &[]), config),
        "Dropout" | "AlphaDropout" => finished(Noise::new(config, &["rate"], &["noise_shape"]), config),
        "SpatialDropout1D" | "SpatialDropout2D" | "SpatialDropout3D" => {
            finished(Noise::new(config, &["rate"], &["noise_shape", "data_format"]), config)
        }
        "GaussianDropout" => finished(Noise::new(config, &["rate"], &[]), config),
        "GaussianNoise" => finished(Noise::new(config, &["stddev"], &[]), config),
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

/// A layer that does something only in training.
#[derive(Debug)]
struct Noise {
    /// Whether it changes nothing in training either.
    off: bool,
}

impl Noise {
    /// With parameters that are all zero if the layer does nothing, and others that say how it does it.
    fn new(config: &Config<'_>, strengths: &[&str], others: &[&str]) -> Result<Self> {
        config.without_effect(&["seed"]);
        config.without_effect(others);
        let mut off = true;
        for key in strengths {
            off &= config.float_or(key, 0.0)? == 0.0;
        }
        Ok(Self { off })
    }
}

impl Layer for Noise {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        if cx.training && !self.off {
            refuse!("a training step through this layer is not supported");
        }
        Ok(x.into())
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Pass
    }

    fn ignores_training(&self) -> bool {
        self.off
    }
}
