//! Which versions are being loaded, written down while they are: one that takes the process with it is known by name to the next.
//!
//! A line of JSON a version. The file is one process's at a time: another that would write to the same one, such as a server of the
//! same models on ports that are any, goes without. What was found to have taken a process with it stays in the file until its own files change.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tf_persist_core::Code;

use super::folder::Stamp;
use crate::status::Status;

/// What is longer than this was not written by a journal, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// What is told of a version that is left alone. TensorFlow hardly ever says it of a load.
pub(super) const LEFT_ALONE: Code = Code::Aborted;

/// The journal; without a file it says nothing.
#[derive(Default)]
pub(super) struct Journal {
    file: Option<PathBuf>,
    lines: Mutex<Vec<Line>>,
    /// Whether the server is about to end.
    is_stopped: AtomicBool,
    /// What says that the file is in use. The operating system lets go of it however the process ends.
    lock: Mutex<Option<File>>,
    /// Whether it has let go of the file.
    is_closed: AtomicBool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    model: String,
    version: i64,
    path: PathBuf,
    /// What the files were.
    stamp: u64,
    /// Whether a process ended while it loaded it.
    #[serde(default)]
    crashed: bool,
}

impl Journal {
    /// The journal in a file, which need not be there yet. What stands in it took the last process with it.
    pub(super) fn open(file: Option<&Path>) -> Self {
        let Some(file) = file else { return Self::default() };
        let lock = match lock(file) {
            Ok(lock) => Some(lock),
            Err(TryLockError::WouldBlock) => {
                tracing::info!(journal = %file.display(), "the journal of loads is another server's: there is none here");
                return Self::default();
            }
            // Where files cannot be locked, or not be written: see below.
            Err(TryLockError::Error(error)) => {
                tracing::debug!(journal = %file.display(), %error, "the journal of loads cannot be locked");
                None
            }
        };
        let mut lines = read(file).unwrap_or_else(|error| {
            tracing::warn!(journal = %file.display(), %error, "the journal of loads cannot be read");
            Vec::new()
        });
        for line in lines.iter_mut().filter(|line| !line.crashed) {
            line.crashed = true;
            tracing::error!(
                model = %line.model, version = line.version, path = %line.path.display(),
                "the last process ended while it was loading this version: it is left alone until its files change"
            );
        }
        let (lines, lock) = (Mutex::new(lines), Mutex::new(lock));
        let journal = Self { file: Some(file.to_path_buf()), lines, lock, ..Self::default() };
        journal.change(|_| {});
        journal
    }

    /// Why a version is not to be loaded: it took a process with it, and its files are what they were then.
    pub(super) fn blames(&self, path: &Path, now: Stamp) -> Option<Status> {
        let mut blame = None;
        let is_other = |line: &Line| line.crashed && line.path == path && line.stamp != now.0;
        if self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().any(is_other) {
            self.change(|lines| lines.retain(|line| !is_other(line)));
        }
        for line in self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if line.crashed && line.path == path {
                let journal = self.file.as_deref().unwrap_or(Path::new("")).display();
                blame = Some(Status::new(
                    LEFT_ALONE,
                    format!(
                        "version {} of model {} took the process down when it was loaded last, and is left alone until its \
                         files change; to try it as it is, delete `{journal}` and start again",
                        line.version, line.model
                    ),
                ));
            }
        }
        blame
    }

    /// A version is about to be loaded.
    pub(super) fn begin(&self, model: &str, version: i64, path: &Path, stamp: Stamp) {
        let line = Line { model: model.to_owned(), version, path: path.to_path_buf(), stamp: stamp.0, crashed: false };
        self.change(|lines| {
            if !self.is_stopped.load(Ordering::Relaxed) {
                lines.push(line);
            }
        });
    }

    /// A load has ended, whichever way.
    pub(super) fn end(&self, path: &Path) {
        self.change(|lines| {
            let at = lines.iter().position(|line| !line.crashed && line.path == path);
            at.map(|at| lines.remove(at));
        });
    }

    /// The server is about to end: what is being loaded is not to blame, nor what begins to be.
    pub(super) fn stop(&self) {
        self.change(|lines| {
            self.is_stopped.store(true, Ordering::Relaxed);
            lines.retain(|line| line.crashed);
        });
    }

    /// Nothing is loaded any more: another server may have the file.
    pub(super) fn close(&self) {
        self.stop();
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_closed.store(true, Ordering::Relaxed);
        lock.take();
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Line>)) {
        let Some(file) = self.file.as_ref().filter(|_| !self.is_closed.load(Ordering::Relaxed)) else { return };
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut lines);
        // Models can be served without it.
        if let Err(error) = write(file, &lines) {
            tracing::warn!(journal = %file.display(), %error, "the journal of loads cannot be written");
        }
    }
}

/// Locks a file beside the journal, which itself is replaced whenever it changes.
fn lock(file: &Path) -> Result<File, TryLockError> {
    let beside = beside(file, ".lock").map_err(TryLockError::Error)?;
    let lock = File::options().create(true).append(true).open(beside).map_err(TryLockError::Error)?;
    lock.try_lock().map(|()| lock)
}

/// The path of a file beside the journal, whose folder is made.
fn beside(file: &Path, extension: &str) -> io::Result<PathBuf> {
    let parent = parent(file);
    fs::create_dir_all(parent)?;
    let mut name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(extension);
    Ok(parent.join(name))
}

fn parent(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn read(file: &Path) -> io::Result<Vec<Line>> {
    let opened = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    let mut text = String::new();
    if opened.take(MAX_BYTES + 1).read_to_string(&mut text)? as u64 > MAX_BYTES {
        return Err(io::Error::other("it is far longer than a journal is"));
    }
    text.lines().map(|line| serde_json::from_str(line).map_err(io::Error::from)).collect()
}

/// Writes beside the file and puts it in its place; an empty journal is no file.
fn write(file: &Path, lines: &[Line]) -> io::Result<()> {
    if lines.is_empty() {
        return match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let beside = beside(file, ".new")?;
    let mut new = File::create(&beside)?;
    for line in lines {
        writeln!(new, "{}", serde_json::to_string(line)?)?;
    }
    new.sync_all()?;
    fs::rename(&beside, file)?;
    File::open(parent(file))?.sync_all()
}
