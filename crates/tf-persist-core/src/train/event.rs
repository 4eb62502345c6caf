//! The events of a training, and its report.

use tf_persist_savedmodel::SaveReport;

use super::TrainingState;

/// Something that happened in a training. The observer may answer any of them with `ControlFlow::Break`: the training
/// then stops, saves and reports that it was stopped.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The training begins, with the state before its first batch.
    Begun(&'a TrainingState),
    /// A step was made.
    Step(&'a Step<'a>),
    /// A part of the validation data was measured.
    Validating {
        /// The rows measured so far.
        rows: usize,
        /// All rows of the validation data.
        all: usize,
    },
    /// An epoch ended, its validation included.
    Epoch(&'a Epoch),
    /// A checkpoint was published, with this state.
    Saved(&'a TrainingState),
}

/// One finished step.
#[derive(Debug)]
#[non_exhaustive]
pub struct Step<'a> {
    /// Its epoch, counted from 1.
    pub epoch: u64,
    /// Its number in the epoch, counted from 1.
    pub step: u64,
    /// Its number in the whole training, counted from 1.
    pub steps: u64,
    /// The rows of its batch.
    pub rows: usize,
    /// The loss of the batch.
    pub loss: f64,
    /// The outputs that hold a single number, the loss among them, in the signature's order.
    pub values: &'a [(String, f64)],
}

/// One finished epoch.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Epoch {
    /// Its number, counted from 1.
    pub epoch: u64,
    /// The last of its steps, counted over the whole training from 1.
    pub steps: u64,
    /// The means over all rows of the epoch of the outputs that hold a single number, the loss first. Rows from before
    /// a resumption count as well. Each batch is weighted by its size, which is exact for outputs that are means over
    /// rows; [`is_mean_of_batches`](super::is_mean_of_batches) tells the others.
    pub means: Vec<(String, f64)>,
    /// The same of the `evaluate` signature over the validation data. `None` without validation data, or if the
    /// validation was stopped.
    pub validation: Option<Vec<(String, f64)>>,
    /// The rows that this run trained on in this epoch.
    pub rows: u64,
    /// The seconds that this took, without validation and checkpoints.
    pub seconds: f64,
}

/// The result of a training.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TrainReport {
    /// The epochs that this run finished.
    pub epochs: Vec<Epoch>,
    /// The state after the last step.
    pub state: TrainingState,
    /// Whether it was stopped before the last epoch ended.
    pub stopped: bool,
    /// The steps of this run.
    pub steps: u64,
    /// The rows that this run trained on.
    pub rows: u64,
    /// The seconds that the steps took, without validation and checkpoints.
    pub seconds: f64,
    /// The last checkpoint that this run published.
    pub saved: Option<SaveReport>,
}
