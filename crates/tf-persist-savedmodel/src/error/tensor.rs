//! Errors of tensors and of data that should become tensors.

use super::{ErrorKind, Hint};
use crate::dtype::DType;
use crate::shape::InvalidShape;

/// Data that cannot be a tensor, or a tensor without the requested dtype or shape.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// No tensor can hold this dtype.
    #[error("{}dtype {dtype} cannot be fed or fetched", name.as_ref().map(|name| format!("`{name}`: ")).unwrap_or_default())]
    UnsupportedDType {
        /// The input, output or array, if it has a name.
        name: Option<String>,
        /// The dtype.
        dtype: DType,
    },

    /// A tensor was viewed as elements of another type than it holds.
    #[error("the tensor holds {held}, not {asked}")]
    WrongElement {
        /// The requested type.
        asked: &'static str,
        /// The dtype of the tensor.
        held: DType,
    },

    /// The shape is impossible, or does not fit the elements.
    #[error(transparent)]
    InvalidShape(#[from] InvalidShape),

    /// The contents of a tensor are impossible.
    #[error("the tensor is not valid: {reason}")]
    InvalidTensor {
        /// What is wrong with it.
        reason: String,
    },

    /// Data in a file or a request cannot become a tensor.
    #[error("{source_name}: {reason}")]
    InvalidData {
        /// The file, array or input with the data.
        source_name: String,
        /// What is wrong with it.
        reason: String,
        /// What would help.
        hint: Option<Hint>,
    },
}

impl TensorError {
    /// What went wrong, without the data.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnsupportedDType { .. } => ErrorKind::UnsupportedDType,
            Self::WrongElement { .. } => ErrorKind::WrongElement,
            Self::InvalidShape(_) => ErrorKind::InvalidShape,
            Self::InvalidTensor { .. } => ErrorKind::InvalidTensor,
            Self::InvalidData { .. } => ErrorKind::InvalidData,
        }
    }

    /// What would help, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        if let Self::InvalidData { hint, .. } = self { hint.clone() } else { None }
    }
}
