//! What a training tells while it runs, and what it gives in the end.

use tf_persist_savedmodel::Saved;

use super::TrainingState;

/// What happens while a model is trained. Whoever observes may answer any of them with `ControlFlow::Break`: the training then
/// stops where it is, saves, and says so.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// All is ready; the place is that of the first batch.
    Begun(&'a TrainingState),
    /// A step was made.
    Step(&'a Step<'a>),
    /// Some of the validation data were measured.
    Validating {
        /// How many rows of them by now.
        rows: usize,
        /// How many there are.
        all: usize,
    },
    /// An epoch is over, and validated.
    Epoch(&'a Epoch),
    /// The model was published, whole, with its place.
    Saved(&'a TrainingState),
}

/// A step that was made.
#[derive(Debug)]
#[non_exhaustive]
pub struct Step<'a> {
    /// Its epoch, counted from 1.
    pub epoch: u64,
    /// Its number in the epoch, counted from 1.
    pub step: u64,
    /// Its number in the whole training, counted from 1.
    pub steps: u64,
    /// Rows of its batch.
    pub rows: usize,
    /// The loss of the batch.
    pub loss: f64,
    /// The outputs that are one number, in the signature's order; the loss is one of them.
    pub values: &'a [(String, f64)],
}

/// An epoch that is over.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Epoch {
    /// Its number, counted from 1.
    pub epoch: u64,
    /// The last of its steps, counted over the whole training from 1.
    pub steps: u64,
    /// The mean of each output that is one number over all rows of the epoch, also of those that were trained on before a
    /// resumption; the loss first. Each batch counts with its size, which is exact for means and for nothing else.
    pub means: Vec<(String, f64)>,
    /// The same of the `evaluate` signature over the validation data, if there are any and it was not stopped meanwhile.
    pub validation: Option<Vec<(String, f64)>>,
    /// Rows that this run trained on in this epoch.
    pub rows: u64,
    /// How long that took, without validation and checkpoints.
    pub seconds: f64,
}

/// What came of a training.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Trained {
    /// The epochs that this run finished.
    pub epochs: Vec<Epoch>,
    /// Where it is now.
    pub place: TrainingState,
    /// Whether it was stopped before its end.
    pub stopped: bool,
    /// Steps that this run made.
    pub steps: u64,
    /// Rows that this run trained on.
    pub rows: u64,
    /// How long the steps took, without validation and checkpoints.
    pub seconds: f64,
    /// What was saved last.
    pub saved: Option<Saved>,
}
