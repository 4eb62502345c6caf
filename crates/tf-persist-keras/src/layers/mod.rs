//! The layers of Keras, a file for each family.
//!
//! A layer is a struct made from its config. [`Layer::call`] adds the nodes that compute what the Keras computes that
//! wrote the file, in the same order, and declares the variables on the way: their shapes follow from its inputs.

pub(crate) mod activation;
mod activation_layers;
pub(crate) mod argument;
mod attention;
mod audio;
pub(crate) mod context;
mod conv;
mod dense;
mod embedding;
#[cfg(test)]
mod emitted;
mod identity;
mod image;
mod inactive;
mod merging;
mod noise;
mod normalization;
mod pipeline;
mod pooling;
mod preprocessing;
pub(crate) mod random;
mod recurrent;
mod rules;
mod scaling;
mod shape;
pub(crate) mod size;
#[cfg(test)]
mod tests;
mod upsampling;

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

pub(crate) use activation::Activation;
pub(crate) use argument::{Argument, Arguments, Masked};
pub(crate) use context::{Called, Context, Place, Shared, Weight};
pub(crate) use conv::convolve;
pub(crate) use identity::{Identities, Identity};
pub(crate) use preprocessing::learned_boundaries;
pub(crate) use recurrent::Cell;
pub(crate) use rules::{Rules, WeightRules};

use crate::config::{Config, Policy};
use crate::model::{self, InputSpec, Model};
use crate::parse::Parser;
use crate::reason::{Result, refuse};

/// How a layer passes masks on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MaskRule {
    /// The results have no masks.
    Drop,
    /// The results have the mask of the first input.
    Pass,
    /// [`Layer::call`] gives its results their masks.
    Own,
}

/// What a layer computes.
pub(crate) trait Layer: fmt::Debug + Send + Sync {
    /// Adds the nodes of a call.
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument>;

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Drop
    }

    /// Whether floating inputs are cast to the dtype in which the layer computes.
    fn casts_inputs(&self) -> bool {
        true
    }

    /// Whether `training=True` in a call changes nothing.
    fn ignores_training(&self) -> bool {
        true
    }

    /// What the input takes that this layer stands for, if it does.
    fn input(&self) -> Option<&InputSpec> {
        None
    }

    /// The cell of a recurrent layer that it is, if it is one.
    fn as_cell(&self) -> Option<&dyn Cell> {
        None
    }

    /// The model that it is, if it is one.
    fn as_model(&self) -> Option<&dyn Model> {
        None
    }
}

/// A layer of a model, with what every layer has.
#[derive(Debug)]
pub(crate) struct NamedLayer {
    pub(crate) name: String,
    pub(crate) class: String,
    pub(crate) trainable: bool,
    pub(crate) policy: Policy,
    pub(crate) rules: Arc<Rules>,
    /// Whether it is a node of `keras.ops`, which has no folder in a `.keras` file.
    pub(crate) is_operation: bool,
    /// What it has in common with other entries, if a model has the same layer at several places.
    pub(crate) identity: Identity,
    /// Whether an earlier entry is of the same layer.
    pub(crate) is_repeated: bool,
    pub(crate) layer: Box<dyn Layer>,
}

impl NamedLayer {
    /// Calls the layer with its own context: inputs are cast, masks passed on.
    pub(crate) fn call(&self, cx: &Context<'_>, mut arguments: Arguments) -> Result<Argument> {
        let mut cx = cx.of_layer(self);
        // In Keras 3 the mode of the model counts, whatever the call says.
        if let Some(Argument::Plain(Value::Bool(training))) = arguments.take_keyword("training")
            && cx.is_keras2()
        {
            if training && !cx.training && !self.layer.ignores_training() {
                refuse!("it is called with training=True, so that it would not be the same as at inference");
            }
            cx.training &= training;
        }
        let cx = &cx;
        if !self.is_operation {
            let shared = cx.shared;
            arguments = arguments.map(&mut |input: &Masked| {
                let mask = input.mask.clone().filter(|_| !shared.is_unmasked(input));
                Ok(Masked { tensor: input.tensor.clone(), mask })
            })?;
            attach_mask(&mut arguments);
            if self.layer.casts_inputs() && cx.policy.compute.is_floating() {
                arguments = arguments.map(&mut |input: &Masked| {
                    let dtype = if input.dtype.is_floating() { cx.policy.compute } else { input.dtype };
                    Ok(Masked { tensor: cx.g.cast(input, dtype)?, mask: input.mask.clone() })
                })?;
            }
        }
        let mask = arguments.tensors().first().and_then(|input| input.mask.clone());
        let result = self.layer.call(cx, &mut arguments)?;
        arguments.finish()?;
        if let Some(regularizer) = &self.rules.activity {
            let results = result.tensors().into_iter().map(|result| (regularizer.clone(), result.tensor.clone()));
            cx.shared.activities.borrow_mut().extend(results);
        }
        result.map(&mut |tensor: &Masked| {
            let mask = match self.layer.mask_rule() {
                MaskRule::Drop => None,
                MaskRule::Pass => tensor.mask.clone().or_else(|| mask.clone()),
                MaskRule::Own => tensor.mask.clone(),
            };
            Ok(Masked { tensor: tensor.tensor.clone(), mask })
        })
    }
}

/// Gives the first argument's tensors the masks of the argument `mask`.
fn attach_mask(arguments: &mut Arguments) {
    let Some(mask) = arguments.take_keyword("mask") else { return };
    let masks: Vec<_> = match &mask {
        Argument::List(items) => items.iter().map(|item| item.tensor().ok().cloned()).collect(),
        one => vec![one.tensor().ok().cloned()],
    };
    let Some(first) = arguments.positional.first_mut().and_then(Option::as_mut) else { return };
    let mut masks = masks.into_iter();
    let attached = first.map(&mut |input: &Masked| {
        // A list of masks says of each input whether it has one.
        let mask = masks.next().map_or_else(|| input.mask.clone(), |mask| mask.map(|mask| mask.tensor));
        Ok(Masked { tensor: input.tensor.clone(), mask })
    });
    if let Ok(attached) = attached {
        *first = attached;
    }
}

/// Makes the layer of a class from its config. `None` if the class is unknown.
pub(crate) fn build(class: &str, config: &Config<'_>, parser: &mut Parser<'_>) -> Option<Result<Box<dyn Layer>>> {
    model::build(class, config, parser)
        .or_else(|| embedding::build(class, config, parser))
        .or_else(|| recurrent::build(class, config, parser))
        .or_else(|| activation_layers::build(class, config))
        .or_else(|| pipeline::build(class, config, parser))
        .or_else(|| inactive::build(class, config))
        .or_else(|| noise::build(class, config))
        .or_else(|| merging::build(class, config))
        .or_else(|| dense::build(class, config))
        .or_else(|| attention::build(class, config))
        .or_else(|| conv::build(class, config, parser))
        .or_else(|| pooling::build(class, config, parser))
        .or_else(|| shape::build(class, config))
        .or_else(|| upsampling::build(class, config))
        .or_else(|| image::build(class, config))
        .or_else(|| audio::build(class, config))
        .or_else(|| scaling::build(class, config))
        .or_else(|| normalization::build(class, config, parser))
        .or_else(|| preprocessing::build(class, config))
        .or_else(|| crate::operations::tensorflow::build(class, config))
}

/// The layer in a box, once all keys of its config are read.
pub(crate) fn finished<L: Layer + 'static>(layer: Result<L>, config: &Config<'_>) -> Result<Box<dyn Layer>> {
    let layer = layer?;
    config.finish()?;
    Ok(Box::new(layer))
}
