//! Finding the checkpoint that a path names.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use tf_persist_proto::tensorflow::CheckpointState;
use tf_persist_proto::text_format::{self, Options, UnknownFields};

use super::index::index_path;
use crate::container::file::read_file;
use crate::error::{Error, Result};

/// The file in which Python's training records the latest checkpoint (`CheckpointState` in
/// `tensorflow/python/training/checkpoint_state.proto`).
const STATE_FILE: &str = "checkpoint";

/// The largest such file. It has a line for each checkpoint that is kept.
const MAX_STATE_BYTES: u64 = 1 << 20;

/// The first bytes of HDF5 files and of ZIP archives.
const HDF5_MAGIC: &[u8] = b"\x89HDF\r\n\x1a\n";
const ZIP_MAGIC: &[u8] = b"PK\x03\x04";

/// The most checkpoints of a folder that are listed.
const SHOWN: usize = 8;

/// The checkpoint that a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundCheckpoint {
    /// The checkpoint's prefix.
    pub prefix: PathBuf,
    /// Why it was taken, in a sentence, if the path does not name it.
    pub note: Option<String>,
}

impl From<PathBuf> for FoundCheckpoint {
    fn from(prefix: PathBuf) -> Self {
        Self { prefix, note: None }
    }
}

/// The prefix of the checkpoint that a path names; see [`locate_checkpoint`].
///
/// # Errors
/// Those of [`locate_checkpoint`].
pub fn find_checkpoint(path: impl AsRef<Path>) -> Result<PathBuf> {
    locate_checkpoint(path).map(|found| found.prefix)
}

/// The checkpoint that a path names. The path may be the prefix; the index or a shard; a folder whose file `checkpoint`
/// names the latest; a folder without that file and with one checkpoint; or the folder of a SavedModel, whose variables
/// are a checkpoint.
///
/// Only the index must exist. As in TensorFlow, a `checkpoint` file may name any checkpoint, by an absolute path or
/// relative to its folder. If the folder was moved and the path does not exist, the checkpoint of that name beside the
/// file is taken.
///
/// # Errors
/// - [`Error::Unsupported`] with a hint, if the path has something else: weights of Keras, a folder without checkpoint,
///   a `checkpoint` file that names a missing checkpoint, a file of another kind;
/// - [`Error::Damaged`] if the `checkpoint` file cannot be read;
/// - [`Error::Io`] if nothing exists at the path, or its metadata cannot be read.
pub fn locate_checkpoint(path: impl AsRef<Path>) -> Result<FoundCheckpoint> {
    let path = path.as_ref();
    // A folder may have the same name as a prefix, such as `ckpt/` and `ckpt.index`: the exact name wins.
    if path.is_dir() && !index_path(path).is_file() { in_folder(path) } else { named(path).map(Into::into) }
}

fn named(path: &Path) -> Result<PathBuf> {
    if index_path(path).is_file() {
        return Ok(path.to_path_buf());
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = name.strip_suffix(".index").or_else(|| shard_stem(&name)).filter(|stem| !stem.is_empty());
    if let Some(prefix) = stem.map(|stem| path.with_file_name(stem))
        && index_path(&prefix).is_file()
    {
        return Ok(prefix);
    }
    match fs::metadata(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(Error::io("read", if stem.is_some() { path.to_path_buf() } else { index_path(path) })(error))
        }
        Err(error) => Err(Error::io("look at", path)(error)),
        Ok(found) => {
            let keras = found.is_file() && is_keras(path)?;
            let (reason, hint) = if keras {
                (
                    "it holds weights in Keras's own format, which is no checkpoint of TensorFlow",
                    "in Python, `model.load_weights(FILE)` or `keras.models.load_model(FILE)`, then \
                     `tf.train.Checkpoint(model=model).write(PREFIX)`",
                )
            } else {
                ("it is not a checkpoint", "name the prefix of one: the path without `.index`")
            };
            Err(Error::Unsupported { path: path.to_path_buf(), reason: reason.into(), hint: Some(hint.into()) })
        }
    }
}

/// The part before `.data-00000-of-00001`.
fn shard_stem(name: &str) -> Option<&str> {
    let (stem, numbers) = name.rsplit_once(".data-")?;
    let (shard, count) = numbers.split_once("-of-")?;
    let number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    (number(shard) && number(count)).then_some(stem)
}

fn is_keras(path: &Path) -> Result<bool> {
    let mut start = Vec::new();
    let file = fs::File::open(path).map_err(Error::io("open", path))?;
    file.take(8).read_to_end(&mut start).map_err(Error::io("read", path))?;
    Ok(start.starts_with(HDF5_MAGIC) || start.starts_with(ZIP_MAGIC))
}

fn in_folder(folder: &Path) -> Result<FoundCheckpoint> {
    let state = folder.join(STATE_FILE);
    if let Some(bytes) = read_file(&state, MAX_STATE_BYTES, "the limit of such a file")? {
        let options =
            Options { unknown_fields: UnknownFields::Skip, memory: 64 * MAX_STATE_BYTES, ..Options::default() };
        let parsed = text_format::parse_with::<CheckpointState>(&bytes, &options);
        let latest = parsed.map_err(|error| Error::damaged(&state, error.to_string()))?.message.model_checkpoint_path;
        return latest_in(folder, &latest);
    }
    let variables = folder.join("variables").join("variables");
    if index_path(&variables).is_file() {
        return Ok(variables.into());
    }
    let names = names_in(folder)?;
    if let [only] = names.as_slice() {
        let note =
            format!("`{}` has no file `checkpoint`: `{only}`, the only checkpoint in it, was taken", folder.display());
        return Ok(FoundCheckpoint { prefix: folder.join(only), note: Some(note) });
    }
    let mut reason = "it is a folder without a file `checkpoint` that names the latest one".to_owned();
    if !names.is_empty() {
        reason = format!("{reason}; the checkpoints in it are {}", listed(&names));
    }
    Err(Error::Unsupported {
        path: folder.to_path_buf(),
        reason,
        hint: Some("name the prefix of a checkpoint in it: the path without `.index`".into()),
    })
}

/// The latest checkpoint according to the file `checkpoint` of a folder.
fn latest_in(folder: &Path, latest: &str) -> Result<FoundCheckpoint> {
    let state = folder.join(STATE_FILE);
    if latest.is_empty() {
        return Err(Error::flawed(&state, "it names no checkpoint"));
    }
    let prefix = folder.join(latest);
    if index_path(&prefix).is_file() {
        return Ok(prefix.into());
    }
    // The file may be from a machine with other path separators.
    let name = latest.rsplit(['/', '\\']).next().unwrap_or_default();
    let beside = folder.join(name);
    if !name.is_empty() && index_path(&beside).is_file() {
        let note = format!(
            "the latest checkpoint, says `{}`, is `{latest}`, which is not there: `{name}` beside that file was taken",
            state.display()
        );
        return Ok(FoundCheckpoint { prefix: beside, note: Some(note) });
    }
    let shown = index_path(&prefix);
    let beside = if beside == prefix { String::new() } else { ", nor is there one of that name beside it".into() };
    let reason =
        format!("the latest checkpoint, it says, is `{latest}`, and there is no `{}`{beside}", shown.display());
    let hint = match names_in(folder)?.as_slice() {
        [] => None,
        names => Some(format!("name one that is there: {}", listed(names)).into()),
    };
    Err(Error::Unsupported { path: state, reason, hint })
}

/// The names of checkpoints, at most the first few.
fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(SHOWN);
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{}`", name.escape_debug())).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// The names of the checkpoints in a folder.
fn names_in(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let name = entry.map_err(Error::io("read", folder))?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".index")).filter(|stem| !stem.is_empty());
        names.extend(stem.filter(|stem| index_path(&folder.join(stem)).is_file()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}
