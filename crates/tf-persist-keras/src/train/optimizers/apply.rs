//! One step of an optimizer, from gradients to new weights.

use tf_persist_savedmodel::DType;

use super::super::gradients::Gradient;
use super::clip::clipped;
use super::common::LearningRate;
use super::constraint::constrained;
use super::values::{map, whole};
use super::{Optimizer, Scaling, State, Step, Target};
use crate::graph::{Graph, Resource, TensorRef};
use crate::layers::Weight;
use crate::reason::Result;

/// An optimizer and its variables, for the trainable weights of a model.
pub(in crate::train) struct Applied<'a> {
    optimizer: &'a Optimizer,
    weights: &'a [Weight],
    pub(in crate::train) state: State<'a>,
}

impl<'a> Applied<'a> {
    /// Adds the variables of the optimizer, in Keras's order.
    pub(in crate::train) fn new(optimizer: &'a Optimizer, weights: &'a [Weight], mut state: State<'a>) -> Result<Self> {
        let common = &optimizer.common;
        if let Some(scaling) = optimizer.scaling {
            // Of its own; they have no effect.
            state.scalar_as("outer_iteration", "iteration", DType::Int64, 0.0, false)?;
            state.scalar_as("outer_learning_rate", "learning_rate", DType::Float32, 0.0, false)?;
            state.scalar("step_counter", DType::Int64, 0.0, true)?;
            state.scalar("dynamic_scale", DType::Float32, scaling.initial, true)?;
        }
        state.scalar("iteration", DType::Int64, 0.0, false)?;
        if let LearningRate::Variable(rate) = common.learning_rate {
            state.scalar("learning_rate", DType::Float32, rate, false)?;
        }
        if common.averages.is_some() {
            state.slots(weights, &[("average", 0.0)])?;
        }
        if common.accumulation.is_some() {
            state.slots(weights, &[("gradient_accumulator", 0.0)])?;
        }
        optimizer.rule.build(&mut state, weights)?;
        Ok(Self { optimizer, weights, state })
    }

    /// The loss whose gradients are computed.
    pub(in crate::train) fn scaled_loss(&self, g: &Graph, loss: &TensorRef) -> Result<TensorRef> {
        if self.optimizer.scaling.is_some() {
            let scale = g.read(self.state.named("dynamic_scale")?)?;
            return g.mul(loss, &g.cast(&scale, loss.dtype)?);
        }
        match self.optimizer.common.loss_scale {
            Some(scale) => g.with_scalar(loss, scale, Graph::mul),
            None => Ok(loss.clone()),
        }
    }

    /// Adds the nodes of a step. There is a gradient for each weight; those without keep their values.
    pub(in crate::train) fn apply(&self, g: &Graph, gradients: Vec<Option<Gradient>>) -> Result<()> {
        let mut targets = Vec::new();
        for (index, (weight, gradient)) in self.weights.iter().zip(gradients).enumerate() {
            if let Some(gradient) = gradient {
                let mut gradient = map(&gradient, |values| g.cast(values, weight.dtype))?;
                if self.optimizer.common.sums_rows {
                    gradient = whole(g, &gradient)?.into();
                }
                targets.push(Target { weight, index, gradient });
            }
        }
        match self.optimizer.scaling {
            Some(scaling) => self.apply_scaled(g, &targets, scaling),
            None => {
                let scale = self.optimizer.common.loss_scale;
                if let Some(scale) = scale {
                    for target in &mut targets {
                        target.gradient =
                            map(&target.gradient, |values| g.with_scalar(values, scale, Graph::real_div))?;
                    }
                }
                self.apply_plain(g, &targets)
            }
        }
    }

    /// A step if all gradients are finite; else the scale of the loss is halved.
    fn apply_scaled(&self, g: &Graph, targets: &[Target<'_>], scaling: Scaling) -> Result<()> {
        let mut finite = Vec::new();
        for target in targets {
            let values = match &target.gradient {
                Gradient::Dense(tensor) => tensor.clone(),
                Gradient::Sparse(slices) => slices.values.clone(),
            };
            let axes: Vec<i64> = (0..values.rank() as i64).collect();
            finite.push(g.all(&g.classify("IsFinite", &values)?, &axes, false)?);
        }
        let is_finite = g.all(&g.pack(&finite.iter().collect::<Vec<_>>(), 0)?, &[0], false)?;
        let (counter, scale) = (self.state.named("step_counter")?, self.state.named("dynamic_scale")?);
        let rescale = |g: &Graph, factor: f64| -> Result<()> {
            g.assign(counter, &g.scalar(0.0, DType::Int64)?)?;
            g.assign(scale, &g.with_scalar(&g.read_again(scale)?, factor, Graph::mul)?)
        };
        g.conditional(
            "step",
            &is_finite,
            |g| {
                let divisor = g.read(scale)?;
                let mut unscaled = Vec::new();
                for target in targets {
                    let divide = |values: &TensorRef| g.real_div(values, &g.cast(&divisor, values.dtype)?);
                    unscaled.push(Target { gradient: map(&target.gradient, divide)?, ..*target });
                }
                self.apply_plain(g, &unscaled)?;
                let last = g.scalar(scaling.growth_steps as f64 - 1.0, DType::Int64)?;
                let grows = g.equal(&g.read_again(counter)?, &last)?;
                let count = |g: &Graph| g.assign_add(counter, &g.scalar(1.0, DType::Int64)?);
                g.conditional("growth", &grows, |g| rescale(g, 2.0), count)
            },
            |g| rescale(g, 0.5),
        )
    }

    fn apply_plain(&self, g: &Graph, targets: &[Target<'_>]) -> Result<()> {
        if targets.is_empty() {
            return Ok(());
        }
        let iteration = self.state.named("iteration")?;
        match self.optimizer.common.accumulation {
            None => self.update(g, targets)?,
            Some(steps) => {
                let next = g.with_scalar(&g.read_again(iteration)?, 1.0, Graph::add_v2)?;
                let rest = g.with_scalar(&next, steps as f64, Graph::floor_mod)?;
                let is_due = g.with_scalar(&rest, 0.0, Graph::equal)?;
                let later = |g: &Graph| self.accumulate(g, targets);
                g.conditional("update", &is_due, |g| self.update_accumulated(g, targets, steps), later)?;
            }
        }
        self.average(g)?;
        for target in targets {
            constrained(g, target.weight)?;
        }
        g.assign_add(iteration, &g.scalar(1.0, DType::Int64)?)
    }

    fn accumulator(&self, target: &Target<'_>) -> Result<Resource> {
        self.state.slot("gradient_accumulator", target.index)
    }

    fn accumulate(&self, g: &Graph, targets: &[Target<'_>]) -> Result<()> {
        for target in targets {
            let slot = self.accumulator(target)?;
            g.assign(slot, &g.add_v2(&g.read_again(slot)?, &whole(g, &target.gradient)?)?)?;
        }
        Ok(())
    }

    fn update_accumulated(&self, g: &Graph, targets: &[Target<'_>], steps: i64) -> Result<()> {
        let mut means = Vec::new();
        for target in targets {
            let slot = self.accumulator(target)?;
            let sum = g.add_v2(&whole(g, &target.gradient)?, &g.read_again(slot)?)?;
            let mean = g.with_scalar(&sum, steps as f64, Graph::real_div)?;
            means.push(Target { gradient: mean.into(), ..*target });
        }
        self.update(g, &means)?;
        for (index, weight) in self.weights.iter().enumerate() {
            let slot = self.state.slot("gradient_accumulator", index)?;
            let zero = g.scalar(0.0, weight.dtype)?;
            let sizes = g.vector_i32(&weight.shape.iter().map(|size| *size as i64).collect::<Vec<_>>())?;
            g.assign(slot, &g.fill(&sizes, &zero, crate::graph::Shape::of_sizes(&weight.shape))?)?;
        }
        Ok(())
    }

    /// The number of updates before this one.
    fn iterations(&self, g: &Graph) -> Result<TensorRef> {
        let count = g.read_again(self.state.named("iteration")?)?;
        match self.optimizer.common.accumulation {
            Some(steps) => g.with_scalar(&count, steps as f64, Graph::floor_div),
            None => Ok(count),
        }
    }

    fn learning_rate(&self, g: &Graph) -> Result<TensorRef> {
        match &self.optimizer.common.learning_rate {
            LearningRate::Variable(_) => g.read_again(self.state.named("learning_rate")?),
            LearningRate::Schedule(schedule) => schedule.rate(g, &g.read_again(self.state.named("iteration")?)?),
        }
    }

    /// Clips the gradients, decays the weights, and updates them.
    fn update(&self, g: &Graph, targets: &[Target<'_>]) -> Result<()> {
        let common = &self.optimizer.common;
        let gradients = targets.iter().map(|target| target.gradient.clone()).collect();
        let gradients = clipped(g, gradients, common.clip)?;
        let learning_rate = self.learning_rate(g)?;
        for target in targets {
            let weight = target.weight;
            let Some(decay) = self.optimizer.rule.weight_decay(weight, common.weight_decay) else { continue };
            let value = g.read_again(weight.resource)?;
            let decayed = g.with_scalar(&value, decay, Graph::mul)?;
            g.assign_sub(weight.resource, &g.mul(&decayed, &g.cast(&learning_rate, weight.dtype)?)?)?;
        }
        let step = Step { g, state: &self.state, learning_rate, iterations: self.iterations(g)? };
        self.optimizer.rule.begin(&step)?;
        for (target, gradient) in targets.iter().zip(gradients) {
            self.optimizer.rule.update(&step, &Target { gradient, ..*target })?;
        }
        Ok(())
    }

    /// Moves the averages of the weights, and replaces the weights by them where it is time.
    fn average(&self, g: &Graph) -> Result<()> {
        let Some(averages) = self.optimizer.common.averages else { return Ok(()) };
        let iterations = self.iterations(g)?;
        let later = g.with_scalar(&iterations, 0.0, Graph::not_equal)?;
        for (index, weight) in self.weights.iter().enumerate() {
            let slot = self.state.slot("average", index)?;
            let momentum = g.with_scalar(&g.cast(&later, weight.dtype)?, averages.momentum, Graph::mul)?;
            let kept = g.mul(&momentum, &g.read_again(slot)?)?;
            let rest = g.sub(&g.scalar(1.0, weight.dtype)?, &momentum)?;
            g.assign(slot, &g.add_v2(&kept, &g.mul(&rest, &g.read_again(weight.resource)?)?)?)?;
        }
        let Some(steps) = averages.overwrite else { return Ok(()) };
        let next = g.with_scalar(&iterations, 1.0, Graph::add_v2)?;
        let is_due = g.with_scalar(&g.with_scalar(&next, steps as f64, Graph::floor_mod)?, 0.0, Graph::equal)?;
        g.conditional("overwrite", &is_due, |g| self.overwrite(g), |_| Ok(()))
    }

    /// Replaces the weights by their averages.
    fn overwrite(&self, g: &Graph) -> Result<()> {
        for (index, weight) in self.weights.iter().enumerate() {
            g.assign(weight.resource, &g.read_again(self.state.slot("average", index)?)?)?;
        }
        Ok(())
    }

    /// Whether the optimizer averages the weights.
    pub(in crate::train) fn averages(&self) -> bool {
        self.optimizer.common.averages.is_some()
    }

    /// Adds the nodes that end a training. Gives the number of its steps.
    pub(in crate::train) fn finalize(&self, g: &Graph) -> Result<TensorRef> {
        self.overwrite(g)?;
        g.read_again(self.state.named("iteration")?)
    }
}
