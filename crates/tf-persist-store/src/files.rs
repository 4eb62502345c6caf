//! The files of a version.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Result, StoreError};
use crate::signing::SIGNATURE_FILE;

/// More files than this are no model.
const MAX_FILES: usize = 1 << 20;

/// Deeper folders than this are no model.
pub(crate) const MAX_DEPTH: usize = 32;

/// What git would put beside a model, and model signing does not sign.
pub(crate) const GIT: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

/// What is at a name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Relative, with `/`.
    pub(crate) name: String,
    /// The size of a regular file; else what it is.
    pub(crate) size: Result<u64, &'static str>,
}

/// Everything in a folder but folders, sorted by name.
pub(crate) fn walk(folder: &Path) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut open = vec![(folder.to_path_buf(), String::new(), 0)];
    while let Some((path, prefix, depth)) = open.pop() {
        if depth > MAX_DEPTH {
            return Err(StoreError::refused(&path, format!("it is more than {MAX_DEPTH} folders deep")));
        }
        for entry in fs::read_dir(&path).map_err(StoreError::io("read", &path))? {
            let entry = entry.map_err(StoreError::io("read", &path))?;
            let file_name = entry.file_name();
            let Some(file_name) = file_name.to_str() else {
                return Err(StoreError::refused(entry.path(), "its name is not UTF-8"));
            };
            let name = format!("{prefix}{file_name}");
            let metadata = entry.metadata().map_err(StoreError::io("read", entry.path()))?;
            let kind = metadata.file_type();
            if kind.is_dir() {
                open.push((entry.path(), format!("{name}/"), depth + 1));
                continue;
            }
            let other = if kind.is_symlink() { "a symbolic link" } else { "neither a file nor a folder" };
            found.push(Found { name, size: if kind.is_file() { Ok(metadata.len()) } else { Err(other) } });
            if found.len() > MAX_FILES {
                return Err(StoreError::refused(folder, format!("it has more than {MAX_FILES} files")));
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The files of a folder with their sizes, if all of them can be published.
pub(crate) fn publishable(folder: &Path) -> Result<Vec<(String, u64)>> {
    let mut files = Vec::new();
    let mut folded: HashMap<String, String> = HashMap::new();
    for found in walk(folder)? {
        let path = folder.join(&found.name);
        let size = found.size.map_err(|kind| StoreError::refused(&path, format!("it is {kind}")))?;
        if is_of_git(&found.name) {
            return Err(StoreError::refused(&path, "it belongs to git and not to a model"));
        }
        if is_signature(&found.name) && found.name != SIGNATURE_FILE {
            return Err(StoreError::refused(&path, "its name is that of a signature"));
        }
        if let Some(other) = folded.insert(found.name.to_lowercase(), found.name.clone()) {
            return Err(StoreError::refused(&path, format!("its name differs from `{other}` in case only")));
        }
        files.push((found.name, size));
    }
    Ok(files)
}

/// Whether a file belongs to git and not to a model.
pub(crate) fn is_of_git(name: &str) -> bool {
    name.split('/').next().is_some_and(|first| GIT.contains(&first))
}

/// Whether a file is the signature of a model, or one that was being written by an earlier version of this library. A
/// file system may ignore case.
pub(crate) fn is_signature(name: &str) -> bool {
    let name = name.to_lowercase();
    name.strip_suffix(".new").unwrap_or(&name) == SIGNATURE_FILE
}

/// Whether a name stays in its folder, wherever it is put.
pub(crate) fn is_safe(name: &str) -> bool {
    name.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains(['\0', '\\']))
}

/// Takes the right to write to a file away from everybody.
pub(crate) fn make_read_only(path: &Path) -> Result<()> {
    let changing = StoreError::io("make read-only", path);
    let mut permissions = fs::metadata(path).map_err(StoreError::io("read", path))?.permissions();
    let mode = permissions.mode() & 0o7777;
    if mode & 0o222 == 0 {
        return Ok(());
    }
    permissions.set_mode(mode & !0o222);
    fs::set_permissions(path, permissions).map_err(changing)
}

/// Creates the folders of a file below another folder.
pub(crate) fn create_parents(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    let parent = path.parent().unwrap_or(folder);
    fs::create_dir_all(parent).map_err(StoreError::io("create", parent))?;
    Ok(path)
}

/// Makes the contents of a folder and of all folders in it durable.
pub(crate) fn sync_tree(folder: &Path) -> Result<()> {
    let mut open = vec![folder.to_path_buf()];
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(&path).map_err(StoreError::io("read", &path))? {
            let entry = entry.map_err(StoreError::io("read", &path))?;
            if entry.file_type().map_err(StoreError::io("read", entry.path()))?.is_dir() {
                open.push(entry.path());
            }
        }
        crate::durable::sync_folder(&path).map_err(StoreError::io("sync", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn names_that_stay_in_their_folder() {
        assert!(["a", "a/b.c", "..a", ".hidden", "ü#"].iter().all(|name| is_safe(name)));
        assert!(["", "/a", "a/", "a//b", ".", "a/..", "../a", "a\\b", "a\0"].iter().all(|name| !is_safe(name)));
    }

    #[test]
    fn what_cannot_be_published() {
        let refused = |make: &dyn Fn(&Path)| {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("a"), "1").unwrap();
            make(folder.path());
            publishable(folder.path()).map_err(|error| error.to_string())
        };
        assert_eq!(refused(&|_| {}).unwrap(), [("a".to_owned(), 1)]);
        assert!(refused(&|it| symlink("a", it.join("b")).unwrap()).unwrap_err().contains("it is a symbolic link"));
        assert!(refused(&|it| fs::write(it.join("A"), "").unwrap()).unwrap_err().contains("differs from `A` in case"));
        assert!(refused(&|it| fs::write(it.join(".gitignore"), "").unwrap()).unwrap_err().contains("belongs to git"));
        assert!(refused(&|it| fs::write(it.join("model.sig.new"), "").unwrap()).unwrap_err().contains("a signature"));
        let socket = |it: &Path| drop(std::os::unix::net::UnixListener::bind(it.join("s")).unwrap());
        assert!(refused(&socket).unwrap_err().contains("neither a file nor a folder"));
        let deep = |it: &Path| fs::create_dir_all(it.join("d/".repeat(40))).unwrap();
        assert!(refused(&deep).unwrap_err().contains("more than 32 folders deep"));
    }
}
