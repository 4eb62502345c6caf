//! Links and assets that lead out of a model's folder, and the size of the folder.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::Level;
use super::classify::truncated;
use super::report::{Collector, Finding, FindingKind};
use crate::container::Files;
use crate::error::{Error, Result};
use crate::saved_model::{MetaGraph, SavedModel, stays_inside};

/// Limits of the depth of folders and of the number of files, as for assets.
const MAX_DEPTH: usize = 16;
const MAX_FILES: usize = 100_000;

/// Reports assets outside the model: their names climb out of its folder, or a link leads out of it.
pub(super) fn assets(model: &SavedModel, meta_graph: &MetaGraph, found: &mut Collector) {
    let folder = model.path().join("assets");
    for asset in meta_graph.assets() {
        let name = truncated(asset.filename.as_bytes());
        let what = if !stays_inside(&asset.filename) {
            format!("the graph reads an asset outside of the model: `{name}`")
        } else {
            // A pack has no links.
            let target = if model.is_packed() { None } else { outside(model.path(), &folder.join(&asset.filename)) };
            match target {
                Some(target) => {
                    format!("the graph reads the asset `{name}`, which is a link to `{}`", target.display())
                }
                None => continue,
            }
        };
        let mut finding = Finding::new(FindingKind::Asset, Level::Danger, what);
        finding.path = Some(name);
        found.add(finding);
    }
}

/// The target of a path that leaves the model through a link; `None` if the path stays inside or its target does not
/// exist.
fn outside(model: &Path, path: &Path) -> Option<PathBuf> {
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        // The target of a dangling link may exist later.
        Err(_) => return fs::read_link(path).ok().filter(|target| target.is_absolute() || climbs(target)),
    };
    let inside = fs::canonicalize(model).is_ok_and(|model| target.starts_with(model));
    if inside { None } else { Some(target) }
}

fn climbs(path: &Path) -> bool {
    path.components().any(|part| part == std::path::Component::ParentDir)
}

/// The contents of a model's folder or pack, by size.
struct Sizes<'m> {
    model: &'m SavedModel,
    bytes: [(&'static str, u64); 3],
    /// The number of files, and of folders if there are any.
    files: usize,
}

impl Sizes<'_> {
    fn add(&mut self, path: &Path, name: &str, bytes: u64) {
        let place = match () {
            () if path == self.model.file() => 0,
            () if name.starts_with("variables/") => 1,
            () => 2,
        };
        self.bytes[place].1 = self.bytes[place].1.saturating_add(bytes);
    }

    fn tell(&self, files: &str, found: &mut Collector) {
        let there = self.bytes.iter().filter(|(_, bytes)| *bytes > 0);
        let parts: Vec<String> = there.map(|(what, bytes)| format!("{what} {bytes} bytes")).collect();
        let what = format!("{}; {files}: {}", parts.join(", "), self.files);
        found.add(Finding::new(FindingKind::Size, Level::Info, what));
    }
}

/// Reports the links in a model's folder, and its size.
pub(super) fn folder(model: &SavedModel, found: &mut Collector) -> Result<()> {
    let mut sizes = Sizes { model, bytes: [("graph", 0), ("variables", 0), ("other files", 0)], files: 0 };
    if let Files::Pack(pack) = model.files() {
        sizes.files = pack.entries().len();
        pack.entries().iter().for_each(|entry| sizes.add(&pack.path().join(&entry.name), &entry.name, entry.length));
        sizes.tell("files", found);
        return Ok(());
    }
    let mut folders = vec![(model.path().to_path_buf(), String::new(), 0)];
    while let Some((path, prefix, depth)) = folders.pop() {
        let entries = match fs::read_dir(&path) {
            Err(error) if depth > 0 && error.kind() == ErrorKind::NotFound => continue,
            entries => entries.map_err(Error::io("read", &path))?,
        };
        for entry in entries {
            let entry = entry.map_err(Error::io("read", &path))?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type().map_err(Error::io("look at", entry.path()))?;
            sizes.files += 1;
            if sizes.files > MAX_FILES {
                return Err(Error::flawed(model.path(), format!("it has more than {MAX_FILES} files")));
            }
            if kind.is_dir() {
                if depth == MAX_DEPTH {
                    let reason = format!("its folders are more than {MAX_DEPTH} deep");
                    return Err(Error::flawed(model.path(), reason));
                }
                folders.push((entry.path(), format!("{name}/"), depth + 1));
                continue;
            }
            if kind.is_symlink() {
                link(model.path(), &entry.path(), &name, found);
            }
            let bytes = fs::metadata(entry.path()).ok().filter(fs::Metadata::is_file).map_or(0, |file| file.len());
            sizes.add(&entry.path(), &name, bytes);
        }
    }
    sizes.tell("files and folders", found);
    Ok(())
}

fn link(model: &Path, path: &Path, name: &str, found: &mut Collector) {
    let shown_name = truncated(name.as_bytes());
    let mut finding = match outside(model, path) {
        Some(target) => {
            let what = format!("`{shown_name}` is a link out of the model, to `{}`", target.display());
            Finding::new(FindingKind::Link, Level::Danger, what)
        }
        None => Finding::new(FindingKind::Link, Level::Info, format!("`{shown_name}` is a link inside the model")),
    };
    finding.path = Some(shown_name);
    found.add(finding);
}
