//! Errors of everything that needs no TensorFlow: files, tensors, checkpoints, signatures, SavedModels, recorded
//! requests.
//!
//! [`Error`] has what can happen to any file, and wraps the errors of each module. [`ErrorKind`] is the same without
//! data and without nesting.

mod checkpoint;
mod hint;
mod missing_ops;
mod missing_variables;
mod saved_model;
mod signature;
mod tensor;
mod text;
mod warmup;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use checkpoint::{CheckpointError, CheckpointMismatch, CheckpointVariable, VariableMismatch};
pub(crate) use checkpoint::{list, short};
pub use hint::{Hint, Setting};
pub use missing_ops::{MissingOp, MissingOps, OpUse};
pub use missing_variables::{MissingVariable, MissingVariables};
pub use saved_model::SavedModelError;
pub use signature::SignatureError;
pub use tensor::TensorError;
pub use text::{names, printable};
pub use warmup::WarmupError;

use crate::shape::InvalidShape;

/// What functions that need no TensorFlow return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with the path or the name it is about.
///
/// `Display` gives one sentence, which ends with the cause; [`Error::hint`] says what would help, where that is known.
/// `Debug` gives both, because Rust prints the `Debug` of an error that `main` returns.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried: "read", "create", …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },

    /// The allocator has no memory left.
    #[error("cannot allocate {bytes} bytes")]
    OutOfMemory {
        /// The size of the allocation.
        bytes: usize,
    },

    /// A file of a model is cut short, overwritten or hostile.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What would help.
        hint: Option<Hint>,
    },

    /// The model is whole, but needs something that this library or its TensorFlow does not have.
    #[error("`{}` cannot be used: {reason}", path.display())]
    Unsupported {
        /// The model or its file.
        path: PathBuf,
        /// What it needs.
        reason: String,
        /// What would help.
        hint: Option<Hint>,
    },

    /// The target of a save exists.
    #[error("`{}` exists already and is not empty", path.display())]
    Exists {
        /// The target.
        path: PathBuf,
    },

    /// The model is whole, and cannot be exported with these options.
    #[error("`{}` cannot be exported with these options: {reason}", path.display())]
    CannotExport {
        /// The model.
        path: PathBuf,
        /// Why not.
        reason: String,
        /// What would help.
        hint: Option<Hint>,
    },

    /// A SavedModel cannot be opened or loaded, or lacks a requested part.
    #[error(transparent)]
    SavedModel(#[from] SavedModelError),

    /// Inputs or outputs that do not fit a signature.
    #[error(transparent)]
    Signature(#[from] SignatureError),

    /// A checkpoint lacks a variable, or does not fit the model.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),

    /// Data that cannot be a tensor, or a tensor without the requested dtype or shape.
    #[error(transparent)]
    Tensor(#[from] TensorError),

    /// Requests cannot be recorded, or none are.
    #[error(transparent)]
    Warmup(#[from] WarmupError),

    /// The source of a model's values failed, for a reason of its own.
    #[error(transparent)]
    Source(Box<dyn std::error::Error + Send + Sync>),
}

/// What went wrong, without the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is the variant of its name")]
pub enum ErrorKind {
    Io,
    OutOfMemory,
    Damaged,
    Unsupported,
    Exists,
    CannotExport,
    NotASavedModel,
    UnknownTags,
    UnknownSignature,
    MissingOps,
    MissingVariables,
    Untrusted,
    UnknownInput,
    MissingInput,
    ConflictingInput,
    WrongDType,
    WrongShape,
    /// [`SignatureError::WrongAnswer`]
    WrongAnswer,
    UnknownOutput,
    Unfetchable,
    NothingToRun,
    UnknownVariable,
    CheckpointMismatch,
    UnsupportedDType,
    WrongElement,
    InvalidShape,
    InvalidTensor,
    InvalidData,
    NotRecorded,
    NothingRecorded,
    Source,
}

impl Error {
    /// An operating system error at a path; for `map_err`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.as_ref().to_path_buf(), source }
    }

    /// A file with missing or wrong bytes; for `map_err` and `ok_or_else`.
    pub fn damaged(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        let hint = Some("copy the model again from where it was made".into());
        Self::Damaged { path: path.as_ref().to_path_buf(), reason: reason.into(), hint }
    }

    /// A file whose contents are invalid, though they may be as they were written: another copy would not help.
    pub fn flawed(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.as_ref().to_path_buf(), reason: reason.into(), hint: None }
    }

    /// Data that cannot be parsed as a tensor, without a hint.
    pub fn data(source_name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Tensor(TensorError::InvalidData { source_name: source_name.into(), reason: reason.into(), hint: None })
    }

    /// What went wrong, without the data.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. } => ErrorKind::Io,
            Self::OutOfMemory { .. } => ErrorKind::OutOfMemory,
            Self::Damaged { .. } => ErrorKind::Damaged,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Exists { .. } => ErrorKind::Exists,
            Self::CannotExport { .. } => ErrorKind::CannotExport,
            Self::SavedModel(error) => error.kind(),
            Self::Signature(error) => error.kind(),
            Self::Checkpoint(error) => error.kind(),
            Self::Tensor(error) => error.kind(),
            Self::Warmup(error) => error.kind(),
            Self::Source(_) => ErrorKind::Source,
        }
    }

    /// What would help, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Damaged { hint, .. } | Self::Unsupported { hint, .. } | Self::CannotExport { hint, .. } => {
                hint.clone()
            }
            Self::Exists { .. } => Some(Hint::new("name another target, or let this one be replaced").set("overwrite")),
            Self::SavedModel(error) => error.hint(),
            Self::Signature(error) => error.hint(),
            Self::Checkpoint(error) => error.hint(),
            Self::Tensor(error) => error.hint(),
            Self::Warmup(error) => error.hint(),
            Self::Io { .. } | Self::OutOfMemory { .. } | Self::Source(_) => None,
        }
    }
}

impl From<InvalidShape> for Error {
    fn from(error: InvalidShape) -> Self {
        Self::Tensor(error.into())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Source(source) = self {
            return source.fmt(f);
        }
        write!(f, "{self}")?;
        self.hint().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

#[cfg(test)]
mod tests;
