//! `Muon`.

use super::super::compiled::Object;
use super::adam::Rates;
use super::state::Initial;
use super::values::whole;
use super::{Rule, State, Step, Target};
use crate::graph::{Graph, TensorRef};
use crate::layers::Weight;
use crate::reason::{Result, refuse};

/// The most iterations that are unrolled.
const MAX_ITERATIONS: i64 = 100;

/// Makes the updates of matrices orthogonal; other weights have Adam's updates.
#[derive(Debug)]
pub(super) struct Muon {
    rates: Rates,
    /// Of the polynomial that an iteration applies.
    coefficients: [f64; 3],
    rate_ratio: f64,
    momentum: f64,
    iterations: i64,
    nesterov: bool,
    excludes_embeddings: bool,
    adam_decay: Option<f64>,
    rms_rate: Option<f64>,
}

impl Muon {
    pub(super) fn parse(object: &Object<'_>, known: &mut Vec<&str>) -> Result<Self> {
        known.extend([
            "adam_beta_1",
            "adam_beta_2",
            "epsilon",
            "exclude_layers",
            "exclude_embeddings",
            "muon_a",
            "muon_b",
            "muon_c",
            "adam_lr_ratio",
            "momentum",
            "ns_steps",
            "nesterov",
            "adam_weight_decay",
            "rms_rate",
        ]);
        let excluded = object.get("exclude_layers").and_then(serde_json::Value::as_array);
        if excluded.is_some_and(|layers| !layers.is_empty()) {
            refuse!("`exclude_layers` of `Muon` has patterns of layers, which are not supported");
        }
        let iterations = object.int("ns_steps", 6)?;
        if !(0..=MAX_ITERATIONS).contains(&iterations) {
            refuse!("`ns_steps` of `Muon` is {iterations}, and should be from 0 to {MAX_ITERATIONS}");
        }
        Ok(Self {
            rates: Rates {
                beta_1: object.float("adam_beta_1", 0.9)?,
                beta_2: object.float("adam_beta_2", 0.999)?,
                epsilon: object.float("epsilon", 1e-7)?,
            },
            coefficients: [
                object.float("muon_a", 3.4445)?,
                object.float("muon_b", -4.7750)?,
                object.float("muon_c", 2.0315)?,
            ],
            rate_ratio: object.float("adam_lr_ratio", 1.0)?,
            momentum: object.float("momentum", 0.95)?,
            iterations,
            nesterov: object.flag("nesterov", true)?,
            excludes_embeddings: object.flag("exclude_embeddings", true)?,
            adam_decay: object.optional_float("adam_weight_decay")?,
            rms_rate: object.optional_float("rms_rate")?,
        })
    }

    fn uses_adam(&self, weight: &Weight) -> bool {
        let path = [weight.place.layers.join("/").as_str(), weight.name.as_str()].join("/").to_lowercase();
        weight.shape.len() != 2 || (self.excludes_embeddings && path.contains("embedding"))
    }

    /// Newton and Schulz's iteration towards the nearest orthogonal matrix.
    fn orthogonal(&self, g: &Graph, x: &TensorRef) -> Result<TensorRef> {
        let is_tall = x.dims()[0] > x.dims()[1];
        let turned = |x: &TensorRef| if is_tall { g.transpose(x, &[1, 0]) } else { Ok(x.clone()) };
        let [a, b, c] = self.coefficients;
        let scaled = |x: &TensorRef, factor: f64| g.mul(&g.scalar(factor, x.dtype)?, x);
        let mut x = turned(x)?;
        let norm = g.sqrt(&g.sum(&g.square(&x)?, &[-2, -1], true)?)?;
        x = g.real_div(&x, &g.with_scalar(&norm, 1e-7, Graph::add_v2)?)?;
        for _ in 0..self.iterations {
            let square = g.mat_mul(&x, &g.transpose(&x, &[1, 0])?)?;
            let inner = g.add_v2(&scaled(&square, b)?, &g.mat_mul(&scaled(&square, c)?, &square)?)?;
            x = g.add_v2(&scaled(&x, a)?, &g.mat_mul(&inner, &x)?)?;
        }
        turned(&x)
    }
}

impl Rule for Muon {
    fn build(&self, state: &mut State<'_>, weights: &[Weight]) -> Result<()> {
        for (index, weight) in weights.iter().enumerate() {
            state.slot_of("momentum", index, weight, Initial::Filled(0.0))?;
            if self.uses_adam(weight) {
                state.slot_of("velocity", index, weight, Initial::Filled(0.0))?;
            }
        }
        Ok(())
    }

    fn weight_decay(&self, weight: &Weight, common: Option<f64>) -> Option<f64> {
        if self.uses_adam(weight) { self.adam_decay } else { common }
    }

    fn update(&self, step: &Step<'_>, target: &Target<'_>) -> Result<()> {
        let (g, dtype) = (step.g, target.weight.dtype);
        if self.uses_adam(target.weight) {
            let rate = g.with_scalar(&step.learning_rate, self.rate_ratio, Graph::mul)?;
            let (m, v) = self.rates.move_moments(step, target)?;
            return self.rates.descend(step, target, &g.cast(&rate, dtype)?, m, v);
        }
        let slot = step.slot(target, "momentum")?;
        let gradient = whole(g, &target.gradient)?;
        let kept = g.with_scalar(&step.value(slot)?, self.momentum - 1.0, Graph::mul)?;
        g.assign_add(slot, &g.add_v2(&gradient, &kept)?)?;
        let mut direction = step.value(slot)?;
        if self.nesterov {
            direction = g.add_v2(&gradient, &g.mul(&g.scalar(self.momentum, dtype)?, &direction)?)?;
        }
        let mut change = g.mul(&step.rate(target)?, &self.orthogonal(g, &direction)?)?;
        if let Some(rate) = self.rms_rate {
            let largest = target.weight.shape.iter().copied().max().unwrap_or(1) as f32;
            change = g.with_scalar(&change, f64::from(largest.sqrt()), Graph::mul)?;
            change = g.with_scalar(&change, rate, Graph::mul)?;
        }
        g.assign_sub(target.weight.resource, &change)
    }
}
