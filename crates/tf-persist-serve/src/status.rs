//! Why a request was refused, as both protocols tell it.

use std::fmt;

use tf_persist_core::{Code, Error};

/// TensorFlow's `Status`: a code and a message. Never "OK": that is the other side of a `Result`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The code, of which each protocol has its own number.
    pub code: Code,
    /// What a person reads.
    pub message: String,
}

impl Status {
    /// A status of this code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// What the request says cannot be.
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// There is no such model, version or tensor.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }

    /// The server is not in the state that the request asks for.
    pub fn failed_precondition(message: impl Into<String>) -> Self {
        Self::new(Code::FailedPrecondition, message)
    }

    /// The same status with words in front of its message.
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

/// What running or loading a model said. TensorFlow's own codes and messages stand as they are.
impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::TensorFlow { code, message, .. } => return Self::new(*code, message.trim()),
            Error::UnknownSignature { .. }
            | Error::UnknownInput { .. }
            | Error::MissingInput { .. }
            | Error::ConflictingInput { .. }
            | Error::WrongDType { .. }
            | Error::WrongShape { .. }
            | Error::UnknownOutput { .. }
            | Error::NothingToRun { .. }
            | Error::InvalidShape { .. }
            | Error::InvalidTensor { .. }
            | Error::InvalidData { .. } => Code::InvalidArgument,
            Error::UnsupportedDType { .. } | Error::Unfetchable { .. } => Code::Unimplemented,
            Error::OutOfMemory { .. } => Code::ResourceExhausted,
            Error::NotASavedModel { .. } | Error::UnknownTags { .. } => Code::NotFound,
            Error::Damaged { .. } => Code::DataLoss,
            Error::Untrusted { .. } => Code::PermissionDenied,
            Error::Unsupported { .. } | Error::MissingOps(_) | Error::MissingVariables(_) | Error::OpLibrary(_) => {
                Code::FailedPrecondition
            }
            _ => Code::Unknown,
        };
        // The hint is for whoever reads the server's log or status, who is not at the model's command line.
        Self::new(code, error.to_string())
    }
}
