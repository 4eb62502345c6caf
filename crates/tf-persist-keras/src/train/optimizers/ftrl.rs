//! `Ftrl`.

use super::super::compiled::Object;
use super::values::{square, whole};
use super::{Rule, State, Step, Target};
use crate::graph::{Graph, TensorRef};
use crate::layers::Weight;
use crate::reason::Result;

/// Follow the regularized leader.
#[derive(Debug)]
pub(super) struct Ftrl {
    power: f64,
    initial: f64,
    l1: f64,
    l2: f64,
    shrinkage: f64,
    beta: f64,
}

impl Ftrl {
    pub(super) fn parse(object: &Object<'_>, known: &mut Vec<&str>) -> Result<Self> {
        known.extend([
            "learning_rate_power",
            "initial_accumulator_value",
            "l1_regularization_strength",
            "l2_regularization_strength",
            "l2_shrinkage_regularization_strength",
            "beta",
        ]);
        Ok(Self {
            power: object.float("learning_rate_power", -0.5)?,
            initial: object.float("initial_accumulator_value", 0.1)?,
            l1: object.float("l1_regularization_strength", 0.0)?,
            l2: object.float("l2_regularization_strength", 0.0)?,
            shrinkage: object.float("l2_shrinkage_regularization_strength", 0.0)?,
            beta: object.float("beta", 0.0)?,
        })
    }
}

impl Rule for Ftrl {
    fn build(&self, state: &mut State<'_>, weights: &[Weight]) -> Result<()> {
        state.slots(weights, &[("accumulator", self.initial), ("linear", 0.0)])
    }

    fn update(&self, step: &Step<'_>, target: &Target<'_>) -> Result<()> {
        let (g, dtype) = (step.g, target.weight.dtype);
        let scalar = |value: f64| g.scalar(value, dtype);
        let (accumulator, linear) = (step.slot(target, "accumulator")?, step.slot(target, "linear")?);
        let rate = step.rate(target)?;
        let double_rate = g.mul(&scalar(2.0)?, &rate)?;
        let l2 = g.add_v2(&scalar(self.l2)?, &g.real_div(&scalar(self.beta)?, &double_rate)?)?;
        let weight = step.value(target.weight.resource)?;
        let shrunk = g.mul(&scalar(2.0 * self.shrinkage)?, &weight)?;
        let gradient = g.add_v2(&whole(g, &target.gradient)?, &shrunk)?;
        let old = step.value(accumulator)?;
        let new = g.add_v2(&old, &whole(g, &square(g, &target.gradient)?)?)?;
        let power = |x: &TensorRef| g.with_scalar(x, -self.power, Graph::pow);
        let sigma = g.real_div(&g.sub(&power(&new)?, &power(&old)?)?, &rate)?;
        g.assign_add(linear, &g.sub(&gradient, &g.mul(&sigma, &weight)?)?)?;
        let quadratic = g.add_v2(&g.real_div(&power(&new)?, &rate)?, &g.mul(&scalar(2.0)?, &l2)?)?;
        let value = step.value(linear)?;
        let clipped = g.clip(&value, -self.l1, self.l1)?;
        g.assign(target.weight.resource, &g.real_div(&g.sub(&clipped, &value)?, &quadratic)?)?;
        g.assign(accumulator, &new)
    }
}
