//! `Adafactor`.

use tf_persist_savedmodel::DType;

use super::super::compiled::Object;
use super::super::gradients::Gradient;
use super::state::Initial;
use super::values::{assign_sub, map, square, whole, with_dense};
use super::{Rule, State, Step, Target};
use crate::graph::{Graph, TensorRef};
use crate::layers::Weight;
use crate::reason::Result;

/// Keeps the second moments of matrices as those of rows and columns.
#[derive(Debug)]
pub(super) struct Adafactor {
    decay: f64,
    epsilon_1: f64,
    epsilon_2: f64,
    clip: f64,
    /// Whether the learning rate falls with the number of steps; not so with a schedule.
    relative: bool,
}

impl Adafactor {
    pub(super) fn parse(object: &Object<'_>, known: &mut Vec<&str>, schedules: bool) -> Result<Self> {
        known.extend(["beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold", "relative_step"]);
        Ok(Self {
            decay: object.float("beta_2_decay", -0.8)?,
            epsilon_1: object.float("epsilon_1", 1e-30)?,
            epsilon_2: object.float("epsilon_2", 1e-3)?,
            clip: object.float("clip_threshold", 1.0)?,
            relative: object.flag("relative_step", true)? && !schedules,
        })
    }

    /// The second moments, from those of rows and columns where there are two dimensions.
    fn moments(
        &self,
        step: &Step<'_>,
        target: &Target<'_>,
        squares: &TensorRef,
        beta: &TensorRef,
    ) -> Result<TensorRef> {
        let g = step.g;
        let rest = g.sub(&g.scalar(1.0, beta.dtype)?, beta)?;
        let approach = |name: &'static str, value: &TensorRef| -> Result<TensorRef> {
            let slot = step.slot(target, name)?;
            g.assign(slot, &g.add_v2(&g.mul(beta, &step.value(slot)?)?, &g.mul(&rest, value)?)?)?;
            step.value(slot)
        };
        let velocity = step.slot(target, "velocity")?;
        if target.weight.shape.len() < 2 {
            return approach("velocity", squares);
        }
        let rows = approach("row", &g.mean(squares, &[-1], false)?)?;
        let columns = approach("column", &g.mean(squares, &[-2], false)?)?;
        let share = g.real_div(&rows, &g.mean(&rows, &[-1], true)?)?;
        g.assign(velocity, &g.mul(&g.expand_dims(&share, -1)?, &g.expand_dims(&columns, -2)?)?)?;
        step.value(velocity)
    }
}

/// The root of the mean of squares.
fn root_mean_square(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    let axes: Vec<i64> = (0..x.rank() as i64).collect();
    g.sqrt(&g.mean(&g.square(x)?, &axes, false)?)
}

impl Rule for Adafactor {
    fn build(&self, state: &mut State<'_>, weights: &[Weight]) -> Result<()> {
        for (index, weight) in weights.iter().enumerate() {
            let (name, dtype) = (weight.name.as_str(), weight.dtype);
            match weight.shape.as_slice() {
                [outer @ .., rows, columns] => {
                    state.slot_as("row", index, name, dtype, &[outer, &[*rows]].concat())?;
                    state.slot_as("column", index, name, dtype, &[outer, &[*columns]].concat())?;
                }
                _ => {
                    state.slot_as("row", index, name, DType::Int32, &[])?;
                    state.slot_as("column", index, name, DType::Int32, &[])?;
                }
            }
            state.slot_of("velocity", index, weight, Initial::Filled(0.0))?;
        }
        Ok(())
    }

    fn update(&self, step: &Step<'_>, target: &Target<'_>) -> Result<()> {
        let (g, dtype) = (step.g, target.weight.dtype);
        let scalar = |value: f64| g.scalar(value, dtype);
        let (one, count) = (scalar(1.0)?, step.count(target, 1.0)?);
        let falling = || g.real_div(&one, &g.sqrt(&count)?);
        let mut rate = step.rate(target)?;
        if self.relative {
            rate = g.minimum(&rate, &falling()?)?;
        }
        let rho = g.minimum(&rate, &falling()?)?;
        let size = root_mean_square(g, &step.value(target.weight.resource)?)?;
        let alpha = g.mul(&g.maximum(&scalar(self.epsilon_2)?, &size)?, &rho)?;
        let squares = whole(g, &square(g, &target.gradient)?)?;
        let squares = g.with_scalar(&squares, self.epsilon_1, Graph::add_v2)?;
        let beta = g.sub(&one, &g.with_scalar(&count, self.decay, Graph::pow)?)?;
        let moments = self.moments(step, target, &squares, &beta)?;
        let update = with_dense(g, &target.gradient, &g.sqrt(&moments)?, |a, b| g.real_div(a, b))?;
        let norm = match &update {
            Gradient::Dense(update) => root_mean_square(g, update)?,
            Gradient::Sparse(slices) => {
                let axes: Vec<i64> = (0..slices.values.rank() as i64).collect();
                let sum = g.sum(&g.square(&slices.values)?, &axes, false)?;
                let count = target.weight.shape.iter().product::<usize>() as f64;
                g.sqrt(&g.with_scalar(&sum, count, Graph::real_div)?)?
            }
        };
        let limit = g.maximum(&one, &g.with_scalar(&norm, self.clip, Graph::real_div)?)?;
        let update = map(&update, |values| g.real_div(values, &limit))?;
        assign_sub(g, target.weight.resource, &map(&update, |values| g.mul(&alpha, values))?)
    }
}
