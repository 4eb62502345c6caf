//! What an upload has done, in a file of this machine, so that another process goes on with it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Mutex;

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::durable;
use crate::error::{Result, StoreError};
use crate::layout::{Layout, PUSH};
use crate::lock::lock_file;
use crate::manifest::hex;

/// The most bytes of the file.
const MAX_FILE: u64 = 256 << 20;

/// What an upload has done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// The SHA-256 of the manifest.
    digest: String,
    /// The id of the claim under which it was sent.
    #[serde(default)]
    claim: String,
    /// The files that are there.
    pub(crate) files: Vec<String>,
    /// The uploads in parts that are not finished, by file.
    pub(crate) parts: BTreeMap<String, Upload>,
}

/// An upload of a file in parts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Upload {
    pub(crate) id: String,
    /// Where the parts begin and end.
    pub(crate) plan: Vec<PlannedPart>,
    /// The ids of the parts that are there, by index.
    pub(crate) done: BTreeMap<usize, String>,
}

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlannedPart {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// The file with what an upload has done. It belongs to this process as long as this exists.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    done: Mutex<Done>,
    _lock: File,
}

impl Journal {
    /// Waits for other processes that push the same, and reads what they did.
    pub(crate) fn open(layout: &Layout, place: &str, digest: &str) -> Result<Self> {
        let name = hex(&Sha256::digest(format!("{place}\n{digest}")));
        let path = layout.hidden().join(format!("{PUSH}{}.upload", &name[..32]));
        let file = loop {
            // Whoever has finished deletes it.
            if let Some(file) = lock_file(&path.with_extension("lock"), FlockOperation::LockExclusive)? {
                break file;
            }
        };
        let read = durable::read(&path, MAX_FILE)?.and_then(|bytes| serde_json::from_slice::<Done>(&bytes).ok());
        let done = read.filter(|done| done.digest == digest);
        let done = done.unwrap_or_else(|| Done { digest: digest.to_owned(), ..Done::default() });
        Ok(Self { path, done: Mutex::new(done), _lock: file })
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&Done) -> T) -> T {
        read(&self.done.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Done)) -> Result<()> {
        let mut done = self.done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut done);
        let bytes = serde_json::to_vec(&*done).map_err(|error| StoreError::io("write", &self.path)(error.into()))?;
        durable::write(&self.path, &bytes)
    }

    /// Goes on under a claim. What was sent under another one is forgotten.
    pub(crate) fn resume(&self, claim: &str) -> Result<()> {
        if self.read(|done| done.claim == claim) {
            return Ok(());
        }
        self.change(|done| *done = Done { digest: done.digest.clone(), claim: claim.to_owned(), ..Done::default() })
    }

    /// Deletes the file.
    pub(crate) fn close(self) {
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_file(self.path.with_extension("lock"));
    }
}
