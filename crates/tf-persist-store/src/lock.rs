//! One change to a model at a time.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tf_persist_savedmodel::scratch;

use crate::durable;
use crate::error::{Result, StoreError};
use crate::event;
use crate::intent::{Intent, empty_trash};
use crate::labels::Labels;
use crate::layout::{Layout, PUSH};
use crate::store::{manifests, names};

/// After this long, a user wonders.
const PATIENCE: Duration = Duration::from_secs(2);

/// A lock that another process holds while this one waits for it. `Display` names both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting<'a> {
    /// The file that is locked.
    pub path: &'a Path,
    /// The number of the process that holds the lock, where the system tells.
    pub holder: Option<u32>,
}

impl fmt::Display for Waiting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waiting for the lock `{}`", self.path.display())?;
        match self.holder {
            Some(holder) => write!(f, ", which process {holder} holds"),
            None => f.write_str(", which another process holds"),
        }
    }
}

static REPORT: OnceLock<fn(&Waiting<'_>)> = OnceLock::new();

/// Sets the function that hears of each lock for which this process has waited for two seconds. Only the first call in
/// a process has an effect.
pub fn report_waiting(report: fn(&Waiting<'_>)) {
    // Another part of the program was first.
    let _ = REPORT.set(report);
}

/// A lock of a file, which ends with this value or its process.
#[derive(Debug)]
pub struct FileLock(#[expect(dead_code, reason = "it holds the lock")] File);

impl FileLock {
    /// Locks a file, which is created unless it exists. `None` if another process has the lock.
    ///
    /// # Errors
    /// If the file cannot be opened or locked.
    pub fn take(path: &Path) -> Result<Option<Self>> {
        Ok(lock_file(path, FlockOperation::NonBlockingLockExclusive)?.map(Self))
    }

    /// The process that has the lock of a file, on Linux and if it runs on this machine.
    #[must_use]
    pub fn holder(path: &Path) -> Option<u32> {
        holder(&fs::metadata(path).ok()?)
    }
}

/// The lock of a model. The kernel releases it when the process ends, in whatever way.
#[derive(Debug)]
pub(crate) struct Locked<'a> {
    pub(crate) layout: &'a Layout,
    /// The labels file as it is under the lock.
    pub(crate) labels: Labels,
    _file: File,
}

impl<'a> Locked<'a> {
    /// Waits for the lock, and finishes what a killed process left.
    pub(crate) fn take(layout: &'a Layout) -> Result<Self> {
        let file = loop {
            // Another process may delete the folder of a model whose first publication failed.
            durable::create_folder(layout.folder())?;
            match durable::create_folder(&layout.hidden()) {
                Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => continue,
                created => created?,
            }
            if let Some(file) = lock_file(&layout.lock(), FlockOperation::LockExclusive)? {
                break file;
            }
        };
        Intent::recover(layout)?;
        tidy(layout);
        let mut labels = Labels::read(layout)?;
        let versions = manifests(layout)?;
        if labels.counter == 0 && !versions.is_empty() {
            // Nothing may be removed that somebody may have pointed a label to.
            return Err(StoreError::damaged(
                layout.labels(),
                "it is missing, and so is the log, although there are versions",
            ));
        }
        // What is written here is for readers that cannot list the folder.
        labels.versions = Some(versions.into_iter().collect());
        event::append_missing(layout, &labels.recent)?;
        labels.recent.drain(..labels.droppable());
        Ok(Self { layout, labels, _file: file })
    }
}

/// Deletes what killed processes left, as far as possible. Under the lock, and after their changes were finished, which
/// need it.
fn tidy(layout: &Layout) {
    empty_trash(layout);
    scratch::tidy(&layout.staging());
    // A push writes what it has done without the lock.
    let is_left = |name: &&String| name.ends_with(".new") && !name.starts_with(PUSH);
    for name in names(&layout.hidden()).unwrap_or_default().iter().filter(is_left) {
        let _ = fs::remove_file(layout.hidden().join(name));
    }
}

/// Locks a file, which is created unless it exists. The kernel releases the lock when the process ends. `None` if the
/// file was deleted meanwhile, or if another process has the lock and `how` does not wait.
pub(crate) fn lock_file(path: &Path, how: FlockOperation) -> Result<Option<File>> {
    let mut options = OpenOptions::new();
    let file = match options.read(true).write(true).create(true).truncate(false).open(path) {
        // Its folder is gone.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(StoreError::io("open", path))?,
    };
    let locked = acquire(&file, path, how).map_err(|error| StoreError::io("lock", path)(error.into()))?;
    let same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    let is_there = match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(named)) => same(&held, &named),
        _ => false,
    };
    Ok((locked && is_there).then_some(file))
}

/// Locks an open file. `false` if another process has the lock and `how` does not wait.
fn acquire(file: &File, path: &Path, how: FlockOperation) -> Result<bool, Errno> {
    let without_waiting = match how {
        FlockOperation::LockExclusive => FlockOperation::NonBlockingLockExclusive,
        FlockOperation::LockShared => FlockOperation::NonBlockingLockShared,
        how => how,
    };
    match repeated(file, without_waiting) {
        Err(Errno::WOULDBLOCK) if how == without_waiting => Ok(false),
        Err(Errno::WOULDBLOCK) => {
            let (done, is_done) = mpsc::channel::<()>();
            let holder = file.metadata().ok().and_then(|file| holder(&file));
            thread::scope(|scope| {
                let wait = move || {
                    if is_done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout)
                        && let Some(report) = REPORT.get()
                    {
                        report(&Waiting { path, holder });
                    }
                };
                // Without another thread, it waits silently.
                let _ = thread::Builder::new().spawn_scoped(scope, wait);
                let locked = repeated(file, how);
                drop(done);
                locked.map(|()| true)
            })
        }
        locked => locked.map(|()| true),
    }
}

fn repeated(file: &File, how: FlockOperation) -> Result<(), Errno> {
    loop {
        match flock(file, how) {
            Err(Errno::INTR) => {}
            locked => return locked,
        }
    }
}

/// The process that holds the lock of a file, on Linux and if it runs on this machine.
fn holder(file: &fs::Metadata) -> Option<u32> {
    // "1: FLOCK  ADVISORY  WRITE 708 fe:00:131 0 EOF", the device in hexadecimal digits.
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let device = file.dev();
    let place = format!("{:02x}:{:02x}:{}", rustix::fs::major(device), rustix::fs::minor(device), file.ino());
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // A line of a process that waits has an arrow before its kind.
        match words.as_slice() {
            [_, "FLOCK", _, _, process, found, ..] if *found == place => {
                process.parse().ok().filter(|process| *process > 0)
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_lock_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = lock_file(&path, FlockOperation::LockExclusive).unwrap().unwrap();
        assert!(lock_file(&path, FlockOperation::NonBlockingLockExclusive).unwrap().is_none());
        let holder = holder(&held.metadata().unwrap());
        if cfg!(target_os = "linux") {
            assert_eq!(holder, Some(std::process::id()));
        }
        let text = Waiting { path: &path, holder: Some(7) }.to_string();
        assert_eq!(text, format!("waiting for the lock `{}`, which process 7 holds", path.display()));
        fs::remove_file(&path).unwrap();
        assert!(lock_file(&path, FlockOperation::LockExclusive).unwrap().is_some(), "a new file has no lock");
    }
}
