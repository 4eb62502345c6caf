//! What keeps a loop from going on. What is wrong with an attempt at a new version ends the attempt instead.

use std::io;
use std::path::{Path, PathBuf};

use tf_persist_monitor::MonitorError;
use tf_persist_store::StoreError;

/// What functions of this crate return.
pub type Result<T, E = LoopError> = std::result::Result<T, E>;

/// What went wrong, with the file it is about. `Display` is one sentence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoopError {
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
    /// The configuration is not what it should be.
    #[error("`{}`: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// The state of the loop is not what it should be.
    #[error("`{}` is damaged: {reason}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// Another loop has the model.
    #[error("another loop has the model `{model}` of `{}`{}", store.display(), holder.map_or_else(String::new, |it| format!(": process {it}")))]
    Busy {
        /// The store.
        store: PathBuf,
        /// The model.
        model: String,
        /// The process of the other loop, where the system tells.
        holder: Option<u32>,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A log, labels or a reference cannot be used.
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    /// A model or data cannot be used.
    #[error(transparent)]
    Model(#[from] tf_persist_core::Error),
    /// Something else, as a sentence.
    #[error("{0}")]
    Other(String),
    /// A stop was asked for. What was under way begins again with the next start.
    #[error("stopped")]
    Stopped,
}

impl LoopError {
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

impl From<tf_persist_savedmodel::Error> for LoopError {
    fn from(error: tf_persist_savedmodel::Error) -> Self {
        Self::Model(error.into())
    }
}
