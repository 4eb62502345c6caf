//! Handlers of the API: predict, classify, regress, status, metadata.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tf_persist_core::Tensor;
use tokio::time::timeout_at;

use super::body::{self, BodyError};
use super::json::{self, ExamplesBody, Format, PredictBody};
use super::routes::Route;
use crate::api::{Api, Protocol};
use crate::batching::{InferenceRequest, deadline_exceeded};
use crate::inference::{self, signature_for_predict};
use crate::metrics::{ModelMetrics, Phase};
use crate::models::{Servable, ServedSignature, Version};
use crate::offload::{LongWait, OFFLOAD_BYTES, offload, offload_if};
use crate::state::ServerState;
use crate::status::Status;

/// About how many bytes an element of a response takes as text.
const ELEMENT_BYTES: usize = 8;

/// Why a request failed.
pub(super) enum RequestError {
    /// With a status of TensorFlow Serving.
    Status(Status),
    /// Its body could not be read.
    Body(BodyError),
}

impl From<Status> for RequestError {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// A body as received.
pub(super) struct RequestBody {
    pub(super) bytes: Bytes,
    pub(super) gzip: bool,
}

impl RequestBody {
    fn is_large(&self) -> bool {
        self.gzip || self.bytes.len() > OFFLOAD_BYTES
    }

    pub(super) fn into_bytes(self, state: &ServerState) -> Result<Bytes, RequestError> {
        if self.gzip {
            return body::inflate(&self.bytes, &state.settings().security.limits).map_err(RequestError::Body);
        }
        Ok(self.bytes)
    }
}

/// Answers a request whose URL is valid.
pub(super) async fn handle(
    state: &ServerState,
    route: &Route,
    request_body: RequestBody,
    metrics: &ModelMetrics,
) -> Result<Vec<u8>, RequestError> {
    let runs = matches!(route.api, Api::Predict | Api::Classify | Api::Regress);
    // On the heap: other requests need not carry its size along.
    let chosen = match state.choose_version(&route.model, &route.version) {
        Cow::Owned(version) if runs => Some(Box::new(Route { version, ..route.clone() })),
        _ => None,
    };
    let route = chosen.as_deref().unwrap_or(route);
    let wants_model = !matches!(route.api, Api::GetModelStatus);
    let in_use = if wants_model && state.models().are_unloaded_to_save_memory() {
        let deadline = deadline(state, Instant::now());
        Box::pin(state.models().keep_loaded(&route.model, &route.version, deadline)).await?
    } else {
        None
    };
    if runs
        && state.traffic().is_some()
        && let Ok(servable) = state.models().find(&route.model, &route.version)
    {
        state.note_version(&servable);
    }
    let answer = match route.api {
        Api::Predict => predict(state, route, request_body, metrics).await,
        Api::Classify | Api::Regress => classify_or_regress(state, route, request_body, metrics).await,
        _ if route.model.is_empty() => Err(Status::invalid_argument("Missing model name in request.").into()),
        Api::GetModelMetadata => metadata(state, route).await.map_err(RequestError::Status),
        _ => status(state, route).map_err(RequestError::Status),
    };
    drop(in_use);
    answer
}

/// A decoded predict request.
struct DecodedPredict {
    /// Held so that the version stays loaded while it runs.
    servable: Arc<Servable>,
    served: Arc<ServedSignature>,
    format: Format,
    inputs: Vec<(String, Tensor)>,
}

async fn predict(
    state: &ServerState,
    route: &Route,
    request_body: RequestBody,
    metrics: &ModelMetrics,
) -> Result<Vec<u8>, RequestError> {
    let mut started = Instant::now();
    let deadline = deadline(state, started);
    // A request that takes long to decode takes long to run.
    let long = request_body.is_large().then(LongWait::begin);
    let mut turn = None;
    let DecodedPredict { servable, served, format, inputs } = if request_body.is_large() {
        // A model that cannot be found is reported by the decoder, in its turn.
        if let Ok(servable) = state.models().find(&route.model, &route.version) {
            turn = before_deadline(deadline, servable.large_request_turn()).await?;
            metrics.record_phase(Phase::Queue, started.elapsed());
            started = Instant::now();
        }
        let (state, route) = (state.clone(), route.clone());
        offload(move || decode_predict(&state, &route, request_body)).await?
    } else {
        decode_predict(state, route, request_body)?
    };
    let decoded = Instant::now();
    metrics.record_phase(Phase::Decode, decoded - started);

    let call = InferenceRequest { inputs, outputs: Vec::new(), deadline };
    inference::check_predict_method(&servable, &served)?;
    let answer = before_deadline(deadline, inference::predict(&served, call)).await?;
    drop((turn, long));
    let ran = Instant::now();

    let size: usize = answer.iter().map(|(_, tensor)| tensor.len()).sum();
    let encode = move || json::predict_response(format, &answer).map_err(RequestError::Status);
    let encoded = offload_if(size > OFFLOAD_BYTES / ELEMENT_BYTES, encode).await;
    drop(servable);
    metrics.record_phase(Phase::Encode, ran.elapsed());
    encoded
}

/// Checks in TensorFlow Serving's order: invalid JSON is reported before an unknown model, an unknown signature before
/// invalid tensors.
fn decode_predict(
    state: &ServerState,
    route: &Route,
    request_body: RequestBody,
) -> Result<DecodedPredict, RequestError> {
    let bytes = request_body.into_bytes(state)?;
    let body = PredictBody::parse(&bytes)?;
    let servable = state.models().find(&route.model, &route.version)?;
    let name = body.signature_name().unwrap_or_default();
    let served = signature_for_predict(&servable, name, Protocol::Rest)?.clone();
    let expected: Vec<_> = served.signature.inputs().collect();
    let limit = state.settings().security.limits.tensors;
    if expected.len() > limit {
        let message =
            format!("The signature has {} inputs, and {limit} tensors are allowed in a request", expected.len());
        return Err(Status::invalid_argument(message).into());
    }
    let defaults = &served.signature.definition().defaults;
    let has_default = |name: &str| defaults.iter().any(|(default, _)| default == name);
    let (format, inputs) = body.tensors(&expected, &has_default)?;
    drop(expected);
    Ok(DecodedPredict { servable, served, format, inputs })
}

async fn classify_or_regress(
    state: &ServerState,
    route: &Route,
    request_body: RequestBody,
    metrics: &ModelMetrics,
) -> Result<Vec<u8>, RequestError> {
    let started = Instant::now();
    let deadline = deadline(state, started);
    let parse = |request_body: RequestBody, state: &ServerState| {
        let bytes = request_body.into_bytes(state)?;
        ExamplesBody::parse(&bytes).map_err(RequestError::Status)
    };
    let body = if request_body.is_large() {
        let state = state.clone();
        offload(move || parse(request_body, &state)).await?
    } else {
        parse(request_body, state)?
    };
    let servable = state.models().find(&route.model, &route.version)?;
    let name = body.signature_name.as_deref().unwrap_or_default();
    let decoded = Instant::now();
    metrics.record_phase(Phase::Decode, decoded - started);

    let (ran, encoded) = if route.api == Api::Classify {
        let results = before_deadline(deadline, inference::classify(&servable, name, body.examples, deadline)).await?;
        let classes: usize = results.iter().map(Vec::len).sum();
        let encode = move || Ok::<_, RequestError>(json::classify_response(&results));
        (Instant::now(), offload_if(classes > OFFLOAD_BYTES / ELEMENT_BYTES, encode).await?)
    } else {
        let results = before_deadline(deadline, inference::regress(&servable, name, body.examples, deadline)).await?;
        (Instant::now(), json::regress_response(&results))
    };
    metrics.record_phase(Phase::Encode, ran.elapsed());
    Ok(encoded)
}

/// Labels are ignored, as in TensorFlow Serving: the response has all versions.
fn status(state: &ServerState, route: &Route) -> Result<Vec<u8>, Status> {
    let version = match route.version {
        Version::Number(number) => Some(number),
        Version::Latest | Version::Label(_) | Version::Chosen(_) => None,
    };
    Ok(json::status_response(&state.models().status(&route.model, version)?))
}

async fn metadata(state: &ServerState, route: &Route) -> Result<Vec<u8>, Status> {
    let servable = state.models().find(&route.model, &route.version)?;
    // The signatures may have to be read from the model's file.
    let answer = move || {
        let signatures = inference::signature_defs(&servable)?;
        Ok(json::metadata_response(servable.name(), servable.version(), &signatures))
    };
    offload(answer).await
}

/// The deadline of a request that was received at this time. A timeout of zero means none.
pub(super) fn deadline(state: &ServerState, received: Instant) -> Option<Instant> {
    let timeout = state.settings().http.timeout;
    if timeout == Duration::ZERO { None } else { received.checked_add(timeout) }
}

/// Waits for a run until its deadline. The run itself may go on after that.
pub(super) async fn before_deadline<T>(
    deadline: Option<Instant>,
    run: impl Future<Output = Result<T, Status>>,
) -> Result<T, RequestError> {
    let Some(deadline) = deadline else { return run.await.map_err(RequestError::Status) };
    match timeout_at(deadline.into(), run).await {
        Ok(result) => result.map_err(RequestError::Status),
        Err(_) => Err(deadline_exceeded().into()),
    }
}
