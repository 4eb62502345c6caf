//! `Adam` and its relatives.

use super::super::compiled::Object;
use super::state::Initial;
use super::values::{assign_sub, map, square, whole, with_dense};
use super::{Rule, State, Step, Target};
use crate::graph::{Graph, Resource, TensorRef};
use crate::layers::Weight;
use crate::reason::Result;
use tf_persist_savedmodel::DType;

/// The decay rates of both moments, and what is added to the denominator.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    pub(super) beta_1: f64,
    pub(super) beta_2: f64,
    pub(super) epsilon: f64,
}

impl Rates {
    pub(super) fn parse(object: &Object<'_>, known: &mut Vec<&str>) -> Result<Self> {
        known.extend(["beta_1", "beta_2", "epsilon"]);
        Ok(Self {
            beta_1: object.float("beta_1", 0.9)?,
            beta_2: object.float("beta_2", 0.999)?,
            epsilon: object.float("epsilon", 1e-7)?,
        })
    }

    /// `1 - beta^steps`, of a decay rate.
    pub(super) fn left(step: &Step<'_>, target: &Target<'_>, beta: f64) -> Result<TensorRef> {
        let g = step.g;
        let power = g.pow(&g.scalar(beta, target.weight.dtype)?, &step.count(target, 1.0)?)?;
        g.sub(&g.scalar(1.0, target.weight.dtype)?, &power)
    }

    /// Moves both moments towards the gradient and its square.
    pub(super) fn move_moments(&self, step: &Step<'_>, target: &Target<'_>) -> Result<(Resource, Resource)> {
        let (m, v) = (step.slot(target, "momentum")?, step.slot(target, "velocity")?);
        self.approach(step, m, &whole(step.g, &target.gradient)?, self.beta_1)?;
        self.approach(step, v, &whole(step.g, &square(step.g, &target.gradient)?)?, self.beta_2)?;
        Ok((m, v))
    }

    /// `slot += (value - slot) · (1 - beta)`.
    fn approach(&self, step: &Step<'_>, slot: Resource, value: &TensorRef, beta: f64) -> Result<()> {
        let g = step.g;
        let change = g.with_scalar(&g.sub(value, &step.value(slot)?)?, 1.0 - beta, Graph::mul)?;
        g.assign_add(slot, &change)
    }

    /// `sqrt(v) + epsilon`.
    pub(super) fn root(&self, g: &Graph, v: &TensorRef) -> Result<TensorRef> {
        g.with_scalar(&g.sqrt(v)?, self.epsilon, Graph::add_v2)
    }

    /// Adam's update with this learning rate, of moments that have moved.
    pub(super) fn descend(
        &self,
        step: &Step<'_>,
        target: &Target<'_>,
        rate: &TensorRef,
        m: Resource,
        v: Resource,
    ) -> Result<()> {
        let g = step.g;
        let root = g.sqrt(&Self::left(step, target, self.beta_2)?)?;
        let alpha = g.real_div(&g.mul(rate, &root)?, &Self::left(step, target, self.beta_1)?)?;
        let change = g.real_div(&g.mul(&step.value(m)?, &alpha)?, &self.root(g, &step.value(v)?)?)?;
        g.assign_sub(target.weight.resource, &change)
    }
}

#[derive(Debug)]
pub(super) struct Adam {
    rates: Rates,
    amsgrad: bool,
}

impl Adam {
    pub(super) fn parse(object: &Object<'_>, known: &mut Vec<&str>) -> Result<Self> {
        known.push("amsgrad");
        Ok(Self { rates: Rates::parse(object, known)?, amsgrad: object.flag("amsgrad", false)? })
    }
}

impl Rule for Adam {
    fn build(&self, state: &mut State<'_>, weights: &[Weight]) -> Result<()> {
        state.slots(weights, &[("momentum", 0.0), ("velocity", 0.0)])?;
        if self.amsgrad { state.slots(weights, &[("velocity_hat", 0.0)]) } else { Ok(()) }
    }

    fn update(&self, step: &Step<'_>, target: &Target<'_>) -> Result<()> {
        let (m, mut v) = self.rates.move_moments(step, target)?;
        if self.amsgrad {
            let largest = step.slot(target, "velocity_hat")?;
            step.g.assign(largest, &step.g.maximum(&step.value(largest)?, &step.value(v)?)?)?;
            v = largest;
        }
        self.rates.descend(step, target, &step.rate(target)?, m, v)
    }
}

#[derive(Debug)]
pub(super) struct Adamax(Rates);

impl Adamax {
    pub(super) fn parse(object: &Object<'_>, known: &mut Vec<&str>) -> Result<Self> {
        Ok(Self(Rates::parse(object, known)?))
    }
}

impl Rule for Adamax {
    fn build(&self, state: &mut State<'_>, weights: &[Weight]) -> Result<()> {
        state.slots(weights, &[("momentum", 0.0), ("norm", 0.0)])
    }

    fn update(&self, step: &Step<'_>, target: &Target<'_>) -> Result<()> {
        let (g, rates) = (step.g, &self.0);
        let (m, u) = (step.slot(target, "momentum")?, step.slot(target, "norm")?);
        rates.approach(step, m, &whole(g, &target.gradient)?, rates.beta_1)?;
        let decayed = g.mul(&g.scalar(rates.beta_2, target.weight.dtype)?, &step.value(u)?)?;
        let absolute = whole(g, &map(&target.gradient, |values| g.abs(values))?)?;
        g.assign(u, &g.maximum(&decayed, &absolute)?)?;
        let norm = g.with_scalar(&step.value(u)?, rates.epsilon, Graph::add_v2)?;
        let denominator = g.mul(&Rates::left(step, target, rates.beta_1)?, &norm)?;
        let change = g.real_div(&g.mul(&step.rate(target)?, &step.value(m)?)?, &denominator)?;
        g.assign_sub(target.weight.resource, &change)
    }
}

#[derive(Debug)]
pub(super) struct Nadam(Rates);

impl Nadam {
    pub(super) fn parse(object: &Object<'_>, known: &mut Vec<&str>) -> Result<Self> {
        Ok(Self(Rates::parse(object, known)?))
    }

    /// `beta_1 · (1 - 0.5 · 0.96^steps)`.
    fn schedule(&self, step: &Step<'_>, target: &Target<'_>, more: f64) -> Result<TensorRef> {
        let (g, dtype) = (step.g, target.weight.dtype);
        let power = g.pow(&g.scalar(0.96, dtype)?, &step.count(target, more)?)?;
        let half = g.mul(&g.scalar(0.5, dtype)?, &power)?;
        g.mul(&g.scalar(self.0.beta_1, dtype)?, &g.sub(&g.scalar(1.0, dtype)?, &half)?)
    }
}

impl Rule for Nadam {
    fn build(&self, state: &mut State<'_>, weights: &[Weight]) -> Result<()> {
        state.slots(weights, &[("momentum", 0.0), ("velocity", 0.0)])?;
        let dtype = weights.first().map_or(DType::Float32, |weight| weight.dtype);
        state.scalar_as("u_product", "variable", dtype, 1.0, true)
    }

    fn begin(&self, step: &Step<'_>) -> Result<()> {
        let g = step.g;
        let product = step.state.named("u_product")?;
        let value = step.value(product)?;
        let dtype = value.dtype;
        let count = g.cast(&g.with_scalar(&step.iterations, 1.0, Graph::add_v2)?, dtype)?;
        let half = g.mul(&g.scalar(0.5, dtype)?, &g.pow(&g.scalar(0.96, dtype)?, &count)?)?;
        let factor = g.sub(&g.scalar(1.0, dtype)?, &half)?;
        g.assign(product, &g.mul(&g.with_scalar(&value, self.0.beta_1, Graph::mul)?, &factor)?)
    }

    fn update(&self, step: &Step<'_>, target: &Target<'_>) -> Result<()> {
        let (g, rates, dtype) = (step.g, &self.0, target.weight.dtype);
        let one = g.scalar(1.0, dtype)?;
        let (now, next) = (self.schedule(step, target, 1.0)?, self.schedule(step, target, 2.0)?);
        let product = g.cast(&step.value(step.state.named("u_product")?)?, dtype)?;
        let next_product = g.mul(&product, &next)?;
        let (m, v) = (step.slot(target, "momentum")?, step.slot(target, "velocity")?);
        // The rates are cast before they are subtracted from 1.
        let approach = |slot: Resource, value: &TensorRef, beta: f64| -> Result<()> {
            let left = g.sub(&one, &g.scalar(beta, dtype)?)?;
            g.assign_add(slot, &g.mul(&g.sub(value, &step.value(slot)?)?, &left)?)
        };
        approach(m, &whole(g, &target.gradient)?, rates.beta_1)?;
        approach(v, &whole(g, &square(g, &target.gradient)?)?, rates.beta_2)?;
        let past = g.real_div(&g.mul(&next, &step.value(m)?)?, &g.sub(&one, &next_product)?)?;
        let rest = g.sub(&one, &now)?;
        let present = map(&target.gradient, |values| g.mul(&rest, values))?;
        let left = g.sub(&one, &product)?;
        let present = whole(g, &map(&present, |values| g.real_div(values, &left))?)?;
        let m_hat = g.add_v2(&past, &present)?;
        let v_hat = g.real_div(&step.value(v)?, &Rates::left(step, target, rates.beta_2)?)?;
        let change = g.real_div(&g.mul(&m_hat, &step.rate(target)?)?, &rates.root(g, &v_hat)?)?;
        g.assign_sub(target.weight.resource, &change)
    }
}

#[derive(Debug)]
pub(super) struct Lamb(Rates);

impl Lamb {
    pub(super) fn parse(object: &Object<'_>, known: &mut Vec<&str>) -> Result<Self> {
        Ok(Self(Rates::parse(object, known)?))
    }
}

impl Rule for Lamb {
    fn build(&self, state: &mut State<'_>, weights: &[Weight]) -> Result<()> {
        state.slots(weights, &[("momentum", 0.0), ("velocity", 0.0)])
    }

    fn update(&self, step: &Step<'_>, target: &Target<'_>) -> Result<()> {
        let (g, rates) = (step.g, &self.0);
        let (m, v) = rates.move_moments(step, target)?;
        let m_hat = g.real_div(&step.value(m)?, &Rates::left(step, target, rates.beta_1)?)?;
        let v_hat = g.real_div(&step.value(v)?, &Rates::left(step, target, rates.beta_2)?)?;
        let update = g.real_div(&m_hat, &rates.root(g, &v_hat)?)?;
        let norm = |x: &TensorRef| -> Result<TensorRef> {
            let axes: Vec<i64> = (0..x.rank() as i64).collect();
            g.sqrt(&g.sum(&g.with_scalar(x, 2.0, Graph::pow)?, &axes, false)?)
        };
        let (weight_norm, norm) = (norm(&step.value(target.weight.resource)?)?, norm(&update)?);
        let (zero, one) = (g.scalar(0.0, norm.dtype)?, g.scalar(1.0, norm.dtype)?);
        let ratio = g.select(&g.greater(&norm, &zero)?, &g.real_div(&weight_norm, &norm)?, &one)?;
        let ratio = g.select(&g.greater(&weight_norm, &zero)?, &ratio, &one)?;
        g.assign_sub(target.weight.resource, &g.mul(&g.mul(&ratio, &step.rate(target)?)?, &update)?)
    }
}

#[derive(Debug)]
pub(super) struct ScheduleFree {
    rates: Rates,
    warmup_steps: f64,
}

impl ScheduleFree {
    pub(super) fn parse(object: &Object<'_>, known: &mut Vec<&str>) -> Result<Self> {
        known.extend(["beta_1", "beta_2", "epsilon", "warmup_steps"]);
        let rates = Rates {
            beta_1: object.float("beta_1", 0.9)?,
            beta_2: object.float("beta_2", 0.999)?,
            epsilon: object.float("epsilon", 1e-8)?,
        };
        Ok(Self { rates, warmup_steps: object.float("warmup_steps", 0.0)? })
    }
}

impl Rule for ScheduleFree {
    fn build(&self, state: &mut State<'_>, weights: &[Weight]) -> Result<()> {
        for (index, weight) in weights.iter().enumerate() {
            state.slot_of("momentum", index, weight, Initial::Weight(weight.resource))?;
            state.slot_of("velocity", index, weight, Initial::Filled(0.0))?;
        }
        Ok(())
    }

    fn update(&self, step: &Step<'_>, target: &Target<'_>) -> Result<()> {
        let (g, dtype) = (step.g, target.weight.dtype);
        let scalar = |value: f64| g.scalar(value, dtype);
        let (one, beta_1, beta_2) = (scalar(1.0)?, scalar(self.rates.beta_1)?, scalar(self.rates.beta_2)?);
        let (m, v, weight) = (step.slot(target, "momentum")?, step.slot(target, "velocity")?, target.weight.resource);
        let count = step.count(target, 1.0)?;
        let mut rate = step.rate(target)?;
        if self.warmup_steps > 0.0 {
            let factor = g.minimum(&g.real_div(&count, &scalar(self.warmup_steps)?)?, &one)?;
            rate = g.mul(&rate, &factor)?;
        }
        let squares = whole(g, &square(g, &target.gradient)?)?;
        g.assign_add(v, &g.mul(&g.sub(&squares, &step.value(v)?)?, &g.sub(&one, &beta_2)?)?)?;
        let correction = Rates::left(step, target, self.rates.beta_2)?;
        let root = g.sqrt(&g.real_div(&step.value(v)?, &correction)?)?;
        let denominator = g.add_v2(&root, &scalar(self.rates.epsilon)?)?;
        let change = map(&target.gradient, |values| g.mul(&rate, values))?;
        let change = with_dense(g, &change, &denominator, |a, b| g.real_div(a, b))?;
        assign_sub(g, m, &change)?;
        let share = g.real_div(&one, &count)?;
        let rest = g.sub(&one, &beta_1)?;
        let (y, now) = (step.value(weight)?, step.value(m)?);
        // Keras means the momentum before this step, and reads its variable after it.
        let old = g.real_div(&g.sub(&y, &g.mul(&rest, &now)?)?, &beta_1)?;
        let new = g.add_v2(&g.mul(&g.sub(&one, &share)?, &old)?, &g.mul(&share, &now)?)?;
        g.assign(weight, &g.add_v2(&g.mul(&rest, &now)?, &g.mul(&beta_1, &new)?)?)
    }
}
