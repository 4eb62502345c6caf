//! `Adagrad`, `Adadelta` and `Lion`.

use super::super::compiled::Object;
use super::values::{assign_add, assign_sub, map, scaled, square, whole, with_dense};
use super::{Rule, State, Step, Target};
use crate::graph::{Graph, TensorRef};
use crate::layers::Weight;
use crate::reason::Result;

#[derive(Debug)]
pub(super) struct Adagrad {
    initial: f64,
    epsilon: f64,
}

impl Adagrad {
    pub(super) fn parse(object: &Object<'_>, known: &mut Vec<&str>) -> Result<Self> {
        known.extend(["initial_accumulator_value", "epsilon"]);
        Ok(Self { initial: object.float("initial_accumulator_value", 0.1)?, epsilon: object.float("epsilon", 1e-7)? })
    }
}

impl Rule for Adagrad {
    fn build(&self, state: &mut State<'_>, weights: &[Weight]) -> Result<()> {
        state.slots(weights, &[("accumulator", self.initial)])
    }

    fn update(&self, step: &Step<'_>, target: &Target<'_>) -> Result<()> {
        let g = step.g;
        let slot = step.slot(target, "accumulator")?;
        let rate = step.rate(target)?;
        assign_add(g, slot, &square(g, &target.gradient)?)?;
        let root = g.sqrt(&g.with_scalar(&step.value(slot)?, self.epsilon, Graph::add_v2)?)?;
        let change = map(&target.gradient, |values| g.mul(&rate, values))?;
        let change = with_dense(g, &change, &root, |a, b| g.real_div(a, b))?;
        assign_sub(g, target.weight.resource, &change)
    }
}

#[derive(Debug)]
pub(super) struct Adadelta {
    rho: f64,
    epsilon: f64,
}

impl Adadelta {
    pub(super) fn parse(object: &Object<'_>, known: &mut Vec<&str>) -> Result<Self> {
        known.extend(["rho", "epsilon"]);
        Ok(Self { rho: object.float("rho", 0.95)?, epsilon: object.float("epsilon", 1e-7)? })
    }
}

impl Rule for Adadelta {
    fn build(&self, state: &mut State<'_>, weights: &[Weight]) -> Result<()> {
        state.slots(weights, &[("accumulated_grad", 0.0), ("accumulated_delta_var", 0.0)])
    }

    fn update(&self, step: &Step<'_>, target: &Target<'_>) -> Result<()> {
        let (g, dtype) = (step.g, target.weight.dtype);
        let (gradients, changes) =
            (step.slot(target, "accumulated_grad")?, step.slot(target, "accumulated_delta_var")?);
        let rate = step.rate(target)?;
        let root = |x: &TensorRef| g.sqrt(&g.with_scalar(x, self.epsilon, Graph::add_v2)?);
        let decayed = |x: &TensorRef| g.mul(&g.scalar(self.rho, dtype)?, x);
        let added = whole(g, &scaled(g, &square(g, &target.gradient)?, 1.0 - self.rho)?)?;
        g.assign(gradients, &g.add_v2(&decayed(&step.value(gradients)?)?, &added)?)?;
        let change = with_dense(g, &target.gradient, &root(&step.value(changes)?)?, |a, b| g.mul(b, a))?;
        let change = with_dense(g, &change, &root(&step.value(gradients)?)?, |a, b| g.real_div(a, b))?;
        let change = map(&change, |values| g.neg(values))?;
        let added = whole(g, &scaled(g, &square(g, &change)?, 1.0 - self.rho)?)?;
        g.assign(changes, &g.add_v2(&decayed(&step.value(changes)?)?, &added)?)?;
        assign_add(g, target.weight.resource, &map(&change, |values| g.mul(&rate, values))?)
    }
}

#[derive(Debug)]
pub(super) struct Lion {
    beta_1: f64,
    beta_2: f64,
}

impl Lion {
    pub(super) fn parse(object: &Object<'_>, known: &mut Vec<&str>) -> Result<Self> {
        known.extend(["beta_1", "beta_2"]);
        Ok(Self { beta_1: object.float("beta_1", 0.9)?, beta_2: object.float("beta_2", 0.99)? })
    }
}

impl Rule for Lion {
    fn build(&self, state: &mut State<'_>, weights: &[Weight]) -> Result<()> {
        state.slots(weights, &[("momentum", 0.0)])
    }

    fn update(&self, step: &Step<'_>, target: &Target<'_>) -> Result<()> {
        let (g, dtype) = (step.g, target.weight.dtype);
        let slot = step.slot(target, "momentum")?;
        let momentum = step.value(slot)?;
        let mixed = |beta: f64| -> Result<TensorRef> {
            let beta = g.scalar(beta, dtype)?;
            let rest = g.sub(&g.scalar(1.0, dtype)?, &beta)?;
            let new = whole(g, &map(&target.gradient, |values| g.mul(values, &rest))?)?;
            g.add_v2(&g.mul(&momentum, &beta)?, &new)
        };
        let change = g.mul(&step.rate(target)?, &g.sign(&mixed(self.beta_1)?)?)?;
        g.assign_sub(target.weight.resource, &change)?;
        g.assign(slot, &mixed(self.beta_2)?)
    }
}
