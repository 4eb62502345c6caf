//! Copies the unchanged parts of a model.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::staging::Staging;
use crate::container::Files;
use crate::container::pack::Pack;
use crate::error::{Error, Result};
use crate::saved_model::layout::PARTS;
use crate::scratch::is_name as is_scratch;

/// The [`PARTS`] that do not depend on the graph's nodes.
const FITTING_PARTS: [&str; 3] = ["assets", "assets.extra", "batching_params.pbtxt"];

/// Copies [`PARTS`] of a model.
///
/// Links are followed inside the model only: the rest of the machine must not be copied.
pub(super) fn copy_parts(from: &Files, to: &Staging) -> Result<()> {
    PARTS.iter().try_for_each(|part| copy_part(from, part, to))
}

/// Copies the parts that fit a changed graph, without these assets. Metadata of Keras and debug information refer to
/// nodes of the old graph.
pub(super) fn copy_fitting_parts(from: &Files, without_assets: &BTreeSet<String>, to: &Staging) -> Result<()> {
    FITTING_PARTS.iter().try_for_each(|part| copy_part(from, part, to))?;
    for name in without_assets {
        // Other paths were never copied.
        let path = Path::new(name);
        if path.components().all(|part| matches!(part, Component::Normal(_))) {
            let _ = fs::remove_file(to.path().join("assets").join(path));
        }
    }
    Ok(())
}

/// Copies a file or folder of a model, if it exists.
pub(super) fn copy_part(from: &Files, part: &str, to: &Staging) -> Result<()> {
    let from = match from {
        Files::Folder(folder) => folder,
        Files::Pack(pack) => return copy_packed(pack, part, to),
    };
    let root = from.canonicalize().map_err(Error::io("open", from))?;
    let source = from.join(part);
    if source.symlink_metadata().is_ok() { copy(&root, &source, Path::new(part), to, &mut Vec::new()) } else { Ok(()) }
}

/// Copies a file or folder out of a pack.
fn copy_packed(pack: &Pack, part: &str, to: &Staging) -> Result<()> {
    for (number, entry) in pack.entries().iter().enumerate() {
        let name = &entry.name;
        if name.strip_prefix(part).is_none_or(|rest| !rest.is_empty() && !rest.starts_with('/')) {
            continue;
        }
        pack.take_out(number, to.path(), &to.shown(name))?;
    }
    Ok(())
}

/// Refuses links in a folder of a model that lead outside.
pub(super) fn check_links(from: &Path, part: &str) -> Result<()> {
    let root = from.canonicalize().map_err(Error::io("open", from))?;
    let folder = from.join(part);
    stays_within(&root, &folder)?;
    for entry in fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
        stays_within(&root, &entry.map_err(Error::io("read", &folder))?.path())?;
    }
    Ok(())
}

/// Resolves a path, which must be inside the model.
fn stays_within(root: &Path, source: &Path) -> Result<PathBuf> {
    let real = source.canonicalize().map_err(Error::io("open", source))?;
    if real.starts_with(root) {
        return Ok(real);
    }
    Err(Error::Unsupported {
        path: source.to_path_buf(),
        reason: format!("it links to `{}`, outside the model", real.display()),
        hint: Some("replace the link by a copy of the file".into()),
    })
}

/// Copies `source` to `name` below the target. `above` are the folders that are being copied, to detect cycles of
/// links.
fn copy(root: &Path, source: &Path, name: &Path, to: &Staging, above: &mut Vec<PathBuf>) -> Result<()> {
    let real = stays_within(root, source)?;
    let kind = fs::metadata(&real).map_err(Error::io("look at", &real))?.file_type();
    if kind.is_file() {
        fs::copy(&real, to.path().join(name)).map_err(Error::io("write", to.shown(name)))?;
        return Ok(());
    }
    if !kind.is_dir() || above.contains(&real) {
        let reason =
            if kind.is_dir() { "it links to a folder that contains it" } else { "it is neither a file nor a folder" };
        return Err(Error::Unsupported { path: source.to_path_buf(), reason: reason.into(), hint: None });
    }
    fs::create_dir(to.path().join(name)).map_err(Error::io("create", to.shown(name)))?;
    let entries = fs::read_dir(&real).map_err(Error::io("read", &real))?;
    above.push(real.clone());
    for entry in entries {
        let entry = entry.map_err(Error::io("read", &real))?.file_name();
        if is_scratch(&entry) {
            continue;
        }
        copy(root, &source.join(&entry), &name.join(&entry), to, above)?;
    }
    above.pop();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A temporary folder, with a model folder to copy from and a staged one to copy to.
    fn folders() -> (tempfile::TempDir, PathBuf, Staging) {
        let root = tempfile::tempdir().unwrap();
        let from = root.path().join("from");
        fs::create_dir_all(from.join("assets/deep")).unwrap();
        let to = Staging::begin(&root.path().join("to"), false).unwrap();
        (root, from, to)
    }

    #[test]
    fn only_the_parts_are_copied() {
        let (_root, from, to) = folders();
        fs::write(from.join("assets/deep/vocabulary"), "a\nb").unwrap();
        fs::write(from.join("notes.txt"), "").unwrap();
        symlink("deep/vocabulary", from.join("assets/link")).unwrap();
        copy_parts(&Files::Folder(from), &to).unwrap();
        assert_eq!(fs::read(to.path().join("assets/deep/vocabulary")).unwrap(), b"a\nb");
        assert_eq!(fs::read(to.path().join("assets/link")).unwrap(), b"a\nb");
        assert!(!to.path().join("notes.txt").exists());
    }

    #[test]
    fn link_out_of_the_model_is_refused() {
        let (root, from, to) = folders();
        fs::write(root.path().join("secret"), "s").unwrap();
        symlink("../../secret", from.join("assets/link")).unwrap();
        assert!(copy_parts(&Files::Folder(from), &to).unwrap_err().to_string().contains("outside the model"));
    }

    #[test]
    fn cycle_of_links_is_refused() {
        let (_root, from, to) = folders();
        symlink(".", from.join("assets/again")).unwrap();
        assert!(copy_parts(&Files::Folder(from), &to).is_err());
    }
}
