//! `CuDNNLSTM` and `CuDNNGRU` of Keras 2: LSTM and GRU with weights as cuDNN has them.

use super::cell::{Cell, Prepared};
use super::gru::GruCell;
use super::lstm::LstmCell;
use super::{input_size, times};
use crate::config::Config;
use crate::graph::{Graph, Shape, TensorRef};
use crate::layers::Context;
use crate::reason::Result;

/// An LSTM with two biases for each gate.
#[derive(Debug)]
pub(super) struct CudnnLstm {
    units: u64,
    cell: LstmCell,
}

/// A GRU whose biases are in one vector.
#[derive(Debug)]
pub(super) struct CudnnGru {
    units: u64,
    cell: GruCell,
}

impl CudnnLstm {
    pub(super) fn new(config: &Config<'_>) -> Result<Self> {
        config.weight_rules(&["kernel", "recurrent", "bias"]);
        config.without_effect(&["unit_forget_bias"]);
        let units = config.size("units")?;
        Ok(Self { units, cell: LstmCell::plain(units) })
    }
}

impl CudnnGru {
    pub(super) fn new(config: &Config<'_>) -> Result<Self> {
        config.weight_rules(&["kernel", "recurrent", "bias"]);
        let units = config.size("units")?;
        Ok(Self { units, cell: GruCell::plain(units) })
    }
}

impl Cell for CudnnLstm {
    fn prepare<'a>(&'a self, cx: &Context<'a>, input: &Shape) -> Result<Prepared<'a>> {
        let g = cx.g;
        let (inputs, gates) = (input_size(input)?, times(self.units, 4)?);
        let kernel = cx.weight("kernel", &[inputs, gates])?;
        let recurrent = cx.weight("recurrent_kernel", &[self.units, gates])?;
        let bias = cx.weight("bias", &[times(gates, 2)?])?;
        let biases = g.split(&bias, 2, 0)?;
        let bias = g.add_v2(&biases[0], &biases[1])?;
        let kernel = gates_in_rows(g, &kernel, inputs, self.units, 4)?;
        let recurrent = gates_in_rows(g, &recurrent, self.units, self.units, 4)?;
        self.cell.prepared(cx, kernel, recurrent, Some(bias))
    }
}

impl Cell for CudnnGru {
    fn prepare<'a>(&'a self, cx: &Context<'a>, input: &Shape) -> Result<Prepared<'a>> {
        let g = cx.g;
        let (inputs, gates) = (input_size(input)?, times(self.units, 3)?);
        let kernel = cx.weight("kernel", &[inputs, gates])?;
        let recurrent = cx.weight("recurrent_kernel", &[self.units, gates])?;
        let bias = cx.weight("bias", &[times(gates, 2)?])?;
        let bias = g.reshape(&bias, &[Some(2), Some(gates)])?;
        let kernel = gates_in_rows(g, &kernel, inputs, self.units, 3)?;
        let recurrent = gates_in_rows(g, &recurrent, self.units, self.units, 3)?;
        self.cell.prepared(cx, kernel, recurrent, Some(bias))
    }
}

/// A kernel as the products take it. cuDNN has the elements of each gate in the order `[units, inputs]`.
fn gates_in_rows(g: &Graph, kernel: &TensorRef, inputs: u64, units: u64, gates: usize) -> Result<TensorRef> {
    let mut parts = Vec::new();
    for gate in g.split(kernel, gates, 1)? {
        parts.push(g.transpose(&g.reshape(&gate, &[Some(units), Some(inputs)])?, &[1, 0])?);
    }
    g.concat(&parts.iter().collect::<Vec<_>>(), 1)
}
