//! Which versions are being loaded, written down while they are: one that takes the process with it is known by name to the next.
//!
//! A line of JSON a version. The file is one process's at a time: another that would write to the same one, such as a server of the
//! same models on ports that are any, goes without. A process may end during a load for reasons that are not the model's: it is
//! killed, or there is no memory at that moment. So a version is left alone only after a process ended twice while loading it, for a
//! time that doubles with each further end, and only as long as its files stay the same. Until then it is loaded by itself, so that
//! of several versions that were being loaded at once the right one is blamed.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tf_persist_core::Code;

use super::folder::Stamp;
use crate::status::Status;

/// What is longer than this was not written by a journal, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// What is told of a version that is left alone. TensorFlow hardly ever says it of a load.
pub(super) const LEFT_ALONE: Code = Code::Aborted;

/// A version is left alone after so many processes ended while they loaded it,
const ENDS: u32 = 2;

/// for so long the first time,
const FIRST_PAUSE: Duration = Duration::from_secs(60);

/// and for so long at the most.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);

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
    /// Held shared by loads, and alone by the load of a version during which a process ended before.
    turns: RwLock<()>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    model: String,
    version: i64,
    path: PathBuf,
    /// What the files were.
    stamp: u64,
    /// Whether it is being loaded.
    #[serde(default = "yes")]
    loading: bool,
    /// How many processes ended while they loaded it.
    #[serde(default)]
    ends: u32,
    /// When the last of them was seen to have ended, in seconds since 1970.
    #[serde(default)]
    seen: u64,
}

/// What is left of a process that ended is a line that says so.
fn yes() -> bool {
    true
}

impl Line {
    /// How long it is left alone from `now` on.
    fn left_alone(&self, now: SystemTime) -> Option<Duration> {
        let doublings = self.ends.checked_sub(ENDS)?;
        let pause = FIRST_PAUSE.saturating_mul(1 << doublings.min(16)).min(LONGEST_PAUSE);
        // A clock that was put back says nothing about how long it has been.
        let passed = Duration::from_secs(seconds(now).checked_sub(self.seen)?);
        pause.checked_sub(passed).filter(|left| !left.is_zero())
    }
}

/// A version that is left alone, and for how long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Blame {
    pub(super) status: Status,
    pub(super) left: Duration,
}

/// The right to load a version, as long as it is held.
pub(super) enum Turn<'j> {
    Shared { _held: RwLockReadGuard<'j, ()> },
    Alone { _held: RwLockWriteGuard<'j, ()> },
}

impl Journal {
    /// The journal in a file, which need not be there yet. The process that wrote it ended while it loaded what it says is being loaded.
    pub(super) fn open(file: Option<&Path>, now: SystemTime) -> Self {
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
        for line in lines.iter_mut().filter(|line| line.loading) {
            (line.loading, line.ends, line.seen) = (false, line.ends.saturating_add(1), seconds(now));
            let (model, version, path, ends) = (&line.model, line.version, line.path.display(), line.ends);
            match line.left_alone(now) {
                None => tracing::warn!(
                    %model, version, %path, ends,
                    "the last process ended while it was loading this version: it is loaded again, by itself"
                ),
                Some(left) => tracing::error!(
                    %model, version, %path, ends, left_alone_s = left.as_secs(),
                    "the last process ended while it was loading this version, and not for the first time: it is left alone for a while"
                ),
            }
        }
        let (lines, lock) = (Mutex::new(lines), Mutex::new(lock));
        let journal = Self { file: Some(file.to_path_buf()), lines, lock, ..Self::default() };
        journal.change(|_| {});
        journal
    }

    /// Why a version is not to be loaded now: processes ended while they loaded it, and its files are what they were then.
    pub(super) fn blames(&self, path: &Path, stamp: Stamp, now: SystemTime) -> Option<Blame> {
        let is_other = |line: &Line| !line.loading && line.path == path && line.stamp != stamp.0;
        if self.lines().iter().any(is_other) {
            self.change(|lines| lines.retain(|line| !is_other(line)));
        }
        let journal = self.file.as_deref()?.display();
        self.lines().iter().filter(|line| line.path == path).find_map(|line| {
            let left = line.left_alone(now)?;
            let Line { model, version, ends, .. } = line;
            let status = Status::new(
                LEFT_ALONE,
                format!(
                    "version {version} of model {model} took the process down {ends} times when it was loaded, and is left alone for \
                     {} s or until its files change; to have it loaded at once, delete `{journal}` and start again",
                    left.as_secs().max(1)
                ),
            );
            Some(Blame { status, left })
        })
    }

    /// A version is about to be loaded, as soon as this returns and until the turn is dropped.
    pub(super) fn begin(&self, model: &str, version: i64, path: &Path, stamp: Stamp) -> Turn<'_> {
        let is_suspect = self.lines().iter().any(|line| line.path == path && line.ends > 0);
        let turn = if is_suspect {
            Turn::Alone { _held: self.turns.write().unwrap_or_else(PoisonError::into_inner) }
        } else {
            Turn::Shared { _held: self.turns.read().unwrap_or_else(PoisonError::into_inner) }
        };
        self.change(|lines| {
            if self.is_stopped.load(Ordering::Relaxed) {
                return;
            }
            match lines.iter_mut().find(|line| line.path == path && !line.loading) {
                Some(line) => line.loading = true,
                None => lines.push(Line {
                    model: model.to_owned(),
                    version,
                    path: path.to_path_buf(),
                    stamp: stamp.0,
                    loading: true,
                    ends: 0,
                    seen: 0,
                }),
            }
        });
        turn
    }

    /// A load has ended, whichever way: nothing is held against the version any more.
    pub(super) fn end(&self, path: &Path) {
        self.change(|lines| {
            let at = lines.iter().position(|line| line.loading && line.path == path);
            at.map(|at| lines.remove(at));
        });
    }

    /// The server is about to end: what is being loaded is not to blame, nor what begins to be.
    pub(super) fn stop(&self) {
        self.change(|lines| {
            self.is_stopped.store(true, Ordering::Relaxed);
            lines.iter_mut().for_each(|line| line.loading = false);
            lines.retain(|line| line.ends > 0);
        });
    }

    /// Nothing is loaded any more: another server may have the file.
    pub(super) fn close(&self) {
        self.stop();
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_closed.store(true, Ordering::Relaxed);
        lock.take();
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Line>)) {
        let Some(file) = self.file.as_ref().filter(|_| !self.is_closed.load(Ordering::Relaxed)) else { return };
        let mut lines = self.lines();
        change(&mut lines);
        // Models can be served without it.
        if let Err(error) = write(file, &lines) {
            tracing::warn!(journal = %file.display(), %error, "the journal of loads cannot be written");
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
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
