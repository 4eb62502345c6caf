//! Errors of the search for libtensorflow.

use std::fmt;
use std::path::{Path, PathBuf};

use tf_persist_savedmodel::error::Hint;

/// The source of a search location.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The caller; a program may name its option for it.
    Caller {
        /// What messages call it.
        name: &'static str,
    },
    /// The variable `TF_PERSIST_LIBTENSORFLOW`.
    Variable,
    /// The variable `TENSORFLOW_DIR`, which the tensorflow crate knows as well.
    TensorFlowDir,
    /// The active virtual environment, or the `.venv` of the folder or one above it.
    VirtualEnvironment,
    /// The user's cache.
    Cache,
    /// The system's library folders.
    System,
}

impl Origin {
    /// Whether the folder was named for this tool, so that no other location may be used instead.
    #[must_use]
    pub fn is_explicit(&self) -> bool {
        matches!(self, Self::Caller { .. } | Self::Variable)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Caller { name } => name,
            Self::Variable => "TF_PERSIST_LIBTENSORFLOW",
            Self::TensorFlowDir => "TENSORFLOW_DIR",
            Self::VirtualEnvironment => "virtual environment",
            Self::Cache => "user cache",
            Self::System => "system",
        })
    }
}

/// A folder to search, and its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchLocation {
    pub(crate) origin: Origin,
    pub(crate) folder: PathBuf,
}

impl SearchLocation {
    /// Why it is searched.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The folder, as it was named.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// No libtensorflow could be opened.
#[derive(Debug)]
pub struct RuntimeError {
    pub(crate) tried: Vec<Attempt>,
}

/// A location that was searched, and the result.
#[derive(Debug)]
pub struct Attempt {
    /// The location.
    pub location: SearchLocation,
    /// Why it was not used.
    pub outcome: Outcome,
}

/// Why a location was not used.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The folder does not exist.
    NoFolder,
    /// The folder contains no libtensorflow.
    NoLibrary,
    /// libtensorflow is there, but not the `libtensorflow_framework` it needs.
    NoFramework {
        /// The library that needs it.
        file: PathBuf,
        /// The file that is missing.
        framework: String,
    },
    /// The dynamic linker failed to open it.
    NotOpened {
        /// The file.
        file: PathBuf,
        /// The message of the linker.
        reason: String,
    },
    /// It is a library, but not libtensorflow.
    NotTensorFlow {
        /// The file.
        file: PathBuf,
        /// A function that it lacks.
        missing: &'static str,
    },
    /// The folder for the link that the tensorflow crate follows could not be created.
    NoTemporaryFolder {
        /// The message of the operating system.
        reason: String,
    },
    /// It is older than TensorFlow 2.4.
    WrongVersion {
        /// The file.
        file: PathBuf,
        /// Its version.
        version: String,
    },
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
            Self::NoTemporaryFolder { reason } => write!(f, "cannot create a temporary folder: {reason}"),
            Self::WrongVersion { file, version } => {
                write!(f, "`{}` is TensorFlow {version}; 2.4 or later is needed", file.display())
            }
        }
    }
}

impl RuntimeError {
    /// Every location that was tried, in order.
    #[must_use]
    pub fn tried(&self) -> &[Attempt] {
        &self.tried
    }

    /// What would help.
    #[must_use]
    pub fn hint(&self) -> Hint {
        match self.found() {
            Some(Attempt { outcome: Outcome::NoFramework { .. } | Outcome::NotOpened { .. }, .. }) => {
                Hint::new("install libtensorflow again, or name another folder").set("libtensorflow")
            }
            Some(Attempt { outcome: Outcome::NoTemporaryFolder { .. }, .. }) => {
                "set TMPDIR to a writable folder".into()
            }
            Some(_) => Hint::new("name the folder of another libtensorflow, or set TF_PERSIST_LIBTENSORFLOW to it")
                .set("libtensorflow"),
            None => Hint::new("install libtensorflow, or name its folder, or set TF_PERSIST_LIBTENSORFLOW to it")
                .set("libtensorflow"),
        }
    }

    /// The attempt that ended the search, if any.
    #[must_use]
    pub fn found(&self) -> Option<&Attempt> {
        self.tried.iter().find(|attempt| !matches!(attempt.outcome, Outcome::NoFolder | Outcome::NoLibrary))
    }
}

impl fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(attempt) = self.found() {
            return write!(f, "libtensorflow cannot be used: {} ({})", attempt.outcome, attempt.location.origin());
        }
        match self.tried.last() {
            Some(last) if last.location.origin().is_explicit() => write!(
                f,
                "there is no libtensorflow in `{}`, which {} names: {}",
                last.location.folder().display(),
                last.location.origin(),
                last.outcome
            ),
            _ => write!(f, "libtensorflow was not found in any of {} places", self.tried.len()),
        }
    }
}

impl std::error::Error for RuntimeError {}
