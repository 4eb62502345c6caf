//! Finds the versions under a base path (`sources/storage_path/file_system_storage_path_source.cc`), and notices
//! changes of their files.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::hash::Hasher;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The extensions of models in one file. The rest of the name is the version.
const FILES: [&str; 3] = [".tfpack", ".keras", ".h5"];

/// The files that make a folder a SavedModel.
pub(super) const GRAPHS: [&str; 3] = ["saved_model.pb", "saved_model.pbtxt", "saved_model.cpb"];

/// How many files of a version are checked for changes.
const MAX_STAMPED_FILES: usize = 10_000;

/// How many levels of folders of a version are checked for changes.
const MAX_DEPTH: usize = 16;

/// The versions under a base path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct FoundVersions {
    /// The versions and their paths.
    pub(super) versions: BTreeMap<i64, PathBuf>,
    /// A warning for the log.
    pub(super) warning: Option<String>,
}

/// Lists the versions under a base path.
///
/// # Errors
/// If the folder does not exist or cannot be read. A folder without versions is not an error.
pub(super) fn list_versions(base_path: &Path) -> Result<FoundVersions, String> {
    let shown = base_path.display();
    let unreadable = |error: std::io::Error| format!("cannot read the base path `{shown}`: {error}");
    match fs::metadata(base_path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!("there is no base path `{shown}`"));
        }
        Err(error) => return Err(unreadable(error)),
        Ok(metadata) if !metadata.is_dir() => {
            return Err(format!("the base path `{shown}` is not a folder; versions are folders in it: `{shown}/1`"));
        }
        Ok(_) => {}
    }
    let mut names = Vec::new();
    let mut warning = None;
    for entry in fs::read_dir(base_path).map_err(unreadable)? {
        // A name that is not UTF-8 cannot be a number.
        if let Ok(name) = entry.map_err(unreadable)?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    let mut versions: BTreeMap<i64, (PathBuf, String)> = BTreeMap::new();
    for name in names.iter() {
        let Some(version) = version(base_path, name) else { continue };
        if let Some((_, before)) = versions.insert(version, (base_path.join(name), name.clone())) {
            warning = Some(format!("version {version} is loaded from `{name}`; `{before}` is ignored"));
        }
    }
    if versions.is_empty() {
        let graph = GRAPHS.into_iter().find(|graph| names.iter().any(|name| name == graph));
        warning = Some(match graph {
            Some(graph) => format!(
                "the base path `{shown}` is a SavedModel itself, and versions are folders in it: move it so that there is \
                 `{shown}/1/{graph}`"
            ),
            None => format!(
                "no versions under the base path `{shown}`: their folders are named by numbers, such as `{shown}/1`"
            ),
        });
    }
    let versions = versions.into_iter().map(|(version, (path, _))| (version, path)).collect();
    Ok(FoundVersions { versions, warning })
}

/// The version of an entry of a base path: its name is an int64, with an extension if it is a file.
fn version(base_path: &Path, name: &str) -> Option<i64> {
    match FILES.iter().find_map(|extension| name.strip_suffix(extension)) {
        Some(stem) => base_path.join(name).is_file().then(|| number(stem))?,
        None => number(name),
    }
}

/// Parses an int64 as `absl::SimpleAtoi` does: an optional sign, digits, and white space around them.
pub(super) fn number(text: &str) -> Option<i64> {
    text.trim_matches(|letter: char| letter.is_ascii_whitespace() || letter == '\u{b}').parse().ok()
}

/// A hash of the names, lengths and times of a version's files. It changes when a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FileStamp(pub(super) u64);

impl FileStamp {
    /// The stamp of the files at these paths, which may not exist. Symbolic links are followed.
    pub(super) fn read<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Self {
        let mut digest = StableHasher(Sha256::new());
        let mut left = MAX_STAMPED_FILES;
        paths.into_iter().for_each(|path| stamp(path, 0, &mut left, &mut digest));
        let bytes = digest.0.finalize();
        Self(bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

/// A hash that is stable across processes.
struct StableHasher(Sha256);

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

fn stamp(path: &Path, depth: usize, left: &mut usize, digest: &mut StableHasher) {
    let Ok(metadata) = fs::metadata(path) else { return digest.write_u8(0) };
    digest.write_u8(1);
    note(&metadata, digest);
    if !metadata.is_dir() || depth == MAX_DEPTH {
        return;
    }
    let Ok(entries) = fs::read_dir(path) else { return digest.write_u8(2) };
    let mut names: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.file_name()).take(*left).collect();
    *left -= names.len();
    names.sort();
    for name in names {
        let bytes = name.as_encoded_bytes();
        digest.write_usize(bytes.len());
        digest.write(bytes);
        stamp(&path.join(&name), depth + 1, left, digest);
    }
}

/// Hashes length, inode and times. The inode shows that a file was replaced by one of the same length and times, which
/// are as coarse as the system's clock. The times of folders are left out: they add nothing to the names in the folder,
/// and change when the folder itself is renamed.
fn note(metadata: &Metadata, digest: &mut StableHasher) {
    if metadata.is_dir() {
        return;
    }
    digest.write_u64(metadata.len());
    digest.write_u64(metadata.ino());
    for time in [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()] {
        digest.write_i64(time);
    }
}
