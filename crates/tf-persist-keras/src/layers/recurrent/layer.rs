//! Layers that run a cell over a sequence: `RNN`, `LSTM`, `GRU`, `SimpleRNN` and their kin.

use serde_json::Value;

use super::cell::{self, Cell, Prepared};
use super::conv_lstm::ConvLstmCell;
use super::convolution_rank;
use super::cudnn::{CudnnGru, CudnnLstm};
use super::dropout::Dropout;
use super::engine::Run;
use super::gru::GruCell;
use super::lstm::LstmCell;
use super::simple::SimpleCell;
use super::states::States;
use crate::config::Config;
use crate::graph::{Shape, TensorRef};
use crate::layers::{Argument, Arguments, Context, Layer, MaskRule, Masked, NamedLayer};
use crate::parse::Parser;
use crate::reason::{Result, refuse};

/// A layer that runs a cell over a sequence.
#[derive(Debug)]
pub(super) struct Recurrent {
    cell: Owned,
    return_sequences: bool,
    return_state: bool,
    stateful: bool,
    run: Run,
    dropout: bool,
    takes_masks: bool,
}

/// The cell of a layer.
#[derive(Debug)]
enum Owned {
    /// A part of the layer: with variables in a folder `cell`.
    Part(Box<dyn Cell>, &'static str),
    /// The layer itself has the variables.
    Itself(Box<dyn Cell>),
    /// A layer of its own.
    Layer(NamedLayer),
}

impl Recurrent {
    pub(super) fn new(class: &str, config: &Config<'_>, parser: &mut Parser<'_>) -> Result<Self> {
        let cell = match class {
            "LSTM" => Owned::Part(Box::new(LstmCell::new(config, true)?), "lstm_cell"),
            "GRU" => Owned::Part(Box::new(GruCell::new(config, true)?), "gru_cell"),
            "SimpleRNN" => Owned::Part(Box::new(SimpleCell::new(config)?), "simple_rnn_cell"),
            "CuDNNLSTM" => Owned::Itself(Box::new(CudnnLstm::new(config)?)),
            "CuDNNGRU" => Owned::Itself(Box::new(CudnnGru::new(config)?)),
            class if convolution_rank(class).is_some() => {
                let rank = convolution_rank(class).unwrap_or_default();
                Owned::Part(Box::new(ConvLstmCell::new(config, rank)?), "conv_lstm_cell")
            }
            _ => Owned::Layer(cell::cell_layer(config.required("cell")?, parser)?),
        };
        Self::of_cell(cell, config, convolution_rank(class).is_some())
    }

    fn of_cell(cell: Owned, config: &Config<'_>, is_convolution: bool) -> Result<Self> {
        config.only("num_constants", &[Value::from(0)])?;
        config.without_effect(&["input_dim", "input_length", "use_cudnn"]);
        let is_cudnn = matches!(cell, Owned::Itself(_));
        let return_sequences = config.bool_or("return_sequences", false)?;
        let run = Run {
            go_backwards: config.bool_or("go_backwards", false)?,
            unroll: config.bool_or("unroll", false)?,
            time_major: config.bool_or("time_major", false)?,
            // Convolutional LSTMs of Keras 2 do not look at it.
            zero_masked: config.bool_or("zero_output_for_mask", false)? && !(is_convolution && config.is_keras2()),
            all: return_sequences,
            keep: false,
        };
        if is_cudnn && run.time_major && run.go_backwards {
            refuse!(
                "`time_major` together with `go_backwards` is not supported, because Keras reverses the batch then"
            );
        }
        if is_convolution && config.is_keras2() && (run.time_major || run.unroll) {
            refuse!("`time_major` and `unroll` are not supported for this class");
        }
        Ok(Self {
            return_sequences,
            return_state: config.bool_or("return_state", false)?,
            stateful: config.bool_or("stateful", false)?,
            run,
            dropout: match &cell {
                Owned::Layer(cell) => !cell.layer.ignores_training(),
                _ => Dropout::of(config, 0)?.is_some(),
            },
            takes_masks: !is_cudnn,
            cell,
        })
    }

    /// The cell, with variables for the steps of `x`, in the context of its variables.
    fn prepare<'a>(&'a self, cx: &Context<'a>, x: &TensorRef) -> Result<Prepared<'a>> {
        let (time, _) = self.run.axes();
        let mut step = x.dims().to_vec();
        step.remove(time);
        let step = Shape::new(step);
        match &self.cell {
            Owned::Part(cell, name) => cell.prepare(&cx.child(&["cell"], name), &step),
            Owned::Itself(cell) => cell.prepare(cx, &step),
            Owned::Layer(layer) => cell::prepare(layer, &cx.child(&["cell"], &layer.name), &step),
        }
    }
}

impl Layer for Recurrent {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let (x, given) = sequence(arguments)?;
        let mask = match arguments.take(2, "mask") {
            Some(mask) => Some(mask.tensor()?.tensor.clone()),
            None => x.mask.clone(),
        };
        if x.rank() < 3 {
            refuse!("its input has shape {}, and needs dimensions for the batch, time and features", x.shape);
        }
        if mask.is_some() && !self.takes_masks {
            refuse!("its input has a mask, and layers for cuDNN take none");
        }
        let g = cx.g;
        let bools = mask.as_ref().map(|mask| g.cast(mask, tf_persist_savedmodel::DType::Bool)).transpose()?;
        let cell = self.prepare(cx, &x)?;
        let states = States::new(cx, &cell, &x, self.run.axes().1, self.stateful)?;
        let initial = states.initial(cx, &cell, &x, given)?;
        let (time, batch) = self.run.axes();
        let step = || {
            let mut dims = x.dims().to_vec();
            dims.remove(time);
            // The batch comes first, then what comes behind time.
            let sizes = g.pack_dims(&dims, |axis| g.dim_of(&x, if axis == 0 { batch } else { axis + 1 } as i64))?;
            g.fill(&sizes, &g.scalar(1.0, cell.dtype)?, Shape::new(dims))
        };
        cell.begin(&step, &initial)?;
        let x = cell.dropped(g, &x)?;
        let run = Run { keep: cx.training, ..self.run };
        let outcome = run.sequence(g, &cell, &x, bools.as_ref(), &initial)?;
        states.keep(cx, &outcome.states)?;
        let output = g.cast(&outcome.output, cx.policy.compute)?;
        let output = Argument::Tensor(Masked { tensor: output, mask: mask.filter(|_| self.return_sequences) });
        if !self.return_state {
            return Ok(output);
        }
        let mut results = vec![output];
        for state in &outcome.states {
            results.push(g.cast(state, cx.policy.compute)?.into());
        }
        Ok(Argument::List(results))
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Own
    }

    fn ignores_training(&self) -> bool {
        !self.dropout
    }
}

/// The sequence and the initial states of a call. Keras 2 gives the states behind the sequence in one list.
pub(super) fn sequence(arguments: &mut Arguments) -> Result<(Masked, Option<Vec<TensorRef>>)> {
    let Some(first) = arguments.take_first() else { refuse!("it is called without an input") };
    let tensors = |argument: &Argument| argument.tensors().into_iter().map(|it| it.tensor.clone()).collect();
    let (x, behind) = match first {
        Argument::List(items) => match items.as_slice() {
            [x, rest @ ..] => (x.tensor()?.clone(), rest.to_vec()),
            [] => refuse!("it is called without an input"),
        },
        argument => (argument.tensor()?.clone(), Vec::new()),
    };
    let given = match arguments.take(1, "initial_state") {
        Some(states) => Some(tensors(&states)),
        None if behind.is_empty() => None,
        None => Some(tensors(&Argument::List(behind))),
    };
    Ok((x, given))
}
