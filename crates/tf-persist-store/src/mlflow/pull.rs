//! Pulls a version from an MLflow server.

use std::path::Path;

use serde_json::{Map, Value, json};
use tf_persist_savedmodel::scratch::Scratch;

use super::address::MlflowAddress;
use super::artifacts::{Place, VersionFiles};
use super::ml_model::{self, Contents, MAX_ML_MODEL, ML_MODEL, MODEL_FOLDER};
use super::push::MANIFEST_FILE;
use super::registry::{MANIFEST_TAG, ModelVersion};
use super::server::Server;
use crate::error::{Result, StoreError};
use crate::event::Why;
use crate::files::{create_parents, is_safe};
use crate::manifest::{self, Manifest};
use crate::name::ModelName;
use crate::publish::PublishOptions;
use crate::remote::api::short;
use crate::remote::download::save;
use crate::remote::objects::{Answer, read};
use crate::remote::parallel::in_parallel;
use crate::remote::pull::{Found, pull};
use crate::remote::{Cache, Cached, PullOptions, RemoteError, RemoteErrorKind, RemoteOptions, Transferred};
use crate::store::{Store, Version, manifests};

/// The files that make a folder a SavedModel.
const GRAPHS: [&str; 2] = ["saved_model.pb", "saved_model.pbtxt"];

/// What the names of Keras files end with, the newest format first.
const KERAS: [&str; 3] = [".keras", ".h5", ".hdf5"];

/// Why a Keras file cannot be converted.
type ConvertError = Box<dyn std::error::Error + Send + Sync>;

/// A version that was found at a server.
struct Registered<'a> {
    server: &'a Server,
    /// With the number.
    address: MlflowAddress,
    number: u64,
    version: ModelVersion,
    place: Place<'a>,
}

/// A version that was pushed from a store.
struct Pushed<'a> {
    name: ModelName,
    manifest: Manifest,
    digest: String,
    text: Vec<u8>,
    files: VersionFiles<'a>,
    address: String,
}

impl Pushed<'_> {
    fn found(&self) -> Found<'_> {
        Found {
            objects: &self.files,
            address: self.address.clone(),
            model: &self.name,
            manifest: self.manifest.clone(),
            digest: self.digest.clone(),
            text: self.text.clone(),
        }
    }
}

impl<'a> Registered<'a> {
    fn find(server: &'a Server, remote: &RemoteOptions) -> Result<Self> {
        let (number, version) = server.version()?;
        let place = Place::of(server, &server.artifact_uri(number)?, remote)?;
        Ok(Self { server, address: server.address.at(number), number, version, place })
    }

    /// The version of a store that it is; `None` if it did not come from one.
    fn pushed(&self) -> Result<Option<Pushed<'_>>> {
        let objects = self.place.objects();
        let said = self.version.tag(MANIFEST_TAG);
        let Some((text, _)) = read(objects, MANIFEST_FILE, manifest::MAX_FILE)? else {
            return match said {
                Some(_) => Err(objects.refuse(MANIFEST_FILE, RemoteErrorKind::Absent)),
                None => Ok(None),
            };
        };
        let place = objects.place(MANIFEST_FILE);
        let named: Manifest =
            serde_json::from_slice(&text).map_err(|error| StoreError::damaged(&place, error.to_string()))?;
        let name: ModelName = named.model.parse()?;
        let (manifest, digest) = Manifest::decode(&text, Path::new(&place), &name, named.version)?;
        if said.is_some_and(|said| said != digest) {
            return Err(objects.refuse(MANIFEST_FILE, RemoteErrorKind::WrongContents));
        }
        let folder = format!("{name}/{}/", manifest.version);
        let files = VersionFiles { objects, folder, there: MODEL_FOLDER };
        Ok(Some(Pushed { name, manifest, digest, text, files, address: self.address.to_string() }))
    }

    /// What a store notes of a version that MLflow logged.
    fn metadata(&self) -> Map<String, Value> {
        let mut about = json!({"model": self.address.model(), "version": self.number, "source": self.version.source});
        if let (false, Value::Object(about)) = (self.version.run_id.is_empty(), &mut about) {
            about.insert("run_id".into(), self.version.run_id.as_str().into());
        }
        Map::from_iter([("mlflow".to_owned(), about)])
    }

    /// Brings a file.
    fn save(&self, key: &str, size: u64, path: &Path, remote: &RemoteOptions) -> Result<()> {
        let objects = self.place.objects();
        let get = |range| match objects.get(key, range, None)? {
            Answer::Found(body) => Ok(body),
            Answer::Absent | Answer::Unchanged => Err(objects.refuse(key, RemoteErrorKind::Absent)),
        };
        save(get, |kind| objects.refuse(key, kind), size, path, remote.retries)?;
        remote.progress.advance(size);
        Ok(())
    }
}

/// The same address by the number that its alias has now, so that it means the same from then on.
///
/// # Errors
/// If there is nothing, or the server cannot be reached or refuses.
pub fn resolve(address: &MlflowAddress, remote: &RemoteOptions) -> Result<MlflowAddress> {
    Ok(address.at(Server::new(address, remote)?.version()?.0))
}

/// A version at an MLflow server as a folder of the cache.
///
/// # Errors
/// As [`Store::pull_mlflow`], and if it was not pushed from a store.
pub fn cached(cache: &Cache, from: &MlflowAddress, remote: &RemoteOptions) -> Result<Cached> {
    let server = Server::new(from, remote)?;
    let registered = Registered::find(&server, remote)?;
    match registered.pushed()? {
        Some(pushed) => cache.get_found(&pushed.found(), remote),
        None => Err(server.failed("it did not come from a store: pull it into one")),
    }
}

impl Store {
    /// Pulls a version from an MLflow server. One that was pushed from a store keeps its model, its number and its
    /// identity. A SavedModel or Keras file that MLflow logged becomes the next version of `model`, by default the one
    /// of the same name; `convert` writes the SavedModel of a Keras file into a folder.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses, what is there is not a model of TensorFlow or Keras, its files are
    /// not those of the manifest, the number belongs to another version, or something cannot be converted or written.
    pub fn pull_mlflow(
        &self,
        from: &MlflowAddress,
        model: Option<&ModelName>,
        options: &PullOptions,
        remote: &RemoteOptions,
        convert: impl FnOnce(&Path, &Path) -> Result<(), ConvertError>,
    ) -> Result<Transferred> {
        let server = Server::new(from, remote)?;
        let registered = Registered::find(&server, remote)?;
        let Some(pushed) = registered.pushed()? else {
            return self.pull_logged(&registered, model, options, remote, convert);
        };
        if let Some(model) = model.filter(|model| **model != pushed.name) {
            let (name, number) = (&pushed.name, pushed.manifest.version);
            return Err(
                server.failed(format!("it is version {number} of `{name}`, which keeps its name: leave `{model}` out"))
            );
        }
        pull(&pushed.found(), self, options, remote)
    }

    /// Pulls a version that MLflow logged, and publishes it.
    fn pull_logged(
        &self,
        registered: &Registered<'_>,
        model: Option<&ModelName>,
        options: &PullOptions,
        remote: &RemoteOptions,
        convert: impl FnOnce(&Path, &Path) -> Result<(), ConvertError>,
    ) -> Result<Transferred> {
        let (server, address) = (registered.server, registered.address.to_string());
        let model = model.map_or_else(|| server.address.model().parse(), |model| Ok(model.clone()))?;
        if options.trusted.is_some() {
            return Err(StoreError::NotSigned { path: address.into() });
        }
        if let Some(version) = self.pulled_before(&model, registered)? {
            for label in &options.labels {
                self.label(&version, label, Why::Label)?;
            }
            return Ok(Transferred::WasThere(version));
        }
        let (kind, files) = files(registered)?;
        let scratch = Scratch::beside(&std::env::temp_dir().join("tf-persist-pull"));
        let scratch = scratch.map_err(StoreError::io("create a folder in", std::env::temp_dir()))?;
        remote.progress.start(files.iter().fold(0, |sum, (_, size)| sum.saturating_add(*size)));
        in_parallel(files, remote.parallel, |(key, size)| {
            let name = key.strip_prefix(kind.folder()).unwrap_or(&key);
            registered.save(&key, size, &create_parents(scratch.path(), name)?, remote)
        })?;
        let publish = PublishOptions::default().source(address).metadata(registered.metadata());
        let publish = options.labels.iter().cloned().fold(publish, PublishOptions::label);
        let publish = match registered.version.description.as_str() {
            "" => publish,
            note => publish.note(note),
        };
        match &kind {
            Kind::SavedModel { .. } => self.publish(&model, scratch.path(), publish),
            Kind::Keras { folder, file } => {
                let path = scratch.path().join(file.strip_prefix(folder).unwrap_or(file));
                self.publish_with(&model, publish, |folder| convert(&path, folder), |_| Ok(()))
            }
        }
        .map(Transferred::Done)
    }

    /// The version that an earlier pull of the same has published.
    fn pulled_before(&self, model: &ModelName, registered: &Registered<'_>) -> Result<Option<Version>> {
        if !self.models()?.contains(model) {
            return Ok(None);
        }
        let (layout, source) = (self.model_layout(model)?, registered.address.to_string());
        let wanted = registered.metadata();
        for number in manifests(&layout)?.into_iter().rev() {
            let Some((manifest, digest)) = Manifest::read(&layout, model, number)? else { continue };
            if manifest.source == source && manifest.metadata == wanted {
                return Ok(Some(Version::new(model.clone(), layout.version(number), manifest, digest)));
            }
        }
        Ok(None)
    }
}

/// What a model that MLflow logged consists of.
enum Kind {
    /// A folder, with `/` at the end.
    SavedModel { folder: String },
    /// A file in a folder.
    Keras { folder: String, file: String },
}

impl Kind {
    fn folder(&self) -> &str {
        let (Self::SavedModel { folder } | Self::Keras { folder, .. }) = self;
        folder
    }
}

/// The files of a model that MLflow logged, with their sizes.
fn files(registered: &Registered<'_>) -> Result<(Kind, Vec<(String, u64)>)> {
    let (server, objects) = (registered.server, registered.place.objects());
    let Some((text, _)) = read(objects, ML_MODEL, MAX_ML_MODEL)? else {
        return Err(RemoteError::new(objects.place(ML_MODEL), RemoteErrorKind::Absent).into());
    };
    let Contents { folder } = ml_model::read(&text).map_err(|reason| server.failed(reason))?;
    let listed = objects.list(&folder)?.into_iter();
    let mut there: Vec<(String, u64)> = listed.map(|object| (object.key, object.size)).collect();
    if let Some((name, _)) = there.iter().find(|(name, _)| !is_safe(name)) {
        return Err(server.failed(format!("it has a file `{}`, which leads elsewhere", short(name))));
    }
    there.sort_by_key(|(name, _)| (name.len(), name.clone()));
    let is_graph = |(name, _): &&(String, u64)| GRAPHS.contains(&name.rsplit('/').next().unwrap_or_default());
    if let Some((graph, _)) = there.iter().find(is_graph) {
        let folder = graph.rsplit_once('/').map_or("", |(folder, _)| &graph[..=folder.len()]).to_owned();
        there.retain(|(name, _)| name.starts_with(&folder));
        return Ok((Kind::SavedModel { folder }, there));
    }
    let keras = KERAS.iter().find_map(|end| there.iter().find(|(name, _)| name.ends_with(end)).cloned());
    let Some((file, size)) = keras else {
        return Err(server.failed(format!("its folder `{folder}` has neither a SavedModel nor a Keras file")));
    };
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| &file[..=folder.len()]).to_owned();
    Ok((Kind::Keras { folder, file: file.clone() }, vec![(file, size)]))
}
