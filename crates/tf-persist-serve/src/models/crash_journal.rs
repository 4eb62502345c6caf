//! A file with the versions that are being loaded: if loading one crashes the process, the next process knows which one
//! it was.
//!
//! The file has one line of JSON per version, and belongs to one process at a time: another process with the same file
//! runs without a journal. A process may end during a load for reasons other than the model: it is killed, or runs out
//! of memory. So a version is quarantined only after two processes ended while loading it, for a time that doubles with
//! each further crash, and only while its files stay the same. A suspected version is loaded alone, so that the right
//! one of several versions is identified.

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

/// A longer file is not a journal, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The code of the status of a quarantined version. Loads hardly ever fail with it otherwise.
pub(super) const QUARANTINED: Code = Code::Aborted;

/// A version is quarantined after this many processes ended while they loaded it.
const CRASHES_BEFORE_QUARANTINE: u32 = 2;

/// The length of the first quarantine.
const FIRST_QUARANTINE: Duration = Duration::from_secs(60);

/// The length of the longest quarantine.
const MAX_QUARANTINE: Duration = Duration::from_secs(24 * 3600);

/// The journal. Without a file it does nothing.
#[derive(Default)]
pub(super) struct CrashJournal {
    file: Option<PathBuf>,
    entries: Mutex<Vec<JournalEntry>>,
    /// Whether the server is shutting down.
    is_stopped: AtomicBool,
    /// The lock of the file, which the operating system releases however the process ends.
    lock: Mutex<Option<File>>,
    /// Whether the file was given up.
    is_closed: AtomicBool,
    /// Held shared by ordinary loads, and exclusively by the load of a suspected version.
    load_lock: RwLock<()>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct JournalEntry {
    model: String,
    version: i64,
    path: PathBuf,
    /// The stamp of the version's files.
    stamp: u64,
    /// Whether it is being loaded.
    #[serde(default = "default_true")]
    loading: bool,
    /// How many processes ended while they loaded it.
    #[serde(default)]
    ends: u32,
    /// When the last crash was noticed, in seconds since 1970.
    #[serde(default)]
    seen: u64,
}

/// Lines of older versions of this file are of loads under way.
fn default_true() -> bool {
    true
}

impl JournalEntry {
    /// The rest of the quarantine at `now`.
    fn quarantine_left(&self, now: SystemTime) -> Option<Duration> {
        let doublings = self.ends.checked_sub(CRASHES_BEFORE_QUARANTINE)?;
        let pause = FIRST_QUARANTINE.saturating_mul(1 << doublings.min(16)).min(MAX_QUARANTINE);
        // If the clock was set back, the elapsed time is unknown.
        let passed = Duration::from_secs(seconds(now).checked_sub(self.seen)?);
        pause.checked_sub(passed).filter(|left| !left.is_zero())
    }
}

/// The quarantine of a version: its status, and how long it lasts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Quarantine {
    pub(super) status: Status,
    pub(super) left: Duration,
}

/// Permission to load a version, while it is held.
pub(super) enum LoadPermit<'j> {
    Shared { _held: RwLockReadGuard<'j, ()> },
    Alone { _held: RwLockWriteGuard<'j, ()> },
}

impl CrashJournal {
    /// Opens the journal in a file, which need not exist. The process that wrote it ended while it loaded the versions
    /// that are marked as loading.
    pub(super) fn open(file: Option<&Path>, now: SystemTime) -> Self {
        let Some(file) = file else { return Self::default() };
        let lock = match lock(file) {
            Ok(lock) => Some(lock),
            Err(TryLockError::WouldBlock) => {
                tracing::info!(journal = %file.display(), "another server uses the crash journal; this one runs without");
                return Self::default();
            }
            // On file systems without locks or without write access.
            Err(TryLockError::Error(error)) => {
                tracing::debug!(journal = %file.display(), %error, "cannot lock the crash journal");
                None
            }
        };
        let mut entries = read(file).unwrap_or_else(|error| {
            tracing::warn!(journal = %file.display(), %error, "cannot read the crash journal");
            Vec::new()
        });
        for entry in entries.iter_mut().filter(|entry| entry.loading) {
            (entry.loading, entry.ends, entry.seen) = (false, entry.ends.saturating_add(1), seconds(now));
            let (model, version, path, ends) = (&entry.model, entry.version, entry.path.display(), entry.ends);
            match entry.quarantine_left(now) {
                None => tracing::warn!(
                    %model, version, %path, ends,
                    "the last process ended while loading this version; loading it again, alone"
                ),
                Some(left) => tracing::error!(
                    %model, version, %path, ends, quarantine_s = left.as_secs(),
                    "processes ended repeatedly while loading this version; it is quarantined"
                ),
            }
        }
        let (entries, lock) = (Mutex::new(entries), Mutex::new(lock));
        let journal = Self { file: Some(file.to_path_buf()), entries, lock, ..Self::default() };
        journal.change(|_| {});
        journal
    }

    /// The quarantine of a version: processes ended while they loaded it, and its files have not changed since.
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
                    "version {version} of model {model} crashed the process {ends} times while loading, and is quarantined for {} s or \
                     until its files change; to load it at once, delete `{journal}` and restart the server",
                    left.as_secs().max(1)
                ),
            );
            Some(Quarantine { status, left })
        })
    }

    /// Notes that a version is being loaded, from when this returns until the permit is dropped.
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

    /// Notes that a load has ended without a crash, which clears the version.
    pub(super) fn end_load(&self, path: &Path) {
        self.change(|entries| {
            let at = entries.iter().position(|entry| entry.loading && entry.path == path);
            at.map(|at| entries.remove(at));
        });
    }

    /// Notes that the server is shutting down: versions that are being loaded now or later are not suspected.
    pub(super) fn stop(&self) {
        self.change(|entries| {
            self.is_stopped.store(true, Ordering::Relaxed);
            entries.iter_mut().for_each(|entry| entry.loading = false);
            entries.retain(|entry| entry.ends > 0);
        });
    }

    /// Gives up the file for another server. Nothing is loaded any more.
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
        // The server works without a journal.
        if let Err(error) = write(file, &entries) {
            tracing::warn!(journal = %file.display(), %error, "cannot write the crash journal");
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Locks a file beside the journal, since the journal itself is replaced at every change.
fn lock(file: &Path) -> Result<File, TryLockError> {
    let sibling = sibling(file, ".lock").map_err(TryLockError::Error)?;
    let lock = File::options().create(true).append(true).open(sibling).map_err(TryLockError::Error)?;
    lock.try_lock().map(|()| lock)
}

/// The path of a file beside the journal. Creates the folder.
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
        return Err(io::Error::other("it is too long to be a crash journal"));
    }
    text.lines().map(|entry| serde_json::from_str(entry).map_err(io::Error::from)).collect()
}

/// Replaces the file atomically; removes it if there are no entries. Nothing is flushed to disk, which would take
/// longer than the load of a small model: what a process has written outlives it, and a crash of the machine is no
/// model's fault.
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
    fs::rename(&sibling, file)
}
