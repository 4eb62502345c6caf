//! A file of which some parts are there already, in this process or in the one before.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::durable;
use crate::error::{Result, StoreError};

/// The most bytes of the list of parts.
const MAX_LIST: u64 = 64 << 20;

/// A file that is written in parts. A list beside it says which parts are there: a part is noted after it was written.
#[derive(Debug)]
pub(crate) struct Partial {
    path: PathBuf,
    file: File,
    list: Mutex<File>,
    have: Ranges,
}

impl Partial {
    /// Opens the file of this path, or makes it.
    pub(crate) fn open(path: &Path, size: u64) -> Result<Self> {
        let list_path = path.with_extension("parts");
        let mut have = Ranges::default();
        if path.exists() {
            let list = durable::read(&list_path, MAX_LIST)?.unwrap_or_default();
            for line in String::from_utf8_lossy(&list).lines() {
                let range = line.split_once(' ').and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
                // A line of a process that was killed is cut off: then it has no end, or one that is too small.
                if let Some(range) = range.filter(|range: &Range<u64>| range.start < range.end && range.end <= size) {
                    have.add(range);
                }
            }
        }
        let open = |path: &Path, append: bool| {
            let mut options = OpenOptions::new();
            options.read(true).create(true).truncate(false).write(!append).append(append);
            options.open(path).map_err(StoreError::io("write", path))
        };
        let file = open(path, false)?;
        file.set_len(size).map_err(StoreError::io("write", path))?;
        let mut list = open(&list_path, true)?;
        list.write_all(b"\n").map_err(StoreError::io("write", &list_path))?;
        Ok(Self { path: path.to_path_buf(), file, list: Mutex::new(list), have })
    }

    /// Whether parts were there when it was opened, or were added by [`Partial::have`].
    pub(crate) fn is_begun(&self) -> bool {
        !self.have.0.is_empty()
    }

    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.file.write_all_at(bytes, offset).map_err(StoreError::io("write", &self.path))
    }

    /// Notes that a part is there.
    pub(crate) fn note(&self, range: &Range<u64>) -> Result<()> {
        let mut list = self.list.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let line = format!("{} {}\n", range.start, range.end);
        list.write_all(line.as_bytes()).map_err(StoreError::io("write", &self.path))
    }

    /// As [`Partial::note`], before the missing parts are listed.
    pub(crate) fn have(&mut self, range: Range<u64>) -> Result<()> {
        self.note(&range)?;
        self.have.add(range);
        Ok(())
    }

    /// Whether a part is there.
    pub(crate) fn has(&self, range: &Range<u64>) -> bool {
        self.have.missing(range.clone(), u64::MAX).is_empty()
    }

    /// What is missing, in pieces of at most `most` bytes.
    pub(crate) fn missing(&self, size: u64, most: u64) -> Vec<Range<u64>> {
        self.have.missing(0..size, most)
    }

    /// Forgets all parts.
    pub(crate) fn delete(self) -> Result<()> {
        for path in [self.path.with_extension("parts"), self.path] {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::io("delete", path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes the bytes durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(StoreError::io("write", &self.path))
    }
}

/// Ranges that do not touch each other, sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<Range<u64>>);

impl Ranges {
    pub(crate) fn add(&mut self, mut range: Range<u64>) {
        let first = self.0.partition_point(|known| known.end < range.start);
        let last = self.0.partition_point(|known| known.start <= range.end);
        if let Some(touched) = self.0.get(first..last).filter(|touched| !touched.is_empty()) {
            range.start = range.start.min(touched[0].start);
            range.end = range.end.max(touched[touched.len() - 1].end);
        }
        self.0.splice(first..last, [range]);
    }

    /// The parts of a range that are not here, in pieces of at most `most` bytes.
    pub(crate) fn missing(&self, within: Range<u64>, most: u64) -> Vec<Range<u64>> {
        let (mut start, mut missing) = (within.start, Vec::new());
        let first = self.0.partition_point(|known| known.end <= within.start);
        let ends = std::iter::once(within.end..within.end);
        for known in self.0[first..].iter().cloned().chain(ends) {
            let end = known.start.min(within.end);
            while start < end {
                let next = end.min(start.saturating_add(most));
                missing.push(start..next);
                start = next;
            }
            start = start.max(known.end);
            if start >= within.end {
                break;
            }
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_grow_together() {
        let mut ranges = Ranges::default();
        for range in [10..20, 40..50, 20..25, 60..70, 45..61, 0..1] {
            ranges.add(range);
        }
        assert_eq!(ranges.0, [0..1, 10..25, 40..70]);
        assert_eq!(ranges.missing(0..100, 20), [1..10, 25..40, 70..90, 90..100]);
        assert_eq!(ranges.missing(12..24, 20), []);
        assert_eq!(ranges.missing(20..30, 20).first(), Some(&(25..30)));
        assert_eq!(Ranges::default().missing(0..0, 20), []);
    }

    #[test]
    fn parts_are_known_to_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.data");
        let mut partial = Partial::open(&path, 100).unwrap();
        assert!(!partial.is_begun());
        partial.write(&[1; 30], 10).unwrap();
        partial.note(&(10..40)).unwrap();
        partial.have(90..100).unwrap();
        drop(partial);
        std::fs::OpenOptions::new().append(true).open(path.with_extension("parts")).unwrap().write_all(b"50 ").unwrap();
        let partial = Partial::open(&path, 100).unwrap();
        assert!(partial.has(&(10..40)) && !partial.has(&(10..41)));
        assert_eq!(partial.missing(100, 1000), [0..10, 40..90]);
        partial.delete().unwrap();
        assert!(!Partial::open(&path, 100).unwrap().is_begun());
    }
}
