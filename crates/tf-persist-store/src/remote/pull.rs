//! Brings a version of a remote store into a store of this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;

use super::client::RemoteOptions;
use super::error::{RemoteError, RemoteErrorKind};
use super::fetch::{Fetch, Known, discard};
use super::objects::{Objects, read};
use crate::durable;
use crate::error::{Result, StoreError};
use crate::event::{Why, whoami};
use crate::files::walk;
use crate::intent::Intent;
use crate::layout::Layout;
use crate::lock::{Locked, lock_file};
use crate::manifest::Manifest;
use crate::name::{Label, ModelName};
use crate::signing::{self, SIGNATURE_FILE, Signer, Trusted};
use crate::store::{Store, Version, folders_of, manifests, was_used};

/// Versions of this machine whose files and tensors are looked at.
const MOST_KNOWN: usize = 8;

/// A pull that nobody goes on with for so long is deleted.
const ABANDONED: Duration = Duration::from_secs(7 * 24 * 3600);

/// The beginning of the names of folders of pulls.
const PULL: &str = "pull-";

/// How a version is pulled.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct PullOptions {
    pub(crate) labels: Vec<Label>,
    pub(crate) trusted: Option<Trusted>,
    pub(crate) other_signature: OtherSignature,
}

/// What becomes of the signature of a version that is there, if the one that comes is another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum OtherSignature {
    /// It stays, and the other is not even read.
    #[default]
    Keep,
    /// The user is told.
    Refuse,
    Replace,
}

impl PullOptions {
    /// Points a label of this machine's store to the version in the same change.
    pub fn label(mut self, label: Label) -> Self {
        self.labels.push(label);
        self
    }

    /// Pulls the version only if somebody who is trusted has signed it as this version of this model.
    pub fn require_signature(mut self, trusted: Trusted) -> Self {
        self.trusted = Some(trusted);
        self
    }
}

/// What became of a version that was to be pulled or pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transferred {
    /// It was brought.
    Done(Version),
    /// It was there already.
    WasThere(Version),
}

impl Transferred {
    /// The version on this machine.
    #[must_use]
    pub fn version(&self) -> &Version {
        let (Self::Done(version) | Self::WasThere(version)) = self;
        version
    }
}

/// A version at a remote store, found once.
pub(crate) struct Found<'a> {
    pub(crate) objects: &'a dyn Objects,
    /// The address of the store, for the log.
    pub(crate) address: String,
    pub(crate) model: &'a ModelName,
    pub(crate) manifest: Manifest,
    pub(crate) digest: String,
    /// The manifest as it is there.
    pub(crate) text: Vec<u8>,
}

impl Found<'_> {
    pub(crate) fn base(&self) -> String {
        format!("{}/{}", self.model, self.manifest.version)
    }

    /// The signature that lies beside the files; `None` if there is none.
    pub(crate) fn signature(&self) -> Result<Option<Vec<u8>>> {
        let key = format!("{}/{SIGNATURE_FILE}", self.base());
        Ok(read(self.objects, &key, signing::MAX_FILE)?.map(|(bytes, _)| bytes))
    }

    fn place(&self) -> String {
        self.objects.place(&self.base())
    }
}

/// Pulls a version into a store, under the number that it has.
pub(crate) fn pull(
    found: &Found<'_>,
    store: &Store,
    options: &PullOptions,
    remote: &RemoteOptions,
) -> Result<Transferred> {
    let number = found.manifest.version;
    let layout = store.change_model(found.model)?;
    let name = format!("{PULL}{}", found.digest.get(..32).unwrap_or(&found.digest));
    let staging = layout.staging().join(&name);
    let was_there = || {
        let Some(version) = there(found, &layout)? else { return Ok(None) };
        if is_free(&staging) {
            // A process was killed after it had made the version.
            discard(&staging);
        }
        refresh(found, store, version, options).map(|version| Some(Transferred::WasThere(version)))
    };
    if let Some(done) = was_there()? {
        return Ok(done);
    }
    {
        let locked = Locked::take(&layout)?;
        // Taking it may have finished the pull of a process that was killed.
        if there(found, &layout)?.is_none() {
            check_number(found, &layout, &locked)?;
        }
    }
    if let Some(done) = was_there()? {
        return Ok(done);
    }
    tidy(&layout.staging());
    // Another process that pulls the same goes on, and this one finds the version when it is done.
    let lock = loop {
        fs::create_dir_all(&staging).map_err(StoreError::io("create", &staging))?;
        if let Some(lock) = lock_file(&staging.join("lock"), FlockOperation::LockExclusive)? {
            break lock;
        }
    };
    if there(found, &layout)?.is_none() {
        receive(found, &layout, &staging, options, remote)?;
    }
    let locked = Locked::take(&layout)?;
    if there(found, &layout)?.is_some() {
        drop((locked, lock));
        return was_there()?.ok_or_else(|| StoreError::NoVersions { model: found.model.clone() });
    }
    check_number(found, &layout, &locked)?;
    if locked.labels.counter == 0 {
        store.check_new(found.model)?;
    }
    let mut labels = locked.labels.clone();
    let by = whoami();
    labels.publish(&by, number, &found.digest, Some(found.address.clone()));
    for label in &options.labels {
        labels.point(label, Some(number), &by, Why::Publish);
    }
    let text = String::from_utf8(found.text.clone());
    let text = text.map_err(|_| StoreError::damaged(found.place(), "its manifest is not UTF-8"))?;
    Intent::publish(number, Some(Path::new(&name).join("model")), text, labels).carry_out(&layout)?;
    discard(&staging);
    let path = layout.version(number);
    Ok(Transferred::Done(Version::new(found.model.clone(), path, found.manifest.clone(), found.digest.clone())))
}

/// Brings the files of a version into a folder, which is deleted if they cannot be used.
fn receive(
    found: &Found<'_>,
    layout: &Layout,
    staging: &Path,
    options: &PullOptions,
    remote: &RemoteOptions,
) -> Result<()> {
    let folder = staging.join("model");
    let known = Known::of(&known_versions(layout, found.model)?);
    let fetch = Fetch {
        objects: found.objects,
        base: found.base(),
        files: &found.manifest.files,
        folder: folder.clone(),
        partial: staging.join("partial"),
        known: &known,
        parallel: remote.parallel,
        progress: remote.progress.as_ref(),
        recheck: false,
    };
    if let Err(error) = fetch.run() {
        // What came is kept for the next pull.
        if !has_parts(staging) {
            discard(staging);
        }
        return Err(error);
    }
    if let Some(signature) = found.signature()? {
        durable::write_through(&staging.join("signature.new"), &folder.join(SIGNATURE_FILE), &signature)?;
    }
    let version = Version::new(found.model.clone(), folder, found.manifest.clone(), found.digest.clone());
    if let Some(trusted) = &options.trusted
        && let Err(error) = version.verify_signature(trusted, false)
    {
        discard(staging);
        return Err(renamed(found, error));
    }
    Ok(())
}

/// An error about a file in the staging folder, which the user does not know, becomes one about the remote store.
fn renamed(found: &Found<'_>, error: StoreError) -> StoreError {
    match error {
        StoreError::NotSigned { .. } => StoreError::NotSigned { path: found.place().into() },
        StoreError::InvalidSignature { reason, .. } => {
            let path = PathBuf::from(format!("{}/{SIGNATURE_FILE}", found.place()));
            StoreError::InvalidSignature { path, reason }
        }
        StoreError::NotWhatWasSigned { faults, .. } => {
            StoreError::NotWhatWasSigned { path: found.place().into(), faults }
        }
        error => error,
    }
}

/// The version of this number that the store has, if it is the same.
fn there(found: &Found<'_>, layout: &Layout) -> Result<Option<Version>> {
    let number = found.manifest.version;
    let Some((manifest, digest)) = Manifest::read(layout, found.model, number)? else { return Ok(None) };
    if digest != found.digest {
        let kind = RemoteErrorKind::OtherVersion { there: digest, here: found.digest.clone() };
        return Err(RemoteError::new(layout.version(number).display(), kind).into());
    }
    Ok(Some(Version::new(found.model.clone(), layout.version(number), manifest, digest)))
}

/// Takes over the signature of a version that is there, and points labels to it.
fn refresh(found: &Found<'_>, store: &Store, version: Version, options: &PullOptions) -> Result<Version> {
    let path = version.path().join(SIGNATURE_FILE);
    let known = durable::read(&path, signing::MAX_FILE)?;
    let is_kept = known.is_some() && options.other_signature == OtherSignature::Keep;
    let new = if is_kept { None } else { found.signature()? };
    if let Some(signature) = new.filter(|new| known.as_ref() != Some(new)) {
        if let Some(known) = known.filter(|_| options.other_signature == OtherSignature::Refuse) {
            let (there, here) = (Signer::of(&known), Signer::of(&signature));
            let kind = RemoteErrorKind::OtherSignature { there, here };
            return Err(RemoteError::new(path.display(), kind).into());
        }
        let layout = store.model_layout(found.model)?;
        let _locked = Locked::take(&layout)?;
        durable::write_through(&layout.new_signature(), &path, &signature)?;
    }
    if let Some(trusted) = &options.trusted {
        version.verify_signature(trusted, false)?;
    }
    for label in &options.labels {
        store.label(&version, label, Why::Label)?;
    }
    Ok(version)
}

/// Whether the number is free.
fn check_number(found: &Found<'_>, layout: &Layout, locked: &Locked<'_>) -> Result<()> {
    let (version, model) = (found.manifest.version, found.model.clone());
    if let Some(path) = folders_of(layout, version)?.pop() {
        return Err(StoreError::Foreign { path, model, version });
    }
    match was_used(layout, &locked.labels, version)? {
        true => Err(StoreError::VersionUsed { model, version }),
        false => Ok(()),
    }
}

/// The newest versions of a model, whose files and tensors need not come again.
fn known_versions(layout: &Layout, model: &ModelName) -> Result<Vec<(PathBuf, Manifest)>> {
    let mut known = Vec::new();
    for number in manifests(layout)?.into_iter().rev().take(MOST_KNOWN) {
        let found = Manifest::read(layout, model, number)?;
        known.extend(found.map(|(manifest, _)| (layout.version(number), manifest)));
    }
    Ok(known)
}

/// Whether an interrupted pull has received anything.
fn has_parts(staging: &Path) -> bool {
    let is_noted = |path: &Path| fs::read(path).is_ok_and(|list| list.iter().any(u8::is_ascii_digit));
    let is_part = |name: &str| name.starts_with("model/") || name.ends_with(".parts") && is_noted(&staging.join(name));
    walk(staging).map_or(true, |found| found.iter().any(|it| is_part(&it.name)))
}

/// Whether there is a pull and no process is at it.
fn is_free(staging: &Path) -> bool {
    staging.exists()
        && matches!(lock_file(&staging.join("lock"), FlockOperation::NonBlockingLockExclusive), Ok(Some(_)))
}

/// Deletes pulls that nobody goes on with.
fn tidy(staging: &Path) {
    let Ok(entries) = fs::read_dir(staging) else { return };
    for entry in entries.flatten() {
        let is_pull = entry.file_name().to_str().is_some_and(|name| name.starts_with(PULL));
        let changed = fs::metadata(entry.path().join("partial")).and_then(|it| it.modified());
        let is_old = changed.is_ok_and(|it| SystemTime::now().duration_since(it).is_ok_and(|age| age > ABANDONED));
        if is_pull && is_old && is_free(&entry.path()) {
            discard(&entry.path());
        }
    }
}
