//! Augmentations, which change images in training only.

use super::converted;
use crate::config::Config;
use crate::layers::{Argument, Arguments, Context, Layer, finished};
use crate::reason::{Result, refuse};

/// The classes and their keys, which say how images change in training.
const CLASSES: [(&str, &[&str]); 30] = [
    ("AugMix", &["value_range", "num_chains", "chain_depth", "factor", "alpha", "all_ops", "interpolation"]),
    ("CutMix", &["factor"]),
    ("Equalization", &["value_range", "bins"]),
    ("MaxNumBoundingBoxes", &["max_number", "fill_value"]),
    ("MixUp", &["alpha"]),
    ("RandAugment", &["value_range", "num_ops", "factor", "interpolation"]),
    ("RandomBrightness", &["factor", "value_range"]),
    ("RandomColorDegeneration", &["factor", "value_range"]),
    ("RandomColorJitter", &["value_range", "brightness_factor", "contrast_factor", "saturation_factor", "hue_factor"]),
    ("RandomContrast", &["factor", "value_range"]),
    ("RandomCrop", &["height", "width"]),
    ("RandomElasticTransform", &["factor", "scale", "interpolation", "fill_mode", "fill_value", "value_range"]),
    ("RandomErasing", &["factor", "scale", "fill_value", "value_range"]),
    ("RandomFlip", &["mode"]),
    ("RandomGaussianBlur", &["factor", "kernel_size", "sigma", "value_range"]),
    ("RandomGrayscale", &["factor"]),
    ("RandomHeight", &["factor", "interpolation"]),
    ("RandomHue", &["factor", "value_range"]),
    ("RandomInvert", &["factor", "value_range"]),
    ("RandomPerspective", &["factor", "scale", "interpolation", "fill_value"]),
    ("RandomPosterization", &["factor", "value_range"]),
    ("RandomRotation", &["factor", "fill_mode", "fill_value", "interpolation"]),
    ("RandomSaturation", &["factor", "value_range"]),
    ("RandomSharpness", &["factor", "value_range"]),
    ("RandomShear", &["x_factor", "y_factor", "fill_mode", "interpolation", "fill_value"]),
    ("RandomTranslation", &["height_factor", "width_factor", "fill_mode", "interpolation", "fill_value"]),
    ("RandomWidth", &["factor", "interpolation"]),
    ("RandomZoom", &["height_factor", "width_factor", "fill_mode", "interpolation", "fill_value"]),
    ("Solarization", &["value_range", "addition_factor", "threshold_factor"]),
    ("StochasticDepth", &["drop_path_rate"]),
];

pub(super) fn build(class: &str, config: &Config<'_>) -> Option<Result<Box<dyn Layer>>> {
    let (_, keys) = CLASSES.iter().find(|(name, _)| *name == class)?;
    config.without_effect(&["seed", "data_format", "bounding_box_format", "rng_type"]);
    config.without_effect(keys);
    Some(finished(Ok(Augmentation), config))
}

#[derive(Debug)]
struct Augmentation;

impl Layer for Augmentation {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        if cx.training {
            refuse!("its random changes are not supported in training");
        }
        let x = arguments.input()?;
        Ok(converted(cx, &x)?.into())
    }

    fn ignores_training(&self) -> bool {
        false
    }
}
