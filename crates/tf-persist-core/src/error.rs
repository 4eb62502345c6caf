//! The one error type of the library.

mod message;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::dtype::DType;
use crate::shape::PartialShape;

/// What the library's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with the path or the name it is about.
///
/// `Display` gives one sentence, which ends with the cause; [`Error::hint`] says what to do where that is known. `Debug` gives both, and
/// what TensorFlow said besides, because Rust prints the `Debug` of an error that `main` returns.
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
        /// What the operating system said.
        #[source]
        source: io::Error,
    },

    /// There is nothing at the path, or something that is no SavedModel.
    #[error("`{}` is not a SavedModel: {reason}", path.display())]
    NotASavedModel {
        /// What was given.
        path: PathBuf,
        /// What is there instead.
        reason: String,
        /// What to do.
        hint: Option<String>,
    },

    /// A file of a model cannot be what it should be: cut short, overwritten, hostile.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        hint: Option<String>,
    },

    /// The model is whole, but needs something that this library or its TensorFlow does not have.
    #[error("`{}` cannot be used: {reason}", path.display())]
    Unsupported {
        /// The model or its file.
        path: PathBuf,
        /// What it needs.
        reason: String,
        /// What to do.
        hint: Option<String>,
    },

    /// The model is whole, and cannot be written in the way that was asked for.
    #[error("`{}` cannot be exported so: {reason}", path.display())]
    CannotExport {
        /// The model.
        path: PathBuf,
        /// Why not.
        reason: String,
        /// What to do.
        hint: Option<String>,
    },

    /// Variables that a signature reads have no value, neither in the model's checkpoint nor by its init op.
    #[error("{0}")]
    MissingVariables(Box<crate::saved_model::MissingVariables>),

    /// No meta graph has exactly these tags.
    #[error("`{}` has no meta graph with the tag set {}; it has {}", path.display(), tag_set(asked), tag_sets(available))]
    UnknownTags {
        /// The model.
        path: PathBuf,
        /// The tags asked for.
        asked: Vec<String>,
        /// The tag sets there are.
        available: Vec<Vec<String>>,
    },

    /// No signature of that name, or none named where there are several.
    #[error("`{}` has no signature `{name}`; {}", path.display(), list("it has", available))]
    UnknownSignature {
        /// The model.
        path: PathBuf,
        /// The name asked for.
        name: String,
        /// The signatures there are.
        available: Vec<String>,
    },

    /// An input was given that the signature does not have.
    #[error("signature `{signature}` has no input `{input}`; {}", list("its inputs are", available))]
    UnknownInput {
        /// The signature.
        signature: String,
        /// The name given.
        input: String,
        /// The inputs there are.
        available: Vec<String>,
    },

    /// Inputs of the signature were not given.
    #[error("signature `{signature}` needs {}, which {} not given", names(missing), if missing.len() == 1 { "was" } else { "were" })]
    MissingInput {
        /// The signature.
        signature: String,
        /// Every input that is missing.
        missing: Vec<String>,
    },

    /// An input was given twice, or two names of one tensor got different values.
    #[error("input `{input}` of signature `{signature}` {reason}")]
    ConflictingInput {
        /// The signature.
        signature: String,
        /// The input.
        input: String,
        /// What is in conflict.
        reason: String,
    },

    /// A checkpoint has no tensor with that key.
    #[error("the checkpoint `{}` has no variable `{key}`; {}", prefix.display(), list("it has", available))]
    UnknownVariable {
        /// What the names of the checkpoint's files begin with.
        prefix: PathBuf,
        /// The key asked for.
        key: String,
        /// The keys there are.
        available: Vec<String>,
    },

    /// A checkpoint that should be put into a model does not have the model's variables.
    #[error("{0}")]
    OtherCheckpoint(Box<crate::checkpoint::restore::OtherCheckpoint>),

    /// A tensor has another element type than is wanted.
    #[error("input `{input}` of signature `{signature}` is {expected}, not {given}")]
    WrongDType {
        /// The signature.
        signature: String,
        /// The input.
        input: String,
        /// What the signature declares.
        expected: DType,
        /// What was given.
        given: DType,
    },

    /// A tensor has another shape than the graph's placeholder takes.
    #[error("input `{input}` of signature `{signature}` takes the shape {expected}, not {given:?}")]
    WrongShape {
        /// The signature.
        signature: String,
        /// The input.
        input: String,
        /// What the graph declares; -1 is any size.
        expected: PartialShape,
        /// What was given.
        given: Vec<usize>,
    },

    /// A signature has no output of that name.
    #[error("there is no output `{output}`; {}", list("the outputs are", available))]
    UnknownOutput {
        /// The name asked for.
        output: String,
        /// The outputs there are.
        available: Vec<String>,
    },

    /// An output of a signature cannot be fetched.
    #[error("output `{output}` of signature `{signature}` cannot be fetched: {reason}")]
    Unfetchable {
        /// The signature.
        signature: String,
        /// The output.
        output: String,
        /// What is in the way.
        reason: String,
        /// Outputs that can be fetched, as far as is known.
        others: Vec<String>,
    },

    /// A signature has no outputs, so that a session has nothing to run.
    #[error(
        "a session cannot run signature `{signature}`: it has no outputs, and a session runs what its outputs need"
    )]
    NothingToRun {
        /// The signature.
        signature: String,
    },

    /// An element type that no tensor of ours can hold.
    #[error("{}dtype {dtype} cannot be fed or fetched", name.as_ref().map(|name| format!("`{name}`: ")).unwrap_or_default())]
    UnsupportedDType {
        /// The input, output or array, where there is one.
        name: Option<String>,
        /// The dtype.
        dtype: DType,
    },

    /// A tensor was viewed as what it does not hold.
    #[error("the tensor holds {held}, not {asked}")]
    WrongElement {
        /// What was asked for.
        asked: &'static str,
        /// What it holds.
        held: DType,
    },

    /// A shape that cannot be, or that does not fit the elements.
    #[error("shape {shape:?}: {reason}")]
    InvalidShape {
        /// The shape.
        shape: Vec<usize>,
        /// What is wrong with it.
        reason: String,
    },

    /// A tensor's contents cannot be.
    #[error("the tensor is not valid: {reason}")]
    InvalidTensor {
        /// What is wrong with it.
        reason: String,
    },

    /// Data in a file or a request that should have become a tensor.
    #[error("{source_name}: {reason}")]
    InvalidData {
        /// The file, array or input it stands in.
        source_name: String,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        hint: Option<String>,
    },

    /// The memory that was asked for is not to be had.
    #[error("{bytes} bytes of memory cannot be had")]
    OutOfMemory {
        /// How much was asked for.
        bytes: usize,
    },

    /// libtensorflow was not found, or could not be opened.
    #[error(transparent)]
    Runtime(#[from] Box<crate::runtime::RuntimeError>),

    /// A library of ops cannot be loaded.
    #[error(transparent)]
    OpLibrary(#[from] Box<crate::op_library::OpLibraryError>),

    /// The graph uses ops that there are not.
    #[error(transparent)]
    MissingOps(#[from] Box<crate::saved_model::MissingOps>),

    /// TensorFlow refused.
    #[error("TensorFlow could not {action}: {}", message::sentence(message))]
    TensorFlow {
        /// What was tried, with the name it was tried on.
        action: String,
        /// Its status code.
        code: Code,
        /// Its message, whole.
        message: String,
        /// What to do.
        hint: Option<String>,
    },

    /// A model has no answers that it could be compared with.
    #[error("`{}` has no recorded answers: {reason}", path.display())]
    NothingRecorded {
        /// The model.
        path: PathBuf,
        /// What there is instead.
        reason: String,
    },

    /// A request cannot be kept as a golden example.
    #[error("cannot record requests of `{}`: {reason}", path.display())]
    NotRecorded {
        /// The model.
        path: PathBuf,
        /// What is in the way.
        reason: String,
        /// What to do.
        hint: Option<String>,
    },

    /// The model has nothing to train it with, or only what this library cannot feed.
    #[error("`{}` cannot be trained on: {reason}", path.display())]
    NotTrainable {
        /// The model.
        path: PathBuf,
        /// What it lacks.
        reason: String,
        /// What to do.
        hint: Option<String>,
    },

    /// Training cannot go on from where the model says it was left.
    #[error("the training of `{}` cannot be resumed: {reason}", path.display())]
    CannotResume {
        /// The model.
        path: PathBuf,
        /// Why.
        reason: String,
        /// What to do.
        hint: Option<String>,
    },

    /// Training has come to numbers that are none.
    #[error("{what} after step {step} of epoch {epoch}, which is step {steps} in all")]
    Diverged {
        /// What is no number: "the loss is NaN".
        what: String,
        /// The epoch, counted from 1.
        epoch: u64,
        /// The step in the epoch, counted from 1.
        step: u64,
        /// The step of the whole training, counted from 1.
        steps: u64,
        /// What is known of the cause, and where the last good state is.
        hint: Option<String>,
    },

    /// A model would do what reaches outside of it, and nobody said that it may.
    #[error("`{}` is not trusted: {what}{}", path.display(), match more { 0 => String::new(), more => format!(" (and {more} more)") })]
    Untrusted {
        /// The model.
        path: PathBuf,
        /// What it would do first.
        what: String,
        /// How many things more it would do.
        more: u64,
        /// Every op that has to be trusted for all of it, those that are trusted already among them; none if ops are not all that it takes.
        ops: Vec<String>,
    },

    /// What should be written is there already.
    #[error("`{}` exists already and is not empty", path.display())]
    Exists {
        /// The target.
        path: PathBuf,
    },
}

impl Error {
    /// An operating system error at a path; for `map_err`.
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.as_ref().to_path_buf(), source }
    }

    /// A file of which bytes are missing or wrong; for `map_err` and `ok_or_else`.
    pub(crate) fn damaged(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        let hint = Some("copy the model again from where it was made".to_owned());
        Self::Damaged { path: path.as_ref().to_path_buf(), reason: reason.into(), hint }
    }

    /// A file that says what cannot be, though its bytes may all be as they were written: another copy would be no better.
    pub(crate) fn flawed(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.as_ref().to_path_buf(), reason: reason.into(), hint: None }
    }

    /// Data that is no tensor, without a hint.
    pub(crate) fn data(source_name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::InvalidData { source_name: source_name.into(), reason: reason.into(), hint: None }
    }

    /// What to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotASavedModel { hint, .. }
            | Self::Damaged { hint, .. }
            | Self::Unsupported { hint, .. }
            | Self::CannotExport { hint, .. }
            | Self::InvalidData { hint, .. }
            | Self::NotTrainable { hint, .. }
            | Self::CannotResume { hint, .. }
            | Self::Diverged { hint, .. }
            | Self::NotRecorded { hint, .. }
            | Self::TensorFlow { hint, .. } => hint.clone(),
            Self::UnknownTags { available, .. } => available.first().map(|tags| match tags.join(",") {
                none if none.is_empty() => "choose one by its tags, such as --tags \"\"".into(),
                tags => format!("choose one by its tags, such as --tags {tags}"),
            }),
            Self::UnknownSignature { available, .. } if !available.is_empty() => Some("choose one of them".into()),
            Self::OtherCheckpoint(other) => other.hint(),
            Self::Unfetchable { others, .. } if !others.is_empty() => Some(format!(
                "ask for others, such as {}; `tf-persist run` does with --outputs {}",
                names(others),
                others.join(",")
            )),
            Self::NothingToRun { signature } => Some(format!(
                "Python runs it for what it does: tf.saved_model.load(PATH).signatures[\"{signature}\"]()"
            )),
            Self::NothingRecorded { path, .. } => {
                Some(format!("record some: tf-persist verify {} --record FILE.npz", path.display()))
            }
            Self::Untrusted { ops, .. } => {
                let these = match ops.as_slice() {
                    [] => String::new(),
                    [op] => format!(", or with --trust={op} for this op alone"),
                    ops => format!(", or with --trust={} for these ops alone", ops.join(",")),
                };
                Some(format!("`tf-persist scan` says all that it may do; if you trust it, load it with --trust{these}"))
            }
            Self::Runtime(error) => Some(error.hint()),
            Self::OpLibrary(error) => error.hint(),
            Self::MissingOps(error) => Some(error.hint()),
            Self::MissingVariables(error) => Some(error.hint()),
            Self::Exists { .. } => {
                Some("name another target, or let it be replaced; on the command line with --overwrite".into())
            }
            _ => None,
        }
    }

    /// The lines that TensorFlow said besides the sentence in `Display`, if it was TensorFlow that refused: which node failed, and other
    /// failures.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::TensorFlow { message, .. } => message::rest(message),
            _ => None,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        if let Some(detail) = self.detail() {
            write!(f, "\nTensorFlow says further:")?;
            detail.lines().try_for_each(|line| write!(f, "\n  {line}"))?;
        }
        match self.hint() {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// TensorFlow's status codes (`tensorflow/c/tf_status.h`), which are gRPC's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are gRPC's")]
pub enum Code {
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

/// The codes by their numbers, which begin at 1; 0 is "no error".
const CODES: [(Code, &str); 16] = [
    (Code::Cancelled, "CANCELLED"),
    (Code::Unknown, "UNKNOWN"),
    (Code::InvalidArgument, "INVALID_ARGUMENT"),
    (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
    (Code::NotFound, "NOT_FOUND"),
    (Code::AlreadyExists, "ALREADY_EXISTS"),
    (Code::PermissionDenied, "PERMISSION_DENIED"),
    (Code::ResourceExhausted, "RESOURCE_EXHAUSTED"),
    (Code::FailedPrecondition, "FAILED_PRECONDITION"),
    (Code::Aborted, "ABORTED"),
    (Code::OutOfRange, "OUT_OF_RANGE"),
    (Code::Unimplemented, "UNIMPLEMENTED"),
    (Code::Internal, "INTERNAL"),
    (Code::Unavailable, "UNAVAILABLE"),
    (Code::DataLoss, "DATA_LOSS"),
    (Code::Unauthenticated, "UNAUTHENTICATED"),
];

impl Code {
    /// The code of a number; `None` for 0, which is success. Numbers nobody knows are `Unknown`.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        let index = number.checked_sub(1)? as usize;
        Some(CODES.get(index).map_or(Self::Unknown, |(code, _)| *code))
    }

    /// The number, which TensorFlow's codes and gRPC's share.
    #[must_use]
    pub fn number(self) -> u32 {
        CODES.iter().zip(1..).find(|((code, _), _)| *code == self).map_or(2, |(_, number)| number)
    }

    /// The name in gRPC's spelling.
    #[must_use]
    pub fn name(self) -> &'static str {
        CODES.iter().find(|(code, _)| *code == self).map_or("UNKNOWN", |(_, name)| name)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// "`a`, `b` and `c`".
pub(crate) fn names(names: &[String]) -> String {
    /// More names than this make a message nobody reads.
    const SHOWN: usize = 12;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    match shown.split_last() {
        None => "none".into(),
        Some(_) if names.len() > SHOWN => format!("{} and {} more", shown.join(", "), names.len() - SHOWN),
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} and {last}", first.join(", ")),
    }
}

fn list(verb: &str, all: &[String]) -> String {
    format!("{verb} {}", names(all))
}

fn tag_set(tags: &[String]) -> String {
    if tags.is_empty() { "`` (empty)".into() } else { format!("`{}`", tags.join(",")) }
}

fn tag_sets(sets: &[Vec<String>]) -> String {
    let sets: Vec<String> = sets.iter().map(|tags| tag_set(tags)).collect();
    if sets.is_empty() { "none".into() } else { sets.join(", ") }
}

#[cfg(test)]
mod tests;
