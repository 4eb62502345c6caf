//! Compares the files of `assets` and `assets.extra` by their contents.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use crate::container::FileReader;
use crate::error::{Error, Result};
use crate::saved_model::SavedModel;

/// The differences between the files of two models.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AssetsDiff {
    /// The number of files in both models.
    pub common: usize,
    /// Files that only the second has, as `assets/NAME` or `assets.extra/NAME`.
    pub added: Vec<String>,
    /// Files that only the first has.
    pub removed: Vec<String>,
    /// Files whose contents differ.
    pub changed: Vec<AssetDiff>,
}

/// A file whose contents differ.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AssetDiff {
    /// Its name, as `assets/NAME` or `assets.extra/NAME`.
    pub name: String,
    /// Its size in the first model and in the second, in bytes.
    pub bytes: [u64; 2],
}

impl AssetsDiff {
    pub(super) fn is_same(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

pub(super) fn diff(a: &SavedModel, b: &SavedModel) -> Result<AssetsDiff> {
    let (of_a, of_b) = (files(a)?, files(b)?);
    let mut all = AssetsDiff {
        added: of_b.keys().filter(|name| !of_a.contains_key(*name)).cloned().collect(),
        ..AssetsDiff::default()
    };
    for (name, bytes) in of_a {
        let Some(other) = of_b.get(&name) else {
            all.removed.push(name);
            continue;
        };
        all.common += 1;
        if bytes != *other || !is_equal(a, b, &name)? {
            all.changed.push(AssetDiff { name, bytes: [bytes, *other] });
        }
    }
    Ok(all)
}

/// Every file and its length.
fn files(model: &SavedModel) -> Result<BTreeMap<String, u64>> {
    // Files that no meta graph declares count as well.
    let Some(meta_graph) = model.meta_graphs().first() else { return Ok(BTreeMap::new()) };
    let assets = model.assets(meta_graph)?;
    let within = |folder: &'static str| {
        move |file: crate::saved_model::FoundFile| (format!("{folder}/{}", file.name), file.bytes)
    };
    Ok(assets
        .files
        .into_iter()
        .map(within("assets"))
        .chain(assets.extra.into_iter().map(within("assets.extra")))
        .collect())
}

/// Whether two models have equal files with this name. Only regular files are equal.
fn is_equal(a: &SavedModel, b: &SavedModel, name: &str) -> Result<bool> {
    let (Some(mut a), Some(mut b)) = (open(a, name)?, open(b, name)?) else { return Ok(true) };
    let (mut chunk, mut other) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let (read, read_other) = (a.fill(&mut chunk)?, b.fill(&mut other)?);
        if chunk[..read] != other[..read_other] {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

const CHUNK: usize = 1 << 16;

struct Source {
    path: PathBuf,
    reader: FileReader,
}

fn open(model: &SavedModel, name: &str) -> Result<Option<Source>> {
    let path = model.path().join(name);
    // Opening a pipe would wait for its other end.
    if !model.is_packed() && !path.is_file() {
        return Ok(None);
    }
    Ok(model.files().reader(name)?.map(|(reader, _)| Source { path, reader }))
}

impl Source {
    /// Fills the buffer, or reads to the end.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.reader.read(&mut buffer[filled..]).map_err(Error::io("read", &self.path))? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }
}
