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

use super::folder::FileStamp;
use crate::status::Status;

/// What is longer than this was not written by a journal, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// What is told of a version that is left alone. TensorFlow hardly ever says it of a load.
pub(super) const QUARANTINED: Code = Code::Aborted;

/// A version is left alone after so many processes ended while they loaded it,
const CRASHES_BEFORE_QUARANTINE: u32 = 2;

/// for so long the first time,
const FIRST_QUARANTINE: Duration = Duration::from_secs(60);

/// and for so long at the most.
const MAX_QUARANTINE: Duration = Duration::from_secs(24 * 3600);

/// The journal; without a file it says nothing.
#[derive(Default)]
pub(super) struct CrashJournal {
    file: Option<PathBuf>,
    entries: Mutex<Vec<JournalEntry>>,
    /// Whether the server is about to end.
    is_stopped: AtomicBool,
    /// What says that the file is in use. The operating system lets go of it however the process ends.
    lock: Mutex<Option<File>>,
    /// Whether it has let go of the file.
    is_closed: AtomicBool,
    /// Held shared by loads, and alone by the load of a version during which a process ended before.
    load_lock: RwLock<()>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct JournalEntry {
    model: String,
    version: i64,
    path: PathBuf,
    /// What the files were.
    stamp: u64,
    /// Whether it is being loaded.
    #[serde(default = "default_true")]
    loading: bool,
    /// How many processes ended while they loaded it.
    #[serde(default)]
    ends: u32,
    /// When the last of them was seen to have ended, in seconds since 1970.
    #[serde(default)]
    seen: u64,
}

/// What is left of a process that ended is a line that says so.
fn default_true() -> bool {
    true
}

impl JournalEntry {
    /// How long it is left alone from `now` on.
    fn quarantine_left(&self, now: SystemTime) -> Option<Duration> {
        let doublings = self.ends.checked_sub(CRASHES_BEFORE_QUARANTINE)?;
        let pause = FIRST_QUARANTINE.saturating_mul(1 << doublings.min(16)).min(MAX_QUARANTINE);
        // A clock that was put back says nothing about how long it has been.
        let passed = Duration::from_secs(seconds(now).checked_sub(self.seen)?);
        pause.checked_sub(passed).filter(|left| !left.is_zero())
    }
}

/// A version that is left alone, and for how long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Quarantine {
    pub(super) status: Status,
    pub(super) left: Duration,
}

/// The right to load a version, as long as it is held.
pub(super) enum LoadPermit<'j> {
    Shared { _held: RwLockReadGuard<'j, ()> },
    Alone { _held: RwLockWriteGuard<'j, ()> },
}

impl CrashJournal {
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
        let mut entries = read(file).unwrap_or_else(|error| {
            tracing::warn!(journal = %file.display(), %error, "the journal of loads cannot be read");
            Vec::new()
        });
        for entry in entries.iter_mut().filter(|entry| entry.loading) {
            (entry.loading, entry.ends, entry.seen) = (false, entry.ends.saturating_add(1), seconds(now));
            let (model, version, path, ends) = (&entry.model, entry.version, entry.path.display(), entry.ends);
            match entry.quarantine_left(now) {
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
        let (entries, lock) = (Mutex::new(entries), Mutex::new(lock));
        let journal = Self { file: Some(file.to_path_buf()), entries, lock, ..Self::default() };
        journal.change(|_| {});
        journal
    }

    /// Why a version is not to be loaded now: processes ended while they loaded it, and its files are what they were then.
    pub(super) fn quarantined(&self, path: &Path, stamp: FileStamp, now: SystemTime) -> Option<Quarantine> {
        let is_other = |entry: &JournalEntry| !entry.loading && entry.path == path && entry.stamp != stamp.0;
        if self.entries().iter().any(is_other) {
            self.change(|entries| entries.retain(|entry| !is_other(entry)));
        }
        let journal = self.file.as_deref()?.display();
        self.entries().iter().filter(|entry| entry.path == path).find_map(|entry| {
            let left = entry.quarantine_left(now)?;
            let JournalEntry { model, version, ends, .. } = entry;
            let status = Status::new(
                QUARANTINED,
                format!(
                    "version {version} of model {model} took the process down {ends} times when it was loaded, and is left alone for \
                     {} s or until its files change; to have it loaded at once, delete `{journal}` and start again",
                    left.as_secs().max(1)
                ),
            );
            Some(Quarantine { status, left })
        })
    }

    /// A version is about to be loaded, as soon as this returns and until the permit is dropped.
    pub(super) fn begin_load(&self, model: &str, version: i64, path: &Path, stamp: FileStamp) -> LoadPermit<'_> {
        let is_suspect = self.entries().iter().any(|entry| entry.path == path && entry.ends > 0);
        let permit = if is_suspect {
            LoadPermit::Alone { _held: self.load_lock.write().unwrap_or_else(PoisonError::into_inner) }
        } else {
            LoadPermit::Shared { _held: self.load_lock.read().unwrap_or_else(PoisonError::into_inner) }
        };
        self.change(|entries| {
            if self.is_stopped.load(Ordering::Relaxed) {
                return;
            }
            match entries.iter_mut().find(|entry| entry.path == path && !entry.loading) {
                Some(entry) => entry.loading = true,
                None => entries.push(JournalEntry {
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
        permit
    }

    /// A load has ended, whichever way: nothing is held against the version any more.
    pub(super) fn end_load(&self, path: &Path) {
        self.change(|entries| {
            let at = entries.iter().position(|entry| entry.loading && entry.path == path);
            at.map(|at| entries.remove(at));
        });
    }

    /// The server is about to end: what is being loaded is not to blame, nor what begins to be.
    pub(super) fn stop(&self) {
        self.change(|entries| {
            self.is_stopped.store(true, Ordering::Relaxed);
            entries.iter_mut().for_each(|entry| entry.loading = false);
            entries.retain(|entry| entry.ends > 0);
        });
    }

    /// Nothing is loaded any more: another server may have the file.
    pub(super) fn close(&self) {
        self.stop();
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_closed.store(true, Ordering::Relaxed);
        lock.take();
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Vec<JournalEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Vec<JournalEntry>)) {
        let Some(file) = self.file.as_ref().filter(|_| !self.is_closed.load(Ordering::Relaxed)) else { return };
        let mut entries = self.entries();
        change(&mut entries);
        // Models can be served without it.
        if let Err(error) = write(file, &entries) {
            tracing::warn!(journal = %file.display(), %error, "the journal of loads cannot be written");
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Locks a file beside the journal, which itself is replaced whenever it changes.
fn lock(file: &Path) -> Result<File, TryLockError> {
    let sibling = sibling(file, ".lock").map_err(TryLockError::Error)?;
    let lock = File::options().create(true).append(true).open(sibling).map_err(TryLockError::Error)?;
    lock.try_lock().map(|()| lock)
}

/// The path of a file beside the journal, whose folder is made.
fn sibling(file: &Path, extension: &str) -> io::Result<PathBuf> {
    let parent = parent(file);
    fs::create_dir_all(parent)?;
    let mut name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(extension);
    Ok(parent.join(name))
}

fn parent(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn read(file: &Path) -> io::Result<Vec<JournalEntry>> {
    let opened = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    let mut text = String::new();
    if opened.take(MAX_BYTES + 1).read_to_string(&mut text)? as u64 > MAX_BYTES {
        return Err(io::Error::other("it is far longer than a journal is"));
    }
    text.lines().map(|entry| serde_json::from_str(entry).map_err(io::Error::from)).collect()
}

/// Writes beside the file and puts it in its place; an empty journal is no file.
fn write(file: &Path, entries: &[JournalEntry]) -> io::Result<()> {
    if entries.is_empty() {
        return match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let sibling = sibling(file, ".new")?;
    let mut new = File::create(&sibling)?;
    for entry in entries {
        writeln!(new, "{}", serde_json::to_string(entry)?)?;
    }
    new.sync_all()?;
    fs::rename(&sibling, file)?;
    File::open(parent(file))?.sync_all()
}
