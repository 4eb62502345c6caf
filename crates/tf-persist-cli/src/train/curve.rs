//! The numbers of every step, for plots and JSON reports.

use tf_persist_core::train::{Epoch, Event};

/// The outputs of each step, and the epochs.
pub(super) struct Curve {
    keeps_steps: bool,
    /// The number of the first recorded step, counted over the whole training from 1.
    pub(super) first: u64,
    /// The losses of the steps.
    pub(super) losses: Vec<f64>,
    /// The other numbers of the steps, by output; with the loss.
    pub(super) outputs: Vec<(String, Vec<f64>)>,
    pub(super) epochs: Vec<Epoch>,
}

impl Curve {
    pub(super) fn new(keeps_steps: bool) -> Self {
        Self { keeps_steps, first: 1, losses: Vec::new(), outputs: Vec::new(), epochs: Vec::new() }
    }

    pub(super) fn add(&mut self, event: &Event) {
        match event {
            Event::Begun(state) => self.first = state.steps + 1,
            Event::Step(step) if self.keeps_steps => {
                self.losses.push(step.loss);
                for (name, value) in step.values {
                    match self.outputs.iter_mut().find(|(known, _)| known == name) {
                        Some((_, values)) => values.push(*value),
                        None => self.outputs.push((name.clone(), vec![*value])),
                    }
                }
            }
            Event::Epoch(epoch) => self.epochs.push((*epoch).clone()),
            _ => {}
        }
    }
}
