//! Removes versions.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Result, StoreError};
use crate::event::whoami;
use crate::files::walk;
use crate::intent::Intent;
use crate::lock::Locked;
use crate::manifest::Manifest;
use crate::name::{Label, ModelName};
use crate::store::{Store, Version, manifests};

/// Which versions `gc` keeps.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct GcOptions {
    keep: Option<usize>,
    keep_labelled: bool,
    dry_run: bool,
}

impl GcOptions {
    /// Keeps this number of the newest versions. Without it, no version is removed.
    pub fn keep(mut self, newest: usize) -> Self {
        self.keep = Some(newest);
        self
    }

    /// Keeps labelled versions as well. Without it, a label on a version that would be removed is an error.
    pub fn keep_labelled(mut self, keep: bool) -> Self {
        self.keep_labelled = keep;
        self
    }

    /// Removes nothing, and says what would be removed.
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Of these versions, the oldest first, those that are to be removed.
    pub(crate) fn old(&self, mut versions: Vec<u64>, labels: impl Fn(u64) -> Vec<Label>) -> Vec<u64> {
        let kept = self.keep.unwrap_or(versions.len()).min(versions.len());
        versions.truncate(versions.len() - kept);
        if self.keep_labelled {
            versions.retain(|version| labels(*version).is_empty());
        }
        versions
    }

    #[cfg(feature = "remote")]
    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run
    }
}

/// What `gc` removed of a model, or would remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// The model.
    pub model: ModelName,
    /// The versions, the oldest first.
    pub versions: Vec<u64>,
    /// The bytes of files that no other version has.
    pub bytes: u64,
}

impl Store {
    /// Removes a version.
    ///
    /// # Errors
    /// If a label points to it, or it cannot be removed.
    pub fn remove(&self, version: &Version) -> Result<()> {
        let layout = self.model_layout(version.model())?;
        let locked = Locked::take(&layout)?;
        let number = version.number();
        let labels = locked.labels.of(number);
        if !labels.is_empty() {
            return Err(StoreError::Labelled { model: version.model().clone(), version: number, labels });
        }
        remove(&locked, version.model(), vec![number])
    }

    /// Removes old versions of a model.
    ///
    /// # Errors
    /// If a label points to one of them and labelled versions are not to be kept, or one cannot be removed.
    pub fn gc(&self, model: &ModelName, options: &GcOptions) -> Result<Collected> {
        let layout = self.model_layout(model)?;
        let locked = Locked::take(&layout)?;
        let versions = options.old(manifests(&layout)?, |version| locked.labels.of(version));
        if let Some((version, labels)) =
            versions.iter().map(|version| (*version, locked.labels.of(*version))).find(|(_, labels)| !labels.is_empty())
        {
            return Err(StoreError::Labelled { model: model.clone(), version, labels });
        }
        let bytes = versions.iter().map(|version| own_bytes(&layout.version(*version))).sum();
        if !options.dry_run && !versions.is_empty() {
            remove(&locked, model, versions.clone())?;
        }
        Ok(Collected { model: model.clone(), versions, bytes })
    }
}

fn remove(locked: &Locked<'_>, model: &ModelName, versions: Vec<u64>) -> Result<()> {
    let mut labels = locked.labels.clone();
    for version in &versions {
        let Some((_, digest)) = Manifest::read(locked.layout, model, *version)? else {
            let known_versions = manifests(locked.layout)?;
            return Err(StoreError::UnknownVersion { model: model.clone(), version: *version, known_versions });
        };
        labels.remove(&whoami(), *version, digest);
    }
    Intent::remove(versions, labels).carry_out(locked.layout)
}

/// The bytes of files with one name alone.
fn own_bytes(folder: &Path) -> u64 {
    let Ok(found) = walk(folder) else { return 0 };
    let size =
        |name: &String| fs::metadata(folder.join(name)).map_or(0, |it| if it.nlink() == 1 { it.len() } else { 0 });
    found.iter().map(|it| size(&it.name)).sum()
}
