//! Triton's model repository: which models there are, and looking for new versions. Which models are served is decided
//! by the server's configuration, not by clients.

use std::time::Duration;

use tf_persist_core::Code;
use tokio::time::{Instant, timeout_at};

use crate::models::{ModelStatus, Models, State, Version, VersionStatus};
use crate::status::Status;

/// How long [`load`] waits for a model without a version to have one.
const LOAD_WAIT: Duration = Duration::from_secs(60);

/// How long a look for versions may take until its result is visible.
const LOOK_WAIT: Duration = Duration::from_secs(2);

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

/// Looks for versions of the configured models at once, and waits until this model has one.
///
/// # Errors
/// `NOT_FOUND` if the model is not configured; the error of its newest version if that could not be loaded;
/// `DEADLINE_EXCEEDED` if it is still being loaded after a minute.
pub(crate) async fn load(models: &Models, name: &str) -> Result<(), Status> {
    let status = || models.list().into_iter().find(|model| model.name == name);
    let Some(_) = status() else {
        return Err(not_configured(name));
    };
    let mut changes = models.changes();
    models.refresh();
    let (look_end, end) = (Instant::now() + LOOK_WAIT, Instant::now() + LOAD_WAIT);
    loop {
        if models.find_loaded(name, &Version::Latest, Some(end.into_std())).await.is_ok() {
            return Ok(());
        }
        let is_pending = models.is_pending(name, None);
        let now = Instant::now();
        if now >= end {
            return Err(Status::new(Code::DeadlineExceeded, format!("the model `{name}` is still being loaded")));
        }
        if !is_pending && now >= look_end {
            let newest = status().and_then(|model| model.versions.into_iter().find_map(|found| found.error));
            let none = || Status::not_found(format!("no version of the model `{name}` was found"));
            return Err(newest.unwrap_or_else(none));
        }
        // A change wakes this, or the time is over.
        let _ = timeout_at(if is_pending { end } else { look_end }, changes.changed()).await;
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
