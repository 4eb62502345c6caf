//! Models somewhere below a folder, such as an unpacked archive: `NUMBER/saved_model.pb`, `NAME/NUMBER/saved_model.pb`,
//! or a model itself, which then is version 1.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::catalog::{Catalog, CatalogModel};
use super::folder::{self, GRAPHS};

/// How many levels of folders may be between the folder and the versions.
const MAX_DEPTH: usize = 3;

/// The most folders that are searched.
const MAX_FOLDERS: usize = 10_000;

/// The number of a model that is not in a folder with a number.
const ONLY_VERSION: i64 = 1;

/// The versions of models by name. Those that are in no named folder have the empty name.
pub(super) type FoundModels = BTreeMap<String, BTreeMap<i64, PathBuf>>;

/// The models below a folder, which does not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelsBelow {
    root: PathBuf,
    name: String,
}

impl ModelsBelow {
    /// The models below `root`. `name` is the name of one that is in no named folder.
    pub fn new(root: impl Into<PathBuf>, name: impl Into<String>) -> Self {
        Self { root: root.into(), name: name.into() }
    }
}

impl Catalog for ModelsBelow {
    fn name(&self) -> String {
        format!("the folder `{}`", self.root.display())
    }

    fn look(&self) -> Result<BTreeMap<String, Result<CatalogModel, String>>, String> {
        let named = |(name, versions): (String, _)| {
            let name = if name.is_empty() { self.name.clone() } else { name };
            (name, Ok(CatalogModel { versions, labels: BTreeMap::new() }))
        };
        Ok(find(&self.root)?.into_iter().map(named).collect())
    }
}

/// Finds the models below a folder.
///
/// # Errors
/// If the folder cannot be read, there are none, or two have the same name.
pub(super) fn find(root: &Path) -> Result<FoundModels, String> {
    let mut found = FoundModels::new();
    search(root, "", 0, &mut { MAX_FOLDERS }, &mut found)?;
    if found.is_empty() {
        let shown = root.display();
        return Err(format!(
            "no model is below `{shown}`: there is neither `{shown}/saved_model.pb` nor `{shown}/1/saved_model.pb` nor \
             `{shown}/NAME/1/saved_model.pb`"
        ));
    }
    Ok(found)
}

fn search(folder: &Path, name: &str, depth: usize, left: &mut usize, found: &mut FoundModels) -> Result<(), String> {
    *left =
        left.checked_sub(1).ok_or_else(|| format!("more than {MAX_FOLDERS} folders are to be searched for models"))?;
    let mut versions: BTreeMap<i64, PathBuf> = folder::list_versions(folder)?.versions;
    versions.retain(|_, path| path.is_file() || is_model(path));
    if versions.is_empty() && is_model(folder) {
        versions.insert(ONLY_VERSION, folder.to_path_buf());
    }
    if !versions.is_empty() {
        if let Some(other) = found.insert(name.to_owned(), versions) {
            let others: Vec<String> = other.values().map(|path| format!("`{}`", path.display())).collect();
            return Err(format!("two models are named `{name}`: `{}` and {}", folder.display(), others.join(", ")));
        }
        return Ok(());
    }
    if depth == MAX_DEPTH {
        return Ok(());
    }
    let entries = fs::read_dir(folder).map_err(|error| format!("cannot read `{}`: {error}", folder.display()))?;
    let mut children: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    children.sort();
    for child in children.into_iter().filter(|child| child.is_dir()) {
        // A name that is not UTF-8 cannot be asked for.
        let Some(name) = child.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.')) else {
            continue;
        };
        search(&child, name, depth + 1, left, found)?;
    }
    Ok(())
}

/// Whether a folder is a SavedModel, or has a Keras file.
fn is_model(folder: &Path) -> bool {
    let has_keras_file = || {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.any(|name| name.ends_with(".keras") || name.ends_with(".h5"))
    };
    GRAPHS.iter().any(|graph| folder.join(graph).is_file()) || has_keras_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The models with their versions, as text, below a folder with these files.
    fn found(files: &str) -> Result<String, String> {
        let root = tempfile::tempdir().unwrap();
        for file in files.split(' ') {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let model = |(name, versions): (String, BTreeMap<i64, PathBuf>)| {
            format!("{name}:{:?}", versions.into_keys().collect::<Vec<_>>())
        };
        find(root.path()).map(|models| models.into_iter().map(model).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn models_are_found_in_folders_with_and_without_names() {
        for (files, expected) in [
            ("1/saved_model.pb 00012/saved_model.pbtxt 3/other code/inference.py", ":[1, 12]"),
            ("a/1/saved_model.pb b/c/2/saved_model.pb b/2.keras", "a:[1] b:[2]"),
            ("saved_model.pb variables/variables.index", ":[1]"),
            ("export/saved_model.pb", "export:[1]"),
            ("digits.keras", ":[1]"),
            ("4/digits.keras .hidden/5/saved_model.pb", ":[4]"),
        ] {
            assert_eq!(found(files).as_deref(), Ok(expected), "{files}");
        }
    }

    #[test]
    fn folders_without_models_are_refused() {
        assert!(found("x/y").unwrap_err().contains("no model is below"));
        assert!(found("a/b/c/d/1/saved_model.pb").unwrap_err().contains("no model is below"));
        let twice = found("a/m/1/saved_model.pb b/m/1/saved_model.pb").unwrap_err();
        assert!(twice.contains("two models are named `m`"), "{twice}");
        assert!(find(Path::new("/no/such/folder")).unwrap_err().contains("/no/such/folder"));
    }
}
