//! Triton's model repository: which models there are, and looking for new versions. Which models are served is decided
//! by the server's configuration, not by clients.

use std::time::Duration;

use tf_persist_core::Code;
use tokio::time::{Instant, timeout_at};

use crate::models::{ModelStatus, Models, State, Version, VersionStatus};
use crate::status::Status;

/// How long [`load`] waits for the versions of a model.
const LOAD_WAIT: Duration = Duration::from_secs(60);

/// A version of a model, or a model without versions.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) name: String,
    /// Its number; empty for a model without versions.
    pub(crate) version: String,
    /// `READY`, `LOADING`, `UNLOADING` or `UNAVAILABLE`.
    pub(crate) state: &'static str,
    /// Why it is not available; may be empty.
    pub(crate) reason: String,
}

/// All versions of all models, or only those that are available.
pub(crate) fn index(models: &Models, only_ready: bool) -> Vec<IndexEntry> {
    let entries = models.list().into_iter().flat_map(entries);
    entries.filter(|entry| !only_ready || entry.state == "READY").collect()
}

fn entries(model: ModelStatus) -> Vec<IndexEntry> {
    if model.versions.is_empty() {
        let reason = model.problem.unwrap_or_else(|| "no version was found".to_owned());
        return vec![IndexEntry { name: model.name, version: String::new(), state: "UNAVAILABLE", reason }];
    }
    let entry = |found: VersionStatus| IndexEntry {
        name: model.name.clone(),
        version: found.version.to_string(),
        state: match found.state {
            State::Start | State::Loading => "LOADING",
            // A request loads an unloaded one.
            State::Available | State::Unloaded => "READY",
            State::Unloading => "UNLOADING",
            State::End => "UNAVAILABLE",
        },
        reason: found.error.map(|error| error.message).unwrap_or_default(),
    };
    model.versions.into_iter().map(entry).collect()
}

/// Looks for versions of the configured models at once, and waits until those of this model are loaded.
///
/// # Errors
/// `NOT_FOUND` if the model is not configured or has no version; the error of the newest version that could not be
/// loaded; `DEADLINE_EXCEEDED` if one is still being loaded after a minute.
pub(crate) async fn load(models: &Models, name: &str) -> Result<(), Status> {
    if !models.is_configured(name) {
        return Err(not_configured(name));
    }
    let end = Instant::now() + LOAD_WAIT;
    let wait = async {
        let wanted = models.look(name).await?;
        if !models.is_configured(name) {
            return Err(not_configured(name));
        }
        until_loaded(models, name, &wanted).await
    };
    let late = |_| Err(Status::new(Code::DeadlineExceeded, format!("the model `{name}` is still being loaded")));
    timeout_at(end, wait).await.unwrap_or_else(late)?;
    // One that is unloaded to save memory is loaded.
    models.find_loaded(name, &Version::Latest, Some(end.into_std())).await.map(drop)
}

/// Waits until these versions are available, or were tried in vain.
///
/// # Errors
/// That of the newest one that could not be loaded, with the version that answers all the same.
async fn until_loaded(models: &Models, name: &str, wanted: &[i64]) -> Result<(), Status> {
    let mut changes = models.changes();
    loop {
        let versions = models.status(name, None).unwrap_or_default();
        let missing =
            |found: &&VersionStatus| wanted.contains(&found.version) && found.state.for_clients() != State::Available;
        // A failed one may be tried again later; whoever waits hears of the first attempt. One without an error that
        // has ended is no longer wanted.
        let is_pending =
            |found: &VersionStatus| matches!(found.state, State::Start | State::Loading) && found.error.is_none();
        if !versions.iter().filter(missing).any(is_pending) {
            let failed = versions.iter().filter(missing).find_map(|found| Some((found.version, found.error.as_ref()?)));
            return match (failed, models.answering(name, &Version::Latest)) {
                (Some((version, error)), Some(other)) => {
                    let begin = format!("version {version} of the model `{name}` could not be loaded: ");
                    let goes_on = format!("; version {other} goes on answering");
                    Err(Status::new(error.code, begin + &error.message + &goes_on))
                }
                (Some((_, error)), None) => Err(error.clone()),
                (None, Some(_)) => Ok(()),
                (None, None) => Err(Status::not_found(format!("no version of the model `{name}` was found"))),
            };
        }
        let stopping = |_| Status::new(Code::Unavailable, "the server is stopping");
        changes.changed().await.map_err(stopping)?;
    }
}

/// Unloading is refused: what is not configured is not served, and what is configured is.
pub(crate) fn unload(models: &Models, name: &str) -> Status {
    if !models.is_configured(name) {
        return not_configured(name);
    }
    let reason = format!("the model `{name}` cannot be unloaded by clients: take it from the server's configuration");
    Status::failed_precondition(reason)
}

fn not_configured(name: &str) -> Status {
    Status::not_found(format!("the model `{name}` is not configured; the configuration of the server names its models"))
}
