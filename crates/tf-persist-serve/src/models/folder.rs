//! The versions of a model that stand in its folder (`sources/storage_path/file_system_storage_path_source.cc`), and whether what
//! stands there has changed.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::hash::Hasher;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// A model in one file, whose name without this is its version.
const PACK: &str = ".tfpack";

/// The files that make a folder a SavedModel, for the hint alone.
const GRAPHS: [&str; 3] = ["saved_model.pb", "saved_model.pbtxt", "saved_model.cpb"];

/// More entries than this of a version's folder are not looked at to see whether they have changed.
const MAX_STAMPED_FILES: usize = 10_000;

/// How deep folders in a version's folder are looked into for that.
const MAX_DEPTH: usize = 16;

/// What was found under a base path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct FoundVersions {
    /// The versions and where they stand.
    pub(super) versions: BTreeMap<i64, PathBuf>,
    /// What is odd about it, for the log.
    pub(super) warning: Option<String>,
}

/// Looks for versions.
///
/// # Errors
/// A sentence, if the folder is not there or cannot be read. That is not the same as a folder without versions.
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
        // A name that is not UTF-8 is no number.
        if let Ok(name) = entry.map_err(unreadable)?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    let mut versions: BTreeMap<i64, (PathBuf, String)> = BTreeMap::new();
    for name in names.iter() {
        let Some(version) = version(base_path, name) else { continue };
        if let Some((_, before)) = versions.insert(version, (base_path.join(name), name.clone())) {
            warning = Some(format!("version {version} is taken from `{name}`, and `{before}` is ignored"));
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

/// The version that a child of a base path is: its name is a number that an int64 holds, or a pack's with such a name.
fn version(base_path: &Path, name: &str) -> Option<i64> {
    match name.strip_suffix(PACK) {
        Some(stem) => base_path.join(name).is_file().then(|| number(stem))?,
        None => number(name),
    }
}

/// As `absl::SimpleAtoi` reads an int64: digits after a sign, if any, and white space around them.
fn number(text: &str) -> Option<i64> {
    text.trim_matches(|letter: char| letter.is_ascii_whitespace() || letter == '\u{b}').parse().ok()
}

/// What a version's files are, by their names, lengths and times: it differs if one of them was written since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FileStamp(pub(super) u64);

impl FileStamp {
    /// The stamp of what stands at a path, which may be nothing. Symbolic links are followed.
    pub(super) fn read(path: &Path) -> Self {
        let mut digest = StableHasher(Sha256::new());
        let mut left = MAX_STAMPED_FILES;
        stamp(path, 0, &mut left, &mut digest);
        let bytes = digest.0.finalize();
        Self(bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

/// A hash that is the same in the next process.
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

/// The time of change tells of a file put in place of another that has the same length and time of writing. That of a folder
/// says nothing that the names in it do not, and changes when the folder itself is renamed.
fn note(metadata: &Metadata, digest: &mut StableHasher) {
    if metadata.is_dir() {
        return;
    }
    digest.write_u64(metadata.len());
    for time in [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()] {
        digest.write_i64(time);
    }
}
