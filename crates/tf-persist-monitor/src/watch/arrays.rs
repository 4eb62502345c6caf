//! Arrays of a .npz file as exchanges.

use tf_persist_savedmodel::Tensor;
use tf_persist_savedmodel::tensor::npz;

use super::Arrays;
use crate::error::{MonitorError, Result};
use crate::log::{Exchange, put};
use crate::plan::{Inference, Plan};

/// The rows that become one exchange.
const ROWS: usize = 1024;

/// The arrays that are inputs or outputs.
pub(super) struct Data {
    inputs: Vec<(String, Tensor)>,
    outputs: Vec<(String, Tensor)>,
    rows: usize,
    /// Arrays that are left out.
    pub(super) notes: Vec<String>,
}

impl Data {
    pub(super) fn read(arrays: &Arrays<'_>) -> Result<Self> {
        let (mut inputs, mut outputs, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        for (name, tensor) in npz::read_file(arrays.path)? {
            let has_names = !arrays.inputs.is_empty() || !arrays.outputs.is_empty();
            if arrays.outputs.contains(&name) {
                outputs.push((name, tensor));
            } else if !has_names || arrays.inputs.contains(&name) {
                inputs.push((name, tensor));
            } else {
                notes.push(format!("the array `{}` is no input and no output, and is left out", name.escape_debug()));
            }
        }
        let mut all = inputs.iter().chain(&outputs).map(|(_, tensor)| tensor.row_count());
        let rows = all.next().flatten().filter(|rows| *rows > 0 && all.all(|other| other == Some(*rows)));
        let Some(rows) = rows else {
            let reason = "has no arrays of inputs or outputs with as many rows each";
            return Err(MonitorError::file(arrays.path, reason));
        };
        Ok(Self { inputs, outputs, rows, notes })
    }

    /// Passes the rows as exchanges.
    pub(super) fn for_each(&self, mut take: impl FnMut(&Exchange)) -> Result<()> {
        let mut exchange = Exchange::default();
        for start in (0..self.rows).step_by(ROWS) {
            let range = start..(start + ROWS).min(self.rows);
            exchange.inputs.clear();
            exchange.outputs.clear();
            for (name, tensor) in &self.inputs {
                put(&mut exchange.inputs, name, &tensor.rows(range.clone())?);
            }
            for (name, tensor) in &self.outputs {
                put(&mut exchange.outputs, name, &tensor.rows(range.clone())?);
            }
            take(&exchange);
        }
        Ok(())
    }

    /// The features of the arrays.
    pub(super) fn plan(&self) -> Result<(Plan, Vec<String>), String> {
        let mut inference = Inference::new(Some(true));
        self.for_each(|exchange| inference.see(exchange)).map_err(|error| error.to_string())?;
        inference.plan()
    }
}
