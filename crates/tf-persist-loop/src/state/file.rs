//! The folder of a loop: its state, its lock, and the files of the attempt under way.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tf_persist_store::{FileLock, ModelName, Store, durable};

use super::{Attempt, State};
use crate::error::{LoopError, Result};

/// The most bytes of the state.
const MAX_FILE: u64 = 4 << 20;

/// The folder of the loop of a model. Only one process has it.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// `None` where nothing is going to be changed.
    _lock: Option<FileLock>,
}

impl Folder {
    /// Takes the loop of a model.
    pub(crate) fn take(store: &Store, model: &ModelName) -> Result<Self> {
        let path = store.loop_folder(model);
        fs::create_dir_all(&path).map_err(LoopError::io("create", &path))?;
        let lock = path.join("lock");
        match FileLock::take(&lock)? {
            Some(held) => Ok(Self { path, _lock: Some(held) }),
            None => Err(LoopError::Busy {
                store: store.path().to_path_buf(),
                model: model.to_string(),
                holder: FileLock::holder(&lock),
            }),
        }
    }

    /// The loop of a model that may have another process, to be looked at.
    pub(crate) fn look(store: &Store, model: &ModelName) -> Self {
        Self { path: store.loop_folder(model), _lock: None }
    }

    /// Asks the loop of a model, which another process has, for an attempt.
    pub(crate) fn ask(store: &Store, model: &ModelName) -> Result<()> {
        Ok(durable::write(&Self::look(store, model).asked(), b"")?)
    }

    /// What asks for an attempt.
    pub(crate) fn asked(&self) -> PathBuf {
        self.path.join("asked")
    }

    /// The files of a try of an attempt. Each has its own, since a command that a killed loop has started may still
    /// write to those of the try before.
    pub(crate) fn of(&self, attempt: &Attempt) -> PathBuf {
        self.tries().join(format!("{}-{}", attempt.id, attempt.tries))
    }

    fn tries(&self) -> PathBuf {
        self.path.join("attempt")
    }

    /// Deletes the files of an attempt.
    pub(crate) fn clear(&self) -> Result<()> {
        let path = self.tries();
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LoopError::io("delete", &path)(error)),
            _ => Ok(()),
        }
    }

    /// An empty folder for the files of a try.
    pub(crate) fn renew(&self, attempt: &Attempt) -> Result<PathBuf> {
        self.clear()?;
        let path = self.of(attempt);
        fs::create_dir_all(&path).map_err(LoopError::io("create", &path))?;
        Ok(path)
    }

    fn state(&self) -> PathBuf {
        self.path.join("state.json")
    }

    /// The state; `None` before the first one was written.
    pub(crate) fn read(&self) -> Result<Option<State>> {
        let path = self.state();
        let Some(bytes) = durable::read(&path, MAX_FILE)? else { return Ok(None) };
        decode(&bytes).map(Some).map_err(|reason| LoopError::State { path, reason })
    }

    /// Writes the state durably, which is the commit of a step.
    pub(crate) fn write(&self, state: &State) -> Result<()> {
        let path = self.state();
        let mut bytes =
            serde_json::to_vec_pretty(state).map_err(|error| LoopError::io("write", &path)(error.into()))?;
        bytes.push(b'\n');
        Ok(durable::write(&path, &bytes)?)
    }
}

fn decode(bytes: &[u8]) -> Result<State, String> {
    #[derive(serde::Deserialize)]
    struct Format {
        format: u64,
    }
    // The format comes first: a later one may have other fields.
    let format = serde_json::from_slice::<Format>(bytes).map_err(|error| error.to_string())?.format;
    if format != 1 {
        return Err(format!("it has format {format}, and this version of tf-persist knows format 1"));
    }
    let state: State = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    match &state.attempt {
        Some(attempt) if !is_plain(&attempt.id) => {
            Err(format!("the attempt `{}` has no plain name", attempt.id.escape_debug()))
        }
        _ => Ok(state),
    }
}

/// Whether an attempt may have this id, which becomes the name of a folder.
fn is_plain(id: &str) -> bool {
    let is_usual = |character: char| character.is_ascii_alphanumeric() || "-_ ".contains(character);
    (1..=100).contains(&id.len()) && id.chars().all(is_usual)
}

/// Makes the contents of a folder durable.
pub(crate) fn sync(path: &Path) -> Result<()> {
    let sync = || -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => sync(&entry.path()).map_err(io::Error::other)?,
                false => fs::File::open(entry.path())?.sync_all()?,
            }
        }
        fs::File::open(path)?.sync_all()
    };
    sync().map_err(LoopError::io("sync", path))
}
