//! Models, versions, aliases and tags at an MLflow server.

use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::server::{Reply, Server};
use crate::error::{Result, StoreError};
use crate::name::{Label, Selector};
use crate::remote::api::{short, wait};
use crate::remote::{RemoteError, RemoteErrorKind};

/// The tag with the SHA-256 of the manifest of a version that was pushed from a store.
pub(super) const MANIFEST_TAG: &str = "tf_persist.manifest_sha256";

/// The folder of the interface.
const API: &str = "api/2.0/mlflow";

/// A name with a value.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Tag {
    pub(super) key: String,
    #[serde(default)]
    pub(super) value: String,
}

/// A version of a registered model.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ModelVersion {
    version: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) source: String,
    #[serde(default)]
    pub(super) run_id: String,
    #[serde(default)]
    pub(super) tags: Vec<Tag>,
}

impl ModelVersion {
    /// The value of a tag.
    pub(super) fn tag(&self, key: &str) -> Option<&str> {
        self.tags.iter().find(|tag| tag.key == key).map(|tag| tag.value.as_str())
    }
}

/// A logged model: files with a state.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct LoggedModel {
    pub(super) model_id: String,
    pub(super) artifact_uri: String,
    #[serde(default)]
    status: String,
}

#[derive(Deserialize)]
struct OneVersion {
    model_version: ModelVersion,
}

#[derive(Deserialize)]
struct Versions {
    #[serde(default)]
    model_versions: Vec<ModelVersion>,
}

#[derive(Deserialize)]
struct OneModel {
    model: ModelInfo,
}

#[derive(Deserialize)]
struct Models {
    #[serde(default)]
    models: Vec<ModelInfo>,
}

#[derive(Deserialize)]
struct ModelInfo {
    info: LoggedModel,
}

impl Server {
    /// The version that the address means, with its number; without `@REF`, the newest.
    pub(super) fn version(&self) -> Result<(u64, ModelVersion)> {
        let model = self.address.model();
        let found = match self.address.selector() {
            Some(Selector::Number(number)) => {
                let number = number.to_string();
                self.read("model-versions/get", &[("name", model), ("version", &number)])?
            }
            Some(Selector::Label(label)) => {
                self.read("registered-models/alias", &[("name", model), ("alias", label.as_str())])?
            }
            Some(Selector::Latest) | None => {
                let newest = [("order_by", "version_number DESC"), ("max_results", "1")];
                self.search("", &newest)?.map(|model_version| OneVersion { model_version })
            }
        };
        let absent = || StoreError::from(RemoteError::new(&self.address, RemoteErrorKind::Absent));
        let version = found.ok_or_else(absent)?.model_version;
        Ok((self.number(&version)?, version))
    }

    /// The number of the version that was pushed with this manifest, if there is one.
    pub(super) fn version_of(&self, digest: &str) -> Result<Option<u64>> {
        let found = self.search(&format!(" AND tags.`{MANIFEST_TAG}` = '{digest}'"), &[("max_results", "1")])?;
        found.map(|version| self.number(&version)).transpose()
    }

    /// The first version of the model that fits, if there is one.
    fn search(&self, filter: &str, more: &[(&str, &str)]) -> Result<Option<ModelVersion>> {
        let filter = format!("name = '{}'{filter}", self.address.model());
        let query: Vec<_> = std::iter::once(("filter", filter.as_str())).chain(more.iter().copied()).collect();
        let found: Option<Versions> = self.read("model-versions/search", &query)?;
        Ok(found.and_then(|found| found.model_versions.into_iter().next()))
    }

    fn number(&self, version: &ModelVersion) -> Result<u64> {
        let number = &version.version;
        number.parse().map_err(|_| self.failed(format!("its version has the number `{}`", short(number))))
    }

    /// Where the files of a version are.
    pub(super) fn artifact_uri(&self, number: u64) -> Result<String> {
        #[derive(Deserialize)]
        struct Uri {
            artifact_uri: String,
        }
        let number = number.to_string();
        let query = [("name", self.address.model()), ("version", number.as_str())];
        let found: Option<Uri> = self.read("model-versions/get-download-uri", &query)?;
        let absent = || StoreError::from(RemoteError::new(&self.address, RemoteErrorKind::Absent));
        found.map(|found| found.artifact_uri).ok_or_else(absent)
    }

    /// The id of an experiment, which is created unless it exists.
    pub(super) fn experiment(&self, name: &str) -> Result<String> {
        #[derive(Deserialize)]
        struct Found {
            experiment: Experiment,
        }
        #[derive(Deserialize)]
        struct Experiment {
            experiment_id: String,
            #[serde(default)]
            lifecycle_stage: String,
        }
        #[derive(Deserialize)]
        struct Created {
            experiment_id: String,
        }
        let find = || self.read::<Found>("experiments/get-by-name", &[("experiment_name", name)]);
        let mut found = find()?;
        if found.is_none() {
            match self.change(Method::POST, &format!("{API}/experiments/create"), &json!({"name": name}), true)? {
                Reply::Done(answer) => return Ok(self.decode::<Created>(answer)?.experiment_id),
                // Another process was faster.
                Reply::Refused(refusal) if refusal.is_there_already() => found = find()?,
                Reply::Refused(refusal) => return Err(self.refused(&self.address, &refusal)),
            }
        }
        match found {
            Some(Found { experiment }) if experiment.lifecycle_stage != "deleted" => Ok(experiment.experiment_id),
            _ => Err(self.failed(format!("its experiment `{name}` was deleted: restore it, or name another"))),
        }
    }

    /// A logged model for the version of this manifest: one that an interrupted push has begun, or a new one. Also
    /// whether it was begun before.
    pub(super) fn logged_model(&self, experiment: &str, name: &str, digest: &str) -> Result<(LoggedModel, bool)> {
        let filter = format!("tags.`{MANIFEST_TAG}` = '{digest}'");
        let wanted = json!({"experiment_ids": [experiment], "filter": filter, "max_results": 50});
        let path = format!("{API}/logged-models/search");
        let found: Models = self.done(self.change(Method::POST, &path, &wanted, true)?)?;
        let is_pending = |info: &LoggedModel| info.status == "LOGGED_MODEL_PENDING";
        if let Some(begun) = found.models.into_iter().map(|it| it.info).find(is_pending) {
            return Ok((begun, true));
        }
        let wanted = json!({
            "experiment_id": experiment, "name": name, "tags": [{"key": MANIFEST_TAG, "value": digest}],
        });
        // If an answer is lost, a second one is created, and the first stays behind without files.
        let created: OneModel =
            self.done(self.change(Method::POST, &format!("{API}/logged-models"), &wanted, true)?)?;
        Ok((created.model.info, false))
    }

    /// Says that all files of a logged model are there.
    pub(super) fn finish(&self, model: &LoggedModel) -> Result<()> {
        let id = &model.model_id;
        let wanted = json!({"model_id": id, "status": "LOGGED_MODEL_READY"});
        let reply = self.change(Method::PATCH, &format!("{API}/logged-models/{id}"), &wanted, true)?;
        self.done::<Value>(reply).map(|_| ())
    }

    /// Creates the registered model unless it exists, and a version of it with this manifest. Returns the number that
    /// it was given.
    pub(super) fn register(
        &self,
        model: &LoggedModel,
        digest: &str,
        description: &str,
        tags: &[(&str, String)],
    ) -> Result<u64> {
        let name = self.address.model();
        match self.change(Method::POST, &format!("{API}/registered-models/create"), &json!({"name": name}), true)? {
            Reply::Refused(refusal) if !refusal.is_there_already() => {
                return Err(self.refused(&self.address, &refusal));
            }
            _ => {}
        }
        let tags = std::iter::once((MANIFEST_TAG, digest)).chain(tags.iter().map(|(key, value)| (*key, &**value)));
        let tags: Vec<Value> = tags.map(|(key, value)| json!({"key": key, "value": value})).collect();
        let wanted = json!({
            "name": name,
            "source": format!("models:/{}", model.model_id),
            "model_id": model.model_id,
            "description": description,
            "tags": tags,
        });
        let (path, mut tries) = (format!("{API}/model-versions/create"), 0);
        loop {
            let failed = match self.change(Method::POST, &path, &wanted, false) {
                Ok(Reply::Done(answer)) => return self.number(&self.decode::<OneVersion>(answer)?.model_version),
                Ok(Reply::Refused(refusal)) if refusal.is_final() => {
                    return Err(self.refused(&self.address, &refusal));
                }
                Ok(Reply::Refused(refusal)) => self.refused(&self.address, &refusal),
                Err(error) => error,
            };
            // It may have been done all the same, and must not be done twice.
            if let Some(number) = self.version_of(digest)? {
                return Ok(number);
            }
            if !wait(async { Ok(self.api.waits(&mut tries).await) })? {
                return Err(failed);
            }
        }
    }

    /// Where an alias points; `None` if there is none.
    pub(super) fn alias(&self, alias: &Label) -> Result<Option<u64>> {
        let query = [("name", self.address.model()), ("alias", alias.as_str())];
        let found: Option<OneVersion> = self.read("registered-models/alias", &query)?;
        found.map(|found| self.number(&found.model_version)).transpose()
    }

    /// Points an alias to a version, wherever it points meanwhile.
    pub(super) fn point(&self, alias: &Label, number: u64) -> Result<()> {
        let wanted = json!({"name": self.address.model(), "alias": alias.as_str(), "version": number.to_string()});
        let reply = self.change(Method::POST, &format!("{API}/registered-models/alias"), &wanted, true)?;
        self.done::<Value>(reply).map(|_| ())
    }

    /// Reads something; `None` if it does not exist.
    fn read<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<Option<T>> {
        match self.get(&format!("{API}/{path}"), query)? {
            Reply::Done(answer) => self.decode(answer).map(Some),
            Reply::Refused(refusal) if refusal.is_absent() => Ok(None),
            // An alias that does not exist is one that is not valid.
            Reply::Refused(refusal) if path.ends_with("/alias") && refusal.code == "INVALID_PARAMETER_VALUE" => {
                Ok(None)
            }
            Reply::Refused(refusal) => Err(self.refused(&self.address, &refusal)),
        }
    }

    fn done<T: DeserializeOwned>(&self, reply: Reply) -> Result<T> {
        match reply {
            Reply::Done(answer) => self.decode(answer),
            Reply::Refused(refusal) => Err(self.refused(&self.address, &refusal)),
        }
    }

    fn decode<T: DeserializeOwned>(&self, answer: Value) -> Result<T> {
        serde_json::from_value(answer)
            .map_err(|error| self.failed(format!("its answer is not one of MLflow: {}", short(&error.to_string()))))
    }
}
