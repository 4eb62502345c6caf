//! The store and its versions.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::error::{Result, StoreError};
use crate::event::{self, Event, What, Why, whoami};
use crate::labels::{self, Labels};
use crate::layout::{HIDDEN, Layout, STORE_FILE};
use crate::lock::Locked;
use crate::manifest::Manifest;
use crate::name::{Label, ModelName, Reference, Selector, version_number};
use crate::signing::{SIGNATURE_FILE, Signer, SigningKey, Trusted, sign_version, signer, verify_folder};
use crate::verify::{Fault, compare_contents, compare_names};

/// The most bytes of `store.json`.
pub(crate) const MAX_STORE_FILE: u64 = 1 << 20;

/// The contents of `store.json`.
#[derive(Debug, Serialize, Deserialize)]
struct StoreFile {
    format: u64,
}

/// A store of models in a folder.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

/// A published version, found once: it is read by its manifest, whatever happens to labels meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    model: ModelName,
    path: PathBuf,
    manifest: Manifest,
    digest: String,
}

impl Version {
    pub(crate) fn new(model: ModelName, path: PathBuf, manifest: Manifest, digest: String) -> Self {
        Self { model, path, manifest, digest }
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &ModelName {
        &self.model
    }

    /// The number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.manifest.version
    }

    /// The folder, a plain SavedModel.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it consists of.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its identity: the SHA-256 of its manifest, in hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The differences between the files in its folder and its manifest, by every byte.
    ///
    /// # Errors
    /// If something cannot be read.
    pub fn faults(&self) -> Result<Vec<Fault>> {
        compare_contents(&self.path, &self.manifest)
    }

    /// Who signed it, as the signature says, which proves nothing; `None` if it is not signed.
    ///
    /// # Errors
    /// If the signature cannot be read.
    pub fn signer(&self) -> Result<Option<Signer>> {
        signer(self.path.join(SIGNATURE_FILE))
    }

    /// Checks that somebody who is trusted has signed it as this version of this model. `unbound` accepts signatures of
    /// other tools, which do not say of which model they are.
    ///
    /// # Errors
    /// If it is not signed so, or its files are not those that were signed.
    pub fn verify_signature(&self, trusted: &Trusted, unbound: bool) -> Result<()> {
        let statement = verify_folder(&self.path, self.path.join(SIGNATURE_FILE), trusted)?;
        let reason = match statement.binding {
            None if unbound => return Ok(()),
            None => "does not say of which model it is".to_owned(),
            Some(of) if of.model != self.model.as_str() || of.version != self.number() => {
                format!("is that of version {} of `{}`", of.version, of.model)
            }
            Some(of) if of.manifest != self.digest => "is that of another manifest".to_owned(),
            Some(_) => return Ok(()),
        };
        Err(StoreError::OtherVersion { model: self.model.clone(), version: self.number(), reason })
    }
}

/// A folder of a model that looks like a version.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Folder {
    /// A published version.
    Published(u64),
    /// A number without a manifest: somebody else put it there.
    Foreign(String),
    /// A manifest without a folder.
    Missing(u64),
}

/// A model in the store at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelOverview {
    /// Its name.
    pub name: ModelName,
    /// Its versions, by number; foreign folders at the end.
    pub folders: Vec<Folder>,
    /// Its labels with the versions that they point to.
    pub labels: Vec<(Label, u64)>,
    /// The number of changes so far.
    pub changes: u64,
}

impl ModelOverview {
    /// The largest number of a published version.
    #[must_use]
    pub fn latest(&self) -> Option<u64> {
        self.folders.iter().rev().find_map(|folder| match folder {
            Folder::Published(number) => Some(*number),
            _ => None,
        })
    }
}

impl Store {
    /// Makes a store of a folder that does not exist or is empty, or opens the one that is there.
    ///
    /// # Errors
    /// If the folder has other contents, or cannot be written to.
    pub fn init(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        if folder.join(STORE_FILE).exists() {
            return Self::open(folder);
        }
        fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
        // Two processes that make one store would delete each other's new file. Where folders cannot be locked, each
        // still waits for the other's.
        let locked = File::open(&folder).map_err(StoreError::io("open", &folder))?;
        let _ = rustix::fs::flock(&locked, FlockOperation::LockExclusive);
        if folder.join(STORE_FILE).exists() {
            return Self::open(folder);
        }
        let entries = fs::read_dir(&folder).map_err(StoreError::io("read", &folder))?;
        // Folders of models may be there: their versions are foreign, until they are adopted.
        let is_other = |entry: &fs::DirEntry| {
            let is_model = entry.file_name().to_str().is_some_and(|name| name.parse::<ModelName>().is_ok());
            !is_model || !entry.path().is_dir() || !has_version(&entry.path())
        };
        let mut others = Vec::new();
        for entry in entries {
            let entry = entry.map_err(StoreError::io("read", &folder))?;
            others.extend(is_other(&entry).then(|| entry.file_name().to_string_lossy().into_owned()));
        }
        others.sort();
        if !others.is_empty() {
            // Another process may have made it meanwhile.
            let is_new = folder.join(STORE_FILE).with_extension("new").exists();
            return match is_new || folder.join(STORE_FILE).exists() {
                true => Self::open_new(folder),
                false => Err(StoreError::NotEmpty { path: folder, others }),
            };
        }
        let path = folder.join(STORE_FILE);
        let text = serde_json::to_string(&StoreFile { format: 1 });
        let text = text.map_err(|error| StoreError::io("write", &path)(error.into()))?;
        match durable::write(&path, format!("{text}\n").as_bytes()) {
            Err(_) if path.exists() => Self::open(folder),
            // Another process is at it.
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                Self::open_new(folder)
            }
            written => written.map(|()| Self { folder }),
        }
    }

    /// Opens a store that another process is making.
    fn open_new(folder: PathBuf) -> Result<Self> {
        const TRIES: usize = 100;
        for _ in 0..TRIES {
            if folder.join(STORE_FILE).exists() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Self::open(folder)
    }

    /// Opens a store.
    ///
    /// # Errors
    /// If the folder is not a store, or one of a later format.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        let path = folder.join(STORE_FILE);
        let Some(bytes) = durable::read(&path, MAX_STORE_FILE)? else {
            let instead = nearby(&folder);
            return Err(StoreError::NotAStore { path: folder, instead });
        };
        let file: StoreFile =
            serde_json::from_slice(&bytes).map_err(|error| StoreError::damaged(&path, error.to_string()))?;
        match file.format {
            1 => Ok(Self { folder }),
            format => Err(StoreError::UnknownFormat { path, format }),
        }
    }

    /// Whether a folder is a store.
    #[must_use]
    pub fn is_at(folder: &Path) -> bool {
        folder.join(STORE_FILE).is_file()
    }

    /// The folder of the store.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// The folder of a version, which need not exist.
    #[must_use]
    pub fn version_path(&self, model: &ModelName, number: u64) -> PathBuf {
        self.layout(model).version(number)
    }

    /// The manifest of a version, which need not exist.
    #[must_use]
    pub fn manifest_path(&self, model: &ModelName, number: u64) -> PathBuf {
        self.layout(model).manifest(number)
    }

    /// The versions and labels of a model.
    ///
    /// # Errors
    /// If there is no such model, or its folder cannot be read.
    pub fn overview(&self, model: &ModelName) -> Result<ModelOverview> {
        let layout = self.model_layout(model)?;
        // Before the versions: a version that has a label is there.
        let labels = Labels::read(&layout)?;
        let published = manifests(&layout)?;
        let (mut there, mut foreign) = (Vec::new(), Vec::new());
        for name in numbered(&layout)? {
            match version_number(&name).filter(|number| published.binary_search(number).is_ok()) {
                Some(number) => there.push(number),
                None => foreign.push(Folder::Foreign(name)),
            }
        }
        foreign.sort_by_key(|folder| match folder {
            Folder::Foreign(name) => (name.len(), name.clone()),
            _ => (0, String::new()),
        });
        let state = |number: u64| match there.contains(&number) {
            true => Folder::Published(number),
            false => Folder::Missing(number),
        };
        let folders = published.into_iter().map(state).chain(foreign).collect();
        Ok(ModelOverview {
            name: model.clone(),
            folders,
            labels: labels.labels.into_iter().collect(),
            changes: labels.counter,
        })
    }

    /// Finds a version, once: labels may move afterwards.
    ///
    /// # Errors
    /// If it does not exist, or its files do not have the names and sizes that were published.
    pub fn resolve(&self, reference: &Reference) -> Result<Version> {
        let version = self.find(reference)?;
        let faults = compare_names(&version.path, &version.manifest)?;
        match faults.is_empty() {
            true => Ok(version),
            false => Err(StoreError::Changed { model: version.model.clone(), version: version.number(), faults }),
        }
    }

    /// As [`Store::resolve`], whatever happened to the files of the version.
    ///
    /// # Errors
    /// If it does not exist, or its manifest is damaged.
    pub fn find(&self, reference: &Reference) -> Result<Version> {
        let Reference { model, selector } = reference;
        let layout = self.model_layout(model)?;
        let number = self.number(&layout, model, selector)?;
        self.version(&layout, model, number)
    }

    fn number(&self, layout: &Layout, model: &ModelName, selector: &Selector) -> Result<u64> {
        match selector {
            Selector::Number(number) => Ok(*number),
            Selector::Label(label) => Labels::read(layout)?.get(model, label),
            Selector::Latest => {
                manifests(layout)?.last().copied().ok_or_else(|| StoreError::NoVersions { model: model.clone() })
            }
        }
    }

    fn version(&self, layout: &Layout, model: &ModelName, number: u64) -> Result<Version> {
        match Manifest::read(layout, model, number)? {
            Some((manifest, digest)) => Ok(Version::new(model.clone(), layout.version(number), manifest, digest)),
            None => match folders_of(layout, number)?.pop() {
                Some(path) => Err(StoreError::Foreign { path, model: model.clone(), version: number }),
                None => {
                    let known_versions = manifests(layout)?;
                    Err(StoreError::UnknownVersion { model: model.clone(), version: number, known_versions })
                }
            },
        }
    }

    /// All differences between a version and what was published, by the bytes of its files and by its manifest.
    ///
    /// # Errors
    /// If something cannot be read.
    pub fn verify(&self, version: &Version) -> Result<Vec<Fault>> {
        let mut faults = version.faults()?;
        let noted = self.log(&version.model)?.into_iter().rev().find_map(|event| match event.what {
            What::Published { version: number, manifest, .. } if number == version.number() => Some(manifest),
            _ => None,
        });
        if noted.as_ref() != Some(&version.digest) {
            faults.push(Fault::Manifest);
        }
        Ok(faults)
    }

    /// Signs a version.
    ///
    /// # Errors
    /// If it is signed already, its files are not what was published, or the signature cannot be written.
    pub fn sign(&self, version: &Version, key: &SigningKey) -> Result<()> {
        self.sign_in_place_of(version, key, false).map(drop)
    }

    /// As [`Store::sign`], in place of the signature that the version has. Returns who made that one.
    ///
    /// # Errors
    /// As [`Store::sign`], but for a version that is signed.
    pub fn replace_signature(&self, version: &Version, key: &SigningKey) -> Result<Option<Signer>> {
        self.sign_in_place_of(version, key, true)
    }

    fn sign_in_place_of(&self, version: &Version, key: &SigningKey, replace: bool) -> Result<Option<Signer>> {
        let faults = self.verify(version)?;
        if !faults.is_empty() {
            return Err(StoreError::Changed { model: version.model.clone(), version: version.number(), faults });
        }
        let layout = self.model_layout(&version.model)?;
        let mut locked = Locked::take(&layout)?;
        self.version(&layout, &version.model, version.number())?;
        let before = version.signer()?;
        if let Some(signer) = before.clone().filter(|_| !replace) {
            return Err(StoreError::Signed { model: version.model.clone(), version: version.number(), signer });
        }
        let signature = sign_version(&version.manifest, &version.digest, key)?;
        durable::write_through(&layout.new_signature(), &version.path.join(SIGNATURE_FILE), signature.as_bytes())?;
        let what = What::Signed { version: version.number(), key: key.public_key().hint() };
        locked.labels.push(&whoami(), what);
        locked.labels.write(&layout)?;
        Ok(before)
    }

    /// All events of a model, the oldest first.
    ///
    /// # Errors
    /// If there is no such model, or its log is damaged.
    pub fn log(&self, model: &ModelName) -> Result<Vec<Event>> {
        let layout = self.model_layout(model)?;
        let labels = Labels::read(&layout)?;
        event::read_all(&layout, &labels.recent)
    }

    /// The moves of a label, the oldest first.
    ///
    /// # Errors
    /// If there was never such a label, and as [`Store::log`].
    pub fn label_log(&self, model: &ModelName, label: &Label) -> Result<Vec<Event>> {
        labels::moves(self.log(model)?, model, label)
    }

    /// The version that a label pointed to at a time; `None` if it pointed to none.
    ///
    /// # Errors
    /// As [`Store::label_log`].
    pub fn label_at(&self, model: &ModelName, label: &Label, time: Timestamp) -> Result<Option<u64>> {
        Ok(labels::pointed_at(&self.label_log(model, label)?, time))
    }

    /// Points a label to a version. Returns where it pointed.
    ///
    /// # Errors
    /// If the version is not there any more, or the change cannot be written.
    pub fn label(&self, version: &Version, label: &Label, why: Why) -> Result<Option<u64>> {
        let layout = self.model_layout(&version.model)?;
        let mut locked = Locked::take(&layout)?;
        // It may have been removed since it was found.
        self.version(&layout, &version.model, version.number())?;
        let from = locked.labels.point(label, Some(version.number()), &whoami(), why);
        if from != Some(version.number()) {
            locked.labels.write(&layout)?;
        }
        Ok(from)
    }

    /// Points a label to a version if it points to `from`. Returns where it pointed: if that is another version,
    /// nothing has changed.
    ///
    /// # Errors
    /// As [`Store::label`].
    pub fn move_label(&self, version: &Version, label: &Label, from: Option<u64>, why: Why) -> Result<Option<u64>> {
        let layout = self.model_layout(&version.model)?;
        let mut locked = Locked::take(&layout)?;
        self.version(&layout, &version.model, version.number())?;
        let found = locked.labels.labels.get(label).copied();
        if found == from && from != Some(version.number()) {
            locked.labels.point(label, Some(version.number()), &whoami(), why);
            locked.labels.write(&layout)?;
        }
        Ok(found)
    }

    /// Takes a label away from a version. Returns whether it pointed there; if not, nothing has changed.
    ///
    /// # Errors
    /// If the change cannot be written.
    pub fn take_label(&self, version: &Version, label: &Label) -> Result<bool> {
        let layout = self.model_layout(&version.model)?;
        let mut locked = Locked::take(&layout)?;
        if locked.labels.labels.get(label) != Some(&version.number()) {
            return Ok(false);
        }
        locked.labels.point(label, None, &whoami(), Why::Label);
        locked.labels.write(&layout)?;
        Ok(true)
    }

    /// The folder in which a loop keeps its state and its files, which need not exist.
    #[must_use]
    pub fn loop_folder(&self, model: &ModelName) -> PathBuf {
        self.layout(model).loop_folder()
    }

    /// Takes a label away. Returns where it pointed.
    ///
    /// # Errors
    /// If the model has no such label, or the change cannot be written.
    pub fn unlabel(&self, model: &ModelName, label: &Label) -> Result<u64> {
        let layout = self.model_layout(model)?;
        let mut locked = Locked::take(&layout)?;
        let from = locked.labels.get(model, label)?;
        locked.labels.point(label, None, &whoami(), Why::Label);
        locked.labels.write(&layout)?;
        Ok(from)
    }

    /// Points a label back to the version before, or to a given one. Without a label, the model's only one is moved.
    /// Returns the label, where it pointed, and where it points.
    ///
    /// # Errors
    /// If it is not clear which label is meant, or there is no such version.
    pub fn rollback(
        &self,
        model: &ModelName,
        label: Option<&Label>,
        to: Option<&Selector>,
    ) -> Result<(Label, u64, u64)> {
        let layout = self.model_layout(model)?;
        let mut locked = Locked::take(&layout)?;
        let label = labels::chosen(model, label, &locked.labels.labels)?;
        let from = locked.labels.get(model, &label)?;
        let to = match to {
            Some(selector) => self.number(&layout, model, selector)?,
            None => {
                let published = manifests(&layout)?;
                let events = event::read_all(&layout, &locked.labels.recent)?;
                labels::before(&events, model, &label, from, |version| published.binary_search(&version).is_ok())?
            }
        };
        self.version(&layout, model, to)?;
        locked.labels.point(&label, Some(to), &whoami(), Why::Rollback);
        locked.labels.write(&layout)?;
        Ok((label, from, to))
    }
}

/// The largest number among all folders of a model.
pub(crate) fn largest(layout: &Layout) -> Result<u64> {
    Ok(numbered(layout)?.iter().filter_map(|name| name.parse().ok()).max().unwrap_or(0))
}

/// The folders of a model that TensorFlow Serving takes for this version: a number may have leading zeros.
pub(crate) fn folders_of(layout: &Layout, number: u64) -> Result<Vec<PathBuf>> {
    let is_it = |name: &String| name.parse() == Ok(number);
    Ok(numbered(layout)?.into_iter().filter(is_it).map(|name| layout.folder().join(name)).collect())
}

/// Whether a version of this number was published at any time.
pub(crate) fn was_used(layout: &Layout, labels: &Labels, number: u64) -> Result<bool> {
    if number > labels.highest {
        return Ok(false);
    }
    let is_it = |event: &Event| matches!(event.what, What::Published { version, .. } if version == number);
    Ok(event::read_all(layout, &labels.recent)?.iter().any(is_it))
}

/// The numbers of all manifests, sorted.
pub(crate) fn manifests(layout: &Layout) -> Result<Vec<u64>> {
    let hidden = layout.hidden();
    let mut numbers = Vec::new();
    for name in names(&hidden)? {
        numbers.extend(name.strip_suffix(".json").and_then(version_number));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The folders of a model that TensorFlow Serving takes for versions.
pub(crate) fn numbered(layout: &Layout) -> Result<Vec<String>> {
    let is_number = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit());
    Ok(names(layout.folder())?.into_iter().filter(is_number).collect())
}

/// The names in a folder; none if it does not exist.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(StoreError::io("read", folder))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StoreError::io("read", folder))?;
        names.extend(entry.file_name().to_str().map(str::to_owned));
    }
    Ok(names)
}

/// The store that a folder is in, or the first one in it.
fn nearby(folder: &Path) -> Option<PathBuf> {
    let above = folder.parent().filter(|above| Store::is_at(above));
    let inside = || {
        let entries = fs::read_dir(folder).ok()?;
        entries.flatten().map(|entry| entry.path()).filter(|path| Store::is_at(path)).min()
    };
    above.map(Path::to_path_buf).or_else(inside)
}

/// Whether a folder has what TensorFlow Serving takes for a version, or was part of a store.
fn has_version(folder: &Path) -> bool {
    let is_version = |name: &String| name == HIDDEN || name.bytes().all(|byte| byte.is_ascii_digit());
    names(folder).is_ok_and(|names| names.iter().any(is_version))
}
