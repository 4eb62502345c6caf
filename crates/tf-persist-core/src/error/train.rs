//! Errors of training.

use std::path::PathBuf;

use tf_persist_savedmodel::error::Hint;

use super::ErrorKind;

/// A model cannot be trained, or its training cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The model has no signature to train it by, or one with inputs that this library cannot feed.
    #[error("`{}` cannot be trained on: {reason}", path.display())]
    NotTrainable {
        /// The model.
        path: PathBuf,
        /// What it lacks.
        reason: String,
        /// What would help.
        hint: Option<Hint>,
    },

    /// The training cannot be resumed from the state in the model.
    #[error("the training of `{}` cannot be resumed: {reason}", path.display())]
    CannotResume {
        /// The model.
        path: PathBuf,
        /// Why not.
        reason: String,
        /// What would help.
        hint: Option<Hint>,
    },

    /// A loss, a metric or a variable became NaN or infinite.
    #[error("{what} after step {step} of epoch {epoch}, which is step {steps} in all")]
    Diverged {
        /// Which number is not finite: "the loss is NaN".
        what: String,
        /// The epoch, counted from 1.
        epoch: u64,
        /// The step in the epoch, counted from 1.
        step: u64,
        /// The step of the whole training, counted from 1.
        steps: u64,
        /// What is known of the cause, and where the last good state is.
        hint: Option<Hint>,
    },
}

impl TrainError {
    /// What went wrong, without the data.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotTrainable { .. } => ErrorKind::NotTrainable,
            Self::CannotResume { .. } => ErrorKind::CannotResume,
            Self::Diverged { .. } => ErrorKind::Diverged,
        }
    }

    /// What would help, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::NotTrainable { hint, .. } | Self::CannotResume { hint, .. } | Self::Diverged { hint, .. } => {
                hint.clone()
            }
        }
    }
}
