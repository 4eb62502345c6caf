//! `SpectralNormalization`.

use crate::config::Config;
use crate::layers::{Argument, Arguments, Context, Layer, MaskRule, Masked, NamedLayer, finished};
use crate::parse::Parser;
use crate::reason::{Result, refuse, shown_name};

pub(super) fn build(class: &str, config: &Config<'_>, parser: &mut Parser<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "SpectralNormalization" => finished(SpectralNormalization::new(config, parser), config),
        _ => return None,
    })
}

/// A layer whose kernel training divides by its spectral norm. At inference it is the layer.
#[derive(Debug)]
struct SpectralNormalization {
    layer: NamedLayer,
}

impl SpectralNormalization {
    fn new(config: &Config<'_>, parser: &mut Parser<'_>) -> Result<Self> {
        config.without_effect(&["power_iterations"]);
        Ok(Self { layer: parser.layer(config.required("layer")?)? })
    }
}

impl Layer for SpectralNormalization {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        if cx.training && cx.trainable {
            refuse!("it is not supported in training");
        }
        let x = arguments.input()?;
        let dtype = x.dtype;
        let inner = cx.child(&["layer"], &self.layer.name);
        let y = self.layer.call(&inner, Arguments::new(vec![x.into()], Vec::new()))?;
        let columns = {
            let weights = cx.shared.weights.borrow();
            let kernel = weights.iter().find(|weight| {
                weight.place.layers == inner.place.layers
                    && matches!(weight.name.as_str(), "kernel" | "depthwise_kernel" | "embeddings")
            });
            match kernel.and_then(|kernel| kernel.shape.last()) {
                Some(columns) => *columns as u64,
                None => refuse!("its layer `{}` has no kernel", shown_name(&self.layer.name)),
            }
        };
        // The kernel, which Keras saves with the wrapper again.
        cx.skip_variable();
        cx.state("vector_u", &[1, columns], cx.policy.variable)?;
        if cx.is_keras2() {
            return Ok(y);
        }
        y.map(&mut |y: &Masked| Ok(Masked { tensor: cx.g.cast(y, dtype)?, mask: y.mask.clone() }))
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Own
    }
}
