//! A remote store and its operations.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::address::{Kind, RemoteAddress};
use super::cache;
use super::client::RemoteOptions;
use super::cloud::Cloud;
use super::error::RemoteErrorKind;
use super::folder;
use super::guard;
use super::model::{RemoteModel, number};
use super::objects::{Objects, read};
use super::pull::{self, Found, PullOptions, Transferred};
use super::push::{self, PushOptions};
use crate::error::{Result, StoreError};
use crate::event::{Event, Why, whoami};
use crate::labels;
use crate::layout::STORE_FILE;
use crate::manifest::{FileEntry, Manifest};
use crate::name::{Label, ModelName, Reference, Selector};
use crate::store::{Folder, MAX_STORE_FILE, ModelOverview, Store, Version};
use crate::verify::Fault;

/// A store elsewhere.
#[derive(Debug, Clone)]
pub struct Remote {
    pub(crate) address: RemoteAddress,
    pub(crate) objects: Arc<dyn Objects>,
    pub(crate) options: RemoteOptions,
}

impl Remote {
    /// Sets up the client. Nothing is sent: whether the store is there shows when it is used. Credentials come from the
    /// environment, by the names that the tools of each service use.
    ///
    /// # Errors
    /// If the settings cannot be used.
    pub fn open(address: &RemoteAddress, options: RemoteOptions) -> Result<Self> {
        let objects: Arc<dyn Objects> = match &address.kind {
            Kind::Folder(path) => Arc::new(folder::Folder { path: path.clone() }),
            _ => Arc::new(Cloud::open(address, &options)?),
        };
        Ok(Self { address: address.clone(), objects, options })
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &RemoteAddress {
        &self.address
    }

    /// The store, if it is a folder.
    pub(crate) fn folder(&self) -> Option<Result<Store>> {
        self.address.folder().map(Store::open)
    }

    pub(crate) fn model<'a>(&'a self, name: &'a ModelName) -> RemoteModel<'a> {
        RemoteModel { objects: self.objects.as_ref(), name }
    }

    /// Checks that there is a store.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn check(&self) -> Result<()> {
        if let Some(store) = self.folder() {
            return store.map(drop);
        }
        match read(self.objects.as_ref(), STORE_FILE, MAX_STORE_FILE)? {
            Some(_) => Ok(()),
            None => Err(self.not_a_store(self.objects.store_nearby())),
        }
    }

    fn not_a_store(&self, instead: Option<String>) -> StoreError {
        StoreError::NotAStore { path: self.objects.place("").into(), instead: instead.map(PathBuf::from) }
    }

    /// The models, sorted.
    ///
    /// # Errors
    /// If the store cannot be read, or not be listed, as over HTTP.
    pub fn models(&self) -> Result<Vec<ModelName>> {
        if let Some(store) = self.folder() {
            return store?.models();
        }
        let names = self.objects.folders()?;
        if read(self.objects.as_ref(), STORE_FILE, MAX_STORE_FILE)?.is_none() {
            let instead = self.objects.store_nearby();
            // A bucket that does not keep preconditions may lack the file.
            if names.is_empty() || instead.is_some() {
                return Err(self.not_a_store(instead));
            }
        }
        let mut models: Vec<ModelName> = names.iter().filter_map(|name| name.parse().ok()).collect();
        models.sort();
        Ok(models)
    }

    /// The versions and labels of a model.
    ///
    /// # Errors
    /// If there is no such model, or it cannot be read.
    pub fn overview(&self, model: &ModelName) -> Result<ModelOverview> {
        if let Some(store) = self.folder() {
            return store?.overview(model);
        }
        let labels = self.model(model).known_labels()?;
        Ok(ModelOverview {
            name: model.clone(),
            folders: labels.versions.into_iter().flatten().map(Folder::Published).collect(),
            labels: labels.labels.into_iter().collect(),
            changes: labels.counter,
        })
    }

    /// Finds a version, once. Its path is its address.
    ///
    /// # Errors
    /// If there is no such version, or its manifest is damaged.
    pub fn find(&self, reference: &Reference) -> Result<Version> {
        let found = self.found(reference)?;
        let path = PathBuf::from(self.objects.place(&found.base()));
        Ok(Version::new(reference.model.clone(), path, found.manifest, found.digest))
    }

    pub(crate) fn found<'a>(&'a self, reference: &'a Reference) -> Result<Found<'a>> {
        let Reference { model, selector } = reference;
        let (manifest, digest, text) = match self.folder() {
            Some(store) => {
                let version = store?.find(reference)?;
                let found = self.model(model).manifest(version.number())?;
                found.ok_or_else(|| StoreError::NoVersions { model: model.clone() })?
            }
            None => self.model(model).find(selector)?,
        };
        let address = self.address.to_string();
        Ok(Found { objects: self.objects.as_ref(), address, model, manifest, digest, text })
    }

    /// All events of a model, the oldest first.
    ///
    /// # Errors
    /// If there is no such model, or its log is damaged.
    pub fn log(&self, model: &ModelName) -> Result<Vec<Event>> {
        if let Some(store) = self.folder() {
            return store?.log(model);
        }
        let model = self.model(model);
        model.log(&model.known_labels()?)
    }

    /// The moves of a label, the oldest first.
    ///
    /// # Errors
    /// If there was never such a label, and as [`Remote::log`].
    pub fn label_log(&self, model: &ModelName, label: &Label) -> Result<Vec<Event>> {
        labels::moves(self.log(model)?, model, label)
    }

    /// The version that a label pointed to at a time; `None` if it pointed to none.
    ///
    /// # Errors
    /// As [`Remote::label_log`].
    pub fn label_at(&self, model: &ModelName, label: &Label, time: Timestamp) -> Result<Option<u64>> {
        Ok(labels::pointed_at(&self.label_log(model, label)?, time))
    }

    /// Refuses a store that can only be read, such as one on a web server.
    ///
    /// # Errors
    /// [`RemoteErrorKind::ReadOnly`].
    pub fn check_not_read_only(&self) -> Result<()> {
        match self.address.folder().is_some() || self.objects.is_writable() {
            true => Ok(()),
            false => Err(self.objects.refuse("", RemoteErrorKind::ReadOnly)),
        }
    }

    /// Refuses a bucket in which two writers at the same time would not notice each other, unless the options allow it.
    pub(crate) fn check_writable(&self) -> Result<()> {
        self.check_not_read_only()?;
        if self.options.unguarded {
            return Ok(());
        }
        guard::check(self.objects.as_ref(), cache::folder())
    }

    /// Points a label to a version. Returns where it pointed.
    ///
    /// # Errors
    /// If the version is not there, or the store cannot be written.
    pub fn label(&self, reference: &Reference, label: &Label, why: Why) -> Result<(u64, Option<u64>)> {
        if let Some(store) = self.folder() {
            let store = store?;
            let version = store.resolve(reference)?;
            return Ok((version.number(), store.label(&version, label, why)?));
        }
        self.check_writable()?;
        let model = self.model(&reference.model);
        // The version that is meant is found once, whatever happens to labels meanwhile.
        let to = number(model.name, &model.known_labels()?, &reference.selector)?;
        model.change(|labels| {
            model.version(labels, to)?;
            Ok((to, labels.point(label, Some(to), &whoami(), why)))
        })
    }

    /// Takes a label away. Returns where it pointed.
    ///
    /// # Errors
    /// If the model has no such label, or the store cannot be written.
    pub fn unlabel(&self, name: &ModelName, label: &Label) -> Result<u64> {
        if let Some(store) = self.folder() {
            return store?.unlabel(name, label);
        }
        self.check_writable()?;
        let model = self.model(name);
        model.known_labels()?;
        model.change(|labels| {
            let from = labels.get(name, label)?;
            labels.point(label, None, &whoami(), Why::Label);
            Ok(from)
        })
    }

    /// Points a label back to the version before, or to a given one. Without a label, the model's only one is moved.
    /// Returns the label, where it pointed, and where it points.
    ///
    /// # Errors
    /// If it is not clear which label is meant, or there is no such version.
    pub fn rollback(
        &self,
        name: &ModelName,
        label: Option<&Label>,
        to: Option<&Selector>,
    ) -> Result<(Label, u64, u64)> {
        if let Some(store) = self.folder() {
            return store?.rollback(name, label, to);
        }
        self.check_writable()?;
        let model = self.model(name);
        model.known_labels()?;
        model.change(|known| {
            let label = labels::chosen(name, label, &known.labels)?;
            let from = known.get(name, &label)?;
            let to = match to {
                Some(selector) => number(name, known, selector)?,
                None => {
                    let is_there = |version| known.versions.as_ref().is_some_and(|all| all.contains(&version));
                    labels::before(&model.log(known)?, name, &label, from, is_there)?
                }
            };
            model.version(known, to)?;
            known.point(&label, Some(to), &whoami(), Why::Rollback);
            Ok((label, from, to))
        })
    }

    /// The files of a version that are not there, or have another size. Their bytes are compared when it is pulled.
    ///
    /// # Errors
    /// If the store cannot be listed.
    pub fn verify_names(&self, version: &Version) -> Result<Vec<Fault>> {
        if let Some(store) = self.folder() {
            let selector = Selector::Number(version.number());
            let store = store?;
            return store.verify(&store.find(&Reference { model: version.model().clone(), selector })?);
        }
        let base = self.model(version.model()).file_key(version.number(), "");
        let found = self.objects.list(&base)?.into_iter();
        let found: std::collections::HashMap<String, u64> = found.map(|object| (object.key, object.size)).collect();
        let fault = |file: &FileEntry| match found.get(&format!("{base}{}", file.name)) {
            None => Some(Fault::Missing(file.name.clone())),
            Some(size) if *size == file.size => None,
            Some(size) => Some(Fault::Size { name: file.name.clone(), published: file.size, found: *size }),
        };
        let manifest: &Manifest = version.manifest();
        Ok(manifest.files.iter().filter_map(fault).collect())
    }

    /// Pulls a version into a store of this machine, under the number that it has. A pull that was interrupted is gone
    /// on with, by whatever process.
    ///
    /// # Errors
    /// If there is no such version, the store has another one of its number, a file is not what the manifest says, or a
    /// signature is required and missing. Then nothing has changed.
    pub fn pull(&self, reference: &Reference, store: &Store, options: &PullOptions) -> Result<Transferred> {
        pull::pull(&self.found(reference)?, store, options, &self.options)
    }

    /// Pushes a version of a store of this machine, under the number that it has. A push that was interrupted is gone
    /// on with, by whatever process of this machine. A folder that does not exist or is empty becomes a store.
    ///
    /// # Errors
    /// If the remote store has another version of its number or another signature of this one, somebody else is pushing
    /// one, the files are not what was published, or the store cannot be written.
    pub fn push(&self, store: &Store, version: &Version, options: &PushOptions) -> Result<Transferred> {
        if let Some(folder) = self.address.folder() {
            // A folder has locks: the version is pulled into it.
            let target = Store::init(folder)?;
            let source = Self::open(&store.path().to_path_buf().into(), self.options.clone())?;
            let selector = Selector::Number(version.number());
            let reference = Reference { model: version.model().clone(), selector };
            return source.pull(&reference, &target, &options.as_pull());
        }
        self.check_writable()?;
        push::push(self.model(version.model()), store, version, options, &self.options)
    }
}
