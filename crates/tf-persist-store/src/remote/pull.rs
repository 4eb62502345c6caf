//! Brings a version of a remote store into a store of this machine.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

use super::error::{RemoteError, RemoteErrorKind};
use super::fetch::{Fetch, Known, discard};
use super::objects::{Objects, read};
use super::progress::Progress;
use crate::durable;
use crate::error::{Result, StoreError};
use crate::event::{Why, whoami};
use crate::intent::Intent;
use crate::layout::Layout;
use crate::lock::Locked;
use crate::manifest::Manifest;
use crate::name::{Label, ModelName};
use crate::signing::{SIGNATURE_FILE, Trusted};
use crate::store::{Store, Version, manifests, was_used};

/// The most bytes of a signature.
const MAX_SIGNATURE: u64 = 256 << 20;

/// Versions of this machine whose files and tensors are looked at.
const MOST_KNOWN: usize = 8;

/// A pull that nobody goes on with for so long is deleted.
const ABANDONED: Duration = Duration::from_secs(7 * 24 * 3600);

/// The beginning of the names of folders of pulls.
const PULL: &str = "pull-";

/// How a version is pulled.
#[derive(Debug, Clone)]
#[must_use]
pub struct PullOptions {
    pub(crate) labels: Vec<Label>,
    pub(crate) trusted: Option<Trusted>,
    progress: Arc<dyn Progress>,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self { labels: Vec::new(), trusted: None, progress: Arc::new(()) }
    }
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

    /// Who hears how far it is.
    pub fn progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = progress;
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
        Ok(read(self.objects, &key, MAX_SIGNATURE)?.map(|(bytes, _)| bytes))
    }

    fn place(&self) -> String {
        self.objects.place(&self.base())
    }
}

/// Pulls a version into a store, under the number that it has.
pub(crate) fn pull(found: &Found<'_>, store: &Store, options: &PullOptions, parallel: usize) -> Result<Transferred> {
    let number = found.manifest.version;
    let layout = store.create_model(found.model)?;
    if let Some(version) = there(found, &layout)? {
        let version = refresh(found, store, version, options)?;
        return Ok(Transferred::WasThere(version));
    }
    {
        let locked = Locked::take(&layout)?;
        check_number(found, &layout, &locked)?;
        durable::create_folder(&layout.staging())?;
    }
    tidy(&layout.staging());
    let name = format!("{PULL}{}", found.digest.get(..32).unwrap_or(&found.digest));
    let staging = layout.staging().join(&name);
    fs::create_dir_all(&staging).map_err(StoreError::io("create", &staging))?;
    // Another process that pulls the same goes on, and this one finds the version when it is done.
    let _lock = lock(&staging.join("lock"), true)?;
    if let Some(version) = there(found, &layout)? {
        let version = refresh(found, store, version, options)?;
        return Ok(Transferred::WasThere(version));
    }
    let folder = staging.join("model");
    let known = Known::of(&known_versions(&layout, found.model)?);
    let fetch = Fetch {
        objects: found.objects,
        base: found.base(),
        manifest: &found.manifest,
        folder: folder.clone(),
        partial: staging.join("partial"),
        known: &known,
        parallel,
        progress: options.progress.as_ref(),
        recheck: false,
    };
    fetch.run()?;
    if let Some(signature) = found.signature()? {
        durable::write_through(&staging.join("signature.new"), &folder.join(SIGNATURE_FILE), &signature)?;
    }
    let version = Version::new(found.model.clone(), folder, found.manifest.clone(), found.digest.clone());
    if let Some(trusted) = &options.trusted {
        version.verify_signature(trusted, false).map_err(|error| renamed(found, error))?;
    }
    let locked = Locked::take(&layout)?;
    check_number(found, &layout, &locked)?;
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
    if !version.path().join(SIGNATURE_FILE).exists()
        && let Some(signature) = found.signature()?
    {
        let layout = store.model_layout(found.model)?;
        let _locked = Locked::take(&layout)?;
        durable::write_through(&layout.new_signature(), &version.path().join(SIGNATURE_FILE), &signature)?;
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
    if layout.manifest(version).exists() {
        return Err(StoreError::VersionExists { model, version });
    }
    let path = layout.version(version);
    if path.exists() {
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

/// Takes the lock of a file, which the kernel releases when the process ends. `None` if another process has it, and
/// `wait` is not set.
pub(crate) fn lock(path: &Path, wait: bool) -> Result<Option<File>> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(path);
    let file = file.map_err(StoreError::io("open", path))?;
    let how = if wait { FlockOperation::LockExclusive } else { FlockOperation::NonBlockingLockExclusive };
    loop {
        match flock(&file, how) {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            locked => return locked.map(|()| Some(file)).map_err(|error| StoreError::io("lock", path)(error.into())),
        }
    }
}

/// Deletes pulls that nobody goes on with.
fn tidy(staging: &Path) {
    let Ok(entries) = fs::read_dir(staging) else { return };
    for entry in entries.flatten() {
        let is_pull = entry.file_name().to_str().is_some_and(|name| name.starts_with(PULL));
        let changed = fs::metadata(entry.path().join("partial")).and_then(|it| it.modified());
        let is_old = changed.is_ok_and(|it| SystemTime::now().duration_since(it).is_ok_and(|age| age > ABANDONED));
        if is_pull && is_old && matches!(lock(&entry.path().join("lock"), false), Ok(Some(_))) {
            discard(&entry.path());
        }
    }
}
