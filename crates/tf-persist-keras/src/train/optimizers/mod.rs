//! The optimizers of Keras.

mod adam;
mod adaptive;
mod apply;
mod clip;
mod common;
mod constraint;
mod factored;
mod ftrl;
mod matrix;
mod schedule;
mod simple;
mod state;
mod values;

use super::compiled::Object;
use super::gradients::Gradient;
use crate::graph::{Graph, Resource, TensorRef};
use crate::layers::Weight;
use crate::reason::{Result, refuse, shown_name};

pub(super) use apply::Applied;
use common::Common;
pub(crate) use state::OptimizerVariable;
pub(super) use state::State;
pub(super) use state::{Initial, filled};

/// How one weight is updated.
pub(super) trait Rule: std::fmt::Debug {
    /// Adds the optimizer's own variables, in Keras's order.
    fn build(&self, state: &mut State<'_>, weights: &[Weight]) -> Result<()>;

    /// Adds nodes before the weights are updated.
    fn begin(&self, _step: &Step<'_>) -> Result<()> {
        Ok(())
    }

    /// Adds the nodes that update a weight and its slots.
    fn update(&self, step: &Step<'_>, weight: &Target<'_>) -> Result<()>;

    /// The weight decay of a weight, if it is not that of all.
    fn weight_decay(&self, _weight: &Weight, common: Option<f64>) -> Option<f64> {
        common
    }
}

/// What all updates of a step share.
pub(super) struct Step<'a> {
    pub(super) g: &'a Graph,
    pub(super) state: &'a State<'a>,
    /// A float32 scalar.
    pub(super) learning_rate: TensorRef,
    /// The number of updates before, an int64 scalar.
    pub(super) iterations: TensorRef,
}

/// A weight and its gradient.
pub(super) struct Target<'a> {
    pub(super) weight: &'a Weight,
    /// The number among the trainable weights.
    pub(super) index: usize,
    pub(super) gradient: Gradient,
}

impl Step<'_> {
    /// The number of this update and those before, in the dtype of a weight.
    pub(super) fn count(&self, target: &Target<'_>, more: f64) -> Result<TensorRef> {
        let count = self.g.with_scalar(&self.iterations, more, Graph::add_v2)?;
        self.g.cast(&count, target.weight.dtype)
    }

    /// The learning rate in the dtype of a weight.
    pub(super) fn rate(&self, target: &Target<'_>) -> Result<TensorRef> {
        self.g.cast(&self.learning_rate, target.weight.dtype)
    }

    /// The variable of a slot of a weight.
    pub(super) fn slot(&self, target: &Target<'_>, name: &'static str) -> Result<Resource> {
        self.state.slot(name, target.index)
    }

    /// The value that a variable has now.
    pub(super) fn value(&self, variable: Resource) -> Result<TensorRef> {
        self.g.read_again(variable)
    }
}

/// An optimizer as it was compiled.
#[derive(Debug)]
pub(super) struct Optimizer {
    rule: Box<dyn Rule>,
    common: Common,
    /// The scaling of the loss around it.
    scaling: Option<Scaling>,
}

/// `LossScaleOptimizer`: the loss is scaled, and steps whose gradients are not finite are left out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scaling {
    initial: f64,
    growth_steps: i64,
}

/// The scale of the loss at first, and the steps after which it doubles, of a `LossScaleOptimizer` that does not say.
const SCALING: Scaling = Scaling { initial: 32768.0, growth_steps: 2000 };

impl Optimizer {
    /// Whether a `LossScaleOptimizer` is around it.
    pub(super) fn scales_loss(&self) -> bool {
        self.scaling.is_some()
    }

    /// Puts a `LossScaleOptimizer` around it.
    pub(super) fn scale_loss(&mut self) {
        self.common.loss_scale = None;
        self.scaling = Some(SCALING);
    }

    pub(super) fn parse(object: &Object<'_>, is_keras2: bool) -> Result<Self> {
        if object.name == "LossScaleOptimizer" {
            let Some(inner) = object.get("inner_optimizer").and_then(Object::of) else {
                refuse!("the inner optimizer of `LossScaleOptimizer` is missing")
            };
            if is_keras2 {
                refuse!("the optimizer `LossScaleOptimizer` of Keras 2 is not supported");
            }
            object.only(&["name", "inner_optimizer", "initial_scale", "dynamic_growth_steps", "dynamic"])?;
            let initial = object.float("initial_scale", SCALING.initial)?;
            let growth_steps = object.int("dynamic_growth_steps", SCALING.growth_steps)?;
            let mut inner = Self::parse(&inner, is_keras2)?;
            if inner.scaling.is_some() {
                refuse!("a `LossScaleOptimizer` is inside another");
            }
            inner.common.loss_scale = None;
            inner.scaling = Some(Scaling { initial, growth_steps });
            return Ok(inner);
        }
        let mut common = Common::parse(object, is_keras2)?;
        let mut known: Vec<&str> = Vec::new();
        let rule: Box<dyn Rule> = match object.name {
            "SGD" | "sgd" | "Custom>SGD" => Box::new(simple::Sgd::parse(object, &mut known)?),
            "Adam" | "adam" | "Custom>Adam" => Box::new(adam::Adam::parse(object, &mut known)?),
            "AdamW" | "adamw" | "Custom>AdamW" => {
                common.weight_decay = Some(common.weight_decay.unwrap_or(0.004));
                Box::new(adam::Adam::parse(object, &mut known)?)
            }
            "RMSprop" | "rmsprop" | "Custom>RMSprop" => Box::new(simple::RmsProp::parse(object, &mut known)?),
            "Nadam" | "nadam" | "Custom>Nadam" => Box::new(adam::Nadam::parse(object, &mut known)?),
            "Adamax" | "adamax" | "Custom>Adamax" => Box::new(adam::Adamax::parse(object, &mut known)?),
            "Adagrad" | "adagrad" | "Custom>Adagrad" => Box::new(adaptive::Adagrad::parse(object, &mut known)?),
            "Adadelta" | "adadelta" | "Custom>Adadelta" => Box::new(adaptive::Adadelta::parse(object, &mut known)?),
            "Adafactor" | "adafactor" | "Custom>Adafactor" => {
                Box::new(factored::Adafactor::parse(object, &mut known, common.schedules())?)
            }
            "Ftrl" | "ftrl" | "Custom>Ftrl" => Box::new(ftrl::Ftrl::parse(object, &mut known)?),
            "Lion" | "lion" | "Custom>Lion" => Box::new(adaptive::Lion::parse(object, &mut known)?),
            "Lamb" | "lamb" => Box::new(adam::Lamb::parse(object, &mut known)?),
            "Muon" | "muon" => Box::new(matrix::Muon::parse(object, &mut known)?),
            "ScheduleFreeAdamW" => Box::new(adam::ScheduleFree::parse(object, &mut known)?),
            name => refuse!("the optimizer `{}` is not supported", shown_name(name)),
        };
        known.extend(common::KNOWN);
        if is_keras2 {
            known.extend(common::KNOWN_KERAS2);
        }
        object.only(&known)?;
        Ok(Self { rule, common, scaling: None })
    }
}
