//! The files of all request logs in a folder, and their limit.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::file::recover;
use super::name::LogName;

/// The finished files of a folder, oldest first.
pub(super) struct LogFolder {
    finished: VecDeque<(PathBuf, u64)>,
    bytes: u64,
}

/// Creates a folder if it is missing, and checks that a file can be created in it.
pub(super) fn check_writable(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let probe = path.join(format!(".tf-persist-{}", std::process::id()));
    fs::File::create(&probe)?;
    fs::remove_file(&probe)
}

impl LogFolder {
    /// Creates the folder if it is missing, completes files that were left behind, and lists the finished ones.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        recover(path)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(log) = name.to_str().and_then(LogName::parse).filter(|name| !name.is_part) else { continue };
            let metadata = entry.metadata()?;
            if metadata.is_file() {
                found.push((log.time.to_owned(), entry.path(), metadata.len()));
            }
        }
        found.sort();
        let bytes = found.iter().map(|(.., length)| length).sum();
        Ok(Self { finished: found.into_iter().map(|(_, path, length)| (path, length)).collect(), bytes })
    }

    /// Counts a file that was finished.
    pub(super) fn add(&mut self, path: PathBuf, length: u64) {
        self.bytes += length;
        self.finished.push_back((path, length));
    }

    /// Deletes the oldest files until all of them have at most this many bytes. Returns whether they have.
    pub(super) fn shrink_to(&mut self, bytes: u64) -> bool {
        while self.bytes > bytes {
            let Some((path, length)) = self.finished.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(length);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "an old request log cannot be deleted");
                }
                _ => {}
            }
        }
        self.bytes <= bytes
    }
}
