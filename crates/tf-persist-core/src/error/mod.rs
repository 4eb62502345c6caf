//! The error of the runtime: what needs TensorFlow, around the [`ModelError`] of what does not.

mod code;
mod message;
mod op_library;
mod runtime;
mod train;

use std::fmt;
use std::io;
use std::path::Path;

pub use code::Code;
pub use op_library::{OpLibraryError, OpLibraryProblem, TensorFlowRequirement};
pub use runtime::{Attempt, Origin, Outcome, RuntimeError, SearchLocation};
pub(crate) use tf_persist_savedmodel::error::{
    CheckpointError, Error as ModelError, ErrorKind as ModelErrorKind, Hint, SavedModelError, SignatureError,
    TensorError, WarmupError,
};
pub use train::TrainError;

use tf_persist_savedmodel::InvalidShape;

/// What the library's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with the path or the name it is about.
///
/// `Display` gives one sentence, which ends with the cause; [`Error::hint`] says what would help, where that is known.
/// `Debug` gives both, and the rest of TensorFlow's message, because Rust prints the `Debug` of an error that `main`
/// returns.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error that does not involve TensorFlow: of a file, a tensor, a checkpoint, a signature, a SavedModel.
    #[error(transparent)]
    Model(ModelError),

    /// libtensorflow was not found, or could not be opened.
    #[error(transparent)]
    Runtime(#[from] Box<RuntimeError>),

    /// A library of ops cannot be loaded.
    #[error(transparent)]
    OpLibrary(#[from] Box<OpLibraryError>),

    /// A model cannot be trained.
    #[error(transparent)]
    Train(#[from] TrainError),

    /// TensorFlow returned an error.
    #[error("TensorFlow could not {action}: {}", message::sentence(message))]
    TensorFlow {
        /// What was tried, with the name of the model or signature.
        action: String,
        /// TensorFlow's status code.
        code: Code,
        /// TensorFlow's whole message.
        message: String,
        /// What would help.
        hint: Option<Hint>,
    },
}

/// What went wrong, without the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An error that does not involve TensorFlow.
    Model(ModelErrorKind),
    /// [`Error::Runtime`].
    Runtime,
    /// [`Error::OpLibrary`].
    OpLibrary,
    /// [`TrainError::NotTrainable`].
    NotTrainable,
    /// [`TrainError::CannotResume`].
    CannotResume,
    /// [`TrainError::Diverged`].
    Diverged,
    /// [`Error::TensorFlow`].
    TensorFlow,
}

impl Error {
    /// As [`ModelError::io`].
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| ModelError::io(action, path)(source).into()
    }

    /// As [`ModelError::damaged`].
    pub(crate) fn damaged(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        ModelError::damaged(path, reason).into()
    }

    /// As [`ModelError::flawed`].
    pub(crate) fn flawed(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        ModelError::flawed(path, reason).into()
    }

    /// As [`ModelError::data`].
    pub(crate) fn data(source_name: impl Into<String>, reason: impl Into<String>) -> Self {
        ModelError::data(source_name, reason).into()
    }

    /// What went wrong, without the data.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Model(error) => ErrorKind::Model(error.kind()),
            Self::Runtime(_) => ErrorKind::Runtime,
            Self::OpLibrary(_) => ErrorKind::OpLibrary,
            Self::Train(error) => error.kind(),
            Self::TensorFlow { .. } => ErrorKind::TensorFlow,
        }
    }

    /// The error, if it does not involve TensorFlow.
    #[must_use]
    pub fn model(&self) -> Option<&ModelError> {
        if let Self::Model(error) = self { Some(error) } else { None }
    }

    /// What would help, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Model(error) => error.hint(),
            Self::Runtime(error) => Some(error.hint()),
            Self::OpLibrary(error) => error.hint(),
            Self::Train(error) => error.hint(),
            Self::TensorFlow { hint, .. } => hint.clone(),
        }
    }

    /// The lines of TensorFlow's message that are not in `Display`, if it was TensorFlow that failed: the node, and
    /// further failures.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::TensorFlow { message, .. } => message::rest(message),
            _ => None,
        }
    }
}

impl From<ModelError> for Error {
    /// Wraps the error, or takes out the one that a source of values, such as a session, returned through
    /// [`ModelError::Source`].
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Source(source) => match source.downcast::<Self>() {
                Ok(error) => *error,
                Err(source) => Self::Model(ModelError::Source(source)),
            },
            error => Self::Model(error),
        }
    }
}

impl From<Error> for ModelError {
    /// Carries the error of a source of values through functions that need no TensorFlow.
    fn from(error: Error) -> Self {
        match error {
            Error::Model(error) => error,
            error => Self::Source(Box::new(error)),
        }
    }
}

macro_rules! from_model_error {
    ($($error:ty),*) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::Model(error.into())
            }
        }
    )*};
}

from_model_error!(SavedModelError, SignatureError, CheckpointError, TensorError, WarmupError, InvalidShape);

impl From<RuntimeError> for Error {
    fn from(error: RuntimeError) -> Self {
        Box::new(error).into()
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Model(error) = self {
            return error.fmt(f);
        }
        write!(f, "{self}")?;
        if let Some(detail) = self.detail() {
            write!(f, "\nTensorFlow says further:")?;
            detail.lines().try_for_each(|line| write!(f, "\n  {line}"))?;
        }
        self.hint().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

#[cfg(test)]
mod tests;
