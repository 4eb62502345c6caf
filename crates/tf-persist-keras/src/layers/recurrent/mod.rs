//! Recurrent layers: cells, the loop over the steps of a sequence, and the layers around them.

mod bidirectional;
mod cell;
mod conv_lstm;
mod cudnn;
mod dropout;
mod engine;
mod gru;
mod layer;
mod lstm;
mod simple;
mod states;
#[cfg(test)]
mod tests;
mod time_distributed;

pub(crate) use cell::Cell;

use super::activation::Function;
use super::{Activation, Layer, finished};
use crate::config::Config;
use crate::graph::Shape;
use crate::parse::Parser;
use crate::reason::{Result, refuse};

use bidirectional::Bidirectional;
use cell::Stacked;
use gru::GruCell;
use layer::Recurrent;
use lstm::LstmCell;
use simple::SimpleCell;
use time_distributed::TimeDistributed;

pub(super) fn build(class: &str, config: &Config<'_>, parser: &mut Parser<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "LSTMCell" => finished(LstmCell::new(config, false), config),
        "GRUCell" => finished(GruCell::new(config, false), config),
        "SimpleRNNCell" => finished(SimpleCell::new(config), config),
        "StackedRNNCells" => finished(Stacked::new(config, parser), config),
        "Bidirectional" => finished(Bidirectional::new(config, parser), config),
        "TimeDistributed" => finished(TimeDistributed::new(config, parser), config),
        class if is_recurrent(class) => finished(Recurrent::new(class, config, parser), config),
        _ => return None,
    })
}

/// Whether layers of this class run a cell over a sequence.
fn is_recurrent(class: &str) -> bool {
    matches!(class, "RNN" | "LSTM" | "GRU" | "SimpleRNN" | "CuDNNLSTM" | "CuDNNGRU")
        || convolution_rank(class).is_some()
}

/// Over how many dimensions a convolutional LSTM runs; `None` for other classes.
fn convolution_rank(class: &str) -> Option<usize> {
    match class {
        "ConvLSTM1D" => Some(1),
        "ConvLSTM2D" => Some(2),
        "ConvLSTM3D" => Some(3),
        _ => None,
    }
}

/// The activation of a cell's output.
fn activation(config: &Config<'_>) -> Result<Activation> {
    if config.has("activation") { Activation::of(config, "activation") } else { Ok(Function::Tanh.into()) }
}

/// The activation of gates. Before `tf.keras`, whose layers have `time_major`, the default was a hard sigmoid.
fn recurrent_activation(config: &Config<'_>) -> Result<Activation> {
    if config.has("recurrent_activation") {
        return Activation::of(config, "recurrent_activation");
    }
    let is_old = config.is_keras2() && !config.has("time_major");
    Ok(if is_old { Function::HardSigmoid } else { Function::Sigmoid }.into())
}

/// Whether each gate has products of its own: `implementation` 0 and 1, which `recurrent_dropout` implies. Keras 2 does
/// not look at it where the layer might run on cuDNN.
fn by_gate(config: &Config<'_>, may_be_cudnn: bool) -> Result<bool> {
    let implementation = config.int_or("implementation", 2)?;
    if !(0..=2).contains(&implementation) {
        refuse!("`implementation` is {implementation}, and should be 0, 1 or 2");
    }
    let forced = config.float_or("recurrent_dropout", 0.0)? > 0.0;
    Ok(forced || implementation < 2 && !(config.is_keras2() && may_be_cudnn))
}

/// The number of features of an input without time.
fn input_size(input: &Shape) -> Result<u64> {
    match input.dims() {
        [_, Some(size)] => Ok(*size),
        [_, None] => refuse!("the last size of its input is unknown, and must be known"),
        _ => refuse!("the steps of its input have shape {input}, and rank 2 is needed"),
    }
}

/// A size times a number of gates.
fn times(size: u64, gates: u64) -> Result<u64> {
    match size.checked_mul(gates) {
        Some(product) => Ok(product),
        None => refuse!("{size} units are too many"),
    }
}
