//! The states of a recurrent layer before and after a sequence.

use super::cell::Prepared;
use crate::graph::{Dim, Resource, Shape, TensorRef};
use crate::layers::Context;
use crate::reason::{Result, refuse};

/// Where the states come from, and where they go.
#[derive(Debug)]
pub(super) struct States {
    batch_axis: usize,
    /// Of a stateful layer, the variables that hold the states between calls.
    kept: Option<Vec<Resource>>,
}

impl States {
    pub(super) fn new(
        cx: &Context<'_>,
        cell: &Prepared<'_>,
        x: &TensorRef,
        batch_axis: usize,
        stateful: bool,
    ) -> Result<Self> {
        if !stateful {
            return Ok(Self { batch_axis, kept: None });
        }
        let Some(batch) = x.dims()[batch_axis] else {
            refuse!("it is stateful, and the size of its batch is unknown");
        };
        let mut kept = Vec::new();
        for (number, dims) in cell.states.iter().enumerate() {
            let Some(sizes) = Shape::new(dims.as_slice()).sizes() else {
                refuse!("it is stateful, and the shape {} of its states is unknown", Shape::new(dims.as_slice()));
            };
            kept.push(cx.memory(number, "rnn_state", &[&[batch], sizes.as_slice()].concat())?);
        }
        Ok(Self { batch_axis, kept: Some(kept) })
    }

    /// The states before the sequence: those given, those kept, or zeros.
    pub(super) fn initial(
        &self,
        cx: &Context<'_>,
        cell: &Prepared<'_>,
        x: &TensorRef,
        given: Option<Vec<TensorRef>>,
    ) -> Result<Vec<TensorRef>> {
        let g = cx.g;
        let given = given.map(|given| fitting(cell, x.dims()[self.batch_axis], given)).transpose()?;
        let kept = self.kept.iter().flatten().map(|variable| g.read_again(*variable));
        let kept = kept.collect::<Result<Vec<_>>>()?;
        let states = match given {
            None if !kept.is_empty() => kept,
            Some(given) if cx.is_keras2() && !kept.is_empty() => either(cx, &kept, given)?,
            Some(given) => given,
            None => cell.zero_states(g, x, self.batch_axis)?,
        };
        states.iter().map(|state| g.cast(state, cell.dtype)).collect()
    }

    /// Keeps the states after the sequence.
    pub(super) fn keep(&self, cx: &Context<'_>, states: &[TensorRef]) -> Result<()> {
        for (variable, state) in self.kept.iter().flatten().zip(states) {
            cx.g.assign(*variable, &cx.g.cast(state, cx.policy.variable)?)?;
        }
        Ok(())
    }
}

/// The given states, if their number and shapes fit.
fn fitting(cell: &Prepared<'_>, batch: Dim, given: Vec<TensorRef>) -> Result<Vec<TensorRef>> {
    if given.len() != cell.states.len() {
        refuse!("it has {} states, and is called with {} initial ones", cell.states.len(), given.len());
    }
    for (state, dims) in given.iter().zip(&cell.states) {
        let wanted = Shape::new([&[batch], dims.as_slice()].concat());
        if wanted.merge(&state.shape).is_err() {
            refuse!("its state of shape {wanted} is initially {}", state.shape);
        }
    }
    Ok(given)
}

/// The kept states if any is not zero, else the given ones, as Keras 2 has it.
fn either(cx: &Context<'_>, kept: &[TensorRef], given: Vec<TensorRef>) -> Result<Vec<TensorRef>> {
    let g = cx.g;
    let mut used: Option<TensorRef> = None;
    for state in kept {
        let axes: Vec<i64> = (0..state.rank() as i64).collect();
        let set = g.any(&g.not_equal(state, &g.scalar(0.0, state.dtype)?)?, &axes, false)?;
        used = Some(match used {
            Some(used) => g.logical_or(&used, &set)?,
            None => set,
        });
    }
    let Some(used) = used else { return Ok(given) };
    kept.iter().zip(&given).map(|(kept, given)| g.select(&used, kept, &g.cast(given, kept.dtype)?)).collect()
}
