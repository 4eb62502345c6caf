//! Why a request was refused, as both protocols tell it.

use std::fmt;

use tf_persist_core::{Code, Error, ErrorKind, InvalidShape, ModelError, ModelErrorKind};

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
        if let Error::TensorFlow { code, message, .. } = &error {
            return Self::new(*code, message.trim());
        }
        let code = match error.kind() {
            ErrorKind::Model(kind) => code(kind),
            ErrorKind::OpLibrary => Code::FailedPrecondition,
            _ => Code::Unknown,
        };
        // The hint is for whoever reads the server's log or status, who is not at the model's command line.
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
