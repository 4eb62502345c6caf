//! The files that go into a pack, and the sources of their contents.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::name::check_all;
use super::{MAX_FILES, Pack};
use crate::container::Files;
use crate::error::{Error, Hint, Result};
use crate::scratch::is_name as is_scratch;

/// Files are read in pieces of this size.
const PIECE: usize = 1 << 20;

/// A file that goes into a pack.
pub(crate) struct Item {
    /// Its name in the pack.
    pub(super) name: String,
    /// Its length in bytes.
    pub(super) length: u64,
    content: Content,
}

enum Content {
    /// A file: its path in messages, and its path without links.
    File {
        shown: PathBuf,
        real: PathBuf,
    },
    Bytes(Bytes),
    Packed(Arc<Pack>, usize),
}

impl Item {
    /// Its name in the pack.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Replaces its contents by these bytes.
    pub(crate) fn replace(&mut self, bytes: Bytes) {
        self.length = bytes.len() as u64;
        self.content = Content::Bytes(bytes);
    }

    /// Calls `take` with its contents, piece by piece.
    ///
    /// # Errors
    /// If its length has changed, or its checksum in the source pack is wrong.
    pub(crate) fn for_each_piece(&self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let (shown, real) = match &self.content {
            Content::Bytes(bytes) => return take(bytes),
            Content::Packed(pack, number) => return pack.for_each_piece(*number, |piece| take(piece.bytes())),
            Content::File { shown, real } => (shown, real),
        };
        let changed = || Error::damaged(shown, "its length changed while it was read");
        let mut file = File::open(real).map_err(Error::io("open", shown))?;
        let mut buffer = vec![0; usize::try_from(self.length).unwrap_or(PIECE).clamp(1, PIECE)];
        let mut left = self.length;
        loop {
            let read = file.read(&mut buffer).map_err(Error::io("read", shown))?;
            left = left.checked_sub(read as u64).ok_or_else(changed)?;
            match read {
                0 if left == 0 => return Ok(()),
                0 => return Err(changed()),
                _ => take(&buffer[..read])?,
            }
        }
    }
}

/// The files with these names, and all files in folders with these names, sorted.
///
/// # Errors
/// If a pack cannot hold one of them.
pub(crate) fn of_files(files: &Files, parts: &[&str]) -> Result<Vec<Item>> {
    match files {
        Files::Pack(pack) => Ok(of_pack(pack, parts)),
        Files::Folder(folder) => of_folder(folder, parts),
    }
}

fn of_pack(pack: &Arc<Pack>, parts: &[&str]) -> Vec<Item> {
    let is_part = |name: &str| parts.contains(&name) || parts.contains(&name.split('/').next().unwrap_or_default());
    let kept = pack.entries().iter().enumerate().filter(|(_, entry)| is_part(&entry.name));
    let item = |(number, entry): (usize, &super::Entry)| Item {
        name: entry.name.clone(),
        length: entry.length,
        content: Content::Packed(pack.clone(), number),
    };
    kept.map(item).collect()
}

/// As [`of_files`], for a folder.
pub(crate) fn of_folder(folder: &Path, parts: &[&str]) -> Result<Vec<Item>> {
    let root = folder.canonicalize().map_err(Error::io("open", folder))?;
    let mut walk = Walk { root: &root, folder, items: Vec::new(), above: Vec::new() };
    for part in parts {
        if folder.join(part).symlink_metadata().is_ok() {
            walk.add(part)?;
        }
    }
    let mut items = walk.items;
    items.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<&str> = items.iter().map(|item| item.name.as_str()).collect();
    check_all(&names).map_err(|(name, reason)| Error::Unsupported {
        path: folder.join(name),
        reason: format!("a pack cannot hold a file of this name: {reason}"),
        hint: None,
    })?;
    Ok(items)
}

/// A walk through a model folder.
struct Walk<'a> {
    root: &'a Path,
    folder: &'a Path,
    items: Vec<Item>,
    /// The real folders above, to detect links to one of them.
    above: Vec<PathBuf>,
}

impl Walk<'_> {
    /// Adds the file with this name, or all files below the folder with this name. Links are followed as in an export.
    fn add(&mut self, name: &str) -> Result<()> {
        let shown = self.folder.join(name);
        let refuse = |reason: String, hint: Option<&'static str>| {
            Err(Error::Unsupported { path: shown.clone(), reason, hint: hint.map(Hint::from) })
        };
        let real = shown.canonicalize().map_err(Error::io("open", &shown))?;
        if !real.starts_with(self.root) {
            let hint = "replace the link by a copy of the file";
            return refuse(format!("it links to `{}`, outside the model", real.display()), Some(hint));
        }
        let metadata = fs::metadata(&real).map_err(Error::io("look at", &shown))?;
        if metadata.is_file() {
            if self.items.len() == MAX_FILES {
                return refuse(format!("the model has more than {MAX_FILES} files"), None);
            }
            let content = Content::File { shown, real };
            self.items.push(Item { name: name.to_owned(), length: metadata.len(), content });
            return Ok(());
        }
        if !metadata.is_dir() {
            return refuse("it is neither a file nor a folder".into(), None);
        }
        if self.above.contains(&real) {
            return refuse("it links to a folder that contains it".into(), None);
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(&real).map_err(Error::io("read", &shown))? {
            let entry = entry.map_err(Error::io("read", &shown))?.file_name();
            if is_scratch(&entry) {
                continue;
            }
            let Some(entry) = entry.to_str() else {
                return refuse(format!("the name `{}` in it is not valid UTF-8", entry.display()), None);
            };
            names.push(format!("{name}/{entry}"));
        }
        self.above.push(real);
        names.iter().try_for_each(|name| self.add(name))?;
        self.above.pop();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn a_file_that_changes_while_it_is_packed_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let graph = folder.path().join("saved_model.pb");
        fs::write(&graph, "graph").unwrap();
        let items = of_folder(folder.path(), &["saved_model.pb"]).unwrap();
        let pack = || super::super::write(&mut Cursor::new(Vec::new()), &items, |error| panic!("{error}"));
        pack().unwrap();
        for contents in ["grap", "graphs", ""] {
            fs::write(&graph, contents).unwrap();
            assert!(pack().unwrap_err().to_string().contains("its length changed"), "{contents}");
        }
    }
}
