//! Dropout in cells, which drop the same parts in each step.

use std::cell::RefCell;
use std::rc::Rc;

use crate::config::Config;
use crate::graph::{Graph, TensorRef};
use crate::layers::{Context, random};
use crate::reason::Result;

/// How much of its input and of its state a cell drops in training.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Dropout {
    input: f64,
    state: f64,
    seed: Option<i64>,
    /// The masks of the input, and those of the state: one for each gate, or one.
    count: usize,
    /// Whether the input of each step has a mask of its own.
    by_step: bool,
}

impl Dropout {
    pub(super) fn of(config: &Config<'_>, count: usize) -> Result<Self> {
        let rate = |key: &str| -> Result<f64> { Ok(config.float_or(key, 0.0)?.clamp(0.0, 1.0)) };
        let seed = config.get("seed").map(|_| config.int("seed")).transpose()?;
        Ok(Self { input: rate("dropout")?, state: rate("recurrent_dropout")?, seed, count, by_step: false })
    }

    /// Cells with gates drop nothing where the rate is 1.
    #[must_use]
    pub(super) fn of_gates(mut self) -> Self {
        for rate in [&mut self.input, &mut self.state] {
            *rate = if *rate == 1.0 { 0.0 } else { *rate };
        }
        self
    }

    /// The same where, as in layers of Keras 2 that might run on cuDNN, each step has a mask of its own.
    #[must_use]
    pub(super) fn by_step(mut self, by_step: bool) -> Self {
        self.by_step = by_step;
        self
    }

    pub(super) fn is_some(self) -> bool {
        self.input > 0.0 || self.state > 0.0
    }

    /// The sequence without what is dropped from it, if each step has a mask of its own.
    pub(super) fn of_sequence(self, cx: &Context<'_>, x: &TensorRef) -> Result<TensorRef> {
        match cx.training && self.by_step {
            true => random::dropout(cx, x, self.input, None, self.seed),
            false => Ok(x.clone()),
        }
    }

    /// Draws the masks for inputs and states of these shapes.
    pub(super) fn draw(
        self,
        cx: &Context<'_>,
        masks: &Masks,
        input: &dyn Fn() -> Result<TensorRef>,
        state: &TensorRef,
    ) -> Result<()> {
        let mut drawn = Drawn::default();
        if cx.training {
            let draw = |rate: f64, like: &TensorRef| -> Result<Vec<TensorRef>> {
                let ones = cx.g.ones_like(like)?;
                (0..self.count).map(|_| random::dropout(cx, &ones, rate, None, self.seed)).collect()
            };
            if self.input > 0.0 && !self.by_step {
                drawn.inputs = draw(self.input, &input()?)?;
            }
            if self.state > 0.0 {
                drawn.states = draw(self.state, state)?;
            }
        }
        *masks.0.borrow_mut() = drawn;
        Ok(())
    }
}

/// The masks of a cell, which its steps use.
#[derive(Debug, Clone, Default)]
pub(super) struct Masks(Rc<RefCell<Drawn>>);

#[derive(Debug, Default)]
struct Drawn {
    inputs: Vec<TensorRef>,
    states: Vec<TensorRef>,
}

impl Masks {
    /// The input of a gate.
    pub(super) fn input(&self, g: &Graph, gate: usize, x: &TensorRef) -> Result<TensorRef> {
        masked(g, &self.0.borrow().inputs, gate, x)
    }

    /// The state of a gate.
    pub(super) fn state(&self, g: &Graph, gate: usize, h: &TensorRef) -> Result<TensorRef> {
        masked(g, &self.0.borrow().states, gate, h)
    }
}

fn masked(g: &Graph, masks: &[TensorRef], gate: usize, x: &TensorRef) -> Result<TensorRef> {
    match masks.get(gate) {
        Some(mask) => g.mul(x, mask),
        None => Ok(x.clone()),
    }
}
