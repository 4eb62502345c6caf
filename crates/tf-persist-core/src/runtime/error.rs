//! Why there is no libtensorflow: every place that was tried.

use std::fmt;
use std::path::PathBuf;

use super::search::Place;
use crate::ffi::OpenError;

/// No libtensorflow could be opened.
#[derive(Debug)]
pub struct RuntimeError {
    pub(super) tried: Vec<Attempt>,
}

/// A place that was looked at, and what was found there.
#[derive(Debug)]
pub struct Attempt {
    /// The place.
    pub place: Place,
    /// Why nothing came of it.
    pub outcome: Outcome,
}

/// Why nothing came of a place.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// There is no such folder.
    NoFolder,
    /// The folder holds no libtensorflow.
    NoLibrary,
    /// libtensorflow is there, but not the `libtensorflow_framework` it needs.
    NoFramework {
        /// The library that needs it.
        file: PathBuf,
        /// The file that is missing.
        framework: String,
    },
    /// The dynamic linker refused.
    NotOpened {
        /// The file.
        file: PathBuf,
        /// What it said.
        reason: String,
    },
    /// It is a library, but not TensorFlow's.
    NotTensorFlow {
        /// The file.
        file: PathBuf,
        /// A function that it lacks.
        missing: &'static str,
    },
    /// No folder could be made for the link that leads the tensorflow crate to it.
    NoTemporaryFolder {
        /// What the operating system said.
        reason: String,
    },
    /// It is a TensorFlow of before 2.4.
    WrongVersion {
        /// The file.
        file: PathBuf,
        /// Its version.
        version: String,
    },
}

impl Outcome {
    pub(super) fn of(error: OpenError, file: PathBuf) -> Self {
        match error {
            OpenError::Linker { message } => Self::NotOpened { file, reason: message },
            OpenError::NotTensorFlow { missing } => Self::NotTensorFlow { file, missing },
            OpenError::TooOld { version } => Self::WrongVersion { file, version },
            OpenError::Io(error) => Self::NoTemporaryFolder { reason: error.kind().to_string() },
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFolder => write!(f, "no such folder"),
            Self::NoLibrary => write!(f, "no libtensorflow in it"),
            Self::NoFramework { file, framework } => {
                write!(f, "`{}` needs `{framework}`, which is not beside it", file.display())
            }
            Self::NotOpened { file, reason } => write!(f, "`{}` cannot be opened: {reason}", file.display()),
            Self::NotTensorFlow { file, missing } => {
                write!(f, "`{}` is not a libtensorflow: it has no function `{missing}`", file.display())
            }
            Self::NoTemporaryFolder { reason } => write!(f, "no temporary folder can be made: {reason}"),
            Self::WrongVersion { file, version } => {
                write!(f, "`{}` is TensorFlow {version}; 2.4 or later is needed", file.display())
            }
        }
    }
}

impl RuntimeError {
    /// Every place that was tried, in order.
    #[must_use]
    pub fn tried(&self) -> &[Attempt] {
        &self.tried
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self.found() {
            Some(Attempt { outcome: Outcome::NoFramework { .. } | Outcome::NotOpened { .. }, .. }) => {
                "install it again with `tf-persist runtime install`, or name another folder with --libtensorflow".into()
            }
            Some(Attempt { outcome: Outcome::NoTemporaryFolder { .. }, .. }) => {
                "set TMPDIR to a folder that can be written to".into()
            }
            Some(_) => "name the folder of another one with --libtensorflow DIR or TF_PERSIST_LIBTENSORFLOW".into(),
            None => "`tf-persist runtime install` fetches it; or name its folder with --libtensorflow DIR or \
                     TF_PERSIST_LIBTENSORFLOW; `tf-persist runtime` lists where it is looked for"
                .into(),
        }
    }

    /// The place that ended the search, if one did.
    fn found(&self) -> Option<&Attempt> {
        self.tried.iter().find(|attempt| !matches!(attempt.outcome, Outcome::NoFolder | Outcome::NoLibrary))
    }
}

impl fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(attempt) = self.found() {
            return write!(f, "libtensorflow cannot be used: {} ({})", attempt.outcome, attempt.place.origin());
        }
        match self.tried.last() {
            Some(last) if last.place.origin().is_explicit() => write!(
                f,
                "there is no libtensorflow in `{}`, which {} names: {}",
                last.place.folder().display(),
                last.place.origin(),
                last.outcome
            ),
            _ => write!(f, "libtensorflow was not found in any of {} places", self.tried.len()),
        }
    }
}

impl std::error::Error for RuntimeError {}
