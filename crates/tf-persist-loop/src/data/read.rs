//! Reads rows from files and folders.

use std::fs;
use std::path::{Path, PathBuf};

use tf_persist_core::Tensor;
use tf_persist_core::tensor::npz;
use tf_persist_core::train::Dataset;

use super::Arrays;
use crate::error::{LoopError, Result};
use crate::tools::Tools;

/// The arrays of files, one after the other, and of all files with data in folders, in the order of their names.
pub(crate) fn all_of(paths: &[PathBuf], tools: &Tools) -> Result<Dataset> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let entries = fs::read_dir(path).map_err(LoopError::io("read", path))?;
            let mut found = Vec::new();
            for entry in entries {
                let entry = entry.map_err(LoopError::io("read", path))?.path();
                // A file that is being written may have a hidden name until it is whole.
                let is_hidden = entry.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
                found.extend((is_data(&entry) && !is_hidden).then_some(entry));
            }
            found.sort();
            files.extend(found);
        } else {
            files.push(path.clone());
        }
    }
    let names = || paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join("`, `");
    let mut parts: Vec<(PathBuf, Arrays)> = Vec::new();
    for file in files {
        let arrays = read(&file, tools)?;
        parts.push((file, arrays));
    }
    let Some((first, names_of_first)) = parts.first() else {
        return Err(LoopError::Other(format!("there are no files with rows in `{}`", names())));
    };
    let mut all = Arrays::new();
    for (name, _) in names_of_first {
        let mut tensors: Vec<&Tensor> = Vec::new();
        for (file, arrays) in &parts {
            let Some((_, tensor)) = arrays.iter().find(|(other, _)| other == name) else {
                let (file, first) = (file.display(), first.display());
                return Err(LoopError::Other(format!("`{file}` has no array `{name}`, which `{first}` has")));
            };
            tensors.push(tensor);
        }
        let whole = Tensor::concatenate(&tensors).map_err(|error| {
            LoopError::Other(format!("the arrays `{name}` of the files of `{}` differ: {error}", names()))
        })?;
        all.push((name.clone(), whole));
    }
    if let Some((file, other)) = parts.iter().find(|(_, arrays)| arrays.len() != names_of_first.len()) {
        let is_more = |(name, _): &&(String, Tensor)| !names_of_first.iter().any(|(known, _)| known == name);
        let name = other.iter().find(is_more).map_or("", |(name, _)| name.as_str());
        let (file, first) = (file.display(), first.display());
        return Err(LoopError::Other(format!("`{file}` has an array `{name}`, which `{first}` has not")));
    }
    let source = if parts.len() == 1 { first.display().to_string() } else { names() };
    Ok(Dataset::new(source, all)?)
}

/// Whether the ending of a name is that of a file with rows.
fn is_data(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    matches!(ending, Some("npz" | "parquet" | "arrow" | "feather"))
}

fn read(path: &Path, tools: &Tools) -> Result<Arrays> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match ending {
        "npz" => Ok(npz::read_file(path)?),
        "parquet" | "arrow" | "feather" => match &tools.read_columns {
            Some(read) => read(path).map_err(LoopError::Other),
            None => {
                let path = path.display();
                Err(LoopError::Other(format!("`{path}` is a file of columns, which this program cannot read")))
            }
        },
        _ => Err(LoopError::Other(format!("`{}` does not end in .npz, .parquet or .arrow", path.display()))),
    }
}
