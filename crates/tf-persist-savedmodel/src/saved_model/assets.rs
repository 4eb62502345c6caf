//! The files of a model's folders `assets` and `assets.extra`.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path};

use super::meta_graph::MetaGraph;
use crate::container::Files;
use crate::error::{Error, Result};
use crate::stand_in::{self, StandIn};

/// The depth to which the folders of assets are listed.
const MAX_FOLDER_DEPTH: usize = 16;

/// The most files that are listed.
const MAX_FILES: usize = 100_000;

/// The files of a model's folders `assets` and `assets.extra`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Assets {
    /// The files in `assets`, sorted by name. The graph reads those that it declares.
    pub files: Vec<FoundFile>,
    /// Files that the graph declares and that are missing.
    pub missing: Vec<String>,
    /// Files that the graph declares and that were not fetched: pointers of Git LFS or web pages.
    pub not_fetched: Vec<String>,
    /// Names that the graph declares and that lead out of the folder `assets`: such a model reads foreign files.
    pub escaping: Vec<String>,
    /// The files in `assets.extra`, which TensorFlow ignores: warm-up requests and the like.
    pub extra: Vec<FoundFile>,
}

/// A file in one of a model's folders.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundFile {
    /// Its name with its folders, separated by `/`.
    pub name: String,
    /// Its length; 0 if it is not a regular file.
    pub bytes: u64,
    /// Whether it is a link, whose target may be outside of the model.
    pub is_link: bool,
    /// Whether the graph declares it.
    pub declared: bool,
}

impl Assets {
    pub(super) fn read(files: &Files, meta_graph: &MetaGraph) -> Result<Self> {
        let declared: BTreeSet<&str> = meta_graph.assets().iter().map(|asset| asset.filename.as_str()).collect();
        let mut assets =
            Self { files: list_in(files, "assets")?, extra: list_in(files, "assets.extra")?, ..Self::default() };
        for name in declared {
            if !stays_inside(name) {
                assets.escaping.push(name.to_owned());
            } else if let Ok(index) = assets.files.binary_search_by(|file| file.name.as_str().cmp(name)) {
                assets.files[index].declared = true;
                // A file that cannot be opened is an error when it is read.
                if let Ok(Some((reader, _))) = files.reader(&format!("assets/{name}"))
                    && StandIn::recognize(&stand_in::beginning(reader)).is_some()
                {
                    assets.not_fetched.push(name.to_owned());
                }
            } else if !is_there(files, &format!("assets/{name}")) {
                assets.missing.push(name.to_owned());
            }
        }
        Ok(assets)
    }
}

/// Whether a name stays in the folder that it is joined to.
pub(crate) fn stays_inside(name: &str) -> bool {
    !name.is_empty()
        && !name.contains('\0')
        && Path::new(name).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// Whether a file, a folder or a link of this name exists.
fn is_there(files: &Files, name: &str) -> bool {
    match files {
        Files::Folder(model) => fs::symlink_metadata(model.join(name)).is_ok(),
        Files::Pack(pack) => pack.find(name).is_some() || pack.has_folder(name),
    }
}

/// The files in a folder of a model.
fn list_in(files: &Files, folder: &str) -> Result<Vec<FoundFile>> {
    let pack = match files {
        Files::Folder(model) => return list(&model.join(folder)),
        Files::Pack(pack) => pack,
    };
    let inside = pack.entries().iter().filter_map(|entry| {
        let name = entry.name.strip_prefix(folder)?.strip_prefix('/')?.to_owned();
        Some(FoundFile { name, bytes: entry.length, is_link: false, declared: false })
    });
    Ok(inside.collect())
}

/// The files in a folder and its subfolders, sorted; none if the folder does not exist. Links to folders are not
/// followed.
fn list(folder: &Path) -> Result<Vec<FoundFile>> {
    let mut files = Vec::new();
    let mut folders = vec![(folder.to_path_buf(), String::new(), 0)];
    while let Some((path, prefix, depth)) = folders.pop() {
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if depth == 0 && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(files);
            }
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(Error::io("read", &path))?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type().map_err(Error::io("look at", entry.path()))?;
            if kind.is_dir() {
                if depth == MAX_FOLDER_DEPTH {
                    return Err(Error::flawed(folder, format!("its folders are more than {MAX_FOLDER_DEPTH} deep")));
                }
                folders.push((entry.path(), format!("{name}/"), depth + 1));
                continue;
            }
            if files.len() == MAX_FILES {
                return Err(Error::flawed(folder, format!("it has more than {MAX_FILES} files")));
            }
            let metadata = fs::metadata(entry.path()).ok().filter(fs::Metadata::is_file);
            let bytes = metadata.map_or(0, |metadata| metadata.len());
            files.push(FoundFile { name, bytes, is_link: kind.is_symlink(), declared: false });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_climb_out_are_told() {
        for name in ["vocab.txt", "sub/vocab.txt", "./vocab.txt", "..vocab"] {
            assert!(stays_inside(name), "{name}");
        }
        for name in ["../vocab.txt", "sub/../../x", "/etc/passwd", "..", "", "a\0b"] {
            assert!(!stays_inside(name), "{name}");
        }
    }

    #[test]
    fn folders_are_listed_and_links_not_followed() {
        let model = tempfile::tempdir().unwrap();
        assert_eq!(list(&model.path().join("assets")).unwrap(), []);
        fs::create_dir_all(model.path().join("assets/sub")).unwrap();
        fs::write(model.path().join("assets/sub/a"), b"abc").unwrap();
        fs::write(model.path().join("assets/b"), b"").unwrap();
        std::os::unix::fs::symlink("..", model.path().join("assets/loop")).unwrap();
        let files = list(&model.path().join("assets")).unwrap();
        let rows: Vec<_> = files.iter().map(|file| (file.name.as_str(), file.bytes, file.is_link)).collect();
        assert_eq!(rows, [("b", 0, false), ("loop", 0, true), ("sub/a", 3, false)]);
    }
}
