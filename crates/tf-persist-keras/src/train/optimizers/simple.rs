//! `SGD` and `RMSprop`.

use super::super::compiled::Object;
use super::values::{assign_sub, map, scaled, square, whole, with_dense};
use super::{Rule, State, Step, Target};
use crate::graph::Graph;
use crate::layers::Weight;
use crate::reason::Result;

#[derive(Debug)]
pub(super) struct Sgd {
    momentum: f64,
    nesterov: bool,
}

impl Sgd {
    pub(super) fn parse(object: &Object<'_>, known: &mut Vec<&str>) -> Result<Self> {
        known.extend(["momentum", "nesterov"]);
        Ok(Self { momentum: object.float("momentum", 0.0)?, nesterov: object.flag("nesterov", false)? })
    }
}

impl Rule for Sgd {
    fn build(&self, state: &mut State<'_>, weights: &[Weight]) -> Result<()> {
        if self.momentum != 0.0 { state.slots(weights, &[("momentum", 0.0)]) } else { Ok(()) }
    }

    fn update(&self, step: &Step<'_>, target: &Target<'_>) -> Result<()> {
        let (g, weight) = (step.g, target.weight.resource);
        let rate = step.rate(target)?;
        let change = map(&target.gradient, |values| g.mul(values, &rate))?;
        if self.momentum == 0.0 {
            return assign_sub(g, weight, &change);
        }
        let slot = step.slot(target, "momentum")?;
        let change = whole(g, &change)?;
        let next = |momentum| g.sub(&g.with_scalar(&momentum, self.momentum, Graph::mul)?, &change);
        g.assign(slot, &next(step.value(slot)?)?)?;
        let momentum = step.value(slot)?;
        let momentum = if self.nesterov { next(momentum)? } else { momentum };
        g.assign_add(weight, &momentum)
    }
}

#[derive(Debug)]
pub(super) struct RmsProp {
    rho: f64,
    momentum: f64,
    epsilon: f64,
    centered: bool,
}

impl RmsProp {
    pub(super) fn parse(object: &Object<'_>, known: &mut Vec<&str>) -> Result<Self> {
        known.extend(["rho", "momentum", "epsilon", "centered"]);
        Ok(Self {
            rho: object.float("rho", 0.9)?,
            momentum: object.float("momentum", 0.0)?,
            epsilon: object.float("epsilon", 1e-7)?,
            centered: object.flag("centered", false)?,
        })
    }
}

impl Rule for RmsProp {
    fn build(&self, state: &mut State<'_>, weights: &[Weight]) -> Result<()> {
        state.slots(weights, &[("velocity", 0.0)])?;
        if self.momentum > 0.0 {
            state.slots(weights, &[("momentum", 0.0)])?;
        }
        if self.centered {
            state.slots(weights, &[("average_gradient", 0.0)])?;
        }
        Ok(())
    }

    fn update(&self, step: &Step<'_>, target: &Target<'_>) -> Result<()> {
        let (g, weight) = (step.g, target.weight.resource);
        let rate = step.rate(target)?;
        let dtype = target.weight.dtype;
        let velocity = step.slot(target, "velocity")?;
        let decayed = |value| g.mul(&g.scalar(self.rho, dtype)?, &value);
        // Constants come first in Keras's products, which has no effect on the numbers.
        let added = whole(g, &scaled(g, &square(g, &target.gradient)?, 1.0 - self.rho)?)?;
        g.assign(velocity, &g.add_v2(&decayed(step.value(velocity)?)?, &added)?)?;
        let mut denominator = step.value(velocity)?;
        if self.centered {
            let average = step.slot(target, "average_gradient")?;
            let added = whole(g, &scaled(g, &target.gradient, 1.0 - self.rho)?)?;
            g.assign(average, &g.add_v2(&decayed(step.value(average)?)?, &added)?)?;
            denominator = g.sub(&denominator, &g.square(&step.value(average)?)?)?;
        }
        let denominator = g.sqrt(&g.with_scalar(&denominator, self.epsilon, Graph::add_v2)?)?;
        let numerator = map(&target.gradient, |values| g.mul(&rate, values))?;
        let increment = with_dense(g, &numerator, &denominator, |a, b| g.real_div(a, b))?;
        if self.momentum <= 0.0 {
            return assign_sub(g, weight, &increment);
        }
        let momentum = step.slot(target, "momentum")?;
        let kept = g.mul(&g.scalar(self.momentum, dtype)?, &step.value(momentum)?)?;
        g.assign(momentum, &g.add_v2(&kept, &whole(g, &increment)?)?)?;
        g.assign_sub(weight, &step.value(momentum)?)
    }
}
