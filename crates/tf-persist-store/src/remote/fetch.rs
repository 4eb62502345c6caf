//! Brings the files of a version from a remote store into a folder.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::RemoteErrorKind;
use super::objects::{Answer, Body, Objects};
use super::parallel::in_parallel;
use super::partial::Partial;
use super::progress::Progress;
use super::tensors::{KnownTensors, copy_known, parts};
use crate::copy::{self, Hashed};
use crate::error::{Result, StoreError};
use crate::files::{create_parents, make_read_only, sync_tree};
use crate::manifest::{FileEntry, Manifest, hex};

/// Files of at most this size come in one piece.
const SMALL: u64 = 8 << 20;

/// The bytes of a piece.
const PIECE: u64 = 8 << 20;

/// Files of this machine that need not come again.
#[derive(Debug, Default)]
pub(crate) struct Known {
    files: HashMap<(String, u64), PathBuf>,
    tensors: KnownTensors,
}

impl Known {
    /// The files and tensors of versions in folders, the likeliest first.
    pub(crate) fn of(versions: &[(PathBuf, Manifest)]) -> Self {
        let mut files = HashMap::new();
        for (folder, manifest) in versions {
            for file in &manifest.files {
                files.entry((file.sha256.clone(), file.size)).or_insert_with(|| folder.join(&file.name));
            }
        }
        let folders: Vec<PathBuf> = versions.iter().map(|(folder, _)| folder.clone()).collect();
        Self { files, tensors: KnownTensors::of(&folders) }
    }
}

/// The files of a version on their way into a folder.
pub(crate) struct Fetch<'a> {
    pub(crate) objects: &'a dyn Objects,
    /// The key of the version's folder, without `/` at the end.
    pub(crate) base: String,
    /// The files, whose hashes are empty where nobody knows them: then sizes must suffice.
    pub(crate) files: &'a [FileEntry],
    /// The folder where they get.
    pub(crate) folder: PathBuf,
    /// The folder of files that are not whole.
    pub(crate) partial: PathBuf,
    pub(crate) known: &'a Known,
    pub(crate) parallel: usize,
    pub(crate) progress: &'a dyn Progress,
    /// Whether the files that are there are hashed. Else their sizes suffice, since they were checked before they got
    /// their names.
    pub(crate) recheck: bool,
}

impl Fetch<'_> {
    /// Brings all files. What an earlier process brought stays.
    ///
    /// # Errors
    /// If a file cannot be had, or is not what the manifest says.
    pub(crate) fn run(&self) -> Result<()> {
        for folder in [&self.folder, &self.partial] {
            fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
        }
        self.progress.start(self.files.iter().fold(0, |sum, file| sum.saturating_add(file.size)));
        // The index of the variables is among the first, since it says which tensors of the data files are known.
        let is_data = |file: &FileEntry| file.name.contains(".data-");
        let (data, others): (Vec<_>, Vec<_>) = self.files.iter().enumerate().partition(|(_, it)| is_data(it));
        for files in [others, data] {
            let (small, large): (Vec<_>, Vec<_>) = files.into_iter().partition(|(_, file)| file.size <= SMALL);
            in_parallel(small, self.parallel, |(index, file)| self.file(index, file))?;
            large.into_iter().try_for_each(|(index, file)| self.file(index, file))?;
        }
        sync_tree(&self.folder)
    }

    fn key(&self, file: &FileEntry) -> String {
        format!("{}/{}", self.base, file.name)
    }

    fn file(&self, index: usize, file: &FileEntry) -> Result<()> {
        let target = create_parents(&self.folder, &file.name)?;
        if self.is_there(file, &target) || self.link(file, &self.partial.join(format!("{index}.link")), &target)? {
            self.progress.advance(file.size);
            return Ok(());
        }
        let partial = self.partial.join(format!("{index}.data"));
        let sha256 = if file.size <= SMALL { self.whole(file, &partial)? } else { self.pieces(file, &partial)? };
        if sha256 != file.sha256 && !file.sha256.is_empty() {
            return Err(self.objects.refuse(&self.key(file), RemoteErrorKind::WrongContents));
        }
        make_read_only(&partial)?;
        fs::rename(&partial, &target).map_err(StoreError::io("write", &target))?;
        let _ = fs::remove_file(partial.with_extension("parts"));
        Ok(())
    }

    /// Whether the file is in the folder already.
    fn is_there(&self, file: &FileEntry, target: &Path) -> bool {
        let is_of_size = fs::symlink_metadata(target).is_ok_and(|it| it.is_file() && it.len() == file.size);
        is_of_size && (!self.recheck || is_equal(target, file))
    }

    /// Links the file to an equal one of this machine, if there is one.
    fn link(&self, file: &FileEntry, partial: &Path, target: &Path) -> Result<bool> {
        let Some(known) = self.known.files.get(&(file.sha256.clone(), file.size)) else { return Ok(false) };
        let _ = fs::remove_file(partial);
        let is_equal = match fs::hard_link(known, partial) {
            // It may have been changed since it was published, or replaced by a link to another file.
            Ok(()) => fs::symlink_metadata(partial).is_ok_and(|it| it.is_file()) && is_equal(partial, file),
            // Another file system, or too many links.
            Err(_) => copy::copy(known, partial).is_ok_and(|copied| copied == wanted(file)),
        };
        if !is_equal {
            let _ = fs::remove_file(partial);
            return Ok(false);
        }
        make_read_only(partial)?;
        // Not before it was checked: if this process is killed, the next one takes a file that has its name for whole.
        fs::rename(partial, target).map_err(StoreError::io("write", target))?;
        Ok(true)
    }

    /// Brings a file in one piece. Returns its SHA-256.
    fn whole(&self, file: &FileEntry, partial: &Path) -> Result<String> {
        let _ = fs::remove_file(partial);
        let mut target = File::create_new(partial).map_err(StoreError::io("write", partial))?;
        let mut hasher = Sha256::new();
        let body = self.get(file, None)?;
        self.read(file, body, file.size, |_, bytes| {
            hasher.update(bytes);
            target.write_all(bytes).map_err(StoreError::io("write", partial))
        })?;
        target.sync_all().map_err(StoreError::io("write", partial))?;
        Ok(hex(&hasher.finalize()))
    }

    /// Brings a file in pieces, but for those that are there. Returns its SHA-256.
    fn pieces(&self, file: &FileEntry, path: &Path) -> Result<String> {
        let mut partial = Partial::open(path, file.size)?;
        let parts = parts(self.files, &file.name, &self.folder, &self.partial);
        copy_known(&mut partial, &parts, &self.known.tensors)?;
        let is_begun = partial.is_begun();
        match self.bring_missing(file, &partial) {
            Err(StoreError::Remote(error)) if *error.kind() == RemoteErrorKind::IgnoresRanges => {
                partial.delete()?;
                return self.whole(file, path);
            }
            brought => brought?,
        }
        if file.sha256.is_empty() {
            return Ok(String::new());
        }
        let found = copy::hash(path)?.sha256;
        if found == file.sha256 || !is_begun {
            return Ok(found);
        }
        // What was there before is wrong, or two tensors have the same checksum: once more, without either.
        partial.delete()?;
        self.bring_missing(file, &Partial::open(path, file.size)?)?;
        Ok(copy::hash(path)?.sha256)
    }

    fn bring_missing(&self, file: &FileEntry, partial: &Partial) -> Result<()> {
        let wanted = partial.missing(file.size, PIECE);
        let missing: u64 = wanted.iter().map(|range| range.end - range.start).sum();
        self.progress.advance(file.size - missing);
        in_parallel(wanted, self.parallel, |range| {
            let (start, length) = (range.start, range.end - range.start);
            let body = self.get(file, Some(range.clone()))?;
            self.read(file, body, length, |offset, bytes| partial.write(bytes, start + offset))?;
            partial.note(&range)
        })?;
        partial.sync()
    }

    fn get(&self, file: &FileEntry, range: Option<Range<u64>>) -> Result<Body> {
        let key = self.key(file);
        match self.objects.get(&key, range, None)? {
            Answer::Found(body) if body.size == file.size => Ok(body),
            Answer::Found(body) => {
                Err(self.objects.refuse(&key, RemoteErrorKind::WrongSize { expected: file.size, found: body.size }))
            }
            Answer::Absent | Answer::Unchanged => Err(self.objects.refuse(&key, RemoteErrorKind::Absent)),
        }
    }

    /// Reads all bytes of an answer, of which there must be as many as were wanted.
    fn read(
        &self,
        file: &FileEntry,
        body: Body,
        wanted: u64,
        mut write: impl FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut found = 0;
        let wrong =
            |found| self.objects.refuse(&self.key(file), RemoteErrorKind::WrongSize { expected: wanted, found });
        for chunk in body.chunks {
            let chunk = chunk?;
            let length = chunk.len() as u64;
            if found + length > wanted {
                return Err(wrong(found + length));
            }
            write(found, &chunk)?;
            found += length;
            self.progress.advance(length);
        }
        if found == wanted { Ok(()) } else { Err(wrong(found)) }
    }
}

/// Whether the bytes of a file are those of the manifest.
fn is_equal(path: &Path, file: &FileEntry) -> bool {
    copy::hash(path).is_ok_and(|found| found == wanted(file))
}

fn wanted(file: &FileEntry) -> Hashed {
    Hashed { size: file.size, sha256: file.sha256.clone() }
}

/// Deletes a folder with everything in it, as far as possible.
pub(crate) fn discard(folder: &Path) {
    let _ = fs::remove_dir_all(folder);
}
