//! Errors of recorded requests.

use std::path::PathBuf;

use super::{ErrorKind, Hint};

/// Requests cannot be recorded, or none are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WarmupError {
    /// The model has no recorded answers to compare with.
    #[error("`{}` has no recorded answers: {reason}", path.display())]
    NothingRecorded {
        /// The model.
        path: PathBuf,
        /// What it has instead.
        reason: String,
        /// Whether every signature writes to the model's state, so that requests have to be recorded in order.
        in_order: bool,
    },

    /// A request cannot be recorded.
    #[error("cannot record requests of `{}`: {reason}", path.display())]
    NotRecorded {
        /// The model.
        path: PathBuf,
        /// Why not.
        reason: String,
        /// What would help.
        hint: Option<Hint>,
    },
}

impl WarmupError {
    /// What went wrong, without the data.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NothingRecorded { .. } => ErrorKind::NothingRecorded,
            Self::NotRecorded { .. } => ErrorKind::NotRecorded,
        }
    }

    /// What would help, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::NothingRecorded { in_order: false, .. } => Some("record requests and their answers first".into()),
            Self::NothingRecorded { in_order: true, .. } => {
                Some("record a sequence of requests and their answers first".into())
            }
            Self::NotRecorded { hint, .. } => hint.clone(),
        }
    }
}
