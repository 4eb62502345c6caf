//! Where the files of a model are.

use std::path::{Path, PathBuf};

/// The file that marks a store.
pub(crate) const STORE_FILE: &str = "store.json";

/// The folder of a model with everything that is not a version.
pub(crate) const HIDDEN: &str = ".store";

/// The beginning of the names of files with what a push has done.
pub(crate) const PUSH: &str = "push-";

/// The paths of a model in a store.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    folder: PathBuf,
}

impl Layout {
    /// Of the folder `STORE/MODEL`.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn version(&self, number: u64) -> PathBuf {
        self.folder.join(number.to_string())
    }

    pub(crate) fn hidden(&self) -> PathBuf {
        self.folder.join(HIDDEN)
    }

    pub(crate) fn manifest(&self, number: u64) -> PathBuf {
        self.hidden().join(format!("{number}.json"))
    }

    pub(crate) fn labels(&self) -> PathBuf {
        self.hidden().join("labels.json")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.hidden().join("log.jsonl")
    }

    pub(crate) fn decisions(&self) -> PathBuf {
        self.hidden().join("decisions.jsonl")
    }

    /// What a loop keeps.
    pub(crate) fn loop_folder(&self) -> PathBuf {
        self.hidden().join("loop")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.hidden().join("lock")
    }

    /// A signature that is being written.
    pub(crate) fn new_signature(&self) -> PathBuf {
        self.hidden().join("signature.new")
    }

    /// What a change under way is going to do.
    pub(crate) fn intent(&self) -> PathBuf {
        self.hidden().join("intent.json")
    }

    /// Folders of versions that are being written.
    pub(crate) fn staging(&self) -> PathBuf {
        self.hidden().join("staging")
    }

    /// Folders of versions that are being deleted.
    pub(crate) fn trash(&self) -> PathBuf {
        self.hidden().join("trash")
    }
}
