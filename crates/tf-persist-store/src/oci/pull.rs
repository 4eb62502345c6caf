//! Pulls a version from a registry.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use tf_persist_savedmodel::scratch::Scratch;

use super::address::OciAddress;
use super::manifest::{Descriptor, OciIndex, OciManifest, VERSION};
use super::objects::{Layers, save};
use super::registry::{Access, Registry};
use crate::error::{Result, StoreError};
use crate::files::{create_parents, is_safe};
use crate::manifest::Manifest;
use crate::name::ModelName;
use crate::publish::PublishOptions;
use crate::remote::api::wait;
use crate::remote::pull::{Found, pull};
use crate::remote::{Cache, Cached, PullOptions, RemoteError, RemoteErrorKind, RemoteOptions, Transferred};
use crate::signing::SIGNATURE_FILE;
use crate::store::Store;

/// The file without which a ModelPack is not a SavedModel.
const GRAPHS: [&str; 2] = ["saved_model.pb", "saved_model.pbtxt"];

/// A version of another store in a registry.
struct Described<'a> {
    name: ModelName,
    manifest: Manifest,
    digest: String,
    objects: Layers<'a>,
}

impl<'a> Described<'a> {
    /// Checks that the layers are the files of the version's manifest.
    fn new(registry: &'a Registry, text: &str, layers: HashMap<String, Descriptor>, from: &OciAddress) -> Result<Self> {
        let damaged = |reason: String| StoreError::damaged(from.to_string(), reason);
        let named: Manifest = serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
        let name: ModelName = named.model.parse()?;
        let place = from.to_string();
        let (manifest, digest) = Manifest::decode(text.as_bytes(), Path::new(&place), &name, named.version)?;
        for file in &manifest.files {
            let is_there = |layer: &Descriptor| layer.sha256() == Some(&file.sha256) && layer.size == file.size;
            if !layers.get(&file.name).is_some_and(is_there) {
                return Err(damaged(format!("its layers and the version's manifest differ in `{}`", file.name)));
            }
        }
        let is_extra =
            |name: &&String| *name != SIGNATURE_FILE && manifest.files.iter().all(|file| file.name != **name);
        if let Some(extra) = layers.keys().find(is_extra) {
            return Err(damaged(format!("its layer `{extra}` is not in the version's manifest")));
        }
        let folder = format!("{name}/{}/", manifest.version);
        Ok(Self { objects: Layers { registry, folder, by_name: layers }, name, manifest, digest })
    }

    fn found(&self, text: &str, from: &OciAddress) -> Found<'_> {
        Found {
            objects: &self.objects,
            address: from.to_string(),
            model: &self.name,
            manifest: self.manifest.clone(),
            digest: self.digest.clone(),
            text: text.as_bytes().to_vec(),
        }
    }
}

/// What an address points to.
struct Artifact {
    manifest: OciManifest,
    layers: HashMap<String, Descriptor>,
    /// The same by its digest, wherever the tag points meanwhile.
    address: OciAddress,
}

impl Artifact {
    fn get(registry: &Registry, from: &OciAddress) -> Result<Self> {
        let absent = || StoreError::from(RemoteError::new(from, RemoteErrorKind::Absent));
        let (bytes, digest) = wait(registry.manifest(from))?.ok_or_else(absent)?;
        if serde_json::from_slice::<OciIndex>(&bytes).is_ok() {
            return Err(registry.failed("it is an image for several platforms, and not a model".to_owned()));
        }
        let manifest: OciManifest = serde_json::from_slice(&bytes)
            .map_err(|_| registry.failed("its manifest has no config and layers".to_owned()))?;
        let layers = files(registry, &manifest)?;
        Ok(Self { manifest, layers, address: from.at(&digest) })
    }
}

/// The same address by the digest that its tag has now, so that it means the same from then on.
///
/// # Errors
/// If there is nothing, or the registry cannot be reached or refuses.
pub fn resolve(address: &OciAddress, remote: &RemoteOptions) -> Result<OciAddress> {
    let registry = Registry::new(address, Access::Pull, remote)?;
    Ok(Artifact::get(&registry, address)?.address)
}

/// A version in a registry as a folder of the cache.
///
/// # Errors
/// As [`Store::pull_oci`], and if it was not pushed from a store.
pub fn cached(cache: &Cache, from: &OciAddress, remote: &RemoteOptions) -> Result<Cached> {
    let registry = Registry::new(from, Access::Pull, remote)?;
    let artifact = Artifact::get(&registry, from)?;
    let Some(text) = artifact.manifest.annotations.get(VERSION) else {
        return Err(registry.failed("it did not come from a store: pull it into one".to_owned()));
    };
    let version = Described::new(&registry, text, artifact.layers, &artifact.address)?;
    cache.get_found(&version.found(text, &artifact.address), remote)
}

impl Store {
    /// Pulls a version from a registry. One that was pushed from a store keeps its model, its number and its identity.
    /// Another ModelPack or artifact of ORAS with a SavedModel becomes the next version of `model`.
    ///
    /// # Errors
    /// If the registry cannot be reached or refuses, what is there is not a SavedModel, its files are not those of its
    /// digests, the number belongs to another version, or something cannot be written.
    pub fn pull_oci(
        &self,
        from: &OciAddress,
        model: Option<&ModelName>,
        options: &PullOptions,
        remote: &RemoteOptions,
    ) -> Result<Transferred> {
        let registry = Registry::new(from, Access::Pull, remote)?;
        let Artifact { manifest, layers, address } = Artifact::get(&registry, from)?;
        let Some(text) = manifest.annotations.get(VERSION) else {
            return self.pull_files(&registry, &layers, &address, model, options);
        };
        let version = Described::new(&registry, text, layers, &address)?;
        if let Some(model) = model.filter(|model| **model != version.name) {
            let (name, number) = (&version.name, version.manifest.version);
            return Err(registry
                .failed(format!("it is version {number} of `{name}`, which keeps its name: leave `{model}` out")));
        }
        pull(&version.found(text, &address), self, options, remote)
    }

    /// Pulls files that did not come from a store, and publishes them as a version.
    fn pull_files(
        &self,
        registry: &Registry,
        layers: &HashMap<String, Descriptor>,
        from: &OciAddress,
        model: Option<&ModelName>,
        options: &PullOptions,
    ) -> Result<Transferred> {
        let Some(model) = model else {
            return Err(registry.failed("it did not come from a store, so that its model has no name here".to_owned()));
        };
        if options.trusted.is_some() {
            return Err(StoreError::NotSigned { path: from.to_string().into() });
        }
        // Some tools pack the folder of the model, too.
        let is_graph = |name: &&String| GRAPHS.contains(&name.rsplit('/').next().unwrap_or_default());
        let mut graphs: Vec<&String> = layers.keys().filter(is_graph).collect();
        graphs.sort_by_key(|name| (name.len(), (*name).clone()));
        let Some(graph) = graphs.first() else {
            return Err(registry.failed("it has no `saved_model.pb`, so it is not a SavedModel".to_owned()));
        };
        let prefix = graph.rsplit_once('/').map_or("", |(folder, _)| &graph[..=folder.len()]);
        let scratch = Scratch::beside(&std::env::temp_dir().join("tf-persist-pull"));
        let scratch = scratch.map_err(StoreError::io("create a folder in", std::env::temp_dir()))?;
        for (name, layer) in layers {
            if let Some(name) = name.strip_prefix(prefix) {
                save(registry, layer, &create_parents(scratch.path(), name)?)?;
            }
        }
        let publish = PublishOptions::default().source(from.to_string());
        let publish = options.labels.iter().cloned().fold(publish, PublishOptions::label);
        self.publish(model, scratch.path(), publish).map(Transferred::Done)
    }
}

/// The layers by the names of their files.
fn files(registry: &Registry, manifest: &OciManifest) -> Result<HashMap<String, Descriptor>> {
    let (mut files, mut folded) = (HashMap::new(), HashSet::new());
    for layer in &manifest.layers {
        let Some(name) = layer.file() else {
            let is_image = manifest.config.media_type.contains(".image.");
            return Err(registry.failed(match is_image {
                true => "it is an image (a modelcar), and a model is pulled as a ModelPack".to_owned(),
                false => format!("its layer {} has no name", layer.digest),
            }));
        };
        if layer.media_type.contains("tar") {
            return Err(registry.failed(format!("its layer `{name}` is an archive, and only files are pulled")));
        }
        if !is_safe(name) {
            return Err(registry.failed(format!("the name `{name}` of a layer leads out of the model's folder")));
        }
        if layer.sha256().is_none() {
            return Err(registry.failed(format!("its layer `{name}` has no SHA-256")));
        }
        if !folded.insert(name.to_lowercase()) {
            return Err(
                registry.failed(format!("its layer `{name}` is there twice, or differs from another in case only"))
            );
        }
        files.insert(name.to_owned(), layer.clone());
    }
    Ok(files)
}
