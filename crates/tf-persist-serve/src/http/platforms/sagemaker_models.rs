//! `/models` of a multi-model endpoint of SageMaker: models are loaded, listed and unloaded by requests.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;
use tf_persist_core::Code;
use tokio::time::timeout;

use super::super::body;
use super::super::handlers::RequestError;
use super::super::reply::{self, Reply};
use crate::models::{Models, NotLoaded, SageMakerModels, State, Version};
use crate::offload::offload;
use crate::state::ServerState;
use crate::status::Status;

/// How long a request waits for its model. SageMaker itself gives up sooner, unless it is told otherwise.
const LOAD_TIMEOUT: Duration = Duration::from_secs(600);

/// How long a request waits until its model is unloaded.
const UNLOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest request to load a model, and the longest name, in bytes.
const MAX_BODY: usize = 64 << 10;
const MAX_NAME: usize = 1024;

/// The body of a request to load a model.
#[derive(Deserialize)]
struct LoadRequest {
    model_name: String,
    url: String,
}

/// `POST /models`.
pub(super) async fn load(state: &ServerState, models: &Arc<SageMakerModels>, body: Incoming) -> Reply {
    let limits = state.settings().security.limits.clone().body_bytes(MAX_BODY);
    let bytes = match body::read(body, &limits).await {
        Ok(bytes) => bytes,
        Err(error) => return reply::request_error(RequestError::Body(error)).1,
    };
    let LoadRequest { model_name: name, url } = match serde_json::from_slice(&bytes) {
        Ok(request) => request,
        Err(error) => return error_reply(StatusCode::BAD_REQUEST, &format!("not a request to load a model: {error}")),
    };
    if name.is_empty() || name.len() > MAX_NAME {
        let message = format!("not a request to load a model: its `model_name` has {} bytes", name.len());
        return error_reply(StatusCode::BAD_REQUEST, &message);
    }
    let added = {
        let (models, name, url) = (Arc::clone(models), name.clone(), url.clone());
        offload(move || Ok::<_, Status>(models.add(&name, &url))).await
    };
    let versions = match added {
        Ok(Ok(versions)) => versions,
        Ok(Err(NotLoaded::Exists)) => {
            return error_reply(StatusCode::CONFLICT, &format!("Model {name} is already loaded."));
        }
        Ok(Err(NotLoaded::Absent(reason))) => return error_reply(StatusCode::NOT_FOUND, &reason),
        Err(status) => return reply::error(&status),
    };
    tracing::info!(model = %name, url, ?versions, "SageMaker loads a model");
    state.models().refresh();
    let loaded = timeout(LOAD_TIMEOUT, until_loaded(state.models(), &name, &versions)).await;
    let error = match loaded {
        Ok(Ok(())) => {
            let message = format!("Successfully loaded model {name}");
            return reply::json(StatusCode::OK, json!({"status": message}).to_string().into());
        }
        Ok(Err(status)) => error_reply(code(&status), &status.message),
        Err(_) => {
            let message = format!("Model {name} was not loaded within {} seconds", LOAD_TIMEOUT.as_secs());
            error_reply(StatusCode::REQUEST_TIMEOUT, &message)
        }
    };
    remove(state, models, &name).await;
    error
}

/// Waits until all versions of a model are available.
///
/// # Errors
/// The error of a version that failed to load.
async fn until_loaded(models: &Models, name: &str, versions: &[i64]) -> Result<(), Status> {
    let mut changes = models.changes();
    loop {
        // Before, what is known is of an earlier model of this name.
        if models.is_configured(name) {
            let statuses = models.status(name, None).unwrap_or_default();
            let mut wanted = statuses.iter().filter(|status| versions.contains(&status.version));
            if let Some(error) = wanted.clone().find_map(|status| status.error.clone()) {
                return Err(error);
            }
            if wanted.clone().count() == versions.len()
                && wanted.all(|status| status.state.for_clients() == State::Available)
            {
                return Ok(());
            }
        }
        let stopping = |_| Status::new(Code::Unavailable, "the server is stopping");
        changes.changed().await.map_err(stopping)?;
    }
}

/// The HTTP status code of a model that is not loaded. SageMaker unloads another model after 507.
fn code(status: &Status) -> StatusCode {
    match status.code {
        Code::ResourceExhausted => StatusCode::INSUFFICIENT_STORAGE,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// `DELETE /models/NAME`.
pub(super) async fn unload(state: &ServerState, models: &Arc<SageMakerModels>, name: &str) -> Reply {
    if !remove(state, models, name).await {
        return unknown(name);
    }
    tracing::info!(model = %name, "SageMaker unloads a model");
    reply::json(StatusCode::OK, json!({"status": format!("Successfully unloaded model {name}")}).to_string().into())
}

/// Takes a model out, and waits until its memory is free. Returns whether it was there.
async fn remove(state: &ServerState, models: &Arc<SageMakerModels>, name: &str) -> bool {
    if !models.remove(name) {
        return false;
    }
    state.models().refresh();
    let mut changes = state.models().changes();
    let gone = async {
        let is_loaded = |state: State| !matches!(state, State::End | State::Start);
        loop {
            let statuses = state.models().status(name, None).unwrap_or_default();
            let is_there = state.models().is_configured(name) || statuses.iter().any(|it| is_loaded(it.state));
            if !is_there || changes.changed().await.is_err() {
                return;
            }
        }
    };
    // Requests under way keep it loaded.
    if timeout(UNLOAD_TIMEOUT, gone).await.is_err() {
        tracing::warn!(model = %name, "the model is still being unloaded");
    }
    true
}

/// `GET /models`.
pub(super) fn list(state: &ServerState, models: &SageMakerModels) -> Reply {
    let urls = models.urls().into_iter().filter(|(name, _)| state.models().answers(name, &Version::Latest).is_ok());
    let listed: Vec<_> = urls.map(|(name, url)| json!({"modelName": name, "modelUrl": url})).collect();
    reply::json(StatusCode::OK, json!({"models": listed}).to_string().into())
}

/// `GET /models/NAME`.
pub(super) fn show(models: &SageMakerModels, name: &str) -> Reply {
    match models.url(name) {
        Some(url) => reply::json(StatusCode::OK, json!({"modelName": name, "modelUrl": url}).to_string().into()),
        None => unknown(name),
    }
}

/// The response for a model that is not loaded.
pub(super) fn unknown(name: &str) -> Reply {
    error_reply(StatusCode::NOT_FOUND, &format!("Model {name} is not loaded."))
}

fn error_reply(code: StatusCode, message: &str) -> Reply {
    reply::error_with_code(code, message)
}
