//! Publishes a model as a version.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tf_persist_savedmodel::checkpoint::CheckpointReader;
use tf_persist_savedmodel::scratch::Scratch;
use tf_persist_savedmodel::{SaveOptions, SavedModel};

use crate::copy::{self, Hashed};
use crate::durable;
use crate::error::{Result, StoreError};
use crate::event::{What, Why, whoami};
use crate::files::{create_parents, make_read_only, publishable, sync_tree};
use crate::intent::Intent;
use crate::layout::Layout;
use crate::lock::Locked;
use crate::manifest::{FileEntry, Manifest, Provenance};
use crate::name::{Label, ModelName, is_version};
use crate::signing::{SIGNATURE_FILE, SigningKey, sign_version};
use crate::store::{Store, Version, folders_of, largest, manifests, was_used};

/// The folder within the hidden one.
const MODEL: &str = "model";

/// Why the caller does not want a version to be published.
type CheckError = Box<dyn std::error::Error + Send + Sync>;

/// What a version is published with.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct PublishOptions {
    number: Number,
    labels: Vec<Label>,
    note: Option<String>,
    metadata: Map<String, Value>,
    source: Option<String>,
    link: bool,
    plain: bool,
    key: Option<Arc<SigningKey>>,
}

/// How the number is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Number {
    /// One more than the largest that the model has had.
    #[default]
    Next,
    Given(u64),
    /// The seconds since 1970.
    Timestamp,
}

impl PublishOptions {
    /// Publishes under this number. By default it is one more than the largest that the model has had.
    pub fn version(mut self, number: u64) -> Self {
        self.number = Number::Given(number);
        self
    }

    /// Publishes under the number of seconds since 1970, as Keras's exporters name their folders.
    pub fn timestamp(mut self) -> Self {
        self.number = Number::Timestamp;
        self
    }

    /// Points a label to the version in the same change.
    pub fn label(mut self, label: Label) -> Self {
        self.labels.push(label);
        self
    }

    /// A note for people.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Metrics and other data.
    pub fn metadata(mut self, metadata: Map<String, Value>) -> Self {
        self.metadata = metadata;
        self
    }

    /// Where the version comes from; by default the path.
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Writes equal tensors of the checkpoint as often as they are in the source. By default their bytes are written
    /// once, unless the source is signed or linked.
    pub fn plain(mut self, plain: bool) -> Self {
        self.plain = plain;
        self
    }

    /// Signs the version in the same change.
    pub fn sign(mut self, key: SigningKey) -> Self {
        self.key = Some(Arc::new(key));
        self
    }

    /// Makes hard links to the files of the source instead of copies, where the file system can. They become read-only,
    /// and must not be changed from then on.
    pub fn link(mut self, link: bool) -> Self {
        self.link = link;
        self
    }
}

/// A model that is ready to be published.
struct Ready {
    /// Relative to the staging folder; `None` if it lies in its place.
    staged: Option<PathBuf>,
    manifest: Manifest,
    /// Deletes the folder in the end.
    _scratch: Option<Scratch>,
}

impl Store {
    /// Publishes the SavedModel in a folder. If that is a folder `STORE/MODEL/N` which was not published, it is adopted
    /// as version N.
    ///
    /// # Errors
    /// If the folder is not a whole SavedModel or has what a version cannot have, the number is taken, or something
    /// cannot be written. Then nothing has changed.
    pub fn publish(&self, model: &ModelName, source: impl AsRef<Path>, options: PublishOptions) -> Result<Version> {
        self.publish_checked(model, source, options, |_| Ok(()))
    }

    /// As [`Store::publish`], if a check of the folder with the version's files succeeds.
    ///
    /// # Errors
    /// As [`Store::publish`], and if the check fails.
    pub fn publish_checked(
        &self,
        model: &ModelName,
        source: impl AsRef<Path>,
        options: PublishOptions,
        check: impl FnOnce(&Path) -> Result<(), CheckError>,
    ) -> Result<Version> {
        let source = source.as_ref();
        // First: a model that is refused leaves nothing, and the error names its files.
        SavedModel::open(source)?;
        let layout = self.change_model(model)?;
        // A published version is published once more, as a new one.
        if let Some(number) = place_of(&layout, source).filter(|number| !layout.manifest(*number).exists()) {
            if source.canonicalize().ok() != layout.version(number).canonicalize().ok() {
                // Its name has leading zeros: as a copy, it would be two versions for TensorFlow Serving.
                return Err(StoreError::Foreign { path: source.to_path_buf(), model: model.clone(), version: number });
            }
            return self.adopt(model, &layout, number, options, check);
        }
        let candidates = candidates(&layout, model)?;
        let link = options.link;
        let as_it_is = link || options.plain || source.join(SIGNATURE_FILE).exists();
        let fill = |folder: &Path| match !as_it_is && SavedModel::open(source)?.has_repeated_tensors()? {
            true => fill_once(source, folder, &candidates),
            false => fill(source, folder, &candidates, link),
        };
        let fill = |folder: &Path| while_tensors_are_checked(source, || fill(folder));
        let shown = std::path::absolute(source).unwrap_or_else(|_| source.to_path_buf());
        self.stage(model, &layout, (options, shown.display().to_string()), fill, check)
    }

    /// Publishes a model that a function writes into an empty folder.
    ///
    /// # Errors
    /// As [`Store::publish_checked`].
    pub fn publish_with(
        &self,
        model: &ModelName,
        options: PublishOptions,
        write: impl FnOnce(&Path) -> Result<(), CheckError>,
        check: impl FnOnce(&Path) -> Result<(), CheckError>,
    ) -> Result<Version> {
        let layout = self.change_model(model)?;
        let candidates = candidates(&layout, model)?;
        let fill = |folder: &Path| {
            write(folder).map_err(StoreError::Check)?;
            replace_by_links(folder, &candidates)
        };
        self.stage(model, &layout, (options, String::new()), fill, check)
    }

    fn stage(
        &self,
        model: &ModelName,
        layout: &Layout,
        (options, source): (PublishOptions, String),
        fill: impl FnOnce(&Path) -> Result<Vec<FileEntry>>,
        check: impl FnOnce(&Path) -> Result<(), CheckError>,
    ) -> Result<Version> {
        let scratch = {
            // Under the lock, so that nobody deletes the folder in between.
            let _locked = Locked::take(layout)?;
            durable::create_folder(&layout.staging())?;
            let scratch = Scratch::within(&layout.staging(), model.as_str());
            scratch.map_err(StoreError::io("create a folder in", layout.staging()))?
        };
        let folder = scratch.path().join(MODEL);
        durable::create_folder(&folder)?;
        let files = fill(&folder)?;
        let manifest = describe(model, &folder, files, &options, source)?;
        check(&folder).map_err(StoreError::Check)?;
        sync_tree(&folder)?;
        let staged = scratch.path().file_name().map(|name| Path::new(name).join(MODEL));
        let ready = Ready { staged, manifest, _scratch: Some(scratch) };
        self.commit(model, layout, ready, &options)
    }

    fn adopt(
        &self,
        model: &ModelName,
        layout: &Layout,
        number: u64,
        options: PublishOptions,
        check: impl FnOnce(&Path) -> Result<(), CheckError>,
    ) -> Result<Version> {
        let folder = layout.version(number);
        let files = while_tensors_are_checked(&folder, || {
            let files = published_files(&folder)?.into_iter();
            files.map(|(name, _)| Ok(entry(name.clone(), copy::hash(&folder.join(name))?))).collect::<Result<Vec<_>>>()
        })?;
        let source = folder.display().to_string();
        let options = options.version(number);
        let manifest = describe(model, &folder, files, &options, source)?;
        check(&folder).map_err(StoreError::Check)?;
        manifest.files.iter().try_for_each(|file| make_read_only(&folder.join(&file.name)))?;
        self.commit(model, layout, Ready { staged: None, manifest, _scratch: None }, &options)
    }

    /// Chooses the number, and makes the change.
    fn commit(&self, model: &ModelName, layout: &Layout, ready: Ready, options: &PublishOptions) -> Result<Version> {
        let Ready { staged, mut manifest, _scratch } = ready;
        let locked = Locked::take(layout)?;
        let mut labels = locked.labels.clone();
        if labels.counter == 0 {
            // A similar one may have been published meanwhile.
            self.check_new(model)?;
        }
        let number = match options.number {
            Number::Given(number) => number,
            // Foreign folders count, so that TensorFlow Serving takes the new version for the newest.
            Number::Next => largest(layout)?.max(labels.highest) + 1,
            Number::Timestamp => u64::try_from(Timestamp::now().as_second()).unwrap_or(0),
        };
        if !is_version(number) {
            return Err(StoreError::InvalidVersion { version: number.to_string() });
        }
        if layout.manifest(number).exists() {
            return Err(StoreError::VersionExists { model: model.clone(), version: number });
        }
        let path = layout.version(number);
        let is_other = |folder: &PathBuf| staged.is_some() || *folder != path;
        if let Some(path) = folders_of(layout, number)?.into_iter().find(is_other) {
            return Err(StoreError::Foreign { path, model: model.clone(), version: number });
        }
        if was_used(layout, &labels, number)? {
            return Err(StoreError::VersionUsed { model: model.clone(), version: number });
        }
        manifest.version = number;
        manifest.parent = manifests(layout)?.last().copied();
        let (text, digest) = manifest.encode()?;
        labels.publish(&manifest.published_by, number, &digest, None);
        if let Some(key) = &options.key {
            let folder = staged.as_ref().map_or(path.clone(), |staged| layout.staging().join(staged));
            let signature = sign_version(&manifest, &digest, key)?;
            durable::write_through(&layout.new_signature(), &folder.join(SIGNATURE_FILE), signature.as_bytes())?;
            let key = key.public_key().hint();
            labels.push(&manifest.published_by, What::Signed { version: number, key });
        }
        for label in &options.labels {
            labels.point(label, Some(number), &manifest.published_by, Why::Publish);
        }
        Intent::publish(number, staged, text, labels).carry_out(layout)?;
        Ok(Version::new(model.clone(), path, manifest, digest))
    }
}

/// The number that TensorFlow Serving takes from the name of a folder in the folder of the model.
fn place_of(layout: &Layout, source: &Path) -> Option<u64> {
    let source = source.canonicalize().ok()?;
    let number = source.file_name()?.to_str()?.parse().ok().filter(|number| is_version(*number))?;
    (layout.folder().canonicalize().ok()? == source.parent()?).then_some(number)
}

/// The files of published versions, by name and size.
type Candidates = HashMap<(String, u64), Vec<PathBuf>>;

fn candidates(layout: &Layout, model: &ModelName) -> Result<Candidates> {
    /// More copies of one file are not looked at.
    const MOST: usize = 4;
    let mut candidates = Candidates::new();
    // The newest first, since it is the likeliest to be equal.
    for number in manifests(layout)?.into_iter().rev() {
        let Some((manifest, _)) = Manifest::read(layout, model, number)? else { continue };
        for file in manifest.files {
            let path = layout.version(number).join(&file.name);
            let known = candidates.entry((file.name, file.size)).or_default();
            if known.len() < MOST {
                known.push(path);
            }
        }
    }
    Ok(candidates)
}

/// Links a new name to the file of a published version that is equal to this one, if there is one.
fn link(from: &Path, name: &str, size: u64, candidates: &Candidates, to: &Path) -> Result<Option<Hashed>> {
    let known = candidates.get(&(name.to_owned(), size)).map_or(&[][..], Vec::as_slice);
    copy::link_equal(from, known, to)
}

/// The files of a version: all but a signature, which is not part of what it signs.
fn published_files(folder: &Path) -> Result<Vec<(String, u64)>> {
    let mut files = publishable(folder)?;
    files.retain(|(name, _)| name != SIGNATURE_FILE);
    Ok(files)
}

fn entry(name: String, hashed: Hashed) -> FileEntry {
    FileEntry { name, size: hashed.size, sha256: hashed.sha256 }
}

/// Puts the files of a folder into another: as links to equal files of the store, as links to the source, or as copies.
fn fill(source: &Path, folder: &Path, candidates: &Candidates, with_source: bool) -> Result<Vec<FileEntry>> {
    let mut files = Vec::new();
    for (name, size) in publishable(source)? {
        let (from, to) = (source.join(&name), create_parents(folder, &name)?);
        if name == SIGNATURE_FILE {
            copy::copy(&from, &to)?;
            continue;
        }
        let hashed = match link(&from, &name, size, candidates, &to)? {
            Some(hashed) => hashed,
            None if with_source && fs::hard_link(&from, &to).is_ok() => copy::hash(&to)?,
            None => copy::copy(&from, &to)?,
        };
        make_read_only(&to)?;
        files.push(entry(name, hashed));
    }
    Ok(files)
}

/// Puts the files of a model into a folder, with the bytes of equal tensors once.
fn fill_once(source: &Path, folder: &Path, candidates: &Candidates) -> Result<Vec<FileEntry>> {
    let files = publishable(source)?;
    SavedModel::open(source)?.save(folder, SaveOptions::default())?;
    for (name, _) in files {
        let to = create_parents(folder, &name)?;
        // What belongs to the checkpoint was written anew.
        if !to.exists() && !name.starts_with("variables/") {
            copy::copy(&source.join(&name), &to)?;
        }
    }
    replace_by_links(folder, candidates)
}

/// Hashes the files of a folder, and replaces those that the store has by links.
fn replace_by_links(folder: &Path, candidates: &Candidates) -> Result<Vec<FileEntry>> {
    let mut files = Vec::new();
    for (name, size) in published_files(folder)? {
        let path = folder.join(&name);
        let linked = path.with_extension("linked");
        let hashed = match link(&path, &name, size, candidates, &linked)? {
            Some(hashed) => {
                fs::rename(&linked, &path).map_err(StoreError::io("write", &path))?;
                hashed
            }
            None => copy::hash(&path)?,
        };
        make_read_only(&path)?;
        let file = fs::File::open(&path).and_then(|file| file.sync_all());
        file.map_err(StoreError::io("write", &path))?;
        files.push(entry(name, hashed));
    }
    Ok(files)
}

/// Does some work with a model while another thread compares its tensors with their checksums. A damaged tensor is the
/// error, whatever the work came to.
fn while_tensors_are_checked<T>(folder: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    thread::scope(|scope| {
        let checked = scope.spawn(|| check_tensors(folder));
        let done = work();
        match checked.join() {
            Ok(checked) => checked.and(done),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Compares every tensor with its checksum: a damaged one would be as published from then on.
fn check_tensors(folder: &Path) -> Result<()> {
    let prefix = folder.join("variables/variables");
    if !prefix.with_extension("index").exists() {
        return Ok(());
    }
    Ok(CheckpointReader::open(prefix)?.check()?)
}

/// Checks that the folder is a whole SavedModel, and describes it.
fn describe(
    name: &ModelName,
    folder: &Path,
    files: Vec<FileEntry>,
    options: &PublishOptions,
    source: String,
) -> Result<Manifest> {
    let model = SavedModel::open(folder)?;
    for meta_graph in model.meta_graphs() {
        model.check(meta_graph)?;
    }
    let from = Provenance {
        by: whoami(),
        source: options.source.clone().unwrap_or(source),
        note: options.note.clone(),
        metadata: options.metadata.clone(),
    };
    Ok(Manifest::new(name, &model, files, from))
}
