//! Errors of requests, as both protocols report them.

use std::fmt;

use tf_persist_core::{Code, Error, ErrorKind, InvalidShape, ModelError, ModelErrorKind};

/// TensorFlow's `Status`: a code and a message. It is never "OK", for which a `Result` has `Ok`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The code. Each protocol has its own number for it.
    pub code: Code,
    /// The message.
    pub message: String,
}

impl Status {
    /// A status with a code and a message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The request is invalid.
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// The model, version or tensor does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }

    /// The server is not in the state that the request requires.
    pub fn failed_precondition(message: impl Into<String>) -> Self {
        Self::new(Code::FailedPrecondition, message)
    }

    /// The status with `context` in front of its message.
    #[must_use]
    pub fn within(self, context: impl fmt::Display) -> Self {
        Self { message: format!("{context}{}", self.message), ..self }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Status {}

/// Errors of loading and running models. TensorFlow's own codes and messages are kept.
impl From<Error> for Status {
    fn from(error: Error) -> Self {
        if let Error::TensorFlow { code, message, .. } = &error {
            return Self::new(*code, message.trim());
        }
        let code = match error.kind() {
            ErrorKind::Model(kind) => code(kind),
            ErrorKind::OpLibrary => Code::FailedPrecondition,
            _ => Code::Unknown,
        };
        // Hints go to the server's log and status page, not to clients.
        Self::new(code, error.to_string())
    }
}

impl From<ModelError> for Status {
    fn from(error: ModelError) -> Self {
        Error::from(error).into()
    }
}

impl From<InvalidShape> for Status {
    fn from(error: InvalidShape) -> Self {
        Error::from(error).into()
    }
}

/// The code of an error that does not involve TensorFlow.
fn code(kind: ModelErrorKind) -> Code {
    match kind {
        ModelErrorKind::UnknownSignature
        | ModelErrorKind::UnknownInput
        | ModelErrorKind::MissingInput
        | ModelErrorKind::ConflictingInput
        | ModelErrorKind::WrongDType
        | ModelErrorKind::WrongShape
        | ModelErrorKind::WrongAnswer
        | ModelErrorKind::UnknownOutput
        | ModelErrorKind::NothingToRun
        | ModelErrorKind::InvalidShape
        | ModelErrorKind::InvalidTensor
        | ModelErrorKind::InvalidData => Code::InvalidArgument,
        ModelErrorKind::UnsupportedDType | ModelErrorKind::Unfetchable => Code::Unimplemented,
        ModelErrorKind::OutOfMemory => Code::ResourceExhausted,
        ModelErrorKind::NotASavedModel | ModelErrorKind::UnknownTags => Code::NotFound,
        ModelErrorKind::Damaged => Code::DataLoss,
        ModelErrorKind::Untrusted => Code::PermissionDenied,
        ModelErrorKind::Unsupported | ModelErrorKind::MissingOps | ModelErrorKind::MissingVariables => {
            Code::FailedPrecondition
        }
        _ => Code::Unknown,
    }
}
