//! What can be asked of models.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tf_persist_core::Tensor;
use tokio::time::timeout_at;

use super::body::{self, NoBody};
use super::json::{self, ExamplesBody, Form, PredictBody};
use super::url::Route;
use crate::inference::{self, signature_for_predict};
use crate::metrics::{Api, OfModel, Phase, Protocol};
use crate::models::{Servable, Served, Version};
use crate::offload::{LongWait, OFFLOAD_BYTES, offload, offload_if};
use crate::run::{Call, late};
use crate::state::ServerState;
use crate::status::Status;

/// What an element of an answer takes as text, about.
const ELEMENT_BYTES: usize = 8;

/// Why a request was refused.
pub(super) enum Refused {
    /// As TensorFlow Serving would.
    Status(Status),
    /// For its body.
    Body(NoBody),
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// A body as it came.
pub(super) struct Sent {
    pub(super) bytes: Bytes,
    pub(super) gzip: bool,
}

impl Sent {
    fn is_large(&self) -> bool {
        self.gzip || self.bytes.len() > OFFLOAD_BYTES
    }

    fn inflated(self, state: &ServerState) -> Result<Bytes, Refused> {
        if self.gzip {
            return body::inflate(&self.bytes, &state.settings().guard.limits).map_err(Refused::Body);
        }
        Ok(self.bytes)
    }
}

/// Answers a request whose URL is sound.
pub(super) async fn answer(
    state: &ServerState,
    route: &Route,
    sent: Sent,
    measures: &OfModel,
) -> Result<Vec<u8>, Refused> {
    match route.api {
        Api::Predict => predict(state, route, sent, measures).await,
        Api::Classify | Api::Regress => examples(state, route, sent, measures).await,
        _ if route.model.is_empty() => Err(Status::invalid_argument("Missing model name in request.").into()),
        Api::GetModelMetadata => metadata(state, route).await.map_err(Refused::Status),
        _ => status(state, route).map_err(Refused::Status),
    }
}

/// A predict request that is decoded.
struct Decoded {
    /// Held so that the version stays while it runs.
    servable: Arc<Servable>,
    served: Arc<Served>,
    form: Form,
    inputs: Vec<(String, Tensor)>,
}

async fn predict(state: &ServerState, route: &Route, sent: Sent, measures: &OfModel) -> Result<Vec<u8>, Refused> {
    let started = Instant::now();
    let deadline = deadline(state, started);
    // What is long to read is long to run.
    let long = sent.is_large().then(LongWait::begin);
    let Decoded { servable, served, form, inputs } = if sent.is_large() {
        let (state, route) = (state.clone(), route.clone());
        offload(move || decode(&state, &route, sent)).await?
    } else {
        decode(state, route, sent)?
    };
    let decoded = Instant::now();
    measures.phase(Phase::Decode, decoded - started);

    let call = Call { inputs, outputs: Vec::new(), deadline };
    inference::check_predict_method(&servable, &served)?;
    let answer = in_time(deadline, inference::predict(&served, call)).await?;
    drop(long);
    let ran = Instant::now();

    let size: usize = answer.iter().map(|(_, tensor)| tensor.len()).sum();
    let encode = move || json::predict_answer(form, &answer).map_err(Refused::Status);
    let encoded = offload_if(size > OFFLOAD_BYTES / ELEMENT_BYTES, encode).await;
    drop(servable);
    measures.phase(Phase::Encode, ran.elapsed());
    encoded
}

/// The order is TensorFlow Serving's: bad JSON for an unknown model is bad JSON, bad tensors for an unknown signature an unknown
/// signature.
fn decode(state: &ServerState, route: &Route, sent: Sent) -> Result<Decoded, Refused> {
    let bytes = sent.inflated(state)?;
    let body = PredictBody::parse(&bytes)?;
    let servable = state.models().find(&route.model, &route.version)?;
    let name = body.signature_name().unwrap_or_default();
    let served = signature_for_predict(&servable, name, Protocol::Rest)?.clone();
    let wanted: Vec<_> = served.signature.inputs().collect();
    let limit = state.settings().guard.limits.tensors;
    if wanted.len() > limit {
        let message =
            format!("The signature has {} inputs, and {limit} tensors are allowed in a request", wanted.len());
        return Err(Status::invalid_argument(message).into());
    }
    let defaults = &served.signature.definition().defaults;
    let has_default = |name: &str| defaults.iter().any(|(default, _)| default == name);
    let (form, inputs) = body.tensors(&wanted, &has_default)?;
    drop(wanted);
    Ok(Decoded { servable, served, form, inputs })
}

async fn examples(state: &ServerState, route: &Route, sent: Sent, measures: &OfModel) -> Result<Vec<u8>, Refused> {
    let started = Instant::now();
    let deadline = deadline(state, started);
    let parse = |sent: Sent, state: &ServerState| {
        let bytes = sent.inflated(state)?;
        ExamplesBody::parse(&bytes).map_err(Refused::Status)
    };
    let body = if sent.is_large() {
        let state = state.clone();
        offload(move || parse(sent, &state)).await?
    } else {
        parse(sent, state)?
    };
    let servable = state.models().find(&route.model, &route.version)?;
    let name = body.signature_name.as_deref().unwrap_or_default();
    let decoded = Instant::now();
    measures.phase(Phase::Decode, decoded - started);

    let (ran, encoded) = if route.api == Api::Classify {
        let results = in_time(deadline, inference::classify(&servable, name, body.examples, deadline)).await?;
        let classes: usize = results.iter().map(Vec::len).sum();
        let encode = move || Ok::<_, Refused>(json::classify_answer(&results));
        (Instant::now(), offload_if(classes > OFFLOAD_BYTES / ELEMENT_BYTES, encode).await?)
    } else {
        let results = in_time(deadline, inference::regress(&servable, name, body.examples, deadline)).await?;
        (Instant::now(), json::regress_answer(&results))
    };
    measures.phase(Phase::Encode, ran.elapsed());
    Ok(encoded)
}

/// Labels are not looked at, as in TensorFlow Serving: all versions come back.
fn status(state: &ServerState, route: &Route) -> Result<Vec<u8>, Status> {
    let version = match route.version {
        Version::Number(number) => Some(number),
        Version::Latest | Version::Label(_) => None,
    };
    Ok(json::status_answer(&state.models().status(&route.model, version)?))
}

async fn metadata(state: &ServerState, route: &Route) -> Result<Vec<u8>, Status> {
    let servable = state.models().find(&route.model, &route.version)?;
    // It may have to be read from the model's file.
    let answer = move || {
        let signatures = inference::signature_defs(&servable)?;
        Ok(json::metadata_answer(servable.name(), servable.version(), &signatures))
    };
    offload(answer).await
}

/// When nobody waits any more for a request that came at this time. A timeout of zero is none.
fn deadline(state: &ServerState, came: Instant) -> Option<Instant> {
    let timeout = state.settings().rest.timeout;
    if timeout == Duration::ZERO { None } else { came.checked_add(timeout) }
}

/// Gives a run up at its deadline; it may go on all the same, where nobody hears of it.
async fn in_time<T>(deadline: Option<Instant>, run: impl Future<Output = Result<T, Status>>) -> Result<T, Refused> {
    let Some(deadline) = deadline else { return run.await.map_err(Refused::Status) };
    match timeout_at(deadline.into(), run).await {
        Ok(result) => result.map_err(Refused::Status),
        Err(_) => Err(late().into()),
    }
}
