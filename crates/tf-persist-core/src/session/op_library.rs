//! Libraries of ops that libtensorflow does not have.

use std::path::{Path, PathBuf};

use tf_persist_proto::tensorflow::OpList;

use crate::error::{Error, Result};
use crate::ffi;
use crate::runtime::Runtime;

/// A library of further ops, loaded into the process for good.
#[derive(Debug, Clone)]
pub struct OpLibrary {
    path: PathBuf,
    ops: Vec<String>,
}

impl OpLibrary {
    /// Loads a library. Loading the same path twice is fine.
    ///
    /// # Errors
    /// If there is no such file, or TensorFlow cannot load it: it was built for another version, or is no op library.
    pub fn load(runtime: &Runtime, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        // Absolute, so that the dynamic linker does not look for a bare name elsewhere.
        let path = path.canonicalize().map_err(Error::io("open the op library", path))?;
        let list = ffi::load_op_library(runtime.library(), &path)?;
        let list = tf_persist_proto::parse::<OpList>(&list.into())
            .map_err(|error| Error::damaged(&path, error.to_string()))?;
        let ops = list.op.into_iter().map(|op| op.name).collect();
        Ok(Self { path, ops })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The ops that it registered. Empty if another file had registered them before.
    #[must_use]
    pub fn ops(&self) -> &[String] {
        &self.ops
    }
}
