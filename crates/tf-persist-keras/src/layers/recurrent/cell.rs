//! Cells, which compute one step of a recurrent layer.

use std::fmt;
use std::rc::Rc;

use serde_json::Value;
use tf_persist_savedmodel::DType;

use super::dropout::{Dropout, Masks};
use crate::config::Config;
use crate::graph::{Dim, Graph, Shape, TensorRef};
use crate::layers::{Argument, Arguments, Context, Layer, NamedLayer};
use crate::model::snake_case;
use crate::parse::Parser;
use crate::reason::{Reason, Result, refuse, shown_name};

/// The output of a step, and the states after it.
pub(super) type Stepped = (TensorRef, Vec<TensorRef>);

/// What computes one step of a recurrent layer.
pub(crate) trait Cell: fmt::Debug + Send + Sync {
    /// Declares the variables for inputs of this shape, one step of them, and gives what computes steps.
    fn prepare<'a>(&'a self, cx: &Context<'a>, input: &Shape) -> Result<Prepared<'a>>;
}

type Zeros<'a> = Box<dyn Fn(&Graph, &TensorRef) -> Result<TensorRef> + 'a>;

/// Called with a tensor of the shape of a step's input, and with the states.
type Begin<'a> = Box<dyn Fn(&dyn Fn() -> Result<TensorRef>, &[TensorRef]) -> Result<()> + 'a>;

type Step<'a> = Box<dyn Fn(&Graph, &TensorRef, &[TensorRef]) -> Result<Stepped> + 'a>;

/// A cell whose variables are declared.
pub(crate) struct Prepared<'a> {
    /// The shape of each state, without the batch.
    pub(super) states: Vec<Vec<Dim>>,
    /// The index of the state whose shape the output has.
    output: usize,
    /// The dtype of the output and the states.
    pub(super) dtype: DType,
    step: Step<'a>,
    /// States of zeros for an input with time, where their shape depends on the input's.
    zeros: Option<Zeros<'a>>,
    /// Draws the masks of dropout.
    begin: Option<Begin<'a>>,
    /// What is dropped from a sequence as a whole.
    whole: Option<Zeros<'a>>,
}

impl<'a> Prepared<'a> {
    /// A cell with states of these shapes, of which the output has one, and what computes a step in any graph.
    pub(super) fn new(
        cx: &Context<'a>,
        states: Vec<Vec<Dim>>,
        output: usize,
        step: impl Fn(&Graph, &TensorRef, &[TensorRef]) -> Result<Stepped> + 'a,
    ) -> Self {
        Self { states, output, dtype: cx.policy.compute, step: Box::new(step), zeros: None, begin: None, whole: None }
    }

    /// The same with states of zeros that are computed from the input.
    #[must_use]
    pub(super) fn with_zeros(mut self, zeros: impl Fn(&Graph, &TensorRef) -> Result<TensorRef> + 'a) -> Self {
        self.zeros = Some(Box::new(zeros));
        self
    }

    /// The same with dropout, whose masks the steps use.
    #[must_use]
    pub(super) fn with_dropout(mut self, cx: &Context<'a>, dropout: Dropout, masks: Masks) -> Self {
        let (outer, of_steps) = (cx.clone(), cx.clone());
        self.begin = Some(Box::new(move |input, states| match states.first() {
            Some(state) => dropout.draw(&of_steps, &masks, input, state),
            None => Ok(()),
        }));
        self.whole = Some(Box::new(move |g, x| dropout.of_sequence(&outer.in_graph(g), x)));
        self
    }

    /// Begins a sequence: `input` gives a tensor of the shape of a step's input.
    pub(super) fn begin(&self, input: &dyn Fn() -> Result<TensorRef>, states: &[TensorRef]) -> Result<()> {
        self.begin.as_ref().map_or(Ok(()), |begin| begin(input, states))
    }

    /// The sequence without what is dropped from it as a whole.
    pub(super) fn dropped(&self, g: &Graph, x: &TensorRef) -> Result<TensorRef> {
        self.whole.as_ref().map_or_else(|| Ok(x.clone()), |whole| whole(g, x))
    }

    /// The shape of the output, without the batch.
    pub(super) fn output(&self) -> &[Dim] {
        self.states.get(self.output).map_or(&[], Vec::as_slice)
    }

    /// Zeros with the shape of the output.
    pub(super) fn zero_output(&self, g: &Graph, states: &[TensorRef]) -> Result<TensorRef> {
        match states.get(self.output) {
            Some(state) => g.zeros_like(state),
            None => refuse!("its cell has no states"),
        }
    }

    /// The output for an input without time, and the next states.
    pub(super) fn step(&self, g: &Graph, x: &TensorRef, states: &[TensorRef]) -> Result<Stepped> {
        let x = g.cast(x, self.dtype)?;
        (self.step)(g, &x, states)
    }

    /// States of zeros, for each of the batch of `x`, which has time.
    pub(super) fn zero_states(&self, g: &Graph, x: &TensorRef, batch_axis: usize) -> Result<Vec<TensorRef>> {
        let mut states = Vec::new();
        for dims in &self.states {
            let shape = [&[x.dims()[batch_axis]], dims.as_slice()].concat();
            if let (true, Some(zeros)) = (dims.iter().any(Option::is_none), &self.zeros) {
                states.push(zeros(g, x)?);
                continue;
            }
            let sizes = g.pack_dims(&shape, |axis| match axis {
                0 => g.dim_of(x, batch_axis as i64),
                _ => refuse!("the shape {} of its states is not known", Shape::new(shape.as_slice())),
            })?;
            states.push(g.fill(&sizes, &g.scalar(0.0, self.dtype)?, Shape::new(shape.as_slice()))?);
        }
        Ok(states)
    }
}

/// A cell as a layer of its own, called with an input and its states.
pub(super) fn call<C: Cell>(cell: &C, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
    let x = arguments.input()?;
    let Some(states) = arguments.take(1, "states") else { refuse!("it is called without states") };
    let prepared = cell.prepare(cx, &x.shape)?;
    let states: Vec<TensorRef> = states.tensors().into_iter().map(|state| state.tensor.clone()).collect();
    if states.len() != prepared.states.len() {
        refuse!("it has {} states, and is called with {}", prepared.states.len(), states.len());
    }
    prepared.begin(&|| Ok(x.tensor.clone()), &states)?;
    let (output, states) = prepared.step(cx.g, &x, &states)?;
    Ok(Argument::List(vec![output.into(), Argument::List(states.into_iter().map(Argument::from).collect())]))
}

/// Cells of which each takes the output of the one before.
#[derive(Debug)]
pub(super) struct Stacked {
    cells: Vec<NamedLayer>,
    /// Whether the states of the last cell come first.
    reverse: bool,
}

impl Stacked {
    pub(super) fn new(config: &Config<'_>, parser: &mut Parser<'_>) -> Result<Self> {
        let (mut cells, mut failed) = (Vec::new(), false);
        for entry in config.array("cells")? {
            match cell_layer(entry, parser) {
                Ok(cell) => cells.push(cell),
                Err(reason) if reason.is_reported() => failed = true,
                Err(reason) => return Err(reason),
            }
        }
        if failed {
            return Err(Reason::reported());
        }
        if cells.is_empty() {
            refuse!("it has no cells");
        }
        Ok(Self { cells, reverse: config.bool_or("reverse_state_order", false)? })
    }
}

/// Reads a cell: an object with `class_name` and `config`.
pub(super) fn cell_layer(entry: &Value, parser: &mut Parser<'_>) -> Result<NamedLayer> {
    let layer = parser.layer(entry)?;
    match layer.layer.as_cell() {
        Some(_) => Ok(layer),
        None => refuse!("its cell is a `{}`, which is not supported", shown_name(&layer.class)),
    }
}

/// The cell of a layer, prepared in its own context.
pub(super) fn prepare<'a>(layer: &'a NamedLayer, cx: &Context<'a>, input: &Shape) -> Result<Prepared<'a>> {
    match layer.layer.as_cell() {
        Some(cell) => cell.prepare(&cx.of_layer(layer), input),
        None => refuse!("`{}` is not a cell", shown_name(&layer.class)),
    }
}

impl Cell for Stacked {
    fn prepare<'a>(&'a self, cx: &Context<'a>, input: &Shape) -> Result<Prepared<'a>> {
        let mut input = input.clone();
        let mut cells = Vec::new();
        for (index, layer) in self.cells.iter().enumerate() {
            let before = self.cells[..index].iter().filter(|other| other.class == layer.class).count();
            let class = snake_case(&layer.class);
            let folder = if before == 0 { class } else { format!("{class}_{before}") };
            let cx = cx.nested(&[&["cells"], &[&folder]], &layer.name);
            let cell = prepare(layer, &cx, &input)?;
            input = Shape::new([&input.dims()[..1], cell.output()].concat());
            cells.push(cell);
        }
        let mut states: Vec<_> = cells.iter().map(|cell| cell.states.clone()).collect();
        if self.reverse {
            states.reverse();
        }
        let states = states.concat();
        let output = match cells.split_last() {
            Some((last, others)) if !self.reverse => {
                last.output + others.iter().map(|cell| cell.states.len()).sum::<usize>()
            }
            Some((last, _)) => last.output,
            None => 0,
        };
        let cells = Rc::new(cells);
        let beginning = Rc::clone(&cells);
        let begin = move |input: &dyn Fn() -> Result<TensorRef>, states: &[TensorRef]| -> Result<()> {
            // The output of a cell has the shape of one of its states.
            let mut before: Option<TensorRef> = None;
            for (cell, own) in beginning.iter().zip(self.of_cells(&beginning, states)?) {
                match &before {
                    Some(output) => cell.begin(&|| Ok(output.clone()), own)?,
                    None => cell.begin(input, own)?,
                }
                before = own.get(cell.output).cloned();
            }
            Ok(())
        };
        let mut stacked = Prepared::new(cx, states, output, move |g, x, states| {
            let mut next: Vec<Vec<TensorRef>> = Vec::new();
            let mut value = x.clone();
            for (cell, own) in cells.iter().zip(self.of_cells(&cells, states)?) {
                let (output, states) = cell.step(g, &value, own)?;
                value = output;
                next.push(states);
            }
            if self.reverse {
                next.reverse();
            }
            Ok((value, next.concat()))
        });
        stacked.begin = Some(Box::new(begin));
        Ok(stacked)
    }
}

impl Stacked {
    /// The states of each cell.
    fn of_cells<'s>(&self, cells: &[Prepared<'_>], states: &'s [TensorRef]) -> Result<Vec<&'s [TensorRef]>> {
        let mut left = states;
        let mut parts = Vec::new();
        for cell in cells {
            let count = cell.states.len();
            let Some((own, rest)) = (if self.reverse {
                left.split_at_checked(left.len().wrapping_sub(count)).map(|(rest, own)| (own, rest))
            } else {
                left.split_at_checked(count)
            }) else {
                refuse!("its cells have other states than it is called with")
            };
            left = rest;
            parts.push(own);
        }
        Ok(parts)
    }
}

impl Layer for Stacked {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        call(self, cx, arguments)
    }

    fn as_cell(&self) -> Option<&dyn Cell> {
        Some(self)
    }
}
