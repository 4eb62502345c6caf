//! One file of a folder of inputs, as each pod of an Indexed Job of Kubernetes takes one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::args::RunArgs;
use crate::columns;
use crate::common_args::env_var;
use crate::error::UsageError;
use crate::format::count;

/// The variable that Kubernetes sets in each pod of an Indexed Job.
const INDEX: &str = "JOB_COMPLETION_INDEX";

/// Replaces folders of inputs and outputs by the files of the shard.
pub(super) fn choose(args: &mut RunArgs) -> anyhow::Result<()> {
    let folder = args.inputs.clone().filter(|path| path.is_dir());
    let Some(folder) = folder else {
        return match args.shard {
            Some(_) => Err(UsageError("--shard is for a folder of files: --inputs DIR --output DIR".into()).into()),
            None => Ok(()),
        };
    };
    let Some(index) = args.shard.map_or_else(from_environment, |index| Ok(Some(index)))? else {
        let folder = folder.display();
        let reason = format!("`{folder}` is a folder: choose one of its files with --shard N, which counts from 0");
        return Err(UsageError(reason).into());
    };
    let Some(output) = args.output.clone() else {
        return Err(UsageError("--shard needs --output DIR, a folder for the outputs of all files".into()).into());
    };
    let input = file_of(&folder, index)?;
    fs::create_dir_all(&output).with_context(|| format!("cannot create `{}`", output.display()))?;
    if folder.canonicalize().ok() == output.canonicalize().ok() {
        bail!("`{}` has the inputs, which the outputs would replace", output.display());
    }
    args.output = input.file_name().map(|name| output.join(name));
    args.inputs = Some(input);
    Ok(())
}

fn from_environment() -> anyhow::Result<Option<usize>> {
    let Some(value) = env_var(INDEX) else { return Ok(None) };
    let index = value.to_str().and_then(|text| text.parse().ok());
    let refusal = || UsageError(format!("{INDEX} is `{}`, which is not a number of a file", value.display()));
    index.map(Some).ok_or_else(|| refusal().into())
}

/// The file of this index in the order of names. Hidden ones, and those that begin with `_`, as Spark writes them, are
/// no inputs.
fn file_of(folder: &Path, index: usize) -> anyhow::Result<PathBuf> {
    let reading = || format!("cannot read `{}`", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !name.starts_with(['.', '_']) && is_input(&path) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    let all = files.len();
    let shown = folder.display();
    files
        .into_iter()
        .nth(index)
        .with_context(|| format!("`{shown}` has {}, and no number {index}", count(all as u64, "file")))
}

fn is_input(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    matches!(ending, "npz" | "json") || columns::Format::of(path).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["part-10.npz", "part-2.npz", "part-02.json", "_SUCCESS", "_a.npz", ".b.npz", "notes.txt"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("a.npz")).unwrap();
        let name = |index| file_of(folder.path(), index).map(|path| path.file_name().unwrap().to_owned());
        assert_eq!(name(0).unwrap(), "part-02.json");
        assert_eq!(name(1).unwrap(), "part-10.npz");
        assert_eq!(name(2).unwrap(), "part-2.npz");
        assert!(name(3).unwrap_err().to_string().contains("has 3 files, and no number 3"));
    }
}
