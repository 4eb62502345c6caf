//! Errors of inputs and outputs that do not fit a signature.

use super::text::{list, names};
use super::{ErrorKind, Hint};
use crate::dtype::DType;
use crate::shape::PartialShape;

/// Inputs or outputs that do not fit a signature.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// An input was given that the signature does not have.
    #[error("signature `{signature}` has no input `{input}`; {}", list("its inputs are", available))]
    UnknownInput {
        /// The signature.
        signature: String,
        /// The name given.
        input: String,
        /// The inputs of the signature.
        available: Vec<String>,
    },

    /// Inputs of the signature were not given.
    #[error("signature `{signature}` needs {}, which {} not given", names(missing), if missing.len() == 1 { "was" } else { "were" })]
    MissingInput {
        /// The signature.
        signature: String,
        /// All missing inputs.
        missing: Vec<String>,
        /// Outputs that can be computed without them, as far as that was checked.
        outputs: Vec<String>,
    },

    /// An input was given twice, or two names of one tensor got different values.
    #[error("input `{input}` of signature `{signature}` {reason}")]
    ConflictingInput {
        /// The signature.
        signature: String,
        /// The input.
        input: String,
        /// What conflicts.
        reason: String,
    },

    /// An input has another dtype than the signature declares.
    #[error("input `{input}` of signature `{signature}` is {expected}, not {given}")]
    WrongDType {
        /// The signature.
        signature: String,
        /// The input.
        input: String,
        /// The declared dtype.
        expected: DType,
        /// The dtype given.
        given: DType,
    },

    /// An input has another shape than the graph's placeholder takes.
    #[error("input `{input}` of signature `{signature}` takes the shape {expected}, not {given:?}")]
    WrongShape {
        /// The signature.
        signature: String,
        /// The input.
        input: String,
        /// The declared shape; -1 is any size.
        expected: PartialShape,
        /// The shape given.
        given: Vec<usize>,
    },

    /// TensorFlow gave an output a shape that the signature rules out, in memory that nobody wrote: oneDNN's
    /// convolutions do where their result would be empty.
    #[error("output `{output}` of signature `{signature}` is of the shape {expected}, and TensorFlow gave {given:?}")]
    WrongAnswer {
        /// The signature.
        signature: String,
        /// The output.
        output: String,
        /// The declared shape; -1 is any size.
        expected: PartialShape,
        /// The shape of the answer.
        given: Vec<usize>,
    },

    /// No signature output has that name.
    #[error("there is no output `{output}`; {}", list("the outputs are", available))]
    UnknownOutput {
        /// The requested name.
        output: String,
        /// The outputs of the signature.
        available: Vec<String>,
    },

    /// An output of a signature cannot be fetched.
    #[error("output `{output}` of signature `{signature}` cannot be fetched: {reason}")]
    Unfetchable {
        /// The signature.
        signature: String,
        /// The output.
        output: String,
        /// Why not.
        reason: String,
        /// Outputs that can be fetched, as far as is known.
        others: Vec<String>,
    },

    /// The signature has no outputs, and a session computes outputs only.
    #[error(
        "a session cannot run signature `{signature}`: it has no outputs, and a session runs what its outputs need"
    )]
    NothingToRun {
        /// The signature.
        signature: String,
    },
}

impl SignatureError {
    /// What went wrong, without the data.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownInput { .. } => ErrorKind::UnknownInput,
            Self::MissingInput { .. } => ErrorKind::MissingInput,
            Self::ConflictingInput { .. } => ErrorKind::ConflictingInput,
            Self::WrongDType { .. } => ErrorKind::WrongDType,
            Self::WrongShape { .. } => ErrorKind::WrongShape,
            Self::WrongAnswer { .. } => ErrorKind::WrongAnswer,
            Self::UnknownOutput { .. } => ErrorKind::UnknownOutput,
            Self::Unfetchable { .. } => ErrorKind::Unfetchable,
            Self::NothingToRun { .. } => ErrorKind::NothingToRun,
        }
    }

    /// What would help, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::MissingInput { missing, outputs, .. } if !outputs.is_empty() => {
                let them = if missing.len() == 1 { "it" } else { "them" };
                let text = format!("ask only for outputs that do not need {them}, such as {}", names(outputs));
                Some(Hint::new(text).set_to("outputs", outputs.join(",")))
            }
            Self::Unfetchable { others, .. } if !others.is_empty() => {
                let text = format!("ask for other outputs, such as {}", names(others));
                Some(Hint::new(text).set_to("outputs", others.join(",")))
            }
            Self::WrongAnswer { .. } => {
                Some("probably an input is too small for a convolution without padding: give a larger one".into())
            }
            Self::NothingToRun { signature } => Some(
                format!("Python runs its side effects: tf.saved_model.load(PATH).signatures[\"{signature}\"]()").into(),
            ),
            _ => None,
        }
    }
}
