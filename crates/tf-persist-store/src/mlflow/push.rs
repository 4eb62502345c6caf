//! Pushes a version to an MLflow server.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::Value;
use tf_persist_savedmodel::SavedModel;
use tf_persist_savedmodel::saved_model::Fingerprint;

use super::address::MlflowAddress;
use super::artifacts::Place;
use super::ml_model::{self, ML_MODEL, MODEL_FOLDER, PYTHON_ENV, REQUIREMENTS, Written};
use super::registry::LoggedModel;
use super::server::Server;
use crate::durable;
use crate::error::{Result, StoreError};
use crate::manifest::MAX_FILE;
use crate::name::Label;
use crate::remote::parallel::in_parallel;
use crate::remote::push::push_signature;
use crate::remote::{RemoteError, RemoteErrorKind, RemoteOptions};
use crate::store::{Store, Version};

/// The file with the manifest of the version.
pub(super) const MANIFEST_FILE: &str = "tf-persist.json";

/// The signature of the version, if it has one.
pub(super) const SIGNATURE_KEY: &str = "model/model.sig";

/// The most bytes of a tag. MLflow takes 100,000 characters, but a text in MySQL has at most 65,535 bytes.
const MAX_TAG: usize = 50_000;

/// The most characters of a description. MLflow's databases have no room for more.
const MAX_DESCRIPTION: usize = 5000;

/// How a version is pushed to an MLflow server.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct MlflowOptions {
    experiment: Option<String>,
    aliases: Vec<Label>,
    replace_signature: bool,
}

impl MlflowOptions {
    /// The experiment that the model is logged in, by default one of the name of the model. It is created unless it
    /// exists.
    pub fn experiment(mut self, name: impl Into<String>) -> Self {
        self.experiment = Some(name.into());
        self
    }

    /// Points an alias to the version, wherever it points meanwhile.
    pub fn alias(mut self, alias: Label) -> Self {
        self.aliases.push(alias);
        self
    }

    /// Replaces the signature of a version that is there with another one.
    pub fn replace_signature(mut self, replace: bool) -> Self {
        self.replace_signature = replace;
        self
    }
}

/// What was pushed to an MLflow server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MlflowPushed {
    /// The number that MLflow gave.
    pub number: u64,
    /// Whether the version was there already.
    pub was_there: bool,
    /// The aliases that were moved, and where they pointed. Somebody else may have moved them at the same time: MLflow
    /// has no precondition for that.
    pub moved: Vec<(Label, Option<u64>)>,
}

impl Store {
    /// Pushes a version to an MLflow server, as the next version of the registered model of the address. A version that
    /// was pushed there before is found by its manifest, and only its signature and the aliases are brought up to date.
    ///
    /// # Errors
    /// If the address names a version, the files are not what was published, the server cannot be reached or refuses,
    /// or a file cannot be read.
    pub fn push_mlflow(
        &self,
        version: &Version,
        to: &MlflowAddress,
        options: &MlflowOptions,
        remote: &RemoteOptions,
    ) -> Result<MlflowPushed> {
        if to.selector().is_some() {
            let reason = "MLflow gives the number, so that the address ends with the name of the model".to_owned();
            return Err(RemoteError::new(to, RemoteErrorKind::InvalidAddress { reason }).into());
        }
        let server = Server::new(to, remote)?;
        let there = server.version_of(version.digest())?;
        let number = match there {
            Some(number) => {
                let uri = server.artifact_uri(number)?;
                // It may have been signed since.
                let place = Place::of(&server, &uri, remote)?;
                push_signature(place.objects(), SIGNATURE_KEY, version, options.replace_signature)?;
                number
            }
            None => self.push_new(version, &server, (options, remote))?,
        };
        let mut moved = Vec::new();
        for alias in &options.aliases {
            let before = server.alias(alias)?;
            if before != Some(number) {
                server.point(alias, number)?;
                moved.push((alias.clone(), before));
            }
        }
        Ok(MlflowPushed { number, was_there: there.is_some(), moved })
    }

    fn push_new(
        &self,
        version: &Version,
        server: &Server,
        (options, remote): (&MlflowOptions, &RemoteOptions),
    ) -> Result<u64> {
        // MLflow would keep what is damaged for good.
        let faults = self.verify(version)?;
        if !faults.is_empty() {
            return Err(StoreError::Changed { model: version.model().clone(), version: version.number(), faults });
        }
        let path = self.manifest_path(version.model(), version.number());
        let text = durable::read(&path, MAX_FILE)?.ok_or_else(|| StoreError::damaged(&path, "it is gone"))?;
        let name = server.address.model();
        let experiment = server.experiment(options.experiment.as_deref().unwrap_or(name))?;
        let (logged, is_begun) = server.logged_model(&experiment, name, version.digest())?;
        let place = Place::of(server, &logged.artifact_uri, remote)?;
        // What an interrupted push has sent whole.
        let known = if is_begun { place.objects().list("")? } else { Vec::new() };
        let known: HashMap<String, u64> = known.into_iter().map(|object| (object.key, object.size)).collect();
        let manifest = version.manifest();
        remote.progress.start(manifest.bytes());
        in_parallel(&manifest.files, remote.parallel, |file| {
            let key = format!("{MODEL_FOLDER}{}", file.name);
            if known.get(&key) == Some(&file.size) {
                remote.progress.advance(file.size);
                return Ok(());
            }
            place.upload(&key, &version.path().join(&file.name), file.size, &remote.progress)
        })?;
        // One that is there is of an interrupted push.
        push_signature(place.objects(), SIGNATURE_KEY, version, true)?;
        for (name, text) in described(version, &logged, text)? {
            place.objects().put(name, text)?;
        }
        server.finish(&logged)?;
        let description: String = manifest.note.iter().flat_map(|note| note.chars()).take(MAX_DESCRIPTION).collect();
        server.register(&logged, version.digest(), &description, &tags(version))
    }
}

/// The files beside the model.
fn described(version: &Version, logged: &LoggedModel, manifest: Vec<u8>) -> Result<[(&'static str, Bytes); 4]> {
    let model = SavedModel::open(version.path())?;
    let written = Written {
        model: &model,
        manifest: version.manifest(),
        digest: version.digest(),
        id: &logged.model_id,
        artifact_uri: &logged.artifact_uri,
    };
    Ok([
        (MANIFEST_FILE, manifest.into()),
        (REQUIREMENTS, ml_model::requirements(version.manifest()).into()),
        (PYTHON_ENV, ml_model::python_env().into()),
        (ML_MODEL, written.text().into()),
    ])
}

/// What MLflow's page of the version shows.
fn tags(version: &Version) -> Vec<(&'static str, String)> {
    let manifest = version.manifest();
    let mut tags =
        vec![("tf_persist.model", manifest.model.clone()), ("tf_persist.version", manifest.version.to_string())];
    let model = SavedModel::open(version.path()).ok();
    if let Some(fingerprint) = model.and_then(|model| model.fingerprint().ok().flatten()) {
        tags.push(("tf_persist.fingerprint", singleprint(&fingerprint)));
    }
    tags.extend(manifest.note.clone().map(|note| ("tf_persist.note", note)));
    if !manifest.metadata.is_empty() {
        tags.push(("tf_persist.metadata", Value::from(manifest.metadata.clone()).to_string()));
    }
    // The manifest has all of it.
    tags.retain(|(_, value)| value.len() <= MAX_TAG);
    tags
}

/// A fingerprint as TensorFlow's `Fingerprint.singleprint()` writes it.
fn singleprint(fingerprint: &Fingerprint) -> String {
    let Fingerprint { graph_def_program_hash, signature_def_hash, saved_object_graph_hash, checkpoint_hash, .. } =
        fingerprint;
    format!("{graph_def_program_hash}/{signature_def_hash}/{saved_object_graph_hash}/{checkpoint_hash}")
}
