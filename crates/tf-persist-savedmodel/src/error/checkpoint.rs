//! Errors of checkpoints: a variable that is missing, and a checkpoint of another model.

use std::fmt;
use std::path::PathBuf;

use super::text::list as names_after;
use super::{ErrorKind, Hint};
use crate::dtype::DType;
use crate::shape::PartialShape;

/// A checkpoint lacks a variable, or does not fit the model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The checkpoint has no tensor with that key.
    #[error("the checkpoint `{}` has no variable `{key}`; {}", prefix.display(), names_after("it has", available))]
    UnknownVariable {
        /// The common prefix of the checkpoint's files.
        prefix: PathBuf,
        /// The requested key.
        key: String,
        /// The keys of the checkpoint.
        available: Vec<String>,
    },

    /// The checkpoint does not have the variables of the model that it should be restored into.
    #[error(transparent)]
    Mismatch(#[from] Box<CheckpointMismatch>),
}

impl CheckpointError {
    /// What went wrong, without the data.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownVariable { .. } => ErrorKind::UnknownVariable,
            Self::Mismatch(_) => ErrorKind::CheckpointMismatch,
        }
    }

    /// What would help, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::UnknownVariable { .. } => None,
            Self::Mismatch(mismatch) => mismatch.hint(),
        }
    }
}

/// A checkpoint that does not fit a model, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointMismatch {
    /// The prefix of the checkpoint.
    pub checkpoint: PathBuf,
    /// The prefix of the model's variables.
    pub model: PathBuf,
    /// The model's variables that the checkpoint lacks.
    pub missing: Vec<CheckpointVariable>,
    /// The model's variables that the checkpoint has with another dtype or shape.
    pub mismatches: Vec<VariableMismatch>,
    /// How many of the model's variables the checkpoint has.
    pub found: usize,
    /// Variables of the checkpoint that the model lacks, the largest first.
    pub extra: Vec<CheckpointVariable>,
}

/// A variable that only one side has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointVariable {
    /// Its key in the model, or in the checkpoint.
    pub key: String,
    /// Its name in Python, where that is known.
    pub name: Option<String>,
}

/// A variable with another dtype or shape than the model's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VariableMismatch {
    /// Its key in the model.
    pub key: String,
    /// Its key in the checkpoint.
    pub source: String,
    /// What it is in the model.
    pub expected: (DType, Vec<usize>),
    /// The shape that the model's graph declares, where that leaves sizes open.
    pub declared: Option<PartialShape>,
    /// What it is in the checkpoint.
    pub found: (DType, Vec<usize>),
}

impl CheckpointMismatch {
    /// What would help, where that is known.
    fn hint(&self) -> Option<Hint> {
        if self.found == 0 {
            return Some("take a checkpoint of the model that was exported".into());
        }
        if !self.mismatches.is_empty() {
            return Some("take a checkpoint of a model whose variables and tables have these dtypes and shapes".into());
        }
        let text = "take a checkpoint of the model that was exported, or let missing variables keep the model's values";
        Some(Hint::new(text).set("keep_missing"))
    }
}

/// A message with more names than this is not read.
const SHOWN: usize = 12;

impl fmt::Display for CheckpointMismatch {
    /// One sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the checkpoint `{}` is not one of this model: ", self.checkpoint.display())?;
        let mut parts = Vec::new();
        if !self.missing.is_empty() {
            parts.push(format!("it lacks {}", list(self.missing.iter().map(CheckpointVariable::to_string))));
        }
        if !self.mismatches.is_empty() {
            parts.push(list(self.mismatches.iter().map(|mismatch| mismatch.to_string())));
        }
        if !self.extra.is_empty() {
            parts.push(format!("it has besides {}", list(self.extra.iter().map(CheckpointVariable::to_string))));
        }
        f.write_str(&parts.join("; "))
    }
}

impl std::error::Error for CheckpointMismatch {}

impl fmt::Display for CheckpointVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = short(&self.key);
        write!(f, "`{key}`")?;
        match &self.name {
            // The name adds nothing to `save_counter`, but it does to `variables/2`.
            Some(name) if !key.ends_with(name.as_str()) => {
                write!(f, " (`{}`)", name.escape_debug())
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for VariableMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, source, expected, declared, found } = self;
        write!(f, "`{}` is {}", short(key), expected.0)?;
        match declared {
            Some(declared) => write!(f, "{declared}")?,
            None => write!(f, "{:?}", expected.1)?,
        }
        write!(f, " in the model and {}{:?} in the checkpoint", found.0, found.1)?;
        if key == source { Ok(()) } else { write!(f, ", where it is `{}`", short(source)) }
    }
}

/// A key for a message: without TensorFlow 2's suffix.
pub(crate) fn short(key: &str) -> String {
    key.strip_suffix("/.ATTRIBUTES/VARIABLE_VALUE").unwrap_or(key).escape_debug().to_string()
}

/// "a, b and 3 more".
pub(crate) fn list(all: impl ExactSizeIterator<Item = String>) -> String {
    let count = all.len();
    let mut shown: Vec<String> = all.take(SHOWN).collect();
    let last = if count > SHOWN { Some(format!("{} more", count - SHOWN)) } else { shown.pop() };
    match (shown.is_empty(), last) {
        (true, last) => last.unwrap_or_default(),
        (false, Some(last)) => format!("{} and {last}", shown.join(", ")),
        (false, None) => shown.join(", "),
    }
}
