//! Errors of opening a SavedModel, of choosing in it, and of checking that it may be loaded.

use std::path::PathBuf;

use super::text::{list, names, tag_set, tag_sets};
use super::{ErrorKind, Hint, MissingOps, MissingVariables};

/// A SavedModel cannot be opened or loaded, or lacks a requested part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SavedModelError {
    /// The path does not exist, or is something else than a SavedModel.
    #[error("`{}` is not a SavedModel: {reason}", path.display())]
    NotASavedModel {
        /// The path.
        path: PathBuf,
        /// What it is instead.
        reason: String,
        /// What would help.
        hint: Option<Hint>,
    },

    /// No meta graph has exactly these tags.
    #[error("`{}` has no meta graph with the tag set {}; it has {}", path.display(), tag_set(asked), tag_sets(available))]
    UnknownTags {
        /// The model.
        path: PathBuf,
        /// The requested tags.
        asked: Vec<String>,
        /// The tag sets of the model.
        available: Vec<Vec<String>>,
    },

    /// The model has no signature of that name, or has several and none was named.
    #[error("`{}` has no signature `{name}`; {}", path.display(), list("it has", available))]
    UnknownSignature {
        /// The model.
        path: PathBuf,
        /// The requested name.
        name: String,
        /// The signatures of the model.
        available: Vec<String>,
    },

    /// The graph uses ops that TensorFlow does not have.
    #[error(transparent)]
    MissingOps(#[from] Box<MissingOps>),

    /// Neither the model's checkpoint nor its init op has a value for variables that a signature reads.
    #[error(transparent)]
    MissingVariables(#[from] Box<MissingVariables>),

    /// The model can reach outside of itself, and the caller has not allowed that.
    #[error("`{}` is not trusted: {what}{}", path.display(), match more { 0 => String::new(), more => format!(" (and {more} more)") })]
    Untrusted {
        /// The model.
        path: PathBuf,
        /// The first thing that it would do.
        what: String,
        /// How many more things it would do.
        more: u64,
        /// All ops to trust for it to load, including those that are trusted already; empty if trusting ops is not
        /// enough.
        ops: Vec<String>,
    },
}

impl SavedModelError {
    /// What went wrong, without the data.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotASavedModel { .. } => ErrorKind::NotASavedModel,
            Self::UnknownTags { .. } => ErrorKind::UnknownTags,
            Self::UnknownSignature { .. } => ErrorKind::UnknownSignature,
            Self::MissingOps(_) => ErrorKind::MissingOps,
            Self::MissingVariables(_) => ErrorKind::MissingVariables,
            Self::Untrusted { .. } => ErrorKind::Untrusted,
        }
    }

    /// What would help, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::NotASavedModel { hint, .. } => hint.clone(),
            Self::UnknownTags { available, .. } => available.first().map(|tags| {
                let text = format!("choose a meta graph by its tags, such as {}", tag_set(tags));
                Hint::new(text).set_to("tags", tags.join(","))
            }),
            Self::UnknownSignature { available, .. } => (!available.is_empty()).then(|| "choose one of them".into()),
            Self::MissingOps(missing) => Some(missing.hint()),
            Self::MissingVariables(missing) => Some(missing.hint()),
            Self::Untrusted { ops, .. } => {
                let text = "scan the model for everything that it may do; if you trust it, load it as trusted";
                Some(match ops.as_slice() {
                    [] => Hint::new(text).set("trust"),
                    ops => {
                        let only = format!("{text}, or trust only {}", names(ops));
                        Hint::new(only).set_to("trust", ops.join(","))
                    }
                })
            }
        }
    }
}
