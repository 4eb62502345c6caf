//! The search for libtensorflow.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Origin, Outcome, SearchLocation};

/// Names of the library, that of Python wheels first.
const CORE_NAMES: &[&str] = if cfg!(target_os = "macos") {
    &["libtensorflow_cc.2.dylib", "libtensorflow.2.dylib", "libtensorflow.dylib"]
} else {
    &["libtensorflow_cc.so.2", "libtensorflow.so.2", "libtensorflow.so"]
};

/// The library that must be beside it.
const FRAMEWORK_NAME: &str =
    if cfg!(target_os = "macos") { "libtensorflow_framework.2.dylib" } else { "libtensorflow_framework.so.2" };

/// The dynamic linker's own search path.
const LINKER_PATH: &str = if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };

/// Folders that installers of the C library use.
const SYSTEM_FOLDERS: &[&str] = &[
    "/usr/local/lib",
    "/usr/local/lib/libtensorflow",
    "/opt/libtensorflow",
    "/opt/homebrew/lib",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
];

impl SearchLocation {
    /// Describes what the folder contains, without opening a library.
    #[must_use]
    pub fn describe(&self) -> String {
        self.find().map_or_else(|outcome| outcome.to_string(), |found| format!("`{}`", found.core.display()))
    }

    /// Finds the library in this folder, or in a folder below it as in wheels and tarballs.
    pub(super) fn find(&self) -> Result<Found, Outcome> {
        // The path may be the library itself.
        let folder = if self.folder.is_file() { self.folder.parent().unwrap_or(&self.folder) } else { &self.folder };
        if !folder.is_dir() {
            return Err(Outcome::NoFolder);
        }
        let below = [folder.to_path_buf(), folder.join("lib"), folder.join("tensorflow")];
        let folders = below.into_iter().chain(wheel_folders(folder));
        for folder in folders {
            for name in CORE_NAMES {
                let core = folder.join(name);
                if !core.is_file() {
                    continue;
                }
                // Absolute, so that the dynamic linker does not search for it elsewhere.
                let core = std::path::absolute(&core).unwrap_or(core);
                let framework = core.with_file_name(FRAMEWORK_NAME);
                return if framework.is_file() {
                    Ok(Found { core, framework: Some(framework) })
                } else if needs_framework(&core) {
                    Err(Outcome::NoFramework { file: core, framework: FRAMEWORK_NAME.into() })
                } else {
                    Ok(Found { core, framework: None })
                };
            }
        }
        Err(Outcome::NoLibrary)
    }
}

/// Whether the file needs the framework library. A monolithic libtensorflow does not.
fn needs_framework(core: &Path) -> bool {
    core.file_name().is_some_and(|name| name.to_string_lossy().contains("_cc"))
}

/// The library's files.
pub(super) struct Found {
    pub(super) core: PathBuf,
    pub(super) framework: Option<PathBuf>,
}

/// Where to search for libtensorflow.
///
/// The default searches, in this order: `TF_PERSIST_LIBTENSORFLOW`, `TENSORFLOW_DIR`, the active virtual environment
/// and the `.venv` of this folder or one above it, the user's cache, the system's library folders.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// A folder that the caller names, and what messages call the caller.
    folder: Option<(PathBuf, &'static str)>,
}

impl Search {
    /// Searches this folder only: the `tensorflow` folder of a Python environment, the environment itself, or an
    /// unpacked libtensorflow tarball.
    #[must_use]
    pub fn only(folder: impl Into<PathBuf>) -> Self {
        Self::only_named(folder, "the caller")
    }

    /// As [`Search::only`]; messages say that `name` names the folder, such as an option of the program.
    #[must_use]
    pub fn only_named(folder: impl Into<PathBuf>, name: &'static str) -> Self {
        Self { folder: Some((folder.into(), name)) }
    }

    /// The locations in the order of the search.
    #[must_use]
    pub fn locations(&self) -> Vec<SearchLocation> {
        if let Some((folder, name)) = &self.folder {
            return vec![SearchLocation { origin: Origin::Caller { name }, folder: folder.clone() }];
        }
        let mut locations = Vec::new();
        let mut add = |origin: Origin, folder: PathBuf| {
            if !locations.iter().any(|location: &SearchLocation| location.folder == folder) {
                locations.push(SearchLocation { origin, folder });
            }
        };
        let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(folder) = variable("TF_PERSIST_LIBTENSORFLOW") {
            add(Origin::Variable, folder);
        }
        if let Some(folder) = variable("TENSORFLOW_DIR") {
            add(Origin::TensorFlowDir, folder);
        }
        for name in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
            if let Some(folder) = variable(name) {
                add(Origin::VirtualEnvironment, folder);
            }
        }
        if let Ok(here) = env::current_dir() {
            for folder in here.ancestors().map(|folder| folder.join(".venv")).filter(|folder| folder.is_dir()) {
                add(Origin::VirtualEnvironment, folder);
            }
        }
        if let Some(folder) = cache_folder() {
            add(Origin::Cache, folder);
        }
        if let Some(list) = env::var_os(LINKER_PATH) {
            for folder in env::split_paths(&list).filter(|folder| folder.is_absolute()) {
                add(Origin::System, folder);
            }
        }
        for folder in SYSTEM_FOLDERS {
            add(Origin::System, PathBuf::from(folder));
        }
        locations
    }
}

/// The folder of `tf-persist runtime install`: `$XDG_CACHE_HOME/tf-persist/libtensorflow`, or the same under
/// `~/.cache` (macOS: `~/Library/Caches`).
#[must_use]
pub fn cache_folder() -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| {
        let home = absolute("HOME")?;
        Some(if cfg!(target_os = "macos") { home.join("Library/Caches") } else { home.join(".cache") })
    })?;
    Some(base.join("tf-persist").join("libtensorflow"))
}

/// The `tensorflow` folders of the Python versions of an environment.
fn wheel_folders(environment: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(environment.join("lib")) else { return Vec::new() };
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3")))
        .map(|path| path.join("site-packages").join("tensorflow"))
        .collect();
    folders.sort();
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(folder: &Path) -> SearchLocation {
        SearchLocation { origin: Origin::Caller { name: "the caller" }, folder: folder.to_path_buf() }
    }

    #[test]
    fn finds_the_wheel_of_an_environment() {
        let root = tempfile::tempdir().unwrap();
        let wheel = root.path().join("lib/python3.12/site-packages/tensorflow");
        fs::create_dir_all(&wheel).unwrap();
        assert!(matches!(location(root.path()).find(), Err(Outcome::NoLibrary)));
        fs::write(wheel.join(CORE_NAMES[0]), "").unwrap();
        assert!(matches!(location(root.path()).find(), Err(Outcome::NoFramework { .. })));
        fs::write(wheel.join(FRAMEWORK_NAME), "").unwrap();
        for named in [root.path(), wheel.as_path(), &wheel.join(CORE_NAMES[0])] {
            let found = location(named).find().ok().unwrap();
            assert_eq!((found.core, found.framework), (wheel.join(CORE_NAMES[0]), Some(wheel.join(FRAMEWORK_NAME))));
        }
    }

    #[test]
    fn missing_folder_is_reported() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(location(&root.path().join("none")).find(), Err(Outcome::NoFolder)));
    }

    #[test]
    fn explicit_folder_is_the_only_location() {
        let locations = Search::only("/somewhere").locations();
        assert_eq!(locations.len(), 1);
        assert!(locations[0].origin().is_explicit());
    }
}
