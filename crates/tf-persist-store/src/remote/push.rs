//! Brings a version of this machine's store to a bucket.
//!
//! A claim comes first, so that no two writers put different files under one number; then the files, `saved_model.pb`
//! last, since TensorFlow Serving takes a folder with it for a version; then the manifest, which must not exist yet;
//! and then the labels object, which makes the version known.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

use super::claim::Held;
use super::client::RemoteOptions;
use super::error::RemoteErrorKind;
use super::model::RemoteModel;
use super::objects::{Objects, Written, read};
use super::parallel::in_parallel;
use super::pull::{OtherSignature, PullOptions, Transferred};
use super::upload::{Journal, PlannedPart, Upload};
use crate::durable;
use crate::error::{Result, StoreError};
use crate::event::{What, Why, whoami};
use crate::labels::Labels;
use crate::layout::Layout;
use crate::manifest::FileEntry;
use crate::name::Label;
use crate::signing::{self, SIGNATURE_FILE, Signer};
use crate::store::{Store, Version};

/// Files of at most this size are sent in one request.
pub(crate) const SMALL: u64 = 8 << 20;

/// The bytes of a part; more, where that would make too many.
const PART: u64 = 8 << 20;

/// S3 takes 10,000 parts.
const MOST_PARTS: u64 = 9_000;

/// Versions of the remote store whose files are looked at.
const MOST_KNOWN: usize = 8;

/// How often the files are sent anew that somebody has deleted, and how often the manifest is written.
const TRIES: usize = 4;

/// The file that makes a folder a version for TensorFlow Serving.
pub(super) const LAST: &str = "saved_model.pb";

/// How a version is pushed.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct PushOptions {
    labels: Vec<Label>,
    replace_signature: bool,
}

impl PushOptions {
    /// Points a label of the remote store to the version in the same change.
    pub fn label(mut self, label: Label) -> Self {
        self.labels.push(label);
        self
    }

    /// Replaces the signature of a version that is there with another one.
    pub fn replace_signature(mut self, replace: bool) -> Self {
        self.replace_signature = replace;
        self
    }

    /// The same for a remote store that pulls the version.
    pub(crate) fn as_pull(&self) -> PullOptions {
        let other_signature = if self.replace_signature { OtherSignature::Replace } else { OtherSignature::Refuse };
        PullOptions { labels: self.labels.clone(), other_signature, ..PullOptions::default() }
    }
}

/// A version on its way to a bucket.
struct Push<'a> {
    model: RemoteModel<'a>,
    store: &'a Store,
    version: &'a Version,
    layout: Layout,
    options: &'a PushOptions,
    remote: &'a RemoteOptions,
    /// Files that the bucket has already, by SHA-256 and size.
    known: HashMap<(String, u64), String>,
}

/// Pushes a version to a bucket, under the number that it has.
pub(crate) fn push(
    model: RemoteModel<'_>,
    store: &Store,
    version: &Version,
    options: &PushOptions,
    remote: &RemoteOptions,
) -> Result<Transferred> {
    let layout = store.model_layout(version.model())?;
    let labels = model.labels()?.map_or_else(Labels::default, |(labels, _)| labels);
    let known = known_files(&model, &labels)?;
    let push = Push { model, store, version, layout, options, remote, known };
    push.run(&labels)
}

/// The files of the newest versions of a bucket.
fn known_files(model: &RemoteModel<'_>, labels: &Labels) -> Result<HashMap<(String, u64), String>> {
    let mut known = HashMap::new();
    for number in labels.versions.iter().flatten().rev().take(MOST_KNOWN) {
        let Some((manifest, ..)) = model.manifest(*number)? else { continue };
        for file in manifest.files {
            let key = model.file_key(*number, &file.name);
            known.entry((file.sha256, file.size)).or_insert(key);
        }
    }
    Ok(known)
}

impl Push<'_> {
    fn number(&self) -> u64 {
        self.version.number()
    }

    fn key(&self, name: &str) -> String {
        self.model.file_key(self.number(), name)
    }

    fn run(&self, labels: &Labels) -> Result<Transferred> {
        if let Some((_, there, _)) = self.model.manifest(self.number())? {
            self.check_same(there)?;
            if is_noted(labels, self.number()) {
                return self.was_there();
            }
        }
        self.check_not_removed(labels)?;
        let digest = self.version.digest();
        let journal = Journal::open(&self.layout, &self.model.objects.place(&self.key("")), digest)?;
        let claim = Held::take(self.model, self.number(), digest)?;
        let pushed = match self.push_claimed(&claim, &journal) {
            // Another process may have finished the same version, and have deleted the claim.
            Err(StoreError::Remote(error)) if *error.kind() == RemoteErrorKind::Superseded => {
                let Some((_, there, _)) = self.model.manifest(self.number())? else { return Err(error.into()) };
                self.check_same(there)?;
                self.was_there()?
            }
            pushed => pushed?,
        };
        journal.close();
        Ok(pushed)
    }

    fn push_claimed(&self, claim: &Held<'_>, journal: &Journal) -> Result<Transferred> {
        // Another process may have committed or removed a version of this number before the claim was written.
        let committed = self.model.manifest(self.number())?;
        let is_committed = committed.is_some();
        let labels = self.model.labels()?.map_or_else(Labels::default, |(labels, _)| labels);
        let checked = committed.map_or(Ok(()), |(_, there, _)| self.check_same(there));
        if let Err(error) = checked.and_then(|()| self.check_not_removed(&labels)) {
            claim.release()?;
            return Err(error);
        }
        // What other attempts sent may be deleted.
        journal.resume(claim.id())?;
        if is_committed && self.missing(|_| true)?.is_empty() {
            self.was_there()?;
            claim.release()?;
            return Ok(Transferred::WasThere(self.version.clone()));
        }
        self.remote.progress.start(self.version.manifest().bytes());
        // Meanwhile every byte is checked: what was damaged here must not become a version there.
        let faults = std::thread::scope(|scope| {
            let checking = scope.spawn(|| self.store.verify(self.version));
            let sent = self.push_files(claim, journal);
            let checked = checking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            sent.and(checked)
        })?;
        if !faults.is_empty() {
            let (model, version) = (self.version.model().clone(), self.number());
            return Err(StoreError::Changed { model, version, faults });
        }
        // One that is there is of an interrupted push.
        self.push_signature(true)?;
        claim.renew()?;
        if let Some(last) = self.version.manifest().files.iter().find(|file| file.name == LAST) {
            self.push_file(last, claim, journal)?;
        }
        claim.renew()?;
        self.commit()?;
        self.note()?;
        claim.release()?;
        Ok(Transferred::Done(self.version.clone()))
    }

    /// Ends the push of a version that is there.
    fn was_there(&self) -> Result<Transferred> {
        self.push_signature(self.options.replace_signature)?;
        self.note()?;
        Ok(Transferred::WasThere(self.version.clone()))
    }

    /// The files that are not there, or have another size, among those that match.
    fn missing(&self, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<String>> {
        let there = self.model.objects.list(&self.key(""))?.into_iter();
        let there: HashMap<String, u64> = there.map(|object| (object.key, object.size)).collect();
        let files = self.version.manifest().files.iter().filter(|file| is_wanted(&file.name));
        let missing = files.filter(|file| there.get(&self.key(&file.name)) != Some(&file.size));
        Ok(missing.map(|file| file.name.clone()).collect())
    }

    fn check_same(&self, there: String) -> Result<()> {
        let here = self.version.digest().to_owned();
        match there == here {
            true => Ok(()),
            false => {
                let key = self.key("");
                Err(self.model.objects.refuse(key.trim_end_matches('/'), RemoteErrorKind::OtherVersion { there, here }))
            }
        }
    }

    /// Numbers of removed versions are not used again.
    fn check_not_removed(&self, labels: &Labels) -> Result<()> {
        let number = self.number();
        if is_noted(labels, number) || number > labels.highest {
            return Ok(());
        }
        let is_removal = |what: &What| matches!(what, What::Removed { version, .. } if *version == number);
        match self.model.log(labels)?.iter().any(|event| is_removal(&event.what)) {
            true => Err(StoreError::VersionUsed { model: self.version.model().clone(), version: number }),
            false => Ok(()),
        }
    }

    /// All files but the last one, until a list of the bucket has them.
    fn push_files(&self, claim: &Held<'_>, journal: &Journal) -> Result<()> {
        let mut missing = Vec::new();
        for _ in 0..TRIES {
            let files = self.version.manifest().files.iter().filter(|file| file.name != LAST);
            let (small, large): (Vec<_>, Vec<_>) = files.partition(|file| file.size <= SMALL);
            in_parallel(small, self.remote.parallel, |file| self.push_file(file, claim, journal))?;
            large.into_iter().try_for_each(|file| self.push_file(file, claim, journal))?;
            missing = self.missing(|name| name != LAST)?;
            if missing.is_empty() {
                return Ok(());
            }
            journal.change(|done| done.files.retain(|name| !missing.contains(name)))?;
        }
        let name = missing.pop().unwrap_or_default();
        Err(self.model.objects.refuse(&self.key(&name), RemoteErrorKind::Contended))
    }

    fn push_file(&self, file: &FileEntry, claim: &Held<'_>, journal: &Journal) -> Result<()> {
        if journal.read(|done| done.files.contains(&file.name)) {
            self.remote.progress.advance(file.size);
            return Ok(());
        }
        claim.keep()?;
        if self.copy(file)? {
            self.remote.progress.advance(file.size);
        } else if file.size <= SMALL {
            self.model.objects.put(&self.key(&file.name), self.read_whole(file)?)?;
            self.remote.progress.advance(file.size);
        } else {
            self.push_parts(file, claim, journal)?;
        }
        journal.change(|done| {
            done.parts.remove(&file.name);
            done.files.push(file.name.clone());
        })
    }

    /// Copies the file from an equal one of the bucket, without a transfer. `false` if there is none.
    fn copy(&self, file: &FileEntry) -> Result<bool> {
        let Some(from) = self.known.get(&(file.sha256.clone(), file.size)) else { return Ok(false) };
        let to = self.key(&file.name);
        match self.model.objects.copy(from, &to) {
            Ok(()) => {}
            // It was removed meanwhile, is too large for one copy, or the server copies nothing.
            Err(StoreError::Remote(error))
                if matches!(error.kind(), RemoteErrorKind::Absent | RemoteErrorKind::Failed { .. }) =>
            {
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        // Azure may go on copying after its answer.
        let there = self.model.objects.list(&self.key(""))?;
        Ok(there.iter().any(|object| object.key == to && object.size == file.size))
    }

    fn open(&self, file: &FileEntry) -> Result<File> {
        let path = self.version.path().join(&file.name);
        File::open(&path).map_err(StoreError::io("open", &path))
    }

    fn read_whole(&self, file: &FileEntry) -> Result<Bytes> {
        let path = self.version.path().join(&file.name);
        let mut bytes = Vec::new();
        let read = self.open(file)?.take(file.size + 1).read_to_end(&mut bytes);
        read.map_err(StoreError::io("read", &path))?;
        Ok(bytes.into())
    }

    /// Sends a large file in parts, but for those that an earlier process sent.
    fn push_parts(&self, file: &FileEntry, claim: &Held<'_>, journal: &Journal) -> Result<()> {
        let key = self.key(&file.name);
        let resumed = journal.read(|done| done.parts.get(&file.name).cloned());
        let is_resumed = resumed.is_some();
        let upload = match resumed {
            Some(upload) => upload,
            None => self.begin(file, journal)?,
        };
        match self.send_parts(file, upload, claim, journal) {
            // The upload is gone: somebody else finished it, or it was too old.
            Err(StoreError::Remote(error)) if is_resumed && is_lost(error.kind()) => {
                let upload = self.begin(file, journal)?;
                self.send_parts(file, upload, claim, journal)
            }
            sent => sent,
        }
        .map_err(|error| match error {
            StoreError::Remote(inner) if *inner.kind() == RemoteErrorKind::Absent => {
                self.model.objects.refuse(&key, RemoteErrorKind::Absent)
            }
            error => error,
        })
    }

    fn begin(&self, file: &FileEntry, journal: &Journal) -> Result<Upload> {
        let id = self.model.objects.begin(&self.key(&file.name))?;
        let upload = Upload { id, plan: plan(file.size), ..Upload::default() };
        let (name, noted) = (file.name.clone(), upload.clone());
        journal.change(|done| drop(done.parts.insert(name, noted)))?;
        Ok(upload)
    }

    fn send_parts(&self, file: &FileEntry, upload: Upload, claim: &Held<'_>, journal: &Journal) -> Result<()> {
        let (key, source) = (self.key(&file.name), self.open(file)?);
        let missing = (0..upload.plan.len()).filter(|index| !upload.done.contains_key(index));
        self.remote.progress.advance(upload.done.keys().map(|index| length(&upload.plan[*index])).sum());
        in_parallel(missing, self.remote.parallel, |index| {
            claim.keep()?;
            let part = &upload.plan[index];
            let mut bytes = vec![0; usize::try_from(length(part)).unwrap_or(usize::MAX)];
            let path = self.version.path().join(&file.name);
            source.read_exact_at(&mut bytes, part.start).map_err(StoreError::io("read", path))?;
            let id = self.model.objects.part(&key, &upload.id, index, bytes.into())?;
            self.remote.progress.advance(length(part));
            let name = file.name.clone();
            journal.change(|done| drop(done.parts.entry(name).or_default().done.insert(index, id)))
        })?;
        let done = journal.read(|done| done.parts.get(&file.name).map(|it| it.done.clone())).unwrap_or_default();
        self.model.objects.finish(&key, &upload.id, done.into_values().collect())
    }

    fn push_signature(&self, replace: bool) -> Result<()> {
        push_signature(self.model.objects, &self.key(SIGNATURE_FILE), self.version, replace)
    }

    /// Writes the manifest, if there is none.
    fn commit(&self) -> Result<()> {
        let path = self.layout.manifest(self.number());
        let bytes = durable::read(&path, crate::manifest::MAX_FILE)?;
        let bytes = bytes.ok_or_else(|| StoreError::damaged(&path, "it was removed meanwhile"))?;
        let (key, bytes) = (self.model.manifest_key(self.number()), Bytes::from(bytes));
        for _ in 0..TRIES {
            if self.model.objects.create(&key, bytes.clone())? == Written::Yes {
                return Ok(());
            }
            // The answer to this request may have been lost, or another process pushes the same.
            if let Some((_, there, _)) = self.model.manifest(self.number())? {
                return self.check_same(there);
            }
        }
        Err(self.model.objects.refuse(&key, RemoteErrorKind::Contended))
    }

    /// Notes the version in the labels object, and points the labels to it.
    fn note(&self) -> Result<()> {
        let (number, digest, by) = (self.number(), self.version.digest(), whoami());
        self.model.change(|labels| {
            if !is_noted(labels, number) {
                // Another process may have removed it meanwhile.
                self.check_not_removed(labels)?;
                labels.publish(&by, number, digest, None);
            }
            for label in &self.options.labels {
                labels.point(label, Some(number), &by, Why::Publish);
            }
            Ok(())
        })
    }
}

/// Sends the signature of a version, if it has one, unless there is another one that is not to be replaced.
pub(crate) fn push_signature(objects: &dyn Objects, key: &str, version: &Version, replace: bool) -> Result<()> {
    let path = version.path().join(SIGNATURE_FILE);
    let Some(bytes) = durable::read(&path, signing::MAX_FILE)? else { return Ok(()) };
    match read(objects, key, signing::MAX_FILE)? {
        Some((there, _)) if there == bytes => Ok(()),
        Some((there, _)) if !replace => {
            let (there, here) = (Signer::of(&there), Signer::of(&bytes));
            Err(objects.refuse(key, RemoteErrorKind::OtherSignature { there, here }))
        }
        _ => objects.put(key, bytes.into()),
    }
}

/// Whether a number is a version for everybody.
fn is_noted(labels: &Labels, number: u64) -> bool {
    labels.versions.as_ref().is_some_and(|versions| versions.contains(&number))
}

fn length(part: &PlannedPart) -> u64 {
    part.end - part.start
}

fn is_lost(kind: &RemoteErrorKind) -> bool {
    matches!(kind, RemoteErrorKind::Absent | RemoteErrorKind::Failed { .. })
}

/// The parts of a file that is sent whole.
pub(crate) fn plan(size: u64) -> Vec<PlannedPart> {
    let length = PART.max(size.div_ceil(MOST_PARTS));
    let starts = (0..size.div_ceil(length)).map(|index| index * length);
    starts.map(|start| PlannedPart { start, end: size.min(start + length) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_file() {
        for size in [SMALL + 1, 100 << 20, 1 << 40] {
            let plan = plan(size);
            assert!(plan.len() <= 10_000 && plan[0].start == 0 && plan[plan.len() - 1].end == size);
            assert!(plan.windows(2).all(|pair| pair[0].end == pair[1].start && length(&pair[0]) >= 5 << 20));
        }
    }
}
