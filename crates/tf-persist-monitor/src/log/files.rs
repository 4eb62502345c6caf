//! Which files are logs: those named, and those in named folders.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use tf_persist_savedmodel::warmup::LoggedRequests;

use crate::error::{MonitorError, Result};

/// How long after a request its record may be written, and clocks of file systems may differ.
const SLACK: SignedDuration = SignedDuration::from_secs(300);

/// What the name of a file ends with while the server writes it.
const PART: &str = ".part";

/// A file of a request log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFile {
    pub(crate) path: PathBuf,
    /// TFRecord; else lines of JSON.
    pub(crate) is_records: bool,
}

impl LogFile {
    fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), is_records: LoggedRequests::is_records(path) }
    }

    /// The name that the server gives the file once it is whole, if it does not have it yet.
    pub(crate) fn last_name(&self) -> Option<PathBuf> {
        self.path.to_str().and_then(|path| path.strip_suffix(PART)).map(PathBuf::from)
    }

    /// Whether nothing was written to it since a time, nor shortly before. A file without a time is not.
    pub(crate) fn is_older_than(&self, time: Timestamp) -> bool {
        let written = fs::metadata(&self.path).and_then(|found| found.modified());
        let written = written.ok().and_then(|written| Timestamp::try_from(written).ok());
        written.is_some_and(|written| written.checked_add(SLACK).is_ok_and(|written| written < time))
    }
}

/// The files of these paths, those of a folder sorted by name. A file of a folder is a log if it has `.tfrecord` or
/// `.jsonl` in its name.
///
/// # Errors
/// If a path does not exist, or a folder has no logs.
pub(crate) fn find(paths: &[PathBuf]) -> Result<Vec<LogFile>> {
    let mut found = Vec::new();
    for path in paths {
        if !fs::metadata(path).map_err(MonitorError::io("read", path))?.is_dir() {
            found.push(LogFile::new(path));
            continue;
        }
        let before = found.len();
        for entry in fs::read_dir(path).map_err(MonitorError::io("read", path))? {
            let entry = entry.map_err(MonitorError::io("read", path))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // What the folder says of it stays true if it is renamed or deleted meanwhile; a link is followed.
            let is_file = || entry.file_type().is_ok_and(|kind| kind.is_file()) || entry.path().is_file();
            if (name.contains(".tfrecord") || name.contains(".jsonl")) && is_file() {
                found.push(LogFile::new(&entry.path()));
            }
        }
        if found.len() == before {
            return Err(MonitorError::file(path, "has no files with `.tfrecord` or `.jsonl` in their names"));
        }
        if let Some(of_folder) = found.get_mut(before..) {
            of_folder.sort_by(|a, b| a.path.cmp(&b.path));
        }
    }
    Ok(found)
}
