//! Removes versions of a bucket, and what interrupted pushes and removals left.

use std::collections::BTreeSet;

use super::claim::Held;
use super::model::RemoteModel;
use super::push::LAST;
use super::store::Remote;
use crate::error::{Result, StoreError};
use crate::event::{What, whoami};
use crate::labels::Labels;
use crate::name::{ModelName, Reference};
use crate::remove::{Collected, GcOptions};
use crate::store::Version;

impl Remote {
    /// Removes a version.
    ///
    /// # Errors
    /// If a label points to it, or the store cannot be written.
    pub fn remove(&self, reference: &Reference) -> Result<Version> {
        if let Some(store) = self.folder() {
            let store = store?;
            let version = store.find(reference)?;
            store.remove(&version)?;
            return Ok(version);
        }
        self.check_writable()?;
        let version = self.find(reference)?;
        self.model(&reference.model).remove(&[version.number()])?;
        Ok(version)
    }

    /// Removes old versions of a model, and what pushes left that were interrupted more than a day ago.
    ///
    /// # Errors
    /// If a label points to one of them and labelled versions are not to be kept, or the store cannot be written.
    pub fn gc(&self, name: &ModelName, options: &GcOptions) -> Result<Collected> {
        if let Some(store) = self.folder() {
            return store?.gc(name, options);
        }
        self.check_writable()?;
        let model = self.model(name);
        let labels = model.known_labels()?;
        let versions = options.old(labels.versions.iter().flatten().copied().collect(), |version| labels.of(version));
        if let Some((version, labels)) =
            versions.iter().map(|version| (*version, labels.of(*version))).find(|(_, labels)| !labels.is_empty())
        {
            return Err(StoreError::Labelled { model: name.clone(), version, labels });
        }
        let mut bytes = 0;
        for version in &versions {
            bytes += model.size(*version)?;
        }
        let leftovers = model.leftovers(&labels)?;
        if !options.is_dry_run() {
            model.remove(&versions)?;
        }
        let mut versions = versions;
        for leftover in leftovers {
            let size = model.size(leftover)?;
            if options.is_dry_run() || model.collect(leftover)? {
                versions.push(leftover);
                bytes += size;
            }
        }
        Ok(Collected { model: name.clone(), versions, bytes })
    }
}

impl RemoteModel<'_> {
    /// The bytes of the files of a number.
    fn size(&self, version: u64) -> Result<u64> {
        Ok(self.objects.list(&self.file_key(version, ""))?.iter().map(|object| object.size).sum())
    }

    pub(super) fn remove(&self, versions: &[u64]) -> Result<()> {
        if versions.is_empty() {
            return Ok(());
        }
        let mut digests = Vec::new();
        for version in versions {
            digests.push(self.manifest(*version)?.map(|(_, digest, _)| digest).unwrap_or_default());
        }
        // A version is gone as soon as it is not noted any more.
        self.change(|labels| {
            for (version, digest) in versions.iter().zip(&digests) {
                let pointing = labels.of(*version);
                if !pointing.is_empty() {
                    let model = self.name.clone();
                    return Err(StoreError::Labelled { model, version: *version, labels: pointing });
                }
                if labels.versions.as_ref().is_some_and(|versions| versions.contains(version)) {
                    labels.remove(&whoami(), *version, digest.clone());
                }
            }
            Ok(())
        })?;
        versions.iter().try_for_each(|version| self.delete(*version))
    }

    /// Deletes what a push or a removal left. Returns whether it is still that.
    pub(super) fn collect(&self, version: u64) -> Result<bool> {
        let Some(claim) = Held::seize(*self, version)? else { return Ok(false) };
        // The push may have gone on and made a version of it. From now on, none can: it would find this claim. So
        // labels that were read before do not do, and one claim is held at a time: whoever dies blocks one number for a
        // day.
        let labels = self.known_labels()?;
        let is_leftover = labels.versions.as_ref().is_none_or(|versions| !versions.contains(&version));
        if is_leftover {
            self.delete_contents(version)?;
        }
        claim.release()?;
        Ok(is_leftover)
    }

    /// Deletes everything of a number that is no version any more. The claim goes last, so that nobody pushes it
    /// meanwhile.
    fn delete(&self, version: u64) -> Result<()> {
        self.delete_contents(version)?;
        self.objects.delete(&self.claim_key(version))
    }

    /// Deletes the file that makes a folder a version for TensorFlow Serving first, and the manifest last: by it, `gc`
    /// finds what a process that is killed here leaves.
    fn delete_contents(&self, version: u64) -> Result<()> {
        self.objects.delete(&self.file_key(version, LAST))?;
        self.delete_files(version)?;
        self.objects.delete(&self.manifest_key(version))
    }

    /// Deletes the files of a number.
    pub(crate) fn delete_files(&self, version: u64) -> Result<()> {
        for object in self.objects.list(&self.file_key(version, ""))? {
            self.objects.delete(&object.key)?;
        }
        Ok(())
    }

    /// The numbers with claims of processes that died more than a day ago, and of removals that were interrupted.
    pub(super) fn leftovers(&self, labels: &Labels) -> Result<Vec<u64>> {
        let (mut claimed, mut manifests) = (Vec::new(), BTreeSet::new());
        for object in self.objects.list(&self.hidden())? {
            let name = object.key.rsplit('/').next().unwrap_or_default();
            let number = |suffix: &str| name.strip_suffix(suffix).and_then(crate::name::version_number);
            claimed.extend(number(".claim"));
            manifests.extend(number(".json"));
        }
        let is_there = |number: &u64| labels.versions.as_ref().is_some_and(|versions| versions.contains(number));
        let mut leftovers = BTreeSet::new();
        for number in &claimed {
            let Some((claim, _)) = self.claim(*number)? else { continue };
            if !claim.is_none_or(|claim| claim.is_abandoned()) {
                continue;
            }
            match is_there(number) {
                true => self.objects.delete(&self.claim_key(*number))?,
                false => drop(leftovers.insert(*number)),
            }
        }
        let removed: BTreeSet<u64> = self.log(labels)?.into_iter().filter_map(|event| removed(&event.what)).collect();
        leftovers.extend(manifests.iter().filter(|number| !is_there(number) && removed.contains(number)));
        Ok(leftovers.into_iter().collect())
    }
}

fn removed(what: &What) -> Option<u64> {
    match what {
        What::Removed { version, .. } => Some(*version),
        _ => None,
    }
}
