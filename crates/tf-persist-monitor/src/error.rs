//! What can go wrong before there is a report. What is wrong in a log is counted in the report instead.

use std::io;
use std::path::{Path, PathBuf};

use tf_persist_savedmodel::Hint;

/// What functions of this crate return.
pub type Result<T, E = MonitorError> = std::result::Result<T, E>;

/// What went wrong, with the file it is about. `Display` is one sentence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MonitorError {
    /// The operating system refused.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried: "read", "write", …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// A reference, a state or a file of labels is not what it should be.
    #[error("`{}` {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// A verb and what follows: "is not a reference: …".
        reason: String,
    },
    /// The settings do not go with the log or with each other.
    #[error("{0}")]
    Settings(String),
    /// The log has several outputs, and the settings do not say which of them labels are for.
    #[error("the log has several outputs, of which one is to be compared with the labels: {outputs}")]
    SeveralOutputs {
        /// Their names, in backquotes.
        outputs: String,
    },
    /// A file of arrays or records that the library of models reads.
    #[error(transparent)]
    Model(#[from] tf_persist_savedmodel::Error),
}

impl MonitorError {
    /// What would help, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::SeveralOutputs { .. } => {
                Some(Hint::new("name the output that the labels are for").set("label_output"))
            }
            Self::Model(error) => error.hint(),
            Self::Io { .. } | Self::File { .. } | Self::Settings(_) => None,
        }
    }

    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn file(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self::File { path: path.as_ref().to_path_buf(), reason: reason.into() }
    }
}
