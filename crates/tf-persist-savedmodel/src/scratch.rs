//! Hidden folders beside a target, where files are written until they are complete.
//!
//! A writer of a model, a checkpoint or a file creates a folder `.NAME.tmp-…` beside the target, writes into it, and
//! renames the result in one step. A process that is killed leaves the folder behind; the next writer beside it deletes
//! it.
//!
//! A folder belongs to the process that holds a lock (`flock`) on its file `lock`. The kernel releases the lock when
//! the process ends, in whatever way, so neither process ids nor the age of a folder decide whether it is in use. Locks
//! of other machines may be invisible here: a folder that was not made on this machine since its start is only deleted
//! if it is old and on a local file system. A folder without that file was not made by this program.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use crc_fast::{CrcAlgorithm, checksum};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use tempfile::TempPath;

/// The part of the name between the target's name and the unique part.
const MARK: &str = ".tmp-";

/// The suffix of a folder that is being deleted.
const GONE: &str = ".gone";

/// The part of the name for an unknown machine.
const UNKNOWN: &str = "00000000";

/// The file whose lock marks a folder as in use.
const LOCK: &str = "lock";

/// The name of a file in its folder.
const FILE: &str = "file";

/// The most bytes of the target's name that are kept: the whole name must fit into 255 bytes.
const MAX_NAME: usize = 100;

/// The age after which no process can still be writing to a folder.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// The attempts to create a folder, if another process deletes it before it is locked.
const TRIES: usize = 16;

/// A private, hidden folder, deleted with its contents when it is dropped.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
    /// Held until the folder is deleted, so that no other process does it meanwhile. `None` if the file system has no
    /// locks: then the folder has a name that is never cleaned up.
    lock: Option<File>,
}

impl Scratch {
    /// Creates a folder beside a target and named after it. Folders that killed processes left there are deleted first.
    ///
    /// # Errors
    /// If the path does not end in a name, or no folder can be created there.
    pub fn beside(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self::within(parent, &name.to_string_lossy())
    }

    /// As [`Scratch::beside`], in this folder and named after this name.
    ///
    /// # Errors
    /// If no folder can be created there.
    pub fn within(parent: &Path, name: &str) -> io::Result<Self> {
        tidy(parent);
        let mut end = name.len().min(MAX_NAME);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let prefix = format!(".{}{MARK}", &name[..end]);
        let make = |prefix: &str| {
            tempfile::Builder::new().prefix(prefix).permissions(fs::Permissions::from_mode(0o700)).tempdir_in(parent)
        };
        for _ in 0..TRIES {
            let folder = make(&format!("{prefix}{}-", machine().unwrap_or(UNKNOWN)))?;
            match take(folder.path()) {
                Ok(Some(lock)) => return Ok(Self { folder: folder.keep(), lock: Some(lock) }),
                // A process that deletes old folders was faster.
                Ok(None) => drop(folder.keep()),
                Err(_) => break,
            }
        }
        Ok(Self { folder: make(&prefix)?.keep(), lock: None })
    }

    /// The folder. The name `lock` in it is taken.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Deletes the folder.
    ///
    /// # Errors
    /// If something in it cannot be deleted.
    pub fn close(mut self) -> io::Result<()> {
        self.delete()
    }

    /// Deletes the folder, unless that was done.
    fn delete(&mut self) -> io::Result<()> {
        let folder = std::mem::take(&mut self.folder);
        match &self.lock {
            _ if folder.as_os_str().is_empty() => Ok(()),
            Some(_) => discard(&folder),
            None => fs::remove_dir_all(folder),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be deleted is tried again by the next process.
        let _ = self.delete();
    }
}

/// A file that appears under its name complete or not at all. Dropped without [`NewFile::publish`], it is deleted.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    target: PathBuf,
    scratch: Scratch,
}

impl NewFile {
    /// Creates a file in a hidden folder beside its target, with the permissions of any other new file.
    ///
    /// # Errors
    /// As [`Scratch::beside`].
    pub fn beside(target: &Path) -> io::Result<Self> {
        let scratch = Scratch::beside(target)?;
        let file = File::options().read(true).write(true).create_new(true).open(scratch.path().join(FILE))?;
        Ok(Self { file, target: target.to_path_buf(), scratch })
    }

    /// The file.
    #[must_use]
    pub fn as_file(&self) -> &File {
        &self.file
    }

    /// Makes the file durable and gives it its name. An existing file is replaced, or is an error.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if a file of that name exists and may not be replaced; if the disk is full, or
    /// the file cannot be moved.
    pub fn publish(self, replace: bool) -> io::Result<()> {
        let Self { file, target, scratch } = self;
        file.sync_all()?;
        let path = TempPath::try_from_path(scratch.path().join(FILE))?;
        let moved = if replace { path.persist(target) } else { path.persist_noclobber(target) };
        moved.map_err(|refused| refused.error)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Whether this is the name of such a folder, which is not part of a model.
pub(crate) fn is_name(name: &std::ffi::OsStr) -> bool {
    name.to_str().and_then(machine_of).is_some()
}

impl Seek for NewFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Locks a folder for this process; `None` if it belongs to another process or is gone.
fn take(folder: &Path) -> io::Result<Option<File>> {
    let path = folder.join(LOCK);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    // The path may be anything.
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    let lock = match options.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        lock => lock?,
    };
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(None),
        locked => locked?,
    }
    // The owner of the lock may have deleted it between the two.
    let same = |found: fs::Metadata| Ok((found.dev(), found.ino()) == (lock.metadata()?.dev(), lock.metadata()?.ino()));
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => Ok(found.and_then(same)?.then_some(lock)),
    }
}

/// Deletes the folders that killed processes left in this one, as far as possible. Whoever makes a [`Scratch`] does it,
/// too.
pub fn tidy(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    let mut shared = None;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(made_on) = name.to_str().and_then(machine_of) else { continue };
        let Ok(found) = entry.metadata() else { continue };
        let is_old = || SystemTime::now().duration_since(found.modified()?).map_err(io::Error::other);
        let mut may = || {
            Some(made_on) == machine()
                || is_old().is_ok_and(|age| age > LONG)
                    && !*shared.get_or_insert_with(|| File::open(parent).map_or(true, |parent| is_shared(&parent)))
        };
        if found.is_dir() && is_ours(&found) && may() {
            let _ = remove(&entry.path());
        }
    }
}

fn is_ours(found: &fs::Metadata) -> bool {
    found.uid() == rustix::process::geteuid().as_raw()
}

/// Deletes a folder whose process is gone.
fn remove(folder: &Path) -> io::Result<()> {
    if folder.to_string_lossy().ends_with(GONE) {
        return delete_gone(folder);
    }
    let is_lock = |found: fs::Metadata| found.is_file() && found.len() == 0 && is_ours(&found);
    if !fs::symlink_metadata(folder.join(LOCK)).is_ok_and(is_lock) {
        // Its creator has not locked it yet and will create another; or it is a foreign folder with contents.
        return fs::remove_dir(folder);
    }
    match take(folder)? {
        Some(_lock) => discard(folder),
        None => Ok(()),
    }
}

/// Deletes a folder whose lock this process has. It is renamed first: without its lock, what remained of it after a
/// kill would look like a foreign folder.
fn discard(folder: &Path) -> io::Result<()> {
    let mut gone = folder.as_os_str().to_owned();
    gone.push(GONE);
    // A creator that has not locked it yet finds it gone as a whole.
    fs::rename(folder, &gone)?;
    delete_gone(Path::new(&gone))
}

/// Deletes a folder that nobody needs, perhaps at the same time as another process.
fn delete_gone(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        deleted => deleted,
    }
}

/// The machine that created a folder of this name; `None` for other names.
fn machine_of(name: &str) -> Option<&str> {
    let (_, rest) = name.strip_prefix('.')?.rsplit_once(MARK)?;
    let (machine, random) = rest.strip_suffix(GONE).unwrap_or(rest).split_once('-')?;
    let is_machine = machine.len() == 8 && machine.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_random = random.len() == 6 && random.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_machine && is_random).then_some(machine)
}

/// Eight hexadecimal digits that identify this machine since its start; `None` if unknown.
fn machine() -> Option<&'static str> {
    static MACHINE: OnceLock<Option<String>> = OnceLock::new();
    let read = || fs::read("/proc/sys/kernel/random/boot_id").ok().filter(|id| !id.is_empty());
    let found =
        MACHINE.get_or_init(|| read().map(|id| format!("{:08x}", checksum(CrcAlgorithm::Crc32Iscsi, id.trim_ascii()))));
    found.as_deref()
}

/// Whether other machines may write to the file system that a folder is on, as far as is known.
#[cfg(target_os = "linux")]
fn is_shared(folder: &File) -> bool {
    /// ext2 to ext4, XFS, btrfs, tmpfs, ramfs, overlayfs, F2FS, ZFS, bcachefs (`linux/magic.h`, and their own sources).
    const LOCAL: [u64; 9] = [
        0xEF53,
        0x5846_5342,
        0x9123_683E,
        0x0102_1994,
        0x8584_58F6,
        0x794C_7630,
        0xF2F5_2010,
        0x2FC1_2FC1,
        0xCA45_1A4E,
    ];
    rustix::fs::fstatfs(folder).map_or(true, |found| !LOCAL.contains(&(found.f_type as u64 & 0xFFFF_FFFF)))
}

#[cfg(not(target_os = "linux"))]
fn is_shared(_folder: &File) -> bool {
    true
}

#[cfg(test)]
mod tests;
