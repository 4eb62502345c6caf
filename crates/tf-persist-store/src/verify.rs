//! Proves that a version is what was published.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tf_persist_savedmodel::printable;

use crate::copy;
use crate::error::{Result, StoreError};
use crate::files::{Found, walk};
use crate::manifest::{FileEntry, Manifest};
use crate::signing::SIGNATURE_FILE;

/// A difference between a version and its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A file of the manifest is not there.
    Missing(String),
    /// A file is not in the manifest.
    Extra(String),
    /// A file has another size.
    Size {
        /// Its name.
        name: String,
        /// The size in the manifest.
        published: u64,
        /// The size of the file.
        found: u64,
    },
    /// A file has other bytes.
    Contents(String),
    /// The manifest is not the one that was noted when the version was published.
    Manifest,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "`{}` is missing", printable(name)),
            Self::Extra(name) => write!(f, "`{}` was added", printable(name)),
            Self::Size { name, published, found } => {
                write!(f, "`{}` has {found} bytes instead of {published}", printable(name))
            }
            Self::Contents(name) => write!(f, "`{}` has other contents", printable(name)),
            Self::Manifest => f.write_str("the manifest was edited"),
        }
    }
}

/// The differences of names and sizes, sorted by name.
pub(crate) fn compare_names(folder: &Path, manifest: &Manifest) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    let mut found = walk(folder)?;
    // A signature is not part of what it signs.
    found.retain(|found| found.name != SIGNATURE_FILE);
    let (mut files, mut found) = (manifest.files.iter().peekable(), found.into_iter().peekable());
    loop {
        match (files.peek(), found.peek()) {
            (None, None) => return Ok(faults),
            (Some(file), Some(there)) if file.name == there.name => {
                faults.extend(difference(file, there));
                files.next();
                found.next();
            }
            (Some(file), there) if there.is_none_or(|there| file.name < there.name) => {
                faults.push(Fault::Missing(file.name.clone()));
                files.next();
            }
            (_, there) => {
                faults.extend(there.map(|there| Fault::Extra(there.name.clone())));
                found.next();
            }
        }
    }
}

fn difference(file: &FileEntry, found: &Found) -> Option<Fault> {
    match found.size {
        Ok(size) if size == file.size => None,
        Ok(found) => Some(Fault::Size { name: file.name.clone(), published: file.size, found }),
        // A link or the like may change at any time.
        Err(_) => Some(Fault::Contents(file.name.clone())),
    }
}

/// All differences, of bytes too. Files are hashed on all cores.
pub(crate) fn compare_contents(folder: &Path, manifest: &Manifest) -> Result<Vec<Fault>> {
    let mut faults = compare_names(folder, manifest)?;
    let is_known = |name: &str| {
        faults.iter().any(|fault| match fault {
            Fault::Missing(known) | Fault::Contents(known) | Fault::Size { name: known, .. } => known == name,
            Fault::Extra(_) | Fault::Manifest => false,
        })
    };
    let mut files: Vec<&FileEntry> = manifest.files.iter().filter(|file| !is_known(&file.name)).collect();
    // The largest first, so that no core waits for another at the end.
    files.sort_by_key(|file| std::cmp::Reverse(file.size));
    let found = hash_all(folder, files.iter().map(|file| file.name.clone()).collect())?;
    let found: HashMap<String, String> = found.into_iter().collect();
    let is_changed = |file: &&&FileEntry| found.get(&file.name) != Some(&file.sha256);
    faults.extend(files.iter().filter(is_changed).map(|file| Fault::Contents(file.name.clone())));
    Ok(faults)
}

/// The SHA-256 of files in a folder, sorted by name. They are hashed on all cores, in the given order.
pub(crate) fn hash_all(folder: &Path, names: Vec<String>) -> Result<Vec<(String, String)>> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(String, String)>> {
        let mut hashed = Vec::new();
        while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            hashed.push((name.clone(), copy::hash(&folder.join(name))?.sha256));
        }
        Ok(hashed)
    };
    let workers = thread::available_parallelism().map_or(1, usize::from).min(names.len()).max(1);
    let mut all = thread::scope(|scope| {
        let running: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
        let mut all = work()?;
        for thread in running {
            match thread.join() {
                Ok(hashed) => all.extend(hashed?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<_, StoreError>(all)
    })?;
    all.sort();
    Ok(all)
}
