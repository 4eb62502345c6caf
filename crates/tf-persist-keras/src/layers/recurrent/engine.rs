//! The loop over the steps of a sequence.

use super::cell::Prepared;
use crate::graph::{Graph, Shape, TensorRef};
use crate::reason::{Result, refuse};

/// The most steps that are added one by one.
const MOST_UNROLLED: u64 = 4096;

/// How a sequence is run through a cell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) go_backwards: bool,
    /// Whether to add the nodes of each step instead of a loop.
    pub(super) unroll: bool,
    /// Whether time is the first dimension, before the batch.
    pub(super) time_major: bool,
    /// Whether masked steps give zeros, instead of the output before.
    pub(super) zero_masked: bool,
    /// Whether all outputs are wanted, instead of the last one.
    pub(super) all: bool,
    /// Whether a loop keeps the states of all steps, of which gradients are computed.
    pub(super) keep: bool,
}

/// What a sequence gives.
#[derive(Debug)]
pub(super) struct Outcome {
    /// All outputs in one tensor, or the last one.
    pub(super) output: TensorRef,
    pub(super) states: Vec<TensorRef>,
}

impl Run {
    /// The axes of time and batch.
    pub(super) fn axes(self) -> (usize, usize) {
        if self.time_major { (0, 1) } else { (1, 0) }
    }

    /// Runs the steps of `x`. The mask is bool and has the dimensions of `x` up to time, or one of size 1 more.
    pub(super) fn sequence(
        self,
        g: &Graph,
        cell: &Prepared<'_>,
        x: &TensorRef,
        mask: Option<&TensorRef>,
        states: &[TensorRef],
    ) -> Result<Outcome> {
        let mask = mask.map(|mask| if mask.rank() == 2 { g.expand_dims(mask, -1) } else { Ok(mask.clone()) });
        let mask = mask.transpose()?;
        if mask.as_ref().is_some_and(|mask| mask.rank() < 3) {
            refuse!("its mask has rank 1, and 2 is needed");
        }
        match x.dims()[self.axes().0] {
            Some(steps) if self.unroll && steps > MOST_UNROLLED => {
                refuse!("`unroll` for {steps} steps is not supported: at most {MOST_UNROLLED} steps are unrolled")
            }
            Some(steps) if self.unroll && steps > 0 => self.unrolled(g, cell, x, mask.as_ref(), states),
            _ if self.unroll => refuse!("`unroll` needs a fixed number of steps"),
            _ => self.looped(g, cell, x, mask.as_ref(), states),
        }
    }

    /// Adds the nodes of each step.
    fn unrolled(
        self,
        g: &Graph,
        cell: &Prepared<'_>,
        x: &TensorRef,
        mask: Option<&TensorRef>,
        states: &[TensorRef],
    ) -> Result<Outcome> {
        let axis = self.axes().0 as i64;
        let mut inputs = g.unpack(x, axis)?;
        let mut masks = mask.map(|mask| g.unpack(mask, axis)).transpose()?;
        if self.go_backwards {
            inputs.reverse();
            masks.iter_mut().for_each(|masks| masks.reverse());
        }
        if masks.as_ref().is_some_and(|masks| masks.len() != inputs.len()) {
            refuse!("its mask and its input have different numbers of steps");
        }
        let mut states = states.to_vec();
        let mut outputs: Vec<TensorRef> = Vec::new();
        for (step, input) in inputs.iter().enumerate() {
            let (mut output, mut next) = cell.step(g, input, &states)?;
            if let Some(mask) = masks.as_ref().map(|masks| &masks[step]) {
                let before = match outputs.last() {
                    Some(before) => before.clone(),
                    None => g.scalar(0.0, output.dtype)?,
                };
                output = select(g, mask, &output, &before)?;
                for (state, next) in states.iter().zip(&mut next) {
                    *next = select(g, mask, next, state)?;
                }
            }
            states = next;
            if !self.all {
                outputs.clear();
            }
            outputs.push(output);
        }
        let mut output = match outputs.as_slice() {
            [.., last] if !self.all => last.clone(),
            outputs => g.pack(&outputs.iter().collect::<Vec<_>>(), axis)?,
        };
        if let (true, Some(mask), Some(masks)) = (self.zero_masked, mask, masks) {
            // Keras does not reverse the mask of all outputs.
            let zero = g.scalar(0.0, output.dtype)?;
            let mask = if self.all { Some(mask) } else { masks.last() };
            output = mask.map_or(Ok(output.clone()), |mask| select(g, mask, &output, &zero))?;
        }
        Ok(Outcome { output, states })
    }

    /// Adds a loop.
    fn looped(
        self,
        g: &Graph,
        cell: &Prepared<'_>,
        x: &TensorRef,
        mask: Option<&TensorRef>,
        states: &[TensorRef],
    ) -> Result<Outcome> {
        let x = &self.in_order(g, x)?;
        let mask = mask.map(|mask| self.in_order(g, mask)).transpose()?;
        let (steps, batch) = (x.dims()[0], x.dims()[1]);
        if let Some(mask) = &mask {
            Shape::new([steps, batch]).merge(&Shape::new(&mask.dims()[..2]))?;
        }
        let count = g.dim_of(x, 0)?;
        let inputs = g.list_from_tensor(x)?;
        let masks = mask.as_ref().map(|mask| g.list_from_tensor(mask)).transpose()?;
        let output_shape = Shape::new([&[batch], cell.output()].concat());

        let mut variables = vec![g.scalar_i32(0)?];
        if self.all {
            variables.push(g.list_reserve(cell.dtype, &output_shape, &count)?);
        }
        // A masked step repeats the output before.
        let repeats = mask.is_some() && !self.zero_masked;
        if !self.all || repeats {
            variables.push(cell.zero_output(g, states)?);
        }
        let first_state = variables.len();
        variables.extend_from_slice(states);
        let mut shapes: Vec<Shape> = variables.iter().map(|variable| variable.shape.clone()).collect();
        if !self.all || repeats {
            shapes[first_state - 1] = output_shape.clone();
        }
        for (shape, dims) in shapes[first_state..].iter_mut().zip(&cell.states) {
            *shape = Shape::new([&[batch], dims.as_slice()].concat());
        }
        let results = g.loop_of(
            "rnn",
            &variables,
            Some(&shapes),
            self.keep,
            |inner, variables| match steps {
                Some(steps) => inner.less(&variables[0], &inner.scalar_i32(i32::try_from(steps).unwrap_or(i32::MAX))?),
                None => inner.less(&variables[0], &count),
            },
            |inner, variables| {
                let (time, states) = (&variables[0], &variables[first_state..]);
                let input = inner.list_get(&inputs, time, x.dtype, &Shape::new(&x.dims()[1..]))?;
                let (mut output, mut next) = cell.step(inner, &input, states)?;
                if let (Some(masks), Some(mask)) = (&masks, &mask) {
                    let mask = inner.list_get(masks, time, mask.dtype, &Shape::new(&mask.dims()[1..]))?;
                    let before =
                        if repeats { variables[first_state - 1].clone() } else { inner.scalar(0.0, output.dtype)? };
                    output = select(inner, &mask, &output, &before)?;
                    for (state, next) in states.iter().zip(&mut next) {
                        *next = select(inner, &mask, next, state)?;
                    }
                }
                let mut results = vec![inner.add_v2(time, &inner.scalar_i32(1)?)?];
                if self.all {
                    results.push(inner.list_set(&variables[1], time, &output)?);
                }
                if !self.all || repeats {
                    results.push(output);
                }
                results.extend(next);
                Ok(results)
            },
        )?;
        let mut output = results[1].clone();
        if self.all {
            output = g.list_stack(&output, cell.dtype, &output_shape, steps)?;
            output = self.swapped(g, &output)?;
        }
        Ok(Outcome { output, states: results[first_state..].to_vec() })
    }

    /// The steps in the order in which they are run, along the first dimension.
    fn in_order(self, g: &Graph, x: &TensorRef) -> Result<TensorRef> {
        let x = self.swapped(g, x)?;
        if self.go_backwards { g.reverse(&x, &[0]) } else { Ok(x) }
    }

    /// With time as the first dimension, if it is not; or back.
    fn swapped(self, g: &Graph, x: &TensorRef) -> Result<TensorRef> {
        if self.time_major {
            return Ok(x.clone());
        }
        let order: Vec<usize> = [1, 0].into_iter().chain(2..x.rank()).collect();
        g.transpose(x, &order)
    }
}

/// Elements of `a` where a mask of fewer dimensions holds, else of `b`.
fn select(g: &Graph, mask: &TensorRef, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
    let mut mask = mask.clone();
    while mask.rank() < a.rank() {
        mask = g.expand_dims(&mask, -1)?;
    }
    let selected = g.select(&mask, a, b)?;
    a.shape.merge(&selected.shape)?;
    Ok(selected)
}
