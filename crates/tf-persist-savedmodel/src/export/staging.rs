//! Writes a folder atomically. If the target is a pack, the folder is packed at the end.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{packed, target_name};
use crate::container::pack::is_pack_path;
use crate::error::{Error, Result};
use crate::saved_model::layout::{GRAPH_FILE, TEXT_GRAPH_FILE};
use crate::scratch::Scratch;

/// A folder inside a hidden one beside its target. It is deleted when dropped without [`Staging::publish`].
#[derive(Debug)]
pub struct Staging {
    folder: PathBuf,
    scratch: Scratch,
    /// Dropped after the folder inside them.
    parents: Parents,
    target: PathBuf,
    overwrite: bool,
}

/// The created folders above the target. They are deleted when dropped, if they are empty.
#[derive(Debug)]
pub(super) struct Parents(Vec<PathBuf>);

impl Parents {
    pub(super) fn make(parent: &Path) -> Result<Self> {
        let missing = |folder: &&Path| !folder.exists();
        let mut made = Self(parent.ancestors().take_while(missing).map(Path::to_path_buf).collect());
        fs::create_dir_all(parent)
            .map_err(Error::io("create", parent))
            .inspect_err(|_| made.0.retain(|it| it.exists()))?;
        Ok(made)
    }
}

impl Drop for Parents {
    fn drop(&mut self) {
        for folder in &self.0 {
            // Folders that are not empty stay.
            let _ = fs::remove_dir(folder);
        }
    }
}

impl Staging {
    /// Creates a folder that will become `target`.
    ///
    /// # Errors
    /// If the target is not a folder, or is not empty and `overwrite` is not set.
    #[doc(hidden)]
    pub fn begin(target: &Path, overwrite: bool) -> Result<Self> {
        check(target, overwrite)?;
        let target = resolve(target)?;
        let (Some(parent), Some(_)) = (target.parent(), target.file_name()) else {
            let source = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(Error::Io { action: "write a model to", path: target, source });
        };
        let parents = Parents::make(parent)?;
        // The error itself names the hidden folder.
        let creating = |error: io::Error| Error::io("create a folder in", parent)(error.kind().into());
        let scratch = Scratch::beside(&target).map_err(creating)?;
        // With the permissions of any new folder, by the umask.
        let folder = scratch.path().join("model");
        fs::create_dir(&folder).map_err(creating)?;
        Ok(Self { folder, scratch, parents, target, overwrite })
    }

    /// The final path of a file, for errors.
    #[doc(hidden)]
    pub fn shown(&self, name: impl AsRef<Path>) -> PathBuf {
        self.target.join(name)
    }

    /// The folder to write into.
    #[doc(hidden)]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Syncs everything to disk, and renames the folder to the target.
    #[doc(hidden)]
    pub fn publish(self) -> Result<()> {
        // Dropped in reverse order: the folder, then those above it.
        let Self { parents: _parents, scratch, folder, target, overwrite } = self;
        if is_pack_path(&target) {
            packed::publish_folder(&folder, &target, overwrite)?;
            return scratch.close().map_err(Error::io("delete what was packed into", &target));
        }
        sync_tree(&folder)?;
        let parent = target.parent().unwrap_or(Path::new("/"));
        let into = Error::io("move the finished model to", &target);
        match fs::symlink_metadata(&target) {
            // The folders are exchanged, so that the target always exists; the old one is deleted with the hidden
            // folder.
            Ok(_) if overwrite && !is_empty(&target)? => exchange(&folder, &target)?,
            // A rename replaces an empty folder, and fails if it is no longer empty.
            _ => fs::rename(&folder, &target).map_err(into)?,
        }
        sync(parent)?;
        scratch.close().map_err(Error::io("delete what was overwritten at", &target))
    }
}

/// The absolute path of a target. For a link, that of its destination: the link stays.
pub(super) fn resolve(target: &Path) -> Result<PathBuf> {
    match target.canonicalize() {
        Ok(real) => Ok(real),
        Err(_) => std::path::absolute(target).map_err(Error::io("name", target)),
    }
}

/// Checks that `target` does not exist, is empty, or is a model that may be overwritten, and that its name does not
/// promise another format.
pub fn check(target: &Path, overwrite: bool) -> Result<()> {
    if is_pack_path(target) {
        return packed::check(target, overwrite);
    }
    target_name::check(target)?;
    let holds_model = || [GRAPH_FILE, TEXT_GRAPH_FILE].iter().any(|name| target.join(name).is_file());
    match fs::metadata(target) {
        Ok(found) if !found.is_dir() => {
            let source = io::Error::from(io::ErrorKind::NotADirectory);
            Err(Error::Io { action: "write a model to", path: target.to_path_buf(), source })
        }
        Ok(_) if is_empty(target)? => Ok(()),
        Ok(_) if !overwrite => Err(Error::Exists { path: target.to_path_buf() }),
        Ok(_) if holds_model() => Ok(()),
        Ok(_) => Err(Error::Unsupported {
            path: target.to_path_buf(),
            reason: "it is not a model, so it is not overwritten".into(),
            hint: Some("name another target, or empty the folder yourself".into()),
        }),
        Err(error) => check_absent(target, error),
    }
}

/// Checks that a target whose metadata cannot be read, with this error, does not exist.
pub(super) fn check_absent(target: &Path, error: io::Error) -> Result<()> {
    match error.kind() {
        io::ErrorKind::NotFound if target.is_symlink() => Err(Error::Unsupported {
            path: target.to_path_buf(),
            reason: "it is a link that leads nowhere".into(),
            hint: None,
        }),
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(Error::io("look at", target)(error)),
    }
}

/// Exchanges two folders. If the file system does not support this, the old one is moved away first.
fn exchange(new: &Path, target: &Path) -> Result<()> {
    let into = || Error::io("move the finished model to", target);
    match renameat_with(CWD, new, CWD, target, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
            let parent = target.parent().unwrap_or(Path::new("/"));
            let aside = tempfile::Builder::new().prefix(".old-").tempdir_in(parent);
            let aside = aside.map_err(|error| Error::io("create a folder in", parent)(error.kind().into()))?;
            let old = aside.path().join("old");
            fs::rename(target, &old).map_err(into())?;
            if let Err(error) = fs::rename(new, target) {
                // Restore the old folder, and report the first error.
                let _ = fs::rename(&old, target);
                return Err(into()(error));
            }
            fs::rename(&old, new).map_err(into())
        }
        Err(error) => Err(into()(error.into())),
    }
}

fn is_empty(folder: &Path) -> Result<bool> {
    let mut entries = fs::read_dir(folder).map_err(Error::io("read", folder))?;
    Ok(entries.next().is_none())
}

/// Syncs every file, then every folder from the inside out.
fn sync_tree(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let path = entry.path();
        if entry.file_type().map_err(Error::io("look at", &path))?.is_dir() { sync_tree(&path)? } else { sync(&path)? }
    }
    sync(folder)
}

pub(super) fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::io("write to disk", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn staged(target: &Path, overwrite: bool) -> Result<Staging> {
        let staging = Staging::begin(target, overwrite)?;
        fs::create_dir(staging.path().join("variables")).unwrap();
        fs::write(staging.path().join("variables/data"), "new").unwrap();
        Ok(staging)
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn folder_is_published_whole() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("a/b/model");
        drop(staged(&target, false).unwrap());
        assert!(names(root.path()).is_empty(), "the folders above it are deleted as well");
        staged(&target, false).unwrap().publish().unwrap();
        assert_eq!(names(&root.path().join("a/b")), ["model"]);
        assert_eq!(fs::read(target.join("variables/data")).unwrap(), b"new");
    }

    #[test]
    fn empty_target_is_accepted_and_full_one_refused() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("model");
        fs::create_dir(&target).unwrap();
        staged(&target, false).unwrap().publish().unwrap();
        assert!(matches!(staged(&target, false), Err(Error::Exists { .. })));
        assert_eq!(names(root.path()), ["model"]);
    }

    #[test]
    fn overwriting_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("model");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("thesis"), "").unwrap();
        assert!(staged(&target, true).is_err(), "only models are overwritten");
        fs::write(target.join("saved_model.pb"), "old").unwrap();
        let staging = staged(&target, true).unwrap();
        assert_eq!(names(&target), ["saved_model.pb", "thesis"]);
        staging.publish().unwrap();
        assert_eq!((names(&target), names(root.path())), (vec!["variables".to_owned()], vec!["model".to_owned()]));
    }

    #[test]
    fn link_to_a_folder_stays_a_link() {
        let root = tempfile::tempdir().unwrap();
        let (real, link) = (root.path().join("v1"), root.path().join("current"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        staged(&link, false).unwrap().publish().unwrap();
        assert!(link.is_symlink() && real.join("variables/data").is_file());
        fs::remove_dir_all(&real).unwrap();
        assert!(staged(&link, true).is_err(), "a link that leads nowhere");
    }

    #[test]
    fn file_or_root_as_target_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(staged(&file, true).is_err());
        assert!(Staging::begin(Path::new("/"), false).is_err());
        assert_eq!(names(root.path()), ["file"]);
    }

    #[test]
    fn published_folder_has_the_usual_permissions() {
        let root = tempfile::tempdir().unwrap();
        let (target, other) = (root.path().join("model"), root.path().join("other"));
        staged(&target, false).unwrap().publish().unwrap();
        fs::create_dir(&other).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&target), mode(&other));
    }
}
