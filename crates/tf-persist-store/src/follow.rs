//! Follows the labels of all models, for programs that serve them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Result, StoreError};
use crate::labels::Labels;
use crate::layout::Layout;
use crate::name::{Label, ModelName};
use crate::store::{Store, manifests};

/// A file that was changed less than this long ago may change again without another time stamp.
const SETTLING_TIME: Duration = Duration::from_secs(2);

/// What the labels of a model point to, and its newest version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heads {
    /// The number of changes to the model so far.
    pub changes: u64,
    /// The labels with their versions.
    pub labels: BTreeMap<Label, u64>,
    /// The largest number of a published version.
    pub latest: u64,
}

/// Follows the labels and the newest versions of a store's models.
///
/// A look costs one `stat` of a model's labels file, and one of the store. Only what has changed is read.
#[derive(Debug)]
pub struct Follower {
    store: Store,
    folder: Option<Stamp>,
    models: BTreeMap<ModelName, Seen>,
}

/// What was seen of a model.
#[derive(Debug, Default)]
struct Seen {
    /// The stamp of its labels file when it was read; `None` if it must be read again.
    stamp: Option<Stamp>,
    /// Its last state that could be read; `None` before its first version.
    heads: Option<Heads>,
}

/// What changes when a file or folder is replaced or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of a path; `None` if nothing is there.
    fn read(path: &Path) -> Result<Option<Self>> {
        let metadata = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata.map_err(StoreError::io("read", path))?,
        };
        Ok(Some(Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }))
    }

    /// Whether a later change is sure to have another stamp. The times of files have steps of milliseconds, and inodes
    /// are used again.
    fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed = u64::try_from(self.changed.0).map_or(Duration::ZERO, Duration::from_secs);
        changed + SETTLING_TIME < now
    }
}

impl Follower {
    /// Follows a store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, folder: None, models: BTreeMap::new() }
    }

    /// The models that have a published version, or the reason why the state of one cannot be read now.
    ///
    /// # Errors
    /// If the store is not there, or its folder cannot be read.
    pub fn look(&mut self) -> Result<BTreeMap<ModelName, Result<Heads>>> {
        self.find_models()?;
        let mut found = BTreeMap::new();
        for (name, seen) in &mut self.models {
            let layout = self.store.layout(name);
            if let Some(heads) = seen.look(&layout, name).transpose() {
                found.insert(name.clone(), heads);
            }
        }
        Ok(found)
    }

    /// Lists the models, if the folder of the store has changed.
    fn find_models(&mut self) -> Result<()> {
        let now = SystemTime::now();
        let folder = Stamp::read(self.store.path())?;
        let models = match folder == self.folder && folder.is_some() {
            true => None,
            false => Some(self.store.model_folders()),
        };
        // Afterwards: an empty folder is there in place of one that is not mounted.
        if !Store::is_at(self.store.path()) {
            return Err(StoreError::NotAStore { path: self.store.path().to_path_buf(), instead: None });
        }
        if let Some(models) = models.transpose()? {
            self.models.retain(|name, _| models.binary_search(name).is_ok());
            for name in models {
                self.models.entry(name).or_default();
            }
            self.folder = folder.filter(|stamp| stamp.is_settled(now));
        }
        Ok(())
    }
}

impl Seen {
    fn look(&mut self, layout: &Layout, model: &ModelName) -> Result<Option<Heads>> {
        let now = SystemTime::now();
        let path = layout.labels();
        let stamp = Stamp::read(&path)?;
        if stamp.is_some() && stamp == self.stamp {
            return Ok(self.heads.clone());
        }
        self.stamp = None;
        let labels = Labels::read(layout)?;
        // After the labels: the version of a label is there.
        let latest = manifests(layout)?.last().copied();
        let heads = match (stamp, latest) {
            // The first version is just being published.
            (None, _) if self.heads.is_none() && (latest.is_none() || layout.intent().exists()) => return Ok(None),
            (None, _) => return Err(StoreError::damaged(&path, "it is missing")),
            (Some(_), None) if labels.labels.is_empty() => None,
            (Some(_), None) => return Err(StoreError::NoVersions { model: model.clone() }),
            (Some(_), Some(latest)) => Some(Heads { changes: labels.counter, labels: labels.labels, latest }),
        };
        self.heads.clone_from(&heads);
        self.stamp = stamp.filter(|stamp| stamp.is_settled(now));
        Ok(heads)
    }
}
